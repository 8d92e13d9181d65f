//! `GET /containers/json`. Nothing here touches the disk unless sizes are asked for.

mod criteria;
mod status;

use crate::container::{Container, Record};
use crate::filters::Filters;
use crate::{Engine, links, network_view};
use criteria::Criteria;
use gantry_api_types::ContainerSummary;
use gantry_api_types::container::{SummaryHostConfig, SummaryNetworkSettings};
use gantry_model::{Id, Result, Timestamp};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

/// Query parameters of the list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// Only the newest so many, running or not; `None`, 0 and less is no limit.
    pub limit: Option<i64>,
    /// Compute sizes.
    pub size: bool,
    /// Which containers.
    pub filters: Filters,
}

impl Engine {
    /// The containers that match, the newest first.
    pub async fn container_list(&self, options: ListOptions) -> Result<Vec<ContainerSummary>> {
        let limit = options.limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        let criteria = Criteria::new(self, &options.filters)?;
        let all = options.all || limit.is_some() || criteria.shows_stopped();
        let mut found: Vec<(Timestamp, Arc<Container>)> = Vec::new();
        for container in self.containers.all() {
            let record = container.read();
            if (all || status::is_running(&record.state)) && criteria.matches(self, &record) {
                let created = record.created;
                drop(record);
                found.push((created, container));
            }
        }
        found.sort_by_key(|(created, _)| Reverse(*created));
        found.truncate(limit.unwrap_or(usize::MAX));
        let links = links::names(self);
        let found: Vec<Arc<Container>> = found.into_iter().map(|(_, container)| container).collect();
        let sizes = match options.size {
            false => None,
            true if found.len() == self.containers.all().len() => Some(self.all_layer_sizes().await),
            true => Some(self.layer_sizes(&found).await),
        };
        let mut list = Vec::with_capacity(found.len());
        for container in found {
            let record = container.read();
            let mut summary = self.summary(&record, &links);
            if let Some(sizes) = &sizes {
                // A container that is removed meanwhile has no files any more.
                let size = sizes.get(&record.id).map(|rw| self.with_image(&record, *rw));
                (summary.size_rw, summary.size_root_fs) = size.unwrap_or_default();
            }
            list.push(summary);
        }
        Ok(list)
    }

    fn summary(&self, record: &Record, links: &HashMap<Id, Vec<String>>) -> ContainerSummary {
        let mut names = links.get(&record.id).cloned().unwrap_or_default();
        names.push(format!("/{}", record.name));
        names.sort_unstable();
        ContainerSummary {
            id: record.id.to_string(),
            names,
            image: self.image_name(record),
            image_id: record.image.clone(),
            command: command(record),
            created: record.created.unix_seconds(),
            ports: network_view::ports(record),
            labels: record.config.labels.clone().unwrap_or_default(),
            state: record.state.status.as_str().to_owned(),
            status: status::describe(&record.state, Timestamp::now()),
            host_config: SummaryHostConfig {
                network_mode: record.host_config.network_mode.clone(),
                annotations: record.host_config.annotations.clone(),
            },
            network_settings: SummaryNetworkSettings { networks: network_view::endpoints(self, record) },
            mounts: record.mounts.clone(),
            ..ContainerSummary::default()
        }
    }

    /// The name the client used while it still means the container's image, else the image's id.
    fn image_name(&self, record: &Record) -> String {
        match self.images.resolve(&record.image_ref) {
            Ok(image) if image.id.as_str() == record.image => record.image_ref.clone(),
            _ => record.image.clone(),
        }
    }
}

/// The command line; arguments with a space are quoted.
fn command(record: &Record) -> String {
    let mut line = record.path.clone();
    for arg in &record.args {
        line.push(' ');
        if arg.contains(' ') {
            line.push('\'');
            line.push_str(arg);
            line.push('\'');
        } else {
            line.push_str(arg);
        }
    }
    line
}
