//! SIGHUP: what may change while the daemon runs.

use crate::Engine;
use crate::config::Reloadable;
use crate::info::RUNTIME;
use std::collections::BTreeMap;
use std::sync::PoisonError;

impl Engine {
    /// Takes over new settings. Transfers that run keep theirs.
    pub fn reload(&self, settings: Reloadable) {
        let attributes = self.reload_attributes(&settings);
        self.registry.reconfigure(settings.registry.client());
        self.transfers.reconfigure(&settings.registry);
        *self.reloadable.write().unwrap_or_else(PoisonError::into_inner) = settings;
        self.daemon_event("reload", attributes);
    }

    /// What SIGHUP may change, as it is now.
    pub(crate) fn reloadable(&self) -> Reloadable {
        self.reloadable.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The event tells every setting that dockerd reloads, changed or not.
    fn reload_attributes(&self, settings: &Reloadable) -> BTreeMap<String, String> {
        let Reloadable { labels, debug, registry } = settings;
        let list = |values: &[String]| serde_json::json!(values).to_string();
        let pairs = [
            ("allow-nondistributable-artifacts", list(&[])),
            ("debug", debug.to_string()),
            ("default-cgroupns-mode", self.config.default_cgroupns_mode.clone().unwrap_or_default()),
            ("default-ipc-mode", self.config.default_ipc_mode.clone()),
            ("default-runtime", RUNTIME.to_owned()),
            ("default-shm-size", self.config.shm_size.to_string()),
            ("features", "map[]".to_owned()),
            ("insecure-registries", list(&registry.insecure)),
            ("labels", list(labels)),
            ("live-restore", "true".to_owned()),
            ("max-concurrent-downloads", registry.max_concurrent_downloads.to_string()),
            ("max-concurrent-uploads", registry.max_concurrent_uploads.to_string()),
            ("max-download-attempts", registry.max_download_attempts.to_string()),
            ("registry-mirrors", list(&registry.mirrors)),
            ("runtimes", format!("{RUNTIME}:built-in")),
            ("shutdown-timeout", self.config.shutdown_timeout.to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
