//! The file that editors read is what the tables say.

use super::*;

const FILE: &str = include_str!("../../../pipeline.schema.json");

#[test]
fn the_file_is_the_schema() {
    assert!(
        format!("{:#}\n", schema()) == FILE,
        "the language changed: cargo fresco schema > functions/shared/pipeline/pipeline.schema.json"
    );
}

#[test]
fn every_model_has_its_params_there() {
    let schema = schema();
    for model in crate::catalogue::models() {
        let definition = &schema["$defs"][format!("{}.{}", model.step.as_str(), model.name)];
        for name in model.params.keys().chain(model.inputs.iter().map(|input| &input.param)) {
            assert!(definition["properties"][name]["description"].is_string(), "{}: {name}", model.name);
        }
    }
}
