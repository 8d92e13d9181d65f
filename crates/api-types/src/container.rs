//! Containers: create, list, wait, top, changes, update, prune.

use crate::{
    config::ContainerConfig,
    go_json::{self, GoJsonError},
    host_config::{BlkioWeightDevice, DeviceMapping, DeviceRequest, HostConfig, RestartPolicy, ThrottleDevice, Ulimit},
    image::Descriptor,
    mount::MountPoint,
    network::{EndpointSettings, NetworkingConfig},
    serde_util::{is_empty, is_zero},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `POST /containers/create`: a [`ContainerConfig`] with two more keys beside its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerCreateRequest {
    /// The keys at the top level; `None` when the body is `null`.
    pub config: Option<ContainerConfig>,
    /// `HostConfig`.
    pub host_config: HostConfig,
    /// `NetworkingConfig`.
    pub networking_config: NetworkingConfig,
}

/// The two keys of a create request that are not in [`ContainerConfig`].
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "PascalCase", rename = "ContainerConfigWrapper")]
struct Extra {
    host_config: HostConfig,
    networking_config: NetworkingConfig,
}

impl ContainerCreateRequest {
    /// Reads the body with Go's rules.
    pub fn from_json(body: &[u8]) -> Result<Self, GoJsonError> {
        let document = go_json::parse(body)?;
        let config: Option<ContainerConfig> = document.decode()?;
        let extra: Option<Extra> = document.decode()?;
        let Extra { host_config, networking_config } = extra.unwrap_or_default();
        Ok(Self { config, host_config, networking_config })
    }
}

/// The answer to `POST /containers/create`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerCreateResponse {
    /// The new container's id.
    pub id: String,
    /// What was accepted although it has no or less effect here; never `null`.
    pub warnings: Vec<String>,
}

/// One entry of `GET /containers/json`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the fields are Docker's, described in the OpenAPI file")]
pub struct ContainerSummary {
    pub id: String,
    /// With a leading slash.
    pub names: Vec<String>,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_manifest_descriptor: Option<Descriptor>,
    pub command: String,
    /// Seconds since the epoch.
    pub created: i64,
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "is_zero")]
    pub size_rw: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub size_root_fs: i64,
    pub labels: BTreeMap<String, String>,
    pub state: String,
    pub status: String,
    pub host_config: SummaryHostConfig,
    pub network_settings: SummaryNetworkSettings,
    pub mounts: Vec<MountPoint>,
}

/// The part of the host configuration that the list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "two plain fields")]
pub struct SummaryHostConfig {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network_mode: String,
    #[serde(skip_serializing_if = "is_empty")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The part of the network settings that the list shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SummaryNetworkSettings {
    /// By network name.
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// An exposed or published port in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "four plain fields")]
pub struct Port {
    #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
    pub ip: String,
    pub private_port: u16,
    #[serde(skip_serializing_if = "is_zero")]
    pub public_port: u16,
    pub r#type: String,
}

/// The answer to `POST /containers/{id}/wait`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "two plain fields")]
pub struct ContainerWaitResponse {
    pub status_code: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<WaitExitError>,
}

/// Why waiting gave no proper status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "one plain field")]
pub struct WaitExitError {
    pub message: String,
}

/// The answer to `GET /containers/{id}/top`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerTopResponse {
    /// One row for each process, as long as `titles`.
    pub processes: Vec<Vec<String>>,
    /// The column names of `ps`.
    pub titles: Vec<String>,
}

/// A difference between a container's files and its image's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ChangeItem {
    /// Absolute, inside the container.
    pub path: String,
    /// 0 modified, 1 added, 2 deleted.
    pub kind: u8,
}

/// `POST /containers/{id}/update`: resources and the restart policy. Zero and `null` leave a value as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename(deserialize = "UpdateConfig"))]
#[expect(missing_docs, reason = "the fields are Docker's, described in the OpenAPI file")]
pub struct ContainerUpdateRequest {
    pub cpu_shares: i64,
    pub memory: i64,
    pub nano_cpus: i64,
    pub blkio_weight: u16,
    pub cpu_period: i64,
    pub cpu_quota: i64,
    pub cpu_realtime_period: i64,
    pub cpu_realtime_runtime: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    pub kernel_memory: i64,
    pub memory_reservation: i64,
    pub memory_swap: i64,
    pub memory_swappiness: Option<i64>,
    pub oom_kill_disable: Option<bool>,
    pub pids_limit: Option<i64>,
    pub cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: u64,
    // What an update never changes, also in Docker; but it must have the right type.
    pub cgroup_parent: String,
    pub blkio_weight_device: Option<Vec<BlkioWeightDevice>>,
    pub blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
    pub blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
    pub devices: Option<Vec<DeviceMapping>>,
    pub device_cgroup_rules: Option<Vec<String>>,
    pub device_requests: Option<Vec<DeviceRequest>>,
    #[serde(rename = "KernelMemoryTCP")]
    pub kernel_memory_tcp: i64,
    pub ulimits: Option<Vec<Ulimit>>,
    pub cpu_count: i64,
    pub restart_policy: RestartPolicy,
}

/// The answer to `POST /containers/{id}/update`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "one plain field")]
pub struct ContainerUpdateResponse {
    pub warnings: Option<Vec<String>>,
}

/// The answer to `POST /containers/prune`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ContainerPruneResponse {
    /// Ids; `null` when there were none.
    pub containers_deleted: Option<Vec<String>>,
    /// Bytes.
    pub space_reclaimed: u64,
}
