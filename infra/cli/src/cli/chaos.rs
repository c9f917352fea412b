//! `fresco chaos`.

use fresco_cli::chaos::{ChaosError, Options, chaos, new_seed};
use fresco_cli::stack::Layout;
use serde_json::json;

use super::output::Output;
use super::stack::progress;
use super::{ChaosArgs, EXIT_RUN, Ended, Place};

pub(super) async fn run(output: &Output, place: &Place, args: ChaosArgs) -> Result<(), Ended> {
    let layout = Layout::find()?;
    let options = Options {
        instance: place.state.clone().unwrap_or_else(|| layout.instance("chaos")),
        layout,
        runs: args.runs,
        seed: args.seed.unwrap_or_else(new_seed),
        progress: progress(output),
    };
    // Said first: a chaos that does not come to its end can be run again, too.
    output.progress(&format!("seed {}", options.seed));
    let outcome = chaos(&options).await.map_err(|error| match error {
        ChaosError::Stack(error) => error.into(),
        ChaosError::Failed(failure) => failure.into(),
        ChaosError::Api(error) => error.into(),
        other => {
            output.error("Chaos.Failed", &other.to_string());
            Ended::Code(EXIT_RUN)
        }
    })?;
    let well = outcome.violations.is_empty();
    output
        .result(|| Some(outcome.text(options.runs, &options.instance)), &json!({"event": "chaos", "outcome": outcome}));
    if well { Ok(()) } else { Err(Ended::Code(EXIT_RUN)) }
}
