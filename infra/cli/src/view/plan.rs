//! The preview of a run: its execution order, its steps with their prices, and the sums.

use fresco_api_types::{Preview, PreviewStep};

use super::table::{Align, layout, table};
use super::{duration, plural};

/// The preview in tables and a few lines.
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

/// The most lanes of a stage that are listed; the others are counted.
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
    table(steps)
        .left("step", |step| step.name.to_string())
        .left("type", |step| step.kind.as_str().to_owned())
        .left("model", |step| step.model.clone())
        .right("list price", |step| step.price.to_string())
        .right("saves", |step| if step.hit { step.saves.to_string() } else { "-".to_owned() })
        .right("guide", |step| step.guide_price.to_string())
        .right("expected", |step| duration(i64::try_from(step.expected_ms).unwrap_or(i64::MAX)))
        .left("cache", |step| step.why.as_ref().map_or_else(|| "hit".to_owned(), ToString::to_string))
        .text()
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
        text.push_str(&format!("Changes are relative to run {run}.\n"));
    }
    if preview.net.as_micros() > 0 || preview.wall_ms > 0 {
        text.push_str(&format!(
            "Expected: {}; the critical path takes {}, one step at a time {}.\n",
            time(preview.wall_ms),
            time(preview.critical_path_ms),
            time(preview.sequential_ms)
        ));
    }
    if let Some(max) = preview.max_cost.filter(|max| *max < preview.net) {
        text.push_str(&format!(
            "`max_cost` of {max} does not cover it: steps beyond it fail with Budget.Exceeded before they are submitted.\n"
        ));
    }
    if let Some(why) = &preview.refused {
        text.push_str(&format!("A run would be rejected ({}): {}. {}\n", why.name, why.message, why.name.advice()));
    }
    for provider in &preview.missing_keys {
        text.push_str(&format!(
            "The stack has no key for {} ({}): a run would be rejected.\n",
            provider.as_str(),
            provider.key_name()
        ));
    }
    text.push_str("Nothing was spent.\n");
    text
}
