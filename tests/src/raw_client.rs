//! An HTTP client of the API without this project's own client library, as other software uses the API.

use fresco_pipeline::ids::RunId;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::World;

/// A plain HTTP client of a stack's API.
pub struct RawClient {
    pub base: String,
    /// For requests to the API: the emulator requires a signature and does not verify it.
    signed: Client,
    /// For presigned links, and for the link of a run's page.
    pub plain: Client,
}

impl RawClient {
    /// Returns a client of this stack's API.
    pub fn new(world: &World) -> Self {
        let signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/execute-api/aws4_request, SignedHeaders=host, Signature=x";
        let headers = HeaderMap::from_iter([(AUTHORIZATION, signed.parse().expect("a header"))]);
        let client = |headers| Client::builder().no_proxy().default_headers(headers).build().expect("an HTTP client");
        RawClient { base: world.api.base().to_owned(), signed: client(headers), plain: client(HeaderMap::new()) }
    }

    /// Sends a request, and returns the status and the body as JSON, or as text if it is not JSON.
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

    /// Sends a `GET`.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, path, None, None).await
    }

    /// Sends a `POST /runs`.
    pub async fn start(&self, key: Option<&str>, body: &Value) -> (StatusCode, Value) {
        self.ask(Method::POST, "/runs", key, Some(body)).await
    }

    /// Uploads bytes to the URL of an upload view, and returns the storage's status.
    pub async fn put(&self, upload: &Value, bytes: &[u8]) -> StatusCode {
        let mut put = self.plain.put(upload["url"].as_str().expect("a URL")).body(bytes.to_vec());
        let headers = upload["headers"].as_object().into_iter().flatten();
        for (name, value) in headers.filter(|(name, _)| *name != "content-length") {
            put = put.header(name, value.as_str().expect("a header"));
        }
        put.send().await.expect("an answer").status()
    }

    /// Parses the run id of a response.
    pub fn id_of(answer: &Value) -> RunId {
        let id = answer["id"].as_str().unwrap_or_else(|| panic!("an id: {answer}"));
        RunId::parse(id).expect("an id")
    }

    /// Returns a document with one picture of this prompt.
    pub fn picture(prompt: &str) -> String {
        format!(
            "name: one\nsteps:\n- {{ name: image, type: text_to_image, model: flux_schnell, params: {{ prompt: \"{prompt}\" }} }}\n"
        )
    }
}
