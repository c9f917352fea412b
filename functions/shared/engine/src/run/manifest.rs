//! The manifest of a run: its steps, their outputs, and what it cost.

use fresco_api_types::{MANIFEST_VERSION, Manifest, ManifestStep};
use fresco_ledger::records::{Millis, ResultSource, RunRecord, RunStatus, StepRecord, StepState};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{RunId, StepRef};
use fresco_pipeline::media::MediaRef;
use fresco_pipeline::money::Money;

/// The key of the manifest of a run.
pub fn manifest_key(run: &RunId) -> String {
    format!("runs/{run}/manifest.json")
}

pub(super) fn manifest_of(
    record: &RunRecord,
    status: RunStatus,
    failure: Option<&Failure>,
    steps: &[StepRecord],
    now: Millis,
) -> Manifest {
    let took_ms = (now - record.created_at).max(1);
    let entries: Vec<ManifestStep> = steps.iter().map(entry_of).collect();
    let generated = || entries.iter().filter(|step| step.source == Some(ResultSource::Generated));
    let sequential_ms = generated().filter_map(|step| step.took_ms).sum::<Millis>();
    let worked = entries.iter().any(|step| step.source != Some(ResultSource::Hit));
    // A result that this run paid for came by webhook and collect.
    let calls = 1
        + steps.iter().map(|step| step.calls).sum::<u32>()
        + 2 * u32::try_from(generated().count()).unwrap_or(u32::MAX)
        + u32::from(worked);
    Manifest {
        version: MANIFEST_VERSION,
        run_id: record.id.clone(),
        name: record.name.clone(),
        status,
        created_at: record.created_at,
        ended_at: now,
        took_ms,
        sequential_ms,
        speed_up: if sequential_ms == 0 { 1.0 } else { sequential_ms as f64 / took_ms as f64 },
        cost: record.settled,
        saved: steps
            .iter()
            .filter(|step| {
                matches!(step.source, Some(ResultSource::Hit | ResultSource::Joined)) && step.state == StepState::Done
            })
            .filter_map(|step| Some(step.pinned.as_ref()?.cost))
            .sum(),
        function_calls: calls,
        failure: failure.cloned(),
        exported: None,
        steps: entries,
    }
}

fn entry_of(step: &StepRecord) -> ManifestStep {
    let ready = step.pinned.as_ref();
    ManifestStep {
        name: step.plan.id().public_name(),
        of: step.plan.sibling(&step.plan.of).public_name(),
        kind: step.plan.step,
        model: step.plan.model.clone(),
        state: step.state,
        source: step.source,
        took_ms: step.started_at.zip(step.ended_at).map(|(from, to)| (to - from).max(0)),
        cost: ready.filter(|_| step.source == Some(ResultSource::Generated)).map_or(Money::ZERO, |ready| ready.cost),
        price: step.plan.price,
        key: step.key.clone(),
        reads: step.plan.reads().iter().map(StepRef::public_name).collect(),
        given: given(step),
        attempt: ready.map(|ready| ready.attempt),
        outputs: ready.map_or_else(Vec::new, |ready| ready.outputs.clone()),
        shortfall: ready.and_then(|ready| ready.shortfall.clone()),
        failure: step.failure.clone().filter(|_| step.state == StepState::Failed),
    }
}

fn given(step: &StepRecord) -> Vec<String> {
    let sources = step.plan.media.iter().flat_map(|slot| &slot.media);
    let hashes = sources.filter_map(|source| match source {
        MediaRef::Input(media) => Some(media.sha256.clone()),
        MediaRef::Output { .. } => None,
    });
    hashes.collect()
}

#[cfg(test)]
mod tests {
    use fresco_ledger::records::StepState;
    use fresco_pipeline::document::{RunInputs, check};
    use fresco_pipeline::plan::{compile, merge};

    use super::*;

    #[test]
    fn the_step_of_a_row_has_its_public_name() {
        let text = "steps:\n- { name: image, type: text_to_image, params: { prompt: a cat, num_images: 2 } }\n- { name: words, type: analyze_image, input_from: image }\n";
        let plan = compile(&check(text, &RunInputs::default()).unwrap());
        let step = merge(vec![(7, plan)], None).unwrap().steps.pop().unwrap();
        let record = StepRecord {
            run: RunId::parse("run-00000001").unwrap(),
            plan: step,
            key: None,
            state: StepState::Waiting,
            source: None,
            pinned: None,
            failure: None,
            started_at: None,
            ended_at: None,
            calls: 0,
        };
        let entry = serde_json::to_value(entry_of(&record)).unwrap();
        let names = (&entry["name"], &entry["of"], &entry["reads"]);
        assert_eq!(names, (&"r7-words".into(), &"r7-words".into(), &vec!["r7-image"].into()));
    }
}
