//! What a request makes, settled when it is accepted: the pictures with their sizes and seeds, the units billed, and
//! from these the output body. Pictures are drawn when somebody asks for their bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value, json};

use super::endpoints::{Endpoint, Shape, Sizing, Unit, named_size};
use crate::clock::Chance;
use crate::paint::{self, Format, Picture};

/// Custom sizes are brought down to this, so that one request cannot take all the memory.
const LONGEST_SIDE: u32 = 4096;

/// What a valid request will make.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    prompt: String,
    seed: Number,
    pub(crate) pictures: Vec<Picture>,
    /// The output carries data URIs, and the history does not keep it.
    pub(crate) inline: bool,
    pub(crate) billable_units: f64,
}

impl Plan {
    /// `values` is what the check of the endpoint's fields gave.
    pub(crate) fn new(endpoint: &Endpoint, values: &Map<String, Value>, chance: &Chance) -> Self {
        let text = |name: &str| values.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let prompt = text("prompt");
        let drawn = chance.bits() as u32;
        let seed = values.get("seed").and_then(Value::as_number).cloned().unwrap_or_else(|| Number::from(drawn));
        let (width, height) = pixels(&endpoint.sizing, values);
        let format = Format::named(&text("output_format"));
        let count = values.get("num_images").and_then(Value::as_u64).unwrap_or(1);
        let pictures = (0..count).map(|index| Picture {
            prompt: prompt.clone(),
            footer: footer(endpoint.id, &seed, index, count, width, height),
            variation: format!("{seed}/{index}"),
            width,
            height,
            format,
        });
        let each = match endpoint.price.unit {
            Unit::Megapixels => (f64::from(width) * f64::from(height) / 1_000_000.0).ceil(),
            Unit::Images => 1.0,
        };
        Self {
            pictures: pictures.collect(),
            inline: values.get("sync_mode").and_then(Value::as_bool).unwrap_or(false),
            billable_units: each * count as f64,
            prompt,
            seed,
        }
    }

    /// The output body. `place` gives the address of a picture; with `sync_mode` the picture itself is put there.
    pub(crate) fn body(
        &self,
        shape: &Shape,
        inference_seconds: f64,
        place: impl Fn(&str) -> String,
    ) -> Result<Value, image::ImageError> {
        let mut images = Vec::with_capacity(self.pictures.len());
        for (index, picture) in self.pictures.iter().enumerate() {
            let content_type = picture.format.content_type();
            let name = format!("{index}.{}", picture.format.extension());
            let url = if self.inline {
                format!("data:{content_type};base64,{}", STANDARD.encode(paint::render(picture)?))
            } else {
                place(&name)
            };
            let (width, height) = (picture.width, picture.height);
            images.push(match shape {
                Shape::Flux => json!({ "url": url, "width": width, "height": height, "content_type": content_type }),
                Shape::Described => json!({ "url": url, "content_type": content_type, "file_name": name,
                    "file_size": null, "width": width, "height": height }),
            });
        }
        Ok(match shape {
            Shape::Flux => json!({
                "images": images,
                "timings": { "inference": inference_seconds },
                "seed": self.seed,
                "has_nsfw_concepts": vec![false; self.pictures.len()],
                "prompt": self.prompt,
            }),
            Shape::Described => json!({ "images": images, "description": "" }),
        })
    }

    /// The picture that has this file name.
    pub(crate) fn picture(&self, name: &str) -> Option<&Picture> {
        let (index, extension) = name.split_once('.')?;
        let picture = self.pictures.get(index.parse::<usize>().ok()?)?;
        (picture.format.extension() == extension).then_some(picture)
    }
}

fn footer(id: &str, seed: &Number, index: u64, count: u64, width: u32, height: u32) -> Vec<String> {
    let mut parts = vec![id.to_owned(), format!("seed {seed}"), format!("{width}x{height}")];
    if count > 1 {
        parts.push(format!("{} of {count}", index + 1));
    }
    parts.push("simulated".to_owned());
    parts
}

fn pixels(sizing: &Sizing, values: &Map<String, Value>) -> (u32, u32) {
    let text = |name: &str| values.get(name).and_then(Value::as_str).unwrap_or_default();
    match sizing {
        Sizing::ImageSize => {
            if let Some(size) = named_size(text("image_size")) {
                return size;
            }
            let side = |name: &str| {
                let length = values.get("image_size").and_then(|size| size.get(name)).and_then(Value::as_u64);
                length.and_then(|length| u32::try_from(length).ok()).unwrap_or(512).max(1)
            };
            shrink(side("width"), side("height"))
        }
        Sizing::AspectRatio(sizes) => {
            let ratio = text("aspect_ratio");
            let (width, height) =
                sizes.iter().find(|(name, ..)| *name == ratio).map_or((1024, 1024), |(_, w, h)| (*w, *h));
            let times = match text("resolution") {
                "4K" => 4,
                "2K" => 2,
                _ => 1,
            };
            (width * times, height * times)
        }
    }
}

fn shrink(width: u32, height: u32) -> (u32, u32) {
    let longer = width.max(height);
    if longer <= LONGEST_SIDE {
        return (width, height);
    }
    let scaled = |side: u32| (u64::from(side) * u64::from(LONGEST_SIDE) / u64::from(longer)).max(1) as u32;
    (scaled(width), scaled(height))
}

#[cfg(test)]
mod tests {
    use super::super::{endpoints, schema};
    use super::*;

    fn plan(id: &str, body: Value) -> (Plan, &'static Endpoint) {
        let endpoint = endpoints::find(id).unwrap();
        let values = schema::check(endpoint.fields, body.as_object().unwrap()).unwrap();
        (Plan::new(endpoint, &values, &Chance::new(1)), endpoint)
    }

    #[test]
    fn sizes_and_units_follow_the_fields() {
        let cases = [
            ("fal-ai/flux/schnell", json!({ "prompt": "x" }), (1024, 768), 1.0),
            ("fal-ai/flux/schnell", json!({ "prompt": "x", "image_size": "square_hd" }), (1024, 1024), 2.0),
            (
                "fal-ai/flux/dev",
                json!({ "prompt": "x", "image_size": { "width": 640, "height": 360 } }),
                (640, 360),
                1.0,
            ),
            (
                "fal-ai/flux/dev",
                json!({ "prompt": "x", "image_size": { "width": 9000, "height": 90 } }),
                (4096, 40),
                1.0,
            ),
            (
                "fal-ai/flux/dev",
                json!({ "prompt": "x", "num_images": 3, "image_size": "square_hd" }),
                (1024, 1024),
                6.0,
            ),
            ("fal-ai/nano-banana-pro", json!({ "prompt": "x" }), (1024, 1024), 1.0),
            (
                "fal-ai/nano-banana-pro",
                json!({ "prompt": "x", "aspect_ratio": "16:9", "resolution": "4K" }),
                (5504, 3072),
                1.0,
            ),
            (
                "fal-ai/imagen4/preview",
                json!({ "prompt": "x", "aspect_ratio": "3:4", "num_images": 2 }),
                (896, 1280),
                2.0,
            ),
        ];
        for (id, body, size, units) in cases {
            let (plan, _) = plan(id, body.clone());
            assert_eq!((plan.pictures[0].width, plan.pictures[0].height), size, "{id} {body}");
            assert_eq!(plan.billable_units, units, "{id} {body}");
        }
    }

    #[test]
    fn the_body_names_every_picture() {
        let (flux, endpoint) = plan("fal-ai/flux/dev", json!({ "prompt": "x", "seed": 5, "num_images": 2 }));
        let body = flux.body(&endpoint.shape, 1.5, |name| format!("http://host/{name}")).unwrap();
        let image = |n| json!({ "url": format!("http://host/{n}.jpg"), "width": 1024, "height": 768, "content_type": "image/jpeg" });
        let expected = json!({ "images": [image(0), image(1)], "timings": { "inference": 1.5 }, "seed": 5,
            "has_nsfw_concepts": [false, false], "prompt": "x" });
        assert_eq!(body, expected);
        assert!(flux.picture("1.jpg").is_some());
        assert!(flux.picture("2.jpg").is_none() && flux.picture("1.png").is_none() && flux.picture("x").is_none());
    }
}
