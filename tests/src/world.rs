//! The stack under test and its clients. Every wait has a condition and a bound.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fresco_api_types::{Manifest, Preview};
use fresco_cli::api::RunRequest;
use fresco_cli::api::{Api, ApiError, Inputs};
use fresco_cli::stack::Stack;
use fresco_ledger::records::{Entry, Millis, StepId, StepRecord};
use fresco_ledger::services::aws::Aws;
use fresco_ledger::store::DynamoLedger;
use fresco_ledger::traits::{Entries, Runs};
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::{ContentKey, RunId};
use serde_json::{Value, json};

use crate::StackAdmin;
use crate::shared_stacks::{CRASHES, Setup, WITHOUT_WEBHOOKS, shared, started};

/// The longest time that anything is waited for.
const BOUND: Duration = Duration::from_secs(90);
/// The bucket that stacks with exports may export to. A test creates it.
pub const EXPORTS: &str = "fresco-deliverables";

/// A stack under test, with clients that belong to one test.
pub struct World {
    stack: Arc<Stack>,
    aws: Aws,
    http: reqwest::Client,
    /// A client of the API.
    pub api: Api,
    /// Direct access to the table and the bucket.
    pub admin: StackAdmin,
}

/// The simulator's counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters {
    submits: u64,
    billed: u64,
}

impl Counters {
    /// Returns the submits and the billed completions since `before`.
    pub fn paid_since(&self, before: &Counters) -> (u64, u64) {
        (self.submits - before.submits, self.billed - before.billed)
    }
}

/// A request as the simulator recorded it. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub struct Request {
    pub record: Value,
}

impl Request {
    /// Returns its prompt.
    pub fn prompt(&self) -> &str {
        self.record["prompt"].as_str().expect("a prompt")
    }

    /// Returns its endpoint.
    pub fn endpoint(&self) -> &str {
        self.record["endpoint"].as_str().expect("an endpoint")
    }

    /// Returns the time of its submission.
    pub fn from(&self) -> i64 {
        self.record["submitted_ms"].as_i64().expect("a time")
    }

    /// Returns the time of its end.
    pub fn to(&self) -> i64 {
        self.record["ended_ms"].as_i64().expect("it has ended")
    }
}

/// Returns the largest number of these requests that were under way at a time.
pub fn most_at_once(requests: &[Request]) -> usize {
    let at = |time: i64| requests.iter().filter(|other| other.from() <= time && time < other.to()).count();
    requests.iter().map(|request| at(request.from())).max().unwrap_or(0)
}

impl World {
    /// Returns the shared stack of this test binary; the first call starts it.
    pub async fn get() -> World {
        Self::of(shared(Setup::default()).await).await
    }

    /// Does the same without webhooks.
    pub async fn without_webhooks() -> World {
        Self::of(started(&WITHOUT_WEBHOOKS, Setup::default().without_webhooks()).await).await
    }

    /// Returns a stack whose state machine waits and retries after a tenth of the usual time.
    pub async fn with_short_waits() -> World {
        Self::of(shared(Setup::default().with_short_waits()).await).await
    }

    /// Does the same without webhooks.
    pub async fn with_short_waits_without_webhooks() -> World {
        Self::of(started(&WITHOUT_WEBHOOKS, Setup::default().with_short_waits().without_webhooks()).await).await
    }

    /// Returns a stack whose transactions hold their items for a while.
    pub async fn with_conflicts() -> World {
        Self::of(shared(Setup { conflicts_ms: Some(10), ..Setup::default() }).await).await
    }

    /// Returns a stack that may store a gigabyte and may export to [`EXPORTS`].
    pub async fn with_limits() -> World {
        let parameters = &[("MaxStoredGigabytes", "1"), ("ExportBucket", EXPORTS)];
        Self::of(shared(Setup { parameters, ..Setup::default() }).await).await
    }

    /// Returns a stack with short waits and failpoints, which may export to [`EXPORTS`].
    pub async fn with_crashes() -> World {
        let parameters = &[("ExportBucket", EXPORTS)];
        Self::of(shared(Setup { parameters, crashes: true, ..Setup::default().with_short_waits() }).await).await
    }

    /// Does the same without webhooks and without the sweep, so that only nudges repair.
    pub async fn with_crashes_and_nudges() -> World {
        let parameters = &[("PublicUrl", "none"), ("SweepState", "DISABLED")];
        Self::of(shared(Setup { parameters, crashes: true, ..Setup::default().with_short_waits() }).await).await
    }

    /// Starts a stack for one test. Its state stays for the next stack of this name, whose buckets' lifecycle is carried out
    /// as of `lifecycle_now`, or as of now.
    pub async fn own(name: &'static str, lifecycle_now: Option<Millis>) -> World {
        Self::of(Arc::new(Setup { name, lifecycle_now, ..Setup::default() }.start().await)).await
    }

    /// Ends a test's own stack; its state stays.
    pub async fn close(self) {
        Arc::into_inner(self.stack).expect("a stack of one test").close().await;
    }

    async fn of(stack: Arc<Stack>) -> World {
        let aws = fresco_ledger::services::aws::connect_local(stack.endpoint_url()).await;
        let admin = StackAdmin::new(&aws, &stack).expect("a client");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let api = Api::new(&fresco_cli::stack::aws_config(&stack), &stack.api_url()).expect("a client of the API");
        World { stack, aws, api, http: reqwest::Client::builder().no_proxy().build().expect("an HTTP client"), admin }
    }

    /// Starts a run.
    pub async fn start(&self, document: &str, input: &str) -> RunId {
        let request = RunRequest::new(document).with_input(input);
        self.begin(&request, &Inputs::default())
            .await
            .unwrap_or_else(|error| panic!("it does not start: {error}\n{document}"))
    }

    /// Starts a run of a request through the API.
    pub async fn begin(&self, request: &RunRequest, inputs: &Inputs) -> Result<RunId, ApiError> {
        let started = self.api.start(request, inputs, None).await?;
        Ok(RunId::parse(started.id).expect("an id"))
    }

    /// Plans a document without running it.
    pub async fn preview(&self, document: &str, input: &str) -> Preview {
        let request = RunRequest::new(document).with_input(input);
        self.api
            .plan(&request, &Inputs::default())
            .await
            .unwrap_or_else(|error| panic!("it does not plan: {error}\n{document}"))
    }

    /// Starts a run of a request and waits for its end.
    pub async fn run_request(&self, request: &RunRequest) -> Manifest {
        self.run_with(request, &Inputs::default()).await
    }

    /// Does the same with input files.
    pub async fn run_with(&self, request: &RunRequest, inputs: &Inputs) -> Manifest {
        let run = self.begin(request, inputs).await.unwrap_or_else(|error| panic!("the run does not start: {error}"));
        self.ended(&run).await
    }

    /// Starts a run and waits for its end.
    pub async fn run(&self, document: &str, input: &str) -> Manifest {
        let run = self.start(document, input).await;
        self.ended(&run).await
    }

    /// Waits for a run's end, and returns its manifest.
    pub async fn ended(&self, run: &RunId) -> Manifest {
        let ledger = self.ledger();
        self.until("the run ends", async || match ledger.run(run).await {
            Ok(record) => record.expect("a record").status.is_final(),
            // A stack with more work than processors answers late.
            Err(error) if error.0.name == ErrorName::LedgerUnavailable => false,
            Err(error) => panic!("the run's record cannot be read: {error}"),
        })
        .await;
        self.admin.manifest(run).await.expect("a manifest")
    }

    /// Waits until a condition holds.
    pub async fn until(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + BOUND;
        while !condition().await {
            assert!(Instant::now() < deadline, "waited {} s in vain until {what}", BOUND.as_secs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns a step of a run.
    pub async fn step(&self, run: &RunId, step: &str) -> Option<StepRecord> {
        let step_id = StepId { run: run.clone(), step: step.parse().expect("a step") };
        self.admin.step(&step_id).await.expect("an answer")
    }

    /// Returns an entry, which has to exist.
    pub async fn entry(&self, key: &ContentKey) -> Entry {
        self.ledger().entry(key).await.expect("an answer").expect("an entry")
    }

    /// The clients of the local AWS.
    pub(crate) fn aws(&self) -> &Aws {
        &self.aws
    }

    /// Returns the ledger.
    pub fn ledger(&self) -> DynamoLedger {
        self.aws.ledger(self.output("TableName"))
    }

    /// Returns an output of the template.
    pub(crate) fn output(&self, name: &str) -> String {
        self.stack.outputs().get(name).expect("an output of the template").clone()
    }

    /// Returns the folder of failpoints.
    pub(crate) fn crashes(&self) -> PathBuf {
        self.stack.instance().join(CRASHES)
    }

    /// Builds a request to the local AWS, which does not verify signatures.
    pub(crate) fn aws_request(&self, method: reqwest::Method, service: &str, path: &str) -> reqwest::RequestBuilder {
        let scope = format!("Credential=test/20260101/us-east-1/{service}/aws4_request");
        self.http
            .request(method, format!("{}{path}", self.stack.endpoint_url()))
            .header("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=x"))
    }

    /// Aborts a run's execution, as a person may in the console.
    pub async fn abort(&self, run: &RunId) {
        let machine = self.output("RunMachineArn");
        let execution = format!("{}:{run}", machine.replace(":stateMachine:", ":execution:"));
        let client = aws_sdk_sfn::Client::new(self.aws.config());
        client.stop_execution().execution_arn(execution).send().await.expect("it is aborted");
    }

    /// Returns the simulator's counters.
    pub async fn counters(&self) -> Counters {
        let counters = self.get_json(&format!("{}/_control/counters", self.simulator())).await;
        let number = |name: &str| counters[name].as_u64().expect("a counter");
        Counters { submits: number("submits"), billed: number("billed_completions") }
    }

    /// Returns the simulator's records of the requests with this prompt.
    pub async fn requests_for(&self, prompt: &str) -> Vec<Value> {
        self.requests_with(|asked| asked == prompt).await.into_iter().map(|request| request.record).collect()
    }

    /// Returns the simulator's records of the requests with such prompts, in order of submission.
    pub async fn requests_with(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Request> {
        let requests = self.get_json(&format!("{}/_control/requests", self.simulator())).await;
        let requests = requests.as_array().expect("a list").iter();
        let wanted = requests.filter(|request| request["prompt"].as_str().is_some_and(&is_wanted));
        wanted.map(|record| Request { record: record.clone() }).collect()
    }

    /// Reads a control route of the simulator.
    pub async fn control_state(&self, route: &str) -> Value {
        self.get_json(&format!("{}/_control/{route}", self.simulator())).await
    }

    /// Returns the transactions that a stack with conflicts has carried out, and the writes that it has refused.
    pub async fn conflicts(&self) -> (u64, u64) {
        let counts = self.get_json(&format!("{}/_fresco/conflicts", self.stack.endpoint_url())).await;
        let count = |name: &str| counts[name].as_u64().expect("a count");
        (count("transactions"), count("refused"))
    }

    /// Removes the simulator's fault rules.
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

    /// Counts the invocations of each function by the emulator's logs. The sweep and the API are left out, since they are
    /// not invoked by runs.
    pub async fn invocations(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for group in self.ask_json("logs", "Logs_20140328.DescribeLogGroups", &json!({})).await["logGroups"]
            .as_array()
            .expect("groups")
        {
            let name = group["logGroupName"].as_str().expect("a name");
            let events = self.ask_json("logs", "Logs_20140328.FilterLogEvents", &json!({"logGroupName": name})).await;
            let starts = events["events"].as_array().expect("events").iter();
            let starts =
                starts.filter(|event| event["message"].as_str().is_some_and(|text| text.starts_with("START "))).count();
            let function = name.rsplit('/').next().unwrap_or(name).to_owned();
            if !["api", "sweep"].contains(&function.as_str()) {
                calls.insert(function, starts);
            }
        }
        calls
    }

    /// Returns the invocations since `before`, of functions that were invoked.
    pub async fn invocations_since(&self, before: &BTreeMap<String, usize>) -> Vec<(String, usize)> {
        let now = self.invocations().await.into_iter();
        let since = now.map(|(name, count)| {
            let earlier = before.get(&name).copied().unwrap_or(0);
            (name, count - earlier)
        });
        since.filter(|(_, count)| *count > 0).collect()
    }

    /// Returns the lines of a function's log that contain this text.
    pub async fn logged(&self, function: &str, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for group in self.ask_json("logs", "Logs_20140328.DescribeLogGroups", &json!({})).await["logGroups"]
            .as_array()
            .expect("groups")
        {
            let name = group["logGroupName"].as_str().expect("a name");
            if name.rsplit('/').next() == Some(function) {
                let events =
                    self.ask_json("logs", "Logs_20140328.FilterLogEvents", &json!({"logGroupName": name})).await;
                let messages = events["events"].as_array().expect("events").iter();
                let messages = messages.filter_map(|event| event["message"].as_str());
                lines.extend(messages.filter(|line| line.contains(text)).map(|line| line.trim().to_owned()));
            }
        }
        lines
    }

    /// Returns the XML description of CloudWatch's alarms.
    pub async fn alarms(&self) -> String {
        let form = "Action=DescribeAlarms&Version=2010-08-01";
        let request = self.aws_request(reqwest::Method::POST, "monitoring", "/").body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.send().await.expect("an answer").text().await.expect("a text")
    }

    async fn get_json(&self, url: &str) -> Value {
        self.http.get(url).send().await.expect("an answer").json().await.expect("JSON")
    }

    fn simulator(&self) -> &str {
        self.stack.simulator_url()
    }
}
