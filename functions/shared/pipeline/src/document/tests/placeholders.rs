//! Placeholders: what they are filled with, and which of them make a step read another.

use super::*;

/// The inputs, with the vars that the text does not name as those of a row, which need not be read.
fn read_by(text: &str, given: &RunInputs) -> RunInputs {
    let mut given = given.clone();
    let named = |name: &String| text.contains(&format!("{{{{vars.{name}}}}}"));
    (given.vars, given.row) = given.vars.into_iter().partition(|(name, _)| named(name));
    given
}

#[test]
fn placeholders_are_filled_from_the_run() {
    let mut given = given();
    given.vars.insert("style".into(), "{{input}} as ink".into());
    given.vars.insert("extra".into(), "7".into());
    given.env.insert("CITY".into(), "Kraków".into());
    for (prompt, filled, uncacheable) in [
        ("{{input}}", "a fox", false),
        ("{{ input }} in {{vars.place}}", "a fox in Kraków", false),
        // The run's vars go before the document's, and are not filled again.
        ("{{vars.style}}", "{{input}} as ink", false),
        ("{{vars.count}} {{vars.flag}} {{vars.extra}}", "3 true 7", false),
        ("{{env.CITY}}", "Kraków", false),
        ("{{timestamp}}", "2026-01-02T03:04:05Z", true),
        ("x {{random}}", "x f00d", true),
        ("a }} b {x} ${y}", "a }} b {x} ${y}", false),
        ("\\\\{{masterpiece}}, {{input}}", "{{masterpiece}}, a fox", false),
        ("\\\\{input} $\\\\{input}", "{input} ${input}", false),
    ] {
        let text = format!(
            "vars: {{style: \"{{{{env.NOT_THERE}}}}\", place: \"{{{{env.CITY}}}}\", count: 3, flag: true}}\n{}",
            one_image(&format!("{{prompt: \"{prompt}\"}}"))
        );
        let given = read_by(&text, &given);
        let checked = accepted(&text, &given);
        let step = &checked.groups[0].steps[0];
        assert_eq!((step.params["prompt"].as_str(), step.uncacheable), (Some(filled), uncacheable), "{prompt}");
    }
}

/// What a text is filled with is as tidy as the text, and what it is filled with is not read.
#[test]
fn values_are_filled_in_tidy() {
    let messy = |text: &str| format!("\u{feff} {}\r\n", text.replace('\n', "\r\n"));
    let mut given = RunInputs { input: Some(messy("a {fox}\nor two")), ..given() };
    given.vars.insert("place".into(), messy("Kraków"));
    given.env.insert("CITY".into(), messy("{input}"));
    given.row.insert("row".into(), messy("{{input}}"));
    let text = "vars: {own: \"\\r\\n{{input}}\\r\\n\"}\nsteps:\n- type: text_to_image\n  params:\n    prompt: |\n\n      ({{input}}) ({{vars.place}}) ({{env.CITY}})\n      ({{vars.row}}) ({{vars.own}})\n\n";
    let checked = accepted(text, &given);
    let filled = "(a {fox}\nor two) (Kraków) ({input})\n({{input}}) (a {fox}\nor two)";
    assert_eq!(step(&checked, "step_1").params["prompt"], filled);
    // A BOM alone is no prompt.
    given.input = Some("\u{feff}\r\n".into());
    let none = RunInputs { vars: BTreeMap::new(), env: BTreeMap::new(), ..given };
    assert_eq!(codes("steps: [{type: text_to_image}]", &none), [(1, "param_empty".to_owned())]);
}

#[test]
fn what_nothing_reads_is_refused_with_the_nearest_name() {
    let text = "vars: {mood: \"{{env.MOOD}}\"}\nsteps:\n- {type: text_to_image, params: {prompt: \"{{vars.style}} {{vars.mood}}\"}}\n- {type: image_to_image, enabled: false, params: {prompt: \"{{vars.later}}\", image: \"{{vars.file}}\"}}";
    let with = |vars: &[&str], env: &[&str]| {
        let map = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        RunInputs { vars: map(vars), env: map(env), ..given() }
    };
    for (vars, env, expected) in [
        (&["style", "later", "file"][..], &["MOOD"][..], &[][..]),
        (&["style", "mood"], &["MOOD"], &[]),
        (&["style", "stile"], &["MOOD"], &[(1, "unread_var")]),
        (&["style"], &["MOOD", "CITY"], &[(1, "unread_env")]),
        (&["style", "\u{1f98a}"], &["MOOD", "CITY"], &[(1, "unread_var"), (1, "unread_env")]),
    ] {
        let expected: Vec<_> = expected.iter().map(|(line, code)| (*line, (*code).to_owned())).collect();
        assert_eq!(codes(text, &with(vars, env)), expected, "{vars:?} {env:?}");
    }
    let near = problem(text, &with(&["style", "stile"], &["MOOD"]));
    assert!(near.message.contains("--var") && near.advice.contains("`style`"), "{near:?}");
    // A file of rows has the columns that it has; what the batch gives besides is read, whatever rows give.
    let row = RunInputs { row: with(&["style", "unread"], &[]).vars, ..with(&[], &["MOOD"]) };
    assert_eq!(codes(text, &row), []);
    let prepared = prepare(text).unwrap();
    assert_eq!(prepared.check_unread(&with(&["style", "mood"], &["MOOD"])), Ok(()));
    assert_eq!(prepared.check_unread(&with(&["stile"], &["MOOD"])).unwrap_err().0[0].code, "unread_var");
}

#[test]
fn an_image_that_no_step_takes_is_refused() {
    let with = RunInputs { image: Some("cat.png".to_owned()), ..given() };
    for (steps, expected) in [
        ("{type: image_to_image}", None),
        ("{type: text_to_image}, {type: image_to_video}", Some("unread_image")),
        ("{type: image_to_image, params: {image: dog.png}}", Some("unread_image")),
        ("{type: text_to_image}, {type: image_to_image, enabled: false}", None),
    ] {
        let expected: Vec<_> = expected.iter().map(|code| (1, (*code).to_owned())).collect();
        assert_eq!(codes(&format!("steps: [{steps}]"), &with), expected, "{steps}");
    }
}

#[test]
fn an_input_text_that_nothing_reads_is_refused_where_it_is_asked_for() {
    for (document, read) in [
        ("steps: [{type: text_to_image}]", true),
        ("steps: [{type: text_to_image, params: {prompt: x}}]", false),
        ("steps: [{type: text_to_image, params: {prompt: \"a {{input}}\"}}]", true),
        ("steps: [{type: text_to_image, params: {prompt: \"\\\\{{input}}\"}}]", false),
        ("vars: {all: \"{{input}}\"}\nsteps: [{type: text_to_image, params: {prompt: x}}]", true),
        ("steps: [{type: text_to_image, params: {prompt: x}}, {type: text_to_image, enabled: false}]", true),
        ("steps: [{type: text_to_image, model: no_such, params: {prompt: x}}]", false),
        ("steps: [{type: no_such}]", true),
    ] {
        let problems = check_unread_input(document, &given()).err();
        let code = problems.map(|problems| problems.0[0].code.clone());
        assert_eq!(code.as_deref(), (!read).then_some("unread_input"), "{document}");
        let without = RunInputs { input: None, ..given() };
        assert_eq!(check_unread_input(document, &without), Ok(()), "{document}");
    }
}

/// The problems of documents that are no YAML, with this text in what is wrong.
fn unparsed(text: &str) -> Vec<Problem> {
    let long = text.replace(' ', "_");
    let documents = [
        format!("{long}: 1\n{long}: 2"),
        format!("\"{text}\": 1\n\"{text}\": 2"),
        format!("steps: *{long}"),
        format!("steps: &{long} x"),
        format!("steps: !{long} x"),
        format!("%{long}\n---\nx"),
        format!("steps: \"{text}"),
        format!("steps: [{text}"),
        format!("{text}\n- x: y"),
        format!("? [{text}]\n: x"),
        format!("steps: \"\\{text}\""),
    ];
    let problems = documents.iter().map(|document| check(document, &given()).expect_err(document).0);
    problems.flatten().map(|problem| Problem { message: problem.message.replace('_', " "), ..problem }).collect()
}

#[test]
fn a_message_repeats_little_of_a_text_and_nothing_of_a_filled_one() {
    let secret = "a prompt that stands in the wrong column ".repeat(3);
    let mut given = RunInputs { input: Some(secret.clone()), ..given() };
    given.row.insert("n".into(), "123456789".into());
    given.row.insert("url".into(), "https://secret.test:99/prompt".into());
    given.row.insert("scheme".into(), "prompt://secret.test/prompt".into());
    for (params, filled) in [
        ("aspect_ratio: \"{{input}}\"", true),
        ("output_format: \"{{input}}\"", true),
        ("num_images: \"{{vars.n}}\"", true),
        ("num_images: \"{{input}}\"", true),
        ("image_size: \"{{input}}\"", true),
        ("image: \"{{input}}.png\"", true),
        ("image: \"{{vars.url}}\"", true),
        ("image: \"{{vars.scheme}}\"", true),
        ("output_format: \"TEXT\"", false),
        ("seed: \"TEXT\"", false),
        ("image: \"TEXT\"", false),
        ("prompt: \"{{TEXT}}\"", false),
        ("prompt: \"{{TEXT\"", false),
        ("prompt: \"{{step_TEXT.output}}\"", false),
        ("\"TEXT\": x", false),
        ("guidance_scale: 1e300", false),
    ] {
        let params = params.replace("TEXT", secret.trim());
        let text = format!(
            "steps: [{{type: text_to_image, name: a}}, {{type: image_to_image, model: flux_dev_i2i, params: {{{params}}}}}]"
        );
        let Err(Problems(problems)) = check(&text, &given) else { panic!("{params}") };
        for problem in problems.iter().chain(&unparsed(&secret)) {
            let said = format!("{} {}", problem.message, problem.advice);
            assert!(!said.contains(&secret[..41]), "{params}: {said}");
            assert!(
                !filled || ["prompt", "secret", "123456789"].iter().all(|word| !said.contains(word)),
                "{params}: {said}"
            );
            assert!(!said.contains(&"0".repeat(41)), "{params}: {said}");
        }
    }
}

#[test]
fn numbers_may_come_from_vars() {
    let text = "vars: {n: 2, d: 10, fast: false}\nsteps:\n- {type: text_to_image, params: {num_images: \"{{vars.n}}\", guidance_scale: \"{{vars.n}}.5\", enable_safety_checker: \"{{vars.fast}}\"}}\n- {type: image_to_video, model: kling_2_1, params: {duration: \"{{vars.d}}\"}}\n- {type: image_to_video, model: sora_2, input_from: step_1, params: {duration: \"1{{vars.n}}\"}}";
    let checked = accepted(text, &given());
    let params = &step(&checked, "step_1").params;
    assert_eq!((&params["num_images"], &params["guidance_scale"]), (&2.into(), &2.5.into()));
    assert_eq!(params["enable_safety_checker"], false);
    assert_eq!(step(&checked, "step_2").params["duration"], "10");
    assert_eq!(step(&checked, "step_3").params["duration"], 12);
    // Without a placeholder a text is no number, and a word is none with one.
    refused(
        &given(),
        &[
            (&one_image("{num_images: \"2\"}"), &[(4, "param_type")]),
            (&one_image("{num_images: \"{{input}}\"}"), &[(4, "param_type")]),
        ],
    );
}

#[test]
fn unfillable_placeholders_are_reported() {
    for (prompt, code) in [
        ("{{env.AWS_SECRET_ACCESS_KEY}}", "unknown_env"),
        ("{{env.PATH}}", "unknown_env"),
        ("{{vars.x}}", "unknown_var"),
        ("{{nonsense}}", "unknown_placeholder"),
        ("{{}}", "unknown_placeholder"),
        ("{{step_a.text}}", "unknown_placeholder"),
        ("{{input.text}}", "unknown_placeholder"),
        ("a {{ b", "unclosed_placeholder"),
        ("{{input", "unclosed_placeholder"),
        ("{{input} and more", "unclosed_placeholder"),
        ("{{input, {{input}}", "unclosed_placeholder"),
        ("{input}", "single_braces"),
        ("${input}", "single_braces"),
        ("a { vars.style } b", "single_braces"),
        ("{step_a.output}", "single_braces"),
        ("{env.CITY}", "single_braces"),
    ] {
        assert_eq!(
            codes(&one_image(&format!("{{prompt: \"{prompt}\"}}")), &given()),
            [(4, code.to_owned())],
            "{prompt}"
        );
    }
    refused(&no_input(), &[(&one_image("{prompt: \"{{input}}\"}"), &[(4, "input_missing")])]);
    let single = problem(&one_image("{prompt: \"by ${input}\"}"), &given());
    assert!(single.message.contains("`${input}`") && single.advice.contains("`{{input}}`"), "{single:?}");
    assert!(problem(&one_image("{prompt: \"{{input\"}"), &given()).advice.contains("`\\{{`"));
    let near = problem(&format!("vars: {{style: x}}\n{}", one_image("{prompt: \"{{vars.stlye}}\"}")), &given());
    assert!(near.advice.contains("{{vars.style}}"), "{}", near.advice);
    for var in ["{{vars.b}}", "{{timestamp}}", "{{step_a.output}}"] {
        let text = format!("vars: {{a: \"{var}\", b: x}}\nsteps: [{{type: text_to_image}}]");
        assert_eq!(codes(&text, &given()), [(1, "unknown_placeholder".to_owned())], "{var}");
    }
}

#[test]
fn a_text_may_read_steps_that_give_text() {
    let text = "\
steps:
- {type: text_to_image, name: a}
- {type: analyze_image}
- {type: analyze_image, name: named, input_from: a}
- type: image_to_image
  name: b
  input_from: a
  params: {prompt: \"{{input}}: {{step_2.output}}, {{ step_named.output }}{{step_named.output}}.\"}
";
    let checked = accepted(text, &given());
    let step = step(&checked, "b");
    assert!(!step.params.contains_key("prompt") && step.params.contains_key("num_images"));
    let named = |name: &str| Piece::Step(StepName::parse(name).unwrap());
    let plain = |text: &str| Piece::Text(text.to_owned());
    let pieces = vec![plain("a fox: "), named("step_2"), plain(", "), named("named"), named("named"), plain(".")];
    assert_eq!(step.texts, [TextSlot { to: "prompt".into(), max_chars: 20_000, pieces }]);
    let reads: Vec<_> = step.reads().into_iter().map(StepName::as_str).collect();
    assert_eq!(reads, ["a", "named", "step_2"]);
}

#[test]
fn the_name_in_a_placeholder() {
    // `{{step_1.output}}` is the step named `1` if there could be one, so the step `step_1`; a given name goes first.
    let text = "steps:\n- {type: text_to_image, name: base}\n- {type: analyze_image, name: x}\n- {type: analyze_image, name: step_x, input_from: base}\n- {type: text_to_image, params: {prompt: \"{{step_x.output}} {{step_step_x.output}}\"}}";
    let checked = accepted(text, &given());
    let reads: Vec<_> = step(&checked, "step_4").reads().into_iter().map(StepName::as_str).collect();
    assert_eq!(reads, ["step_x", "x"]);
}

#[test]
fn a_text_must_not_read_media_or_later_steps() {
    let with = |prompt: &str| {
        format!(
            "steps:\n- {{type: text_to_image, name: a}}\n- {{type: analyze_image, name: t}}\n- {{type: parallel_group, name: g, steps: [{{type: analyze_image, input_from: a}}]}}\n- type: analyze_image\n  name: b\n  input_from: a\n  params: {{prompt: \"{prompt}\"}}\n- {{type: analyze_image, name: later, input_from: a}}\n"
        )
    };
    for (prompt, code) in [
        ("{{step_t.output}}", None),
        ("{{step_a.output}}", Some("kind_mismatch")),
        ("{{step_b.output}}", Some("self_reference")),
        ("{{step_later.output}}", Some("later_step")),
        ("{{step_lost.output}}", Some("unknown_step")),
        ("{{step_g.output}}", Some("unknown_step")),
    ] {
        let expected: Vec<_> = code.iter().map(|code| (8, (*code).to_owned())).collect();
        assert_eq!(codes(&with(prompt), &given()), expected, "{prompt}");
    }
    assert!(problem(&with("{{step_a.output}}"), &given()).message.contains("cannot be part of a text"));
    let not_a_text = "steps:\n- {type: text_to_image, name: a}\n- {type: analyze_image, name: t}\n- {type: text_to_image, params: {aspect_ratio: \"{{step_t.output}}\"}}";
    assert_eq!(codes(not_a_text, &given()), [(4, "param_type".to_owned())]);
}

#[test]
fn texts_beyond_their_limit_are_refused() {
    let text = one_image("{prompt: \"{{input}}\"}");
    let with = |input: String| RunInputs { input: Some(input), ..given() };
    assert_eq!(codes(&text, &with("ä".repeat(20_000))), []);
    // In two characters each, which are sent as one.
    assert_eq!(codes(&text, &with("a\u{308}".repeat(20_000))), []);
    assert_eq!(codes(&text, &with("ä".repeat(20_001))), [(4, "param_too_long".to_owned())]);
    assert_eq!(codes(&text, &with("  ".into())), [(4, "param_empty".to_owned())]);
    let many = one_image(&format!("{{prompt: \"{}\"}}", "{{input}}".repeat(100_000)));
    assert_eq!(codes(&many, &with("ä".repeat(1_000))), [(4, "param_too_long".to_owned())]);
    let slot = format!(
        "steps:\n- {{type: text_to_image}}\n- {{type: analyze_image}}\n- type: text_to_image\n  params: {{prompt: \"{{{{step_2.output}}}}{}\"}}",
        "x".repeat(20_000)
    );
    assert_eq!(codes(&slot, &given()), [(5, "param_too_long".to_owned())]);
}
