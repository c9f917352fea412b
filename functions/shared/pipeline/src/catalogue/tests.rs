use super::*;
use serde_json::json;

#[test]
fn the_file_is_readable_and_names_are_unique_within_a_step_type() {
    assert!(serde_json::from_str::<File>(include_str!("models.json")).is_ok());
    assert!(!models().is_empty());
    for model in models() {
        for name in model.names() {
            assert_eq!(find(model.step, name).map(|m| &m.name), Some(&model.name));
        }
        assert!(model.output.count.as_ref().is_none_or(|count| model.params.contains_key(count)), "{}", model.name);
        assert!(model.resolve(json!({"prompt": "x"}).as_object().unwrap()).is_ok(), "{}", model.name);
        let defaults: serde_json::Map<_, _> =
            model.params.iter().filter_map(|(name, param)| Some((name.clone(), param.default.clone()?))).collect();
        let spelled = model.resolve(&defaults.into_iter().chain([("prompt".to_owned(), json!("x"))]).collect());
        assert_eq!(spelled, model.resolve(json!({"prompt": "x"}).as_object().unwrap()), "{}", model.name);
        assert!(model.seconds.min > 0 && model.seconds.min <= model.seconds.max, "{}", model.name);
    }
    for step in StepType::ALL {
        assert!(default_model(*step).is_some());
        assert_eq!(StepType::parse(step.as_str()), Some(*step));
    }
}

#[test]
fn a_media_param_is_no_plain_param_and_the_first_one_is_required() {
    for model in models() {
        let takes = model.step != StepType::TextToImage;
        assert_eq!(model.inputs.first().is_some_and(|input| input.required), takes, "{}", model.name);
        for input in &model.inputs {
            for name in std::iter::once(&input.param).chain(&input.aliases) {
                assert!(!model.params.contains_key(name), "{}: {name}", model.name);
            }
            assert!(input.max == 1 || input.list, "{}", model.name);
        }
    }
}

#[test]
fn timeouts_follow_the_guide() {
    for (step, model, seconds) in [
        (StepType::TextToImage, "flux_schnell", 30),
        (StepType::ImageToVideo, "sora_2_pro", 600),
        (StepType::ImageToVideo, "hailuo", 120),
    ] {
        assert_eq!(find(step, model).unwrap().timeout_seconds(), seconds);
    }
}

#[test]
fn batch_sizes_are_the_guides() {
    for (step, recommended, max) in [
        (StepType::TextToImage, (10, 20), 50),
        (StepType::ImageToVideo, (3, 5), 10),
        (StepType::AnalyzeImage, (20, 50), 100),
    ] {
        assert_eq!(operation(step).unwrap().batch, BatchSize { recommended, max });
    }
}

#[test]
fn the_names_of_the_guide_and_of_older_documents_are_known() {
    for (step, name, found) in [
        (StepType::ImageToImage, "photon_flash", "photon"),
        (StepType::ImageToImage, "flux_kontext", "kontext"),
        (StepType::ImageToVideo, "kling_2_6_pro", "kling_2_6_pro"),
        (StepType::ImageToVideo, "sora_2_i2v", "sora_2"),
        (StepType::TextToImage, "nano_banana", "nano_banana_pro"),
    ] {
        assert_eq!(find(step, name).map(|model| model.name.as_str()), Some(found));
    }
    assert_eq!(StepType::parse("image_understanding"), Some(StepType::AnalyzeImage));
}
