use super::*;

fn codes(text: &str, input: Option<&str>) -> Vec<(u32, String)> {
    match check(text, &given(input)) {
        Ok(_) => vec![],
        Err(problems) => problems.0.into_iter().map(|problem| (problem.place.line, problem.code)).collect(),
    }
}

fn given(input: Option<&str>) -> Given {
    Given { input: input.map(str::to_owned), ..Given::default() }
}

fn one(code: &str, line: u32) -> Vec<(u32, String)> {
    vec![(line, code.to_owned())]
}

const ONE: &str = "name: one\nsteps:\n  - name: image\n    type: text_to_image\n    model: flux_schnell\n    params:\n      prompt: \"{{input}}\"\n";

#[test]
fn the_smallest_documents_are_accepted() {
    for (text, input) in [
        (ONE, Some("a fox")),
        ("steps: [{type: text_to_image}]", Some("a fox")),
        (r#"{"steps": [{"type": "text_to_image", "params": {"prompt": "a fox"}}]}"#, None),
    ] {
        assert_eq!(codes(text, input), vec![], "{text}");
    }
}

#[test]
fn hostile_prompts_go_through_unchanged() {
    for prompt in [
        "{% $states.input %}",
        "{{input}}",
        "say \"hi\" 'there'",
        "two\nlines\ttab",
        "🦊 日本語",
        "$(rm -rf /) `x` ${y}",
    ] {
        let checked = check(ONE, &given(Some(prompt))).unwrap();
        assert_eq!(checked.groups[0].steps[0].params["prompt"], prompt);
    }
}

#[test]
fn every_problem_is_reported_with_its_place() {
    for (text, input, expected) in [
        ("", None, one("wrong_type", 1)),
        ("steps: []", None, one("no_steps", 1)),
        ("name: x", None, one("no_steps", 1)),
        ("steps:\n\t- x", None, one("document_syntax", 2)),
        ("a: &a [x]\nsteps: *a", None, one("document_syntax", 1)),
        ("name: a\nname: b\nsteps: []", None, one("document_syntax", 2)),
        ("steps: []\n---\nsteps: []", None, one("document_syntax", 2)),
        (ONE, None, one("input_missing", 7)),
        (ONE, Some("  "), one("param_empty", 7)),
        (&ONE.replace("flux_schnell", "flux_schnel"), Some("x"), one("unknown_model", 5)),
        (&ONE.replace("text_to_image", "text_to_imgae"), Some("x"), one("unknown_type", 4)),
        (&ONE.replace("name: image", "name: ../../x"), Some("x"), one("bad_name", 3)),
        (&ONE.replace("params:", "parms:"), Some("x"), one("unknown_key", 6)),
        (&ONE.replace("{{input}}", "{{env.AWS_SECRET_ACCESS_KEY}}"), Some("x"), one("unknown_env", 7)),
        ("settings: {max_cost: -1}\nsteps: [{type: text_to_image}]", Some("x"), one("wrong_value", 1)),
        ("settings: {max_workers: 41}\nsteps: [{type: text_to_image}]", Some("x"), one("wrong_value", 1)),
        (
            "steps:\n- {type: text_to_image, name: a}\n- {type: text_to_image, name: a}",
            Some("x"),
            one("duplicate_name", 3),
        ),
        ("steps:\n- {type: text_to_image, take: -1}", Some("x"), one("wrong_value", 2)),
    ] {
        assert_eq!(codes(text, input), expected, "{text}");
    }
    let several = "steps:\n  - type: text_to_image\n    model: nope\n  - type: nope\n  - type: text_to_image\n    params: {prompt: x, seed: -1, zeed: 1}\n";
    assert_eq!(codes(several, Some("x")).len(), 4);
}

#[test]
fn long_prompts_are_measured_in_characters() {
    assert_eq!(codes(ONE, Some(&"ä".repeat(20_000))), vec![]);
    assert_eq!(codes(ONE, Some(&"ä".repeat(20_001))), one("param_too_long", 7));
}

#[test]
fn what_would_cost_time_or_memory_is_refused_at_once() {
    let many = format!("steps:\n{}", "- {type: text_to_image}\n".repeat(10_000));
    assert_eq!(codes(&many, Some("x")), one("too_many_steps", 2));
    for text in [
        format!("steps: {}", "[".repeat(60_000)),
        format!("steps: {}", "{a: ".repeat(60_000)),
        "x".repeat(MAX_BYTES + 1),
    ] {
        let codes = codes(&text, None);
        assert!(codes.len() == 1 && codes[0].1.starts_with("document_"), "{codes:?}");
    }
}

#[test]
fn a_report_shows_line_excerpt_and_advice() {
    let text = ONE.replace("flux_schnell", "flux_schnel");
    let report = check(&text, &given(Some("x"))).unwrap_err().report("p.yaml", &text);
    for part in [
        "error[unknown_model]",
        "p.yaml:5:12",
        "model: flux_schnel",
        "Did you mean `flux_schnell`?",
        "nothing was spent",
    ] {
        assert!(report.contains(part), "{report}");
    }
}

const SCHEMA: &str = include_str!("../../pipeline.schema.json");

#[test]
fn the_schema_file_is_the_schema() {
    let generated = format!("{:#}\n", schema());
    assert!(generated == SCHEMA, "run `cargo fresco schema > functions/shared/pipeline/pipeline.schema.json`");
}
