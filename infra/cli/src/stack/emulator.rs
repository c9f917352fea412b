//! The emulator of AWS: MiniStack under `infra/emulator/start.py`, on loopback, with an environment of its own: nothing of the
//! user's (keys above all) reaches it or the functions that it starts.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use fresco_pipeline::time::Millis;
use serde::Deserialize;

use super::Options;
use super::child::{ChildProcess, ends_with_this_command};
use super::http;
use super::layout::Instance;
use crate::view::{plural, size};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// It saves its state when it is asked to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const ATTEMPTS: u32 = 3;

/// A started emulator and its port.
#[derive(Debug)]
pub(crate) struct Emulator {
    pub(crate) process: ChildProcess,
    pub(crate) port: u16,
}

/// Starts it, and waits until it answers. It takes the port of the last start if that is free: functions and webhooks keep their
/// addresses between commands.
pub(crate) fn start(
    options: &Options,
    instance: &Instance,
    python: &Path,
    last_port: Option<u16>,
) -> anyhow::Result<Emulator> {
    options.progress.step("starting the AWS emulator");
    let mut preferred = options.port.or(last_port);
    let mut attempt = 1;
    loop {
        let port = choose(options.port, preferred)?;
        let command = command(options, instance, python, port);
        let (lock, log) = (instance.emulator_lock(), instance.emulator_log());
        let mut process = ChildProcess::spawn("the AWS emulator", command, lock, log, PATIENCE)?;
        let Err(error) = process.await_ready(READY_WITHIN, || answers(port).then_some(())) else {
            return Ok(Emulator { process, port });
        };
        drop(process);
        // Between the choice of a free port and listening on it, another process may have taken it. Then: another one.
        if attempt == ATTEMPTS || options.port.is_some() || http::is_free(port) {
            return Err(error);
        }
        attempt += 1;
        preferred = None;
    }
}

/// Whether an emulator answers on that port.
pub(crate) fn answers(port: u16) -> bool {
    http::get(port, "/_ministack/ready").is_ok_and(|(status, _)| status == 200)
}

/// The counts of an emulator that counts requests, as JSON.
pub(crate) fn requests(port: u16) -> anyhow::Result<String> {
    match http::get(port, "/_fresco/requests").context("cannot read the emulator's counts")? {
        (200, answer) => Ok(answer),
        (status, _) => bail!("cannot read the emulator's counts: {status}; it was started without them"),
    }
}

/// The counts of what a lifecycle removed.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Removed {
    objects: usize,
    bytes: u64,
    uploads: usize,
}

/// Applies the lifecycle of all buckets, as S3 does once a day, as of now or of the given time. Returns a line that says what
/// was removed, if anything was.
pub(crate) fn apply_lifecycle(port: u16, now: Option<Millis>) -> anyhow::Result<Option<String>> {
    let now = now.map(|now| format!("?now={}", now as f64 / 1_000.0)).unwrap_or_default();
    let removed = http::json(port, "POST", &format!("/_fresco/lifecycle{now}"), "")?;
    let removed: Removed = serde_json::from_value(removed).context("cannot read the emulator's answer")?;
    Ok(removed.line())
}

/// The executions that were running when the emulator ended.
#[derive(Debug, Deserialize)]
struct Resumed {
    restarted: usize,
    aborted: usize,
}

/// Starts the executions again that were running when the emulator ended, once the stack is deployed. Returns a line that
/// says so, if there were any.
pub(crate) fn resume(port: u16) -> anyhow::Result<Option<String>> {
    let resumed = http::json(port, "POST", "/_fresco/resume", "")?;
    let resumed: Resumed = serde_json::from_value(resumed).context("cannot read the emulator's answer")?;
    Ok(resumed.line())
}

impl Resumed {
    fn line(&self) -> Option<String> {
        let restarted = (self.restarted > 0).then(|| format!("{} continued", plural(self.restarted, "run")));
        // The executions of a batch and of its chunks.
        let aborted =
            (self.aborted > 0).then(|| "batches closed (`cargo fresco batch --redrive` continues them)".to_owned());
        let parts: Vec<String> = restarted.into_iter().chain(aborted).collect();
        (!parts.is_empty()).then(|| format!("the stack had ended in the middle of its work: {}", parts.join(", ")))
    }
}

impl Removed {
    fn line(&self) -> Option<String> {
        let expired =
            (self.objects > 0).then(|| format!("{} ({}) expired", plural(self.objects, "object"), size(self.bytes)));
        let aborted = (self.uploads > 0).then(|| format!("{} aborted", plural(self.uploads, "unfinished upload")));
        let parts: Vec<String> = expired.into_iter().chain(aborted).collect();
        (!parts.is_empty()).then(|| format!("lifecycle: {}", parts.join(", ")))
    }
}

/// Refuses a port that is taken.
pub(crate) fn check_port(port: u16) -> anyhow::Result<()> {
    ensure!(
        http::is_free(port),
        "port {port} is taken; end what listens on 127.0.0.1:{port}, or leave --port out to take a free one"
    );
    Ok(())
}

fn choose(fixed: Option<u16>, preferred: Option<u16>) -> anyhow::Result<u16> {
    match (fixed, preferred) {
        (Some(port), _) => check_port(port).map(|()| port),
        (None, Some(port)) if http::is_free(port) => Ok(port),
        _ => http::free_port().context("cannot find a free port on 127.0.0.1"),
    }
}

fn command(options: &Options, instance: &Instance, python: &Path, port: u16) -> Command {
    let mut command = Command::new(python);
    // Isolated and unbuffered: neither the user's site packages, nor log lines lost when it is killed.
    command.args(["-I", "-u"]).arg(options.layout.emulator().join("start.py"));
    command.arg("--lock").arg(instance.emulator_lock()).arg("--die-with-stdin").stdin(ends_with_this_command());
    if options.measure {
        command.arg("--measure");
    }
    if let Some(milliseconds) = options.conflicts_ms {
        command.arg("--conflicts").arg(milliseconds.to_string());
    }
    command.current_dir(instance.scratch());
    command.env_clear();
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LANG", "C.UTF-8");
    command.env("HOME", instance.scratch()).env("TMPDIR", instance.scratch());
    command.env("BIND_HOST", "127.0.0.1").env("GATEWAY_PORT", port.to_string());
    // Functions act in their roles, and requests are judged as IAM judges them.
    command.env("AUTH", "true");
    if let Some(folder) = std::env::var_os("FRESCO_ACCESS_LOG") {
        command.arg("--access").arg(Path::new(&folder).join(format!("{port}-{}.jsonl", std::process::id())));
    }
    // Functions inherit it: the AWS SDK finds the emulator by it.
    command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"));
    command.env("PERSIST_STATE", "1").env("STATE_DIR", instance.state());
    command.env("S3_PERSIST", "1").env("S3_DATA_DIR", instance.objects());
    // Listeners that nothing here uses, and a log line a request.
    command.env("IOT_MTLS_ENABLED", "0").env("SFTP_ENABLED", "0").env("LOG_LEVEL", "WARNING");
    if let Some(scale) = options.wait_scale {
        command.env("SFN_WAIT_SCALE", scale.to_string());
    }
    if let Some(folder) = &options.crashes {
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

    #[test]
    fn what_the_end_of_a_stack_interrupted_is_counted() {
        for (restarted, aborted, line) in [
            (0, 0, None),
            (2, 0, Some("the stack had ended in the middle of its work: 2 runs continued")),
            (
                1,
                3,
                Some(
                    "the stack had ended in the middle of its work: 1 run continued, batches closed (`cargo fresco batch \
                     --redrive` continues them)",
                ),
            ),
        ] {
            assert_eq!(Resumed { restarted, aborted }.line().as_deref(), line);
        }
    }

    #[test]
    fn the_line_counts_what_was_removed_and_is_absent_where_nothing_was() {
        for (objects, bytes, uploads, line) in [
            (0, 0, 0, None),
            (12, 34_200_000, 0, Some("lifecycle: 12 objects (34 MB) expired")),
            (1, 0, 0, Some("lifecycle: 1 object (0 B) expired")),
            (0, 0, 1, Some("lifecycle: 1 unfinished upload aborted")),
            (2, 2_048, 3, Some("lifecycle: 2 objects (2.0 kB) expired, 3 unfinished uploads aborted")),
        ] {
            assert_eq!(Removed { objects, bytes, uploads }.line().as_deref(), line);
        }
    }

    #[test]
    fn the_scripts_of_the_emulator_pass_their_own_tests() {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../emulator");
        let tests = Command::new("python3").args(["-B", "-m", "unittest", "discover"]).current_dir(scripts).output();
        let tests = tests.unwrap();
        assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stderr));
    }
}
