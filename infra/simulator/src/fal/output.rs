//! What a request makes. A [`Plan`] is settled when the request is accepted; an [`Output`] when its work ends, as sizes
//! may depend on the inputs. Pictures and videos are drawn when somebody asks for their bytes.

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use image::RgbImage;
use serde_json::{Map, Number, Value, json};

use super::endpoints::{Endpoint, Shape, Unit};
use super::sizes::pixels;
use crate::clock::{Chance, mix};
use crate::keep::Kept;
use crate::paint::{self, Format, Picture};
use crate::still;
use crate::video::{self, FRAMES_A_SECOND, Film};

/// What a valid request will make, as far as its body tells.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    endpoint: &'static Endpoint,
    /// What the check of the endpoint's fields gave, without the addresses of inputs, which may be megabytes long.
    values: Map<String, Value>,
    seed: Number,
    /// The output carries data URIs, and the history does not keep it.
    pub(crate) inline: bool,
}

/// What a request made.
#[derive(Debug)]
pub(crate) struct Output {
    prompt: String,
    seed: Number,
    inline: bool,
    pub(crate) works: Vec<Work>,
    pub(crate) inputs: Vec<Kept>,
    pub(crate) billable_units: f64,
    /// Every picture is black, and marked as one that a safety check blanked.
    pub(crate) blanked: bool,
    /// The body names no file.
    pub(crate) unnamed: bool,
    /// The address that the body names instead of those of the files.
    pub(crate) elsewhere: Option<String>,
}

/// One file of an output.
#[derive(Debug)]
pub(crate) enum Work {
    Picture(Picture),
    /// A video and its length in bytes, once it has been drawn.
    Video(Film, OnceLock<usize>),
}

impl Plan {
    /// `values` is what the check of the endpoint's fields gave.
    pub(crate) fn new(endpoint: &'static Endpoint, mut values: Map<String, Value>, chance: &Chance) -> Self {
        let drawn = chance.bits() as u32;
        let seed = values.get("seed").and_then(Value::as_number).cloned().unwrap_or_else(|| Number::from(drawn));
        for field in endpoint.fields.iter().filter(|field| field.kind.is_media()) {
            values.remove(field.name);
        }
        let inline = values.get("sync_mode").and_then(Value::as_bool).unwrap_or(false);
        Self { endpoint, values, seed, inline }
    }

    /// The output from the inputs that were fetched.
    pub(crate) fn output(&self, inputs: Vec<Kept>) -> Output {
        let values = &self.values;
        let text = |name: &str| values.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (prompt, seed) = (text("prompt"), &self.seed);
        let (width, height) = pixels(&self.endpoint.sizing, values, &inputs);
        let (works, billable_units) = match self.endpoint.price.unit {
            Unit::Seconds => {
                let seconds = seconds(values.get("duration"));
                let film = Film { variation: format!("{prompt}/{seed}"), width, height, seconds };
                (vec![Work::Video(film, OnceLock::new())], f64::from(seconds))
            }
            unit @ (Unit::Megapixels | Unit::Images) => {
                // The upscaler and the editors of single pictures have no output format: they give PNG.
                let format = match values.contains_key("output_format") {
                    true => Format::named(&text("output_format")),
                    false => Format::Png,
                };
                let count = values.get("num_images").and_then(Value::as_u64).unwrap_or(1);
                let pictures = (0..count).map(|index| Picture {
                    prompt: prompt.clone(),
                    footer: footer(self.endpoint.id, seed, index, count, width, height),
                    variation: format!("{seed}/{index}"),
                    width,
                    height,
                    format,
                });
                let each = match unit {
                    Unit::Megapixels => (f64::from(width) * f64::from(height) / 1_000_000.0).ceil(),
                    Unit::Images | Unit::Seconds => 1.0,
                };
                (pictures.map(Work::Picture).collect(), each * count as f64)
            }
        };
        Output {
            prompt,
            seed: self.seed.clone(),
            inline: self.inline,
            works,
            inputs,
            billable_units,
            blanked: false,
            unnamed: false,
            elsewhere: None,
        }
    }
}

/// The length of a video, a text or a number by the endpoint.
fn seconds(duration: Option<&Value>) -> u32 {
    let asked = match duration {
        Some(Value::String(text)) => text.parse().ok(),
        Some(other) => other.as_u64().and_then(|seconds| u32::try_from(seconds).ok()),
        None => None,
    };
    asked.unwrap_or(5)
}

fn footer(id: &str, seed: &Number, index: u64, count: u64, width: u32, height: u32) -> Vec<String> {
    let mut parts = vec![id.to_owned(), format!("seed {seed}"), format!("{width}x{height}")];
    if count > 1 {
        parts.push(format!("{} of {count}", index + 1));
    }
    parts.push("simulated".to_owned());
    parts
}

impl Work {
    pub(crate) fn content_type(&self) -> &'static str {
        match self {
            Self::Picture(picture) => picture.format.content_type(),
            Self::Video(..) => "video/mp4",
        }
    }

    fn extension(&self) -> &'static str {
        match self {
            Self::Picture(picture) => picture.format.extension(),
            Self::Video(..) => "mp4",
        }
    }

    /// Draws the file from the copies of the inputs. `None` where a copy does not open or the encoder fails.
    fn render(&self, copies: &[Bytes]) -> Option<Vec<u8>> {
        let open = |copy: &Bytes| still::reopen(copy).ok();
        match self {
            Self::Picture(picture) => {
                let inputs: Vec<RgbImage> = copies.iter().map(open).collect::<Option<_>>()?;
                paint::render(picture, &inputs).ok()
            }
            Self::Video(film, length) => {
                let input = match copies.first() {
                    Some(copy) => Some(open(copy)?),
                    None => None,
                };
                let bytes = video::render(film, input.as_ref());
                length.get_or_init(|| bytes.len());
                Some(bytes)
            }
        }
    }
}

impl Output {
    /// Whether the body cannot be written without drawing.
    pub(crate) fn draws_for_its_body(&self) -> bool {
        !self.unnamed
            && (self.inline
                || self.works.iter().any(|work| matches!(work, Work::Video(_, length) if length.get().is_none())))
    }

    /// The body. `place` gives the address of a file; with `sync_mode` the file itself is put there, drawn from the
    /// copies of the inputs, if those are at hand.
    pub(crate) fn body(
        &self,
        shape: &Shape,
        inference_seconds: f64,
        copies: Option<&[Bytes]>,
        place: impl Fn(&str) -> String,
    ) -> Option<Value> {
        let mut files = Vec::with_capacity(self.works.len());
        for (index, work) in self.works.iter().enumerate().filter(|_| !self.unnamed) {
            let name = format!("{index}.{}", work.extension());
            let url = match self.inline {
                true => format!("data:{};base64,{}", work.content_type(), STANDARD.encode(self.render(work, copies?)?)),
                false => self.elsewhere.clone().unwrap_or_else(|| place(&name)),
            };
            files.push(file(shape, work, name, url, copies));
        }
        let seed = &self.seed;
        let timings = json!({ "inference": inference_seconds });
        Some(match shape {
            Shape::Flux => json!({ "images": files, "timings": timings, "seed": seed,
                "has_nsfw_concepts": vec![self.blanked; self.works.len()], "prompt": self.prompt }),
            Shape::Described => json!({ "images": files, "description": "" }),
            Shape::Images => json!({ "images": files }),
            Shape::Image => json!({ "image": files.pop(), "seed": seed }),
            Shape::TimedImage => json!({ "image": files.pop(), "seed": seed, "timings": timings }),
            Shape::Video => json!({ "video": files.pop() }),
            Shape::Sora => json!({ "video": files.pop(), "video_id": video_id(seed),
                "thumbnail": null, "spritesheet": null }),
        })
    }

    /// Draws one of the files.
    pub(crate) fn render(&self, work: &Work, copies: &[Bytes]) -> Option<Vec<u8>> {
        match work {
            Work::Picture(picture) if self.blanked => paint::blank(picture).ok(),
            work => work.render(copies),
        }
    }

    /// The file that has this name.
    pub(crate) fn work(&self, name: &str) -> Option<&Work> {
        let (index, extension) = name.split_once('.')?;
        let work = self.works.get(index.parse::<usize>().ok()?)?;
        (work.extension() == extension).then_some(work)
    }
}

fn file(shape: &Shape, work: &Work, name: String, url: String, copies: Option<&[Bytes]>) -> Value {
    let content_type = work.content_type();
    match work {
        Work::Picture(picture) => {
            let (width, height) = (picture.width, picture.height);
            match shape {
                Shape::Flux => json!({ "url": url, "width": width, "height": height, "content_type": content_type }),
                _ => json!({ "url": url, "content_type": content_type, "file_name": name, "file_size": null,
                    "width": width, "height": height }),
            }
        }
        Work::Video(film, length) => {
            let file_size = length.get().copied().or_else(|| Some(work.render(copies?)?.len()));
            let mut file =
                json!({ "url": url, "content_type": content_type, "file_name": name, "file_size": file_size });
            if let (Shape::Sora, Some(file)) = (shape, file.as_object_mut()) {
                file.insert("width".to_owned(), json!(film.width));
                file.insert("height".to_owned(), json!(film.height));
                file.insert("fps".to_owned(), json!(f64::from(FRAMES_A_SECOND)));
                file.insert("duration".to_owned(), json!(f64::from(film.seconds)));
                file.insert("num_frames".to_owned(), json!(film.frames()));
            }
            file
        }
    }
}

/// OpenAI's id of a video, which its remix takes.
fn video_id(seed: &Number) -> String {
    let number = seed.as_u64().unwrap_or_default();
    format!("video_{:016x}{:016x}", mix(number), mix(number.wrapping_add(1)))
}

#[cfg(test)]
mod tests {
    use super::super::{endpoints, schema};
    use super::*;

    fn output(id: &str, body: Value) -> (Output, &'static Endpoint) {
        let endpoint = endpoints::find(id).unwrap();
        let values = schema::check(endpoint.fields, body.as_object().unwrap()).unwrap();
        (Plan::new(endpoint, values, &Chance::new(1)).output(Vec::new()), endpoint)
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
            let (output, _) = output(id, body.clone());
            let Work::Picture(picture) = &output.works[0] else { panic!("{id} makes pictures") };
            assert_eq!((picture.width, picture.height), size, "{id} {body}");
            assert_eq!(output.billable_units, units, "{id} {body}");
        }
    }

    #[test]
    fn videos_are_billed_by_the_second() {
        let kling = "fal-ai/kling-video/v2.1/standard/image-to-video";
        let cases = [
            (kling, json!({ "prompt": "x", "image_url": "u" }), 5),
            (kling, json!({ "prompt": "x", "image_url": "u", "duration": "10" }), 10),
            ("fal-ai/sora-2/image-to-video", json!({ "prompt": "x", "image_url": "u", "duration": 8 }), 8),
        ];
        for (id, body, seconds) in cases {
            let (output, _) = output(id, body);
            assert_eq!(output.billable_units, f64::from(seconds));
            assert!(matches!(&output.works[0], Work::Video(film, _) if film.seconds == seconds));
        }
    }

    #[test]
    fn the_body_names_every_picture() {
        let (flux, endpoint) = output("fal-ai/flux/dev", json!({ "prompt": "x", "seed": 5, "num_images": 2 }));
        let body = flux.body(&endpoint.shape, 1.5, None, |name| format!("http://host/{name}")).unwrap();
        let image = |n| json!({ "url": format!("http://host/{n}.jpg"), "width": 1024, "height": 768, "content_type": "image/jpeg" });
        let expected = json!({ "images": [image(0), image(1)], "timings": { "inference": 1.5 }, "seed": 5,
            "has_nsfw_concepts": [false, false], "prompt": "x" });
        assert_eq!(body, expected);
        assert!(flux.work("1.jpg").is_some());
        assert!(flux.work("2.jpg").is_none() && flux.work("1.png").is_none() && flux.work("x").is_none());
    }
}
