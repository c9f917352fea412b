//! Watching and downloading, against a fake stack with one answer a path: retryable errors are survived, missing results are
//! reported with the remedy, and an interrupt ends every wait.

#![expect(clippy::unwrap_used, reason = "a test suite: what does not work is to fail loudly")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use fresco_api_types::{BatchManifest, BatchResults, BatchView};
use fresco_pipeline::status::BatchStatus;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

const BATCH: &str = "batch-00000001";

/// An answer: a status and a body, or none, ever.
type Answer = Option<(u16, String)>;

/// A fake stack of an AWS account: CloudFormation, API and storage at one address.
struct Stack {
    url: String,
    asked: Receiver<String>,
}

impl Stack {
    /// Answers by path, and by the number of earlier requests of that path.
    fn new(answer: impl Fn(&str, &str, usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (said, asked) = channel();
        let base = url.clone();
        std::thread::spawn(move || {
            let (mut paths, mut held) = (Vec::new(), Vec::new());
            for peer in listener.incoming() {
                let peer = peer.unwrap();
                let path = heard(&peer);
                let before = paths.iter().filter(|before| **before == path).count();
                let found = if path == "/" { Some((200, described(&base))) } else { answer(&base, &path, before) };
                match found {
                    Some((status, body)) => answered(peer, status, &body),
                    None => held.push(peer),
                }
                paths.push(path.clone());
                // The client may have gone.
                let _ = said.send(path);
            }
        });
        Stack { url, asked }
    }

    /// Starts `fresco` with these arguments in this folder.
    fn command(&self, folder: &Path, words: &[&str]) -> Child {
        let command = Command::new(env!("CARGO_BIN_EXE_fresco"))
            .args(words)
            .args(["--stack", "media"])
            .current_dir(folder)
            .env("AWS_ENDPOINT_URL", &self.url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        command.unwrap()
    }

    /// Does the same, and interrupts it when it requests this path.
    fn interrupted(&self, folder: &Path, words: &[&str], at: &str) -> Output {
        let child = self.command(folder, words);
        while self.asked.recv().unwrap() != at {}
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        child.wait_with_output().unwrap()
    }
}

/// Reads a request, and returns its path without the query.
fn heard(peer: &TcpStream) -> String {
    let mut reader = BufReader::new(peer);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    reader.take(length).read_to_end(&mut Vec::new()).unwrap();
    let path = first.split_whitespace().nth(1).unwrap();
    path.split('?').next().unwrap().to_owned()
}

fn answered(mut peer: TcpStream, status: u16, body: &str) {
    let length = body.len();
    write!(peer, "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
}

/// CloudFormation's description of the stack.
fn described(api: &str) -> String {
    format!(
        "<DescribeStacksResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><DescribeStacksResult><Stacks>\
         <member><StackName>media</StackName><CreationTime>2026-01-05T00:00:00Z</CreationTime>\
         <StackStatus>CREATE_COMPLETE</StackStatus><Outputs><member><OutputKey>ApiEndpoint</OutputKey>\
         <OutputValue>{api}</OutputValue></member></Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
    )
}

fn ended() -> Answer {
    let batch = BatchView {
        id: BATCH.to_owned(),
        name: "n".to_owned(),
        status: BatchStatus::Succeeded,
        stopping: false,
        created_at: 0,
        began_at: 0,
        ended_at: Some(1),
        plan: None,
        counts: Default::default(),
        running_chunks: 0,
        rows_per_second: 0.0,
        expected_end: None,
        failure: None,
    };
    Some((200, serde_json::to_string(&batch).unwrap()))
}

fn manifest() -> Answer {
    let manifest = BatchManifest {
        version: 1,
        batch_id: BATCH.to_owned(),
        name: "n".to_owned(),
        status: BatchStatus::Succeeded,
        created_at: 0,
        ended_at: 1,
        rows: 1,
        by_status: [("done".to_owned(), 1)].into(),
        by_source: [("generated".to_owned(), 1)].into(),
        by_failure: Default::default(),
        spent: 0,
        saved: 0,
        took_ms: None,
        failure: None,
    };
    Some((200, serde_json::to_string(&manifest).unwrap()))
}

/// A stack with an ended batch, whose gateway first answers with the statuses of `busy`.
fn with_batch(busy: &'static [u16], storage: impl Fn(&str) -> Answer + Send + 'static) -> Stack {
    Stack::new(move |base, path, before| match path {
        // A gateway's body is not the API's.
        "/batches/batch-00000001" if before < busy.len() => Some((busy[before], "{\"message\": \"...\"}".to_owned())),
        "/batches/batch-00000001" => ended(),
        "/batches/batch-00000001/results" => {
            let [results, manifest] = ["results", "manifest"].map(|name| format!("{base}/storage/{name}"));
            let links = BatchResults { results, manifest, expires_at: 0 };
            Some((200, serde_json::to_string(&links).unwrap()))
        }
        path => storage(path),
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_watch_survives_retryable_errors_and_downloads_the_results() {
    let folder = tempfile::tempdir().unwrap();
    // A partial download does not make the folder unusable.
    let out = folder.path().join("out").join(BATCH);
    std::fs::create_dir_all(&out).unwrap();
    std::fs::write(out.join("manifest.part"), "{").unwrap();
    let stack =
        with_batch(
            &[502, 429],
            |path| if path == "/storage/manifest" { manifest() } else { Some((200, "{}\n".to_owned())) },
        );
    let output = stack.command(folder.path(), &["batch", "--watch", BATCH]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(std::fs::read_to_string(out.join("results.jsonl")).unwrap(), "{}\n");
    assert!(!out.join("manifest.part").exists());
}

#[test]
fn missing_results_are_to_be_made_by_a_redrive() {
    let folder = tempfile::tempdir().unwrap();
    let none = || Some((404, String::new()));
    for stack in [
        with_batch(&[], move |_| none()),
        with_batch(&[], move |path| if path == "/storage/manifest" { manifest() } else { none() }),
    ] {
        let output = stack.command(folder.path(), &["batch", "--watch", BATCH]).wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("error[Output.Missing]"), "{said}");
        assert!(said.contains("`cargo fresco batch --redrive batch-00000001 --stack media`"), "{said}");
    }
}

#[test]
fn an_interrupt_ends_the_download_of_a_batchs_results() {
    let folder = tempfile::tempdir().unwrap();
    for hangs in ["/storage/manifest", "/storage/results"] {
        let stack = with_batch(&[], move |path| if path == hangs { None } else { manifest() });
        let output = stack.interrupted(folder.path(), &["batch", "--watch", BATCH], hangs);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{hangs}: {said}");
        assert!(said.contains("`cargo fresco batch --watch batch-00000001 --stack media`"), "{hangs}: {said}");
    }
}

#[test]
fn an_interrupt_ends_the_download_of_a_runs_outputs() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.yaml"), "steps: [{type: text_to_image, params: {prompt: x}}]").unwrap();
    let stack = Stack::new(|_, path, _| match path {
        "/runs" => {
            let links = json!({"self": "", "events": "", "view": null});
            Some((202, json!({"id": "run-00000001", "existing": false, "links": links}).to_string()))
        }
        "/runs/run-00000001/events" => {
            let ended = json!({"id": "e", "at": 1, "event": "run_ended", "run_id": "run-00000001", "status": "succeeded",
                "failure": null});
            Some((200, format!("{ended}\n")))
        }
        _ => None,
    });
    let output = stack.interrupted(folder.path(), &["run", "p.yaml"], "/runs/run-00000001");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("`cargo fresco fetch run-00000001 --to out/run-00000001 --stack media`"), "{said}");
}
