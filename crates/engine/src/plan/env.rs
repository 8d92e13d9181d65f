//! The environment of a process.

use crate::Engine;
use crate::container::Record;
use crate::links;
use std::collections::HashMap;

/// What the daemon puts before the container's own variables.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The init process' environment in Docker's order; `HOME` comes from the child, which knows the user.
pub(crate) fn of_container(engine: &Engine, record: &Record, hostname: &str) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if record.config.tty {
        env.push("TERM=xterm".to_owned());
    }
    env.extend(links::variables(engine, record));
    override_with(&mut env, record.config.env.as_deref().unwrap_or_default());
    env
}

/// `KEY=value` replaces or appends, `KEY` alone removes.
pub(crate) fn override_with(env: &mut Vec<String>, overrides: &[String]) {
    let key = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    // By name, since a client may send a hundred thousand. The first of a name is the one that counts.
    let mut places = HashMap::new();
    for (at, have) in env.iter().enumerate() {
        places.entry(key(have)).or_insert(at);
    }
    let mut slots: Vec<Option<String>> = std::mem::take(env).into_iter().map(Some).collect();
    for text in overrides {
        let name = key(text);
        match (places.get(&name), text.contains('=')) {
            (Some(&at), true) => slots[at] = Some(text.clone()),
            (None, true) => {
                places.insert(name, slots.len());
                slots.push(Some(text.clone()));
            }
            (Some(&at), false) => {
                slots[at] = None;
                places.remove(&name);
            }
            (None, false) => {}
        }
    }
    env.extend(slots.into_iter().flatten());
}

#[cfg(test)]
mod tests {
    use super::override_with;

    #[test]
    fn replaces_appends_and_removes() {
        let mut env: Vec<String> = ["A=1", "B=2", "C=3"].map(str::to_owned).into();
        override_with(&mut env, &["B=x=y".to_owned(), "D=".to_owned(), "A".to_owned(), "Z".to_owned()]);
        assert_eq!(env, ["B=x=y", "C=3", "D="]);
        override_with(&mut env, &["C".to_owned(), "C=again".to_owned(), "C=last".to_owned()]);
        assert_eq!(env, ["B=x=y", "D=", "C=last"]);
    }
}
