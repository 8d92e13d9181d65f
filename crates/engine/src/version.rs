//! `GET /version`, and the versions the engine speaks of itself with.

use crate::{Engine, host};
use gantry_api_types::{SystemVersion, VersionComponent, system::VersionPlatform};
use std::collections::BTreeMap;

/// The engine's own version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The newest API it serves.
pub const API_VERSION: &str = "1.51";
/// The oldest API it serves.
pub const MIN_API_VERSION: &str = "1.24";

impl Engine {
    /// `--experimental`, which changes nothing but what clients hear of it: some offer more then.
    pub fn is_experimental(&self) -> bool {
        self.config.info.experimental
    }

    /// Versions of the engine, its API and its host.
    pub fn version(&self) -> SystemVersion {
        let info = &self.config.info;
        let kernel = host::kernel_release();
        let details = [
            ("ApiVersion", API_VERSION),
            ("Arch", host::go_arch()),
            ("BuildTime", info.build_time.as_str()),
            ("Experimental", if info.experimental { "true" } else { "false" }),
            ("GitCommit", info.git_commit.as_str()),
            ("KernelVersion", kernel.as_str()),
            ("MinAPIVersion", MIN_API_VERSION),
            ("Os", "linux"),
        ];
        let details: BTreeMap<_, _> = details.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        SystemVersion {
            platform: VersionPlatform { name: "Gantry".to_owned() },
            components: vec![VersionComponent { name: "Engine".to_owned(), version: VERSION.to_owned(), details }],
            version: VERSION.to_owned(),
            api_version: API_VERSION.to_owned(),
            min_api_version: MIN_API_VERSION.to_owned(),
            git_commit: info.git_commit.clone(),
            // Required by the specification; there is no Go in here.
            go_version: String::new(),
            os: "linux".to_owned(),
            arch: host::go_arch().to_owned(),
            kernel_version: kernel,
            experimental: info.experimental,
            build_time: info.build_time.clone(),
        }
    }
}
