//! The client's configuration completed by the image's; the rules are Docker's `merge`.

use gantry_api_types::{ContainerConfig, Empty, HealthConfig};
use gantry_image_store::{HealthConfig as ImageHealth, ImageConfig};
use gantry_model::{Error, Result};
use std::collections::{BTreeMap, HashSet};

/// Completes `config` and returns the program and its arguments.
pub(super) fn merge(config: &mut ContainerConfig, image: &ImageConfig) -> Result<(String, Vec<String>)> {
    complete(config, image);
    command(config)
}

/// Completes `config`.
pub(crate) fn complete(config: &mut ContainerConfig, image: &ImageConfig) {
    let or = |own: &mut String, images: &str| {
        if own.is_empty() {
            images.clone_into(own);
        }
    };
    or(&mut config.user, &image.user);
    or(&mut config.working_dir, &image.working_dir);
    or(&mut config.stop_signal, &image.stop_signal);
    merge_set(&mut config.exposed_ports, image.exposed_ports.keys());
    merge_set(&mut config.volumes, image.volumes.keys());
    merge_env(config, &image.env);
    let labels = config.labels.get_or_insert_default();
    for (key, value) in &image.labels {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    merge_command(config, image);
    if let Some(health) = &image.healthcheck {
        merge_health(config.healthcheck.get_or_insert_default(), health);
    }
}

#[expect(clippy::zero_sized_map_values, reason = "the API's sets are maps")]
fn merge_set<'a>(own: &mut Option<BTreeMap<String, Empty>>, images: impl ExactSizeIterator<Item = &'a String>) {
    if images.len() > 0 {
        let own = own.get_or_insert_default();
        for key in images {
            own.insert(key.clone(), Empty {});
        }
    }
}

fn merge_env(config: &mut ContainerConfig, image: &[String]) {
    let key = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    let env = config.env.get_or_insert_default();
    let mut known: HashSet<String> = env.iter().map(|own| key(own)).collect();
    env.extend(image.iter().filter(|variable| known.insert(key(variable))).cloned());
}

/// An entrypoint of the client's goes without the image's command.
fn merge_command(config: &mut ContainerConfig, image: &ImageConfig) {
    let empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if !empty(&config.entrypoint) {
        return;
    }
    if empty(&config.cmd) {
        config.cmd.clone_from(&image.cmd);
        config.args_escaped = image.args_escaped;
    }
    if config.entrypoint.is_none() {
        config.entrypoint.clone_from(&image.entrypoint);
    }
}

fn merge_health(own: &mut HealthConfig, image: &ImageHealth) {
    if own.test.as_ref().is_none_or(Vec::is_empty) {
        own.test = Some(image.test.clone());
    }
    for (own, image) in [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
        (&mut own.retries, image.retries),
    ] {
        if *own == 0 {
            *own = image;
        }
    }
}

fn command(config: &mut ContainerConfig) -> Result<(String, Vec<String>)> {
    // `--entrypoint ""` resets the image's.
    if config.entrypoint.as_ref().is_some_and(|words| words.len() == 1 && words[0].is_empty()) {
        config.entrypoint = None;
    }
    let mut words = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned();
    let path = words.next().ok_or_else(|| Error::invalid("No command specified"))?;
    Ok((path, words.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "the fields are optional")]
    fn list(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|w| (*w).to_owned()).collect())
    }

    fn image() -> ImageConfig {
        ImageConfig {
            env: vec!["A=1".into(), "B=2".into()],
            entrypoint: list(&["/entry"]),
            cmd: list(&["image", "command"]),
            labels: [("l".to_owned(), "image".to_owned())].into(),
            ..ImageConfig::default()
        }
    }

    #[test]
    fn commands_and_entrypoints() {
        for (entrypoint, cmd, line) in [
            (None, None, Some("/entry image command")),
            (None, list(&["own"]), Some("/entry own")),
            (list(&["/own"]), None, Some("/own")),
            (list(&["/own"]), list(&["x"]), Some("/own x")),
            (list(&[]), list(&["x"]), Some("x")),
            (list(&[""]), list(&["x"]), Some("x")),
            (list(&[""]), None, None),
        ] {
            let mut config = ContainerConfig { entrypoint: entrypoint.clone(), cmd, ..ContainerConfig::default() };
            let merged = merge(&mut config, &image());
            let merged = merged.map(|(path, args)| [vec![path], args].concat().join(" ")).map_err(|e| e.to_string());
            assert_eq!(merged, line.map(str::to_owned).ok_or("No command specified".to_owned()), "{entrypoint:?}");
        }
    }

    #[test]
    fn the_client_wins() {
        let labels = Some([("l".to_owned(), "own".to_owned())].into());
        let mut config = ContainerConfig { env: list(&["B=3", "C"]), labels, ..ContainerConfig::default() };
        merge(&mut config, &image()).unwrap();
        assert_eq!(config.env, list(&["B=3", "C", "A=1"]));
        assert_eq!(config.labels.unwrap()["l"], "own");
    }
}
