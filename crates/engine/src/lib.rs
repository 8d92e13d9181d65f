//! What a container, an exec, an event, a restart *is*: a file for each lifecycle verb, composing
//! the rooms below (images, networks, volumes, runtime, logs, state).
//!
//! # The door
//! [`Engine`] is concrete: there is one implementation, and a trait would only add boxing. All
//! methods take `&self` on an `Arc<Engine>`; names are what a client wrote (name, id, id prefix).
//! Answers are `gantry_api_types` structs in the newest shape; `http-api` adapts them to the
//! version that was asked for.
//!
//! ```text
//! // containers (async unless noted)
//! container_create(name: Option<String>, ContainerCreateRequest, platform: Option<String>) -> ContainerCreateResponse
//! container_list(ListOptions{ all, limit, size, filters: Filters }) -> Vec<ContainerSummary>
//! container_inspect(name, size: bool) -> ContainerInspect
//! container_start(name) -> ()                       // kind NotModified: already running
//! container_stop(name, StopOptions{ signal: Option<String>, timeout: Option<i64> }) -> ()   // NotModified
//! container_restart(name, StopOptions) -> ()
//! container_kill(name, signal: Option<String>) -> ()
//! container_pause(name), container_unpause(name) -> ()
//! container_wait(name, WaitCondition) -> WaitHandle          // resolves the container now
//!     WaitHandle::result(self) -> ContainerWaitResponse       // waits
//! container_rename(name, new_name) -> ()
//! container_remove(name, RemoveOptions{ force, volumes, link }) -> ()
//! container_prune(Filters) -> ContainersPruneReport
//! container_top(name, ps_args: Option<String>) -> ContainerTopResponse
//! container_stats(name, StatsOptions{ stream, one_shot }) -> Stats::{Once, Stream(StatsStream)}
//!     StatsStream::next(&mut self) -> Option<ContainerStats>      // None when the container is gone
//! container_update(name, ContainerUpdateRequest) -> ContainerUpdateResponse
//! container_resize(name, rows: u16, cols: u16) -> ()
//! container_logs(name, LogsOptions{ follow, stdout, stderr, since, until, timestamps, details, tail }) -> LogStream
//!     LogStream::next(&mut self) -> Option<Result<Bytes>>     // already framed: multiplexed, raw with a tty
//!     LogStream::is_tty(&self) -> bool
//! container_attach(name, AttachOptions{ stdin, stdout, stderr, stream, logs, detach_keys: Option<String> }) -> AttachSession
//! exec_create(container, ExecCreateRequest) -> IdResponse
//! exec_start(exec_id, ExecStartRequest) -> ExecStarted::{Detached, Attached(AttachSession)}
//! exec_inspect(exec_id) -> ExecInspect
//! exec_resize(exec_id, rows, cols) -> ()
//!     AttachSession::is_tty(&self) -> bool
//!     AttachSession::run(self, client: impl AsyncRead + AsyncWrite) -> Result<()>  // copies both ways, half-close, detach keys
//!
//! container_commit(CommitRequest) -> String
//! // blocking, because bodies are streams:
//! container_archive(name, path) -> ArchiveSource;  write_archive(&ArchiveSource, &mut dyn Write)
//! container_extract(name, path, ExtractOptions, &mut dyn Read)
//! container_export(name) -> Export;  write_export(&Export, &mut dyn Write)
//! container_changes(name, &mut dyn FnMut(ChangeItem))
//!
//! // images (see images.rs; blocking, called by http-api on a blocking thread, because bodies are streams)
//! images() -> &Images: import, load, save, list, inspect, history, tag, remove, prune
//!
//! // builds: the context first (blocking), then the build
//! build_context(&mut dyn Read) -> BuildContext, build_context_from(url) -> BuildContext (async)
//! image_build(BuildContext, ImageBuild) -> Operation
//! build_prune(BuildPrune) -> BuildPruneResponse
//!
//! // volumes, networks (async)
//! volume_create, volume_list, volume_inspect, volume_remove, volume_prune
//! network_create, network_list, network_inspect, network_remove, network_prune, network_connect, network_disconnect
//!
//! // system
//! info() -> SystemInfo, version() -> SystemVersion, disk_usage() -> SystemDataUsage
//! events(EventsOptions{ since, until, filters }) -> EventStream;  EventStream::next(&mut self) -> Option<EventMessage>
//! ```

#![expect(clippy::unused_async, reason = "operations are async at the door whether or not they wait today")]

pub mod archive;
pub mod attach;
pub mod build;
pub mod commit;
pub mod config;
pub mod container;
pub mod engine;
pub mod events;
pub mod exec;
pub mod filters;
pub mod logs;
pub mod operation;
pub mod remove;
pub mod stats;
pub mod stop;
pub mod stream;
pub mod verify;
pub mod version;
pub mod wait;

mod cgroup_path;
mod changes;
mod create;
mod df;
mod export;
mod health;
mod host;
mod host_resolver;
mod images;
mod info;
mod inspect;
mod joint;
mod kill;
mod layer_sizes;
mod links;
mod list;
mod log_driver;
mod log_watch;
mod modules;
mod mounted_images;
mod name_service;
mod network_view;
mod networks;
mod oci;
mod own_layer;
mod pause;
mod plan;
mod procfs;
mod prune;
mod readiness;
mod recover;
mod registries;
mod reload;
mod remap;
mod rename;
mod resize;
mod restart;
mod restart_policy;
mod run_end;
mod shim;
mod shutdown;
mod start;
mod store;
mod text_filter;
mod top;
mod transfer;
mod until;
mod update;
mod volumes;

/// What everything of a swarm's answers on a node that is in none; Docker's words.
pub const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" \
                            to connect this node to swarm and try again.";

pub use archive::{ArchiveSource, ExtractOptions, PathStat};
pub use attach::AttachOptions;
pub use build::{BuildContext, BuildPrune, ImageBuild};
pub use commit::CommitRequest;
pub use config::{Config, RegistryConfig};
pub use df::DiskUsageOptions;
pub use engine::Engine;
pub use events::{EventStream, EventsOptions};
pub use exec::ExecStarted;
pub use export::Export;
pub use filters::Filters;
pub use gantry_model::{IdMaps, id_map};
pub use images::{
    ImageImport, ImageInspectOptions, ImageListOptions, ImagePull, ImagePush, ImageRemoveOptions, ImageSearch, Images,
};
pub use list::ListOptions;
pub use logs::{LogStream, LogsOptions};
pub use oci::Runtime;
pub use operation::{Operation, Reporter};
pub use remove::RemoveOptions;
pub use stats::{Stats, StatsOptions, StatsStream};
pub use stop::StopOptions;
pub use stream::AttachSession;
pub use wait::{WaitCondition, WaitHandle};

/// Runs what may block on a thread for that.
async fn blocking<T, E>(call: impl FnOnce() -> Result<T, E> + Send + 'static) -> gantry_model::Result<T>
where
    T: Send + 'static,
    E: Into<gantry_model::Error> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(call).await;
    done.map_err(|e| gantry_model::Error::internal(format!("the engine failed: {e}")))?.map_err(Into::into)
}
