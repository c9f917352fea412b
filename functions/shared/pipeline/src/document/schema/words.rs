//! The purposes of params, in words for editors. The catalogue says what they accept.

/// By the names that documents use; one name means the same to every model.
const WORDS: &[(&str, &str)] = &[
    ("acceleration", "How much the provider may trade quality for speed."),
    ("aspect_ratio", "Width to height of what comes out."),
    ("cfg_scale", "How closely the video follows the prompt."),
    ("creativity", "How much the enlargement may invent."),
    ("delete_video", "Whether the provider deletes its copy afterwards."),
    ("detect_and_block_ip", "Whether known characters and brands are refused."),
    ("duration", "Seconds of video."),
    ("enable_safety_checker", "Whether the provider checks the picture."),
    ("enable_web_search", "Whether the model may look things up; it costs more."),
    ("engine", "Which Gemini model answers."),
    ("enhance_prompt", "Whether the provider rewrites the prompt."),
    ("generate_audio", "Whether the video has sound; it costs more."),
    ("guidance_scale", "How closely the picture follows the prompt."),
    ("image_size", "The size of the picture: a name, or width and height in pixels."),
    ("limit_generations", "Whether the model stops at the number of pictures that is asked for."),
    ("max_output_tokens", "The most tokens of the answer."),
    ("negative_prompt", "What should not be seen."),
    ("num_images", "How many pictures."),
    ("num_inference_steps", "More steps are slower and finer."),
    ("output_format", "The file format."),
    ("prompt", "What to generate, change or say; where it is needed and not given, the run's input text."),
    ("prompt_optimizer", "Whether the provider rewrites the prompt."),
    ("question", "What to ask of the image; another name for the prompt."),
    ("resemblance", "How much the enlargement keeps to the original."),
    ("resolution", "How fine the result is; finer may cost more."),
    ("resolution_mode", "The shape of the result."),
    ("safety_tolerance", "How much the provider lets pass, 1 being the strictest."),
    ("scale", "How many times larger; another name for upscale_factor."),
    ("seed", "The same seed and request give nearly the same picture."),
    ("strength", "How far the result may depart from the input."),
    ("temperature", "How freely the answer is worded."),
    ("upscale_factor", "How many times larger."),
];

/// The purpose of a param.
pub(super) fn of(param: &str) -> Option<&'static str> {
    WORDS.iter().find(|(name, _)| *name == param).map(|(_, says)| *says)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::models;

    #[test]
    fn every_param_has_its_words_and_no_words_are_left_over() {
        for name in models().iter().flat_map(|model| model.params.keys()) {
            assert!(of(name).is_some(), "{name}");
        }
        for (name, _) in WORDS {
            assert!(models().iter().any(|model| model.params.contains_key(*name)), "{name}");
        }
    }
}
