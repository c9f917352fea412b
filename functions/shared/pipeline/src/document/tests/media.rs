//! The sources of media, their number, and the references to files and URLs.

use super::*;

#[test]
fn media_come_from_steps_params_and_the_run() {
    let text = "\
steps:
- {type: text_to_image, name: a, params: {num_images: 2}}
- {type: image_to_video, name: b}
- type: parallel_group
  name: g
  steps:
  - {type: image_to_image, name: c, input_from: a}
  - {type: image_to_image, name: d, input_from: a, enabled: false}
  - {type: image_to_image, name: e, params: {image: cat.png}}
- {type: analyze_image, name: f}
- {type: analyze_image, name: h, input_from: [a, g]}
- {type: image_to_video, name: i, model: kling_2_6_pro, input_from: e, params: {end_image: \"{{step_e.output}}\"}}
- {type: image_to_image, name: j, params: {image: [\"{{ step_a.output }}\", https://example.com/cat.png, dog.png]}}
- {type: image_to_image, name: k, model: kontext_multi, params: {images: [cat.png, dog.png]}}
";
    let checked = accepted(text, &given());
    for (name, expected) in [
        ("a", vec![]),
        ("b", vec!["image_url=a.0,a.1"]),
        ("c", vec!["image_url=a.0,a.1"]),
        ("e", vec!["image_url=#1"]),
        ("f", vec!["image=c.0,c.1,e.0"]),
        ("h", vec!["image=a.0,a.1,c.0,c.1,e.0"]),
        ("i", vec!["start_image_url=e.0", "end_image_url=e.0"]),
        ("j", vec!["image_url=a.0,a.1,#1,#2"]),
        ("k", vec!["image_urls=#1,#2"]),
    ] {
        assert_eq!(takes(&checked, name), expected, "{name}");
    }
    let k = step(&checked, "k");
    assert_eq!((k.media[0].list, k.model.inputs[0].max), (true, 4));
    let reads: Vec<_> = step(&checked, "h").reads().into_iter().map(StepName::as_str).collect();
    assert_eq!(reads, ["a", "c", "e"]);
}

#[test]
fn members_of_a_group_take_the_item_before_the_group() {
    let text = "\
steps:
- {type: text_to_image, name: a}
- type: parallel_group
  steps:
  - {type: text_to_image, name: b}
  - {type: image_to_image, name: c}
";
    assert_eq!(takes(&accepted(text, &given()), "c"), ["image_url=a.0"]);
}

#[test]
fn the_runs_image_goes_to_the_first_steps() {
    let text = "\
steps:
- type: parallel_group
  steps:
  - {type: image_to_image, name: a}
  - {type: image_to_video, name: b}
- {type: analyze_image, name: c, input_from: a}
";
    let with = |image: &str| RunInputs { image: Some(image.to_owned()), ..given() };
    let checked = accepted(text, &with("cat.png"));
    assert_eq!(
        (takes(&checked, "a"), takes(&checked, "b")),
        (vec!["image_url=#1".into()], vec!["image_url=#1".into()])
    );
    for (image, code) in [
        ("gone.png", "input_unread"),
        ("notes.txt", "input_kind"),
        ("clip.mp4", "kind_mismatch"),
        ("http://example.com/cat.png", "input_url"),
    ] {
        // Once, however many steps take it.
        assert_eq!(codes(text, &with(image)), [(4, code.to_owned())], "{image}");
    }
    assert_eq!(codes(text, &given()), [(4, "input_missing_media".into()), (5, "input_missing_media".into())]);
    // No step takes it, so it is not missing, and was given for nothing.
    assert_eq!(codes("steps: [{type: text_to_image}]", &with("gone.png")), [(1, "unread_image".to_owned())]);
}

#[test]
fn files_and_urls_are_checked() {
    let long = "x".repeat(4097);
    for (written, code) in [
        ("cat.png", None),
        ("https://example.com/cat.png", None),
        ("[cat.png]", None),
        ("gone.png", Some("input_unread")),
        ("notes.txt", Some("input_kind")),
        ("clip.mp4", Some("kind_mismatch")),
        ("[cat.png, clip.mp4]", Some("kind_mismatch")),
        ("http://example.com/cat.png", Some("input_url")),
        ("https://169.254.169.254/latest/meta-data", Some("input_url")),
        ("https://0x7f.1/cat.png", Some("input_url")),
        ("\"a\\0b\"", Some("input_path")),
        (&long, Some("input_path")),
        ("\" \"", Some("param_empty")),
        ("[]", Some("param_empty")),
        ("7", Some("param_type")),
        ("", Some("param_type")),
        ("{a: b}", Some("param_type")),
        ("[[cat.png]]", Some("param_type")),
        ("\"{{input}}\"", Some("input_unread")),
        ("\"{{vars.x}}\"", Some("unknown_var")),
        ("\"x/{{step_1.output}}.png\"", Some("param_value")),
        ("\"{{step_9.output}}\"", Some("unknown_step")),
    ] {
        let text = format!("steps:\n- type: text_to_image\n- type: image_to_image\n  params:\n    image: {written}\n");
        let expected: Vec<_> = code.iter().map(|code| (5, (*code).to_owned())).collect();
        assert_eq!(codes(&text, &given()), expected, "{written:.60}");
    }
}

#[test]
fn contradictions_are_refused() {
    refused(
        &given(),
        &[
            (
                "steps:\n- {type: text_to_image, name: a}\n- type: image_to_image\n  input_from: a\n  params: {image: cat.png}",
                &[(5, "conflict")],
            ),
            (
                "steps:\n- type: image_to_image\n  params:\n    image: cat.png\n    image_url: dog.png",
                &[(5, "param_conflict")],
            ),
            (
                "steps:\n- {type: text_to_image, name: a}\n- {type: analyze_image, name: b}\n- {type: image_to_image, params: {image: \"{{step_b.output}}\"}}",
                &[(4, "kind_mismatch")],
            ),
        ],
    );
}

#[test]
fn media_beyond_the_models_limit_are_refused() {
    // Steps are a, with two images, b, with three for each of them, and whatever reads them.
    let with = |step: &str| {
        format!(
            "steps:\n- {{type: text_to_image, name: a, params: {{num_images: 2}}}}\n- {{type: image_to_image, name: b, params: {{num_images: 3}}}}\n- {step}"
        )
    };
    for (step, code) in [
        ("{type: analyze_image}", None),
        ("{type: analyze_image, input_from: [a, b]}", None),
        ("{type: analyze_image, input_from: [b, b]}", Some("too_many_inputs")),
        ("{type: image_to_image, model: kontext_multi}", Some("too_many_inputs")),
        ("{type: image_to_image, model: kontext_multi, input_from: [a, a]}", None),
        ("{type: image_to_video}", None),
        ("{type: image_to_video, params: {end_image: cat.png}}", None),
        ("{type: image_to_video, params: {end_image: [cat.png]}}", None),
        ("{type: image_to_video, params: {end_image: [cat.png, dog.png]}}", Some("too_many_inputs")),
        ("{type: image_to_video, params: {end_image: \"{{step_a.output}}\"}}", Some("too_many_inputs")),
    ] {
        let expected: Vec<_> = code.iter().map(|code| (4, (*code).to_owned())).collect();
        assert_eq!(codes(&with(step), &given()), expected, "{step}");
    }
}

#[test]
fn the_names_of_parts_are_free() {
    let name = "x".repeat(62);
    let with = |second: &str, third: &str| {
        format!(
            "steps:\n- {{type: text_to_image, name: a, params: {{num_images: 3}}}}\n- {{type: image_to_image, name: {second}, input_from: a}}\n- {{type: text_to_image, name: {third}}}"
        )
    };
    for (second, third, code) in [
        ("b", "c", None),
        ("b", "b_4", None),
        ("b", "b_3", Some("duplicate_name")),
        (name.as_str(), "c", None),
        (&format!("{name}x"), "c", Some("bad_name")),
    ] {
        let expected: Vec<_> = code.iter().map(|code| (3, (*code).to_owned())).collect();
        assert_eq!(codes(&with(second, third), &given()), expected, "{second} {third}");
    }
    let group = "steps:\n- {type: text_to_image, name: a, params: {num_images: 2}}\n- {type: image_to_image, name: b}\n- {type: parallel_group, name: b_1, steps: [{type: text_to_image}]}";
    assert_eq!(codes(group, &given()), [(3, "duplicate_name".to_owned())]);
}

#[test]
fn media_references_are_every_file_and_url_once() {
    let text = "\
vars: {dir: pictures}
steps:
- {type: image_to_image, name: first}
- {type: image_to_image, params: {image: \"{{vars.dir}}/a.png\"}}
- {type: image_to_image, enabled: false, params: {image: disabled.png}}
- {type: image_to_image, params: {image: [b.png, https://example.com/c.png, b.png, http://example.com/d.png, https://10.0.0.1/e.png]}}
- {type: image_to_video, input_from: first, params: {end_image: f.png}}
- {type: text_to_image, model: nope, params: {prompt: 7}}
";
    let given = RunInputs { image: Some("run.png".into()), ..RunInputs::default() };
    let media_references = media_references(text, &given);
    let names: Vec<_> = media_references.iter().map(|reference| reference.text.as_str()).collect();
    assert_eq!(names, ["run.png", "pictures/a.png", "b.png", "https://example.com/c.png", "f.png"]);
    assert!(media_references.iter().all(|reference| reference.kind == MediaKind::Image));
    assert_eq!(super::super::media_references("steps: [", &given), []);
    assert_eq!(super::super::media_references("steps: [{type: text_to_image}]", &given), []);
}
