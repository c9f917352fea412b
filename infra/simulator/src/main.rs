//! The simulator as a process: flags, the port file, and the ways it ends. Everything else is in the library.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use fresco_simulator::{
    Config, DEFAULT_FAL_KEY, DEFAULT_GEMINI_KEY, Simulator, StartError, parent_gone, write_port_file,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Generation providers on loopback: real wire formats, true queueing, pictures and videos, signed webhooks.
#[derive(Debug, Parser)]
#[command(name = "simulator")]
struct Flags {
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// A file that gets the port when the simulator is ready; it appears whole or not at all.
    #[arg(long, value_name = "PATH")]
    port_file: Option<PathBuf>,
    /// Typical durations are multiplied by this; 0 answers at once.
    #[arg(long, value_name = "F", default_value_t = 0.2)]
    scale: f64,
    /// So many requests are in progress at most.
    #[arg(long, value_name = "N", default_value_t = 40)]
    concurrency: usize,
    /// Repeats the latencies, seeds and ids of a session.
    #[arg(long)]
    seed: Option<u64>,
    /// A JSON file that keeps signing key, user id and counters; made when absent.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// The fal key that is accepted.
    #[arg(long, value_name = "ID:SECRET", default_value = DEFAULT_FAL_KEY)]
    fal_key: String,
    /// The Gemini key that is accepted.
    #[arg(long, value_name = "KEY", default_value = DEFAULT_GEMINI_KEY)]
    gemini_key: String,
    /// Ends when the process with this id is gone.
    #[arg(long, value_name = "PID")]
    parent_pid: Option<u32>,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("port file {}: {source}", path.display())]
    PortFile { path: PathBuf, source: io::Error },
    #[error("signals cannot be awaited: {0}")]
    Signals(#[source] io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let level = std::env::var("RUST_LOG").unwrap_or_default();
    let filter: Targets = level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    match run(Flags::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!(error = %failure, "simulator ends");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Failure> {
    // Awaited from the start, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    if let Some(path) = &flags.port_file {
        // The port of a former session would be taken for this one's.
        drop(fs::remove_file(path));
    }
    let running = Simulator::start(Config {
        port: flags.port,
        scale: flags.scale,
        concurrency: flags.concurrency,
        seed: flags.seed,
        state: flags.state,
        fal_key: flags.fal_key,
        gemini_key: flags.gemini_key,
    })
    .await?;
    if let Some(path) = flags.port_file {
        write_port_file(&path, running.port()).map_err(|source| Failure::PortFile { path, source })?;
    }
    let parent = async {
        match flags.parent_pid {
            Some(pid) => parent_gone(pid).await,
            None => std::future::pending().await,
        }
    };
    let reason = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = parent => "parent gone",
    };
    tracing::info!(reason, "simulator ends");
    running.stop().await;
    Ok(())
}
