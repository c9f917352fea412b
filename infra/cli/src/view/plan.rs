//! What a run would do, as a person reads it: the order of work, the steps with their prices, and the sums.

use fresco_api_types::{Preview, PreviewStep};

use super::table::{Align, layout};
use super::{duration, plural};

/// The plan in tables and a few lines.
pub fn of(preview: &Preview) -> String {
    let lanes: usize = preview.stages.iter().map(|stage| stage.lanes.len()).sum();
    let mut text = format!(
        "pipeline {}: {}, {}, {}\n\n",
        preview.name,
        plural(preview.steps.len(), "step"),
        plural(preview.stages.len(), "stage"),
        plural(lanes, "lane")
    );
    text.push_str(&stages(preview));
    text.push('\n');
    text.push_str(&steps(&preview.steps));
    text.push('\n');
    text.push_str(&sums(preview));
    text
}

/// More lanes of a stage than this are counted, not listed.
const LANES_SHOWN: usize = 12;

fn stages(preview: &Preview) -> String {
    let mut rows = Vec::new();
    for (n, stage) in preview.stages.iter().enumerate() {
        let at_once = stage.workers.min(u32::try_from(stage.lanes.len()).unwrap_or(u32::MAX));
        for (m, lane) in stage.lanes.iter().take(LANES_SHOWN).enumerate() {
            let names: Vec<&str> = lane.iter().map(|step| step.as_str()).collect();
            let first = m == 0;
            let number = if first { (n + 1).to_string() } else { String::new() };
            let workers = if first { at_once.to_string() } else { String::new() };
            rows.push(vec![number, workers, names.join(" → ")]);
        }
        if stage.lanes.len() > LANES_SHOWN {
            let more = format!("… and {} more", stage.lanes.len() - LANES_SHOWN);
            rows.push(vec![String::new(), String::new(), more]);
        }
    }
    layout(&[("stage", Align::Right), ("at once", Align::Right), ("lanes", Align::Left)], &rows)
}

fn steps(steps: &[PreviewStep]) -> String {
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|step| {
            let cache = match &step.why {
                None => "hit".to_owned(),
                Some(why) => why.to_string(),
            };
            let takes = i64::try_from(step.expected_ms).unwrap_or(i64::MAX);
            vec![
                step.name.to_string(),
                step.kind.as_str().to_owned(),
                step.model.clone(),
                step.price.to_string(),
                if step.hit { step.saves.to_string() } else { "-".to_owned() },
                step.guide_price.to_string(),
                duration(takes),
                cache,
            ]
        })
        .collect();
    let head = [
        ("step", Align::Left),
        ("type", Align::Left),
        ("model", Align::Left),
        ("list price", Align::Right),
        ("saves", Align::Right),
        ("guide", Align::Right),
        ("expected", Align::Right),
        ("cache", Align::Left),
    ];
    layout(&head, &rows)
}

fn sums(preview: &Preview) -> String {
    let hits = preview.steps.iter().filter(|step| step.hit).count();
    let time = |ms: u64| duration(i64::try_from(ms).unwrap_or(i64::MAX));
    let mut text = format!(
        "{} of {} in the cache, which saves {}. To pay: {} of {} at list prices.\n",
        hits,
        plural(preview.steps.len(), "step"),
        preview.saved,
        preview.net,
        preview.price
    );
    if let Some(run) = &preview.compared_with {
        text.push_str(&format!("Changes are those since run {run}.\n"));
    }
    if preview.net.as_micros() > 0 || preview.wall_ms > 0 {
        text.push_str(&format!(
            "Expected: {}; the critical path is {}, one step after the other is {}.\n",
            time(preview.wall_ms),
            time(preview.critical_path_ms),
            time(preview.sequential_ms)
        ));
    }
    if let Some(max) = preview.max_cost.filter(|max| *max < preview.net) {
        text.push_str(&format!(
            "`max_cost` of {max} does not cover it: steps that exceed it will fail with Budget.Exceeded before they are submitted.\n"
        ));
    }
    if let Some(why) = &preview.refused {
        text.push_str(&format!("A run would be refused ({}): {}. {}\n", why.name, why.message, why.name.advice()));
    }
    for provider in &preview.missing_keys {
        text.push_str(&format!(
            "The stack has no key for {} ({}): a run would be refused.\n",
            provider.as_str(),
            provider.key_name()
        ));
    }
    text.push_str("Nothing was spent.\n");
    text
}
