//! Endpoints that make a picture from pictures: edits by text and an upscaler.

use super::super::schema::{Default, Field, Kind};
use super::{
    Endpoint, NANO_BANANA_SIZES, Price, Shape, Sizes, Sizing, Unit, choice, flag, guidance, media, media_list, number,
    prompt, seed, text, whole,
};

/// About a megapixel in the proportions that Photon offers.
const PHOTON_SIZES: Sizes = &[
    ("1:1", 1024, 1024),
    ("16:9", 1360, 768),
    ("9:16", 768, 1360),
    ("4:3", 1152, 864),
    ("3:4", 864, 1152),
    ("21:9", 1568, 672),
    ("9:21", 672, 1568),
];

/// About a megapixel in the proportions that Kontext offers.
const KONTEXT_SIZES: Sizes = &[
    ("1:1", 1024, 1024),
    ("16:9", 1392, 752),
    ("21:9", 1568, 672),
    ("3:2", 1248, 832),
    ("2:3", 832, 1248),
    ("4:5", 912, 1136),
    ("5:4", 1136, 912),
    ("3:4", 880, 1184),
    ("4:3", 1184, 880),
    ("9:16", 752, 1392),
    ("9:21", 672, 1568),
];

const fn photon(id: &'static str, seconds: (f64, f64), unit_price: f64) -> Endpoint {
    const RATIOS: &[&str] = &["1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21"];
    const FIELDS: &[Field] = &[
        media("image_url"),
        Field { name: "prompt", kind: Kind::Text { min: 0 }, default: Default::Absent },
        Field { name: "strength", kind: Kind::Number { min: 0.0, max: 1.0 }, default: Default::Required },
        Field { name: "aspect_ratio", kind: Kind::Choice(RATIOS), default: Default::Required },
    ];
    Endpoint {
        id,
        fields: FIELDS,
        seconds,
        price: Price { unit_price, unit: Unit::Images },
        sizing: Sizing::AspectRatio(PHOTON_SIZES),
        shape: Shape::Images,
    }
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    photon("fal-ai/luma-photon/flash/modify", (4.8, 8.0), 0.02),
    photon("fal-ai/luma-photon/modify", (7.2, 12.0), 0.03),
    Endpoint {
        id: "fal-ai/flux-kontext/dev",
        fields: &[
            prompt(),
            media("image_url"),
            whole("num_inference_steps", 10, 50, 28),
            seed(),
            guidance(2.5),
            flag("sync_mode", false),
            whole("num_images", 1, 4, 1),
            flag("enable_safety_checker", true),
            choice("output_format", &["jpeg", "png"], "jpeg"),
            choice("acceleration", &["none", "regular", "high"], "none"),
            flag("enhance_prompt", false),
            choice(
                "resolution_mode",
                &[
                    "auto",
                    "match_input",
                    "1:1",
                    "16:9",
                    "21:9",
                    "3:2",
                    "2:3",
                    "4:5",
                    "5:4",
                    "3:4",
                    "4:3",
                    "9:16",
                    "9:21",
                ],
                "match_input",
            ),
        ],
        seconds: (9.0, 15.0),
        price: Price { unit_price: 0.025, unit: Unit::Images },
        sizing: Sizing::Input { field: "resolution_mode", sizes: KONTEXT_SIZES },
        shape: Shape::Flux,
    },
    Endpoint {
        id: "fal-ai/flux-pro/kontext/max/multi",
        fields: &[
            prompt(),
            media_list("image_urls", 10),
            seed(),
            guidance(3.5),
            flag("sync_mode", false),
            whole("num_images", 1, 4, 1),
            choice("output_format", &["jpeg", "png"], "jpeg"),
            choice("safety_tolerance", &["1", "2", "3", "4", "5", "6"], "2"),
            flag("enhance_prompt", false),
            Field {
                name: "aspect_ratio",
                kind: Kind::Choice(&["21:9", "16:9", "4:3", "3:2", "1:1", "2:3", "3:4", "9:16", "9:21"]),
                default: Default::Absent,
            },
        ],
        seconds: (15.0, 25.0),
        price: Price { unit_price: 0.08, unit: Unit::Images },
        sizing: Sizing::Input { field: "aspect_ratio", sizes: KONTEXT_SIZES },
        shape: Shape::Flux,
    },
    Endpoint {
        id: "fal-ai/bytedance/seededit/v3/edit-image",
        fields: &[prompt(), media("image_url"), number("guidance_scale", 0.0, 1.0, 0.5), seed()],
        seconds: (6.0, 10.0),
        price: Price { unit_price: 0.02, unit: Unit::Images },
        sizing: Sizing::Input { field: "", sizes: &[] },
        shape: Shape::Image,
    },
    Endpoint {
        id: "fal-ai/clarity-upscaler",
        fields: &[
            media("image_url"),
            text("prompt", "masterpiece, best quality, highres"),
            number("upscale_factor", 1.0, 4.0, 2.0),
            text("negative_prompt", "(worst quality, low quality, normal quality:2)"),
            number("creativity", 0.0, 1.0, 0.35),
            number("resemblance", 0.0, 1.0, 0.6),
            number("guidance_scale", 0.0, 20.0, 4.0),
            whole("num_inference_steps", 4, 50, 18),
            seed(),
            flag("enable_safety_checker", true),
        ],
        seconds: (18.0, 30.0),
        price: Price { unit_price: 0.03, unit: Unit::Megapixels },
        sizing: Sizing::Upscale,
        shape: Shape::TimedImage,
    },
    Endpoint {
        id: "fal-ai/nano-banana-pro/edit",
        fields: &[
            prompt(),
            media_list("image_urls", 14),
            whole("num_images", 1, 4, 1),
            seed(),
            choice(
                "aspect_ratio",
                &["auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16"],
                "auto",
            ),
            choice("output_format", &["jpeg", "png", "webp"], "png"),
            choice("safety_tolerance", &["1", "2", "3", "4", "5", "6"], "4"),
            flag("sync_mode", false),
            choice("resolution", &["1K", "2K", "4K"], "1K"),
            flag("limit_generations", false),
            flag("enable_web_search", false),
        ],
        seconds: (4.8, 8.0),
        price: Price { unit_price: 0.15, unit: Unit::Images },
        sizing: Sizing::AspectRatio(NANO_BANANA_SIZES),
        shape: Shape::Described,
    },
];
