//! The references that a step may have, and the problems of those that it may not.

use super::*;

#[test]
fn references_by_table() {
    refused(
        &given(),
        &[
            ("steps:\n- {type: text_to_image, name: a}\n- {type: image_to_image, input_from: a}", &[]),
            ("steps:\n- {type: text_to_image, name: a}\n- {type: image_to_image, input_from: [a, a]}", &[]),
            ("steps:\n- {type: text_to_image}\n- {type: image_to_image, input_from: step_1}", &[]),
            (
                "steps:\n- {type: text_to_image, name: a}\n- {type: image_to_image, input_from: b}",
                &[(3, "unknown_step")],
            ),
            ("steps:\n- {type: text_to_image, name: a}\n- {type: image_to_image, input_from: 7}", &[(3, "wrong_type")]),
            (
                "steps:\n- {type: text_to_image, name: a}\n- {type: image_to_image, input_from: []}",
                &[(3, "wrong_value")],
            ),
            (
                "steps:\n- {type: text_to_image, name: a}\n- {type: image_to_image, input_from: [a, 7, z]}",
                &[(3, "wrong_type"), (3, "unknown_step")],
            ),
            ("steps:\n- {type: image_to_image, name: a, input_from: a}", &[(2, "self_reference")]),
            (
                "steps:\n- type: parallel_group\n  name: g\n  steps:\n  - {type: text_to_image, name: a}\n  - {type: image_to_image, input_from: g}",
                &[(6, "self_reference")],
            ),
            // Earlier members of the same group may be read.
            (
                "steps:\n- type: parallel_group\n  steps:\n  - {type: text_to_image, name: a}\n  - {type: image_to_image, input_from: a}",
                &[],
            ),
            (
                "steps:\n- type: parallel_group\n  steps:\n  - {type: image_to_image, input_from: a}\n  - {type: text_to_image, name: a}",
                &[(4, "later_step")],
            ),
            ("steps:\n- {type: image_to_image, input_from: b}\n- {type: text_to_image, name: b}", &[(2, "later_step")]),
            (
                "steps:\n- {type: image_to_image, input_from: g}\n- {type: parallel_group, name: g, steps: [{type: text_to_image}]}",
                &[(2, "later_step")],
            ),
            (
                "steps:\n- {type: text_to_image, name: a, enabled: false}\n- {type: text_to_image}\n- {type: image_to_image, input_from: a}",
                &[(4, "disabled_step")],
            ),
            (
                "steps:\n- {type: parallel_group, name: g, steps: [{type: text_to_image, enabled: false}]}\n- {type: text_to_image}\n- {type: image_to_image, input_from: g}",
                &[(4, "disabled_step")],
            ),
            (
                "steps:\n- {type: text_to_image, name: a}\n- {type: text_to_image, input_from: a}",
                &[(3, "unexpected_input")],
            ),
            (
                "steps:\n- {type: text_to_image, name: a}\n- {type: analyze_image, name: b}\n- {type: image_to_video, input_from: b}",
                &[(4, "kind_mismatch")],
            ),
            // The item before is the analysis.
            (
                "steps:\n- {type: text_to_image, name: a}\n- {type: analyze_image}\n- {type: image_to_video}",
                &[(4, "kind_mismatch")],
            ),
            // A problem of a step does not become one of its readers.
            ("steps:\n- {type: nope, name: a}\n- {type: image_to_video, input_from: a}", &[(2, "unknown_type")]),
            (
                "steps:\n- {type: text_to_image, model: nope, name: a}\n- {type: image_to_video}",
                &[(2, "unknown_model")],
            ),
            (
                "steps:\n- {type: text_to_image, name: a/b}\n- {type: image_to_video, input_from: a/b}",
                &[(2, "bad_name")],
            ),
            ("steps:\n- {type: nope, input_from: zzz}", &[(2, "unknown_type"), (2, "unknown_step")]),
        ],
    );
}

#[test]
fn a_circle_is_named() {
    for (text, lines, way) in [
        (
            "steps:\n- {type: image_to_image, name: a, input_from: b}\n- {type: image_to_image, name: b, input_from: a}",
            vec![2],
            "a → b → a",
        ),
        (
            "steps:\n- {type: image_to_image, name: a, input_from: c}\n- {type: image_to_image, name: b, input_from: a}\n- {type: image_to_image, name: c}",
            vec![2],
            "a → c → b → a",
        ),
        (
            "steps:\n- {type: text_to_image, name: a, params: {prompt: \"{{step_b.output}}\"}}\n- {type: analyze_image, name: b}",
            vec![2],
            "a → b → a",
        ),
        (
            "steps:\n- {type: image_to_image, name: a, input_from: g}\n- type: parallel_group\n  name: g\n  steps:\n  - {type: image_to_image, name: b, params: {image: \"{{step_a.output}}\"}}",
            vec![2],
            "a → g → b → a",
        ),
    ] {
        let Problems(problems) = check(text, &given()).unwrap_err();
        let found: Vec<_> = problems.iter().filter(|problem| problem.code == "cycle").collect();
        assert_eq!(found.iter().map(|problem| problem.place.line).collect::<Vec<_>>(), lines, "{problems:?}");
        assert!(found[0].message.contains(way), "{}", found[0].message);
    }
}

#[test]
fn advice_names_what_was_meant() {
    for (text, part) in [
        ("steps: [{type: text_to_image, name: base}, {type: image_to_image, input_from: bsae}]", "`base`"),
        ("steps: [{type: image_to_image, input_from: b}, {type: text_to_image, name: b}]", "Move `b` up"),
        ("steps: [{type: text_to_image, name: a}, {type: analyze_image}, {type: image_to_video}]", "`input_from: a`"),
        ("steps: [{type: analyze_image, params: {image: cat.png}}, {type: image_to_video}]", "No step before"),
    ] {
        let advice = problem(text, &given()).advice;
        assert!(advice.contains(part), "{text}: {advice}");
    }
}
