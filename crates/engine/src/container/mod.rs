//! A container in memory, and the registry that finds it.

pub mod record;
pub mod registry;

pub use record::{Record, State};
pub use registry::Registry;

use gantry_model::{Error, Id};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::{oneshot, watch};

use crate::restart_policy::Backoff;
use crate::shim::ShimLink;
use gantry_shim_protocol::RequestBody;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A container.
///
/// `record` is the truth that clients see; it is locked for moments only, never across an await.
/// `verbs` serialises the lifecycle verbs (start, stop, remove, …), which take time.
#[derive(Debug)]
pub struct Container {
    /// The id, which never changes.
    pub id: Id,
    record: RwLock<Record>,
    /// Held while a lifecycle verb runs.
    pub(crate) verbs: tokio::sync::Mutex<()>,
    link: RwLock<Option<Arc<ShimLink>>>,
    /// What waiters watch.
    pub(crate) progress: watch::Sender<Progress>,
    /// Clients that attached before the start; the start hands them to the shim.
    waiting_clients: Mutex<Vec<WaitingClient>>,
    /// Dropped to cancel a restart that the policy has scheduled.
    restart: Mutex<Option<oneshot::Sender<()>>>,
    /// Which run the exec directory belongs to; held while that directory is made or removed.
    pub(crate) run: Mutex<u64>,
    /// Delay before the next restart by policy.
    pub(crate) backoff: Mutex<Backoff>,
    /// `AutoRemove` does not apply to the end that is coming: a verb has other plans.
    pub(crate) keep: AtomicBool,
    /// A removal is under way.
    pub(crate) removing: AtomicBool,
    /// What it uses, while somebody wants to know.
    pub(crate) stats: crate::stats::Feed,
    /// Looks after its health while it runs.
    pub(crate) monitor: crate::health::Monitor,
}

/// Counts what happened to a container, so that a waiter misses nothing however fast a restart is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Ends of the init process so far (in this daemon's life).
    pub exits: u64,
    /// Exit status of the last end.
    pub exit_code: i64,
    /// Why the last start failed.
    pub error: String,
    /// An init process exists.
    pub live: bool,
    /// The restart policy is about to make another; Docker counts that as running.
    pub restarts: bool,
    /// The container is gone.
    pub removed: bool,
}

/// A client that is attached before there is a shim.
#[derive(Debug)]
pub struct WaitingClient {
    /// Which streams.
    pub(crate) wanted: RequestBody,
    /// The shim's end of the socket pair.
    pub(crate) socket: std::os::fd::OwnedFd,
}

impl WaitingClient {
    fn is_gone(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::empty())];
        poll(&mut fds, Some(&Timespec::default())).is_ok() && fds[0].revents().intersects(PollFlags::HUP)
    }
}

impl Container {
    /// Wraps a record.
    pub fn new(record: Record) -> Self {
        Self {
            id: record.id,
            record: RwLock::new(record),
            verbs: tokio::sync::Mutex::new(()),
            link: RwLock::new(None),
            progress: watch::channel(Progress::default()).0,
            waiting_clients: Mutex::new(Vec::new()),
            restart: Mutex::new(None),
            run: Mutex::new(0),
            backoff: Mutex::default(),
            keep: AtomicBool::new(false),
            removing: AtomicBool::new(false),
            stats: crate::stats::Feed::default(),
            monitor: crate::health::Monitor::default(),
        }
    }

    /// The record, for reading.
    pub fn read(&self) -> RwLockReadGuard<'_, Record> {
        self.record.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record, for changing.
    pub fn write(&self) -> RwLockWriteGuard<'_, Record> {
        self.record.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to the running shim.
    pub(crate) fn shim(&self) -> Option<Arc<ShimLink>> {
        self.link.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets or clears the connection.
    pub(crate) fn set_shim(&self, link: Option<Arc<ShimLink>>) {
        *self.link.write().unwrap_or_else(PoisonError::into_inner) = link;
    }

    /// Keeps a client until the next start; those that have gone away meanwhile are dropped.
    pub(crate) fn add_waiting_client(&self, client: WaitingClient) {
        let mut waiting = self.waiting_clients.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|client| !client.is_gone());
        waiting.push(client);
    }

    /// The clients that wait for the start; dropping them ends their streams.
    pub(crate) fn take_waiting_clients(&self) -> Vec<WaitingClient> {
        std::mem::take(&mut *self.waiting_clients.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The run that the exec directory belongs to now.
    pub(crate) fn current_run(&self) -> u64 {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells who waits that the start failed.
    pub(crate) fn start_has_failed(&self, error: &Error) {
        self.progress.send_modify(|p| {
            error.message().clone_into(&mut p.error);
            p.restarts = false;
        });
    }

    /// Waits until the end of the last run is recorded everywhere. The record says so a moment earlier, and
    /// what began in that moment would be taken for a part of the old run.
    pub(crate) async fn settled(&self) {
        // The sender is a part of the container.
        drop(self.progress.subscribe().wait_for(|p| !p.live).await);
    }

    /// Notes that a restart is scheduled; the receiver resolves when it is cancelled.
    pub(crate) fn schedule_restart(&self) -> oneshot::Receiver<()> {
        let (keep, cancelled) = oneshot::channel();
        *self.restart.lock().unwrap_or_else(PoisonError::into_inner) = Some(keep);
        cancelled
    }

    /// Cancels the restart that the policy has scheduled, if any.
    pub(crate) fn cancel_restart(&self) {
        self.restart.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Where a container keeps its files.
#[derive(Debug, Clone)]
pub struct Dirs {
    data: PathBuf,
    exec: PathBuf,
}

impl Dirs {
    /// Of container `id`.
    pub fn new(data_root: &Path, exec_root: &Path, id: &Id) -> Self {
        let id = id.to_string();
        Self { data: data_root.join("containers").join(&id), exec: exec_root.join("containers").join(&id) }
    }

    /// `<data-root>/containers/<id>`: everything that survives a reboot.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// `<exec-root>/containers/<id>`: socket, state and exit file of a run.
    pub fn exec(&self) -> &Path {
        &self.exec
    }

    /// What the daemon must know of a run before its record is durable (see `start.rs`).
    pub fn run_file(&self) -> PathBuf {
        self.exec.join("run")
    }

    /// Which mount namespaces hold the run's volumes.
    pub fn volumes_file(&self) -> PathBuf {
        self.exec.join("volumes")
    }

    /// The shim's control socket.
    pub fn socket(&self) -> PathBuf {
        self.exec.join("shim.sock")
    }

    /// The exit status the shim leaves behind.
    pub fn exit_file(&self) -> PathBuf {
        self.exec.join("exit")
    }

    /// The shim's pid and start time.
    pub fn pid_file(&self) -> PathBuf {
        self.exec.join("shim.pid")
    }

    /// What is known of a run's health.
    pub fn health_file(&self) -> PathBuf {
        self.exec.join("health")
    }

    /// The log driver's pid and start time.
    pub fn log_driver_pid_file(&self) -> PathBuf {
        self.exec.join("log.pid")
    }

    /// The writable layer.
    pub fn upper(&self) -> PathBuf {
        self.data.join("rw/diff")
    }

    /// overlayfs' work directory.
    pub fn work(&self) -> PathBuf {
        self.data.join("rw/work")
    }

    /// Mount point of the root, used only inside the container's own mount namespace.
    pub fn merged(&self) -> PathBuf {
        self.data.join("rw/merged")
    }

    /// `<id>-json.log`.
    pub fn log(&self, id: &Id) -> PathBuf {
        self.data.join(format!("{id}-json.log"))
    }

    /// `/etc/hosts` of the container.
    pub fn hosts(&self) -> PathBuf {
        self.data.join("hosts")
    }

    /// `/etc/hostname` of the container.
    pub fn hostname(&self) -> PathBuf {
        self.data.join("hostname")
    }

    /// `/etc/resolv.conf` of the container.
    pub fn resolv_conf(&self) -> PathBuf {
        self.data.join("resolv.conf")
    }
}
