//! The simulator of the providers, as a process beside the emulator. It ends when the emulator does.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fresco_pipeline::catalogue::ProviderName;
use serde::Deserialize;

use super::child::ChildProcess;
use super::error::Error;
use super::files;
use super::http;
use super::layout::Instance;
use super::process::Identity;
use super::progress::Progress;

const READY_WITHIN: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(5);

/// The keys that the local stack and its simulator share. They open nothing else.
pub(crate) const KEYS: [(ProviderName, &str); 2] =
    [(ProviderName::Fal, "simulated-key-id:simulated-key-secret"), (ProviderName::Gemini, "simulated-gemini-key")];

/// A started simulator and its port.
#[derive(Debug)]
pub(crate) struct Simulator {
    pub(crate) process: ChildProcess,
    pub(crate) port: u16,
}

#[derive(Deserialize)]
struct Account {
    user_id: String,
}

/// Starts it, and waits until it answers.
pub(crate) fn start(
    binary: &Path,
    instance: &Instance,
    emulator: &Identity,
    scale: f64,
    concurrency: usize,
    last_port: Option<u16>,
    progress: &Progress,
) -> Result<Simulator, Error> {
    progress.step("starting the simulated providers");
    let port_file = instance.simulator_port();
    // The port of a former session would be taken for this one's.
    files::remove(&port_file)?;
    let port = last_port.filter(|&port| http::is_free(port)).unwrap_or(0);
    let mut command = Command::new(binary);
    command.args([
        "--port",
        &port.to_string(),
        "--scale",
        &scale.to_string(),
        "--concurrency",
        &concurrency.to_string(),
    ]);
    command.arg("--port-file").arg(&port_file).arg("--state").arg(instance.simulator_state());
    for (provider, key) in KEYS {
        command.args([&format!("--{}", provider.key_name()), key]);
    }
    command.args(["--parent-pid", &emulator.pid.to_string()]);
    command.current_dir(instance.folder());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut process = ChildProcess::spawn("the simulator", &mut command, &instance.simulator_log(), PATIENCE)?;
    let port = process.await_ready(READY_WITHIN, || {
        let port = std::fs::read_to_string(&port_file).ok()?.trim().parse().ok()?;
        answers(port).then_some(port)
    })?;
    Ok(Simulator { process, port })
}

/// Whether a simulator answers there.
pub(crate) fn answers(port: u16) -> bool {
    http::get(port, "/_control/counters").is_ok_and(|(status, _)| status == 200)
}

/// The account that its webhooks carry.
pub(crate) fn user_id(port: u16) -> Result<String, Error> {
    let asked = format!("asking the simulator on port {port} for its account");
    let failed = |message: String| Error::Aws { action: asked.clone(), message };
    let (_, body) = http::get(port, "/_control/identity").map_err(|error| failed(error.to_string()))?;
    serde_json::from_str::<Account>(&body).map(|account| account.user_id).map_err(|error| failed(error.to_string()))
}
