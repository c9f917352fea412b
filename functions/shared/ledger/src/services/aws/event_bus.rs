//! Events on the account's default bus.

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;

use crate::sdk::describe;
use crate::traits::{EventPublisher, StoreError};

/// The source of the stack's events.
const SOURCE: &str = "fresco";

/// The account's default bus.
#[derive(Debug, Clone)]
pub struct EventBus {
    client: Client,
}

impl EventBus {
    pub fn new(client: Client) -> Self {
        EventBus { client }
    }
}

impl EventPublisher for EventBus {
    async fn publish(&self, kind: &str, detail: &str) -> Result<(), StoreError> {
        let event = PutEventsRequestEntry::builder().source(SOURCE).detail_type(kind).detail(detail).build();
        match self.client.put_events().entries(event).send().await {
            Ok(answer) if answer.failed_entry_count() == 0 => Ok(()),
            Ok(answer) => {
                let code = answer.entries().iter().find_map(|entry| entry.error_code()).unwrap_or("no reason");
                Err(StoreError::ledger(format!("EventBridge PutEvents: the event was not accepted: {code}")))
            }
            Err(error) => Err(StoreError::ledger(describe("EventBridge PutEvents", &error))),
        }
    }
}
