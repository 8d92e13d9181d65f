//! One volume, as it is kept.

use crate::options::{DriverMount, VOLUME_DRIVER};
use gantry_model::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A volume's row in the state file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name; 64 hex digits for one that nobody named.
    pub name: String,
    /// `local`, or a plugin's name.
    #[serde(default = "local", skip_serializing_if = "is_local")]
    pub driver: String,
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
        self.options.as_ref().filter(|_| self.is_local()).and_then(DriverMount::parse)
    }

    /// Whether its data are here and not a plugin's business.
    pub fn is_local(&self) -> bool {
        is_local(&self.driver)
    }
}

fn local() -> String {
    VOLUME_DRIVER.to_owned()
}

fn is_local(driver: &str) -> bool {
    driver == VOLUME_DRIVER
}
