//! The table of endpoints: what each takes, how long it works, what it costs, and what it makes. A new endpoint is a new
//! row; only a new kind of output needs code.

use super::schema::{Default, Field, Kind};

/// One endpoint of fal.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// `owner/app[/sub/path]`.
    pub(crate) id: &'static str,
    pub(crate) fields: &'static [Field],
    /// The typical duration, from and to, in seconds.
    pub(crate) seconds: (f64, f64),
    pub(crate) price: Price,
    pub(crate) sizing: Sizing,
    pub(crate) shape: Shape,
}

/// The list price, as the pricing route gives it.
#[derive(Debug)]
pub(crate) struct Price {
    /// US dollars a unit.
    pub(crate) unit_price: f64,
    pub(crate) unit: Unit,
}

/// What is counted for the bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Each picture, rounded up to whole megapixels.
    Megapixels,
    Images,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Megapixels => "megapixels",
            Self::Images => "images",
        }
    }
}

/// Which fields decide the size of a picture.
#[derive(Debug)]
pub(crate) enum Sizing {
    /// `image_size`: a name or width and height.
    ImageSize,
    /// `aspect_ratio` × `resolution`: the sizes at `1K`; `2K` and `4K` are two and four times as long.
    AspectRatio(&'static [(&'static str, u32, u32)]),
}

/// What the output looks like.
#[derive(Debug)]
pub(crate) enum Shape {
    /// `images`, `timings`, `seed`, `has_nsfw_concepts`, `prompt`.
    Flux,
    /// `images` with file names, `description`.
    Described,
}

/// Finds an endpoint by its full id.
pub(crate) fn find(id: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().find(|endpoint| endpoint.id == id)
}

/// Whether any endpoint belongs to this `owner/app`.
pub(crate) fn is_app(app: &str) -> bool {
    ENDPOINTS.iter().any(|endpoint| endpoint.app() == app)
}

impl Endpoint {
    /// The first two segments of the id, which is all that status, result and cancel addresses hold.
    pub(crate) fn app(&self) -> &'static str {
        app_of(self.id)
    }
}

/// The first two segments of a path.
pub(crate) fn app_of(path: &str) -> &str {
    match path.match_indices('/').nth(1) {
        Some((end, _)) => &path[..end],
        None => path,
    }
}

/// The pixels of the named sizes.
pub(crate) fn named_size(name: &str) -> Option<(u32, u32)> {
    Some(match name {
        "square_hd" => (1024, 1024),
        "square" => (512, 512),
        "portrait_4_3" => (768, 1024),
        "portrait_16_9" => (576, 1024),
        "landscape_4_3" => (1024, 768),
        "landscape_16_9" => (1024, 576),
        _ => return None,
    })
}

const NAMED_SIZES: &[&str] =
    &["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"];

const fn prompt() -> Field {
    Field { name: "prompt", kind: Kind::Text { min: 1 }, default: Default::Required }
}

const fn whole(name: &'static str, min: i64, max: i64, default: i64) -> Field {
    Field { name, kind: Kind::Integer { range: Some((min, max)) }, default: Default::Integer(default) }
}

const fn seed() -> Field {
    Field { name: "seed", kind: Kind::Integer { range: None }, default: Default::Absent }
}

const fn flag(name: &'static str, default: bool) -> Field {
    Field { name, kind: Kind::Boolean, default: Default::Boolean(default) }
}

const fn choice(name: &'static str, allowed: &'static [&'static str], default: &'static str) -> Field {
    Field { name, kind: Kind::Choice(allowed), default: Default::Text(default) }
}

const fn image_size() -> Field {
    Field { name: "image_size", kind: Kind::Size(NAMED_SIZES), default: Default::Text("landscape_4_3") }
}

const fn guidance(default: f64) -> Field {
    Field { name: "guidance_scale", kind: Kind::Number { min: 1.0, max: 20.0 }, default: Default::Number(default) }
}

/// The endpoints that are simulated.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        id: "fal-ai/flux/schnell",
        fields: &[
            prompt(),
            image_size(),
            whole("num_inference_steps", 1, 12, 4),
            seed(),
            guidance(3.5),
            flag("sync_mode", false),
            whole("num_images", 1, 4, 1),
            flag("enable_safety_checker", true),
            choice("output_format", &["jpeg", "png"], "jpeg"),
            choice("acceleration", &["none", "regular", "high"], "none"),
        ],
        seconds: (2.0, 4.0),
        price: Price { unit_price: 0.003, unit: Unit::Megapixels },
        sizing: Sizing::ImageSize,
        shape: Shape::Flux,
    },
    Endpoint {
        id: "fal-ai/flux/dev",
        fields: &[
            prompt(),
            image_size(),
            whole("num_inference_steps", 1, 50, 28),
            seed(),
            guidance(3.5),
            flag("sync_mode", false),
            whole("num_images", 1, 4, 1),
            flag("enable_safety_checker", true),
            choice("output_format", &["jpeg", "png"], "jpeg"),
            choice("acceleration", &["none", "regular", "high"], "none"),
        ],
        seconds: (5.0, 10.0),
        price: Price { unit_price: 0.025, unit: Unit::Megapixels },
        sizing: Sizing::ImageSize,
        shape: Shape::Flux,
    },
    Endpoint {
        id: "fal-ai/nano-banana-pro",
        fields: &[
            prompt(),
            whole("num_images", 1, 4, 1),
            seed(),
            choice(
                "aspect_ratio",
                &["auto", "21:9", "16:9", "3:2", "4:3", "5:4", "1:1", "4:5", "3:4", "2:3", "9:16"],
                "1:1",
            ),
            choice("output_format", &["jpeg", "png", "webp"], "png"),
            choice("safety_tolerance", &["1", "2", "3", "4", "5", "6"], "4"),
            flag("sync_mode", false),
            choice("resolution", &["1K", "2K", "4K"], "1K"),
            flag("limit_generations", false),
            flag("enable_web_search", false),
        ],
        seconds: (3.0, 5.0),
        price: Price { unit_price: 0.15, unit: Unit::Images },
        sizing: Sizing::AspectRatio(&[
            ("auto", 1024, 1024),
            ("21:9", 1584, 672),
            ("16:9", 1376, 768),
            ("3:2", 1264, 848),
            ("4:3", 1200, 896),
            ("5:4", 1152, 928),
            ("1:1", 1024, 1024),
            ("4:5", 928, 1152),
            ("3:4", 896, 1200),
            ("2:3", 848, 1264),
            ("9:16", 768, 1376),
        ]),
        shape: Shape::Described,
    },
    Endpoint {
        id: "fal-ai/imagen4/preview",
        fields: &[
            prompt(),
            whole("num_images", 1, 4, 1),
            seed(),
            choice("aspect_ratio", &["1:1", "16:9", "9:16", "4:3", "3:4"], "1:1"),
            choice("output_format", &["jpeg", "png", "webp"], "png"),
            choice("safety_tolerance", &["1", "2", "3", "4", "5", "6"], "4"),
            flag("sync_mode", false),
            choice("resolution", &["1K", "2K"], "1K"),
        ],
        seconds: (8.0, 15.0),
        price: Price { unit_price: 0.04, unit: Unit::Images },
        sizing: Sizing::AspectRatio(&[
            ("1:1", 1024, 1024),
            ("16:9", 1408, 768),
            ("9:16", 768, 1408),
            ("4:3", 1280, 896),
            ("3:4", 896, 1280),
        ]),
        shape: Shape::Described,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed_and_every_choice_has_a_size() {
        for endpoint in ENDPOINTS {
            let body = serde_json::json!({ "prompt": "x" });
            let values = super::super::schema::check(endpoint.fields, body.as_object().unwrap()).unwrap();
            assert!(super::super::schema::check(endpoint.fields, &values).is_ok(), "{}", endpoint.id);
            for field in endpoint.fields {
                match (field.name, &field.kind, &endpoint.sizing) {
                    ("aspect_ratio", Kind::Choice(ratios), Sizing::AspectRatio(sizes)) => {
                        assert!(ratios.iter().all(|ratio| sizes.iter().any(|(name, ..)| name == ratio)));
                    }
                    (_, Kind::Size(names), _) => {
                        assert!(names.iter().all(|name| named_size(name).is_some()))
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn the_app_is_the_first_two_segments() {
        assert_eq!(app_of("fal-ai/imagen4/preview"), "fal-ai/imagen4");
        assert_eq!(app_of("fal-ai/nano-banana-pro"), "fal-ai/nano-banana-pro");
        assert!(is_app("fal-ai/flux") && !is_app("fal-ai/flux-2") && !is_app("fal-ai"));
    }
}
