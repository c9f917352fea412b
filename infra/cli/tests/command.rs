//! The command with invalid input: it reports the problem, its location and its remedy with a stable exit code, before
//! anything is started.

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
fn documents_with_problems_are_rejected_with_a_report() {
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
fn flags_that_the_document_does_not_read_are_rejected_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.png"), "this is a text").unwrap();
    let document = b"steps: [{type: text_to_image, params: {prompt: \"{{vars.style}} {{env.PATH}}\"}}]";
    let read = ["--var", "style=ink", "--env", "PATH"];
    for (flags, code, advice) in [
        (["--var", "stile=oil"], "unread_var", "Did you mean `style`?"),
        (["--env", "HOME"], "unread_env", "leave it out"),
        (["--input-image", "notes.png"], "unread_image", "leave it out"),
        (["--input", "a fox"], "unread_input", "Write {{input}} where it belongs"),
    ] {
        let output = run(folder.path(), document, &[&read[..], &flags[..]].concat());
        let report = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{report}");
        assert!(report.contains(&format!("error[{code}]")) && report.contains(advice), "{report}");
        assert!(report.contains("1 problem; nothing was started"), "{report}");
    }
}

/// The problems of media in a document, with files beside it.
#[test]
fn media_with_problems_are_rejected_with_a_report() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.png"), "this is a text").unwrap();
    std::fs::File::create(folder.path().join("huge.png")).unwrap().set_len(15 << 20).unwrap();
    std::fs::create_dir(folder.path().join("folder.png")).unwrap();
    for (image, code, word) in [
        ("notes.png", "input_kind", "is something else"),
        ("huge.png", "input_too_large", "14 MiB"),
        ("folder.png", "input_unread", "not a file"),
        ("nowhere.png", "input_unread", "nowhere.png cannot be read"),
        ("http://example.com/x.png", "input_url", "https"),
        ("https://127.0.0.1/x.png", "input_url", "public"),
        ("https://0x7f000001/x.png", "input_url", "public"),
        ("https://[::ffff:169.254.169.254]/x.png", "input_url", "public"),
        ("https://localhost/x.png", "input_url", "public"),
        ("https://user:secret@example.com/x.png", "input_url", "credentials"),
    ] {
        let document =
            format!("steps:\n  - type: image_to_image\n    params:\n      prompt: x\n      image: \"{image}\"\n");
        let output = run(folder.path(), document.as_bytes(), &[]);
        let report = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{report}");
        assert!(report.contains(&format!("error[{code}]")) && report.contains(":5:"), "{image}: {report}");
        assert!(report.contains(word) && report.contains("nothing was spent"), "{image}: {report}");
    }
    // A Mac writes the file's name in its decomposed form, an editor the document in the composed one.
    std::fs::write(folder.path().join("cafe\u{301}.png"), "this is a text").unwrap();
    let document = "steps: [{type: image_to_image, params: {prompt: x, image: \"caf\u{e9}.png\"}}]";
    let found = text(&run(folder.path(), document.as_bytes(), &[]).stderr);
    assert!(found.contains("error[input_kind]"), "it is found: {found}");
    let none =
        run(folder.path(), b"steps: [{type: image_to_image, params: {prompt: x}}]", &["--input-image", "notes.png"]);
    assert!(
        text(&none.stderr).contains("notes.png cannot be read"),
        "relative to where we are: {}",
        text(&none.stderr)
    );
}

#[test]
fn a_later_problem_of_a_document_is_rejected_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let many = format!("steps:\n{}", "- {type: text_to_image, params: {prompt: x}}\n".repeat(10_000));
    let long = format!("steps: [{{type: text_to_image, name: {}}}]", "x".repeat(300));
    for (document, code) in [
        (many.as_str(), "too_many_steps"),
        (long.as_str(), "bad_name"),
        ("a: &a [x, x]\nb: &b [*a, *a]\nsteps: [*b]", "document_syntax"),
        (&format!("steps: {}", "[".repeat(60_000)), "document_syntax"),
        ("steps: []\n---\nsteps: []", "document_syntax"),
        ("steps: [{type: text_to_image, params: {prompt: \"{{env.AWS_SECRET_ACCESS_KEY}}\"}}]", "unknown_env"),
        (
            "steps: [{name: a, type: text_to_image, params: {prompt: \"{{step_b.output}}\"}}, {name: b, type: text_to_image}]",
            "later_step",
        ),
        ("steps: [{name: a, type: image_to_image, input_from: a, params: {prompt: x}}]", "self_reference"),
        ("settings: {similar: 0.9}\nsteps: [{type: text_to_image, params: {prompt: x}}]", "not_supported"),
        ("steps: [{type: text_to_speech, params: {prompt: x}}]", "not_supported"),
    ] {
        let output = run(folder.path(), document.as_bytes(), &[]);
        let report = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{report:.2000}");
        assert!(report.contains(&format!("error[{code}]")), "{code}: {report:.2000}");
    }
}

#[test]
fn files_that_are_no_documents_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    for (document, word) in [(vec![b' '; 5_000_000], "larger than"), (vec![0xff, 0xfe, 0x00], "not UTF-8")] {
        let output = run(folder.path(), &document, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
    }
    let huge = folder.path().join("huge.yaml");
    std::fs::File::create(&huge).unwrap().set_len(300_000_000).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_fresco")).args(["plan", huge.to_str().unwrap()]).output().unwrap();
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("larger than"));
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

#[test]
fn schema_and_models_need_no_stack() {
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_fresco")).args(args).output().unwrap();
    let schema = run(&["schema"]);
    let committed = include_str!("../../../functions/shared/pipeline/pipeline.schema.json");
    assert_eq!(text(&schema.stdout), committed, "cargo fresco schema > functions/shared/pipeline/pipeline.schema.json");
    let models = run(&["models", "image_to_video"]);
    assert!(models.status.success() && text(&models.stdout).contains("sora_2_pro"));
    let json: serde_json::Value = serde_json::from_slice(&run(&["models", "--json"]).stdout).unwrap();
    assert!(json["models"].as_array().unwrap().len() > 20);
    assert_eq!(run(&["models", "nothing"]).status.code(), Some(2));
}

/// Runs `fresco` with these arguments and a state folder in which nothing may appear.
fn refused(folder: &Path, words: &[&str]) -> Output {
    let state = folder.join("state");
    let output = Command::new(env!("CARGO_BIN_EXE_fresco"))
        .args(words)
        .args(["--state", state.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(!state.exists(), "nothing was started");
    output
}

#[test]
fn parameters_that_cannot_be_set_are_refused_before_anything_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pipeline.yaml");
    std::fs::write(&file, "steps: [{type: text_to_image, params: {prompt: x}}]").unwrap();
    let file = file.to_str().unwrap();
    for (set, code, words) in [
        ("MaxAgeDay=3", "unknown_parameter", ["no parameter `MaxAgeDay`", "did you mean `MaxAgeDays`?"]),
        ("PublicUrl=https://example.com", "own_parameter", ["`PublicUrl`", "at which the emulator serves the API"]),
        ("FalQueueUrl=https://example.com", "own_parameter", ["`FalQueueUrl`", "the simulated provider"]),
    ] {
        for command in [&["up"] as &[&str], &["run", file], &["plan", file]] {
            let output = refused(folder.path(), &[command, &["--set", set]].concat());
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{command:?} {set}: {said}");
            assert!(said.starts_with(&format!("error[{code}]")), "{command:?} {set}: {said}");
            assert!(words.iter().all(|word| said.contains(word)), "{command:?} {set}: {said}");
        }
    }
    let both = refused(folder.path(), &["up", "--json", "--set", "GeminiUrl=x", "--set", "LogDay=2"]);
    let lines: Vec<serde_json::Value> =
        text(&both.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| &line["error"]).collect::<Vec<_>>(), ["own_parameter", "unknown_parameter"]);
    assert_eq!(refused(folder.path(), &["up", "--set", "MaxAgeDays"]).status.code(), Some(2));
}

#[test]
fn outputs_are_not_downloaded_among_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    std::fs::create_dir(&to).unwrap();
    let fetch = |run: &str| refused(folder.path(), &["fetch", run, "--to", to.to_str().unwrap()]);
    assert!(text(&fetch("no/run").stderr).starts_with("error[bad_run_id]"));
    for (name, content, word) in [
        ("note.txt", "mine", "is not empty"),
        ("manifest.json", "{\"run_id\": \"run-0002\"}", "outputs of run run-0002"),
    ] {
        std::fs::write(to.join(name), content).unwrap();
        let output = fetch("run-0001");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error[bad_folder]") && said.contains(word), "{said}");
        assert_eq!(std::fs::read_to_string(to.join(name)).unwrap(), content);
    }
}

#[test]
fn invalid_arguments_of_a_clean_up_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    for (args, said) in [
        (vec!["--older-than", "59m"], "error[bad_age]: `59m` is too short"),
        (vec!["--older-than", "3651d"], "error[bad_age]: `3651d` is too long"),
        (vec!["--older-than", "3 weeks"], "error[bad_age]: `3 weeks` is no age"),
        (vec!["--older-than", "3d", "--out", nowhere], "error[bad_folder]"),
        (vec!["--dry-run"], "--older-than <AGE>"),
    ] {
        let output = refused(folder.path(), &[vec!["clean"], args.clone()].concat());
        let report = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{report}");
        assert!(report.contains(said), "{args:?}: {report}");
    }
}
