//! The JSON of the Docker Engine API in its newest shape (v1.51): a file a resource, data only.
//!
//! Fields keep Docker's null, empty and omitted conventions: an `Option` that is always written is
//! `null` when absent, the others carry `skip_serializing_if`. What older versions of the API show
//! differently is the business of `http-api`. Request bodies are read with [`go_json`], which has
//! Go's rules; records that the engine stores are read back with plain `serde_json`.

pub mod build;
pub mod config;
pub mod container;
pub mod disk_usage;
pub mod distribution;
pub mod error;
pub mod event;
pub mod exec;
pub mod go_json;
pub mod host_config;
pub mod image;
pub mod info;
pub mod inspect;
pub mod mount;
pub mod network;
pub mod progress;
pub mod stats;
pub mod system;
pub mod volume;

mod serde_util;

pub use build::{BuildCache, BuildPruneResponse};
pub use config::{ContainerConfig, Empty, HealthConfig};
pub use container::{
    ChangeItem, ContainerCreateRequest, ContainerCreateResponse, ContainerPruneResponse, ContainerSummary,
    ContainerTopResponse, ContainerUpdateRequest, ContainerUpdateResponse, ContainerWaitResponse, Port, WaitExitError,
};
pub use disk_usage::DiskUsage;
pub use distribution::DistributionInspect;
pub use error::ErrorResponse;
pub use event::{EventActor, EventMessage};
pub use exec::{ExecCreateRequest, ExecCreateResponse, ExecInspect, ExecStartRequest, ProcessConfig};
pub use host_config::{
    BlkioWeightDevice, DeviceMapping, DeviceRequest, HostConfig, LogConfig, RestartPolicy, ThrottleDevice, Ulimit,
};
pub use image::{
    DriverData, HistoryItem, ImageDeleteItem, ImageInspect, ImageMetadata, ImagePruneResponse, ImageSearchItem,
    ImageSummary, RootFs,
};
pub use info::SystemInfo;
pub use inspect::{ContainerInspect, ContainerState, Health, HealthcheckResult, NetworkSettings};
pub use mount::{BindOptions, ImageOptions, Mount, MountDriver, MountPoint, TmpfsOptions, VolumeOptions};
pub use network::{
    ConfigReference, EndpointIpamConfig, EndpointSettings, Ipam, IpamConfig, Network, NetworkConnectRequest,
    NetworkContainer, NetworkCreateRequest, NetworkCreateResponse, NetworkDisconnectRequest, NetworkPruneResponse,
    NetworkingConfig, PortBinding, PortMap,
};
pub use progress::{ErrorDetail, ProgressDetail, ProgressMessage};
pub use system::{AuthConfig, AuthResponse, SystemVersion, VersionComponent};
pub use volume::{UsageData, Volume, VolumeCreateRequest, VolumeListResponse, VolumePruneResponse};
