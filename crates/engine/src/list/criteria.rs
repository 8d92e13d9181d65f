//! The list's filters, read once and applied to every container. Several values of one key are
//! alternatives, except labels.

use crate::container::Record;
use crate::filters::Filters;
use crate::text_filter::Pattern;
use crate::{Engine, health, network_view};
use gantry_model::{Error, Result, Timestamp};
use gantry_network::Proto;
use std::collections::{BTreeSet, HashSet};

const KNOWN: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATUSES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTH: [&str; 4] = ["starting", "healthy", "unhealthy", "none"];

/// Filters in the form in which they are applied.
pub(super) struct Criteria<'f> {
    filters: &'f Filters,
    names: Vec<Pattern>,
    ids: Vec<Pattern>,
    exited: Vec<i64>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    /// Ids of the images asked for and of those made from them.
    ancestors: Option<HashSet<String>>,
    publish: BTreeSet<(u16, Proto)>,
    expose: BTreeSet<(u16, Proto)>,
    /// A filter that no container of this engine can satisfy.
    nothing: bool,
}

impl<'f> Criteria<'f> {
    /// Reads and checks the filters.
    pub(super) fn new(engine: &Engine, filters: &'f Filters) -> Result<Self> {
        filters.accept_only(KNOWN)?;
        for (key, allowed) in [("status", &STATUSES[..]), ("health", &HEALTH[..])] {
            if let Some(value) = filters.get(key).find(|value| !allowed.contains(value)) {
                return Err(Error::invalid(format!("Unrecognised filter value for {key}: {value}")));
            }
        }
        let exited = filters.get("exited").map(|code| {
            code.parse().map_err(|_| Error::invalid(format!("invalid filter 'exited={code}': not a number")))
        });
        let bound = |key: &str| {
            let times = filters.get(key).map(|name| Ok(engine.find(name)?.read().created));
            times.collect::<Result<Vec<Timestamp>>>()
        };
        Ok(Self {
            filters,
            names: Pattern::all(filters, "name"),
            ids: Pattern::all(filters, "id"),
            exited: exited.collect::<Result<_>>()?,
            before: bound("before")?.into_iter().min(),
            since: bound("since")?.into_iter().max(),
            ancestors: filters.has("ancestor").then(|| ancestors(engine, filters)),
            publish: ports(filters, "publish")?,
            expose: ports(filters, "expose")?,
            // No container is a swarm's task. `isolation` is for Windows, and accepted without effect elsewhere.
            nothing: filters.boolean("is-task")? == Some(true),
        })
    }

    /// A state that is asked for by name is shown without `all`.
    pub(super) fn shows_stopped(&self) -> bool {
        self.filters.has("status")
    }

    /// Whether a container satisfies every filter.
    pub(super) fn matches(&self, engine: &Engine, record: &Record) -> bool {
        let any = |key: &str, test: &dyn Fn(&str) -> bool| !self.filters.has(key) || self.filters.get(key).any(test);
        !self.nothing
            && self.matches_identity(record)
            && self.before.is_none_or(|before| record.created < before)
            && self.since.is_none_or(|since| record.created > since)
            && (self.exited.is_empty() || self.matches_exit(record))
            && any("status", &|status| record.state.status.as_str() == status)
            && any("health", &|wanted| health::status(record) == wanted)
            && self.ancestors.as_ref().is_none_or(|ancestors| ancestors.contains(&record.image))
            && any("volume", &|volume| {
                record.mounts.iter().any(|mount| mount.destination == volume || mount.name == volume)
            })
            && (!self.filters.has("network") || self.matches_network(engine, record))
            && self.matches_ports(record)
    }

    fn matches_identity(&self, record: &Record) -> bool {
        let none = std::collections::BTreeMap::new();
        let labels = record.config.labels.as_ref().unwrap_or(&none);
        if !self.filters.match_labels("label", labels) {
            return false;
        }
        let slashed = format!("/{}", record.name);
        let named = |p: &Pattern| p.matches(&record.name) || p.matches(&slashed);
        (self.names.is_empty() || self.names.iter().any(named))
            && (self.ids.is_empty() || {
                let id = record.id.to_string();
                self.ids.iter().any(|p| p.matches(&id))
            })
    }

    fn matches_exit(&self, record: &Record) -> bool {
        let ended = !super::status::is_running(&record.state) && !record.state.started_at.is_zero();
        ended && self.exited.contains(&record.state.exit_code)
    }

    fn matches_network(&self, engine: &Engine, record: &Record) -> bool {
        let networks = network_view::endpoints(engine, record);
        self.filters.get("network").any(|wanted| {
            let by_id = |id: &str| !id.is_empty() && !wanted.is_empty() && id.starts_with(wanted);
            networks.iter().any(|(name, endpoint)| name == wanted || by_id(&endpoint.network_id))
        })
    }

    fn matches_ports(&self, record: &Record) -> bool {
        if self.publish.is_empty() && self.expose.is_empty() {
            return true;
        }
        let published = record.attached.published.iter().flat_map(|published| &published.bindings);
        published.into_iter().any(|p| self.publish.contains(&(p.host_port, p.proto)))
            || (super::status::is_running(&record.state)
                && network_view::exposed(record).iter().any(|port| self.expose.contains(port)))
    }
}

/// The images asked for and all that were made from them; an image that does not exist adds nothing.
fn ancestors(engine: &Engine, filters: &Filters) -> HashSet<String> {
    let mut ids: HashSet<String> = HashSet::new();
    for name in filters.get("ancestor") {
        if let Ok(image) = engine.images.resolve(name) {
            ids.insert(image.id.to_string());
        }
    }
    let images = engine.images.list();
    let mut grown = true;
    while grown {
        grown = false;
        for image in &images {
            let parent = image.parent.as_ref().is_some_and(|parent| ids.contains(parent.as_str()));
            grown |= parent && ids.insert(image.id.to_string());
        }
    }
    ids
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn ports(filters: &Filters, key: &str) -> Result<BTreeSet<(u16, Proto)>> {
    let mut all = BTreeSet::new();
    for text in filters.get(key) {
        if text.contains(':') {
            return Err(Error::invalid(format!("filter for '{key}' should not contain ':': {text}")));
        }
        let invalid = || Error::invalid(format!("error while looking up for {key} {text}: invalid port"));
        let (range, proto) = text.split_once('/').unwrap_or((text, "tcp"));
        let proto = match proto {
            "tcp" => Proto::Tcp,
            "udp" => Proto::Udp,
            "sctp" => Proto::Sctp,
            _ => return Err(invalid()),
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u16, u16) = (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
        all.extend((first..=last).map(|port| (port, proto)));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(key: &str, values: &[&str]) -> Filters {
        Filters([(key.to_owned(), values.iter().map(|v| (*v).to_owned()).collect())].into())
    }

    #[test]
    fn port_ranges() {
        let all = ports(&filters("publish", &["80", "90-92/udp"]), "publish").unwrap();
        assert_eq!(all.len(), 4);
        assert!(all.contains(&(80, Proto::Tcp)) && all.contains(&(91, Proto::Udp)));
        assert_eq!(
            ports(&filters("publish", &["1:2"]), "publish").unwrap_err().to_string(),
            "filter for 'publish' should not contain ':': 1:2"
        );
        for bad in ["x", "1/foo", "1-", "70000"] {
            assert!(ports(&filters("expose", &[bad]), "expose").is_err(), "{bad}");
        }
    }
}
