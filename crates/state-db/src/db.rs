//! The handle: opening, reading, and handing batches to the writer.

use crate::{Batch, DbError, Migration, Result, Table, batch::Raw, migrate, writer::Writer};
use redb::{Database, ReadableDatabase, ReadableTable};
use serde::de::DeserializeOwned;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, mpsc},
};

/// Bytes that redb may keep of the file. Tables are read once at start and kept by their owners, so more would only
/// add to the memory of an idle daemon.
const CACHE: usize = 1 << 20;

/// An open state file. Clones share it; the file is closed with the last of them.
#[derive(Debug, Clone)]
pub struct Db {
    writer: Arc<Writer>,
    file: Arc<StateFile>,
}

impl Db {
    /// Opens or creates the file at `path`, at schema version 1.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, &[])
    }

    /// Opens or creates the file at `path` and runs the migrations it has not seen yet.
    pub fn open_with(path: &Path, migrations: &[Migration]) -> Result<Self> {
        let file = Arc::new(StateFile { path: path.to_owned(), redb: RwLock::new(None) });
        file.with(|redb| file.migrate(redb, migrations))?;
        Ok(Self { writer: Arc::new(Writer::start(file.clone())?), file })
    }

    /// Every entry of a table, in the order of the keys.
    pub fn load<T: DeserializeOwned>(&self, table: Table<T>) -> Result<Vec<(String, T)>> {
        self.file.with(|redb| {
            let mut entries = Vec::new();
            self.file.read(redb, table, |rows| {
                for row in rows.iter()? {
                    let (key, value) = row?;
                    entries.push((key.value().to_owned(), self.file.decode(table, key.value(), value.value())));
                }
                Ok(())
            })?;
            entries.into_iter().map(|(key, value)| Ok((key, value?))).collect()
        })
    }

    /// The value under `key`.
    pub fn get<T: DeserializeOwned>(&self, table: Table<T>, key: &str) -> Result<Option<T>> {
        self.file.with(|redb| {
            let mut found = None;
            self.file.read(redb, table, |rows| {
                found = rows.get(key)?.map(|value| self.file.decode(table, key, value.value()));
                Ok(())
            })?;
            found.transpose()
        })
    }

    /// Stores a batch and returns when it is durable. Batches of several threads share one fsync.
    pub fn commit(&self, batch: Batch) -> Result<()> {
        let (tell, told) = mpsc::sync_channel(1);
        // The receiver waits below, so the send cannot fail.
        self.submit(batch, move |result| drop(tell.send(result)));
        told.recv().unwrap_or_else(|_| Err(self.file.io("the writer has stopped")))
    }

    /// Like [`Db::commit`] without waiting: `done` is called on the writer's thread and must be short.
    pub fn submit(&self, batch: Batch, done: impl FnOnce(Result<()>) + Send + 'static) {
        self.writer.submit(batch, Box::new(done), &self.file);
    }
}

/// The file behind the handles. `None` until the first use and after a failed write: redb refuses everything after an
/// I/O error until the file is opened anew, and a disk that was full for a moment must not need a daemon restart.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    redb: RwLock<Option<Database>>,
}

impl StateFile {
    /// Runs `act` on the open database, opening it first where needed.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        let open = self.redb.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(redb) = &*open {
            return act(redb);
        }
        drop(open);
        let mut slot = self.redb.write().unwrap_or_else(PoisonError::into_inner);
        let redb = match slot.take() {
            Some(redb) => redb,
            None => self.open()?,
        };
        act(slot.insert(redb))
    }

    /// Forgets the open database after a failure; the next use opens it again and so rolls back what was half-done.
    pub(crate) fn reset(&self) {
        *self.redb.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn open(&self) -> Result<Database> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE);
        // redb asserts on some kinds of damage where it could return an error.
        match catch_unwind(AssertUnwindSafe(|| builder.create(&self.path))) {
            Ok(opened) => opened.map_err(|e| DbError::from_redb(&self.path, &e.into())),
            Err(_) => {
                Err(DbError::Corrupt { path: self.path.clone(), reason: "its pages do not hold together".into() })
            }
        }
    }

    fn migrate(&self, redb: &Database, migrations: &[Migration]) -> Result<()> {
        let redb_error = |e: redb::Error| DbError::from_redb(&self.path, &e);
        let transaction = redb.begin_write().map_err(|e| redb_error(e.into()))?;
        let known = migrate::newest(migrations);
        let found = migrate::version(&transaction).map_err(redb_error)?;
        match found {
            Some(found) if found == known => return transaction.abort().map_err(|e| redb_error(e.into())),
            Some(found) if found > known => return Err(DbError::TooNew { path: self.path.clone(), found, known }),
            Some(found) => migrate::run(&transaction, found, migrations)?,
            None => migrate::run(&transaction, known, migrations)?,
        }
        transaction.commit().map_err(|e| redb_error(e.into()))
    }

    /// Runs `act` on a snapshot of a table; a table that nobody has written to yet is empty.
    fn read<T>(
        &self,
        redb: &Database,
        table: Table<T>,
        act: impl FnOnce(&redb::ReadOnlyTable<&'static str, &'static [u8]>) -> Result<(), redb::Error>,
    ) -> Result<()> {
        let snapshot = || -> Result<(), redb::Error> {
            match redb.begin_read()?.open_table(Raw::new(table.name())) {
                Ok(rows) => act(&rows),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(()),
                Err(e) => Err(e.into()),
            }
        };
        snapshot().map_err(|e| DbError::from_redb(&self.path, &e))
    }

    fn decode<T: DeserializeOwned>(&self, table: Table<T>, key: &str, json: &[u8]) -> Result<T> {
        serde_json::from_slice(json).map_err(|e| DbError::Decode {
            path: self.path.clone(),
            table: table.name().to_owned(),
            key: key.to_owned(),
            reason: e.to_string(),
        })
    }

    /// Stores several batches with one fsync.
    pub(crate) fn store(&self, batches: &[Batch]) -> Result<()> {
        self.with(|redb| {
            let store = || -> Result<(), redb::Error> {
                let transaction = redb.begin_write()?;
                for batch in batches {
                    batch.apply(&transaction)?;
                }
                Ok(transaction.commit()?)
            };
            store().map_err(|e| DbError::from_redb(&self.path, &e))
        })
        .inspect_err(|e| {
            tracing::warn!("{e}; the file is opened anew");
            self.reset();
        })
    }

    pub(crate) fn io(&self, reason: &str) -> DbError {
        DbError::Io { path: self.path.clone(), reason: reason.to_owned() }
    }
}
