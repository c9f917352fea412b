//! The catalogue as a table.

use fresco_pipeline::catalogue::{Model, PriceUnit, operation};
use fresco_pipeline::money::Money;

use super::table::{Align, layout};

/// The table of these models.
pub fn of(models: &[&Model]) -> String {
    let rows: Vec<Vec<String>> = models.iter().map(|model| row(model)).collect();
    let head = [
        ("type", Align::Left),
        ("model", Align::Left),
        ("provider", Align::Left),
        ("typical", Align::Right),
        ("timeout", Align::Right),
        ("list price", Align::Left),
        ("guide", Align::Right),
        ("batch", Align::Right),
        ("other names", Align::Left),
    ];
    layout(&head, &rows)
}

fn row(model: &Model) -> Vec<String> {
    let operation = operation(model.step);
    let is_default = operation.is_some_and(|operation| operation.default == model.name);
    let price = &model.price;
    let list = match price.unit {
        PriceUnit::Token => format!(
            "{} + {} per {}, in + out",
            Money::micros(price.list),
            Money::micros(price.output_list),
            price.unit.as_str()
        ),
        _ => format!("{} per {}", Money::micros(price.list), price.unit.as_str()),
    };
    let batch = operation.map_or(String::new(), |operation| {
        let (from, to) = operation.batch.recommended;
        format!("{from}–{to}, max {}", operation.batch.max)
    });
    vec![
        model.step.as_str().to_owned(),
        format!("{}{}", model.name, if is_default { " (default)" } else { "" }),
        model.provider.as_str().to_owned(),
        format!("{}–{} s", model.seconds.min, model.seconds.max),
        format!("{} s", model.timeout_seconds()),
        list,
        Money::micros(price.guide).to_string(),
        batch,
        model.aliases.join(", "),
    ]
}
