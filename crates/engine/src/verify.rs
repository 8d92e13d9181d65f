//! Looking at the images of a data-root that no daemon uses.

use crate::engine::STATE;
use gantry_image_store::ImageStore;
use gantry_model::{Error, Result};
use gantry_state_db::Db;
use std::path::Path;

pub use gantry_image_store::{Finding, Report as VerifyReport, Severity, Subject, VerifyOptions, VerifyStep};

/// Verifies every image below `data_root`. The caller holds the data-root's lock.
pub fn verify_images(
    data_root: &Path,
    options: VerifyOptions,
    progress: &mut dyn FnMut(VerifyStep),
) -> Result<VerifyReport> {
    let state = data_root.join(STATE);
    // Opening it would make it.
    if !state.is_file() {
        return Err(Error::not_found(format!("{} is no data-root: it has no {STATE}", data_root.display())));
    }
    let db = Db::open(&state)?;
    ImageStore::open_to_verify(data_root, db)?.verify(options, progress)
}
