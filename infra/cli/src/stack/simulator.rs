//! The simulator of the providers, as a process beside the emulator. It ends when the emulator does.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use fresco_pipeline::catalogue::ProviderName;
use serde::Deserialize;

use super::Options;
use super::child::ChildProcess;
use super::files;
use super::http;
use super::layout::Instance;
use super::lock::Lock;
use super::state_file::Settings;

const READY_WITHIN: Duration = Duration::from_secs(30);
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

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

/// Starts it, and waits until it answers. It takes the port of the last start if that is free: pending jobs keep their addresses.
pub(crate) fn start(
    binary: &Path,
    options: &Options,
    instance: &Instance,
    emulator: u32,
    settings: &Settings,
    last_port: Option<u16>,
) -> anyhow::Result<Simulator> {
    options.progress.step("starting the simulated providers");
    let (port_file, lock_file) = (instance.simulator_port(), instance.simulator_lock());
    // The port of an earlier session would be taken for this one's.
    files::remove(&port_file)?;
    let port = last_port.filter(|&port| http::is_free(port)).unwrap_or(0);
    let mut command = Command::new(binary);
    command.arg("--port").arg(port.to_string());
    command.arg("--scale").arg(settings.scale.to_string());
    command.arg("--concurrency").arg(settings.concurrency.to_string());
    command.arg("--port-file").arg(&port_file).arg("--state").arg(instance.simulator_state());
    for (provider, key) in KEYS {
        command.args([&format!("--{}", provider.key_name()), key]);
    }
    command.arg("--parent-pid").arg(emulator.to_string());
    command.current_dir(instance.folder()).process_group(0);
    // It reads no input; as its standard input, the lock is held for exactly its lifetime.
    command.stdin(Lock::take_free(&lock_file)?.into_file());
    let log = instance.simulator_log();
    let mut process = ChildProcess::spawn("the simulator", command, lock_file.clone(), log, PATIENCE)?;
    fs::write(&lock_file, process.id().to_string()).with_context(|| format!("cannot write {}", lock_file.display()))?;
    let port = process.await_ready(READY_WITHIN, || {
        let port = fs::read_to_string(&port_file).ok()?.trim().parse().ok()?;
        answers(port).then_some(port)
    })?;
    Ok(Simulator { process, port })
}

/// Whether a simulator answers on that port.
pub(crate) fn answers(port: u16) -> bool {
    http::get(port, "/_control/counters").is_ok_and(|(status, _)| status == 200)
}

/// The account that its webhooks carry.
pub(crate) fn user_id(port: u16) -> anyhow::Result<String> {
    let account = http::json(port, "GET", "/_control/identity", "")?;
    let account: Account = serde_json::from_value(account).context("cannot read the simulator's account")?;
    Ok(account.user_id)
}
