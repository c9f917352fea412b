//! The allowed dependencies between the crates of the workspace: `pipeline ← api-types`, `pipeline ← providers, ledger ←
//! engine ← functions ← bootstrap`, and the command line on `api-types` and `pipeline` alone. The `tests` package may depend on
//! everything. Development dependencies are free.

const PIPELINE: &str = "fresco-pipeline";
const API_TYPES: &str = "fresco-api-types";
const PROVIDERS: &str = "fresco-providers";
const LEDGER: &str = "fresco-ledger";
const ENGINE: &str = "fresco-engine";
/// Every function, for the one binary that is all of them.
const FUNCTIONS: [&str; 9] = [
    "fresco-api",
    "fresco-batch",
    "fresco-collect",
    "fresco-generate",
    "fresco-plan",
    "fresco-report",
    "fresco-sweep",
    "fresco-trigger",
    "fresco-webhook",
];

/// The dependencies in a manifest that its crate may not have.
pub(crate) fn forbidden(folder: &str, manifest: &str) -> Vec<String> {
    let Some(allowed) = allowed(folder) else { return Vec::new() };
    let found = dependencies(manifest).into_iter().filter(|name| !allowed.contains(&name.as_str()));
    found.map(|name| format!("{folder} → {name}")).collect()
}

/// The crates of the workspace that a crate may depend on; `None` if it may depend on all.
fn allowed(folder: &str) -> Option<&'static [&'static str]> {
    match folder {
        "functions/shared/pipeline" | "infra/simulator" => Some(&[]),
        "functions/shared/api-types" | "functions/shared/providers" | "functions/shared/ledger" => Some(&[PIPELINE]),
        "functions/shared/engine" => Some(&[PIPELINE, API_TYPES, PROVIDERS, LEDGER]),
        "infra/cli" => Some(&[PIPELINE, API_TYPES]),
        "functions/bootstrap" => Some(&FUNCTIONS),
        "tests" => None,
        _ => Some(&[PIPELINE, API_TYPES, PROVIDERS, LEDGER, ENGINE]),
    }
}

/// The crates of this workspace in the manifest's dependencies, also those of a target.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut of_build = false;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            of_build = section.ends_with("dependencies") && !section.ends_with("dev-dependencies");
            let single = section.strip_prefix("dependencies.").filter(|name| name.starts_with("fresco-"));
            found.extend(single.map(str::to_owned));
        } else if of_build && line.starts_with("fresco-") {
            found.push(line.split(['.', ' ', '=']).next().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn dependencies_are_read_from_their_sections() {
    let manifest = "[package]\nname = \"fresco-x\"\n[dependencies]\nfresco-engine.workspace = true\nfresco-ledger = { path = \"\" }\n\
        serde = \"1\"\n[dev-dependencies]\nfresco-simulator.workspace = true\n[dependencies.fresco-providers]\nworkspace = true\n";
    assert_eq!(dependencies(manifest), ["fresco-engine", "fresco-ledger", "fresco-providers"]);
    let expected = ["infra/cli → fresco-engine", "infra/cli → fresco-ledger", "infra/cli → fresco-providers"];
    assert_eq!(forbidden("infra/cli", manifest), expected);
    assert!(forbidden("tests", manifest).is_empty());
}
