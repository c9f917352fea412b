//! Every fault, and its form on the wire.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../common/mod.rs"]
mod common;
mod control;
mod gemini;
mod media;
mod submit;
mod webhooks;
mod work;

use common::Fal;
use fresco_simulator::FaultRule;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const FLUX: &str = "fal-ai/flux/schnell";

impl Fal {
    /// Replaces the faults by one, given as JSON.
    fn fault(&self, rule: Value) {
        self.running.set_faults(vec![serde_json::from_value::<FaultRule>(rule).unwrap()]).unwrap();
    }

    fn hits(&self) -> u64 {
        self.running.faults().iter().map(|status| status.hits).sum()
    }

    /// Submits, and reads the whole answer.
    async fn ask(&self, endpoint: &str) -> Result<FullAnswer, reqwest::Error> {
        let url = format!("{}/{endpoint}", self.running.fal_queue_url());
        let body = json!({ "prompt": "a red fox" });
        let sent = self.http.post(url).header("authorization", self.authorization()).json(&body).send().await?;
        FullAnswer::read(sent).await
    }
}

/// A whole answer.
struct FullAnswer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl FullAnswer {
    async fn read(answer: reqwest::Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Ok(Self { status, headers, text: answer.text().await? })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// Sends a request and gives every byte that arrives until the connection ends.
async fn raw(fal: &Fal, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", fal.running.port())).await.unwrap();
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: simulator\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{text}connection: close\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A reset is an end, too; the bytes before it are kept.
    stream.read_to_end(&mut bytes).await.ok();
    bytes
}
