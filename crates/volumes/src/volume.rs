//! One volume, as it is kept.

use crate::options::DriverMount;
use gantry_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A volume's row in the state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name; 64 hex digits for one that nobody named.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// As the client gave them; `None` and empty are shown differently.
    pub labels: Option<BTreeMap<String, String>>,
    /// The driver's options, likewise.
    pub options: Option<BTreeMap<String, String>>,
    /// Made for a container without a name: goes with the container on `v=1`, and with a prune.
    pub anonymous: bool,
}

impl Volume {
    /// What the options ask to be mounted in place of the directory.
    pub fn driver_mount(&self) -> Option<DriverMount> {
        self.options.as_ref().and_then(DriverMount::parse)
    }
}
