//! The ledger and the services in memory pass the contract.

use fresco_ledger::contract::tokens::OpensTokens;
use fresco_ledger::services::fake::FakeServices;
use fresco_ledger::store::MemoryLedger;
use fresco_ledger::traits::{Delivery, Invoker, StoreError, TaskCallbacks};
use fresco_ledger::{objects_contract, table_contract, tokens_contract};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};

async fn ledger() -> MemoryLedger {
    MemoryLedger::default()
}

async fn services() -> FakeServices {
    FakeServices::default()
}

table_contract!(ledger());
objects_contract!(services());
tokens_contract!(async { Opened(FakeServices::default()) });

struct Opened(FakeServices);

impl TaskCallbacks for Opened {
    async fn succeed(&self, token: &str, output: &str) -> Result<Delivery, StoreError> {
        self.0.succeed(token, output).await
    }

    async fn fail(&self, token: &str, failure: &Failure) -> Result<Delivery, StoreError> {
        self.0.fail(token, failure).await
    }

    async fn retry_in(&self, token: &str, seconds: u32, reason: &Failure) -> Result<Delivery, StoreError> {
        self.0.retry_in(token, seconds, reason).await
    }
}

impl OpensTokens for Opened {
    async fn open(&self) -> String {
        self.0.open_token("a token");
        "a token".to_owned()
    }

    async fn taken(&self) {}
}

#[tokio::test]
async fn deliveries_and_invocations_are_recorded() {
    let services = FakeServices::default();
    services.open_token("one");
    services.open_token("two");
    services.close_token("two");
    assert!(services.is_open("one") && !services.is_open("two") && !services.is_open("three"));
    assert_eq!(services.succeed("one", "{}").await, Ok(Delivery::Delivered));
    assert_eq!(services.succeed("two", "{}").await, Ok(Delivery::Expired));
    assert_eq!(services.notifications(), [("one".to_owned(), Ok("{}".to_owned()))]);

    let key = ContentKey::digest(b"a");
    services.collect(&key, Attempt(1)).await.unwrap();
    services.collect(&key, Attempt(2)).await.unwrap();
    assert_eq!(services.next_invocation(), Some((key.clone(), Attempt(1))));
    assert_eq!(services.take_invocations(), [(key, Attempt(2))]);
    assert_eq!(services.next_invocation(), None);
}
