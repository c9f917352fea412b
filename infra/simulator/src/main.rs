//! The simulator as a process: flags, the port file, and the reasons to end.

use std::fs;
use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use fresco_simulator::{Config, Simulator, parent_gone, write_port_file};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Generation providers on loopback: real wire formats, true queueing, pictures and videos, signed webhooks.
#[derive(Debug, Parser)]
#[command(name = "simulator")]
struct Flags {
    #[command(flatten)]
    config: Config,
    /// A file for the port, written when the simulator is ready; it appears whole or not at all.
    #[arg(long, value_name = "PATH")]
    port_file: Option<PathBuf>,
    /// The id of a process whose end ends the simulator.
    #[arg(long, value_name = "PID")]
    parent_pid: Option<u32>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let level = std::env::var("RUST_LOG").unwrap_or_default();
    let filter: Targets = level.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    let flags = Flags::parse();
    // Registered first, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate()).context("signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals")?;
    if let Some(path) = &flags.port_file {
        // A reader would take the port of a former session for this one's.
        drop(fs::remove_file(path));
    }
    let running = Simulator::start(flags.config).await?;
    if let Some(path) = flags.port_file {
        write_port_file(&path, running.port()).with_context(|| format!("port file {}", path.display()))?;
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
