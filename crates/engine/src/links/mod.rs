//! Links of the default bridge: names and variables by which one container knows another.
//!
//! A link is kept with the container that has it, by the id of its target: what the target is called does not matter to
//! it, and a target that is removed takes nothing of the container with it.

mod env;
mod hosts;
mod traffic;

pub(crate) use hosts::{append as append_host_lines, remove as remove_host_lines};

use crate::Engine;
use crate::container::{Container, Record};
use crate::plan::network::{self, NetworkMode};
use gantry_api_types::HostConfig;
use gantry_model::{Error, Id, Result};
use gantry_network::Endpoint;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// Containers that share a network by way of each other.
const LONGEST_CHAIN: usize = 64;
/// How long a restart by policy waits for those that are restarted too.
const PATIENCE: Duration = Duration::from_secs(5);

/// A name for another container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The other.
    pub target: Id,
    /// Its name here.
    pub alias: String,
}

/// A link whose target runs, with its address.
#[derive(Debug)]
pub(crate) struct Live {
    alias: String,
    target: Arc<Container>,
    endpoint: Endpoint,
}

impl Live {
    /// Links are a matter of IPv4.
    fn address(&self) -> Ipv4Addr {
        self.endpoint.ipv4.map_or(Ipv4Addr::UNSPECIFIED, |(ip, _)| ip)
    }
}

/// Splits what a client wrote: `name`, `name:alias`, or as inspect shows it, `/name:/parent/alias`.
pub(crate) fn parse(text: &str) -> Result<(&str, &str)> {
    if text.is_empty() {
        return Err(Error::invalid("empty string specified for links"));
    }
    let (name, alias) = text.split_once(':').unwrap_or((text, text));
    if alias.contains(':') {
        return Err(Error::invalid(format!("bad format for links: {text}")));
    }
    match name.strip_prefix('/') {
        Some(name) => Ok((name, alias.rsplit('/').next().unwrap_or(alias))),
        None => Ok((name, alias)),
    }
}

/// The links that a new container asks for. Of two with the same alias the first counts, and one without an alias is
/// none, as in Docker.
pub(crate) fn resolve(engine: &Engine, host: &HostConfig) -> Result<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    for text in host.links.iter().flatten() {
        let (name, alias) = parse(text)?;
        if alias.chars().any(|c| c.is_whitespace() || c.is_control()) {
            // It becomes a line of a file and the name of a variable.
            return Err(Error::invalid(format!("bad format for links: {text}")));
        }
        let target = target(engine, name)?;
        if !alias.is_empty() && links.iter().all(|link| link.alias != alias) {
            links.push(Link { target: target.id, alias: alias.to_owned() });
        }
    }
    Ok(links)
}

/// The container that owns the network of the one that is named.
fn target(engine: &Engine, name: &str) -> Result<Arc<Container>> {
    let find = |name: &str| {
        if name.is_empty() {
            return Err(Error::invalid("could not get container for : invalid name or ID supplied: \"\""));
        }
        engine.find(name).map_err(|e| Error::invalid(format!("could not get container for {name}: {e}")))
    };
    let mut found = find(name)?;
    // Names change hands, so that such a chain may be a ring by now.
    for _ in 0..LONGEST_CHAIN {
        let NetworkMode::Container(next) = network::parse_mode(&found.read().host_config.network_mode) else {
            break;
        };
        found = find(&next)?;
    }
    if found.read().host_config.network_mode == "host" {
        return Err(Error::invalid(WITH_HOST_NETWORK));
    }
    Ok(found)
}

/// Docker's words.
pub(crate) const WITH_HOST_NETWORK: &str =
    "conflicting options: host type networking can't be used with links. This would result in undefined behavior";

/// The links of a container that is about to start; all of their targets must run.
pub(crate) fn for_start(engine: &Engine, record: &Record) -> Result<Vec<Live>> {
    if record.links.is_empty() || network::mode(record) != NetworkMode::Bridge {
        return Ok(Vec::new());
    }
    let mut all = Vec::new();
    for link in &record.links {
        // A target that was removed is no link any more.
        let Some(target) = engine.containers.get(&link.target) else { continue };
        let (running, endpoint, name) = {
            let record = target.read();
            (record.state.status.is_live(), record.attached.bridge().cloned(), record.name.clone())
        };
        if !running {
            let (parent, alias) = (&record.name, &link.alias);
            return Err(Error::internal(format!(
                "Cannot link to a non running container: /{name} AS /{parent}/{alias}"
            )));
        }
        let Some(endpoint) = endpoint else {
            return Err(Error::internal(format!(
                "Cannot link to /{name}, as it does not belong to the default network"
            )));
        };
        all.push(Live { alias: link.alias.clone(), target, endpoint });
    }
    Ok(all)
}

/// The variables of the links whose targets run.
pub(crate) fn variables(engine: &Engine, record: &Record) -> Vec<String> {
    let live = record.links.iter().filter_map(|link| {
        let target = engine.containers.get(&link.target)?;
        let endpoint = target.read().attached.bridge().cloned()?;
        Some(Live { alias: link.alias.clone(), target, endpoint })
    });
    live.flat_map(|link| env::of_link(&record.name, &link)).collect()
}

/// Lines of `/etc/hosts`.
pub(crate) fn host_lines(links: &[Live]) -> String {
    links.iter().map(hosts::line).collect()
}

/// `HostConfig.Links` as inspect shows it.
pub(crate) fn shown(engine: &Engine, record: &Record) -> Option<Vec<String>> {
    let shown = record.links.iter().filter_map(|link| {
        let target = engine.containers.get(&link.target)?;
        let name = target.read().name.clone();
        Some(format!("/{name}:/{}/{}", record.name, link.alias))
    });
    let shown: Vec<_> = shown.collect();
    (!shown.is_empty()).then_some(shown)
}

/// The names that containers have by links, by their ids.
pub(crate) fn names(engine: &Engine) -> HashMap<Id, Vec<String>> {
    let mut names: HashMap<Id, Vec<String>> = HashMap::new();
    for container in engine.containers.all() {
        let record = container.read();
        for link in &record.links {
            names.entry(link.target).or_default().push(format!("/{}/{}", record.name, link.alias));
        }
    }
    names
}

impl Engine {
    /// Waits, though not for ever, for the targets that a policy is about to start.
    pub(crate) async fn wait_for_linked(&self, container: &Container) {
        let links = container.read().links.clone();
        let targets = links.iter().filter_map(|link| self.containers.get(&link.target));
        let awaited = targets.map(|target| async move {
            let mut progress = target.progress.subscribe();
            // The sender is a part of the container.
            drop(progress.wait_for(|p| p.live || !p.restarts).await);
        });
        drop(tokio::time::timeout(PATIENCE, futures_util::future::join_all(awaited)).await);
    }

    /// A container has started: those that run and have a link to it learn its address.
    pub(crate) fn tell_linked(&self, container: &Container) {
        let Some(endpoint) = container.read().attached.bridge().cloned() else { return };
        tokio::task::block_in_place(|| self.reopen_links_to(container.id));
        for parent in self.containers.all() {
            let aliases: Vec<String> = {
                let record = parent.read();
                let to_it = record.links.iter().filter(|link| link.target == container.id);
                if record.state.status.is_live() { to_it.map(|l| l.alias.clone()).collect() } else { Vec::new() }
            };
            let file = self.dirs(&parent.id).hosts();
            for alias in aliases {
                if let Err(e) = hosts::change(&file, &alias, endpoint.ipv4.map(|(ip, _)| ip)) {
                    tracing::warn!("{}: {e}", file.display());
                }
            }
        }
    }

    /// `DELETE /containers/{parent}/{alias}?link=1`.
    pub(crate) async fn remove_link(&self, name: &str) -> Result<()> {
        let missing = || Error::not_found(format!("No such container: {name}"));
        let Some((parent, alias)) = name.trim_start_matches('/').split_once('/') else {
            self.find(name)?;
            return Err(Error::conflict("Conflict, cannot remove the default link name of the container"));
        };
        let parent = self.find(parent).map_err(|_| missing())?;
        {
            let mut record = parent.write();
            let at = record.links.iter().position(|link| link.alias == alias).ok_or_else(missing)?;
            record.links.remove(at);
        }
        self.store(&parent).await?;
        let (engine, child) = (self.arc(), parent.clone());
        drop(tokio::task::spawn_blocking(move || engine.reopen_links(&child)).await);
        let file = self.dirs(&parent.id).hosts();
        match hosts::change(&file, alias, None) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn forms() {
        assert_eq!(parse("db").unwrap(), ("db", "db"));
        assert_eq!(parse("db:a").unwrap(), ("db", "a"));
        assert_eq!(parse("/db:/web/a").unwrap(), ("db", "a"));
        assert_eq!(parse("db:").unwrap(), ("db", ""));
        assert_eq!(parse("").unwrap_err().to_string(), "empty string specified for links");
        assert_eq!(parse("a:b:c").unwrap_err().to_string(), "bad format for links: a:b:c");
    }
}
