//! Endpoints that make a video from a picture. Lengths are texts for Hailuo and Kling and whole numbers for Sora, and
//! what has the other type is refused, as on fal.

use super::super::schema::{Default, Field, Kind};
use super::{
    Endpoint, Price, Shape, Sizes, Sizing, Unit, choice, flag, media, number, optional_media, prompt, text, texts,
};

/// The one that Kling assumes where none is given.
const NEGATIVE_PROMPT: &str = "blur, distort, and low quality";

/// Sora's two proportions at the size of every simulated video.
const SORA_SIZES: Sizes = &[("16:9", 640, 360), ("9:16", 360, 640)];

const fn sora_length() -> Field {
    Field { name: "duration", kind: Kind::IntegerChoice(&[4, 8, 12, 16, 20]), default: Default::Integer(4) }
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        id: "fal-ai/minimax/hailuo-02/standard/image-to-video",
        fields: &[
            prompt(),
            media("image_url"),
            choice("duration", &["6", "10"], "6"),
            flag("prompt_optimizer", true),
            choice("resolution", &["512P", "768P"], "768P"),
            optional_media("end_image_url"),
        ],
        seconds: (30.0, 60.0),
        price: Price { unit_price: 0.045, unit: Unit::Seconds },
        sizing: Sizing::Video(&[]),
        shape: Shape::Video,
    },
    Endpoint {
        id: "fal-ai/kling-video/v2.1/standard/image-to-video",
        fields: &[
            prompt(),
            media("image_url"),
            choice("duration", &["5", "10"], "5"),
            text("negative_prompt", NEGATIVE_PROMPT),
            number("cfg_scale", 0.0, 1.0, 0.5),
        ],
        seconds: (45.0, 90.0),
        price: Price { unit_price: 0.056, unit: Unit::Seconds },
        sizing: Sizing::Video(&[]),
        shape: Shape::Video,
    },
    Endpoint {
        id: "fal-ai/kling-video/v2.6/pro/image-to-video",
        fields: &[
            prompt(),
            media("start_image_url"),
            choice("duration", &["5", "10"], "5"),
            text("negative_prompt", NEGATIVE_PROMPT),
            flag("generate_audio", true),
            texts("voice_ids"),
            optional_media("end_image_url"),
        ],
        seconds: (60.0, 120.0),
        price: Price { unit_price: 0.14, unit: Unit::Seconds },
        sizing: Sizing::Video(&[]),
        shape: Shape::Video,
    },
    Endpoint {
        id: "fal-ai/sora-2/image-to-video",
        fields: &[
            prompt(),
            media("image_url"),
            sora_length(),
            choice("resolution", &["auto", "720p"], "auto"),
            choice("aspect_ratio", &["auto", "9:16", "16:9"], "auto"),
            flag("delete_video", true),
            flag("detect_and_block_ip", false),
            choice("model", &["sora-2", "sora-2-2025-12-08", "sora-2-2025-10-06"], "sora-2"),
            texts("character_ids"),
        ],
        seconds: (90.0, 180.0),
        price: Price { unit_price: 0.10, unit: Unit::Seconds },
        sizing: Sizing::Video(SORA_SIZES),
        shape: Shape::Sora,
    },
    Endpoint {
        id: "fal-ai/sora-2/image-to-video/pro",
        fields: &[
            prompt(),
            media("image_url"),
            sora_length(),
            choice("resolution", &["auto", "720p", "1080p", "true_1080p"], "auto"),
            choice("aspect_ratio", &["auto", "9:16", "16:9"], "auto"),
            flag("delete_video", true),
            flag("detect_and_block_ip", false),
            texts("character_ids"),
        ],
        seconds: (120.0, 300.0),
        price: Price { unit_price: 0.30, unit: Unit::Seconds },
        sizing: Sizing::Video(SORA_SIZES),
        shape: Shape::Sora,
    },
];
