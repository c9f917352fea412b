//! Which web pages may call the HTTP API. The emulator keeps what the template says under CloudFormation's names and reads it
//! under those of its API, so a start says it once more.

use serde_json::{Map, Value};

use super::error::Error;
use super::http;

/// Says it under the names that are read, where the API has it under others.
pub(super) fn apply(port: u16, api: &str) -> Result<(), Error> {
    let asked = "giving the API its CORS configuration";
    let failed = |message: String| Error::Aws { action: asked.to_owned(), message };
    let path = format!("/v2/apis/{api}");
    let ask = |method, body: &str| match http::send(port, method, &path, body) {
        Ok((200..300, answer)) => Ok(answer),
        Ok((status, answer)) => Err(failed(format!("{status}: {answer}"))),
        Err(error) => Err(failed(error.to_string())),
    };
    let found: Value = serde_json::from_str(&ask("GET", "")?).map_err(|error| failed(error.to_string()))?;
    let Some(renamed) = found.get("corsConfiguration").and_then(Value::as_object).and_then(renamed) else {
        return Ok(());
    };
    let body = serde_json::json!({ "corsConfiguration": renamed }).to_string();
    ask("PATCH", &body).map(drop)
}

/// The configuration with small first letters; `None` where it has them.
fn renamed(found: &Map<String, Value>) -> Option<Map<String, Value>> {
    let small = |name: &String| {
        let mut letters = name.chars();
        letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect::<String>()
    };
    let renamed: Map<String, Value> = found.iter().map(|(name, value)| (small(name), value.clone())).collect();
    (renamed != *found).then_some(renamed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_of_the_template_become_those_of_the_api() {
        let of = |value: Value| renamed(value.as_object().unwrap()).map(Value::Object);
        let template = json!({"AllowOrigins": ["https://a.test"], "MaxAge": 600});
        assert_eq!(of(template), Some(json!({"allowOrigins": ["https://a.test"], "maxAge": 600})));
        assert_eq!(of(json!({"allowOrigins": []})), None);
    }
}
