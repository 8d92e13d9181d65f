//! Schema versions: what an older file needs before this program can read it.

use crate::{DbError, Result, batch::Raw};
use redb::{ReadableTable, WriteTransaction};
use serde_json::Value;

const META: Raw = Raw::new("gantry.meta");
const SCHEMA: &str = "schema";

/// One step from a schema version to the next. The n-th of the list brings version n to n + 1.
pub type Migration = fn(&Migrator<'_>) -> Result<(), String>;

/// Access to the tables for a [`Migration`]; nothing is stored unless every step succeeds.
pub struct Migrator<'a> {
    transaction: &'a WriteTransaction,
}

impl Migrator<'_> {
    /// Replaces every value of a table by what `change` makes of it; `None` drops the entry.
    pub fn rewrite(
        &self,
        table: &'static str,
        mut change: impl FnMut(&str, Value) -> Result<Option<Value>, String>,
    ) -> Result<(), String> {
        let mut table = self.transaction.open_table(Raw::new(table)).map_err(|e| e.to_string())?;
        let mut entries = Vec::new();
        for entry in table.iter().map_err(|e| e.to_string())? {
            let (key, value) = entry.map_err(|e| e.to_string())?;
            let json = serde_json::from_slice(value.value()).map_err(|e| format!("{}: {e}", key.value()))?;
            entries.push((key.value().to_owned(), json));
        }
        for (key, old) in entries {
            match change(&key, old)? {
                Some(new) => {
                    let json = serde_json::to_vec(&new).map_err(|e| e.to_string())?;
                    table.insert(key.as_str(), json.as_slice()).map_err(|e| e.to_string())?;
                }
                None => drop(table.remove(key.as_str()).map_err(|e| e.to_string())?),
            }
        }
        Ok(())
    }

    /// Removes a table and everything in it.
    pub fn drop_table(&self, table: &'static str) -> Result<(), String> {
        self.transaction.delete_table(Raw::new(table)).map(drop).map_err(|e| e.to_string())
    }
}

/// The version that a list of migrations leads to; files begin at 1.
pub(crate) fn newest(migrations: &[Migration]) -> u32 {
    u32::try_from(migrations.len()).map_or(u32::MAX, |n| n.saturating_add(1))
}

/// The version a file has; `None` for a file without one, that is, a new one.
pub(crate) fn version(transaction: &WriteTransaction) -> Result<Option<u32>, redb::Error> {
    let table = transaction.open_table(META)?;
    let stored = table.get(SCHEMA)?;
    Ok(stored.map(|v| serde_json::from_slice(v.value()).unwrap_or(u32::MAX)))
}

/// Runs what is missing after version `from` and notes the new version.
pub(crate) fn run(transaction: &WriteTransaction, from: u32, migrations: &[Migration]) -> Result<()> {
    let migrator = Migrator { transaction };
    for (step, version) in migrations.iter().zip(2..).skip(from.saturating_sub(1) as usize) {
        step(&migrator).map_err(|reason| DbError::Migration { version, reason })?;
    }
    let newest = newest(migrations);
    let note = |e: redb::Error| DbError::Migration { version: newest, reason: e.to_string() };
    let mut table = transaction.open_table(META).map_err(|e| note(e.into()))?;
    table.insert(SCHEMA, newest.to_string().as_bytes()).map_err(|e| note(e.into()))?;
    Ok(())
}
