//! Inputs of a stack besides its API: objects in its inbox, events, and schedules; and the events that it publishes.

use reqwest::Method;
use serde_json::{Value, json};

use crate::World;

impl World {
    /// Puts an object with metadata into the stack's bucket.
    pub async fn put(&self, key: &str, bytes: Vec<u8>, metadata: &[(&str, &str)]) {
        let mut put = self.aws_request(Method::PUT, "s3", &self.place(key)).body(bytes);
        for (name, value) in metadata {
            put = put.header(format!("x-amz-meta-{name}"), *value);
        }
        let status = put.send().await.expect("an answer").status();
        assert!(status.is_success(), "{key}: {status}");
    }

    /// Returns an object's entity tag.
    pub async fn tag_of(&self, key: &str) -> String {
        let answer = self.aws_request(Method::HEAD, "s3", &self.place(key)).send().await.expect("an answer");
        answer.headers()["etag"].to_str().expect("a tag").trim_matches('"').to_owned()
    }

    /// Publishes an event on the account's bus.
    pub async fn put_event(&self, source: &str, kind: &str, detail: &Value) {
        let entry = json!({"Source": source, "DetailType": kind, "Detail": detail.to_string()});
        let answer = self.ask_json("events", "AWSEvents.PutEvents", &json!({"Entries": [entry]})).await;
        assert_eq!(answer["FailedEntryCount"], 0, "{answer}");
    }

    /// Subscribes a queue to events by a rule, and returns the queue's URL.
    pub async fn listen(&self, source: &str, kind: &str) -> String {
        let made = self.ask_json("sqs", "AmazonSQS.CreateQueue", &json!({"QueueName": "listener"})).await;
        let queue = made["QueueUrl"].as_str().unwrap_or_else(|| panic!("a queue: {made}")).to_owned();
        let asked = json!({"QueueUrl": queue, "AttributeNames": ["QueueArn"]});
        let about = self.ask_json("sqs", "AmazonSQS.GetQueueAttributes", &asked).await;
        let arn = &about["Attributes"]["QueueArn"];
        let statement = json!({"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage", "Resource": arn});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let allowed = json!({"QueueUrl": queue, "Attributes": {"Policy": policy}});
        self.ask_json("sqs", "AmazonSQS.SetQueueAttributes", &allowed).await;
        let pattern = json!({"source": [source], "detail-type": [kind]}).to_string();
        self.ask_json("events", "AWSEvents.PutRule", &json!({"Name": "listener", "EventPattern": pattern})).await;
        let targets = json!([{"Id": "listener", "Arn": arn}]);
        let put =
            self.ask_json("events", "AWSEvents.PutTargets", &json!({"Rule": "listener", "Targets": targets})).await;
        assert_eq!(put["FailedEntryCount"], 0, "{put}");
        queue
    }

    /// Receives the next message of the dead-letter queue of the trigger function.
    pub async fn next_failure(&self) -> Value {
        self.next_message(&self.output("TriggerFailuresUrl")).await
    }

    /// Receives the next message of a queue and deletes it.
    pub async fn next_message(&self, queue: &str) -> Value {
        let asked = json!({"QueueUrl": queue, "WaitTimeSeconds": 20});
        let answer = self.ask_json("sqs", "AmazonSQS.ReceiveMessage", &asked).await;
        let message = &answer["Messages"][0];
        let body = message["Body"].as_str().unwrap_or_else(|| panic!("a message: {answer}"));
        let taken = json!({"QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"]});
        self.ask_json("sqs", "AmazonSQS.DeleteMessage", &taken).await;
        serde_json::from_str(body).expect("JSON")
    }

    /// Lists the timers of EventBridge Scheduler.
    pub async fn timers(&self) -> Vec<Value> {
        let group = self.output("ScheduleGroupName");
        let answer = self.scheduler_api(&format!("/schedules?ScheduleGroup={group}")).await;
        answer["Schedules"].as_array().cloned().unwrap_or_default()
    }

    /// Returns a listed timer with all its attributes.
    pub async fn timer(&self, listed: &Value) -> Value {
        let (name, group) = (listed["Name"].as_str().expect("a name"), self.output("ScheduleGroupName"));
        self.scheduler_api(&format!("/schedules/{name}?groupName={group}")).await
    }

    async fn scheduler_api(&self, path: &str) -> Value {
        let answer = self.aws_request(Method::GET, "scheduler", path).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// Invokes the trigger function with an event, and returns its response.
    pub async fn trigger(&self, event: &Value) -> Value {
        let path = format!("/2015-03-31/functions/{}/invocations", self.output("TriggerFunctionName"));
        let answer = self.aws_request(Method::POST, "lambda", &path).json(event).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    pub(crate) async fn ask_json(&self, service: &str, target: &str, body: &Value) -> Value {
        let request = self.aws_request(Method::POST, service, "/").header("x-amz-target", target);
        let request = request.header("content-type", "application/x-amz-json-1.0").body(body.to_string());
        let answer = request.send().await.expect("an answer");
        // Some operations have an empty response.
        serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or(Value::Null)
    }

    pub(crate) fn place(&self, key: &str) -> String {
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
