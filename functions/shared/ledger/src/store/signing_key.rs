//! The key that the stack signs its own links with.

use super::items::{text, version};
use super::{Store, keys};
use crate::table::{Table, Update, text_of};
use crate::traits::{SigningKeys, StoreError};

/// The attribute of the key.
const SECRET: &str = "secret";

impl<T: Table> SigningKeys for Store<T> {
    async fn signing_key(&self, fresh: &str) -> Result<String, StoreError> {
        let item = self.table.get(&keys::signing_key()).await?;
        if let Some(secret) = item.as_ref().and_then(|item| text_of(item, SECRET)) {
            return Ok(secret.to_owned());
        }
        // Of two first callers, one writes.
        let update = Update::new().set("v", version()).set_if_missing(SECRET, text(fresh));
        let item = self.table.update(&keys::signing_key(), &update).await?.ok();
        let secret = item.as_ref().and_then(|item| text_of(item, SECRET)).map(str::to_owned);
        secret.ok_or_else(|| StoreError::ledger("DynamoDB UpdateItem: an answer without the item"))
    }
}
