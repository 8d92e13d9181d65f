//! `VolumeDriver`.

use crate::error::{PluginError, Result};
use crate::registry::{Patience, Plugin};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A plugin that makes volumes.
#[derive(Debug, Clone)]
pub struct VolumeDriver(pub Plugin);

/// A volume as its driver knows it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PluginVolume {
    /// Its name.
    #[serde(rename = "Name", alias = "name")]
    pub name: String,
    /// Where it is mounted, or would be; may be empty.
    #[serde(rename = "Mountpoint", alias = "mountpoint", deserialize_with = "or_default")]
    pub mountpoint: String,
    /// RFC 3339, if the driver tells.
    #[serde(rename = "CreatedAt", alias = "createdAt", deserialize_with = "or_default")]
    pub created_at: String,
    /// Whatever the driver wants to be shown.
    #[serde(rename = "Status", alias = "status")]
    pub status: Option<BTreeMap<String, serde_json::Value>>,
}

fn or_default<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Serialize)]
struct Named<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
}

#[derive(Serialize)]
struct Created<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "Opts")]
    options: Option<&'a BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct Used<'a> {
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "ID")]
    id: &'a str,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Deserialize)]
struct Mounted {
    #[serde(rename = "Mountpoint", alias = "mountpoint", default)]
    mountpoint: Option<String>,
}

#[derive(Deserialize)]
struct One {
    #[serde(rename = "Volume", alias = "volume", default)]
    volume: Option<PluginVolume>,
}

#[derive(Deserialize)]
struct Many {
    #[serde(rename = "Volumes", alias = "volumes", default)]
    volumes: Option<Vec<PluginVolume>>,
}

#[derive(Deserialize)]
struct Capable {
    #[serde(rename = "Capabilities", default)]
    capabilities: Option<Capabilities>,
}

#[derive(Deserialize)]
struct Capabilities {
    #[serde(rename = "Scope", default)]
    scope: Option<String>,
}

impl VolumeDriver {
    /// Makes a volume.
    pub async fn create(&self, name: &str, options: Option<&BTreeMap<String, String>>) -> Result<()> {
        self.0.act("Create", &Created { name, options }).await.map(|Nothing {}| ())
    }

    /// Removes one.
    pub async fn remove(&self, name: &str) -> Result<()> {
        self.0.act("Remove", &Named { name }).await.map(|Nothing {}| ())
    }

    /// Mounts it for the user `id`: where it is then.
    pub async fn mount(&self, name: &str, id: &str) -> Result<String> {
        let mounted: Mounted = self.0.act("Mount", &Used { name, id }).await?;
        absolute("Mount", mounted.mountpoint)
    }

    /// The user `id` is done with it.
    pub async fn unmount(&self, name: &str, id: &str) -> Result<()> {
        self.0.act("Unmount", &Used { name, id }).await.map(|Nothing {}| ())
    }

    /// Where it is mounted; empty if it is not.
    pub async fn path(&self, name: &str, patience: Patience) -> Result<String> {
        let mounted: Mounted = self.0.look("Path", &Named { name }, patience).await?;
        Ok(mounted.mountpoint.unwrap_or_default())
    }

    /// The volume `name`, or `None` when the driver knows none.
    pub async fn get(&self, name: &str, patience: Patience) -> Result<Option<PluginVolume>> {
        let found: Result<One> = self.0.look("Get", &Named { name }, patience).await;
        match found {
            // There is no word for "not there": any refusal means it, as in Docker.
            Err(e) if !e.is_communication() => Ok(None),
            other => Ok(other?.volume.filter(|volume| !volume.name.is_empty())),
        }
    }

    /// Every volume the driver knows.
    pub async fn list(&self, patience: Patience) -> Result<Vec<PluginVolume>> {
        let found: Many = self.0.look("List", &serde_json::json!({}), patience).await?;
        Ok(found.volumes.unwrap_or_default().into_iter().filter(|volume| !volume.name.is_empty()).collect())
    }

    /// `local` or `global`; what does not say is local.
    pub async fn scope(&self, patience: Patience) -> String {
        let found: Result<Capable> = self.0.look("Capabilities", &serde_json::json!({}), patience).await;
        let scope = found.ok().and_then(|found| found.capabilities?.scope).unwrap_or_default().to_ascii_lowercase();
        if scope == "global" { scope } else { "local".to_owned() }
    }
}

/// What is mounted into a container must be a place on this machine.
fn absolute(method: &str, mountpoint: Option<String>) -> Result<String> {
    let mountpoint = mountpoint.unwrap_or_default();
    if mountpoint.starts_with('/') && !mountpoint.contains('\0') {
        return Ok(mountpoint);
    }
    let method = format!("VolumeDriver.{method}");
    Err(PluginError::Answer { method, reason: format!("the mount point is no absolute path: {mountpoint:?}") })
}
