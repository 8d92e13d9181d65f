//! A set of changes that becomes durable as one.

use crate::{DbError, Result, Table};
use redb::{TableDefinition, WriteTransaction};
use serde::Serialize;

/// How every table looks to redb: JSON text under a string key.
pub(crate) type Raw = TableDefinition<'static, &'static str, &'static [u8]>;

/// Changes that are applied together, in the order in which they were added.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
struct Change {
    table: &'static str,
    key: String,
    /// `None` deletes the key.
    value: Option<Vec<u8>>,
}

impl Batch {
    /// No changes yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `value` under `key`.
    pub fn put<T: Serialize>(mut self, table: Table<T>, key: &str, value: &T) -> Result<Self> {
        let json = serde_json::to_vec(value).map_err(|e| DbError::Encode {
            table: table.name(),
            key: key.to_owned(),
            reason: e.to_string(),
        })?;
        self.changes.push(Change { table: table.name(), key: key.to_owned(), value: Some(json) });
        Ok(self)
    }

    /// Removes `key`; a key that is not there is no error.
    #[must_use]
    pub fn delete<T>(mut self, table: Table<T>, key: &str) -> Self {
        self.changes.push(Change { table: table.name(), key: key.to_owned(), value: None });
        self
    }

    /// Adds the changes of `other` after these.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.changes.extend(other.changes);
        self
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Puts the changes into an open transaction.
    pub(crate) fn apply(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        for change in &self.changes {
            let mut table = transaction.open_table(Raw::new(change.table))?;
            match &change.value {
                Some(json) => drop(table.insert(change.key.as_str(), json.as_slice())?),
                None => drop(table.remove(change.key.as_str())?),
            }
        }
        Ok(())
    }
}
