//! Builds the functions and the simulator, in one call of cargo.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;

use super::command;
use super::layout::Layout;
use super::progress::Progress;

/// The one program of all functions; its package is `fresco-bootstrap`.
const FUNCTIONS: &str = "bootstrap";
const NEEDS: &str = "it builds the functions, which needs Rust (https://rustup.rs) and, the first time, the network";
const SIMULATOR: &str = "simulator";

/// The built binaries.
#[derive(Debug)]
pub(crate) struct Built {
    /// The program of the functions.
    pub(crate) functions: PathBuf,
    pub(crate) simulator: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// Builds them where their sources changed.
pub(crate) fn build(layout: &Layout, release: bool, progress: &Progress) -> anyhow::Result<Built> {
    progress.step("building the functions");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(layout.root()).args(["build", "--message-format=json-render-diagnostics"]);
    // A dev build selects the whole workspace, as `cargo fresco` and `cargo test` do: another selection would be other
    // features of shared dependencies, and a second build of them. What is released is built from its own features alone.
    cargo.arg(if release { "--release" } else { "--workspace" });
    for name in [FUNCTIONS, SIMULATOR] {
        cargo.args(["--bin", name]);
        if release {
            cargo.args(["--package", &format!("fresco-{name}")]);
        }
    }
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(belongs_to_outer_cargo) {
            cargo.env_remove(name);
        }
    }
    let output = command::run(&mut cargo, NEEDS, |line| progress.detail(line))?;
    let messages = output.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let artifacts: Vec<Message> = messages.filter(|message| message.reason == "compiler-artifact").collect();
    let binary = |name: &str| {
        let of_name = artifacts.iter().find(|found| found.target.as_ref().is_some_and(|target| target.name == name));
        let path = of_name.and_then(|found| found.executable.clone());
        path.with_context(|| {
            format!("the build has no binary `{name}`; its [[bin]] entry is missing from the workspace")
        })
    };
    Ok(Built { functions: binary(FUNCTIONS)?, simulator: binary(SIMULATOR)? })
}

/// Whether `cargo run` and `cargo test` set this variable for the program they start. Build scripts watch some of them, so that
/// passing them on would build half the dependencies again.
fn belongs_to_outer_cargo(name: &str) -> bool {
    const PREFIXES: [&str; 5] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CFG_", "CARGO_FEATURE_"];
    const NAMES: [&str; 6] = [
        "CARGO_CRATE_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_TARGET_TMPDIR",
        "OUT_DIR",
        "LD_LIBRARY_PATH",
        "DYLD_FALLBACK_LIBRARY_PATH",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_cargo_sets_for_its_program_are_removed() {
        assert!(belongs_to_outer_cargo("CARGO_PKG_NAME"));
        assert!(belongs_to_outer_cargo("CARGO_MANIFEST_DIR"));
        for other in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "CARGO_BUILD_JOBS", "RUSTFLAGS", "PATH"] {
            assert!(!belongs_to_outer_cargo(other), "{other}");
        }
    }
}
