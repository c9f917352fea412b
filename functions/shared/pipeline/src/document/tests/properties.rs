//! The checker answers to any text, and the order of keys has no meaning.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn word() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "steps",
        "type",
        "name",
        "params",
        "input_from",
        "settings",
        "vars",
        "model",
        "prompt",
        "image",
        "num_images",
        "text_to_image",
        "image_to_image",
        "image_to_video",
        "analyze_image",
        "parallel_group",
        "a",
        "b",
        "step_1",
        "{{input}}",
        "{{vars.a}}",
        "{{step_a.output}}",
        "{{step_1.output}}",
        "{{",
        "cat.png",
        "https://10.0.0.1/",
        "enabled",
        "cache",
        "off",
        "max_workers",
        "duration",
    ]);
    prop_oneof![words.prop_map(str::to_owned), ".{0,12}".prop_map(String::from)]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(word(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A step with some of its keys right and some not.
fn any_step() -> impl Strategy<Value = Value> {
    let types =
        prop::sample::select(vec!["text_to_image", "image_to_image", "image_to_video", "analyze_image", "nope"]);
    let names = prop::option::of(prop::sample::select(vec!["a", "b", "c", "step_2", "a_1"]));
    let from = prop_oneof![
        Just(Value::Null),
        prop::sample::select(vec!["a", "b", "step_1", "x"]).prop_map(Value::from),
        value()
    ];
    (types, names, from, prop::option::of(value()), prop::collection::btree_map(word(), value(), 0..3)).prop_map(
        |(step, name, from, params, more)| {
            let mut table: Map<String, Value> = more.into_iter().collect();
            table.insert("type".into(), step.into());
            table.extend(name.map(|name| ("name".to_owned(), name.into())));
            table.extend(params.map(|params| ("params".to_owned(), params)));
            if !from.is_null() {
                table.insert("input_from".into(), from);
            }
            Value::Object(table)
        },
    )
}

/// The value as JSON, with the keys of every table turned round.
fn reversed(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(reversed).collect::<Vec<_>>().join(",")),
        Value::Object(table) => {
            let entries = table.iter().rev().map(|(key, value)| format!("{}: {}", json!(key), reversed(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

/// What a document comes to, or the codes it is refused with, whatever their places.
fn outcome(text: &str) -> Result<String, Vec<String>> {
    check(text, &given()).map(|checked| format!("{checked:?}")).map_err(|problems| {
        let mut codes: Vec<_> = problems.0.into_iter().map(|problem| problem.code).collect();
        codes.sort();
        codes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_has_an_answer(text in "(?s).{0,200}") {
        if let Err(problems) = check(&text, &given()) {
            prop_assert!(!problems.0.is_empty());
            problems.report("p.yaml", &text);
        }
        media_references(&text, &given());
    }

    #[test]
    fn any_value_has_an_answer(value in value()) {
        let _ = outcome(&value.to_string());
    }

    #[test]
    fn any_steps_have_an_answer_and_the_order_of_keys_says_nothing(
        steps in prop::collection::vec(any_step(), 0..6), group in any::<bool>(), vars in value(),
    ) {
        let mut steps = steps;
        if group && steps.len() > 2 {
            let members = steps.split_off(2);
            steps.push(json!({"type": "parallel_group", "name": "g", "steps": members}));
        }
        let document = json!({"vars": vars, "steps": steps});
        prop_assert_eq!(outcome(&document.to_string()), outcome(&reversed(&document)));
        if let Ok(checked) = check(&document.to_string(), &given()) {
            let mut before = BTreeSet::new();
            for step in checked.groups.iter().flat_map(|group| &group.steps) {
                prop_assert!(step.reads().is_subset(&before), "{:?}", step);
                prop_assert!(before.insert(&step.name));
            }
        }
    }

    #[test]
    fn the_order_of_keys_changes_nothing_that_is_accepted(
        images in 1..5, seed in 0..1_000_u32, take in 1..9, prompt in "[a-z]{1,9}", eager in any::<bool>(),
    ) {
        let document = json!({
            "name": "x", "vars": {"p": prompt, "q": "{{input}}"},
            "settings": {"schedule": if eager { "eager" } else { "groups" }, "workers": "heavy", "max_cost": 3},
            "steps": [
                {"type": "text_to_image", "name": "a", "take": take, "params": {"prompt": "{{vars.p}} {{vars.q}}", "num_images": images, "seed": seed}},
                {"type": "analyze_image", "name": "t", "timeout": 60},
                {"type": "image_to_video", "input_from": ["a"], "cache": "off",
                 "params": {"end_image": "cat.png", "prompt": "{{step_t.output}} {{random}}", "duration": 10}},
            ],
        });
        let one = outcome(&document.to_string());
        prop_assert!(one.is_ok(), "{:?}", one);
        prop_assert_eq!(one, outcome(&reversed(&document)));
    }
}
