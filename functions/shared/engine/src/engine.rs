//! Wires the use cases of a stack.

use std::sync::Arc;

use crate::batch::store::BatchStore;
use crate::batch::{BatchFinalizer, BatchPlanner, Batches, Chunks};
use crate::commit::Commits;
use crate::intake::Intake;
use crate::planning::Planner;
use crate::planning::cached_results::CachedResults;
use crate::platform::Platform;
use crate::quota::Quota;
use crate::run::Runs;
use crate::run::answer::Answers;
use crate::run::export::Exporter;
use crate::settings::Settings;
use crate::step::attempt::Attempts;
use crate::step::collect::Collector;
use crate::step::generate::Steps;
use crate::step::inputs::StepInputs;
use crate::step::notify::Notifier;
use crate::step::reconcile::Reconciler;
use crate::step::webhook::Webhooks;
use crate::triggers::Triggers;
use crate::upkeep::Upkeep;

/// A platform, the settings of its stack, and the use cases over both.
pub struct Engine<P> {
    pub platform: Arc<P>,
    pub settings: Arc<Settings>,
    pub intake: Arc<Intake<P>>,
    pub planner: Arc<Planner<P>>,
    pub steps: Steps<P>,
    pub collector: Collector<P>,
    pub webhooks: Webhooks<P>,
    pub runs: Arc<Runs<P>>,
    pub batches: Arc<Batches<P>>,
    pub batch_planner: BatchPlanner<P>,
    pub batch_finalizer: BatchFinalizer<P>,
    pub chunks: Arc<Chunks<P>>,
    pub triggers: Triggers<P>,
    pub quota: Arc<Quota<P>>,
    pub upkeep: Upkeep<P>,
}

impl<P: Platform> Engine<P> {
    /// Wires the use cases. It calls nothing yet.
    pub fn new(platform: P, settings: impl Into<Arc<Settings>>) -> Self {
        let (platform, settings) = (Arc::new(platform), settings.into());
        let p = || platform.clone();
        let s = || settings.clone();
        let commits = Arc::new(Commits { platform: p() });
        let quota = Arc::new(Quota { platform: p(), settings: s() });
        let cached = Arc::new(CachedResults { platform: p(), settings: s(), commits: commits.clone() });
        let exporter = Arc::new(Exporter { platform: p(), settings: s() });
        let answers = Arc::new(Answers { platform: p() });
        let runs = Arc::new(Runs {
            platform: p(),
            settings: s(),
            commits: commits.clone(),
            answers: answers.clone(),
            exporter: exporter.clone(),
        });
        let planner = Arc::new(Planner {
            platform: p(),
            settings: s(),
            cached: cached.clone(),
            quota: quota.clone(),
            exporter: exporter.clone(),
            runs: runs.clone(),
        });
        let intake = Arc::new(Intake { platform: p(), quota: quota.clone() });
        let notifier = Arc::new(Notifier {
            platform: p(),
            commits: commits.clone(),
            cached: cached.clone(),
            answers: answers.clone(),
        });
        let attempts = Arc::new(Attempts { platform: p(), commits: commits.clone(), notifier: notifier.clone() });
        let reconciler = Arc::new(Reconciler {
            platform: p(),
            settings: s(),
            commits: commits.clone(),
            attempts: attempts.clone(),
            runs: runs.clone(),
            notifier: notifier.clone(),
        });
        let store = Arc::new(BatchStore { platform: p() });
        let batches = Arc::new(Batches {
            platform: p(),
            settings: s(),
            store: store.clone(),
            intake: intake.clone(),
            runs: runs.clone(),
        });
        let chunks = Arc::new(Chunks {
            platform: p(),
            store: store.clone(),
            intake: intake.clone(),
            planner: planner.clone(),
            runs: runs.clone(),
            exporter: exporter.clone(),
            batches: batches.clone(),
        });
        Engine {
            steps: Steps {
                platform: p(),
                settings: s(),
                commits: commits.clone(),
                cached,
                quota: quota.clone(),
                inputs: StepInputs { platform: p() },
                answers,
                attempts: attempts.clone(),
                reconciler: reconciler.clone(),
                runs: runs.clone(),
            },
            collector: Collector {
                platform: p(),
                settings: s(),
                commits: commits.clone(),
                quota: quota.clone(),
                notifier: notifier.clone(),
            },
            webhooks: Webhooks { platform: p(), commits: commits.clone(), attempts },
            batch_planner: BatchPlanner {
                platform: p(),
                settings: s(),
                store: store.clone(),
                exporter: exporter.clone(),
                chunks: chunks.clone(),
            },
            batch_finalizer: BatchFinalizer { platform: p(), settings: s(), store, exporter, chunks: chunks.clone() },
            triggers: Triggers { platform: p(), settings: s(), intake: intake.clone(), batches: batches.clone() },
            upkeep: Upkeep {
                platform: p(),
                commits,
                quota: quota.clone(),
                notifier,
                reconciler,
                batches: batches.clone(),
            },
            intake,
            planner,
            runs,
            batches,
            chunks,
            quota,
            platform,
            settings,
        }
    }
}
