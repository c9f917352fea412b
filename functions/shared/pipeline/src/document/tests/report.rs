//! The report that a user sees.

use super::*;

#[test]
fn a_report_shows_line_excerpt_and_advice() {
    let text = "steps:\n  - name: image\n    type: text_to_image\n    model: flux_schnel\n";
    let report = check(text, &given()).unwrap_err().report("p.yaml", text);
    assert_eq!(
        report,
        "\
error[unknown_model]: there is no model `flux_schnel` for text_to_image
  --> p.yaml:4:12 (steps[0].model)
  |
4 |     model: flux_schnel
  |            ^
  = Did you mean `flux_schnell`? Models for text_to_image: flux_schnell, flux_dev, nano_banana_pro, nano_banana, imagen4.

1 problem; nothing was started and nothing was spent.
"
    );
}

#[test]
fn everything_is_reported_at_once_in_the_documents_order() {
    let text = "\
settings: {max_workers: 99}
steps:
  - type: text_to_image
    model: nope
    input_from: nobody
  - type: nope
  - type: text_to_image
    params: {prompt: \"{{vars.x}}\", seed: -1, zeed: 1}
  - type: image_to_video
    params: {duration: 7, image: http://example.com}
vars: {a: [1]}
";
    refused(
        &given(),
        &[(
            text,
            &[
                (1, "wrong_value"),
                (4, "unknown_model"),
                (5, "unexpected_input"),
                (6, "unknown_type"),
                (8, "unknown_var"),
                (8, "param_value"),
                (8, "param_unknown"),
                (10, "param_value"),
                (10, "input_url"),
                (11, "wrong_type"),
            ],
        )],
    );
}

#[test]
fn a_long_report_ends_with_how_many_more_there_are() {
    let text = format!("steps:\n{}", "- {type: nope}\n".repeat(300));
    let problems = check(&text, &given()).unwrap_err();
    assert_eq!(problems.0.len(), MAX_PROBLEMS + 1);
    let report = problems.report("p.yaml", &text);
    assert!(
        report.ends_with("\n… and 200 more\n\nmore than 100 problems; nothing was started and nothing was spent.\n")
    );
    assert!(problems.0.windows(2).all(|pair| pair[0].place <= pair[1].place));
}

#[test]
fn a_users_text_is_shown_short_and_printable() {
    let text = format!("steps: [{{type: \"\\e[31m{}\"}}]", "x".repeat(1_000));
    let problem = problem(&text, &given());
    assert!(problem.message.chars().count() < 120 && !problem.message.contains('\u{1b}'), "{}", problem.message);
    let choice = format!("steps: [{{type: text_to_image, params: {{acceleration: \"{}\"}}}}]", "x".repeat(50_000));
    assert!(super::problem(&choice, &given()).message.chars().count() < 700);
}
