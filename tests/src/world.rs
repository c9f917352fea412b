//! The stack under test and questions to it. Every wait has a condition and a bound.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use fresco_engine::{Manifest, Preview, RunRequest};
use fresco_ledger::aws::Aws;
use fresco_ledger::dynamo::Dynamo;
use fresco_ledger::rows::{Asker, Entry, StepRow};
use fresco_ledger::traits::Entries;
use fresco_local::client::{Client, Parts};
use fresco_local::stack::{Layout, Options, Stack};
use fresco_pipeline::ids::{ContentKey, RunId, StepName};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

/// Typical seconds times this.
const SCALE: f64 = 0.02;
/// The longest that anything here may take.
const BOUND: Duration = Duration::from_secs(90);
/// The folder of crash points, in that of the stack.
const CRASHES: &str = "crashes";

/// The stack outlives the runtime of the test that asks first, so it has one of its own.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));
static SHARED: OnceCell<Shared> = OnceCell::const_new();
/// The one that no webhook reaches. A suite may have both.
static ASKING: OnceCell<Shared> = OnceCell::const_new();

const NO_WEBHOOKS: &[(&str, &str)] = &[("PublicUrl", "none")];
const HURRY: Option<f64> = Some(0.1);

struct Shared {
    stack: Stack,
}

/// What differs between stacks.
#[derive(Debug, Clone, Copy, Default)]
struct Setup {
    parameters: &'static [(&'static str, &'static str)],
    crashes: bool,
    wait_scale: Option<f64>,
}

/// A stack under test, and clients of it that belong to the asking test.
pub struct World {
    shared: &'static Shared,
    aws: Aws,
    http: reqwest::Client,
    /// A client.
    pub client: Client,
}

/// What the simulator counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    submits: u64,
    billed: u64,
}

impl Counters {
    /// Submits and billed completions since.
    pub fn paid_since(&self, before: &Counters) -> (u64, u64) {
        (self.submits - before.submits, self.billed - before.billed)
    }
}

/// A request as the simulator recorded it. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub struct Request {
    /// The whole record.
    pub record: Value,
}

impl Request {
    /// What was asked.
    pub fn prompt(&self) -> &str {
        self.record["prompt"].as_str().expect("a prompt")
    }

    /// The endpoint.
    pub fn endpoint(&self) -> &str {
        self.record["endpoint"].as_str().expect("an endpoint")
    }

    /// When it was submitted.
    pub fn from(&self) -> i64 {
        self.record["submitted_ms"].as_i64().expect("a time")
    }

    /// When it ended.
    pub fn to(&self) -> i64 {
        self.record["ended_ms"].as_i64().expect("it has ended")
    }
}

/// The most of these requests that were under way at a time.
pub fn most_at_once(requests: &[Request]) -> usize {
    let at = |time: i64| requests.iter().filter(|other| other.from() <= time && time < other.to()).count();
    requests.iter().map(|request| at(request.from())).max().unwrap_or(0)
}

impl World {
    /// The stack of this test binary; the first to ask starts it.
    pub async fn get() -> World {
        Self::of(shared().await).await
    }

    /// The same, where no webhook can reach it.
    pub async fn without_webhooks() -> World {
        Self::of(get_or_start(&ASKING, "asking", &Setup { parameters: NO_WEBHOOKS, ..Setup::default() }).await).await
    }

    /// A stack whose state machine hardly pauses before it tries again.
    pub async fn in_a_hurry() -> World {
        Self::of(get_or_start(&SHARED, "shared", &Setup { wait_scale: HURRY, ..Setup::default() }).await).await
    }

    /// The same, where no webhook can reach it.
    pub async fn in_a_hurry_without_webhooks() -> World {
        let setup = Setup { parameters: NO_WEBHOOKS, wait_scale: HURRY, ..Setup::default() };
        Self::of(get_or_start(&ASKING, "asking", &setup).await).await
    }

    /// The same as in a hurry, with functions that can be ended at the engine's crash points.
    pub async fn with_crashes() -> World {
        let setup = Setup { crashes: true, wait_scale: HURRY, ..Setup::default() };
        Self::of(get_or_start(&SHARED, "shared", &setup).await).await
    }

    /// The same, where neither a webhook nor the sweep comes: all is left to the nudge.
    pub async fn with_crashes_and_nudges() -> World {
        let parameters = &[("PublicUrl", "none"), ("SweepState", "DISABLED")];
        let setup = Setup { parameters, crashes: true, wait_scale: HURRY };
        Self::of(get_or_start(&SHARED, "shared", &setup).await).await
    }

    async fn of(shared: &'static Shared) -> World {
        let aws = fresco_ledger::aws::connect_local(shared.stack.endpoint_url()).await;
        let client = Client::new(&aws, &Parts::of(&shared.stack)).expect("a client");
        let _ = rustls::crypto::ring::default_provider().install_default();
        World { shared, aws, http: reqwest::Client::builder().no_proxy().build().expect("an HTTP client"), client }
    }

    /// Starts a run.
    pub async fn start(&self, document: &str, input: &str) -> RunId {
        let request =
            RunRequest { document: document.to_owned(), input: Some(input.to_owned()), ..RunRequest::default() };
        self.client.start(&request).await.unwrap_or_else(|error| panic!("the run does not start: {error}\n{document}"))
    }

    /// What a document would do.
    pub async fn preview(&self, document: &str, input: &str) -> Preview {
        let request =
            RunRequest { document: document.to_owned(), input: Some(input.to_owned()), ..RunRequest::default() };
        self.client.preview(&request).await.unwrap_or_else(|error| panic!("it does not plan: {error}\n{document}"))
    }

    /// Starts a run of a request and waits for its end.
    pub async fn run_request(&self, request: &RunRequest) -> Manifest {
        let run = self.client.start(request).await.unwrap_or_else(|error| panic!("the run does not start: {error}"));
        self.ended(&run).await
    }

    /// Starts a run and waits for its end.
    pub async fn run(&self, document: &str, input: &str) -> Manifest {
        let run = self.start(document, input).await;
        self.ended(&run).await
    }

    /// Waits for a run's end.
    pub async fn ended(&self, run: &RunId) -> Manifest {
        self.until("the run ends", async || self.client.status(run).await.expect("a status").0.status.is_final()).await;
        self.client.manifest(run).await.expect("a manifest")
    }

    /// Waits until a condition holds.
    pub async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + BOUND;
        while !condition().await {
            assert!(Instant::now() < deadline, "waited {} s in vain: {what}", BOUND.as_secs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A step.
    pub async fn step(&self, run: &RunId, step: &str) -> Option<StepRow> {
        let asker = Asker { run: run.clone(), step: StepName::parse(step).expect("a step name") };
        self.client.step(&asker).await.expect("an answer")
    }

    /// An entry.
    pub async fn entry(&self, key: &ContentKey) -> Entry {
        self.ledger().entry(key).await.expect("an answer").expect("an entry")
    }

    /// The ledger.
    pub(crate) fn ledger(&self) -> Dynamo {
        self.aws.dynamo(self.output("TableName"))
    }

    /// An output of the template.
    pub(crate) fn output(&self, name: &str) -> String {
        output(&self.shared.stack, name)
    }

    /// The folder in which files are crashes.
    pub(crate) fn crashes(&self) -> PathBuf {
        self.shared.stack.instance().join(CRASHES)
    }

    /// A request to the local AWS, without a client crate for a call or two. It is not checked who asks.
    pub(crate) fn aws_request(&self, method: reqwest::Method, service: &str, path: &str) -> reqwest::RequestBuilder {
        let scope = format!("Credential=test/20260101/us-east-1/{service}/aws4_request");
        self.http
            .request(method, format!("{}{path}", self.shared.stack.endpoint_url()))
            .header("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=x"))
    }

    /// Aborts a run's execution, as somebody may in the console.
    pub async fn abort(&self, run: &RunId) {
        let machine = self.output("RunMachineArn");
        let execution = format!("{}:{run}", machine.replace(":stateMachine:", ":execution:"));
        let client = aws_sdk_sfn::Client::new(self.aws.config());
        client.stop_execution().execution_arn(execution).send().await.expect("it is aborted");
    }

    /// What the simulator counted so far.
    pub async fn counters(&self) -> Counters {
        let counters = self.get_json(&format!("{}/_control/counters", self.simulator())).await;
        let number = |name: &str| counters[name].as_u64().expect("a counter");
        Counters { submits: number("submits"), billed: number("billed_completions") }
    }

    /// The simulator's record of the requests with this prompt.
    pub async fn requests_for(&self, prompt: &str) -> Vec<Value> {
        self.requests_with(|asked| asked == prompt).await.into_iter().map(|request| request.record).collect()
    }

    /// The simulator's record of the requests with such a prompt, in order of submission.
    pub async fn requests_with(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Request> {
        let requests = self.get_json(&format!("{}/_control/requests", self.simulator())).await;
        let requests = requests.as_array().expect("a list").iter();
        let wanted = requests.filter(|request| request["prompt"].as_str().is_some_and(&is_wanted));
        wanted.map(|record| Request { record: record.clone() }).collect()
    }

    /// What a control route of the simulator says.
    pub async fn control_state(&self, route: &str) -> Value {
        self.get_json(&format!("{}/_control/{route}", self.simulator())).await
    }

    /// No rule for faults is left.
    pub async fn forget_faults(&self) {
        let url = format!("{}/_control/faults", self.simulator());
        assert!(self.http.delete(url).send().await.expect("an answer").status().is_success());
    }

    /// Posts to a control route of the simulator.
    pub async fn control(&self, route: &str, body: &Value) -> Value {
        let url = format!("{}/_control/{route}", self.simulator());
        let answer = self.http.post(url).json(body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{route}: {}", answer.status());
        answer.json().await.expect("JSON")
    }

    /// How often each function was called so far, by what the emulator logged. Sweep runs by itself and is left out.
    pub async fn invocations(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for group in self.logs("DescribeLogGroups", json!({})).await["logGroups"].as_array().expect("groups") {
            let name = group["logGroupName"].as_str().expect("a name");
            let events = self.logs("FilterLogEvents", json!({"logGroupName": name})).await;
            let starts = events["events"].as_array().expect("events").iter();
            let starts =
                starts.filter(|event| event["message"].as_str().is_some_and(|text| text.starts_with("START "))).count();
            let function = name.rsplit('/').next().unwrap_or(name).to_owned();
            if function != "sweep" {
                calls.insert(function, starts);
            }
        }
        calls
    }

    /// The calls since, of functions that were called.
    pub async fn invocations_since(&self, before: &BTreeMap<String, usize>) -> Vec<(String, usize)> {
        let now = self.invocations().await.into_iter();
        let since = now.map(|(name, count)| {
            let earlier = before.get(&name).copied().unwrap_or(0);
            (name, count - earlier)
        });
        since.filter(|(_, count)| *count > 0).collect()
    }

    /// CloudWatch Logs.
    async fn logs(&self, operation: &str, body: Value) -> Value {
        let answer = self
            .aws_request(reqwest::Method::POST, "logs", "")
            .header("x-amz-target", format!("Logs_20140328.{operation}"))
            .header("content-type", "application/x-amz-json-1.1")
            .body(body.to_string())
            .send()
            .await
            .expect("an answer");
        answer.json().await.expect("JSON")
    }

    async fn get_json(&self, url: &str) -> Value {
        self.http.get(url).send().await.expect("an answer").json().await.expect("JSON")
    }

    fn simulator(&self) -> &str {
        self.shared.stack.simulator_url()
    }
}

/// Where the local AWS of this test binary listens, for suites that need no more of it.
pub async fn endpoint_url() -> &'static str {
    shared().await.stack.endpoint_url()
}

async fn shared() -> &'static Shared {
    get_or_start(&SHARED, "shared", &Setup::default()).await
}

async fn get_or_start(cell: &'static OnceCell<Shared>, name: &'static str, setup: &Setup) -> &'static Shared {
    let setup = *setup;
    cell.get_or_init(|| async { RUNTIME.spawn(start(name, setup)).await.expect("the stack starts") }).await
}

async fn start(name: &str, setup: Setup) -> Shared {
    let layout = Layout::find().expect("the project");
    let instance = folder(&layout).join(name);
    let parameters = setup.parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let wait_scale = setup.wait_scale;
    let crashes = setup.crashes.then(|| instance.join(CRASHES));
    let options = Options { scale: SCALE, instance, parameters, crashes, wait_scale, ..Options::new(layout) };
    let stack = Stack::start(options).await.unwrap_or_else(|error| panic!("the stack does not start: {error}"));
    Shared { stack }
}

/// A folder for this process's stacks. A static is never dropped, so each suite removes what those before it left; their
/// processes ended with them.
fn folder(layout: &Layout) -> PathBuf {
    let home = layout.root().join("target/tmp");
    std::fs::create_dir_all(&home).expect("a folder for the tests' stacks");
    for old in std::fs::read_dir(&home).expect("the folder").flatten() {
        let name = old.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("stack-"));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // What cannot be removed now is removed by the next.
            let _ = std::fs::remove_dir_all(old.path());
        }
    }
    home.join(format!("stack-{}", std::process::id()))
}

fn output(stack: &Stack, name: &str) -> String {
    stack.outputs().get(name).expect("an output of the template").clone()
}
