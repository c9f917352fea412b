//! Tables of crashes: in each case a run passes failpoints, and its functions end there. The run ends all the same, nothing
//! is paid twice, paid results are cached, no hold stays open and no waiter is left. The suites hold the tables.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use fresco_api_types::Manifest;
use fresco_engine::failpoint::Failpoint::{self, GenerateClaimed, GeneratePosted};
use fresco_ledger::records::{ResultSource, RunStatus};
use fresco_pipeline::error::ErrorName;
use fresco_pipeline::ids::{ContentKey, RunId};
use fresco_pipeline::money::Money;
use futures::FutureExt;
use serde_json::json;

use crate::Function::{AnalyzeImage, Collect, Sweep, TextToImage, Webhook};
use crate::{DAY, EXPORTS, Function, Request, World};

/// Longer than a submitter lives, and than any time until the next check.
const LONG: i64 = 1_000_000;
/// An age that leaves half a day of a week.
const NEARLY_A_LIFE: i64 = 13 * DAY / 2;
/// The bound of one case, repairs included.
const BOUND: Duration = Duration::from_secs(60);
/// Open holds and waiters are left alone for the first time after a run, and have to be closed within the second.
const LEFT_ALONE: Duration = Duration::from_secs(4);
const LEFT_FOR: Duration = Duration::from_secs(15);

/// The scenario of a run that passes a failpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// One picture.
    Image,
    /// Two steps of one prompt side by side; the provider works on nothing before the crash.
    SamePrompt,
    /// Two steps of one prompt, one after the other: the second finds the result of the first.
    Again,
    /// Everything is cached, and plan closes the run.
    Stored,
    /// A cached result whose object has been removed.
    Gone,
    /// Everything is cached and expires soon.
    Ending,
    /// The same of the second of two steps; the first step's object is removed, and the same one is generated again.
    EndingSecond,
    /// A cached result that is refreshed.
    Refresh,
    /// Its outputs are exported.
    Exported,
    /// An analysis by a synchronous provider.
    Analysis,
    /// No webhook arrives.
    Unheard,
    /// The job fails.
    Rejected,
    /// No list shows the job, so it is given up; then its webhook arrives.
    Late,
    /// A picture that costs more than the budget, and an analysis of it.
    TooDear,
    /// The run is stopped while its job is queued.
    Stopped,
    /// The provider refuses the submission.
    Refused,
}

/// The expected end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With its result, paid once.
    Result,
    /// With its result, paid once more: the object of the first one is missing.
    PaidAgain,
    /// As this failure, nothing paid.
    Unpaid(ErrorName),
    /// With its result, paid twice: the first answer was lost.
    PaidTwice,
    /// As this failure, paid once; the result arrives afterwards.
    PaidLate(ErrorName),
    /// Stopped. The job is cancelled, or is paid and its result arrives afterwards.
    Stopped,
}

/// A case: a scenario, its crashes and the expected end.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    way: Way,
    /// The function, the failpoint and the number of crashes, in the order in which they are waited for.
    crashes: &'static [(Function, Failpoint, u8)],
    end: End,
}

impl Case {
    /// Returns whether a function crashes at this failpoint.
    pub fn passes(&self, point: Failpoint) -> bool {
        self.crashes.iter().any(|(_, crash, _)| *crash == point)
    }
}

/// Builds a case. A crash is a function, a failpoint and a number of times.
pub const fn case(way: Way, crashes: &'static [(Function, Failpoint, u8)], end: End) -> Case {
    Case { way, crashes, end }
}

/// The mechanism that repairs an attempt after some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// The sweep.
    Sweep,
    /// The nudge: the state machine invokes generate again.
    Nudge,
}

/// Runs the cases of a table one after the other, since any process may take a crash. The environment variable
/// `FRESCO_CASES` selects the cases whose description contains it.
pub async fn go_through(world: &World, by: Repair, cases: &[Case]) {
    let picked = std::env::var("FRESCO_CASES").unwrap_or_default();
    let mut broken = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let said = format!("{number}: {:?}, {:?}", case.way, case.crashes);
        if !said.contains(&picked) {
            continue;
        }
        let started = Instant::now();
        let row = AssertUnwindSafe(tokio::time::timeout(BOUND, hold(world, by, number, case)));
        let how = match row.catch_unwind().await {
            Ok(Ok(())) => "holds",
            Ok(Err(_)) => "has not ended",
            Err(_) => "is broken",
        };
        let said = format!("{:4.1} s  {said} {how}", started.elapsed().as_secs_f64());
        println!("{said}");
        if how != "holds" {
            broken.push(said);
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Runs one case.
async fn hold(world: &World, by: Repair, number: usize, case: &Case) {
    world.forget_crashes();
    let prompt = format!("crash {number}");
    prepare(world, case.way, &prompt).await;
    let before = asked(world, &prompt).await.len();
    for &(function, point, times) in case.crashes {
        world.crash(function, point, times);
    }
    let generated = calls_of_generate(world).await;
    let run = world.start(&document(case.way, true), &prompt).await;
    lead(world, case, &run).await;
    let keys = repair(world, case, by, &run, generated).await;
    let manifest = world.ended(&run).await;
    let fired = |(function, point, _): &(Function, Failpoint, u8)| world.has_crashed(*function, *point);
    assert!(case.crashes.iter().all(fired), "not passed");

    let error = manifest.failure.as_ref().map(|failure| failure.name);
    let (status, expected, paid) = match case.end {
        End::Result if matches!(case.way, Way::Stored | Way::Ending) => (RunStatus::Succeeded, None, 0..=0),
        End::Result | End::PaidAgain => (RunStatus::Succeeded, None, 1..=1),
        End::Unpaid(name) => (RunStatus::Failed, Some(name), 0..=0),
        End::PaidTwice => (RunStatus::Succeeded, None, 2..=2),
        End::PaidLate(name) => (RunStatus::Failed, Some(name), 1..=1),
        End::Stopped => (RunStatus::Stopped, Some(ErrorName::RunStopped), 0..=1),
    };
    assert_eq!((manifest.status, error), (status, expected), "{:?}", manifest.failure);
    settled(world, &run, &keys).await;
    let after = asked(world, &prompt).await;
    let billed = billed(&after[before..]);
    assert!(paid.contains(&billed), "paid {billed} times");

    // A second run hits the paid results, and generates the others.
    world.control("faults", &json!([])).await;
    let again = world.run(&document(case.way, false), &prompt).await;
    assert_eq!(again.status, RunStatus::Succeeded, "again: {:?}", again.failure);
    if matches!(case.end, End::Result | End::PaidAgain | End::PaidTwice | End::PaidLate(_)) {
        assert!(again.steps.iter().all(|step| step.source == Some(ResultSource::Hit)), "again: {:?}", again.steps);
    }
    let made = again.steps.iter().filter(|step| step.source == Some(ResultSource::Generated)).count();
    assert_eq!(asked(world, &prompt).await.len() - after.len(), made, "again");
    settled(world, &again.run_id, &keys_of(&again)).await;
}

/// Returns the run's document; without `as_it_is` it has no cause to fail.
fn document(way: Way, as_it_is: bool) -> String {
    let step = |name: &str, more: &str| format!("- {{name: {name}, type: text_to_image, model: flux_schnell{more}}}\n");
    let analysis = |of: &str| {
        format!("- {{name: analysis, type: analyze_image, input_from: {of}, params: {{prompt: '{{{{input}}}}'}}}}\n")
    };
    let steps = match way {
        Way::Refresh if as_it_is => step("image", ", cache: refresh"),
        Way::EndingSecond => step("seeded", ", params: {seed: 1}") + &analysis("seeded"),
        Way::Image
        | Way::Stored
        | Way::Gone
        | Way::Ending
        | Way::Refresh
        | Way::Exported
        | Way::Unheard
        | Way::Rejected
        | Way::Late
        | Way::Stopped => step("image", ""),
        Way::Again => step("one", "") + &step("other", ""),
        Way::SamePrompt => {
            let group = step("one", "") + &step("other", "");
            format!("- type: parallel_group\n  name: same_prompt\n  steps:\n{}", group.replace("- {", "  - {"))
        }
        Way::TooDear => step("one", "") + &analysis("one"),
        Way::Analysis | Way::Refused => step("image", ", params: {prompt: a picture to look at}") + &analysis("image"),
    };
    let settings = match way {
        Way::TooDear if as_it_is => "settings: {parallel: false, max_cost: 0.002}\n",
        Way::SamePrompt => "",
        Way::Exported => "settings: {export: \"s3://fresco-deliverables/crashes\"}\n",
        _ => "settings: {parallel: false}\n",
    };
    format!("name: crash\n{settings}steps:\n{steps}")
}

/// Prepares the cache, the bucket and the simulator for a run.
async fn prepare(world: &World, way: Way, prompt: &str) {
    let mut settings = json!({"concurrency": 40, "webhook_mode": "normal"});
    let mut faults = json!([]);
    let strikes = |fault: &str| json!({"fault": fault, "prompt": prompt});
    match way {
        Way::Stored | Way::Refresh => drop(world.run(&document(way, false), prompt).await),
        Way::Gone => {
            let first = world.run(&document(way, false), prompt).await;
            world.remove_object(&first.steps[0].outputs[0].key).await;
        }
        Way::Ending | Way::EndingSecond => {
            let first = world.run(&document(way, false), prompt).await;
            world
                .age_result(first.steps.last().and_then(|step| step.key.as_ref()).expect("a key"), NEARLY_A_LIFE)
                .await;
            if way == Way::EndingSecond {
                world.remove_object(&first.steps[0].outputs[0].key).await;
            }
        }
        Way::Exported => world.make_bucket(EXPORTS).await,
        Way::Analysis | Way::Refused => {
            let picture = "name: picture\nsteps:\n- {name: image, type: text_to_image, model: flux_schnell}\n";
            world.run(picture, "a picture to look at").await;
            if way == Way::Refused {
                faults = json!([strikes("unauthorized")]);
            }
        }
        Way::SamePrompt | Way::Stopped => settings["concurrency"] = json!(0),
        Way::Unheard => faults = json!([strikes("webhook_lost")]),
        Way::Rejected => {
            let mut fault = strikes("model_error");
            fault["type"] = json!("content_policy_violation");
            faults = json!([fault]);
        }
        Way::Late => {
            settings["webhook_mode"] = json!("held");
            faults = json!([strikes("listing_hides")]);
        }
        Way::Image | Way::Again | Way::TooDear => {}
    }
    world.control("settings", &settings).await;
    world.control("faults", &faults).await;
}

/// Acts on the run while it goes on.
async fn lead(world: &World, case: &Case, run: &RunId) {
    let source = async |step: &str| world.step(run, step).await.and_then(|step| step.source);
    match case.way {
        Way::SamePrompt => {
            world.until("both wait", async || source("one").await.is_some() && source("other").await.is_some()).await;
            crashed(world, case, |function, _| function == TextToImage).await;
        }
        Way::Stopped => {
            world.until("it is submitted", async || source("image").await.is_some()).await;
            world.until("it is stopped", async || world.api.stop(run).await.is_ok()).await;
        }
        _ => return,
    }
    world.control("settings", &json!({"concurrency": 40})).await;
}

/// Waits for the crashes, lets time pass where only that repairs, and returns the keys of the run.
async fn repair(world: &World, case: &Case, by: Repair, run: &RunId, generated: usize) -> Vec<ContentKey> {
    // Crashes that need time to pass, or another end first, are not waited for here.
    let comes_later = |function: Function, point: Failpoint| {
        let late = case.way == Way::Late && matches!(function, Webhook | Collect);
        function == Sweep || point.name().starts_with("reconcile.") || late
    };
    crashed(world, case, |function, point| !comes_later(function, point)).await;
    let time_passes = case.way == Way::Unheard
        || case.crashes.iter().any(|&(function, point, times)| match point {
            GenerateClaimed => true,
            // A webhook identifies the job if one arrives.
            GeneratePosted => by == Repair::Nudge || case.way != Way::Image,
            _ => function == Sweep || times > 2 && function == Collect,
        });
    loop {
        let (record, steps) = world.record(run).await;
        let keys: Vec<ContentKey> = steps.into_iter().filter_map(|step| step.key).collect();
        let is_over = |(function, point, _): &(Function, Failpoint, u8)| world.has_crashed(*function, *point);
        if record.status.is_final() && case.crashes.iter().all(is_over) {
            return keys;
        }
        if case.way == Way::Late && record.status.is_final() {
            world.control("webhooks/release", &json!({})).await;
        }
        match by {
            _ if !time_passes => {}
            Repair::Sweep if !has_returned(world, case, run, generated).await => {}
            Repair::Sweep => pass_time(world, &keys).await,
            Repair::Nudge => age(world, &keys).await,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Returns whether every invocation of generate for the run has ended, those after its crashes too: then only the sweep
/// checks an aged entry.
async fn has_returned(world: &World, case: &Case, run: &RunId, before: usize) -> bool {
    let (_, steps) = world.record(run).await;
    let invoked: usize = steps.iter().map(|step| step.calls as usize).sum();
    let is_generate = |function: Function| matches!(function, TextToImage | AnalyzeImage);
    let crashes = case.crashes.iter().filter(|(function, ..)| is_generate(*function));
    let crashed: usize = crashes.map(|&(_, _, times)| usize::from(times)).sum();
    invoked > crashed && calls_of_generate(world).await >= before + invoked
}

async fn calls_of_generate(world: &World) -> usize {
    world.invocations().await.get("generate").copied().unwrap_or(0)
}

async fn crashed(world: &World, case: &Case, which: impl Fn(Function, Failpoint) -> bool) {
    for &(function, point, _) in case.crashes.iter().filter(|(function, point, _)| which(*function, *point)) {
        world.until(point.name(), async || world.has_crashed(function, point)).await;
    }
}

/// Waits until nothing of the run is open. Repairs by the sweep take longer than the run, so it is invoked early.
async fn settled(world: &World, run: &RunId, keys: &[ContentKey]) {
    let started = Instant::now();
    while let Some(left) = left(world, run, keys).await {
        assert!(started.elapsed() < LEFT_FOR, "{left}");
        if started.elapsed() > LEFT_ALONE {
            pass_time(world, keys).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Names what is still open.
async fn left(world: &World, run: &RunId, keys: &[ContentKey]) -> Option<&'static str> {
    if world.record(run).await.0.held != Money::ZERO {
        return Some("a hold is still open");
    }
    for key in keys {
        if !world.waiters(key).await.is_empty() {
            return Some("a waiter is left");
        }
        if world
            .find_entry(key)
            .await
            .is_some_and(|entry| entry.notify_pending || entry.pending.is_some() || !entry.late_completions.is_empty())
        {
            return Some("an entry is still open");
        }
    }
    None
}

/// Ages the entries by more than any repair waits for, and sweeps.
async fn pass_time(world: &World, keys: &[ContentKey]) {
    age(world, keys).await;
    world.invoke(Sweep, &json!({})).await;
}

async fn age(world: &World, keys: &[ContentKey]) {
    for key in keys {
        world.age(key, LONG).await;
    }
}

fn keys_of(manifest: &Manifest) -> Vec<ContentKey> {
    manifest.steps.iter().filter_map(|step| step.key.clone()).collect()
}

/// Returns the providers' requests with this prompt.
async fn asked(world: &World, prompt: &str) -> Vec<Request> {
    world.requests_with(|asked| asked == prompt || asked.lines().any(|line| line == prompt)).await
}

fn billed(requests: &[Request]) -> usize {
    requests.iter().filter(|request| request.record["billable_units"].as_f64().is_some_and(|units| units > 0.0)).count()
}
