//! The results of a chunk's rows, made from the steps of its run.

use std::collections::BTreeMap;

use fresco_api_types::{RowFailure, RowOutput, RowResult, RowStatus};
use fresco_ledger::records::BatchCounts;
use fresco_ledger::records::{ResultSource, StepRecord, StepState};
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::money::Money;
use fresco_pipeline::rows::{Row, RowProblem};

use super::objects::internal;

/// Returns the original cost of the results that a row did not pay for, by row. It counts once the row is done, so that
/// a redrive does not count it again.
pub(super) fn saved_of(steps: &[StepRecord]) -> BTreeMap<u64, Money> {
    let mut saved = BTreeMap::new();
    for step in steps.iter().filter(|step| matches!(step.source, Some(ResultSource::Hit | ResultSource::Joined))) {
        if let (Some(row), Some(ready)) = (step.plan.row, &step.pinned) {
            *saved.entry(row).or_insert(Money::ZERO) += ready.cost;
        }
    }
    saved
}

/// Corrects results by those of the generation before: in the cache a redrive finds what the batch has paid for itself,
/// which is paid and not saved. A row that was done and was not tried again is still done. `late` is what the batch paid by
/// row for results that came after the end of the generation before.
pub(super) fn carry_over(
    before: Vec<RowResult>,
    late: &BTreeMap<u64, Money>,
    results: &mut [RowResult],
    saved: &mut BTreeMap<u64, Money>,
    tried: impl Fn(u64) -> bool,
) {
    let mut before: BTreeMap<u64, RowResult> = before.into_iter().map(|result| (result.row, result)).collect();
    for result in results {
        let Some(before) = before.remove(&result.row) else { continue };
        if before.status == RowStatus::Done && !tried(result.row) {
            *result = before;
            continue;
        }
        if before.status == RowStatus::Done && result.source == Some(ResultSource::Hit) {
            result.source = before.source;
            result.took_ms = before.took_ms;
        }
        let late = late.get(&result.row).copied().unwrap_or(Money::ZERO);
        let paid_before = before.cost + late.as_micros();
        result.cost += paid_before;
        if late > Money::ZERO && result.source.is_some() {
            result.source = Some(ResultSource::Generated);
        }
        if before.status == RowStatus::Done {
            saved.remove(&result.row);
        } else if let Some(saved) = saved.get_mut(&result.row) {
            *saved = (*saved - Money::micros(paid_before)).max(Money::ZERO);
        }
    }
}

/// Whether a row may still get a result: it failed, or was not run. A redrive runs these rows and no others.
pub(super) fn is_left(result: &RowResult) -> bool {
    matches!(result.status, RowStatus::Failed | RowStatus::NotRun)
}

/// Counts rows by status.
pub(super) fn counts_of(results: &[RowResult]) -> BatchCounts {
    let count = |is: fn(&RowResult) -> bool| results.iter().filter(|result| is(result)).count() as u64;
    let done = count(|result| result.status == RowStatus::Done);
    let bad = count(|result| result.status == RowStatus::Bad);
    let hits = count(|result| result.status == RowStatus::Done && result.source != Some(ResultSource::Generated));
    BatchCounts { done, failed: results.len() as u64 - done - bad, bad, hits, ..BatchCounts::default() }
}

/// Writes a line of JSON for each result.
pub(super) fn lines_of(results: &[RowResult]) -> Result<Vec<u8>, Failure> {
    let mut lines = Vec::new();
    for result in results {
        serde_json::to_writer(&mut lines, result).map_err(internal)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The result of a row that was left out.
pub(super) fn omitted(problem: &RowProblem) -> RowResult {
    let failure = RowFailure { name: problem.code.clone(), message: problem.message.clone() };
    RowResult { failure: Some(failure), ..of_row(problem.row, problem.id.clone().map(String::from), RowStatus::Bad) }
}

pub(super) fn of_row(row: u64, id: Option<String>, status: RowStatus) -> RowResult {
    RowResult {
        row,
        id,
        status,
        source: None,
        took_ms: None,
        cost: 0,
        outputs: Vec::new(),
        shortfalls: BTreeMap::new(),
        failure: None,
    }
}

pub(super) fn results_in(part: &[u8]) -> Result<Vec<RowResult>, Failure> {
    let lines = part.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(internal)).collect()
}

/// Makes the results of rows. `why` is the failure of a chunk whose steps did not start.
pub(super) fn results_of(rows: &[Row], steps: &[StepRecord], why: Option<&Failure>) -> Vec<RowResult> {
    let mut of_rows: BTreeMap<u64, Vec<&StepRecord>> = BTreeMap::new();
    for step in steps {
        if let Some(row) = step.plan.row {
            of_rows.entry(row).or_default().push(step);
        }
    }
    rows.iter().map(|row| result_of(row, of_rows.get(&row.number).map_or(&[][..], Vec::as_slice), why)).collect()
}

fn result_of(row: &Row, steps: &[&StepRecord], why: Option<&Failure>) -> RowResult {
    // A chunk that was never planned has no steps.
    if steps.is_empty() {
        let failure = why.map(|why| RowFailure { name: why.name.as_str().to_owned(), message: why.message.clone() });
        return RowResult { failure, ..of_row(row.number, row.id.clone(), RowStatus::NotRun) };
    }
    let done = steps.iter().all(|step| step.state == StepState::Done);
    // A step that was skipped is not the reason.
    let failed = steps.iter().filter_map(|step| step.failure.as_ref().filter(|_| step.state == StepState::Failed));
    let reason = failed.min_by_key(|failure| failure.name == ErrorName::StepSkipped);
    let reason = reason.map(|reason| why.filter(|_| reason.name == ErrorName::StepSkipped).unwrap_or(reason));
    let source = |wanted: ResultSource| steps.iter().any(|step| step.source == Some(wanted)).then_some(wanted);
    let times = |time: fn(&StepRecord) -> Option<i64>| steps.iter().filter_map(move |step| time(step));
    let took = times(|step| step.started_at).min().zip(times(|step| step.ended_at).max());
    let own = steps.iter().filter(|step| step.source == Some(ResultSource::Generated));
    RowResult {
        source: source(ResultSource::Generated)
            .or_else(|| source(ResultSource::Joined))
            .or_else(|| source(ResultSource::Hit)),
        took_ms: took.map(|(from, to)| (to - from).max(0)),
        cost: own.filter_map(|step| step.pinned.as_ref()).map(|ready| ready.cost.as_micros()).sum(),
        outputs: steps.iter().flat_map(|step| outputs_of(step)).collect(),
        shortfalls: steps.iter().filter_map(|step| shortfall_of(step)).collect(),
        failure: reason
            .filter(|_| !done)
            .map(|failure| RowFailure { name: failure.name.as_str().to_owned(), message: failure.message.clone() }),
        ..of_row(row.number, row.id.clone(), if done { RowStatus::Done } else { RowStatus::Failed })
    }
}

fn shortfall_of(step: &StepRecord) -> Option<(String, String)> {
    let shortfall = step.pinned.as_ref()?.shortfall.as_ref()?;
    Some((step.plan.name.to_string(), shortfall.to_string()))
}

fn outputs_of(step: &StepRecord) -> Vec<RowOutput> {
    let outputs = step.pinned.iter().flat_map(|ready| &ready.outputs);
    let shown = outputs.map(|output| RowOutput {
        step: step.plan.name.to_string(),
        key: output.key.clone(),
        content_type: output.content_type.clone(),
        bytes: output.bytes,
        sha256: output.sha256.clone(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use fresco_ledger::records::CachedResult;
    use fresco_pipeline::document::{RunInputs, check};
    use fresco_pipeline::ids::{Attempt, RunId};
    use fresco_pipeline::media::Media;
    use fresco_pipeline::plan::{PlannedStep, compile, merge};

    use super::*;

    /// The records of a chunk of these rows, each with the steps `image` and `words`; `words` failed in the last row.
    fn records(rows: &[u64]) -> Vec<StepRecord> {
        const TEXT: &str = "steps:\n- { name: image, type: text_to_image, params: { prompt: a cat } }\n- { name: words, type: analyze_image }\n";
        let plan = compile(&check(TEXT, &RunInputs::default()).unwrap());
        let merged = merge(rows.iter().map(|row| (*row, plan.clone())).collect(), None).unwrap();
        let record = |step: PlannedStep| {
            let failed = step.row == rows.last().copied() && step.name.as_str() == "words";
            let media = Media {
                key: format!("outputs/{}", step.id()),
                kind: step.kind,
                content_type: "image/png".to_owned(),
                bytes: 1,
                sha256: "0".repeat(64),
                width: None,
                height: None,
                duration_ms: None,
            };
            let ready = CachedResult {
                shortfall: None,
                attempt: Attempt(1),
                outputs: vec![media],
                created_at: 0,
                cost: Money::micros(10),
                took_ms: 1,
            };
            StepRecord {
                run: RunId::parse("run-00000001").unwrap(),
                plan: step,
                key: None,
                state: if failed { StepState::Failed } else { StepState::Done },
                source: Some(ResultSource::Hit),
                pinned: Some(ready).filter(|_| !failed),
                failure: failed.then(|| Failure::new(ErrorName::ProviderRejected, "no")),
                started_at: None,
                ended_at: None,
                calls: 0,
            }
        };
        merged.steps.into_iter().map(record).collect()
    }

    #[test]
    fn a_row_has_the_results_of_its_own_steps_by_their_plain_names() {
        let rows = [7, 9, 10].map(|number| Row { number, ..Row::default() });
        let steps = records(&[7, 9]);
        let results = results_of(&rows, &steps, None);
        let status: Vec<_> = results.iter().map(|result| (result.row, result.status)).collect();
        assert_eq!(status, [(7, RowStatus::Done), (9, RowStatus::Failed), (10, RowStatus::NotRun)]);
        let outputs = |result: &RowResult| {
            result.outputs.iter().map(|output| (output.step.clone(), output.key.clone())).collect::<Vec<_>>()
        };
        let output = |step: &str, key: &str| (step.to_owned(), key.to_owned());
        assert_eq!(outputs(&results[0]), [output("image", "outputs/7-image"), output("words", "outputs/7-words")]);
        assert_eq!(outputs(&results[1]), [output("image", "outputs/9-image")]);
        assert_eq!(saved_of(&steps), [(7, Money::micros(20)), (9, Money::micros(10))].into());
    }

    #[test]
    fn what_a_batch_paid_for_itself_is_not_saved_by_its_redrive() {
        let row =
            |row, status, source, cost| RowResult { source, cost, took_ms: Some(cost), ..of_row(row, None, status) };
        let before = [
            row(1, RowStatus::Done, Some(ResultSource::Generated), 30),
            row(2, RowStatus::Done, Some(ResultSource::Hit), 0),
            row(3, RowStatus::Failed, Some(ResultSource::Generated), 30),
            row(5, RowStatus::Done, Some(ResultSource::Generated), 30),
            row(6, RowStatus::Failed, None, 0),
        ];
        let mut results = [
            row(1, RowStatus::Done, Some(ResultSource::Hit), 0),
            row(2, RowStatus::Done, Some(ResultSource::Hit), 0),
            row(3, RowStatus::Done, Some(ResultSource::Generated), 7),
            row(4, RowStatus::Done, Some(ResultSource::Hit), 0),
            row(5, RowStatus::NotRun, None, 0),
            row(6, RowStatus::Done, Some(ResultSource::Hit), 0),
        ];
        let mut saved = (1..=6).filter(|row| *row != 5).map(|row| (row, Money::micros(30))).collect();
        // The image of row 6 came after its step had timed out.
        let late = [(6, Money::micros(30))].into();
        carry_over(before.into(), &late, &mut results, &mut saved, |row| row != 5);
        assert_eq!(results[4].status, RowStatus::Done, "it was not tried");
        let costs = results.iter().map(|result| (result.source, result.cost)).collect::<Vec<_>>();
        let (paid, hit) = (Some(ResultSource::Generated), Some(ResultSource::Hit));
        assert_eq!(costs, [(paid, 30), (hit, 0), (paid, 37), (hit, 0), (paid, 30), (paid, 30)]);
        assert_eq!(saved, [(3, Money::ZERO), (4, Money::micros(30)), (6, Money::ZERO)].into());
    }
}
