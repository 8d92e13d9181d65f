//! The plugins that are known, by name.

use crate::address::Address;
use crate::client;
use crate::directories::Directories;
use crate::error::{PluginError, Result};
use crate::{ipam, network};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// What Docker gives calls that only look.
const SHORT: Duration = Duration::from_secs(60);
/// And those that do something.
pub(crate) const LONG: Duration = Duration::from_secs(120);
/// For lists, which ask everybody: one that is slow is left out.
const BRIEF: Duration = Duration::from_secs(10);

/// A subsystem that a plugin may implement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `VolumeDriver`.
    Volume,
    /// `NetworkDriver`.
    Network,
    /// `IpamDriver`.
    Ipam,
}

impl Kind {
    /// The protocol's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Volume => "VolumeDriver",
            Self::Network => "NetworkDriver",
            Self::Ipam => "IpamDriver",
        }
    }
}

/// How much trouble a call is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A client asked for this plugin: it may be starting just now, and may take its time.
    Long,
    /// Everybody is asked, or something is only shown.
    Brief,
}

/// Every plugin of the daemon. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Plugins(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    directories: Directories,
    /// Those that were found once; what a client invents is not kept.
    known: Mutex<HashMap<String, Arc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    address: Address,
    /// What it implements; filled by the first who asks, for whom the others wait.
    manifest: OnceCell<Vec<String>>,
    /// What it can do as a driver of addresses, and of networks; asked once, as Docker does.
    addresses: OnceCell<ipam::Capability>,
    networks: OnceCell<network::Capability>,
}

impl Entry {
    fn new(address: Address) -> Self {
        Self { address, manifest: OnceCell::new(), addresses: OnceCell::new(), networks: OnceCell::new() }
    }
}

/// A plugin that can be called.
#[derive(Debug, Clone)]
pub struct Plugin {
    name: String,
    kind: Kind,
    entry: Arc<Entry>,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(rename = "Implements", default)]
    implements: Option<Vec<String>>,
}

impl Plugins {
    /// Looks for them in `directories`, whenever somebody asks.
    pub fn new(directories: Directories) -> Self {
        Self(Arc::new(Shared { directories, known: Mutex::default() }))
    }

    /// The plugin `name`, if it implements `kind`.
    pub async fn get(&self, name: &str, kind: Kind, patience: Patience) -> Result<Plugin> {
        let entry = self.entry(name).await?;
        let manifest = entry.manifest.get_or_try_init(|| activate(&entry.address, patience)).await?;
        if !manifest.iter().any(|implemented| implemented == kind.as_str()) {
            return Err(PluginError::NotImplemented { name: name.to_owned(), kind: kind.as_str() });
        }
        Ok(Plugin { name: name.to_owned(), kind, entry: entry.clone() })
    }

    /// Every plugin of this kind that answers, by name.
    pub async fn all(&self, kind: Kind) -> BTreeMap<String, Plugin> {
        let shared = self.0.clone();
        let names = tokio::task::spawn_blocking(move || shared.directories.names()).await.unwrap_or_default();
        let asked = names.iter().map(|name| async move {
            let found = tokio::time::timeout(BRIEF, self.get(name, kind, Patience::Brief)).await;
            match found {
                Ok(Ok(plugin)) => return Some((name.clone(), plugin)),
                Ok(Err(PluginError::NotImplemented { .. })) => {}
                Ok(Err(e)) => tracing::warn!("plugin {name}: {e}"),
                Err(_) => tracing::warn!("plugin {name}: it does not answer"),
            }
            None
        });
        let mut all: BTreeMap<_, _> = join_all(asked).await.into_iter().flatten().collect();
        // Those that are away now but were here before are asked too, so that their absence is noticed.
        for name in self.known(kind) {
            if !all.contains_key(&name)
                && let Ok(plugin) = self.get(&name, kind, Patience::Brief).await
            {
                all.insert(name, plugin);
            }
        }
        all
    }

    /// The names of those that were of use, for `/info`.
    pub fn known(&self, kind: Kind) -> Vec<String> {
        let known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let implements = |entry: &Entry| entry.manifest.get().is_some_and(|m| m.iter().any(|k| k == kind.as_str()));
        let mut names: Vec<_> =
            known.iter().filter(|(_, entry)| implements(entry)).map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    /// One that has moved is activated anew; one that is gone is still the one that was known.
    async fn entry(&self, name: &str) -> Result<Arc<Entry>> {
        let (shared, owned) = (self.0.clone(), name.to_owned());
        let found = tokio::task::spawn_blocking(move || shared.directories.find(&owned)).await;
        let found = found.unwrap_or_else(|_| Err(PluginError::NotFound(name.to_owned())));
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(name).cloned();
        match (found, before) {
            (Ok(address), Some(before)) if before.address == address => Ok(before),
            (Ok(address), _) => {
                let entry = Arc::new(Entry::new(address));
                known.insert(name.to_owned(), entry.clone());
                Ok(entry)
            }
            (Err(PluginError::NotFound(_)), Some(before)) if before.manifest.initialized() => Ok(before),
            (Err(e), _) => {
                known.remove(name);
                Err(e)
            }
        }
    }
}

async fn activate(address: &Address, patience: Patience) -> Result<Vec<String>> {
    let manifest: Manifest =
        client::call(address, "Plugin.Activate", &serde_json::json!({}), limit(patience, SHORT), patience).await?;
    Ok(manifest.implements.unwrap_or_default())
}

fn limit(patience: Patience, limit: Duration) -> Duration {
    if patience == Patience::Brief { BRIEF } else { limit }
}

impl Plugin {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it can do as a driver of addresses, when somebody has asked.
    pub(crate) fn addresses(&self) -> &OnceCell<ipam::Capability> {
        &self.entry.addresses
    }

    /// The same as a driver of networks.
    pub(crate) fn networks(&self) -> &OnceCell<network::Capability> {
        &self.entry.networks
    }

    /// Calls a method that does something.
    pub(crate) async fn act<A: Serialize, R: DeserializeOwned>(&self, method: &str, arguments: &A) -> Result<R> {
        self.call(method, arguments, LONG, Patience::Long).await
    }

    /// Calls a method that only looks.
    pub(crate) async fn look<A: Serialize, R: DeserializeOwned>(
        &self,
        method: &str,
        arguments: &A,
        patience: Patience,
    ) -> Result<R> {
        self.call(method, arguments, limit(patience, SHORT), patience).await
    }

    async fn call<A: Serialize, R: DeserializeOwned>(
        &self,
        method: &str,
        arguments: &A,
        limit: Duration,
        patience: Patience,
    ) -> Result<R> {
        let method = format!("{}.{method}", self.kind.as_str());
        client::call(&self.entry.address, &method, arguments, limit, patience).await
    }
}
