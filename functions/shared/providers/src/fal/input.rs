//! Media in a model's input: a field holds a URL or a list of them, and fal fetches from there (fal docs, fal CDN). Here is
//! how they get in, and how they are known again in the list of requests, where the same object has been signed differently.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fresco_pipeline::error::{ErrorName, Failure};
use fresco_pipeline::media::{FieldMedia, Media};
use serde_json::{Map, Value};
use url::Url;

use crate::submission::{InputData, Submission};

/// The body of a submission: the params and the media.
pub(super) fn body(submission: &Submission) -> Result<Map<String, Value>, Failure> {
    let mut body = submission.request.params.clone();
    for input in &submission.request.inputs {
        let urls = input.media.iter().map(|media| submission.data(media).map(url));
        let mut urls = urls.collect::<Result<Vec<_>, _>>()?;
        let value = match (input.list, urls.len()) {
            (_, 0) => continue,
            (true, _) => Value::Array(urls),
            (false, 1) => urls.remove(0),
            (false, count) => {
                let message = format!("`{}` takes one medium, and there are {count}", input.to);
                return Err(Failure::new(ErrorName::Internal, message));
            }
        };
        if body.insert(input.to.clone(), value).is_some() {
            let message = format!("`{}` is both a param and a medium", input.to);
            return Err(Failure::new(ErrorName::Internal, message));
        }
    }
    Ok(body)
}

/// fal takes a `data:` URI wherever it takes a URL; it is meant for small files (fal docs, fal CDN).
fn url(data: &InputData) -> Value {
    Value::String(match data {
        InputData::Url(url) => url.clone(),
        InputData::Bytes { content_type, bytes } => format!("data:{content_type};base64,{}", STANDARD.encode(bytes)),
    })
}

/// The relation of a field of an entry to the media that were submitted in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobMatch {
    /// It points to the same objects in the same order.
    Yes,
    /// It points elsewhere.
    No,
    /// It is not of the form in which it was submitted, so it may have been any.
    Unreadable,
}

/// Compares by the objects' keys: the path of each URL ends with one, whatever the host, the signature and its time are.
pub(super) fn compare(input: &FieldMedia<Media>, value: &Value) -> JobMatch {
    let values = match (input.list, value) {
        (true, Value::Array(values)) => values.as_slice(),
        (false, Value::String(_)) => std::slice::from_ref(value),
        _ => return JobMatch::Unreadable,
    };
    if values.len() != input.media.len() {
        return JobMatch::No;
    }
    let mut alike = JobMatch::Yes;
    for (value, media) in values.iter().zip(&input.media) {
        match value.as_str().and_then(path) {
            Some(path) if ends_with(&path, &media.key) => {}
            Some(_) => return JobMatch::No,
            None => alike = JobMatch::Unreadable,
        }
    }
    alike
}

/// The path of an http URL as it was before it was escaped.
fn path(text: &str) -> Option<Vec<u8>> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let mut decoded = Vec::new();
    let mut rest = url.path().as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| Some((hex_digit(after.first()?)? << 4) | hex_digit(after.get(1)?)?));
        match escaped.flatten() {
            Some(byte) => {
                decoded.push(byte);
                rest = &after[2..];
            }
            None => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    Some(decoded)
}

fn hex_digit(byte: &u8) -> Option<u8> {
    u8::try_from(char::from(*byte).to_digit(16)?).ok()
}

fn ends_with(path: &[u8], key: &str) -> bool {
    !key.is_empty() && path.strip_suffix(key.as_bytes()).is_some_and(|before| before.ends_with(b"/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::submission::tests::field;

    fn image(keys: &[&str], list: bool) -> FieldMedia<Media> {
        field("image", list, keys)
    }

    #[test]
    fn an_object_is_known_by_its_key_however_it_was_signed() {
        let key = "inputs/a b/ü+%.png";
        for url in [
            "https://bucket.s3.eu-west-1.amazonaws.com/inputs/a%20b/%C3%BC%2B%25.png?X-Amz-Signature=1",
            "https://s3.eu-west-1.amazonaws.com/bucket/inputs/a%20b/%c3%bc%2b%25.png?X-Amz-Signature=2&X-Amz-Date=3#x",
            "http://127.0.0.1:9000/bucket/inputs/a b/ü+%25.png",
        ] {
            assert_eq!(compare(&image(&[key], false), &json!(url)), JobMatch::Yes, "{url}");
            assert_eq!(compare(&image(&[key], true), &json!([url])), JobMatch::Yes, "{url}");
        }
        for url in [
            "https://bucket.example/other.png",
            "https://bucket.example/x?inputs/a%20b/%C3%BC%2B%25.png",
            "https://bucket.example/xinputs/a%20b/%C3%BC%2B%25.png",
            "https://bucket.example/inputs/a%20b/%C3%BC%2B%25.png/more",
            "https://bucket.example/inputs/a%20b/%C3%BC%2B%25.png%",
        ] {
            assert_eq!(compare(&image(&[key], false), &json!(url)), JobMatch::No, "{url}");
        }
        assert_eq!(compare(&image(&[""], false), &json!("https://bucket.example/")), JobMatch::No);
    }

    #[test]
    fn lists_are_compared_in_order() {
        let (a, b) = ("https://x.example/in/a.png?s=1", "https://x.example/in/b.png?s=1");
        let input = image(&["in/a.png", "in/b.png"], true);
        for (value, alike) in [
            (json!([a, b]), JobMatch::Yes),
            (json!([b, a]), JobMatch::No),
            (json!([a]), JobMatch::No),
            (json!([a, b, b]), JobMatch::No),
            (json!([]), JobMatch::No),
            (json!(a), JobMatch::Unreadable),
            (json!(null), JobMatch::Unreadable),
            (json!([a, null]), JobMatch::Unreadable),
            (json!([a, "data:image/png;base64,AAAA"]), JobMatch::Unreadable),
            // What is surely another object decides.
            (json!([null, a]), JobMatch::No),
        ] {
            assert_eq!(compare(&input, &value), alike, "{value}");
        }
        assert_eq!(compare(&image(&["in/a.png"], false), &json!([a])), JobMatch::Unreadable);
        assert_eq!(compare(&image(&["in/a.png"], false), &json!("not a url")), JobMatch::Unreadable);
    }
}
