//! All networks, and how a client's word finds one.

use super::record::{NETWORKS, Network};
use crate::plan::network::Predefined;
use gantry_model::{Error, Id, Result, Timestamp};
use gantry_network::NetworkSpec;
use gantry_state_db::{Batch, Db};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The networks in memory.
#[derive(Debug)]
pub(crate) struct Networks {
    by_id: RwLock<BTreeMap<Id, Arc<Network>>>,
    /// The default bridge's id, which it has also when there is none.
    default_bridge: Id,
    /// Names of networks that are being made.
    pending: Mutex<HashSet<String>>,
    /// Held while a network is made or removed by somebody who must not see another one half made.
    pub(super) changes: tokio::sync::Mutex<()>,
}

impl Networks {
    /// Loads all; the predefined ones get their ids when the data-root is new. `bridge` says whether there is a
    /// default bridge.
    pub(crate) fn open(db: &Db, bridge: bool) -> Result<Self> {
        let mut all = BTreeMap::new();
        let mut identities: BTreeMap<String, (Id, Timestamp)> = BTreeMap::new();
        for (key, network) in db.load(NETWORKS)? {
            if Predefined::ALL.iter().any(|predefined| predefined.name() == key) {
                identities.insert(key, (network.id, network.created));
            } else {
                all.insert(network.id, Arc::new(network));
            }
        }
        let mut batch = Batch::new();
        let mut default_bridge = None;
        for predefined in Predefined::ALL {
            let network = if let Some((id, created)) = identities.get(predefined.name()) {
                Network::predefined(predefined, *id, *created)
            } else {
                let network = Network::predefined(predefined, Id::random(), Timestamp::now());
                batch = batch.put(NETWORKS, predefined.name(), &network)?;
                network
            };
            if predefined == Predefined::Bridge {
                default_bridge = Some(network.id);
            }
            // Without a bridge (`--bridge none`) there is no network `bridge`.
            if bridge || predefined != Predefined::Bridge {
                all.insert(network.id, Arc::new(network));
            }
        }
        if !batch.is_empty() {
            db.commit(batch)?;
        }
        let default_bridge = default_bridge.expect("it is one of the predefined ones");
        Ok(Self {
            by_id: RwLock::new(all),
            default_bridge,
            pending: Mutex::default(),
            changes: tokio::sync::Mutex::new(()),
        })
    }

    /// The id of the default bridge.
    pub(crate) fn default_bridge(&self) -> Id {
        self.default_bridge
    }

    /// What the network room has made of networks that clients have created.
    pub(crate) fn specs(&self) -> Vec<NetworkSpec> {
        self.all().iter().filter_map(|network| network.spec.clone()).collect()
    }

    /// All of them, the oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Network>> {
        let mut all: Vec<_> = self.by_id.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_by_key(|network| (network.created, network.id));
        all
    }

    /// By id.
    pub(crate) fn get(&self, id: &Id) -> Option<Arc<Network>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// By name.
    pub(crate) fn named(&self, name: &str) -> Option<Arc<Network>> {
        let all = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        all.values().find(|network| network.name == name).cloned()
    }

    /// By id, name, or an id's beginning, in this order.
    pub(crate) fn find(&self, text: &str) -> Result<Arc<Network>> {
        if let Some(found) = text.parse::<Id>().ok().and_then(|id| self.get(&id)).or_else(|| self.named(text)) {
            return Ok(found);
        }
        let all = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<_> =
            all.values().filter(|n| !text.is_empty() && n.id.to_string().starts_with(text)).cloned().collect();
        match found.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(Error::not_found(format!("network {text} not found"))),
            many => Err(Error::invalid(format!(
                "network {text} is ambiguous ({} matches found based on ID prefix)",
                many.len()
            ))),
        }
    }

    /// Takes a name for a network that is being made.
    pub(super) fn reserve(&self, name: &str) -> Result<NameGuard<'_>> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if self.named(name).is_some() || !pending.insert(name.to_owned()) {
            return Err(Error::conflict(format!("network with name {name} already exists")));
        }
        Ok(NameGuard { networks: self, name: name.to_owned() })
    }

    pub(super) fn insert(&self, network: Arc<Network>) {
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).insert(network.id, network);
    }

    pub(super) fn remove(&self, id: &Id) {
        self.by_id.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// A name that is taken until its network is there.
pub(super) struct NameGuard<'a> {
    networks: &'a Networks,
    name: String,
}

impl Drop for NameGuard<'_> {
    fn drop(&mut self) {
        self.networks.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
