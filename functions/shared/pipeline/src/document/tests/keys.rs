//! Keys, types, models, names and values of the language's own.

use super::*;

#[test]
fn keys_and_their_values() {
    let long = format!("name: {}\nsteps: [{{type: text_to_image}}]", "x".repeat(201));
    refused(
        &given(),
        &[
            ("", &[(1, "wrong_type")]),
            ("[]", &[(1, "wrong_type")]),
            ("name: x", &[(1, "no_steps")]),
            ("steps: []", &[(1, "no_steps")]),
            ("steps: {a: b}", &[(1, "wrong_type")]),
            ("steps:\n- 7", &[(2, "wrong_type")]),
            ("steps:\n- type: parallel_group", &[(2, "no_steps")]),
            ("steps:\n- type: parallel_group\n  steps: []", &[(3, "no_steps")]),
            ("steps:\n- {type: text_to_image, enabled: false}", &[(2, "no_steps")]),
            (
                "name: 7\ndescription: [x]\nversion: {}\nsteps: [{type: text_to_image}]",
                &[(1, "wrong_type"), (2, "wrong_type"), (3, "wrong_type")],
            ),
            (&long, &[(1, "bad_name")]),
            ("settings: 7\nsteps: [{type: text_to_image}]", &[(1, "wrong_type")]),
            ("vars: [a]\nsteps: [{type: text_to_image}]", &[(1, "wrong_type")]),
            ("vars: {a: [b]}\nsteps: [{type: text_to_image}]", &[(1, "wrong_type")]),
            ("stepz: 1\nsteps: [{type: text_to_image}]", &[(1, "unknown_key")]),
            ("steps:\n- {type: text_to_image, parms: {}}", &[(2, "unknown_key")]),
            ("steps:\n- {type: text_to_image, params: [a]}", &[(2, "wrong_type")]),
            ("steps:\n- {type: text_to_image, take: 1.5}", &[(2, "wrong_value")]),
            ("steps:\n- {type: text_to_image, take: x}", &[(2, "wrong_type")]),
            ("steps:\n- {type: text_to_image, timeout: 3601}", &[(2, "wrong_value")]),
            ("steps:\n- {type: text_to_image, timeout: .inf}", &[(2, "wrong_type")]),
            ("steps:\n- {type: text_to_image, timeout: 2024-01-01}", &[(2, "wrong_type")]),
            ("steps:\n- {type: text_to_image, timeout: !!binary aGk=}", &[(2, "wrong_type")]),
            ("steps:\n- {type: text_to_image, cache: never}", &[(2, "wrong_value")]),
            ("steps:\n- {type: text_to_image, enabled: maybe}", &[(2, "wrong_type")]),
        ],
    );
}

#[test]
fn wrong_settings_are_refused() {
    for (settings, expected) in [
        ("parallel: 1", "wrong_type"),
        ("max_workers: 0", "wrong_value"),
        ("max_workers: 41", "wrong_value"),
        ("max_workers: many", "wrong_type"),
        ("workers: heavier", "wrong_value"),
        ("workers: light, max_workers: 3", "conflict"),
        ("fail_fast: no way", "wrong_type"),
        ("schedule: later", "wrong_value"),
        ("cache: 7", "wrong_value"),
        ("max_cost: -1", "wrong_value"),
        ("max_cost: 1e99", "wrong_value"),
        ("max_cost: .nan", "wrong_type"),
        ("max_cost: $5", "wrong_type"),
        ("paralel: true", "unknown_key"),
        ("similar: 0.9", "not_supported"),
        ("rate_limit_delay: 1", "not_supported"),
        ("max_age_days: 7", "not_supported"),
        ("export: 7", "wrong_type"),
        ("export:", "wrong_type"),
        ("export: [s3://abc]", "wrong_type"),
        ("export: zip", "wrong_value"),
        ("export: s3://ab", "wrong_value"),
        ("export: s3://abc/../x", "wrong_value"),
        ("export: \"s3://abc/{{vars.x}}\"", "wrong_value"),
    ] {
        let text = format!("steps: [{{type: text_to_image}}]\nsettings:\n  {}\n", settings.replace(", ", "\n  "));
        assert_eq!(codes(&text, &given()), [(3, expected.to_owned())], "{settings}");
    }
}

/// Numbers that are out of bounds and keys that are refused by name, each with its place and what to do.
#[test]
fn bounds_and_refusals_say_what_to_do() {
    let age = "Remove it; the age of outputs is one for the whole stack: its parameter MaxAgeDays.";
    for (text, column, code, path, message, advice) in [
        (
            "take: 0",
            9,
            "wrong_value",
            "steps[0].take",
            "`steps[0].take` is not a whole number from 1",
            "Use 1 to 1000000.",
        ),
        (
            "take: -1",
            9,
            "wrong_value",
            "steps[0].take",
            "`steps[0].take` is not a whole number from 1",
            "Use 1 to 1000000.",
        ),
        ("max_age_days: 0", 3, "not_supported", "settings.max_age_days", "does not carry out `max_age_days`", age),
        ("max_age_days: 4000", 3, "not_supported", "settings.max_age_days", "does not carry out `max_age_days`", age),
        (
            "export: s3://Bucket",
            11,
            "wrong_value",
            "settings.export",
            "`settings.export` is not a place in S3",
            "Use a bucket of 3 to 63 of a-z, 0-9, `.` and `-`, with a letter or a digit at both ends.",
        ),
        (
            "export: s3://bucket//x",
            11,
            "wrong_value",
            "settings.export",
            "`settings.export` is not a place in S3",
            "Use a prefix without `//`, and without `.` or `..` between slashes.",
        ),
    ] {
        let document = if path.starts_with("steps") {
            format!("steps:\n- type: text_to_image\n\n  {text}\n")
        } else {
            format!("steps: [{{type: text_to_image}}]\n\nsettings:\n  {text}\n")
        };
        let problem = problem(&document, &given());
        assert_eq!((problem.place.line, problem.place.column), (4, column), "{text}");
        assert_eq!((problem.code.as_str(), problem.path.as_str()), (code, path), "{text}");
        assert!(problem.message.contains(message), "{text}: {}", problem.message);
        assert_eq!(problem.advice, advice, "{text}");
    }
}

#[test]
fn types_and_models() {
    refused(
        &given(),
        &[
            ("steps:\n- name: a", &[(2, "type_missing")]),
            ("steps:\n- type: 7", &[(2, "wrong_type")]),
            ("steps:\n- type: text_to_imgae", &[(2, "unknown_type")]),
            ("steps:\n- type: parallel_grup\n  steps: []", &[(2, "unknown_type"), (3, "unknown_key")]),
            ("steps:\n- type: text_to_image\n  model: flux_schnel", &[(3, "unknown_model")]),
            ("steps:\n- type: text_to_image\n  model: hailuo", &[(3, "unknown_model")]),
            ("steps:\n- type: text_to_image\n  model:", &[(3, "wrong_type")]),
            (
                "steps:\n- type: parallel_group\n  steps:\n  - type: parallel_group\n    steps: [{type: text_to_image}]",
                &[(4, "nested_group")],
            ),
        ],
    );
    for later in super::super::key_specs::LATER_TYPES {
        let problem = problem(&format!("steps:\n- type: {later}"), &given());
        assert_eq!((problem.place.line, problem.code.as_str()), (2, "not_supported"));
        assert!(problem.message.contains("this version does not carry out"), "{}", problem.message);
    }
}

#[test]
fn names_of_steps_are_checked() {
    let longest = format!("steps:\n- {{type: text_to_image, name: {}}}", "x".repeat(64));
    let too_long = format!("steps:\n- {{type: text_to_image, name: {}}}", "x".repeat(65));
    refused(
        &given(),
        &[
            (&longest, &[]),
            (&too_long, &[(2, "bad_name")]),
            ("steps:\n- {type: text_to_image, name: ../../x}", &[(2, "bad_name")]),
            ("steps:\n- {type: text_to_image, name: 7}", &[(2, "wrong_type")]),
            ("steps:\n- {type: text_to_image, name: a}\n- {type: text_to_image, name: a}", &[(3, "duplicate_name")]),
            // Steps and groups share their names.
            (
                "steps:\n- {type: text_to_image, name: a}\n- type: parallel_group\n  name: a\n  steps: [{type: text_to_image}]",
                &[(4, "duplicate_name")],
            ),
            // The second step has no name and is step_2.
            ("steps:\n- {type: text_to_image, name: step_2}\n- {type: text_to_image}", &[(2, "duplicate_name")]),
            ("steps:\n- {type: text_to_image}\n- {type: text_to_image, name: step_1}", &[(3, "duplicate_name")]),
            ("steps:\n- {type: text_to_image, name: step_2}\n- {type: text_to_image, name: b}", &[]),
        ],
    );
    let nested = "steps:\n- type: text_to_image\n- type: parallel_group\n  steps: [{type: text_to_image}, {type: text_to_image}]\n- type: text_to_image";
    let checked = accepted(nested, &given());
    let names: Vec<_> = checked.groups.iter().flat_map(|group| &group.steps).map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["step_1", "step_2", "step_3", "step_4"]);
}

#[test]
fn advice_says_where_a_misplaced_key_belongs() {
    for (text, part) in [
        ("steps: [{type: text_to_image, prompt: x}]", "under `params`"),
        ("steps: [{type: text_to_image, image: x}]", "under `params`"),
        ("steps: [{type: text_to_image, parallel: false}]", "under `settings`"),
        ("parallel: false\nsteps: [{type: text_to_image}]", "under `settings`"),
        ("model: flux_dev\nsteps: [{type: text_to_image}]", "at a step"),
        ("steps: [{type: text_to_image, params: {timeout: 7}}]", "out of `params`"),
        ("steps: [{type: text_to_image, params: {image: cat.png}}]", "takes no media"),
        ("steps: [{type: text_to_image, params: {promt: x}}]", "`prompt`"),
        ("steps: [{type: parallel_group, cache: off, steps: [{type: text_to_image}]}]", "steps of the group"),
        ("steps: [{type: text_to_image, modell: flux_dev}]", "`model`"),
        ("steps: [{type: text_to_image, model: hailuo}]", "image_to_video"),
        ("steps: [{type: text_to_image, model: fluxdev}]", "`flux_dev`"),
        ("settings: {workers: hevy}\nsteps: [{type: text_to_image}]", "`heavy`"),
    ] {
        let advice = problem(text, &given()).advice;
        assert!(advice.contains(part), "{text}: {advice}");
    }
}
