//! The output of a request. A [`Plan`] is settled when the request is accepted, an [`Output`] when its work ends, as sizes
//! may depend on the inputs. Pictures are drawn when their bytes are requested.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use image::RgbImage;
use serde_json::{Map, Number, Value, json};

use super::endpoint::{Endpoint, OutputMember};
use super::{sizes, validate};
use crate::input_cache::CachedInput;
use crate::input_image;
use crate::paint::{Format, Picture};
use crate::random::{Random, mix};
use crate::video;

/// The length of a video without `duration`, in seconds.
const DEFAULT_SECONDS: u32 = 5;

/// The output of a valid request, as far as its body determines it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    endpoint: &'static Endpoint,
    /// The checked values, without the addresses of media, which may be megabytes long.
    values: Map<String, Value>,
    seed: Number,
    /// Whether the output carries data URIs (`sync_mode`), which the history does not store.
    pub(crate) is_inline: bool,
}

/// The output of a request.
#[derive(Debug)]
pub(crate) struct Output {
    endpoint: &'static Endpoint,
    prompt: String,
    seed: Number,
    is_inline: bool,
    pictures: Vec<Picture>,
    pub(crate) inputs: Vec<CachedInput>,
    pub(crate) billable_units: f64,
    pub(crate) spoilt: Spoilt,
}

/// The faults of an output.
#[derive(Debug)]
pub(crate) struct Spoilt {
    /// So many pictures, from the first, are black and marked as ones that a safety check blanked.
    pub(crate) blanked: usize,
    /// The body names no more files.
    pub(crate) most_files: usize,
    /// The address that the body names for every file.
    pub(crate) media_url: Option<String>,
}

impl Default for Spoilt {
    fn default() -> Self {
        Spoilt { blanked: 0, most_files: usize::MAX, media_url: None }
    }
}

impl Plan {
    /// Checks the body of a request. Gives the body of the refusal if it is not valid.
    pub(crate) fn new(endpoint: &'static Endpoint, body: &Map<String, Value>, random: &Random) -> Result<Self, Value> {
        let checked = validate::check(&endpoint.params, body);
        let mut values = checked.map_err(|problems| json!({ "detail": problems }))?;
        let drawn = random.bits() as u32;
        let seed = values.get("seed").and_then(Value::as_number).cloned().unwrap_or_else(|| Number::from(drawn));
        for param in endpoint.params.iter().filter(|param| param.is_media()) {
            values.remove(&param.name);
        }
        let is_inline = values.get("sync_mode").and_then(Value::as_bool).unwrap_or(false);
        Ok(Self { endpoint, values, seed, is_inline })
    }

    fn text(&self, name: &str) -> &str {
        self.values.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// The output for the inputs that were fetched.
    pub(crate) fn output(&self, inputs: Vec<CachedInput>, spoilt: Spoilt) -> Output {
        let pictures = self.pictures(&inputs);
        let billable_units = pictures.iter().map(|picture| units(&self.endpoint.price.unit, picture)).sum();
        Output {
            endpoint: self.endpoint,
            prompt: self.text("prompt").to_owned(),
            seed: self.seed.clone(),
            is_inline: self.is_inline,
            billable_units: if pictures.is_empty() { 1.0 } else { billable_units },
            pictures,
            inputs,
            spoilt,
        }
    }

    fn pictures(&self, inputs: &[CachedInput]) -> Vec<Picture> {
        let count = self.values.get("num_images").and_then(Value::as_u64).unwrap_or(1);
        let (prompt, seed) = (self.text("prompt"), &self.seed);
        let is_video = self.endpoint.has_output("video");
        let has_files = self.endpoint.output.iter().any(|member| member.file.is_some() && !member.is_optional);
        let (width, height) = match is_video {
            true => sizes::of_video(&self.values, inputs),
            false => sizes::of_picture(self.endpoint, &self.values, inputs),
        };
        let format = match self.values.get("output_format") {
            _ if is_video => Format::Mp4 { seconds: seconds(self.values.get("duration")) },
            Some(_) => Format::named(self.text("output_format")),
            // Endpoints without the param give PNG.
            None => Format::Png,
        };
        let picture = |index| {
            let of_count = if count > 1 { format!(" · {} of {count}", index + 1) } else { String::new() };
            Picture {
                prompt: prompt.to_owned(),
                footer: format!("{} · seed {seed} · {width}x{height}{of_count} · simulated", self.endpoint.id),
                variation: format!("{seed}/{index}"),
                width,
                height,
                format,
            }
        };
        (0..count).filter(|_| has_files).map(picture).collect()
    }
}

/// The length of a video: a text such as `"5"` or `"8s"`, or a number.
fn seconds(duration: Option<&Value>) -> u32 {
    let requested = match duration {
        Some(Value::String(text)) => text.trim_end_matches('s').parse().ok(),
        Some(other) => other.as_f64().map(|seconds| seconds as u32),
        None => None,
    };
    requested.unwrap_or(DEFAULT_SECONDS)
}

/// The units that a picture is billed for.
fn units(unit: &str, picture: &Picture) -> f64 {
    match (unit, picture.format) {
        ("seconds", Format::Mp4 { seconds }) => f64::from(seconds),
        ("megapixels", _) => (f64::from(picture.width) * f64::from(picture.height) / 1_000_000.0).ceil(),
        _ => 1.0,
    }
}

impl Output {
    /// Whether the body contains drawn pictures.
    pub(crate) fn is_drawn_inline(&self) -> bool {
        self.is_inline && self.spoilt.most_files > 0
    }

    /// The body, in the form of the endpoint's output. `address` gives the address of a file; an inline output has the file
    /// itself there, drawn from the copies of the inputs. `None` if it cannot be drawn.
    pub(crate) fn body(
        &self,
        inference_seconds: f64,
        copies: Option<&[Bytes]>,
        address: impl Fn(&str) -> String,
    ) -> Option<Value> {
        let mut addresses = Vec::new();
        for picture in self.pictures.iter().take(self.spoilt.most_files) {
            let name = format!("{}.{}", addresses.len(), picture.format.extension());
            addresses.push(match (self.is_inline, &self.spoilt.media_url) {
                (true, _) => {
                    let bytes = STANDARD.encode(self.render(picture, copies?)?);
                    format!("data:{};base64,{bytes}", picture.format.content_type())
                }
                (false, Some(elsewhere)) => elsewhere.clone(),
                (false, None) => address(&name),
            });
        }
        let member = |member: &OutputMember| (member.name.clone(), self.member(member, inference_seconds, &addresses));
        Some(self.endpoint.output.iter().map(member).collect::<Map<_, _>>().into())
    }

    fn member(&self, member: &OutputMember, inference_seconds: f64, addresses: &[String]) -> Value {
        if let (Some(members), false) = (&member.file, member.is_optional) {
            let mut files = (0..).zip(&self.pictures).zip(addresses).map(|((index, picture), address)| {
                let entry = |name: &String| (name.clone(), file_member(name, index, picture, address));
                Value::Object(members.iter().map(entry).collect())
            });
            return if member.is_list { files.collect() } else { files.next().into() };
        }
        match (member.name.as_str(), member.r#type.as_str()) {
            ("seed", _) => json!(self.seed),
            ("prompt", _) => json!(self.prompt),
            ("timings", _) => json!({ "inference": inference_seconds }),
            ("has_nsfw_concepts", _) => {
                let pictures = 0..self.pictures.len().min(self.spoilt.most_files);
                pictures.map(|index| index < self.spoilt.blanked).collect()
            }
            ("video_id", _) => json!(video_id(&self.seed)),
            ("duration", _) => json!(self.pictures.first().map(|picture| duration(picture.format))),
            ("text", _) => json!("A simulated text."),
            _ if member.is_optional => Value::Null,
            _ if member.is_list => json!([]),
            (_, "string") => json!(""),
            (_, "number") => json!(0),
            (_, "boolean") => json!(false),
            _ => json!({}),
        }
    }

    /// The content type and the picture of the file of this name.
    pub(crate) fn picture(&self, name: &str) -> Option<&Picture> {
        let (index, extension) = name.split_once('.')?;
        self.pictures.get(index.parse::<usize>().ok()?).filter(|picture| picture.format.extension() == extension)
    }

    /// Draws one of the pictures from the copies of the inputs. `None` where a copy does not open or the encoder fails.
    pub(crate) fn render(&self, picture: &Picture, copies: &[Bytes]) -> Option<Vec<u8>> {
        let index = self.pictures.iter().position(|other| std::ptr::eq(other, picture));
        if index.is_some_and(|index| index < self.spoilt.blanked) {
            return picture.render_blank().ok();
        }
        // A video begins with the first of its inputs.
        let shown = if matches!(picture.format, Format::Mp4 { .. }) { 1 } else { copies.len() };
        let opened = copies.iter().take(shown).map(|copy| input_image::reopen(copy).ok());
        picture.render(&opened.collect::<Option<Vec<RgbImage>>>()?).ok()
    }
}

fn file_member(name: &str, index: usize, picture: &Picture, address: &str) -> Value {
    let is_video = matches!(picture.format, Format::Mp4 { .. });
    match name {
        "url" => json!(address),
        "content_type" => json!(picture.format.content_type()),
        "file_name" => json!(format!("{index}.{}", picture.format.extension())),
        // The length of a picture is not known before it is encoded.
        "file_size" if is_video => json!(video::length(picture.width, picture.height)),
        "width" => json!(picture.width),
        "height" => json!(picture.height),
        "duration" => json!(duration(picture.format)),
        "num_frames" => json!(1),
        "fps" => json!(1.0 / duration(picture.format).max(1.0)),
        _ => Value::Null,
    }
}

/// In seconds.
fn duration(format: Format) -> f64 {
    match format {
        Format::Mp4 { seconds } => f64::from(seconds),
        Format::Png | Format::Jpeg | Format::Webp => 0.0,
    }
}

/// OpenAI's id of a video, which its remix takes.
fn video_id(seed: &Number) -> String {
    let number = seed.as_u64().unwrap_or_default();
    format!("video_{:016x}{:016x}", mix(number), mix(number.wrapping_add(1)))
}

#[cfg(test)]
mod tests {
    use super::super::endpoint;
    use super::*;

    fn output(id: &str, body: Value) -> Output {
        let plan = Plan::new(endpoint::find(id).unwrap(), body.as_object().unwrap(), &Random::new(1)).unwrap();
        plan.output(Vec::new(), Spoilt::default())
    }

    #[test]
    fn sizes_and_units_follow_the_params() {
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
            let output = output(id, body.clone());
            let picture = &output.pictures[0];
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
            ("fal-ai/veo3.1", json!({ "prompt": "x", "duration": "6s" }), 6),
        ];
        for (id, body, seconds) in cases {
            let output = output(id, body);
            assert_eq!(output.billable_units, f64::from(seconds));
            assert_eq!(output.pictures[0].format, Format::Mp4 { seconds });
        }
    }

    #[test]
    fn the_body_names_every_picture() {
        let flux = output("fal-ai/flux/dev", json!({ "prompt": "x", "seed": 5, "num_images": 2 }));
        let body = flux.body(1.5, None, |name| format!("http://host/{name}")).unwrap();
        let image = |n| json!({ "url": format!("http://host/{n}.jpg"), "width": 1024, "height": 768, "content_type": "image/jpeg" });
        let expected = json!({ "images": [image(0), image(1)], "timings": { "inference": 1.5 }, "seed": 5,
            "has_nsfw_concepts": [false, false], "prompt": "x" });
        assert_eq!(body, expected);
        assert!(flux.picture("1.jpg").is_some());
        assert!(flux.picture("2.jpg").is_none() && flux.picture("1.png").is_none() && flux.picture("x").is_none());
    }

    #[test]
    fn a_text_is_an_output_without_files() {
        let scribe = output("fal-ai/elevenlabs/speech-to-text/scribe-v2", json!({ "audio_url": "u" }));
        let body = scribe.body(1.0, None, str::to_owned).unwrap();
        assert_eq!(
            (&body["text"], &body["words"], scribe.billable_units),
            (&json!("A simulated text."), &json!([]), 1.0)
        );
    }
}
