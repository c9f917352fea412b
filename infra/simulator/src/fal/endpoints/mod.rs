//! The tables of endpoints: what each takes, how long it works, what it costs, and what it makes. A new endpoint is a
//! new row in the table of its kind; only a new kind of output needs code.

mod edits;
mod images;
mod videos;

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
    /// The asked length of a video.
    Seconds,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Megapixels => "megapixels",
            Self::Images => "images",
            Self::Seconds => "seconds",
        }
    }
}

/// Names of sizes or proportions with their width and height.
pub(crate) type Sizes = &'static [(&'static str, u32, u32)];

/// What decides the size of a picture or video.
#[derive(Debug)]
pub(crate) enum Sizing {
    /// `image_size`: a name or width and height.
    ImageSize,
    /// `aspect_ratio` × `resolution`: the sizes at `1K`; `2K` and `4K` are two and four times as long. With an input,
    /// `auto` is the size whose proportions come nearest to the input's.
    AspectRatio(Sizes),
    /// The size of the first input, unless the named field holds one of the listed proportions.
    Input { field: &'static str, sizes: Sizes },
    /// The size of the input times `upscale_factor`.
    Upscale,
    /// A video in the proportions of the first input, unless `aspect_ratio` holds one of the listed sizes.
    Video(Sizes),
}

/// What the output looks like.
#[derive(Debug)]
pub(crate) enum Shape {
    /// `images`, `timings`, `seed`, `has_nsfw_concepts`, `prompt`.
    Flux,
    /// `images` with file names, `description`.
    Described,
    /// `images` with file names and nothing else.
    Images,
    /// One `image`, `seed`.
    Image,
    /// One `image`, `seed`, `timings`.
    TimedImage,
    /// `video` as a plain file.
    Video,
    /// `video` with its measures, `video_id`, `thumbnail`, `spritesheet`.
    Sora,
}

/// The endpoints that are simulated.
fn all() -> impl Iterator<Item = &'static Endpoint> {
    images::ENDPOINTS.iter().chain(edits::ENDPOINTS).chain(videos::ENDPOINTS)
}

/// Finds an endpoint by its full id.
pub(crate) fn find(id: &str) -> Option<&'static Endpoint> {
    all().find(|endpoint| endpoint.id == id)
}

/// Whether any endpoint belongs to this `owner/app`.
pub(crate) fn is_app(app: &str) -> bool {
    all().any(|endpoint| endpoint.app() == app)
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

const fn number(name: &'static str, min: f64, max: f64, default: f64) -> Field {
    Field { name, kind: Kind::Number { min, max }, default: Default::Number(default) }
}

const fn guidance(default: f64) -> Field {
    number("guidance_scale", 1.0, 20.0, default)
}

const fn text(name: &'static str, default: &'static str) -> Field {
    Field { name, kind: Kind::Text { min: 0 }, default: Default::Text(default) }
}

const fn media(name: &'static str) -> Field {
    Field { name, kind: Kind::Url, default: Default::Required }
}

const fn optional_media(name: &'static str) -> Field {
    Field { name, kind: Kind::Url, default: Default::Absent }
}

/// A list of at least one address.
const fn media_list(name: &'static str, max: usize) -> Field {
    Field { name, kind: Kind::Urls { max }, default: Default::Required }
}

const fn texts(name: &'static str) -> Field {
    Field { name, kind: Kind::Texts, default: Default::Absent }
}

/// The sizes of Nano Banana Pro at `1K`; `auto` is for requests without an input.
const NANO_BANANA_SIZES: Sizes = &[
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
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_allowed_and_every_choice_has_a_size() {
        for endpoint in all() {
            let body = serde_json::json!({ "prompt": "x", "image_url": "http://h/a", "start_image_url": "http://h/a",
                "image_urls": ["http://h/a"], "aspect_ratio": "16:9", "strength": 0.5 });
            let values = super::super::schema::check(endpoint.fields, body.as_object().unwrap()).unwrap();
            assert!(super::super::schema::check(endpoint.fields, &values).is_ok(), "{}", endpoint.id);
            for field in endpoint.fields {
                match (field.name, &field.kind, &endpoint.sizing) {
                    ("aspect_ratio", Kind::Choice(ratios), Sizing::AspectRatio(sizes)) => {
                        assert!(ratios.iter().all(|ratio| sizes.iter().any(|(name, ..)| name == ratio)));
                    }
                    (name, Kind::Choice(ratios), Sizing::Input { field, sizes }) if name == *field => {
                        let own = ["auto", "match_input"];
                        let mut ratios = ratios.iter().filter(|ratio| !own.contains(ratio));
                        assert!(ratios.all(|ratio| sizes.iter().any(|(name, ..)| name == ratio)));
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
