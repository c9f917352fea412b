//! The settings of a document, with their defaults.

use super::diagnostics::{Location, Report, Table};
use super::key_specs::{SCHEDULES, SETTINGS, WORKLOADS};
use super::yaml::{Content, Node};
use super::{CachePolicy, DEFAULT_WORKERS, ExecutionOrder, Export, RunInputs};
use crate::money::Money;

/// The settings.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) parallel: bool,
    pub(super) workers: u32,
    pub(super) fail_fast: bool,
    pub(super) schedule: ExecutionOrder,
    pub(super) cache: CachePolicy,
    pub(super) max_cost: Option<Money>,
    pub(super) export: Option<Export>,
}

/// Reads the settings; what is silent or wrong has its default.
pub(super) fn read(report: &mut Report, node: Option<&Node>, given: &RunInputs) -> Settings {
    let mut settings = Settings {
        parallel: given.parallel.unwrap_or(true),
        workers: DEFAULT_WORKERS,
        fail_fast: true,
        schedule: ExecutionOrder::default(),
        cache: CachePolicy::default(),
        max_cost: None,
        export: None,
    };
    let Some(node) = node.filter(|node| node.content != Content::Null) else { return settings };
    let Some(table) = report.table(node, Location::new(node.place, "settings"), SETTINGS, |_| None) else {
        return settings;
    };
    if let Some(parallel) = report.flag(&table, "parallel") {
        settings.parallel = parallel;
    }
    let counted = report.whole(&table, "max_workers");
    let worded = report.word(&table, "workers", &WORKLOADS);
    if let (Some(_), Some((_, location))) = (table.get("max_workers"), table.at("workers")) {
        let message = "`workers` and `max_workers` both say how many workers there are";
        report.add(&location, "conflict", message, "Keep one of them.");
    }
    settings.workers = counted.or(worded).unwrap_or(DEFAULT_WORKERS);
    if let Some(fail_fast) = report.flag(&table, "fail_fast") {
        settings.fail_fast = fail_fast;
    }
    settings.schedule = report.word(&table, "schedule", &SCHEDULES).unwrap_or_default();
    settings.cache = report.word(&table, "cache", &CachePolicy::ALL).unwrap_or_default();
    settings.max_cost = dollars(report, &table, "max_cost");
    settings.export = export(report, &table, "export");
    settings
}

fn dollars(report: &mut Report, table: &Table<'_>, key: &str) -> Option<Money> {
    let (node, location) = table.at(key)?;
    let Content::Number(number) = &node.content else {
        report.wrong_type(node, &location, "an amount in dollars, as 2.50");
        return None;
    };
    let found = number.as_f64().and_then(Money::from_dollars);
    if found.is_none() {
        let message = format!("`{}` is not an amount in dollars", location.path);
        report.add(&location, "wrong_value", message, "Write a number that is not negative, as 2.50.");
    }
    found
}

fn export(report: &mut Report, table: &Table<'_>, key: &str) -> Option<Export> {
    let (node, location) = table.at(key)?;
    match Export::parse(report.text(node, &location)?) {
        Ok(export) => Some(export),
        Err(error) => {
            let message = format!("`{}` is not a {}", location.path, error.what);
            report.add(&location, "wrong_value", message, format!("Use {}.", error.rule));
            None
        }
    }
}
