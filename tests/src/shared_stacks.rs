//! The stacks of a test binary, each started once in a folder of its own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use fresco_cli::stack::{Layout, Options, Stack};
use fresco_ledger::records::Millis;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Factor on the providers' typical durations.
const SCALE: f64 = 0.02;
/// The folder of failpoints, in that of the stack.
pub(crate) const CRASHES: &str = "crashes";

/// A runtime of its own, since the stack outlives the test that starts it.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static SHARED: OnceCell<Arc<Stack>> = OnceCell::const_new();
/// The stack without webhooks. A suite may have both.
pub(crate) static WITHOUT_WEBHOOKS: OnceCell<Arc<Stack>> = OnceCell::const_new();

/// The differences between stacks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [(&'static str, &'static str)],
    pub(crate) crashes: bool,
    pub(crate) conflicts_ms: Option<u32>,
    pub(crate) wait_scale: Option<f64>,
    pub(crate) lifecycle_now: Option<Millis>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            name: "shared",
            parameters: &[],
            crashes: false,
            conflicts_ms: None,
            wait_scale: None,
            lifecycle_now: None,
        }
    }
}

impl Setup {
    /// Shortens the waits and retry delays of the state machine.
    pub(crate) fn with_short_waits(self) -> Self {
        Setup { wait_scale: Some(0.1), ..self }
    }

    /// Keeps webhooks away from the stack.
    pub(crate) fn without_webhooks(self) -> Self {
        Setup { name: "without_webhooks", parameters: &[("PublicUrl", "none")], ..self }
    }

    pub(crate) async fn start(self) -> Stack {
        let layout = Layout::find().expect("the project");
        let instance = folder(&layout).join(self.name);
        let parameters =
            self.parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let crashes = self.crashes.then(|| instance.join(CRASHES));
        let Setup { conflicts_ms, wait_scale, lifecycle_now, .. } = self;
        let options = Options { parameters, crashes, conflicts_ms, wait_scale, lifecycle_now, ..Options::new(layout) };
        let options = Options { scale: SCALE, instance, ..options };
        Stack::start(options).await.unwrap_or_else(|error| panic!("the stack does not start: {error}"))
    }
}

/// Returns the URL of this test binary's local AWS, for suites that need nothing else.
pub async fn endpoint_url() -> String {
    shared(Setup::default()).await.endpoint_url().to_owned()
}

/// Returns the stack that all tests of the binary share; the first call starts it.
pub(crate) async fn shared(setup: Setup) -> Arc<Stack> {
    started(&SHARED, setup).await
}

pub(crate) async fn started(cell: &'static OnceCell<Arc<Stack>>, setup: Setup) -> Arc<Stack> {
    let start = async move { Arc::new(RUNTIME.spawn(setup.start()).await.expect("the stack starts")) };
    Arc::clone(cell.get_or_init(|| start).await)
}

/// Returns a folder for this process's stacks, and removes those of test binaries that have ended: a static is never
/// dropped.
fn folder(layout: &Layout) -> PathBuf {
    let home = layout.root().join("target/tmp");
    std::fs::create_dir_all(&home).expect("a folder for the tests' stacks");
    for old in std::fs::read_dir(&home).expect("the folder").flatten() {
        let name = old.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("stack-"));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // A folder that cannot be removed now is removed by a later suite.
            let _ = std::fs::remove_dir_all(old.path());
        }
    }
    home.join(format!("stack-{}", std::process::id()))
}
