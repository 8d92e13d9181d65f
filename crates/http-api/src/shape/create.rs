//! What a create request of an older client means.

use crate::version::ApiVersion;
use gantry_api_types::{ContainerCreateRequest, HostConfig, Mount};
use gantry_model::{Error, Result};

/// Until API 1.43 a container was created on one network, and connected to others later.
pub(crate) fn check(version: ApiVersion, request: &ContainerCreateRequest) -> Result<()> {
    let endpoints = request.networking_config.endpoints_config.iter().flatten();
    let names: Vec<&str> = endpoints.map(|(name, _)| name.as_str()).collect();
    if version < ApiVersion::v1(44) && names.len() > 1 {
        let names = names.join(", ");
        return Err(Error::invalid(format!("Container cannot be connected to network endpoints: {names}")));
    }
    request.host_config.mounts.iter().flatten().try_for_each(|mount| check_mount(version, mount))
}

/// What an older version did not have and may not be ignored: the container would see or write to what it should not.
fn check_mount(version: ApiVersion, mount: &Mount) -> Result<()> {
    let forced = mount.bind_options.as_ref().is_some_and(|options| options.read_only_force_recursive);
    if forced && version < ApiVersion::v1(44) {
        return Err(Error::invalid("BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"));
    }
    if mount.r#type == "image" && version < ApiVersion::v1(48) {
        return Err(Error::invalid("Mount type \"Image\" needs API v1.48 or newer"));
    }
    Ok(())
}

/// Brings the request into the newest form: fields that the client's version did not have are as if
/// they had not been sent, defaults that changed since are filled in.
pub(crate) fn adapt(version: ApiVersion, request: &mut ContainerCreateRequest) {
    let before = |minor| version < ApiVersion::v1(minor);
    if let Some(health) = request.config.as_mut().and_then(|config| config.healthcheck.as_mut())
        && before(44)
    {
        health.start_interval = 0;
    }
    host_config(version, &mut request.host_config);
    let endpoints = request.networking_config.endpoints_config.iter_mut().flat_map(|map| map.values_mut());
    for endpoint in endpoints.flatten() {
        super::network::adapt_endpoint(version, endpoint);
    }
}

fn host_config(version: ApiVersion, host: &mut HostConfig) {
    let before = |minor| version < ApiVersion::v1(minor);
    if before(25) {
        // The client removed the container itself.
        host.auto_remove = false;
    }
    if before(40) {
        host.kernel_memory_tcp = 0;
        if host.ipc_mode.is_empty() {
            // The default became `private`.
            host.ipc_mode = "shareable".into();
        }
    }
    if before(41) && host.cgroupns_mode.is_empty() {
        // The default became `private` on cgroup v2.
        host.cgroupns_mode = "host".into();
    }
    if before(42) {
        host.console_size = [0, 0];
    } else {
        host.kernel_memory = 0;
    }
    if before(43) {
        host.annotations = None;
    }
    // Both mean no limit; records keep one form.
    host.pids_limit = host.pids_limit.filter(|&limit| limit > 0);
    for mount in host.mounts.iter_mut().flatten() {
        adapt_mount(version, mount);
    }
}

fn adapt_mount(version: ApiVersion, mount: &mut Mount) {
    let before = |minor| version < ApiVersion::v1(minor);
    if let Some(bind) = &mut mount.bind_options {
        bind.non_recursive &= !before(40);
        bind.create_mountpoint &= !before(42);
        bind.read_only_non_recursive &= !before(44);
    }
    if let Some(volume) = &mut mount.volume_options
        && before(45)
    {
        volume.subpath.clear();
    }
    if let Some(tmpfs) = &mut mount.tmpfs_options
        && before(46)
    {
        tmpfs.options = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(version: u32, body: &str) -> ContainerCreateRequest {
        let mut request = ContainerCreateRequest::from_json(body.as_bytes()).unwrap();
        adapt(ApiVersion::v1(version), &mut request);
        request
    }

    #[test]
    fn defaults_of_old_clients() {
        let body = r#"{"HostConfig":{"AutoRemove":true,"PidsLimit":-1}}"#;
        let host = adapted(24, body).host_config;
        assert!(!host.auto_remove);
        assert_eq!((host.ipc_mode.as_str(), host.cgroupns_mode.as_str()), ("shareable", "host"));
        let host = adapted(51, body).host_config;
        assert!(host.auto_remove);
        assert_eq!((host.ipc_mode.as_str(), host.cgroupns_mode.as_str()), ("", ""));
        assert_eq!(host.pids_limit, None);
    }

    #[test]
    fn fields_from_the_future_are_ignored() {
        let body = r#"{"HostConfig":{"Annotations":{"a":"b"},"Mounts":[{"BindOptions":{"CreateMountpoint":true}}]}}"#;
        let create = |version| {
            let host = adapted(version, body).host_config;
            (host.annotations.is_some(), host.mounts.unwrap()[0].bind_options.as_ref().unwrap().create_mountpoint)
        };
        assert_eq!(create(41), (false, false));
        assert_eq!(create(43), (true, true));
    }
}
