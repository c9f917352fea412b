//! Generation providers on loopback, for development and tests: real wire formats, true queueing, pictures and videos
//! that decode, signed webhooks, faults on demand. [`Simulator::start`] runs it in the current process; the binary
//! `simulator` wraps the same.

mod calls;
mod clock;
mod control;
mod counters;
mod fal;
mod faults;
mod gate;
mod gemini;
mod identity;
mod keep;
mod paint;
mod parent;
mod records;
mod reply;
mod still;
mod video;
mod wire;
mod world;

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

pub use counters::{Counters, EndpointCounters};
pub use fal::forge::{Mutation, ResendError, Resent};
pub use fal::infrastructure::Infrastructure;
pub use faults::{
    BadRule, CancelFault, Fault, FaultRule, FaultStatus, MediaFault, PollFault, SubmitFault, WebhookFault, WorkFault,
};
pub use identity::StateError;
pub use parent::parent_gone;
pub use records::{RequestRecord, Status, WebhookRecord};
pub use world::{BadScale, Settings, SettingsChange, WebhookMode};

use calls::Calls;
use clock::Chance;
use fal::inputs::FETCHED_AT_ONCE;
use fal::journal::Journal;
use fal::media::Gallery;
use fal::requests::Requests;
use faults::Faults;
use gate::Gate;
use identity::Identity;
use keep::Keep;
use records::Sequence;
use wire::{Line, Wire};
use world::{Live, World};

/// The fal key that is accepted where no other is configured.
pub const DEFAULT_FAL_KEY: &str = "simulated-key-id:simulated-key-secret";

/// The Gemini key that is accepted where no other is configured.
pub const DEFAULT_GEMINI_KEY: &str = "simulated-gemini-key";

/// How often the state file is brought up to date.
const SAVE_EVERY: Duration = Duration::from_millis(500);
/// How long connections get to finish when the simulator stops.
const LINGER: Duration = Duration::from_secs(1);

/// How a simulator shall run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Typical durations are multiplied by this; 0 answers at once.
    pub scale: f64,
    /// So many requests are in progress at most.
    pub concurrency: usize,
    /// Repeats latencies, seeds and ids of a session; `None` draws a fresh one.
    pub seed: Option<u64>,
    /// Where key, user id and counters are kept; `None` forgets them.
    pub state: Option<PathBuf>,
    /// The fal key that is accepted: `<id>:<secret>`.
    pub fal_key: String,
    /// The Gemini key that is accepted.
    pub gemini_key: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            scale: 0.2,
            concurrency: 40,
            seed: None,
            state: None,
            fal_key: DEFAULT_FAL_KEY.to_owned(),
            gemini_key: DEFAULT_GEMINI_KEY.to_owned(),
        }
    }
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The asked port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The state file is no use.
    #[error(transparent)]
    State(#[from] StateError),
    /// The requests on file beside the state file are no use.
    #[error("the requests beside the state file cannot be read or kept: {0}")]
    Journal(#[source] io::Error),
    /// The folder of inputs beside the state file is no use.
    #[error("the inputs beside the state file cannot be kept: {0}")]
    Inputs(#[source] io::Error),
    /// The scale makes no sense.
    #[error(transparent)]
    Scale(#[from] BadScale),
    /// The HTTP client for webhooks and inputs could not be made.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The system gave no random seed.
    #[error("no random seed could be drawn")]
    Random,
}

/// Starts simulators.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Listens and serves on the current Tokio runtime until the handle is dropped.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        world::check_scale(config.scale)?;
        // Only the first in a process can install one, and whoever came first is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        let (identity, counters) = Identity::open(config.state.as_deref())?;
        let (journal, past) = Journal::open(config.state.as_deref()).map_err(StartError::Journal)?;
        let keep = Keep::open(config.state.as_deref(), &past.copies()).map_err(StartError::Inputs)?;
        let seed = match config.seed {
            Some(seed) => seed,
            None => {
                let random = ring::rand::SystemRandom::new();
                u64::from_be_bytes(ring::rand::generate(&random).map_err(|_| StartError::Random)?.expose())
            }
        };
        let port = config.port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listen = |source| StartError::Listen { port, source };
        let listener = listener.map_err(listen)?;
        let port = listener.local_addr().map_err(listen)?.port();
        let sequence = Sequence::default();
        let world = Arc::new(World {
            port,
            fal_key: config.fal_key,
            gemini_key: config.gemini_key,
            identity,
            chance: Chance::new(seed),
            faults: Faults::new(seed),
            gate: Gate::new(config.concurrency),
            requests: Requests::new(sequence.clone()),
            calls: Calls::new(sequence),
            journal,
            gallery: Gallery::new(),
            keep,
            fetches: Semaphore::new(FETCHED_AT_ONCE),
            client,
            live: Mutex::new(Live { scale: config.scale, webhook_mode: WebhookMode::default() }),
            counters: Mutex::new(counters),
            held: Mutex::default(),
            reordered: Mutex::default(),
            delivery: Notify::new(),
            stopped: watch::Sender::new(false),
        });
        let router = fal::router().merge(gemini::router()).merge(control::router()).with_state(world.clone());
        let service = router.into_make_service_with_connect_info::<Wire>();
        let mut stopped = world.stopped.subscribe();
        let server = tokio::spawn(async move {
            let stop = async move { drop(stopped.wait_for(|stopped| *stopped).await) };
            if let Err(error) = axum::serve(Line(listener), service).with_graceful_shutdown(stop).await {
                tracing::error!(error = %error, "the listener failed");
            }
        });
        if config.state.is_some() {
            past.resume(&world);
            keep_saving(&world);
        }
        tracing::info!(port, "simulator listens");
        Ok(Running { world, server })
    }
}

fn keep_saving(world: &Arc<World>) {
    let inner = world.clone();
    world.spawn(async move {
        let mut saved = Counters::default();
        let mut ticks = tokio::time::interval(SAVE_EVERY);
        loop {
            ticks.tick().await;
            let counters = inner.counters();
            if counters == saved {
                continue;
            }
            match inner.save() {
                Ok(()) => saved = counters,
                Err(error) => tracing::warn!(error = %error, "counters not saved"),
            }
        }
    });
}

/// A simulator that runs; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    world: Arc<World>,
    server: JoinHandle<()>,
}

impl Running {
    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.world.port
    }

    /// `http://127.0.0.1:{port}`, without a slash at the end.
    pub fn url(&self) -> String {
        self.world.base()
    }

    /// What stands for `https://queue.fal.run`.
    pub fn fal_queue_url(&self) -> String {
        format!("{}/fal/queue", self.world.base())
    }

    /// What stands for `https://api.fal.ai`, without `/v1`.
    pub fn fal_api_url(&self) -> String {
        format!("{}/fal/api", self.world.base())
    }

    /// What stands for `https://rest.fal.ai`.
    pub fn fal_rest_url(&self) -> String {
        format!("{}/fal/rest", self.world.base())
    }

    /// What stands for `https://generativelanguage.googleapis.com`.
    pub fn gemini_url(&self) -> String {
        format!("{}/gemini", self.world.base())
    }

    /// The Gemini key that is accepted.
    pub fn gemini_key(&self) -> &str {
        &self.world.gemini_key
    }

    /// The fal key that is accepted.
    pub fn fal_key(&self) -> &str {
        &self.world.fal_key
    }

    /// The account in whose name webhooks are signed.
    pub fn user_id(&self) -> &str {
        self.world.identity.user_id()
    }

    /// The numbers so far.
    pub fn counters(&self) -> Counters {
        self.world.counters()
    }

    /// All requests, and calls of Gemini, in the order of submission.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.world.records()
    }

    /// The settings as they are.
    pub fn settings(&self) -> Settings {
        self.world.settings()
    }

    /// Changes settings and gives them as they are then.
    pub fn change(&self, change: SettingsChange) -> Result<Settings, BadScale> {
        self.world.change(change)
    }

    /// Sets the counters to nothing; requests stay.
    pub fn reset(&self) {
        self.world.reset();
    }

    /// Replaces all faults; their counts begin at 0. If one is no use, all stay as they are.
    pub fn set_faults(&self, rules: Vec<FaultRule>) -> Result<(), BadRule> {
        self.world.faults.set(rules)
    }

    /// The faults with how often each has struck.
    pub fn faults(&self) -> Vec<FaultStatus> {
        self.world.faults.status()
    }

    /// Sends the webhooks that were held back and gives their number.
    pub fn release_webhooks(&self) -> usize {
        fal::webhook::release(&self.world)
    }

    /// Sends the webhook of a request again, forged if asked for.
    pub async fn resend_webhook(&self, request_id: &str, mutate: Option<Mutation>) -> Result<Resent, ResendError> {
        fal::forge::resend(&self.world, request_id, mutate).await
    }

    /// Ends it and waits for connections to finish, though not for long.
    pub async fn stop(mut self) {
        self.world.stopped.send_replace(true);
        drop(tokio::time::timeout(LINGER, &mut self.server).await);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.world.stopped.send_replace(true);
        self.server.abort();
        if let Err(error) = self.world.save() {
            tracing::warn!(error = %error, "counters not saved");
        }
    }
}

/// Writes the port to a file that appears whole or not at all.
pub fn write_port_file(path: &Path, port: u16) -> io::Result<()> {
    identity::write_atomically(path, port.to_string().as_bytes())
}
