//! The command as a user meets it when something is wrong: it says what, where and how to mend it, with a steady exit code,
//! and before anything is started.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use std::path::Path;
use std::process::{Command, Output};

/// Runs `fresco run FILE` with a state folder in which nothing may appear.
fn run(folder: &Path, document: &[u8], more: &[&str]) -> Output {
    let file = folder.join("pipeline.yaml");
    std::fs::write(&file, document).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fresco"))
        .args(["run", file.to_str().unwrap(), "--state", folder.join("state").to_str().unwrap()])
        .args(more)
        .output()
        .unwrap();
    assert!(!folder.join("state").exists(), "nothing was started");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn documents_with_problems_are_refused_with_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let long = "x".repeat(20_001);
    let step = |rest: &str| format!("steps:\n  - name: image\n    type: text_to_image\n{rest}");
    for (document, more, code, line) in [
        (step("    model: flux_schnel\n"), vec!["--input", "x"], "unknown_model", ":4:"),
        (step("    params: {prompt: \"\"}\n"), vec![], "param_empty", ":4:"),
        (step(""), vec![], "param_missing", ":2:"),
        (step(""), vec!["--input", &long], "param_too_long", ":2:"),
        (step("    params: {prompt: \"{{input}}\"}\n"), vec![], "input_missing", ":4:"),
        ("steps: [".to_owned(), vec![], "document_syntax", ":1:"),
        ("steps:\n\t- x\n".to_owned(), vec![], "document_syntax", ":2:"),
    ] {
        let output = run(folder.path(), document.as_bytes(), &more);
        let report = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{report}");
        assert!(report.contains(&format!("error[{code}]")) && report.contains(line), "{report}");
        assert!(report.contains("nothing was spent"), "{report}");
    }
}

#[test]
fn files_that_are_no_documents_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (document, word) in [(vec![b' '; 5_000_000], "larger than"), (vec![0xff, 0xfe, 0x00], "not UTF-8")] {
        let output = run(folder.path(), &document, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_fresco")).args(["run", "/nowhere.yaml"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("/nowhere.yaml cannot be read"));
}

#[test]
fn json_is_one_object_a_line_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), b"steps: []", &["--json"]);
    assert_eq!(output.status.code(), Some(2));
    let stdout = text(&output.stdout);
    let lines: Vec<serde_json::Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["problems"][0]["code"], "no_steps");
    assert!(output.stderr.is_empty());
}
