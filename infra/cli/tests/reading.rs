//! Commands that only read need no cargo: a stack that is up is taken as it is, another is started from the last build. Whatever
//! a command starts ends with it, even if it is killed.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use fresco_cli::stack::{Layout, Progress, package};

/// `fresco` where there is no cargo.
fn without_cargo(state: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fresco"));
    command.args(words).arg("--state").arg(state).env_clear().env("PATH", "/nonexistent");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether the emulator, its functions or the simulator of the stack live.
fn lives(state: &Path) -> bool {
    ["emulator.lock", "simulator.lock"].iter().any(|lock| {
        File::open(state.join(lock)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    })
}

fn document(folder: &Path) -> String {
    let file = folder.join("pipeline.yaml");
    std::fs::write(&file, "steps: [{type: text_to_image, params: {prompt: x}}]").unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn reading_needs_no_cargo_and_generating_names_it() {
    package(&Layout::find().unwrap(), false, &Progress::silent()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), document(folder.path()));
    for words in [&["status"] as &[&str], &["plan", &file], &["storage"]] {
        let output = without_cargo(&state, words);
        let said = text(&output.stderr);
        assert!(output.status.success() && !said.contains("building"), "{words:?}: {said}");
        assert!(!lives(&state), "{words:?}");
    }
    let output = without_cargo(&state, &["run", &file]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("`cargo build") && said.contains("needs Rust"), "{said}");
    assert!(!lives(&state));
}

#[test]
fn a_killed_command_leaves_no_process_behind() {
    package(&Layout::find().unwrap(), false, &Progress::silent()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (state, file) = (folder.path().join("state"), document(folder.path()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_fresco"));
    command.args(["run", &file, "--scale", "100", "--state", state.to_str().unwrap()]);
    let mut command = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(command.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("generating")), "the function of the step has started");
    assert!(lives(&state));
    command.kill().unwrap();
    command.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while lives(&state) {
        assert!(Instant::now() < deadline, "a process of the stack lives");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_value_that_the_template_does_not_allow_is_refused_by_cloudformation() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let output = Command::new(env!("CARGO_BIN_EXE_fresco"))
        .args(["up", "--set", "MaxAgeDays=0", "--state", state.to_str().unwrap()])
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("cannot create the stack") && said.contains("MaxAgeDays"), "{said}");
    assert!(!lives(&state));
}
