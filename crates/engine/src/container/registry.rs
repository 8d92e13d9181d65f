//! All containers by id and name; resolves what a client wrote.

use super::Container;
use gantry_model::{Error, Id, Result};
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock};

#[derive(Debug, Default)]
struct Maps {
    /// Ordered, so that a prefix is a range.
    by_id: BTreeMap<Id, Arc<Container>>,
    by_name: HashMap<String, Id>,
}

impl Maps {
    /// The container that another one knows by `alias`.
    fn linked(&self, parent: &str, alias: &str) -> Option<Arc<Container>> {
        let parent = self.by_id.get(self.by_name.get(parent)?)?;
        let target = parent.read().links.iter().find(|link| link.alias == alias)?.target;
        self.by_id.get(&target).cloned()
    }
}

/// The index of containers.
#[derive(Debug, Default)]
pub struct Registry(RwLock<Maps>);

impl Registry {
    /// Reserves `name` for `id`; the conflict message is Docker's.
    pub fn reserve_name(&self, name: &str, id: Id) -> Result<()> {
        let mut maps = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match maps.by_name.get(name) {
            Some(owner) if *owner != id => Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". \
                 You have to remove (or rename) that container to be able to reuse that name."
            ))),
            _ => {
                maps.by_name.insert(name.to_owned(), id);
                Ok(())
            }
        }
    }

    /// Gives a name back if `id` holds it.
    pub fn release_name(&self, name: &str, id: Id) {
        let mut maps = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if maps.by_name.get(name) == Some(&id) {
            maps.by_name.remove(name);
        }
    }

    /// Adds a container whose name is reserved.
    pub fn insert(&self, container: Arc<Container>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).by_id.insert(container.id, container);
    }

    /// Removes a container and its name.
    pub fn remove(&self, id: Id) {
        let mut maps = self.0.write().unwrap_or_else(PoisonError::into_inner);
        maps.by_id.remove(&id);
        maps.by_name.retain(|_, owner| *owner != id);
    }

    /// Every container, in the order of ids.
    pub fn all(&self) -> Vec<Arc<Container>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.values().cloned().collect()
    }

    /// The container with exactly this id.
    pub fn get(&self, id: &Id) -> Option<Arc<Container>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    /// Full id, then name (with or without its slash), then a unique prefix of an id: Docker's order.
    pub fn resolve(&self, text: &str) -> Result<Arc<Container>> {
        let maps = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = text.parse().ok().and_then(|id: Id| maps.by_id.get(&id)) {
            return Ok(found.clone());
        }
        let name = text.strip_prefix('/').unwrap_or(text);
        if let Some(found) = maps.by_name.get(name).and_then(|id| maps.by_id.get(id)) {
            return Ok(found.clone());
        }
        if let Some(found) = name.split_once('/').and_then(|(parent, alias)| maps.linked(parent, alias)) {
            return Ok(found);
        }
        let mut matches = prefix_range(&maps.by_id, text);
        match (matches.next(), matches.next()) {
            (Some(found), None) => Ok(found.clone()),
            (Some(_), Some(_)) => Err(Error::invalid(format!("Multiple IDs found with provided prefix: {text}"))),
            _ => Err(Error::not_found(format!("No such container: {text}"))),
        }
    }
}

/// The containers whose id starts with the hex digits `prefix`.
fn prefix_range<'m>(map: &'m BTreeMap<Id, Arc<Container>>, prefix: &str) -> impl Iterator<Item = &'m Arc<Container>> {
    let valid =
        !prefix.is_empty() && prefix.len() <= 64 && prefix.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let low = format!("{prefix:0<64}").parse().ok().filter(|_| valid);
    let high = format!("{prefix:f<64}").parse().ok().filter(|_| valid);
    let bounds: Option<(Bound<Id>, Bound<Id>)> = low.zip(high).map(|(l, h)| (Bound::Included(l), Bound::Included(h)));
    bounds.into_iter().flat_map(|b| map.range(b)).map(|(_, c)| c)
}
