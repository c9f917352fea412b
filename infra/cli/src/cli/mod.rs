//! The arguments of the command line, its commands and its exit codes.

mod age;
mod batch;
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
/// The document or the arguments are invalid. Nothing was started and nothing was spent.
pub(crate) const EXIT_INPUT: u8 = 2;
/// The stack could not be started or reached.
pub(crate) const EXIT_STACK: u8 = 3;
/// Interrupted.
pub(crate) const EXIT_INTERRUPTED: u8 = 130;

/// Generative-media pipelines on a serverless stack, on this machine or in your AWS account.
#[derive(Debug, Parser)]
#[command(name = "fresco", bin_name = "cargo fresco", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline and download its outputs.
    Run(RunArgs),
    /// Run a pipeline over many rows and download the results. A batch continues without this command.
    // Boxed: it has the most arguments by far.
    Batch(Box<batch::BatchArgs>),
    /// Show the execution order, cache hits, prices and times of a pipeline. Nothing is spent.
    Plan(PlanArgs),
    /// Start the stack and leave it running.
    Up(UpArgs),
    /// Stop the stack. Its state stays, unless --purge is given.
    Down {
        /// Remove its state, too: the ledger, the outputs, the records.
        #[arg(long)]
        purge: bool,
    },
    /// List the latest runs, or the steps of one run.
    Status {
        /// The run.
        run: Option<String>,
    },
    /// List the schedules with their last and next firings.
    Schedules,
    /// List the models with their times and prices.
    Models {
        /// Only models of this step type.
        #[arg(value_name = "TYPE")]
        step: Option<String>,
    },
    /// Print the JSON Schema of pipeline documents, for editors.
    Schema,
    /// Open a run's page in the browser and print its URL. The default is the latest run.
    Open {
        /// The run.
        run: Option<String>,
        /// Only print the URL.
        #[arg(long)]
        print: bool,
    },
    /// Stop a run. Paid results are kept; queued jobs that no other run waits for are cancelled.
    Stop {
        /// The run.
        run: String,
    },
    /// Fetch the outputs of a run that are paid and could not be stored. Nothing is paid again.
    Recollect {
        /// The run.
        run: String,
    },
    /// Download the outputs of an ended run. Files that the folder has already are not downloaded again.
    Fetch {
        /// The run.
        run: String,
        /// The folder of the outputs.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Show the contents of the stack's bucket by kind and age, the next expiries, and its limit.
    Storage,
    /// Remove old results and outputs before they expire, without confirmation; --dry-run only lists them.
    Clean(clean::CleanArgs),
    /// Build the functions' package, target/fresco/functions.zip, as a deployment takes it.
    Package {
        /// Build optimised packages, for AWS.
        #[arg(long)]
        release: bool,
    },
}

/// The stack that a command works on, and the form of its output.
#[derive(Debug, Args)]
struct Target {
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
    /// The CloudFormation name of a stack in your AWS account, with the usual credentials. The default is the local stack.
    #[arg(long, global = true, value_name = "NAME", conflicts_with_all = ["state", "port"])]
    stack: Option<String>,
    /// The folder of the local stack's state.
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The port of the local stack's endpoint. The default is a free port.
    #[arg(long, global = true)]
    port: Option<u16>,
}

impl Target {
    /// The flags that name the same stack in another command, each with a space before it.
    fn flags(&self) -> String {
        let name = self.stack.as_ref().map(|name| format!(" --stack {name}"));
        let state = self.state.as_ref().map(|folder| format!(" --state {}", folder.display()));
        name.into_iter().chain(state).collect()
    }
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The folder of the outputs, which go into a subfolder named by the run.
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
    /// An idempotency key: a repeated command with the same key watches the same run and starts no other.
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
struct UpArgs {
    #[command(flatten)]
    simulator: SimulatorArgs,
}

/// The factor on the typical durations of simulated providers.
const SCALE: f64 = 0.2;

/// The settings of a stack that a command may start.
#[derive(Debug, Args)]
struct SimulatorArgs {
    /// Factor on the typical durations of the simulated providers.
    #[arg(long, default_value_t = SCALE, value_name = "FACTOR")]
    scale: f64,
    /// A value for a parameter of the template while the stack is up. May be given more than once.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pipeline::name_and_value)]
    set: Vec<(String, String)>,
}

impl Default for SimulatorArgs {
    fn default() -> Self {
        Self { scale: SCALE, set: Vec::new() }
    }
}

impl From<ApiError> for CommandError {
    fn from(error: ApiError) -> Self {
        CommandError::Api(Box::new(error))
    }
}

/// The failure of a command. An error with only an exit code has been reported to the user already.
#[derive(Debug)]
enum CommandError {
    Code(u8),
    Stack(Box<StackError>),
    Failed(fresco_pipeline::error::Failure),
    Api(Box<ApiError>),
}

impl From<StackError> for CommandError {
    fn from(error: StackError) -> Self {
        CommandError::Stack(Box::new(error))
    }
}

impl From<fresco_pipeline::error::Failure> for CommandError {
    fn from(failure: fresco_pipeline::error::Failure) -> Self {
        CommandError::Failed(failure)
    }
}

/// Runs the command of the arguments.
pub(crate) async fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.target.json);
    let result = match cli.command {
        Command::Run(args) => run::run(&output, &cli.target, args).await,
        Command::Batch(args) => batch::batch(&output, &cli.target, *args).await,
        Command::Plan(args) => plan::plan(&output, &cli.target, args).await,
        Command::Models { step } => plan::models(&output, step.as_deref()),
        Command::Schema => plan::schema(&output),
        Command::Up(args) => stack::up(&output, &cli.target, args).await,
        Command::Down { purge } => stack::down(&output, &cli.target, purge).await,
        Command::Status { run } => status::status(&output, &cli.target, run.as_deref()).await,
        Command::Schedules => schedules::schedules(&output, &cli.target).await,
        Command::Open { run, print } => status::open(&output, &cli.target, run.as_deref(), print).await,
        Command::Stop { run } => status::stop(&output, &cli.target, &run).await,
        Command::Recollect { run } => status::recollect(&output, &cli.target, &run).await,
        Command::Fetch { run, to } => fetch::fetch(&output, &cli.target, &run, &to).await,
        Command::Storage => storage::storage(&output, &cli.target).await,
        Command::Clean(args) => clean::clean(&output, &cli.target, args).await,
        Command::Package { release } => stack::package(&output, release).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError::Code(code)) => ExitCode::from(code),
        Err(CommandError::Stack(error)) => {
            output.error("Stack.Failed", &error.to_string());
            ExitCode::from(EXIT_STACK)
        }
        Err(CommandError::Api(error)) => {
            output.error(error.code(), &error.to_string());
            ExitCode::from(match *error {
                ApiError::Unreachable { .. }
                | ApiError::Unauthorised(_)
                | ApiError::Busy(_)
                | ApiError::Unexpected(_) => EXIT_STACK,
                _ => EXIT_RUN,
            })
        }
        Err(CommandError::Failed(failure)) => {
            output.error(failure.name.as_str(), &failure.message);
            ExitCode::from(EXIT_RUN)
        }
    }
}
