//! `GET /containers/{id}/json`.

use crate::Engine;
use crate::container::{Dirs, Record, State};
use crate::{links, modules, network_view};
use gantry_api_types::{ContainerInspect, ContainerState, DriverData, HostConfig, NetworkSettings};
use gantry_model::{ContainerStatus, Result};
use std::path::Path;

/// The name of the storage driver: overlayfs on layers that are directories.
pub(crate) const STORAGE_DRIVER: &str = "overlay2";

impl Engine {
    /// Everything about one container; its sizes only if asked for, for they take a walk over its files.
    pub async fn container_inspect(&self, name: &str, size: bool) -> Result<ContainerInspect> {
        let container = self.find(name)?;
        let record = container.read().clone();
        let mut shown = self.inspect_record(&record);
        if size {
            let (rw, root) = self.container_sizes(&record).await?;
            shown.size_rw = Some(rw);
            shown.size_root_fs = Some(root);
        }
        Ok(shown)
    }

    fn inspect_record(&self, record: &Record) -> ContainerInspect {
        let dirs = self.dirs(&record.id);
        // The files exist from the first start on; those of a shared network are the other container's.
        let started = !record.state.started_at.is_zero();
        let file_dirs = match crate::plan::namespaces::network_peer(self, record) {
            Ok(Some(peer)) => self.dirs(&peer.id),
            _ => dirs.clone(),
        };
        let path = |path: &Path| if started { path.display().to_string() } else { String::new() };
        let execs = self.execs.of_container(record.id);
        let logs_to_file = record.host_config.log_config.r#type == "json-file";
        ContainerInspect {
            id: record.id.to_string(),
            created: record.created.to_string(),
            path: record.path.clone(),
            args: record.args.clone(),
            state: state(&record.state),
            image: record.image.clone(),
            resolv_conf_path: path(&file_dirs.resolv_conf()),
            hostname_path: path(&file_dirs.hostname()),
            hosts_path: path(&file_dirs.hosts()),
            log_path: if logs_to_file { path(&dirs.log(&record.id)) } else { String::new() },
            name: format!("/{}", record.name),
            restart_count: record.state.restart_count.into(),
            driver: STORAGE_DRIVER.to_owned(),
            platform: record.platform.clone(),
            mount_label: record.labels.mount.clone(),
            process_label: record.labels.process.clone(),
            app_armor_profile: modules::shown_profile(self, &record.host_config),
            exec_ids: (!execs.is_empty()).then_some(execs),
            host_config: HostConfig { links: links::shown(self, record), ..record.host_config.clone() },
            graph_driver: graph_driver(record, &dirs),
            mounts: record.mounts.clone(),
            config: record.config.clone(),
            network_settings: self.network_settings(record),
            ..ContainerInspect::default()
        }
    }

    fn network_settings(&self, record: &Record) -> NetworkSettings {
        let networks = network_view::endpoints(self, record);
        let mut settings = NetworkSettings { ports: network_view::port_map(record), ..NetworkSettings::default() };
        if record.state.status.is_live() {
            settings.sandbox_id = network_view::derived_id(&[&record.id.to_string(), "sandbox"]);
            // The namespace is not pinned anywhere else, so that nothing can leak.
            settings.sandbox_key = format!("/proc/{}/ns/net", record.state.pid);
        }
        // The deprecated copy of the default bridge's endpoint.
        if let Some(bridge) = networks.get("bridge") {
            settings.endpoint_id.clone_from(&bridge.endpoint_id);
            settings.gateway.clone_from(&bridge.gateway);
            settings.ip_address.clone_from(&bridge.ip_address);
            settings.ip_prefix_len = bridge.ip_prefix_len;
            settings.ipv6_gateway.clone_from(&bridge.ipv6_gateway);
            settings.global_ipv6_address.clone_from(&bridge.global_ipv6_address);
            settings.global_ipv6_prefix_len = bridge.global_ipv6_prefix_len;
            settings.mac_address.clone_from(&bridge.mac_address);
        }
        settings.networks = networks;
        settings
    }
}

fn state(state: &State) -> ContainerState {
    let status = state.status;
    ContainerState {
        status: status.as_str().to_owned(),
        // A container that waits for its next start counts as running, as in Docker.
        running: status.is_live() || status == ContainerStatus::Restarting,
        paused: status == ContainerStatus::Paused,
        restarting: status == ContainerStatus::Restarting,
        oom_killed: state.oom_killed,
        dead: status == ContainerStatus::Dead,
        pid: state.pid.into(),
        exit_code: state.exit_code,
        error: state.error.clone(),
        started_at: state.started_at.to_string(),
        finished_at: state.finished_at.to_string(),
        health: state.health.clone(),
    }
}

fn graph_driver(record: &Record, dirs: &Dirs) -> DriverData {
    let text = |path: &Path| path.display().to_string();
    let lower: Vec<String> = record.layers.iter().map(|layer| text(layer)).collect();
    let data = [
        ("LowerDir", lower.join(":")),
        ("MergedDir", text(&dirs.merged())),
        ("UpperDir", text(&dirs.upper())),
        ("WorkDir", text(&dirs.work())),
    ];
    let data = data.map(|(key, value)| (key.to_owned(), value)).into();
    DriverData { data: Some(data), name: STORAGE_DRIVER.to_owned() }
}
