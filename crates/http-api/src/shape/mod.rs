//! What older versions of the API show, or take, differently. `shared/api` of the specification and
//! the reference engine's version checks are the source of each rule.

pub(crate) mod container;
pub(crate) mod create;
pub(crate) mod image;
pub(crate) mod network;
pub(crate) mod system;
pub(crate) mod volume;

use serde::{Serialize, Serializer};
use serde_json::Value;

/// An answer as it is, or in an older form.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Shaped<'a, T> {
    /// The engine's own form.
    AsIs(&'a T),
    /// Edited JSON.
    Edited(Value),
}

/// A list whose items are edited one after the other while they are written, so that the JSON tree
/// of a long list never exists as a whole.
pub(crate) struct Each<'a, T, F> {
    list: &'a [T],
    /// `None` leaves the items as they are.
    edit: Option<F>,
}

impl<T: Serialize, F: Fn(&mut Value)> Serialize for Each<'_, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(edit) = &self.edit else { return self.list.serialize(serializer) };
        serializer.collect_seq(self.list.iter().map(|item| edited(item, edit)))
    }
}

/// Edits the JSON of `value`.
fn edited<T: Serialize>(value: &T, edit: impl FnOnce(&mut Value)) -> Shaped<'_, T> {
    // Plain data with string keys always becomes JSON.
    let mut json = serde_json::to_value(value).unwrap_or(Value::Null);
    edit(&mut json);
    Shaped::Edited(json)
}

/// Removes keys of an object; other values stay as they are.
fn remove(value: &mut Value, keys: &[&str]) {
    if let Some(object) = value.as_object_mut() {
        for key in keys {
            object.remove(*key);
        }
    }
}

/// Sets a key of an object; other values stay as they are.
fn set(value: &mut Value, key: &str, new: impl Into<Value>) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), new.into());
    }
}

/// The items of an array, or nothing.
fn items(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_array_mut().into_iter().flatten()
}

/// The values of an object, or nothing.
fn members(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    value.as_object_mut().into_iter().flat_map(|object| object.values_mut())
}
