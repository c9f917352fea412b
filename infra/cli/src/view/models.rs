//! The catalogue as a table.

use fresco_pipeline::catalogue::{Model, PriceUnit, operation};
use fresco_pipeline::money::Money;

use super::table::table;

/// The table of models.
pub fn of(models: &[&Model]) -> String {
    table(models)
        .left("type", |model| model.step.as_str().to_owned())
        .left("model", |model| name(model))
        .left("provider", |model| model.provider.as_str().to_owned())
        .right("typical", |model| format!("{}–{} s", model.seconds.min, model.seconds.max))
        .right("timeout", |model| format!("{} s", model.timeout_seconds()))
        .left("list price", |model| list_price(model))
        .right("guide", |model| Money::micros(model.price.guide).to_string())
        .right("batch", |model| batch(model))
        .left("other names", |model| model.aliases.join(", "))
        .text()
}

fn name(model: &Model) -> String {
    let is_default = operation(model.step).is_some_and(|operation| operation.default == model.name);
    format!("{}{}", model.name, if is_default { " (default)" } else { "" })
}

fn list_price(model: &Model) -> String {
    let price = &model.price;
    let (list, unit) = (Money::micros(price.list), price.unit.as_str());
    match price.unit {
        PriceUnit::Token => format!("{list} + {} per {unit}, in + out", Money::micros(price.output_list)),
        _ => format!("{list} per {unit}"),
    }
}

fn batch(model: &Model) -> String {
    operation(model.step).map_or(String::new(), |operation| {
        let (from, to) = operation.batch.recommended;
        format!("{from}–{to}, max {}", operation.batch.max)
    })
}
