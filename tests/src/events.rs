//! What reaches a stack otherwise than through its API: objects in its inbox, and events.

use reqwest::Method;
use serde_json::{Value, json};

use crate::World;

impl World {
    /// Puts an object into the stack's bucket with metadata of its own, under any key.
    pub async fn put(&self, key: &str, bytes: Vec<u8>, metadata: &[(&str, &str)]) {
        let mut put = self.aws_request(Method::PUT, "s3", &self.place(key)).body(bytes);
        for (name, value) in metadata {
            put = put.header(format!("x-amz-meta-{name}"), *value);
        }
        let status = put.send().await.expect("an answer").status();
        assert!(status.is_success(), "{key}: {status}");
    }

    /// Removes an object of the stack's bucket, under any key.
    pub async fn remove(&self, key: &str) {
        let answer = self.aws_request(Method::DELETE, "s3", &self.place(key)).send().await;
        assert!(answer.expect("an answer").status().is_success(), "{key} is removed");
    }

    /// An object's entity tag.
    pub async fn tag_of(&self, key: &str) -> String {
        let answer = self.aws_request(Method::HEAD, "s3", &self.place(key)).send().await.expect("an answer");
        answer.headers()["etag"].to_str().expect("a tag").trim_matches('"').to_owned()
    }

    /// Puts an event on the account's bus.
    pub async fn put_event(&self, source: &str, kind: &str, detail: &Value) {
        let entry = json!({"Source": source, "DetailType": kind, "Detail": detail.to_string()});
        let answer = self.ask_json("events", "AWSEvents.PutEvents", &json!({"Entries": [entry]})).await;
        assert_eq!(answer["FailedEntryCount"], 0, "{answer}");
    }

    /// The next message of the queue of events that started nothing.
    pub async fn next_failure(&self) -> Value {
        let asked = json!({"QueueUrl": self.output("TriggerFailuresUrl"), "WaitTimeSeconds": 20});
        let answer = self.ask_json("sqs", "AmazonSQS.ReceiveMessage", &asked).await;
        let body = answer["Messages"][0]["Body"].as_str().unwrap_or_else(|| panic!("a message: {answer}"));
        serde_json::from_str(body).expect("JSON")
    }

    /// Calls the trigger function with an event: what it answers.
    pub async fn trigger(&self, event: &Value) -> Value {
        let path = format!("/2015-03-31/functions/{}/invocations", self.output("TriggerFunctionName"));
        let answer = self.aws_request(Method::POST, "lambda", &path).json(event).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    async fn ask_json(&self, service: &str, target: &str, body: &Value) -> Value {
        let request = self.aws_request(Method::POST, service, "/").header("x-amz-target", target);
        let request = request.header("content-type", "application/x-amz-json-1.0").body(body.to_string());
        request.send().await.expect("an answer").json().await.expect("JSON")
    }

    fn place(&self, key: &str) -> String {
        let encoded: String = key
            .bytes()
            .map(|byte| match byte {
                b'/' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect();
        format!("/{}/{encoded}", self.bucket())
    }
}
