//! A simulator in the current process: its configuration, its start, and the handle on a running one.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::broken_connection::{ConnectionHandle, CuttableListener};
use crate::call_log::CallLog;
use crate::concurrency::Concurrency;
use crate::control;
use crate::counters::Counters;
use crate::fal;
use crate::fal::forged_webhook::{Mutation, ResendError, Resent};
use crate::fal::journal::Journal;
use crate::fal::request_store::RequestStore;
use crate::faults::{BadRule, FaultRule, FaultRules, FaultStatus};
use crate::gemini;
use crate::identity::Identity;
use crate::input_cache::InputCache;
use crate::random::Random;
use crate::renderer::Renderer;
use crate::request_record::{RequestRecord, Sequence};
use crate::shutdown::Shutdown;
use crate::state::{BadScale, Settings, SettingsChange, State, WebhookMode, check_scale};

/// The fal key that is accepted by default.
pub const DEFAULT_FAL_KEY: &str = "simulated-key-id:simulated-key-secret";

/// The Gemini key that is accepted by default.
pub const DEFAULT_GEMINI_KEY: &str = "simulated-gemini-key";

const DEFAULT_SCALE: f64 = 0.2;
/// The limit of fal for a self-served account.
const DEFAULT_CONCURRENCY: usize = 40;
/// The interval at which the state file is updated.
const SAVE_INTERVAL: Duration = Duration::from_millis(500);
/// The time that connections get to finish when the simulator stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// The configuration of a simulator; also the flags of the binary.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// The port on 127.0.0.1; 0 takes a free one.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port: u16,
    /// The factor of typical durations; 0 answers at once.
    #[arg(long, value_name = "F", default_value_t = DEFAULT_SCALE)]
    pub scale: f64,
    /// The number of requests in progress at most.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CONCURRENCY)]
    pub concurrency: usize,
    /// Repeats the latencies, seeds and ids of a session; without it a seed is drawn.
    #[arg(long)]
    pub seed: Option<u64>,
    /// A JSON file for signing key, user id and counters; without it they are kept in memory.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// The fal key that is accepted.
    #[arg(long, value_name = "ID:SECRET", default_value = DEFAULT_FAL_KEY)]
    pub fal_key: String,
    /// The Gemini key that is accepted.
    #[arg(long, value_name = "KEY", default_value = DEFAULT_GEMINI_KEY)]
    pub gemini_key: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 0,
            scale: DEFAULT_SCALE,
            concurrency: DEFAULT_CONCURRENCY,
            seed: None,
            state: None,
            fal_key: DEFAULT_FAL_KEY.to_owned(),
            gemini_key: DEFAULT_GEMINI_KEY.to_owned(),
        }
    }
}

/// Starts simulators.
#[derive(Debug)]
pub struct Simulator;

impl Simulator {
    /// Listens and serves on the current Tokio runtime until the handle is dropped.
    pub async fn start(config: Config) -> Result<Running> {
        check_scale(config.scale)?;
        // Only the first call in a process can install a provider; any is good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        let state_path = config.state.as_deref();
        let (identity, counters) = Identity::open(state_path)?;
        let (journal, stored) = Journal::open(state_path).context("the requests beside the state file")?;
        let input_cache = InputCache::open(state_path, &stored.copies()).context("the inputs beside the state file")?;
        let seed = config.seed.map_or_else(random_seed, Ok)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, config.port)).await;
        let listener = listener.with_context(|| format!("cannot listen on 127.0.0.1:{}", config.port))?;
        let port = listener.local_addr()?.port();
        let sequence = Sequence::default();
        let state = Arc::new(State {
            port,
            fal_key: config.fal_key,
            gemini_key: config.gemini_key,
            identity,
            random: Random::new(seed),
            faults: FaultRules::new(seed),
            concurrency: Concurrency::new(config.concurrency),
            requests: RequestStore::new(sequence.clone()),
            calls: CallLog::new(sequence),
            journal,
            renderer: Renderer::new(),
            input_cache,
            client,
            scale: Mutex::new(config.scale),
            webhook_mode: Mutex::new(WebhookMode::default()),
            counters: Mutex::new(counters),
            held_webhooks: Mutex::default(),
            reordered_webhooks: Mutex::default(),
            delivery: Notify::new(),
            shutdown: Shutdown::new(),
        });
        let server = serve(state.clone(), listener);
        if config.state.is_some() {
            fal::resume::resume(&state, stored);
            save_regularly(&state);
        }
        tracing::info!(port, "simulator listens");
        Ok(Running { state, server })
    }
}

fn random_seed() -> Result<u64> {
    let random = ring::rand::generate(&ring::rand::SystemRandom::new());
    Ok(u64::from_be_bytes(random.map_err(|_| anyhow!("no random seed could be drawn"))?.expose()))
}

fn serve(state: Arc<State>, listener: TcpListener) -> JoinHandle<()> {
    let shutdown = state.shutdown.clone();
    let router = fal::routes::router().merge(gemini::routes::router()).merge(control::router()).with_state(state);
    let service = router.into_make_service_with_connect_info::<ConnectionHandle>();
    tokio::spawn(async move {
        let stop = async move { shutdown.triggered().await };
        if let Err(error) = axum::serve(CuttableListener(listener), service).with_graceful_shutdown(stop).await {
            tracing::error!(error = %error, "the listener failed");
        }
    })
}

fn save_regularly(state: &Arc<State>) {
    let inner = state.clone();
    state.shutdown.spawn(async move {
        let mut saved = Counters::default();
        let mut ticks = tokio::time::interval(SAVE_INTERVAL);
        loop {
            ticks.tick().await;
            let counters = inner.counters();
            if counters != saved {
                save(&inner);
                saved = counters;
            }
        }
    });
}

fn save(state: &State) {
    if let Err(error) = state.save() {
        tracing::warn!(error = %error, "the counters were not saved");
    }
}

/// A running simulator; it ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    state: Arc<State>,
    server: JoinHandle<()>,
}

impl Running {
    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.state.port
    }

    /// `http://127.0.0.1:{port}`, without a slash at the end.
    pub fn url(&self) -> String {
        self.state.base()
    }

    /// The address for `https://queue.fal.run`.
    pub fn fal_queue_url(&self) -> String {
        format!("{}/fal/queue", self.state.base())
    }

    /// The address for `https://api.fal.ai`, without `/v1`.
    pub fn fal_api_url(&self) -> String {
        format!("{}/fal/api", self.state.base())
    }

    /// The address for `https://rest.fal.ai`.
    pub fn fal_rest_url(&self) -> String {
        format!("{}/fal/rest", self.state.base())
    }

    /// The address for `https://generativelanguage.googleapis.com`.
    pub fn gemini_url(&self) -> String {
        format!("{}/gemini", self.state.base())
    }

    /// The Gemini key that is accepted.
    pub fn gemini_key(&self) -> &str {
        &self.state.gemini_key
    }

    /// The fal key that is accepted.
    pub fn fal_key(&self) -> &str {
        &self.state.fal_key
    }

    /// The account in whose name webhooks are signed.
    pub fn user_id(&self) -> &str {
        self.state.identity.user_id()
    }

    /// The counters.
    pub fn counters(&self) -> Counters {
        self.state.counters()
    }

    /// All requests, and calls of Gemini, in the order of submission.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.state.records()
    }

    /// Changes settings and gives the new ones.
    pub fn change(&self, change: SettingsChange) -> Result<Settings, BadScale> {
        self.state.change(change)
    }

    /// Sets the counters to 0; requests stay.
    pub fn reset(&self) {
        self.state.reset_counters();
    }

    /// Replaces all rules; their counts begin at 0. If one cannot be used, the former ones stay.
    pub fn set_faults(&self, rules: Vec<FaultRule>) -> Result<(), BadRule> {
        self.state.faults.set(rules)
    }

    /// The rules with their counts.
    pub fn faults(&self) -> Vec<FaultStatus> {
        self.state.faults.status()
    }

    /// Sends the webhook of a request again, forged if a mutation is given.
    pub async fn resend_webhook(&self, request_id: &str, mutate: Option<Mutation>) -> Result<Resent, ResendError> {
        fal::forged_webhook::resend(&self.state, request_id, mutate).await
    }

    /// Ends the simulator; connections get a second to finish.
    pub async fn stop(mut self) {
        self.state.shutdown.trigger();
        drop(tokio::time::timeout(STOP_TIMEOUT, &mut self.server).await);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.state.shutdown.trigger();
        self.server.abort();
        save(&self.state);
    }
}
