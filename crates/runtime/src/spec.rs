//! What the daemon hands to a shim: a container, or a process in it, with every decision made.
//!
//! The daemon resolves names, defaults and policies; the shim and the child only carry out. What
//! can be known only inside the container's root (users, working directory) stays text here and
//! is resolved by the child after `pivot_root`.

use gantry_model::IdMaps;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Version of the encoding of [`Plan`] and [`ProcessSpec`]; a shim refuses any other.
pub const PLAN_VERSION: u32 = 3;

/// Encodes a [`Plan`], [`ProcessSpec`] or [`ContainerNet`] for a memfd or a message: plain postcard.
pub fn encode<T: Serialize>(value: &T) -> std::io::Result<Vec<u8>> {
    postcard::to_allocvec(value).map_err(std::io::Error::other)
}

/// Decodes what [`encode`] made.
pub fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> std::io::Result<T> {
    postcard::from_bytes(bytes).map_err(std::io::Error::other)
}

/// A container, ready to be started by a shim.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The container's id, 64 hex digits.
    pub id: String,
    /// Directory of the container below the exec-root: socket, state and exit files live there.
    pub state_dir: PathBuf,
    /// The init process.
    pub process: ProcessSpec,
    /// Run the built-in init as pid 1 and the process as its child (`HostConfig.Init`).
    pub init: bool,
    /// Namespaces.
    pub namespaces: Namespaces,
    /// The user namespace; `None` is the host's.
    pub user_namespace: Option<UserNamespace>,
    /// `HostConfig`'s and the network's view of the host name; `None` leaves the UTS namespace alone.
    pub hostname: Option<String>,
    /// NIS domain name.
    pub domainname: Option<String>,
    /// The root file system.
    pub rootfs: Rootfs,
    /// Mounts in the order in which they are made.
    pub mounts: Vec<Mount>,
    /// SELinux label of the files of new file systems.
    pub mount_label: Option<String>,
    /// Device nodes made in `/dev` besides the default ones.
    pub devices: Vec<Device>,
    /// Hidden by `/dev/null` (files) or an empty read-only tmpfs (directories).
    pub masked_paths: Vec<PathBuf>,
    /// Remounted read-only.
    pub readonly_paths: Vec<PathBuf>,
    /// `kernel.*`, `fs.mqueue.*` and `net.*` values, written before the process runs.
    pub sysctls: Vec<(String, String)>,
    /// Cgroup and limits.
    pub cgroup: Cgroup,
    /// `oom_score_adj` of the init process; `None` leaves the inherited one.
    pub oom_score_adj: Option<i32>,
    /// Wait for the daemon's word that the network is attached before running the process.
    pub wait_for_network: bool,
    /// stdio of the init process.
    pub stdio: Stdio,
    /// The log file the shim writes.
    pub log: LogPlan,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// The runtime that runs the container, if it is not this one.
    pub oci: Option<OciRuntime>,
    /// Ports of the host that the shim has to carry to the container, for the kernel cannot.
    pub forwards: Vec<Forward>,
    /// The seccomp filter of the process that carries, as `struct sock_filter[]`; empty for none.
    pub carrier_filter: Vec<u8>,
}

/// A port of the host whose bound socket the shim holds and serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// The socket's place among those that the shim is given to hold ports.
    pub holder: u32,
    /// UDP instead of TCP.
    pub datagrams: bool,
    /// The port in the container.
    pub port: u16,
}

/// Sockets that hold ports of the host, given to a shim that runs already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Those that are to be served; the place is one among the sockets that come along.
    pub forwards: Vec<Forward>,
    /// As [`Plan::carrier_filter`].
    pub carrier_filter: Vec<u8>,
}

/// A program that runs containers as the OCI runtime specification says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OciRuntime {
    /// Its path.
    pub program: PathBuf,
    /// Arguments before those of every call.
    pub args: Vec<String>,
    /// The bundle's directory, with `config.json`; the runtime's own files go there, too.
    pub bundle: PathBuf,
}

/// A process: the container's init or an exec.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments; never empty.
    pub args: Vec<String>,
    /// `KEY=value`, final; `HOME` is added by the child when absent (from the passwd file).
    pub env: Vec<String>,
    /// Absolute; made when missing if `create_cwd`.
    pub cwd: PathBuf,
    /// Make `cwd` when it is missing (containers yes, exec no).
    pub create_cwd: bool,
    /// `user[:group]` by name or number, resolved in the container's own files; empty is root.
    pub user: String,
    /// Further groups by name or number (`GroupAdd`).
    pub additional_groups: Vec<String>,
    /// Capability sets.
    pub capabilities: Capabilities,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Resource limits: (`RLIMIT_*` number, soft, hard).
    pub rlimits: Vec<Rlimit>,
    /// Whether the seccomp filter that was passed by descriptor is installed.
    pub seccomp: bool,
    /// Allocate a pseudo terminal.
    pub tty: bool,
    /// Initial (rows, columns) of the terminal; (0, 0) is the kernel's default.
    pub console_size: (u16, u16),
    /// AppArmor profile; `None` leaves it to the kernel.
    pub apparmor: Option<String>,
    /// SELinux label of the process.
    pub selinux: Option<String>,
}

/// Capability bit sets, bit `n` is capability number `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Bounding set; also effective and permitted for root.
    pub bounding: u64,
    /// Effective.
    pub effective: u64,
    /// Permitted.
    pub permitted: u64,
    /// Inheritable: empty since CVE-2022-24769.
    pub inheritable: u64,
    /// Ambient.
    pub ambient: u64,
}

/// One resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `RLIMIT_*`.
    pub resource: u32,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

impl Rlimit {
    /// What it limits, without `RLIMIT_`; `UNKNOWN` for a number that has no name.
    pub fn name(&self) -> &'static str {
        const NAMES: [&str; 16] = [
            "CPU",
            "FSIZE",
            "DATA",
            "STACK",
            "CORE",
            "RSS",
            "NPROC",
            "NOFILE",
            "MEMLOCK",
            "AS",
            "LOCKS",
            "SIGPENDING",
            "MSGQUEUE",
            "NICE",
            "RTPRIO",
            "RTTIME",
        ];
        NAMES.get(self.resource as usize).copied().unwrap_or("UNKNOWN")
    }
}

/// Where a namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// The host's.
    Host,
    /// A new one.
    New,
    /// That of a running process (`container:x`): its pid and start time (field 22 of
    /// `/proc/pid/stat`), so that a recycled pid is never joined.
    Of {
        /// Pid in the daemon's pid namespace.
        pid: u32,
        /// Clock ticks after boot.
        start_time: u64,
    },
}

/// Every namespace of a container. Mount is always new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// `CLONE_NEWPID`.
    pub pid: Namespace,
    /// `CLONE_NEWNET`.
    pub net: Namespace,
    /// `CLONE_NEWIPC`.
    pub ipc: Namespace,
    /// `CLONE_NEWUTS`.
    pub uts: Namespace,
    /// `CLONE_NEWCGROUP`.
    pub cgroup: Namespace,
}

/// A user namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNamespace {
    /// New, or that of the container whose other namespaces are shared; never the host's.
    pub source: Namespace,
    /// What its ids are on the host.
    pub ids: IdMaps,
}

/// The root file system: an overlay.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rootfs {
    /// Read-only layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// The writable layer.
    pub upper: PathBuf,
    /// overlayfs' work directory, on the file system of `upper`.
    pub work: PathBuf,
    /// Mount point to assemble the root at, in the container's own mount namespace only.
    pub target: PathBuf,
    /// Remount read-only at the end (`ReadonlyRootfs`).
    pub readonly: bool,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container; resolved inside its root, missing parts are made.
    pub target: PathBuf,
    /// `MOUNT_ATTR_*`-like flags.
    pub flags: MountFlags,
    /// Propagation of the mounted tree.
    pub propagation: Propagation,
    /// Its files have ids of the container, not of the host: in a user namespace the mount maps them.
    pub shifted: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A new file system of this type with these options (`key`, `key=value`).
    Fs {
        /// proc, sysfs, tmpfs, devpts, mqueue, …
        kind: String,
        /// As in `mount -o`.
        options: Vec<String>,
    },
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        path: PathBuf,
        /// Include the mounts below it.
        recursive: bool,
        /// With `recursive`: read-only applies to the mounts below as well.
        recursive_readonly: bool,
    },
    /// A tree that is not a path of the host's, or a part of a tree whose paths somebody else may change.
    Part {
        /// The tree.
        tree: Tree,
        /// A relative path below its root that no link leads out of; empty for all of it.
        subpath: PathBuf,
    },
    /// The cgroup hierarchy (v1: a tmpfs with one bind for each controller; v2: cgroup2).
    Cgroup,
    /// The `/dev/shm` of the running container whose IPC namespace is shared: its init process.
    SharedMemoryOf {
        /// Pid in the daemon's pid namespace.
        pid: u32,
        /// Clock ticks after boot.
        start_time: u64,
    },
}

/// Where a [`MountSource::Part`] comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tree {
    /// A directory of the host with everything mounted below it: absolute path.
    Directory(PathBuf),
    /// What a mount namespace of [`crate::held_mount`] holds: the number of its descriptor.
    Held(i32),
    /// An image: its layers, topmost first, read-only.
    Layers(Vec<PathBuf>),
}

/// Per-mount flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MountFlags {
    /// `MS_RDONLY`.
    pub readonly: bool,
    /// `MS_NOSUID`.
    pub nosuid: bool,
    /// `MS_NODEV`.
    pub nodev: bool,
    /// `MS_NOEXEC`.
    pub noexec: bool,
    /// `MS_NOATIME` instead of relatime.
    pub noatime: bool,
    /// `MS_STRICTATIME`.
    pub strictatime: bool,
    /// `MS_NODIRATIME`.
    #[serde(default)]
    pub nodiratime: bool,
}

/// Mount propagation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Propagation {
    /// `private`, the default.
    #[default]
    Private,
    /// `rprivate`.
    RPrivate,
    /// `shared`.
    Shared,
    /// `rshared`.
    RShared,
    /// `slave`.
    Slave,
    /// `rslave`.
    RSlave,
}

/// A device node to make in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path in the container.
    pub path: PathBuf,
    /// `c` or `b`.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The container's cgroup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cgroup {
    /// Path below each hierarchy's mount point, with a leading slash (`/gantry/<id>`).
    pub path: String,
    /// Limits.
    pub resources: Resources,
    /// Device rules in order; the default deny-all and Docker's allow-list are included by the daemon.
    pub device_rules: Vec<DeviceRule>,
}

/// One rule of the device cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// `a`, `b` or `c`.
    pub kind: char,
    /// `None` is every major number.
    pub major: Option<u32>,
    /// `None` is every minor number.
    pub minor: Option<u32>,
    /// Subset of `rwm`.
    pub access: String,
}

/// Limits of a cgroup, in v1's units; the v2 writer converts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<i64>,
    /// Memory plus swap in bytes; -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Soft limit in bytes.
    pub memory_reservation: Option<i64>,
    /// Kernel memory in bytes (v1 only).
    pub kernel_memory: Option<i64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Do not kill on out-of-memory (v1 only).
    pub oom_kill_disable: bool,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// Microseconds a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds (v1 only).
    pub cpu_rt_runtime: Option<i64>,
    /// Microseconds (v1 only).
    pub cpu_rt_period: Option<u64>,
    /// As `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// As `0-2,4`.
    pub cpuset_mems: Option<String>,
    /// Tasks; -1 is unlimited.
    pub pids: Option<i64>,
    /// 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// (major, minor, weight).
    pub blkio_weight_device: Vec<(u32, u32, u64)>,
    /// (major, minor, bytes a second).
    pub blkio_read_bps: Vec<(u32, u32, u64)>,
    /// (major, minor, bytes a second).
    pub blkio_write_bps: Vec<(u32, u32, u64)>,
    /// (major, minor, operations a second).
    pub blkio_read_iops: Vec<(u32, u32, u64)>,
    /// (major, minor, operations a second).
    pub blkio_write_iops: Vec<(u32, u32, u64)>,
}

/// stdio of a container's init process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stdio {
    /// Keep stdin open for attached clients (`OpenStdin`); otherwise it is `/dev/null`.
    pub open_stdin: bool,
    /// Close stdin when the first attached client closes its side (`StdinOnce`).
    pub stdin_once: bool,
}

/// Where the shim logs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogPlan {
    /// No log.
    None,
    /// Docker's json-file.
    JsonFile(JsonFile),
    /// Output goes to the process behind the log feed; `cache` is kept for whoever wants to read the log.
    Feed {
        /// `None` when nothing is to be kept here.
        cache: Option<JsonFile>,
        /// `None`: the container waits for its log. Else so many bytes are kept for a slow receiver, and what does
        /// not fit is dropped.
        buffer: Option<u64>,
    },
}

/// A log of Docker's json-file form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsonFile {
    /// `<id>-json.log`.
    pub path: PathBuf,
    /// Rotate before the file exceeds this many bytes; `None` never.
    pub max_size: Option<u64>,
    /// Files kept in all, at least 1.
    pub max_file: u32,
    /// gzip rotated files.
    pub compress: bool,
    /// `attrs` written into every line (labels, env, tag options).
    pub attrs: Vec<(String, String)>,
}

/// What the container side of its network attachments needs; applied inside the container's netns. Empty for network
/// `none`, where only `lo` is brought up.
pub use gantry_linux::netlink::container::{
    Interface as ContainerInterface, Layout as ContainerNet, Route as ContainerRoute,
};
