//! `POST /containers/{id}/update`: limits and the restart policy of a container, running or not.

use crate::Engine;
use crate::container::Container;
use crate::create::{limits, validate};
use crate::plan::resources;
use gantry_api_types::{ContainerUpdateRequest, ContainerUpdateResponse, HostConfig};
use gantry_model::{ContainerStatus, Error, Result};
use gantry_runtime::spec::Resources;
use std::sync::Arc;

impl Engine {
    /// Changes what the request names; of a running container at once, and for every start from now on.
    pub async fn container_update(
        &self,
        name: &str,
        request: ContainerUpdateRequest,
    ) -> Result<ContainerUpdateResponse> {
        let mut wanted = as_host_config(&request);
        let mut warnings = Vec::new();
        limits::check(&mut wanted, &self.cgroups.support(), limits::Purpose::Update, &mut warnings)?;
        validate::restart(&wanted)?;
        let container = self.find(name)?;
        self.detached(move |engine| async move { engine.update(&container, &wanted).await }).await?;
        Ok(ContainerUpdateResponse { warnings: (!warnings.is_empty()).then_some(warnings) })
    }

    async fn update(self: &Arc<Self>, container: &Arc<Container>, wanted: &HostConfig) -> Result<()> {
        let id = container.id;
        let cannot = |e: Error| e.context(format!("Cannot update container {id}"));
        // A start that runs meanwhile has read the limits already, and would miss the change.
        let _verb = container.verbs.lock().await;
        let (status, mut host, cgroup) = {
            let record = container.read();
            (record.state.status, record.host_config.clone(), self.record_cgroup_path(&record))
        };
        if matches!(status, ContainerStatus::Removing | ContainerStatus::Dead) {
            return Err(cannot(Error::conflict("container is marked for removal and cannot be \"update\"")));
        }
        merge(&mut host, wanted).map_err(cannot)?;
        if status.is_live() {
            let changed = changed(wanted, &host)?;
            let cgroup = self.cgroups.cgroup(&cgroup);
            tokio::task::spawn_blocking(move || cgroup.update(&changed))
                .await
                .map_err(|e| Error::internal(format!("the engine failed: {e}")))?
                .map_err(|failure| cannot(Error::internal(failure.message)))?;
        }
        container.write().host_config = host;
        self.store(container).await?;
        self.container_event(container, "update", &[]);
        Ok(())
    }
}

/// The request in the form in which limits are checked and planned.
fn as_host_config(request: &ContainerUpdateRequest) -> HostConfig {
    let request = request.clone();
    HostConfig {
        cpu_shares: request.cpu_shares,
        memory: request.memory,
        nano_cpus: request.nano_cpus,
        blkio_weight: request.blkio_weight,
        cpu_period: request.cpu_period,
        cpu_quota: request.cpu_quota,
        cpu_realtime_period: request.cpu_realtime_period,
        cpu_realtime_runtime: request.cpu_realtime_runtime,
        cpuset_cpus: request.cpuset_cpus,
        cpuset_mems: request.cpuset_mems,
        kernel_memory: request.kernel_memory,
        memory_reservation: request.memory_reservation,
        memory_swap: request.memory_swap,
        memory_swappiness: request.memory_swappiness,
        oom_kill_disable: request.oom_kill_disable,
        // Nought and less are no limit; absent is no change.
        pids_limit: request.pids_limit.map(|limit| limit.max(0)),
        cpu_percent: request.cpu_percent,
        io_maximum_iops: request.io_maximum_iops,
        io_maximum_bandwidth: request.io_maximum_bandwidth,
        restart_policy: request.restart_policy,
        ..HostConfig::default()
    }
}

/// Puts what was said into the container's configuration. `NanoCpus` stands for a quota and a period, so that the two
/// ways exclude each other, also over time.
fn merge(host: &mut HostConfig, wanted: &HostConfig) -> Result<()> {
    let conflict = |what: &str| Err(Error::conflict(format!("Conflicting options: {what}")));
    for (conflicting, words) in [
        (wanted.nano_cpus > 0 && host.cpu_period > 0, "Nano CPUs cannot be updated as CPU Period has already been set"),
        (wanted.nano_cpus > 0 && host.cpu_quota > 0, "Nano CPUs cannot be updated as CPU Quota has already been set"),
        (wanted.cpu_period > 0 && host.nano_cpus > 0, "CPU Period cannot be updated as NanoCPUs has already been set"),
        (wanted.cpu_quota > 0 && host.nano_cpus > 0, "CPU Quota cannot be updated as NanoCPUs has already been set"),
    ] {
        if conflicting {
            return conflict(words);
        }
    }
    if wanted.memory != 0 && wanted.memory_swap == 0 && wanted.memory > host.memory_swap {
        return Err(Error::conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
        ));
    }
    for (own, said) in [
        (&mut host.cpu_shares, wanted.cpu_shares),
        (&mut host.nano_cpus, wanted.nano_cpus),
        (&mut host.cpu_period, wanted.cpu_period),
        (&mut host.cpu_quota, wanted.cpu_quota),
        (&mut host.cpu_realtime_period, wanted.cpu_realtime_period),
        (&mut host.cpu_realtime_runtime, wanted.cpu_realtime_runtime),
        (&mut host.memory, wanted.memory),
        (&mut host.memory_swap, wanted.memory_swap),
        (&mut host.memory_reservation, wanted.memory_reservation),
        (&mut host.kernel_memory, wanted.kernel_memory),
    ] {
        if said != 0 {
            *own = said;
        }
    }
    if wanted.blkio_weight != 0 {
        host.blkio_weight = wanted.blkio_weight;
    }
    for (own, said) in [(&mut host.cpuset_cpus, &wanted.cpuset_cpus), (&mut host.cpuset_mems, &wanted.cpuset_mems)] {
        if !said.is_empty() {
            own.clone_from(said);
        }
    }
    host.pids_limit = wanted.pids_limit.or(host.pids_limit);
    let policy = &wanted.restart_policy;
    if !policy.name.is_empty() {
        if host.auto_remove && policy.name != "no" {
            return Err(Error::conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        host.restart_policy = policy.clone();
    }
    Ok(())
}

/// What to write to the cgroup of a running container: what was said, and nothing else, for the container's owner may
/// have changed the rest.
fn changed(wanted: &HostConfig, merged: &HostConfig) -> Result<Resources> {
    let mut changed = resources::of_container(wanted)?;
    if changed.memory.is_some() || changed.memory_swap.is_some() {
        // v2 counts swap by itself: the one cannot be told without the other.
        let both = resources::of_container(merged)?;
        (changed.memory, changed.memory_swap) = (both.memory, both.memory_swap);
    }
    if wanted.pids_limit == Some(0) {
        changed.pids = Some(-1);
    }
    // As in Docker these are for the next start: the parents of a running cgroup have no such time to give.
    (changed.cpu_rt_period, changed.cpu_rt_runtime) = (None, None);
    (changed.memory_swappiness, changed.oom_kill_disable) = (None, false);
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_api_types::RestartPolicy;

    fn conflict(host: HostConfig, wanted: &HostConfig) -> String {
        merge(&mut { host }, wanted).err().map_or_else(String::new, |e| e.to_string())
    }

    #[test]
    fn what_excludes_what_is_there() {
        let new = HostConfig::default;
        let nano = || HostConfig { nano_cpus: 1, ..new() };
        assert!(conflict(HostConfig { cpu_period: 1, ..new() }, &nano()).contains("as CPU Period has"));
        assert!(conflict(HostConfig { cpu_quota: 1, ..new() }, &nano()).contains("as CPU Quota has"));
        assert!(conflict(nano(), &HostConfig { cpu_quota: 1, ..new() }).starts_with("Conflicting options: CPU Quota"));
        assert_eq!(conflict(nano(), &nano()), "");
        let memory = |memory, memory_swap| HostConfig { memory, memory_swap, ..new() };
        assert!(conflict(memory(1, 2), &memory(3, 0)).starts_with("Memory limit should be smaller"));
        assert_eq!(conflict(memory(1, 2), &memory(3, 4)), "");
        assert_eq!(conflict(memory(1, 2), &memory(2, 0)), "");
        let policy = RestartPolicy { name: "always".into(), maximum_retry_count: 0 };
        let with_policy = HostConfig { restart_policy: policy, ..new() };
        assert!(conflict(HostConfig { auto_remove: true, ..new() }, &with_policy).contains("AutoRemove"));
    }

    #[test]
    fn only_what_was_said_is_written() {
        let mut host = HostConfig { memory: 10, memory_swap: 20, cpu_shares: 5, ..HostConfig::default() };
        let wanted = HostConfig { memory_swap: 30, pids_limit: Some(0), ..HostConfig::default() };
        merge(&mut host, &wanted).unwrap();
        let wanted = changed(&wanted, &host).unwrap();
        let expected = Resources { memory: Some(10), memory_swap: Some(30), pids: Some(-1), ..Resources::default() };
        assert_eq!(wanted, expected);
        assert_eq!((host.cpu_shares, host.pids_limit), (5, Some(0)));
    }
}
