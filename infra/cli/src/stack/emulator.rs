//! The emulator of AWS: MiniStack under `emulator/start.py`, on loopback, with an environment of its own so that nothing
//! of the user's (keys above all) reaches it or the functions that it starts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::child::ChildProcess;
use super::error::Error;
use super::http;
use super::layout::{Instance, Layout};
use super::progress::Progress;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// It saves its state when it is asked to end.
const PATIENCE: Duration = Duration::from_secs(20);
const ATTEMPTS: u32 = 3;
const WHAT: &str = "the AWS emulator";

/// How it shall run.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// This port and no other.
    pub(crate) port: Option<u16>,
    /// This port if it is free: functions and webhooks keep their addresses between commands.
    pub(crate) last_port: Option<u16>,
    /// Factor on the Wait states and retry delays of state machines.
    pub(crate) wait_scale: Option<f64>,
    /// The folder of crash points.
    pub(crate) crashes: Option<PathBuf>,
    /// Count requests, see [`requests`], and do not save state meanwhile.
    pub(crate) measure: bool,
}

/// A started emulator and its port.
#[derive(Debug)]
pub(crate) struct Emulator {
    pub(crate) process: ChildProcess,
    pub(crate) port: u16,
}

/// Starts it, and waits until it answers. `spawned` is told at once, so that it is on record before anything can fail.
pub(crate) fn start(
    layout: &Layout,
    instance: &Instance,
    python: &Path,
    wanted: &Wanted,
    progress: &Progress,
    mut spawned: impl FnMut(&Emulator) -> Result<(), Error>,
) -> Result<Emulator, Error> {
    progress.step("starting the AWS emulator");
    let mut preferred = wanted.port.or(wanted.last_port);
    let mut attempt = 1;
    loop {
        let port = choose(wanted.port, preferred)?;
        let mut command = command(layout, instance, python, wanted, port);
        let process = ChildProcess::spawn(WHAT, &mut command, &instance.emulator_log(), PATIENCE)?;
        let mut emulator = Emulator { process, port };
        spawned(&emulator)?;
        let Err(error) = emulator.process.await_ready(READY_WITHIN, || answers(port).then_some(())) else {
            return Ok(emulator);
        };
        drop(emulator);
        // Between finding a free port and listening on it, another process may have taken it. Then: another one.
        if attempt == ATTEMPTS || wanted.port.is_some() || http::is_free(port) {
            return Err(error);
        }
        attempt += 1;
        preferred = None;
    }
}

/// Whether an emulator answers there.
pub(crate) fn answers(port: u16) -> bool {
    http::get(port, "/_ministack/ready").is_ok_and(|(status, _)| status == 200)
}

/// What was asked of an emulator that counts, as JSON.
pub(crate) fn requests(port: u16) -> Result<String, Error> {
    let failed = |message: String| Error::Aws { action: "asking the emulator for its counts".to_owned(), message };
    match http::get(port, "/_fresco/requests").map_err(|error| failed(error.to_string()))? {
        (200, answer) => Ok(answer),
        (status, _) => Err(failed(format!("{status}: this emulator does not count"))),
    }
}

fn choose(fixed: Option<u16>, preferred: Option<u16>) -> Result<u16, Error> {
    match (fixed, preferred) {
        (Some(port), _) if !http::is_free(port) => Err(Error::PortTaken { port }),
        (Some(port), _) => Ok(port),
        (None, Some(port)) if http::is_free(port) => Ok(port),
        _ => http::free_port().map_err(Error::file("cannot find a free port on", Path::new("127.0.0.1"))),
    }
}

fn command(layout: &Layout, instance: &Instance, python: &Path, wanted: &Wanted, port: u16) -> Command {
    let mut command = Command::new(python);
    // Isolated and unbuffered: neither the user's site packages, nor log lines lost when it is killed.
    command.args(["-I", "-u"]).arg(layout.emulator().join("start.py"));
    command.arg("--lock").arg(instance.emulator_lock()).arg("--die-with-stdin");
    if wanted.measure {
        command.arg("--measure");
    }
    command.current_dir(instance.scratch());
    command.env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LANG", "C.UTF-8");
    command.env("HOME", instance.scratch()).env("TMPDIR", instance.scratch());
    command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
    // What the functions inherit: the AWS SDK finds the emulator by it.
    command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
    command.env("PERSIST_STATE", "1").env("STATE_DIR", instance.state());
    command.env("S3_PERSIST", "1").env("S3_DATA_DIR", instance.objects());
    // Listeners that nothing here uses, and a log line a request.
    command.env("IOT_MTLS_ENABLED", "0").env("SFTP_ENABLED", "0").env("LOG_LEVEL", "WARNING");
    if let Some(scale) = wanted.wait_scale {
        command.env("SFN_WAIT_SCALE", scale.to_string());
    }
    if let Some(folder) = &wanted.crashes {
        command.env("FRESCO_CRASH", folder);
    }
    command
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_fixed_port_that_is_taken_is_named_and_a_preferred_one_is_replaced() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = listener.local_addr().unwrap().port();
        let error = choose(Some(taken), Some(taken)).unwrap_err();
        assert!(error.to_string().starts_with(&format!("port {taken} is taken")), "{error}");
        assert_ne!(choose(None, Some(taken)).unwrap(), taken);
        drop(listener);
        assert_eq!(choose(None, Some(taken)).unwrap(), taken);
    }
}
