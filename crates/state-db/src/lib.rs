//! Durable state: typed tables of JSON values in one redb file.
//!
//! Every change is a [`Batch`]: all of it or nothing survives a crash. [`Db::commit`] returns when the batch is on
//! disk; batches that arrive while an fsync runs share the next one. The file carries a schema version, and
//! [`Db::open_with`] brings older files up to date in one transaction.

mod batch;
mod db;
mod error;
mod migrate;
mod table;
mod writer;

pub use batch::Batch;
pub use db::Db;
pub use error::{DbError, Result};
pub use migrate::{Migration, Migrator};
pub use table::Table;
