//! The binary: the port file, the state file, and the reasons to end.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::Value;

fn start(folder: &Path, flags: &[&str]) -> (Child, String) {
    let port_file = folder.join("port");
    let mut command = Command::new(env!("CARGO_BIN_EXE_simulator"));
    command.arg("--port-file").arg(&port_file).arg("--state").arg(folder.join("state.json")).args(flags);
    // The file of a former session must not be read as this one's.
    std::fs::write(&port_file, "1").unwrap();
    let child = command.spawn().unwrap();
    let port = poll("the port file", || std::fs::read_to_string(&port_file).ok().filter(|port| port != "1"));
    (child, format!("http://127.0.0.1:{port}"))
}

fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ended(child: &mut Child) -> ExitStatus {
    poll("the end of the process", || child.try_wait().unwrap())
}

fn terminate(child: &mut Child) {
    let sent = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
    assert!(ended(child).success());
}

async fn get(url: String) -> Value {
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn identity_and_counters_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, url) = start(folder.path(), &["--scale", "0", "--fal-key", "a:b"]);
    let keys = get(format!("{url}/fal/rest/.well-known/jwks.json")).await;
    let identity = get(format!("{url}/_control/identity")).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let submit = client.post(format!("{url}/fal/queue/fal-ai/flux/dev")).header("authorization", "Key a:b");
    assert_eq!(submit.body(r#"{"prompt":"x"}"#).send().await.unwrap().status(), 200);
    terminate(&mut child);

    let (mut child, url) = start(folder.path(), &["--scale", "0"]);
    assert_eq!(get(format!("{url}/fal/rest/.well-known/jwks.json")).await, keys);
    assert_eq!(get(format!("{url}/_control/identity")).await, identity);
    assert_eq!(get(format!("{url}/_control/counters")).await["submits"], 1);
    terminate(&mut child);
}

#[test]
fn the_simulator_ends_with_its_parent_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut parent = Command::new("sleep").arg("600").spawn().unwrap();
    let (mut child, _) = start(folder.path(), &["--parent-pid", &parent.id().to_string()]);
    assert!(child.try_wait().unwrap().is_none());
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(ended(&mut child).success());
}

#[test]
fn a_bad_flag_is_an_error() {
    let status = Command::new(env!("CARGO_BIN_EXE_simulator")).args(["--scale", "NaN"]).status().unwrap();
    assert!(!status.success());
}
