//! Every mount of a container: the defaults, then what the client asked for.

use super::{propagation as place, tmpfs};
use crate::Engine;
use crate::container::{Dirs, Record};
use crate::volumes::{HostDirectory, Source, Sources};
use gantry_api_types::{HostConfig, Mount as Asked, MountPoint};
use gantry_image_store::ImageId;
use gantry_model::digest::Digest;
use gantry_model::error::Context;
use gantry_model::{Error, Result};
use gantry_runtime::failure::errno_text;
use gantry_runtime::spec::{Mount, MountFlags, MountSource, Namespace, Propagation, Tree};
use gantry_shim_protocol::spawn_fd;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

/// Where a plan finds a volume.
#[derive(Debug, Clone)]
pub(crate) enum Volume {
    Directory(PathBuf),
    Host(HostDirectory),
    /// The number of a descriptor in the process that carries the plan out.
    Held(i32),
}

/// Volumes by name.
pub(crate) type Volumes = BTreeMap<String, Volume>;

/// The volumes of a run, whose held ones the shim finds after `before` other descriptors, in the order of their names.
pub(crate) fn for_shim(sources: &Sources, before: usize) -> Volumes {
    let mut next = spawn_fd::FIRST_HELD + i32::try_from(before).unwrap_or(i32::MAX);
    numbered(sources, |_| {
        next += 1;
        next - 1
    })
}

/// The same for this process, as long as `sources` live.
pub(crate) fn for_daemon(sources: &Sources) -> Volumes {
    numbered(sources, AsRawFd::as_raw_fd)
}

fn numbered(sources: &Sources, mut number: impl FnMut(&OwnedFd) -> i32) -> Volumes {
    let planned = sources.iter().map(|(name, source)| {
        let volume = match source {
            Source::Directory(path) => Volume::Directory(path.clone()),
            Source::Host(directory) => Volume::Host(directory.clone()),
            Source::Held(namespace) => Volume::Held(number(namespace)),
        };
        (name.clone(), volume)
    });
    planned.collect()
}

/// `nosuid`, `nodev`, `noexec`.
pub(super) const HARMLESS: MountFlags = MountFlags {
    readonly: false,
    nosuid: true,
    nodev: true,
    noexec: true,
    noatime: false,
    strictatime: false,
    nodiratime: false,
};

/// The mounts in the order in which they are made: a parent before what lies below it.
pub(crate) fn of_container(
    engine: &Engine,
    record: &Record,
    dirs: &Dirs,
    ipc: &Namespace,
    volumes: &Volumes,
) -> Result<Vec<Mount>> {
    let mut users = Vec::new();
    for point in &record.mounts {
        users.push(of_point(engine, record, point, volumes)?);
    }
    for (target, options) in record.host_config.tmpfs.iter().flatten() {
        users.push(tmpfs::mount_of(&clean(target), options)?);
    }
    let mut all = defaults(&record.host_config, ipc);
    let taken = |target: &Path| users.iter().any(|m| m.target == target);
    // A mount of the user's on /dev replaces ours, with everything below it.
    let no_dev = taken(Path::new("/dev"));
    all.retain(|m| !(taken(&m.target) || no_dev && m.target.starts_with("/dev")));
    all.extend(network_files(dirs).into_iter().filter(|m| !taken(&m.target)));
    if record.host_config.readonly_rootfs {
        make_readonly(&mut all);
    }
    all.extend(users);
    // Stable: mounts of one depth stay in the order in which they were asked for.
    all.sort_by_key(|m| m.target.components().count());
    Ok(all)
}

/// The binds, volumes and files that a client sees when it copies, a parent before what lies below it. What is new in
/// each run (tmpfs, /proc and the like) is not among them.
pub(crate) fn shown(engine: &Engine, record: &Record, volumes: &Volumes) -> Result<Vec<Mount>> {
    let peer = super::namespaces::network_peer(engine, record)?;
    let dirs = engine.dirs(&peer.map_or(record.id, |peer| peer.id));
    let mut all = Vec::new();
    for point in record.mounts.iter().filter(|point| point.r#type != "tmpfs") {
        all.push(of_point(engine, record, point, volumes)?);
    }
    let files = network_files(&dirs);
    let made = |m: &Mount| matches!(&m.source, MountSource::Bind { path, .. } if path.exists());
    let taken: Vec<PathBuf> = all.iter().map(|m| m.target.clone()).collect();
    all.extend(files.into_iter().filter(|m| made(m) && !taken.contains(&m.target)));
    all.retain(|m| matches!(m.source, MountSource::Bind { .. } | MountSource::Part { .. }));
    for mount in &mut all {
        mount.propagation = Propagation::Private;
    }
    all.sort_by_key(|m| m.target.components().count());
    Ok(all)
}

/// With a read-only root everything of ours is read-only but what programs must write to.
fn make_readonly(mounts: &mut [Mount]) {
    const WRITABLE: [&str; 5] = ["/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"];
    for mount in mounts.iter_mut().filter(|m| !WRITABLE.iter().any(|w| m.target == Path::new(w))) {
        mount.flags.readonly = true;
    }
}

fn defaults(host: &HostConfig, ipc: &Namespace) -> Vec<Mount> {
    let readonly = MountFlags { readonly: !host.privileged, ..HARMLESS };
    let dev = MountFlags { nosuid: true, strictatime: true, ..MountFlags::default() };
    let pts = MountFlags { nosuid: true, noexec: true, ..MountFlags::default() };
    let mut all = vec![
        fs("proc", "/proc", &[], HARMLESS),
        fs("tmpfs", "/dev", &["mode=755", "size=65536k"], dev),
        fs("devpts", "/dev/pts", &["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"], pts),
        fs("sysfs", "/sys", &[], readonly),
        mount(MountSource::Cgroup, Path::new("/sys/fs/cgroup"), readonly),
        fs("mqueue", "/dev/mqueue", &[], HARMLESS),
    ];
    let shm = Path::new("/dev/shm");
    match (host.ipc_mode.as_str(), ipc) {
        ("none", _) => {}
        (_, Namespace::Of { pid, start_time }) => {
            all.push(mount(MountSource::SharedMemoryOf { pid: *pid, start_time: *start_time }, shm, HARMLESS));
        }
        ("host", _) => {
            all.push(bind(shm, shm, MountFlags::default()));
        }
        _ => {
            let size = format!("size={}", host.shm_size);
            all.push(fs("tmpfs", "/dev/shm", &["mode=1777", &size], HARMLESS));
        }
    }
    all
}

/// `/etc/hosts` and its like; those of the other container when its network is shared.
fn network_files(dirs: &Dirs) -> Vec<Mount> {
    let files =
        [(dirs.resolv_conf(), "/etc/resolv.conf"), (dirs.hostname(), "/etc/hostname"), (dirs.hosts(), "/etc/hosts")];
    let file = |(source, target): &(PathBuf, &str)| shifted(bind(source, Path::new(target), MountFlags::default()));
    files.iter().map(file).collect()
}

fn of_point(engine: &Engine, record: &Record, point: &MountPoint, volumes: &Volumes) -> Result<Mount> {
    let target = clean(&point.destination);
    let all = record.host_config.mounts.iter().flatten().chain(&record.inherited);
    let asked = all.into_iter().find(|m| clean(&m.target) == target);
    match point.r#type.as_str() {
        "tmpfs" => tmpfs::of_mount(&target, asked),
        "volume" => volume(point, &target, asked, volumes),
        "image" if crate::remap::wanted(engine, &record.host_config).is_some() => {
            Err(Error::not_implemented("mounts of images do not work in user namespaces yet"))
        }
        "image" => image(engine, point, &target, asked),
        // What a build shows to its commands is the engine's.
        _ if record.build => host_bind(point, &target, asked).map(shifted),
        _ => host_bind(point, &target, asked),
    }
}

fn volume(point: &MountPoint, target: &Path, asked: Option<&Asked>, volumes: &Volumes) -> Result<Mount> {
    let flags = MountFlags { readonly: !point.rw, ..MountFlags::default() };
    let subpath = asked.and_then(|m| m.volume_options.as_ref()).map_or("", |o| o.subpath.as_str());
    let missing = || Error::internal(format!("volume {}: it is not mounted", point.name));
    Ok(match volumes.get(&point.name).ok_or_else(missing)? {
        Volume::Directory(path) if subpath.is_empty() => shifted(bind(path, target, flags)),
        Volume::Directory(path) => shifted(part(Tree::Directory(path.clone()), subpath, target, flags)?),
        Volume::Host(HostDirectory { path, recursive, flags: own }) => {
            let flags = MountFlags { readonly: own.readonly || flags.readonly, ..*own };
            if subpath.is_empty() {
                let (path, recursive) = (path.clone(), *recursive);
                let source = MountSource::Bind { path, recursive, recursive_readonly: recursive && flags.readonly };
                mount(source, target, flags)
            } else {
                part(Tree::Directory(path.clone()), subpath, target, flags)?
            }
        }
        Volume::Held(number) => part(Tree::Held(*number), subpath, target, flags)?,
    })
}

fn image(engine: &Engine, point: &MountPoint, target: &Path, asked: Option<&Asked>) -> Result<Mount> {
    let id: Digest = point.source.parse().map_err(|e| Error::internal(format!("image {}: {e}", point.source)))?;
    let layers = engine.images.rootfs_of(&ImageId::new(id))?;
    let subpath = asked.and_then(|m| m.image_options.as_ref()).map_or("", |o| o.subpath.as_str());
    part(Tree::Layers(layers), subpath, target, MountFlags { readonly: true, ..MountFlags::default() })
}

/// Looks for the part now, for an error that says what is missing; what is mounted is found once more, at the mount.
fn part(tree: Tree, subpath: &str, target: &Path, flags: MountFlags) -> Result<Mount> {
    if let (Tree::Directory(base), false) = (&tree, subpath.is_empty()) {
        safe_path(base, subpath)?;
    }
    Ok(mount(MountSource::Part { tree, subpath: subpath.into() }, target, flags))
}

/// Docker's words for a path that does not exist in a volume, or leads out of it.
fn safe_path(base: &Path, subpath: &str) -> Result<()> {
    let open = |flags| openat2(CWD, base, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS);
    let found = open(OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC).and_then(|root| {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        openat2(root, subpath, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
    });
    match found {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(Errno::XDEV) => Err(Error::invalid(format!(
            "path concatenation escapes the base directory, base: \"{}\", subpath: {subpath:?}",
            base.display()
        ))),
        Err(e) => {
            let path = base.join(subpath);
            Err(Error::not_found(format!("cannot access path \"{}\": {}", path.display(), errno_text(&e.into()))))
        }
    }
}

/// Whether it is a word of `mount -o` that says how mounts below are shared.
pub(crate) fn is_propagation(word: &str) -> bool {
    let word = word.strip_prefix('r').unwrap_or(word);
    matches!(word, "private" | "shared" | "slave" | "unbindable")
}

/// The words of `mount -o` that are flags of the mount, and those that the file system reads.
pub(crate) fn split_flags(mut flags: MountFlags, words: &[String]) -> (MountFlags, Vec<String>) {
    let mut rest = Vec::new();
    for word in words {
        match word.as_str() {
            "ro" => flags.readonly = true,
            "nosuid" => flags.nosuid = true,
            "suid" => flags.nosuid = false,
            "nodev" => flags.nodev = true,
            "dev" => flags.nodev = false,
            "noexec" => flags.noexec = true,
            "exec" => flags.noexec = false,
            "noatime" => flags.noatime = true,
            "strictatime" => flags.strictatime = true,
            "nodiratime" => flags.nodiratime = true,
            "diratime" => flags.nodiratime = false,
            // A read-only mount stays so; the others are defaults.
            "rw" | "defaults" | "relatime" | "nofail" | "auto" | "noauto" | "_netdev" | "atime" | "norelatime"
            | "nostrictatime" | "async" => {}
            // A new file system has it only towards its own mounts.
            word if is_propagation(word) => {}
            _ => rest.push(word.clone()),
        }
    }
    (flags, rest)
}

fn host_bind(point: &MountPoint, target: &Path, asked: Option<&Asked>) -> Result<Mount> {
    let source = Path::new(&point.source);
    let options = asked.and_then(|m| m.bind_options.as_ref());
    // `-v` makes what is missing, `--mount` does not unless told to.
    if asked.is_none() || options.is_some_and(|o| o.create_mountpoint) {
        make_source(source)?;
    }
    let wanted = propagation(&point.propagation);
    place::check(source, wanted)?;
    let recursive = !options.is_some_and(|o| o.non_recursive);
    let flags = MountFlags { readonly: !point.rw, ..MountFlags::default() };
    let recursive_readonly = recursive && !point.rw && !options.is_some_and(|o| o.read_only_non_recursive);
    let source = MountSource::Bind { path: source.to_owned(), recursive, recursive_readonly };
    Ok(Mount { propagation: wanted, ..mount(source, target, flags) })
}

fn make_source(source: &Path) -> Result<()> {
    match std::fs::symlink_metadata(source) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(source)
            .context(format!("error while creating mount source path '{}'", source.display())),
        _ => Ok(()),
    }
}

/// The word of the API; what is not said is `rprivate`.
pub(crate) fn propagation(word: &str) -> Propagation {
    match word {
        "private" => Propagation::Private,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::RShared,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::RSlave,
        _ => Propagation::RPrivate,
    }
}

/// The path without `.`, `..`, doubled and final slashes, as Go's `filepath.Clean` makes it.
pub(crate) fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

pub(super) fn mount(source: MountSource, target: &Path, flags: MountFlags) -> Mount {
    Mount { source, target: target.to_owned(), flags, propagation: Propagation::RPrivate, shifted: false }
}

/// What the engine keeps for containers has their ids; what else is on the host has the host's.
fn shifted(mount: Mount) -> Mount {
    Mount { shifted: true, ..mount }
}

fn fs(kind: &str, target: &str, options: &[&str], flags: MountFlags) -> Mount {
    let options = options.iter().map(|o| (*o).to_owned()).collect();
    mount(MountSource::Fs { kind: kind.to_owned(), options }, Path::new(target), flags)
}

fn bind(source: &Path, target: &Path, flags: MountFlags) -> Mount {
    let source = MountSource::Bind { path: source.to_owned(), recursive: true, recursive_readonly: flags.readonly };
    mount(source, target, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_mounts() {
        let host = HostConfig { ipc_mode: "private".into(), shm_size: 1 << 20, ..HostConfig::default() };
        let all = defaults(&host, &Namespace::New);
        let at = |target: &str| all.iter().find(|m| m.target == Path::new(target)).unwrap();
        assert!(at("/sys").flags.readonly && at("/sys/fs/cgroup").flags.readonly && !at("/proc").flags.readonly);
        assert_eq!(
            at("/dev/shm").source,
            MountSource::Fs { kind: "tmpfs".into(), options: vec!["mode=1777".into(), "size=1048576".into()] }
        );
        let privileged = defaults(&HostConfig { privileged: true, ..HostConfig::default() }, &Namespace::New);
        assert!(privileged.iter().all(|m| !m.flags.readonly));
        let none = defaults(&HostConfig { ipc_mode: "none".into(), ..HostConfig::default() }, &Namespace::New);
        assert!(!none.iter().any(|m| m.target == Path::new("/dev/shm")));
        let host = defaults(&HostConfig { ipc_mode: "host".into(), ..HostConfig::default() }, &Namespace::New);
        assert_eq!(host.iter().filter(|m| m.target == Path::new("/dev/mqueue")).count(), 1);
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, clean_path) in
            [("/a/", "/a"), ("/a//b/./c", "/a/b/c"), ("/a/../b", "/b"), ("/../x", "/x"), ("/", "/")]
        {
            assert_eq!(clean(path), Path::new(clean_path), "{path}");
        }
    }

    #[test]
    fn options_are_split() {
        let words = ["ro", "nosuid", "addr=1.2.3.4", "vers=4"].map(str::to_owned);
        let (flags, rest) = split_flags(MountFlags::default(), &words);
        assert!(flags.readonly && flags.nosuid);
        assert_eq!(rest, ["addr=1.2.3.4", "vers=4"]);
    }
}
