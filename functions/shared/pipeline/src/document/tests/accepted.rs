//! Accepted documents and their meaning.

use super::*;

#[test]
fn the_smallest_documents() {
    for (text, given) in [
        ("steps: [{type: text_to_image}]", given()),
        (r#"{"steps": [{"type": "text_to_image", "params": {"prompt": "a fox"}}]}"#, no_input()),
        ("name: x\ndescription: y\nversion: 1.0\nsettings:\nvars:\nsteps: [{type: text_to_image, params: }]", given()),
        ("version: \"2\"\nsteps: [{type: text_to_image}]", given()),
    ] {
        accepted(text, &given);
    }
    let checked = accepted("steps: [{type: text_to_image}]", &given());
    assert_eq!(checked.name, "pipeline");
    assert!(
        checked.parallel
            && checked.fail_fast
            && checked.schedule == ExecutionOrder::Groups
            && checked.max_cost.is_none()
    );
    assert_eq!(checked.export, None);
    let step = step(&checked, "step_1");
    assert_eq!((step.model.name.as_str(), step.repetition, step.cache), ("flux_dev", 1, CachePolicy::Use));
    assert_eq!((step.timeout, step.fail_fast, step.uncacheable), (None, true, false));
    assert_eq!(step.params["prompt"], "a fox");
}

#[test]
fn settings_and_what_overrides_them() {
    let text = "\
settings: {parallel: true, workers: heavy, fail_fast: false, schedule: eager, cache: off, max_cost: 2.5, export: s3://our-media/runs/}
steps:
- {type: text_to_image, name: a, cache: refresh, timeout: 60, take: 3}
- type: parallel_group
  name: g
  max_workers: 2
  fail_fast: true
  timeout: 90
  steps:
  - {type: text_to_image, name: b}
  - {type: text_to_image, name: c, timeout: 10}
";
    let checked = accepted(text, &given());
    assert_eq!((checked.schedule, checked.fail_fast), (ExecutionOrder::Eager, false));
    assert_eq!(checked.max_cost, Some(Money::micros(2_500_000)));
    let export = Export { bucket: "our-media".to_owned(), prefix: "runs".to_owned() };
    assert_eq!(checked.export, Some(export.clone()));
    assert_eq!(crate::plan::compile(&checked).export, Some(export));
    let groups: Vec<_> =
        checked.groups.iter().map(|group| (group.name.as_ref().map(StepName::as_str), group.workers)).collect();
    assert_eq!(groups, [(None, 8), (Some("g"), 2)]);
    let of = |name| {
        let step = step(&checked, name);
        (step.cache, step.timeout, step.fail_fast, step.repetition)
    };
    assert_eq!(of("a"), (CachePolicy::Refresh, Some(60), false, 3));
    assert_eq!(of("b"), (CachePolicy::Off, Some(90), true, 1));
    assert_eq!(of("c"), (CachePolicy::Off, Some(10), true, 1));
}

#[test]
fn workers_by_setting_and_workload() {
    for (settings, given_parallel, parallel, workers) in [
        ("", None, true, 4),
        ("", Some(false), false, 1),
        ("parallel: true", Some(false), true, 4),
        ("parallel: false", Some(true), false, 1),
        ("parallel: false, max_workers: 8", None, false, 1),
        ("max_workers: 40", None, true, 40),
        ("workers: limited", None, true, 2),
        ("workers: light", None, true, 4),
        ("workers: standard", None, true, 6),
    ] {
        let text = format!("settings: {{{settings}}}\nsteps: [{{type: text_to_image}}]");
        let checked = accepted(&text, &RunInputs { parallel: given_parallel, ..given() });
        assert_eq!((checked.parallel, checked.groups[0].workers), (parallel, workers), "{settings}");
    }
}

#[test]
fn disabled_steps_are_left_out_and_still_count() {
    let text = "\
steps:
- {type: text_to_image, enabled: false, params: {prompt: \"{{env.NOT_THERE}}\", image_size: nonsense}}
- {type: text_to_image}
- {type: analyze_image, enabled: false, input_from: nowhere}
- type: parallel_group
  steps: [{type: text_to_image, enabled: false}]
- {type: image_to_image}
";
    let checked = accepted(text, &given());
    let names: Vec<_> = checked.groups.iter().flat_map(|group| &group.steps).map(|step| step.name.as_str()).collect();
    assert_eq!(names, ["step_2", "step_5"]);
    assert_eq!(takes(&checked, "step_5"), ["image_url=step_2.0"]);
}

#[test]
fn hostile_prompts_go_through_unchanged() {
    let text = one_image("{prompt: \"{{input}}\"}");
    for prompt in [
        "{% $states.input %}",
        "{{input}}",
        "say \"hi\" 'there'",
        "two\nlines\ttab",
        "🦊 日本語",
        "$(rm -rf /) `x` ${y}",
    ] {
        let checked = accepted(&text, &RunInputs { input: Some(prompt.to_owned()), ..given() });
        assert_eq!(checked.groups[0].steps[0].params["prompt"], prompt);
    }
}

#[test]
fn the_input_text_is_the_prompt_only_where_one_is_required() {
    let text = "\
steps:
- {type: text_to_image, name: a}
- {type: analyze_image, name: b}
- {type: analyze_image, name: c, model: gemini_qa, input_from: a}
- {type: analyze_image, name: d, model: gemini_qa, input_from: a, params: {question: \"what?\"}}
- {type: image_to_image, name: e, model: clarity, input_from: a}
";
    let checked = accepted(text, &given());
    for (name, prompt) in [
        ("a", "a fox"),
        ("b", "Describe this image in two or three sentences."),
        ("c", "a fox"),
        ("d", "what?"),
        ("e", "masterpiece, best quality, highres"),
    ] {
        assert_eq!(step(&checked, name).params["prompt"], prompt, "{name}");
    }
    refused(&no_input(), &[(text, &[(2, "param_missing"), (4, "param_missing")])]);
    assert!(problem("steps: [{type: text_to_image}]", &no_input()).advice.contains("--input"));
}
