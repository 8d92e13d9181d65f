//! What the engine knows of a container and keeps on disk.

use crate::links::Link;
use crate::modules::Labels;
use crate::networks::members::Attached;
use gantry_api_types::{ContainerConfig, EndpointSettings, Health, HostConfig, MountPoint};
use gantry_model::{ContainerStatus, Id, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A container as it is persisted: one row, rewritten as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: Id,
    /// Its name, without the slash.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// The image's id (`sha256:…`).
    pub image: String,
    /// The image as the client named it.
    pub image_ref: String,
    /// `linux`.
    pub platform: String,
    /// The client's configuration with the image's merged in.
    pub config: ContainerConfig,
    /// The client's host configuration, defaults filled in as Docker does.
    pub host_config: HostConfig,
    /// The program: first word of entrypoint and command.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Binds, volumes and tmpfs, resolved at creation.
    pub mounts: Vec<MountPoint>,
    /// What was asked of the mounts that came by `VolumesFrom`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inherited: Vec<gantry_api_types::Mount>,
    /// Image layers, topmost first.
    pub layers: Vec<PathBuf>,
    /// What the client asked of its networks.
    pub networks: BTreeMap<String, EndpointSettings>,
    /// Names for other containers; `host_config.links` is empty instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// What SELinux keeps it apart by.
    #[serde(default)]
    pub(crate) labels: Labels,
    /// The state.
    pub state: State,
    /// Its places on networks while it lives. Not kept here: its run's file has them.
    #[serde(skip)]
    pub(crate) attached: Attached,
    /// It runs a step of a build and is nothing without it: a daemon that starts removes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub build: bool,
}

/// The part of a [`Record`] that changes as the container lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    /// The state machine's state.
    pub status: ContainerStatus,
    /// Pid of the init process, 0 when there is none.
    pub pid: u32,
    /// Its start time in clock ticks after boot, against recycled pids.
    pub pid_start_time: u64,
    /// Exit status of the last run.
    pub exit_code: i64,
    /// Why the last start failed.
    pub error: String,
    /// Whether the out-of-memory killer struck in the last run.
    pub oom_killed: bool,
    /// Start of the last run.
    pub started_at: Timestamp,
    /// End of the last run.
    pub finished_at: Timestamp,
    /// Starts by the restart policy since the client's last start.
    pub restart_count: u32,
    /// The client stopped it, so `unless-stopped` leaves it alone.
    pub manually_stopped: bool,
    /// What the health checks found; `None` without one and before the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

impl State {
    /// Of a container that was never started.
    pub const fn created() -> Self {
        Self {
            status: ContainerStatus::Created,
            pid: 0,
            pid_start_time: 0,
            exit_code: 0,
            error: String::new(),
            oom_killed: false,
            started_at: Timestamp::ZERO,
            finished_at: Timestamp::ZERO,
            restart_count: 0,
            manually_stopped: false,
            health: None,
        }
    }
}
