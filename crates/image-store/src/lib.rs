//! Images: their blobs, layers, names and history, and the archives they come in and go out by.
//!
//! The store is blocking and crash-only. Files are made under temporary names and renamed when they are complete; an
//! image exists from the moment its record is durable in the database; whatever is on disk without a record is swept
//! at the next start.

mod arrival;
mod changes;
mod commit;
mod compression;
pub mod config;
mod damage;
pub mod extract;
mod facts;
mod files;
mod image;
mod import;
mod layout;
mod lease;
mod load;
mod manifest;
mod names;
pub mod pack;
mod partial;
mod pipeline;
mod records;
mod recover;
mod remove;
mod resolve;
mod save;
mod state;
mod store;
mod sync;
mod tag;
pub mod tar;
mod verify;

pub use arrival::{Arrival, Committed, ExtractFailure, Incoming, IncomingLayer, LayerLease, WantedLayer};
pub use commit::{CommitOptions, Top, apply_changes};
pub use compression::Compression;
pub use config::{HealthConfig, HistoryItem, ImageConfig, ImageDocument};
pub use damage::BlobReader;
pub use image::{Image, ImageId, ImageIndex, Layer};
pub use import::ImportOptions;
pub use load::Loaded;
pub use manifest::{ManifestBlob, StoredManifest};
pub use remove::{Deleted, InUse, RemoveOptions, Users};
pub use resolve::import_name;
pub use save::SavePlan;
pub use store::{ImageStore, Moved};
pub use tag::{HistoryEntry, Tagged};
pub use verify::{Finding, Report, Severity, Subject, VerifyOptions, VerifyStep};

/// What a long operation tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes of the request's body have arrived.
    Received {
        /// How many.
        bytes: u64,
    },
    /// A layer is being extracted.
    Layer {
        /// Its archive's digest, shortened.
        id: String,
        /// Bytes of the blob that are done.
        done: u64,
        /// Bytes of the blob.
        total: u64,
    },
    /// A name was taken from another image.
    Moved(Moved),
}
