//! Which events a stream's filters let through; the rules are those of Docker's `events.Filter`.

use crate::filters::Filters;
use gantry_api_types::EventMessage;

/// Whether `event` passes.
pub(super) fn matches(filters: &Filters, event: &EventMessage, daemon: &[&str]) -> bool {
    let name = event.actor.attributes.get("name").map(String::as_str).unwrap_or_default();
    exact(filters, "type", &[&event.r#type])
        && exact(filters, "scope", &[&event.scope])
        && exact(filters, "daemon", daemon)
        && action(filters, &event.action)
        && ["container", "volume", "network", "plugin", "node", "service", "secret", "config"]
            .iter()
            .all(|key| prefix(filters, key, &[&event.actor.id, name]))
        && image(filters, event)
        && filters.match_labels("label", &event.actor.attributes)
}

/// `exec_create`, `exec_start` and `health_status` are followed by a colon and details, and are asked for without.
fn action(filters: &Filters, action: &str) -> bool {
    if filters.get("event").any(|f| matches!(f, "exec_create" | "exec_start" | "health_status")) {
        return prefix(filters, "event", &[action]);
    }
    exact(filters, "event", &[action])
}

fn image(filters: &Filters, event: &EventMessage) -> bool {
    let attribute = if event.r#type == "image" { "name" } else { "image" };
    let name = event.actor.attributes.get(attribute).map(String::as_str).unwrap_or_default();
    exact(filters, "image", &[&event.actor.id, name, without_tag(&event.actor.id), without_tag(name)])
}

fn exact(filters: &Filters, key: &str, candidates: &[&str]) -> bool {
    !filters.has(key) || filters.get(key).any(|wanted| candidates.contains(&wanted))
}

fn prefix(filters: &Filters, key: &str, candidates: &[&str]) -> bool {
    !filters.has(key) || filters.get(key).any(|wanted| candidates.iter().any(|c| c.starts_with(wanted)))
}

/// The part of a reference before tag and digest.
fn without_tag(reference: &str) -> &str {
    let reference = reference.split_once('@').map_or(reference, |(name, _)| name);
    match reference.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Kind, message};

    fn filters(pairs: &[(&str, &str)]) -> Filters {
        let mut filters = Filters::default();
        for (key, value) in pairs {
            filters.0.entry((*key).to_owned()).or_default().insert((*value).to_owned());
        }
        filters
    }

    #[test]
    fn docker_s_rules() {
        let attributes = [("name", "web-1"), ("image", "reg:5000/nginx:1"), ("team", "a")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let event = message(Kind::Container, "exec_create: ls -l", "abcdef", attributes, 0);
        for (pairs, passes) in [
            (&[][..], true),
            (&[("type", "container")], true),
            (&[("type", "image")], false),
            (&[("type", "image"), ("type", "container")], true),
            (&[("event", "exec_create")], true),
            (&[("event", "exec_create: ls -l")], true),
            (&[("event", "start")], false),
            (&[("container", "abc")], true),
            (&[("container", "web")], true),
            (&[("container", "x")], false),
            (&[("image", "reg:5000/nginx")], true),
            (&[("image", "reg:5000/nginx:1")], true),
            (&[("image", "nginx")], false),
            (&[("label", "team=a")], true),
            (&[("label", "team=b")], false),
            (&[("scope", "swarm")], false),
            (&[("daemon", "me")], true),
            (&[("daemon", "you")], false),
        ] {
            assert_eq!(matches(&filters(pairs), &event, &["me"]), passes, "{pairs:?}");
        }
    }
}
