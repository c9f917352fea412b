//! A local stack that is killed in the middle of a run: the same command starts it again and ends with the result, and
//! nothing is paid twice.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Two steps, the second of which takes a while: the stack is killed during the first or the second.
const PIPELINE: &str = "steps:
- { name: image, type: text_to_image, model: flux_schnell, params: { prompt: a lighthouse that outlives its stack } }
- { name: video, type: image_to_video, model: hailuo, input_from: image, params: { prompt: waves } }
";
/// The first start builds the functions.
const WITHIN: Duration = Duration::from_secs(600);

/// Whether the moment has come at which the emulator is killed.
type Moment = fn(&Killed) -> bool;

struct Killed {
    folder: tempfile::TempDir,
    command: Option<Child>,
}

impl Killed {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipeline = folder.path().join("pipeline.yaml");
        fs::write(&pipeline, PIPELINE).unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_fresco"))
            .arg("run")
            .arg(&pipeline)
            .args(["--scale", "0.2", "--out"])
            .arg(folder.path().join("out"))
            .arg("--state")
            .arg(folder.path().join("state"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Killed { folder, command: Some(command) }
    }

    fn state(&self, file: &str) -> PathBuf {
        self.folder.path().join("state").join(file)
    }

    /// The endpoints of the requests that the simulator has accepted, by its journal.
    fn submissions(&self) -> Vec<String> {
        let journal = fs::read_to_string(self.state("simulator.requests.jsonl")).unwrap_or_default();
        let lines = journal.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter_map(|line| Some(line["accepted"]["endpoint"].as_str()?.to_owned())).collect()
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + WITHIN;
        while !holds(self) {
            let ended = self.command.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the command ended before {what}: {}", self.end());
            assert!(Instant::now() < deadline, "waited for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill_the_emulator(&self) {
        let id = fs::read_to_string(self.state("emulator.lock")).unwrap();
        assert!(Command::new("kill").args(["-9", id.trim()]).status().unwrap().success());
    }

    /// Waits for the command's end and returns its messages.
    fn end(&mut self) -> String {
        let output = self.command.take().unwrap().wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "{text}");
        text
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        if let Some(mut command) = self.command.take() {
            let _ = command.kill();
            let _ = command.wait();
        }
    }
}

fn holds_a_file(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| path.is_file() || holds_a_file(&path))
}

fn has_output(killed: &Killed) -> bool {
    let buckets = fs::read_dir(killed.state("s3")).into_iter().flatten().flatten();
    let accounts = buckets.flat_map(|folder| {
        let inside = fs::read_dir(folder.path()).into_iter().flatten().flatten();
        inside.map(|entry| entry.path()).chain([folder.path()]).collect::<Vec<_>>()
    });
    accounts.map(|bucket| bucket.join("outputs")).any(|outputs| holds_a_file(&outputs))
}

#[test]
fn a_run_goes_on_after_its_stack_was_killed_and_pays_nothing_twice() {
    let moments: [(&str, Moment); 2] =
        [("a submission", |killed| !killed.submissions().is_empty()), ("a stored object", has_output)];
    for (moment, holds) in moments {
        let mut killed = Killed::start();
        killed.until(moment, holds);
        killed.kill_the_emulator();
        let text = killed.end();
        assert!(text.contains("the local stack has ended; starting it again"), "after {moment}: {text}");
        assert!(text.contains("1 run continued"), "after {moment}: {text}");
        let mut submissions = killed.submissions();
        submissions.sort();
        assert_eq!(submissions.len(), 2, "after {moment}, one of each step: {submissions:?}");
        submissions.dedup();
        assert_eq!(submissions.len(), 2, "after {moment}");
    }
}
