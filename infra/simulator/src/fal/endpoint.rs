//! The endpoints of fal, read from `schemas/fal.json`: the params of each, its typical duration, its price, and the form of
//! its output. `schemas/README.md` describes the file.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// The content of the file.
#[derive(Debug, Default, Deserialize)]
struct SchemaFile {
    common_corrections: BTreeMap<String, Map<String, Value>>,
    sizes: BTreeMap<String, BTreeMap<String, (u32, u32)>>,
    files: BTreeMap<String, Vec<String>>,
    endpoints: BTreeMap<String, Row>,
}

/// One endpoint of the file.
#[derive(Debug, Deserialize)]
struct Row {
    seconds: (f64, f64),
    price: Price,
    /// The name of a table of sizes.
    sizes: Option<String>,
    #[serde(default)]
    corrections: BTreeMap<String, Map<String, Value>>,
    #[serde(default)]
    output_corrections: BTreeMap<String, String>,
    params: BTreeMap<String, Map<String, Value>>,
    output: BTreeMap<String, String>,
}

/// One endpoint of fal.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// `owner/app[/sub/path]`.
    pub(crate) id: String,
    /// Required params first, as the first image decides the size of the result.
    pub(crate) params: Vec<Param>,
    /// The typical duration, from and to, in seconds.
    pub(crate) seconds: (f64, f64),
    pub(crate) price: Price,
    /// Width and height by `aspect_ratio` or `resolution_mode`, where the model has its own.
    pub(crate) sizes: BTreeMap<String, (u32, u32)>,
    pub(crate) output: Vec<OutputMember>,
}

/// The list price, in the form of the pricing route.
#[derive(Debug, Deserialize)]
pub(crate) struct Price {
    /// US dollars a unit.
    pub(crate) usd: f64,
    /// `megapixels` (of each picture, rounded up), `images`, `seconds`, or any other of which a request bills one.
    pub(crate) unit: String,
}

/// One input of an endpoint.
#[derive(Debug, Deserialize)]
pub(crate) struct Param {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) r#type: ParamType,
    /// The type of the items of a list.
    pub(crate) items: Option<ParamType>,
    #[serde(default)]
    pub(crate) required: bool,
    pub(crate) default: Option<Value>,
    pub(crate) r#enum: Option<Vec<Value>>,
    pub(crate) min: Option<Number>,
    pub(crate) max: Option<Number>,
    /// Of a text in characters, of a list in items.
    #[serde(default)]
    pub(crate) min_length: usize,
    pub(crate) max_length: Option<usize>,
}

/// The type of a param.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ParamType {
    String,
    Integer,
    Number,
    Boolean,
    /// A name of the enum, or an object of width and height.
    ImageSize,
    /// The address of a medium: http, https or a data URI.
    ImageUrl,
    VideoUrl,
    AudioUrl,
    List,
    Object,
    Any,
}

/// One member of an endpoint's output.
#[derive(Debug)]
pub(crate) struct OutputMember {
    pub(crate) name: String,
    pub(crate) r#type: String,
    pub(crate) is_list: bool,
    pub(crate) is_optional: bool,
    /// The members of each file, if it holds files.
    pub(crate) file: Option<Vec<String>>,
}

/// The address of a medium in the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaInput<'a> {
    pub(crate) param: &'a str,
    /// The position, if the param is a list.
    pub(crate) index: Option<usize>,
    pub(crate) address: &'a str,
    pub(crate) r#type: ParamType,
}

impl ParamType {
    fn is_media(self) -> bool {
        matches!(self, Self::ImageUrl | Self::VideoUrl | Self::AudioUrl)
    }
}

impl Param {
    fn new(name: &str, mut given: Map<String, Value>, corrections: [Option<&Map<String, Value>>; 2]) -> Option<Self> {
        given.extend(corrections.into_iter().flatten().flat_map(Map::clone));
        if given.get("type").is_some_and(|kind| kind == "integer") {
            // The types of the SDK have whole numbers of an enum as texts.
            let number = |value: &mut Value| {
                if let Some(number) = value.as_str().and_then(|text| text.parse::<i64>().ok()) {
                    *value = number.into();
                }
            };
            given.get_mut("default").map(number);
            given.get_mut("enum").and_then(Value::as_array_mut).into_iter().flatten().for_each(number);
        }
        let mut param: Self = serde_json::from_value(Value::Object(given)).ok()?;
        param.name = name.to_owned();
        Some(param)
    }

    /// Whether the param holds addresses of media.
    pub(crate) fn is_media(&self) -> bool {
        self.r#type.is_media() || self.items.is_some_and(ParamType::is_media)
    }
}

impl OutputMember {
    fn new(name: String, text: &str, files: &BTreeMap<String, Vec<String>>) -> Self {
        let (text, is_optional) = text.strip_suffix('?').map_or((text, false), |text| (text, true));
        let (kind, is_list) = text.strip_suffix("[]").map_or((text, false), |text| (text, true));
        Self { name, r#type: kind.to_owned(), is_list, is_optional, file: files.get(kind).cloned() }
    }
}

static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(|| {
    let file: SchemaFile = serde_json::from_str(include_str!("../../schemas/fal.json")).unwrap_or_default();
    let SchemaFile { common_corrections, sizes, files, endpoints } = file;
    let endpoint = |(id, row): (String, Row)| {
        let corrections = |name: &String| [common_corrections.get(name), row.corrections.get(name)];
        let params = row.params.into_iter().filter_map(|(name, param)| Param::new(&name, param, corrections(&name)));
        let mut params: Vec<Param> = params.collect();
        params.sort_by_key(|param| !param.required);
        let mut output = row.output;
        output.extend(row.output_corrections);
        Endpoint {
            id,
            params,
            seconds: row.seconds,
            price: row.price,
            sizes: row.sizes.and_then(|name| sizes.get(&name).cloned()).unwrap_or_default(),
            output: output.into_iter().map(|(name, kind)| OutputMember::new(name, &kind, &files)).collect(),
        }
    };
    endpoints.into_iter().map(endpoint).collect()
});

/// Finds an endpoint by its full id.
pub(crate) fn find(id: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().find(|endpoint| endpoint.id == id)
}

/// Whether an endpoint belongs to this `owner/app`.
pub(crate) fn is_app(app: &str) -> bool {
    ENDPOINTS.iter().any(|endpoint| endpoint.app() == app)
}

impl Endpoint {
    /// The first two segments of the id, which is all that the addresses of status, result and cancel hold.
    pub(crate) fn app(&self) -> &str {
        app_of(&self.id)
    }

    /// The member of this name that every output has.
    pub(crate) fn has_output(&self, name: &str) -> bool {
        self.output.iter().any(|member| member.name == name && !member.is_optional)
    }

    /// The media inputs of a body, in the order of the params. Values of another type are left out.
    pub(crate) fn media_inputs<'a>(&'a self, body: &'a Value) -> Vec<MediaInput<'a>> {
        let mut found = Vec::new();
        for param in self.params.iter().filter(|param| param.is_media()) {
            let r#type = param.items.unwrap_or(param.r#type);
            let input = |index, address| MediaInput { param: &param.name, index, address, r#type };
            match body.get(&param.name) {
                Some(Value::String(address)) if param.items.is_none() => found.push(input(None, address)),
                Some(Value::Array(items)) if param.items.is_some() => found.extend(
                    items.iter().enumerate().filter_map(|(index, item)| Some(input(Some(index), item.as_str()?))),
                ),
                _ => {}
            }
        }
        found
    }
}

/// The first two segments of a path.
pub(crate) fn app_of(path: &str) -> &str {
    match path.match_indices('/').nth(1) {
        Some((end, _)) => &path[..end],
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::validate::check;
    use super::*;

    #[test]
    fn every_row_of_the_file_is_read() {
        let file: Value = serde_json::from_str(include_str!("../../schemas/fal.json")).unwrap();
        for (id, row) in file["endpoints"].as_object().unwrap() {
            let endpoint = find(id).unwrap();
            assert_eq!(endpoint.params.len(), row["params"].as_object().unwrap().len(), "{id}");
            for corrected in row["corrections"].as_object().into_iter().flatten() {
                assert!(row["params"].get(corrected.0).is_some(), "{id} has no param {}", corrected.0);
            }
            assert!(row["sizes"].is_null() || !endpoint.sizes.is_empty(), "{id}");
            assert!(endpoint.seconds.0 <= endpoint.seconds.1 && endpoint.price.usd > 0.0, "{id}");
        }
        assert_eq!(ENDPOINTS.len(), file["endpoints"].as_object().unwrap().len());
    }

    #[test]
    fn every_default_is_allowed_and_every_ratio_has_a_size() {
        for endpoint in ENDPOINTS.iter() {
            let mut body = Map::new();
            for param in endpoint.params.iter().filter(|param| param.required) {
                let value = match (&param.r#enum, param.r#type) {
                    (Some(allowed), _) => allowed[0].clone(),
                    (None, ParamType::Number) => json!(0.5),
                    (None, ParamType::List) => json!(["http://h/a"]),
                    _ => json!("http://h/a"),
                };
                body.insert(param.name.clone(), value);
            }
            let values = check(&endpoint.params, &body).unwrap();
            let again: Map<_, _> = values.into_iter().filter(|(_, value)| *value != json!("")).collect();
            assert!(check(&endpoint.params, &again).is_ok(), "{}", endpoint.id);
            let ratios =
                endpoint.params.iter().filter(|param| ["aspect_ratio", "resolution_mode"].contains(&&*param.name));
            for ratio in ratios.flat_map(|param| param.r#enum.iter().flatten()).filter_map(Value::as_str) {
                let is_of_input = ["auto", "match_input"].contains(&ratio);
                let is_ratio = ratio.split_once(':').is_some();
                assert!(endpoint.sizes.contains_key(ratio) || is_of_input || is_ratio, "{}: {ratio}", endpoint.id);
            }
        }
    }

    #[test]
    fn the_app_is_the_first_two_segments() {
        assert_eq!(app_of("fal-ai/imagen4/preview"), "fal-ai/imagen4");
        assert_eq!(app_of("fal-ai/nano-banana-pro"), "fal-ai/nano-banana-pro");
        assert!(is_app("fal-ai/flux") && !is_app("fal-ai/flux-3") && !is_app("fal-ai"));
    }

    #[test]
    fn media_inputs_are_found_required_ones_first() {
        let endpoint = find("fal-ai/kling-video/v2.6/pro/image-to-video").unwrap();
        let body = json!({ "end_image_url": "b", "start_image_url": "a", "image_url": "c" });
        let inputs = endpoint.media_inputs(&body);
        let found: Vec<_> = inputs.iter().map(|input| (input.param, input.address)).collect();
        assert_eq!(found, [("start_image_url", "a"), ("end_image_url", "b")]);
        let endpoint = find("fal-ai/nano-banana-pro/edit").unwrap();
        assert_eq!(endpoint.media_inputs(&json!({ "image_urls": ["a", 4, "b"] })).len(), 2);
        assert_eq!(endpoint.media_inputs(&json!({ "image_urls": "a" })), []);
    }
}
