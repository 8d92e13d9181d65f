//! Which mounts a container will have: `VolumesFrom`, `Binds`, `Mounts`, `Tmpfs` and the image's volumes.

use super::bind::{self, Bind};
use crate::Engine;
use crate::plan::mounts::clean;
use gantry_api_types::{BindOptions, ContainerConfig, HostConfig, Mount, MountPoint};
use gantry_model::{Error, Result};
use gantry_volumes::CreateRequest;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A mount that was asked for, and the volume to make for it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) point: MountPoint,
    pub(super) volume: Option<VolumeWanted>,
    /// What was asked of it, if that is not in the container's own configuration.
    pub(super) inherited: Option<Mount>,
}

impl Wanted {
    fn of(point: MountPoint) -> Self {
        Self { point, volume: None, inherited: None }
    }
}

/// A volume that a mount needs.
#[derive(Debug)]
pub(super) struct VolumeWanted {
    /// An empty name is an anonymous volume.
    pub(super) request: CreateRequest,
    /// Fill it from the image if it is empty.
    pub(super) copy: bool,
    /// The part of it that is mounted; empty for all.
    pub(super) subpath: String,
}

/// Everything that is mounted, checked, a later source replacing an inherited one.
pub(super) fn resolve(engine: &Engine, config: &ContainerConfig, host: &HostConfig) -> Result<Vec<Wanted>> {
    let mut inherited: BTreeMap<PathBuf, Wanted> = BTreeMap::new();
    for text in host.volumes_from.iter().flatten() {
        for wanted in volumes_from(engine, text)? {
            inherited.insert(clean(&wanted.point.destination), wanted);
        }
    }
    let mut own: Vec<Wanted> = Vec::new();
    let mut taken: BTreeSet<PathBuf> = BTreeSet::new();
    let mut take = |target: &str| -> Result<PathBuf> {
        let path = clean(target);
        if taken.insert(path.clone()) {
            return Ok(path);
        }
        Err(Error::invalid(format!("Duplicate mount point: {}", path.display())))
    };
    for text in host.binds.iter().flatten() {
        let wanted = of_bind(text, &host.volume_driver)?;
        take(&wanted.point.destination)?;
        own.push(wanted);
    }
    for mount in host.mounts.iter().flatten() {
        let wanted =
            of_mount(mount).map_err(|e| e.context(format!("invalid mount config for type {:?}", mount.r#type)))?;
        let wanted = if mount.r#type == "image" { of_image(engine, mount, wanted)? } else { wanted };
        take(&wanted.point.destination)?;
        own.push(wanted);
    }
    for target in host.tmpfs.iter().flatten().map(|(target, _)| target) {
        check_target(target)?;
        take(target)?;
    }
    for target in config.volumes.iter().flatten().map(|(target, _)| target) {
        let path = clean(target);
        if path.parent().is_some() && !inherited.contains_key(&path) && take(target).is_ok() {
            own.push(anonymous(&path, &host.volume_driver));
        }
    }
    inherited.retain(|path, _| !taken.contains(path));
    Ok(inherited.into_values().chain(own).collect())
}

/// `container[:ro]`: its mounts, of which none is filled again.
fn volumes_from(engine: &Engine, text: &str) -> Result<Vec<Wanted>> {
    if text.is_empty() {
        return Err(Error::invalid("volumes-from specification cannot be an empty string"));
    }
    let (name, mode) = text.split_once(':').unwrap_or((text, ""));
    // The copying and the propagation are the other container's.
    let foreign = |word: &str| bind::is_propagation(word) || word == "nocopy";
    if !mode.is_empty() && (!bind::is_mode(mode) || mode.split(',').any(foreign)) {
        return Err(Error::invalid(format!("invalid mode: {mode}")));
    }
    let from = engine.find(name).map_err(|e| Error::invalid(e.message()))?;
    let readonly = mode.split(',').any(|word| word == "ro");
    let (points, asked) = {
        let record = from.read();
        let asked: Vec<Mount> = record.host_config.mounts.iter().flatten().chain(&record.inherited).cloned().collect();
        (record.mounts.clone(), asked)
    };
    let inherit = |mut point: MountPoint| {
        point.rw &= !readonly;
        let (name, driver) = (point.name.clone(), point.driver.clone());
        let request = CreateRequest { name, driver, ..CreateRequest::default() };
        let volume = VolumeWanted { request, copy: false, subpath: String::new() };
        let volume = (point.r#type == "volume").then_some(volume);
        let inherited = asked.iter().find(|m| clean(&m.target) == clean(&point.destination)).cloned();
        Wanted { point, volume, inherited }
    };
    Ok(points.into_iter().map(inherit).collect())
}

fn of_bind(text: &str, volume_driver: &str) -> Result<Wanted> {
    let Bind { source, target, mode, readonly, no_copy, propagation } = bind::parse(text)?;
    let host = source.starts_with('/');
    let kind = if host { "bind" } else { "volume" };
    check_target(&target).map_err(|e| {
        e.context(format!("invalid mount config for type \"{kind}\""))
            .context(format!("invalid volume specification: '{text}'"))
    })?;
    let mut point = MountPoint {
        r#type: kind.to_owned(),
        destination: clean(&target).display().to_string(),
        mode,
        rw: !readonly,
        ..MountPoint::default()
    };
    if host {
        point.source = clean(&source).display().to_string();
        point.propagation = if propagation.is_empty() { "rprivate".to_owned() } else { propagation };
        return Ok(Wanted::of(point));
    }
    if !propagation.is_empty() {
        return Err(Error::invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"volume\": field BindOptions must not \
             be specified"
        )));
    }
    if point.mode.is_empty() {
        "z".clone_into(&mut point.mode);
    }
    let request = CreateRequest { name: source, driver: volume_driver.to_owned(), ..CreateRequest::default() };
    Ok(of_volume(point, request, !no_copy, ""))
}

/// The driver is known when the volume is.
fn of_volume(mut point: MountPoint, request: CreateRequest, copy: bool, subpath: &str) -> Wanted {
    point.name.clone_from(&request.name);
    let volume = Some(VolumeWanted { request, copy, subpath: subpath.to_owned() });
    Wanted { volume, ..Wanted::of(point) }
}

fn anonymous(path: &std::path::Path, driver: &str) -> Wanted {
    let point = MountPoint {
        r#type: "volume".to_owned(),
        destination: path.display().to_string(),
        rw: true,
        ..MountPoint::default()
    };
    of_volume(point, CreateRequest { driver: driver.to_owned(), ..CreateRequest::default() }, true, "")
}

/// Docker's rules for a place to mount at.
fn check_target(target: &str) -> Result<()> {
    if target.is_empty() {
        return Err(Error::invalid("field Target must not be empty"));
    }
    if !target.starts_with('/') {
        return Err(Error::invalid(format!("invalid mount path: '{target}' mount path must be absolute")));
    }
    if clean(target).parent().is_none() {
        return Err(Error::invalid("invalid specification: destination can't be '/'"));
    }
    if target.contains('\0') {
        return Err(Error::invalid("a mount's target contains a NUL byte"));
    }
    Ok(())
}

fn forbid(present: bool, field: &str) -> Result<()> {
    if present { Err(Error::invalid(format!("field {field} must not be specified"))) } else { Ok(()) }
}

fn of_mount(mount: &Mount) -> Result<Wanted> {
    check_target(&mount.target)?;
    if !matches!(mount.r#type.as_str(), "bind" | "volume" | "tmpfs" | "image") {
        return Err(Error::invalid("mount type unknown"));
    }
    let point = MountPoint {
        r#type: mount.r#type.clone(),
        destination: clean(&mount.target).display().to_string(),
        rw: !mount.read_only,
        ..MountPoint::default()
    };
    match mount.r#type.as_str() {
        "bind" => host_mount(mount, point),
        "volume" => volume_mount(mount, point),
        "image" => image_mount(mount, point),
        _ => {
            forbid(mount.bind_options.is_some(), "BindOptions")?;
            forbid(mount.volume_options.is_some(), "VolumeOptions")?;
            forbid(mount.image_options.is_some(), "ImageOptions")?;
            forbid(!mount.source.is_empty(), "Source")?;
            crate::plan::tmpfs::of_mount(&clean(&mount.target), Some(mount))?;
            Ok(Wanted::of(point))
        }
    }
}

/// A relative path that stays below whatever it is relative to, as Go's `filepath.IsLocal` sees it.
fn check_subpath(subpath: &str) -> Result<()> {
    let mut depth = 0i64;
    for part in subpath.split('/') {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        if depth < 0 || subpath.starts_with('/') || subpath.contains('\0') {
            return Err(Error::invalid("subpath must be a relative path within the volume"));
        }
    }
    Ok(())
}

fn image_mount(mount: &Mount, mut point: MountPoint) -> Result<Wanted> {
    forbid(mount.bind_options.is_some(), "BindOptions")?;
    forbid(mount.volume_options.is_some(), "VolumeOptions")?;
    forbid(mount.tmpfs_options.is_some(), "TmpfsOptions")?;
    if mount.source.is_empty() {
        return Err(Error::invalid("field Source must not be empty"));
    }
    check_subpath(mount.image_options.as_ref().map_or("", |options| options.subpath.as_str()))?;
    point.name.clone_from(&mount.source);
    // Nothing of an image is written to.
    point.rw = false;
    "rprivate".clone_into(&mut point.propagation);
    Ok(Wanted::of(point))
}

/// Which image it is is decided now: a name may mean another one at the next start.
fn of_image(engine: &Engine, mount: &Mount, mut wanted: Wanted) -> Result<Wanted> {
    wanted.point.source = engine.images.resolve(&mount.source)?.id.to_string();
    Ok(wanted)
}

fn host_mount(mount: &Mount, mut point: MountPoint) -> Result<Wanted> {
    if mount.source.is_empty() {
        return Err(Error::invalid("field Source must not be empty"));
    }
    forbid(mount.volume_options.is_some(), "VolumeOptions")?;
    forbid(mount.image_options.is_some(), "ImageOptions")?;
    forbid(mount.tmpfs_options.is_some(), "TmpfsOptions")?;
    let options = mount.bind_options.clone().unwrap_or_default();
    if !options.propagation.is_empty() && !bind::is_propagation(&options.propagation) {
        return Err(Error::invalid(format!("invalid propagation mode: {}", options.propagation)));
    }
    recursion(mount, &options)?;
    if !mount.source.starts_with('/') {
        return Err(Error::invalid(format!("invalid mount path: '{}' mount path must be absolute", mount.source)));
    }
    let source = clean(&mount.source);
    if !options.create_mountpoint && std::fs::symlink_metadata(&source).is_err() {
        return Err(Error::invalid(format!("bind source path does not exist: {}", mount.source)));
    }
    point.source = source.display().to_string();
    point.propagation = if options.propagation.is_empty() { "rprivate".to_owned() } else { options.propagation };
    Ok(Wanted::of(point))
}

/// What `BindOptions` say of mounts below.
fn recursion(mount: &Mount, options: &BindOptions) -> Result<()> {
    let conflict = |what: &str| Err(Error::invalid(format!("mount options conflict: {what}")));
    match (options.read_only_non_recursive, options.read_only_force_recursive) {
        (true, true) => conflict("ReadOnlyNonRecursive && BindOptions.ReadOnlyForceRecursive"),
        (true, false) if !mount.read_only => conflict("!ReadOnly && BindOptions.ReadOnlyNonRecursive"),
        (false, true) if !mount.read_only => conflict("!ReadOnly && BindOptions.ReadOnlyForceRecursive"),
        _ => Ok(()),
    }
}

fn volume_mount(mount: &Mount, mut point: MountPoint) -> Result<Wanted> {
    forbid(mount.bind_options.is_some(), "BindOptions")?;
    forbid(mount.image_options.is_some(), "ImageOptions")?;
    forbid(mount.tmpfs_options.is_some(), "TmpfsOptions")?;
    if mount.source.is_empty() && mount.read_only {
        return Err(Error::invalid("must not set ReadOnly mode when using anonymous volumes"));
    }
    let options = mount.volume_options.clone().unwrap_or_default();
    if mount.source.is_empty() && !options.subpath.is_empty() {
        return Err(Error::invalid("must not set Subpath when using anonymous volumes"));
    }
    check_subpath(&options.subpath)?;
    let driver = options.driver_config.unwrap_or_default();
    let request = CreateRequest {
        name: mount.source.clone(),
        driver: driver.name,
        options: driver.options,
        labels: options.labels,
        anonymous: false,
    };
    "z".clone_into(&mut point.mode);
    Ok(of_volume(point, request, !options.no_copy, &options.subpath))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_api_types::{ImageOptions, VolumeOptions};

    fn mount(kind: &str, source: &str, target: &str) -> Mount {
        Mount { r#type: kind.into(), source: source.into(), target: target.into(), ..Mount::default() }
    }

    #[test]
    fn docker_s_words_for_bad_mounts() {
        let propagation = BindOptions { propagation: "zz".into(), ..BindOptions::default() };
        let force = BindOptions { read_only_force_recursive: true, ..BindOptions::default() };
        let part = |subpath: &str| VolumeOptions { subpath: subpath.into(), ..VolumeOptions::default() };
        for (mount, text) in [
            (mount("bind", "/nonexist", "/y"), "bind source path does not exist: /nonexist"),
            (mount("bind", "", "/y"), "field Source must not be empty"),
            (mount("bind", "/tmp", ""), "field Target must not be empty"),
            (mount("bind", "rel", "/y"), "invalid mount path: 'rel' mount path must be absolute"),
            (
                Mount { volume_options: Some(VolumeOptions::default()), ..mount("bind", "/tmp", "/y") },
                "field VolumeOptions must not be specified",
            ),
            (
                Mount { bind_options: Some(BindOptions::default()), ..mount("volume", "aa", "/y") },
                "field BindOptions must not be specified",
            ),
            (mount("tmpfs", "aa", "/y"), "field Source must not be specified"),
            (mount("npipe", "aa", "/y"), "mount type unknown"),
            (mount("cluster", "aa", "/y"), "mount type unknown"),
            (mount("image", "", "/y"), "field Source must not be empty"),
            (
                Mount { image_options: Some(ImageOptions { subpath: "../x".into() }), ..mount("image", "i", "/y") },
                "subpath must be a relative path within the volume",
            ),
            (
                Mount { volume_options: Some(part("a")), ..mount("volume", "", "/y") },
                "must not set Subpath when using anonymous volumes",
            ),
            (
                Mount { volume_options: Some(part("a/../..")), ..mount("volume", "vv", "/y") },
                "subpath must be a relative path within the volume",
            ),
            (
                Mount { bind_options: Some(force), ..mount("bind", "/tmp", "/y") },
                "mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive",
            ),
            (mount("tmpfs", "", "y"), "invalid mount path: 'y' mount path must be absolute"),
            (mount("foo", "", "/y"), "mount type unknown"),
            (Mount { bind_options: Some(propagation), ..mount("bind", "/tmp", "/y") }, "invalid propagation mode: zz"),
            (mount("tmpfs", "", "/a/.."), "invalid specification: destination can't be '/'"),
        ] {
            assert_eq!(of_mount(&mount).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn binds_become_binds_or_volumes() {
        let host = of_bind("/x/:/y/:ro", "").unwrap();
        assert_eq!((host.point.source.as_str(), host.point.destination.as_str(), host.point.rw), ("/x", "/y", false));
        assert_eq!(host.point.propagation, "rprivate");
        let named = of_bind("data:/y", "").unwrap();
        assert_eq!((named.point.name.as_str(), named.point.mode.as_str()), ("data", "z"));
        assert!(named.volume.unwrap().copy);
        let message = of_bind("/x:relative", "").unwrap_err().to_string();
        assert_eq!(
            message,
            "invalid volume specification: '/x:relative': invalid mount config for type \"bind\": invalid mount path: 'relative' mount path must be absolute"
        );
    }
}
