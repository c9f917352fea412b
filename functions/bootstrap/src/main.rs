//! The one program of every function. Lambda passes the function's `Handler` in `_HANDLER`, which names the function to run.

use std::process::ExitCode;

/// Serves a function's events until Lambda ends the process.
type Run = fn() -> ExitCode;

/// The functions by handler, as the template names them.
const FUNCTIONS: [(&str, Run); 9] = [
    ("api", fresco_api::run),
    ("batch", fresco_batch::run),
    ("collect", fresco_collect::run),
    ("generate", fresco_generate::run),
    ("plan", fresco_plan::run),
    ("report", fresco_report::run),
    ("sweep", fresco_sweep::run),
    ("trigger", fresco_trigger::run),
    ("webhook", fresco_webhook::run),
];

fn main() -> ExitCode {
    let handler = std::env::var("_HANDLER").unwrap_or_default();
    match FUNCTIONS.iter().find(|(name, _)| *name == handler) {
        Some((_, run)) => run(),
        None => {
            // Lambda shows what a process that ends during init has written.
            eprintln!("{}", unknown(&handler));
            ExitCode::FAILURE
        }
    }
}

fn unknown(handler: &str) -> String {
    let names = FUNCTIONS.map(|(name, _)| name).join(", ");
    format!("error: no function has the handler `{handler}`; expected one of {names}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_handler_is_named_with_the_known_ones() {
        let said = unknown("bootstrap");
        assert!(said.contains("`bootstrap`") && said.ends_with("sweep, trigger, webhook"), "{said}");
    }

    #[test]
    fn the_template_names_every_function_and_no_other() {
        let template = include_str!("../../../infra/template.yaml");
        let mut handlers: Vec<&str> =
            template.lines().filter_map(|line| line.trim().strip_prefix("Handler: ")).collect();
        handlers.sort_unstable();
        handlers.dedup();
        assert_eq!(handlers, FUNCTIONS.map(|(name, _)| name));
    }
}
