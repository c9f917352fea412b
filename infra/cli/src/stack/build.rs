//! Building what runs in the stack: the functions and the simulator, in one call of cargo.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use super::command;
use super::error::Error;
use super::layout::Layout;
use super::progress::Progress;

/// The binaries that are deployed; each is packed as `target/fresco/<name>.zip`.
pub(crate) const FUNCTIONS: [&str; 9] =
    ["plan", "generate", "webhook", "collect", "sweep", "report", "api", "trigger", "batch"];
const NEEDS: &str = "it builds the functions, which needs Rust (https://rustup.rs) and, the first time, the network";
const SIMULATOR: &str = "simulator";

/// Where the built binaries are, by name.
#[derive(Debug)]
pub(crate) struct Built(BTreeMap<String, PathBuf>);

impl Built {
    pub(crate) fn path(&self, name: &str) -> Result<&PathBuf, Error> {
        self.0.get(name).ok_or_else(|| Error::NoBinary { name: name.to_owned() })
    }

    pub(crate) fn simulator(&self) -> Result<&PathBuf, Error> {
        self.path(SIMULATOR)
    }
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

/// Builds them all, or finds them built.
pub(crate) fn build(layout: &Layout, release: bool, progress: &Progress) -> Result<Built, Error> {
    progress.step("building the functions");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(layout.root()).args(["build", "--message-format=json-render-diagnostics"]);
    // A dev build selects the whole workspace, as `cargo fresco` and `cargo test` do: another selection would be other
    // features of shared dependencies, and a second build of them. What is released is built from its own features alone.
    cargo.arg(if release { "--release" } else { "--workspace" });
    for name in FUNCTIONS.iter().chain([&SIMULATOR]) {
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
    let built = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(|message| Some((message.target?.name, message.executable?)))
        .collect();
    Ok(Built(built))
}

/// What `cargo run` and `cargo test` set for the program they start. Build scripts watch some of it, so that passing it on
/// would build half the dependencies again.
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
    fn only_what_cargo_set_for_us_is_left_out() {
        assert!(belongs_to_outer_cargo("CARGO_PKG_NAME"));
        assert!(belongs_to_outer_cargo("CARGO_MANIFEST_DIR"));
        for kept in ["CARGO_HOME", "CARGO_TARGET_DIR", "CARGO_NET_OFFLINE", "CARGO_BUILD_JOBS", "RUSTFLAGS", "PATH"] {
            assert!(!belongs_to_outer_cargo(kept), "{kept}");
        }
    }
}
