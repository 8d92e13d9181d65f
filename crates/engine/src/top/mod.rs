//! `GET /containers/{id}/top`.
//!
//! Docker runs the host's `ps`. That needs a `ps` on the host and a fork of the daemon; the columns
//! people ask for are a few files of procfs, so they are read here instead.

mod columns;
mod process;

use crate::Engine;
use columns::Column;
use gantry_api_types::ContainerTopResponse;
use gantry_model::{ContainerStatus, Error, Result};
use process::{Machine, Process};

impl Engine {
    /// The processes of a container, in the columns that `ps` would show with these arguments.
    pub async fn container_top(&self, name: &str, ps_args: Option<&str>) -> Result<ContainerTopResponse> {
        let columns = columns::parse(ps_args.filter(|a| !a.trim().is_empty()).unwrap_or("-ef"))?;
        let container = self.find(name)?;
        let id = container.id;
        match container.read().state.status {
            ContainerStatus::Running | ContainerStatus::Paused => {}
            ContainerStatus::Restarting => {
                return Err(Error::conflict(format!(
                    "Container {id} is restarting, wait until the container is running"
                )));
            }
            _ => return Err(Error::conflict(format!("Container {id} is not running"))),
        }
        let mut pids = self.cgroups.cgroup(&self.cgroup_path(&container)).pids()?;
        pids.sort_unstable();
        let machine = Machine::read();
        // A process may end between the list and the look.
        let processes = pids.into_iter().filter_map(Process::read);
        let processes = processes.map(|p| columns.iter().map(|c| c.show(&p, &machine)).collect()).collect();
        self.container_event(&container, "top", &[]);
        Ok(ContainerTopResponse { processes, titles: columns.iter().map(Column::title).collect() })
    }
}
