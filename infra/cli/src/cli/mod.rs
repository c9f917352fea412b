//! The command line: what it takes, and which exit code says what.

mod age;
mod batch;
mod bench;
mod chaos;
mod clean;
mod fetch;
mod interrupt;
mod output;
mod pipeline;
mod plan;
mod run;
mod schedules;
mod stack;
mod status;
mod storage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use fresco_cli::api::ApiError;
use fresco_cli::stack::Error as StackError;

use output::Output;
use pipeline::PipelineArgs;

/// The run did not succeed.
pub(crate) const EXIT_RUN: u8 = 1;
/// The document or the arguments are wrong. Nothing was started and nothing was spent.
pub(crate) const EXIT_INPUT: u8 = 2;
/// The stack could not be started or reached.
pub(crate) const EXIT_STACK: u8 = 3;
/// Interrupted.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Generative-media pipelines on a serverless stack: here, on this machine.
#[derive(Debug, Parser)]
#[command(name = "fresco", bin_name = "cargo fresco", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline and bring its outputs here.
    Run(RunArgs),
    /// Run a pipeline over many rows, and download the results. It continues without this command.
    // Boxed: it has the most to say by far.
    Batch(Box<batch::BatchArgs>),
    /// Show what a pipeline would do: its order, what is in the cache, prices and times. Nothing is spent.
    Plan(PlanArgs),
    /// Start the stack and leave it running.
    Up(UpArgs),
    /// Stop the stack. What it holds stays, unless --purge.
    Down {
        /// Remove what it holds, too: the ledger, the outputs, the records.
        #[arg(long)]
        purge: bool,
    },
    /// The latest runs, or one run's steps.
    Status {
        /// The run.
        run: Option<String>,
    },
    /// What runs by itself: the schedules, with their last and next firings.
    Schedules,
    /// The models, with their times and prices.
    Models {
        /// Only those of this step type.
        #[arg(value_name = "TYPE")]
        step: Option<String>,
    },
    /// Print the JSON Schema of pipeline documents, for editors.
    Schema,
    /// Open a run's page in the browser, and print its address: the latest run's where none is named.
    Open {
        /// The run.
        run: Option<String>,
        /// Only print the address.
        #[arg(long)]
        print: bool,
    },
    /// Stop a run. Paid results are kept; jobs that wait in a provider's queue for no other run are cancelled.
    Stop {
        /// The run.
        run: String,
    },
    /// Bring the outputs of a run that has ended here. A folder that holds some of them already is brought up to date.
    Fetch {
        /// The run.
        run: String,
        /// The folder that they go to, straight.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// What the stack's bucket holds, by kind and age, what expires next, and how full it is.
    Storage,
    /// Remove results and outputs that are old, before they expire. It does not ask; --dry-run says what would go.
    Clean(clean::CleanArgs),
    /// Let everything go wrong on a stack of its own, and look whether all fits together afterwards.
    Chaos(ChaosArgs),
    /// Measure what the cache and batches cost, on a stack of its own: requests, times, memory and AWS's prices.
    Bench(bench::BenchArgs),
    /// Build the functions' package, target/fresco/functions.zip, as a deployment takes it.
    Package {
        /// Optimised, for AWS.
        #[arg(long)]
        release: bool,
    },
}

/// What every command takes.
#[derive(Debug, Args)]
struct Place {
    /// Print JSON: one object a line.
    #[arg(long, global = true)]
    json: bool,
    /// A stack in your AWS account, by its CloudFormation name, with the usual credentials; otherwise the one on this machine.
    #[arg(long, global = true, value_name = "NAME", conflicts_with_all = ["state", "port"])]
    stack: Option<String>,
    /// Where the stack keeps what it holds.
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// A fixed port for the stack's endpoint, instead of a free one.
    #[arg(long, global = true)]
    port: Option<u16>,
}

impl Place {
    /// What a further command has to say to mean the same stack, each word with a space before it.
    fn words(&self) -> String {
        let name = self.stack.as_ref().map(|name| format!(" --stack {name}"));
        let state = self.state.as_ref().map(|folder| format!(" --state {}", folder.display()));
        name.into_iter().chain(state).collect()
    }
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Where the outputs go, in a folder named by the run.
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
    /// An idempotency key: asked again under it, the same run is watched and no other is started.
    #[arg(long, value_name = "KEY")]
    once: Option<String>,
    #[command(flatten)]
    simulator: SimulatorArgs,
}

#[derive(Debug, Args)]
struct PlanArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    #[command(flatten)]
    simulator: SimulatorArgs,
}

#[derive(Debug, Args)]
struct ChaosArgs {
    /// So many runs of random pipelines.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// What is drawn; the same seed draws the same. A new one otherwise, which is printed.
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
struct UpArgs {
    #[command(flatten)]
    simulator: SimulatorArgs,
}

/// The factor on the typical seconds of simulated providers.
const SCALE: f64 = 0.2;

/// The options of commands that may start a stack of their own.
#[derive(Debug, Args)]
struct SimulatorArgs {
    /// How long simulated providers take: typical seconds times this.
    #[arg(long, default_value_t = SCALE, value_name = "FACTOR")]
    scale: f64,
    /// A value for a parameter of the template, for as long as the stack is up. May be given more than once.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pipeline::name_and_value)]
    set: Vec<(String, String)>,
}

impl Default for SimulatorArgs {
    fn default() -> Self {
        Self { scale: SCALE, set: Vec::new() }
    }
}

impl From<ApiError> for Ended {
    fn from(error: ApiError) -> Self {
        Ended::Api(Box::new(error))
    }
}

/// Why a command ended otherwise than well. It has been said to the user when it has a code only.
#[derive(Debug)]
enum Ended {
    Code(u8),
    Stack(Box<StackError>),
    Failed(fresco_pipeline::error::Failure),
    Api(Box<ApiError>),
}

impl From<StackError> for Ended {
    fn from(error: StackError) -> Self {
        Ended::Stack(Box::new(error))
    }
}

impl From<fresco_pipeline::error::Failure> for Ended {
    fn from(failure: fresco_pipeline::error::Failure) -> Self {
        Ended::Failed(failure)
    }
}

/// Runs the command that the arguments ask for.
pub(crate) async fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.place.json);
    let ended = match cli.command {
        Command::Run(args) => run::run(&output, &cli.place, args).await,
        Command::Batch(args) => batch::batch(&output, &cli.place, *args).await,
        Command::Plan(args) => plan::plan(&output, &cli.place, args).await,
        Command::Models { step } => plan::models(&output, step.as_deref()),
        Command::Schema => plan::schema(&output),
        Command::Up(args) => stack::up(&output, &cli.place, args).await,
        Command::Down { purge } => stack::down(&output, &cli.place, purge).await,
        Command::Status { run } => status::status(&output, &cli.place, run.as_deref()).await,
        Command::Schedules => schedules::schedules(&output, &cli.place).await,
        Command::Open { run, print } => status::open(&output, &cli.place, run.as_deref(), print).await,
        Command::Stop { run } => status::stop(&output, &cli.place, &run).await,
        Command::Fetch { run, to } => fetch::fetch(&output, &cli.place, &run, &to).await,
        Command::Storage => storage::storage(&output, &cli.place).await,
        Command::Clean(args) => clean::clean(&output, &cli.place, args).await,
        Command::Chaos(args) => chaos::run(&output, &cli.place, args).await,
        Command::Bench(args) => bench::run(&output, &cli.place, args).await,
        Command::Package { release } => stack::package(&output, release).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended::Code(code)) => ExitCode::from(code),
        Err(Ended::Stack(error)) => {
            output.error("Stack.Failed", &error.to_string());
            ExitCode::from(EXIT_STACK)
        }
        Err(Ended::Api(error)) => {
            output.error(error.code(), &error.to_string());
            ExitCode::from(match *error {
                ApiError::Unreachable { .. }
                | ApiError::Unauthorised(_)
                | ApiError::Busy(_)
                | ApiError::Unexpected(_) => EXIT_STACK,
                _ => EXIT_RUN,
            })
        }
        Err(Ended::Failed(failure)) => {
            output.error(failure.name.as_str(), &failure.message);
            ExitCode::from(EXIT_RUN)
        }
    }
}
