//! The API as a stranger asks it, without this project's client.

use fresco_pipeline::ids::RunId;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::World;

/// Whoever asks.
pub struct Asking {
    /// The API's address.
    pub base: String,
    /// For requests to the API: the emulator looks whether one is signed, and not by recipients.
    signed: Client,
    /// For links, which need no signature: those that are handed out, and the page's.
    pub plain: Client,
}

impl Asking {
    /// Of this stack.
    pub fn new(world: &World) -> Self {
        let signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/execute-api/aws4_request, SignedHeaders=host, Signature=x";
        let headers = HeaderMap::from_iter([(AUTHORIZATION, signed.parse().expect("a header"))]);
        let client = |headers| Client::builder().no_proxy().default_headers(headers).build().expect("an HTTP client");
        Asking { base: world.api.base().to_owned(), signed: client(headers), plain: client(HeaderMap::new()) }
    }

    /// The answer's status and JSON, or its text where it is none.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.signed.request(method, format!("{}{path}", self.base));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, path, None, None).await
    }

    /// `POST /runs`.
    pub async fn start(&self, key: Option<&str>, body: &Value) -> (StatusCode, Value) {
        self.ask(Method::POST, "/runs", key, Some(body)).await
    }

    /// Puts this where an answer says; the storage's answer.
    pub async fn put(&self, upload: &Value, bytes: &[u8]) -> StatusCode {
        let mut put = self.plain.put(upload["url"].as_str().expect("a URL")).body(bytes.to_vec());
        let headers = upload["headers"].as_object().into_iter().flatten();
        for (name, value) in headers.filter(|(name, _)| *name != "content-length") {
            put = put.header(name, value.as_str().expect("a header"));
        }
        put.send().await.expect("an answer").status()
    }

    /// The run that an answer names.
    pub fn id_of(answer: &Value) -> RunId {
        let id = answer["id"].as_str().unwrap_or_else(|| panic!("an id: {answer}"));
        RunId::parse(id).expect("an id")
    }

    /// One picture of this prompt.
    pub fn picture(prompt: &str) -> String {
        format!(
            "name: one\nsteps:\n- {{ name: image, type: text_to_image, model: flux_schnell, params: {{ prompt: \"{prompt}\" }} }}\n"
        )
    }
}
