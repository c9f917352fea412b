//! Malformed and hostile documents. Each is refused with a code that says what it is, at its line.

use super::*;

#[test]
fn syntax_problems_by_table() {
    let long_name = format!("steps:\n- {{type: text_to_image, name: {}}}", "x".repeat(300));
    let brackets = "[".repeat(60_000);
    let many = format!("steps:\n{}", "- {type: text_to_image}\n".repeat(10_000));
    let huge = " ".repeat(MAX_BYTES + 1);
    let deep = format!("a: {}{}\nsteps: []", "[".repeat(40), "]".repeat(40));
    refused(
        &given(),
        &[
            // Broken.
            ("steps: [{type: text_to_image", &[(1, "document_syntax")]),
            ("steps:\n- type: \"text", &[(2, "document_syntax")]),
            ("{\"steps\": [}", &[(1, "document_syntax")]),
            ("steps:\n\t- x", &[(2, "document_syntax")]),
            ("a: &a [x]\nsteps: *a", &[(1, "document_syntax")]),
            ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", &[(1, "document_syntax")]),
            (&brackets, &[(1, "document_syntax")]),
            (&deep, &[(1, "document_syntax")]),
            (&huge, &[(1, "document_too_large")]),
            ("name: a\nname: b\nsteps: []", &[(2, "document_syntax")]),
            ("steps:\n- {type: text_to_image, type: text_to_image}", &[(2, "document_syntax")]),
            ("steps: []\n---\nsteps: []", &[(2, "document_syntax")]),
            ("<<: {a: b}\nsteps: [{type: text_to_image}]", &[(1, "document_syntax")]),
            ("steps:\n- {type: text_to_image, name: a\0b}", &[(2, "document_syntax")]),
            ("steps:\n- {type: text_to_image, name: \"a\\0b\"}", &[(2, "bad_name")]),
            ("steps:\n- {type: text_to_image, params: {prompt: \"a\\0b\"}}", &[(2, "param_value")]),
            // Unknown.
            ("stepz: []\nsteps: [{type: text_to_image}]", &[(1, "unknown_key")]),
            ("steps:\n- {type: text_to_image, model: midjourney}", &[(2, "unknown_model")]),
            ("steps:\n- {type: texttoimage}", &[(2, "unknown_type")]),
            // Names and references.
            (
                "steps:\n- {type: image_to_image, name: a, input_from: b}\n- {type: image_to_image, name: b, input_from: a}",
                &[(2, "cycle")],
            ),
            ("steps:\n- {type: image_to_image, name: a, input_from: a}", &[(2, "self_reference")]),
            ("steps:\n- {type: image_to_image, name: a, input_from: gone}", &[(2, "unknown_step")]),
            (
                "steps:\n- {type: text_to_image}\n- {type: analyze_image}\n- {type: image_to_video}",
                &[(4, "kind_mismatch")],
            ),
            ("steps:\n- {type: text_to_image, name: a}\n- {type: text_to_image, name: a}", &[(3, "duplicate_name")]),
            ("steps:\n- {type: text_to_image, name: ../../x}", &[(2, "bad_name")]),
            (&long_name, &[(2, "bad_name")]),
            (
                "steps:\n- {type: text_to_image, params: {prompt: \"{{step_later.output}}\"}}\n- {type: analyze_image, name: later, params: {image: cat.png}}",
                &[(2, "later_step")],
            ),
            // Steps.
            ("steps: []", &[(1, "no_steps")]),
            ("name: x", &[(1, "no_steps")]),
            (&many, &[(2, "too_many_steps")]),
            // Params.
            ("steps:\n- {type: text_to_image, params: {prompt: 7}}", &[(2, "param_type")]),
            ("steps:\n- {type: text_to_image, params: {prompt: [a]}}", &[(2, "param_type")]),
            ("steps:\n- {type: text_to_image, params: {prompt: \"\"}}", &[(2, "param_empty")]),
            ("steps:\n- {type: text_to_image, params: {num_images: many}}", &[(2, "param_type")]),
            ("steps:\n- {type: text_to_image, params: {num_images: 99}}", &[(2, "param_value")]),
            ("steps:\n- {type: text_to_image, params: {guidance_scale: .nan}}", &[(2, "param_type")]),
            ("steps:\n- {type: text_to_image, params: {guidance_scale: .inf}}", &[(2, "param_type")]),
            ("steps:\n- {type: text_to_image, params: {seed: 99999999999999999999}}", &[(2, "param_type")]),
            ("steps:\n- {type: text_to_image, params: {seed: 2024-01-01}}", &[(2, "param_type")]),
            ("steps:\n- {type: text_to_image, params: {seed: !!binary aGk=}}", &[(2, "param_type")]),
            (
                "steps:\n- type: text_to_image\n- type: image_to_video\n  model: kling_2_1\n  params:\n    duration: 7",
                &[(6, "param_value")],
            ),
            // What must not be read.
            (
                "steps:\n- {type: text_to_image, params: {prompt: \"{{env.AWS_SECRET_ACCESS_KEY}}\"}}",
                &[(2, "unknown_env")],
            ),
            ("steps:\n- {type: image_to_image, params: {image: http://example.com/cat.png}}", &[(2, "input_url")]),
            ("steps:\n- {type: image_to_image, params: {image: https://192.168.0.1/cat.png}}", &[(2, "input_url")]),
            ("steps:\n- {type: image_to_image, params: {image: https://2130706433/cat.png}}", &[(2, "input_url")]),
            ("steps:\n- {type: image_to_image, params: {image: notes.txt}}", &[(2, "input_kind")]),
        ],
    );
    refused(&no_input(), &[("steps:\n- {type: text_to_image}", &[(2, "param_missing")])]);
}

#[test]
fn a_wrong_value_is_answered_with_the_right_ones() {
    let text = "steps: [{type: image_to_video, model: kling_2_1, params: {image: cat.png, duration: 7}}]";
    let problem = problem(text, &given());
    assert_eq!(problem.path, "steps[0].params.duration");
    assert!(problem.advice.contains("5, 10"), "{}", problem.advice);
}
