//! The twin in memory passes the contract.

use fresco_ledger::contract::tokens::OpensTokens;
use fresco_ledger::memory::Memory;
use fresco_ledger::traits::{Delivery, Invoker, StoreError, TaskCallbacks};
use fresco_ledger::{objects_contract, table_contract, tokens_contract};
use fresco_pipeline::error::Failure;
use fresco_pipeline::ids::{Attempt, ContentKey};

async fn memory() -> Memory {
    Memory::new()
}

table_contract!(memory());
objects_contract!(memory());
tokens_contract!(async { Opened(Memory::new()) });

struct Opened(Memory);

impl TaskCallbacks for Opened {
    async fn succeed(&self, token: &str, output: &str) -> Result<Delivery, StoreError> {
        self.0.succeed(token, output).await
    }

    async fn fail(&self, token: &str, failure: &Failure) -> Result<Delivery, StoreError> {
        self.0.fail(token, failure).await
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
async fn what_was_told_and_handed_over_can_be_asked_for() {
    let memory = Memory::new();
    memory.open_token("one");
    memory.open_token("two");
    memory.close_token("two");
    assert!(memory.is_open("one") && !memory.is_open("two") && !memory.is_open("three"));
    assert_eq!(memory.succeed("one", "{}").await, Ok(Delivery::Delivered));
    assert_eq!(memory.succeed("two", "{}").await, Ok(Delivery::Expired));
    assert_eq!(memory.notifications(), [("one".to_owned(), Ok("{}".to_owned()))]);

    let key = ContentKey::digest(b"a");
    memory.collect(&key, Attempt(1)).await.unwrap();
    memory.collect(&key, Attempt(2)).await.unwrap();
    assert_eq!(memory.next_invocation(), Some((key.clone(), Attempt(1))));
    assert_eq!(memory.take_invocations(), [(key, Attempt(2))]);
    assert_eq!(memory.next_invocation(), None);
}
