//! One instruction: its parts, and what it does to a configuration.

use super::{ChangeError, health, ports, words};
use crate::{ImageConfig, config::Empty};

const ALLOWED: [&str; 12] = [
    "cmd",
    "entrypoint",
    "env",
    "expose",
    "healthcheck",
    "label",
    "onbuild",
    "shell",
    "stopsignal",
    "user",
    "volume",
    "workdir",
];

/// Names and values.
type Flags = Vec<(String, String)>;

#[derive(Debug)]
pub(super) struct Instruction<'t> {
    name: &'static str,
    flags: Flags,
    rest: &'t str,
}

pub(super) fn parse(line: &str) -> Result<Instruction<'_>, ChangeError> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let name = name.to_ascii_lowercase();
    let Some(name) = ALLOWED.into_iter().find(|allowed| *allowed == name) else {
        return Err(ChangeError::NotAllowed(name));
    };
    let (flags, rest) = split_flags(rest.trim())?;
    Ok(Instruction { name, flags, rest })
}

/// `--name=value` words before the arguments.
fn split_flags(mut rest: &str) -> Result<(Flags, &str), ChangeError> {
    let mut flags = Flags::new();
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        rest = after.trim_start();
        if flag.is_empty() {
            break;
        }
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        if flags.iter().any(|(known, _)| known == name) {
            return Err(ChangeError::DuplicateFlag(name.to_owned()));
        }
        if !flag.contains('=') {
            return Err(ChangeError::FlagValue(name.to_owned()));
        }
        flags.push((name.to_owned(), value.to_owned()));
    }
    Ok((flags, rest))
}

impl Instruction<'_> {
    /// Changes `config`. `cmd_set` remembers that a CMD came before an ENTRYPOINT, which otherwise resets it.
    pub(super) fn apply(&self, config: &mut ImageConfig, cmd_set: &mut bool) -> Result<(), ChangeError> {
        match self.name {
            "cmd" => {
                config.cmd = Some(self.shell_or_exec(config)?);
                *cmd_set = true;
                Ok(())
            }
            "entrypoint" => {
                let words = self.shell_or_exec(config)?;
                config.entrypoint = (!words.is_empty() && !self.rest.is_empty()).then_some(words);
                if !*cmd_set {
                    config.cmd = None;
                }
                Ok(())
            }
            "env" => self.env(config),
            "expose" => self.expose(config),
            "healthcheck" => {
                config.healthcheck = Some(health::parse(&self.flags, self.rest)?);
                Ok(())
            }
            "label" => self.label(config),
            "onbuild" => self.on_build(config),
            "shell" => self.shell(config),
            "stopsignal" => self.stop_signal(config),
            "user" => {
                config.user = words::expand(self.exactly_one("USER")?, &config.env)?;
                Ok(())
            }
            "volume" => self.volume(config),
            _ => self.working_dir(config),
        }
    }

    /// Only HEALTHCHECK has flags.
    fn no_flags(&self) -> Result<(), ChangeError> {
        self.flags.first().map_or(Ok(()), |(name, _)| Err(ChangeError::UnknownFlag(name.clone())))
    }

    fn at_least_one(&self, name: &'static str) -> Result<(), ChangeError> {
        if self.rest.is_empty() {
            return Err(ChangeError::AtLeastOne(name));
        }
        self.no_flags()
    }

    fn exactly_one(&self, name: &'static str) -> Result<&str, ChangeError> {
        if self.rest.is_empty() {
            return Err(ChangeError::ExactlyOne(name));
        }
        self.no_flags()?;
        Ok(self.rest)
    }

    fn shell_or_exec(&self, config: &ImageConfig) -> Result<Vec<String>, ChangeError> {
        self.no_flags()?;
        let (words, json) = command(self.rest)?;
        if json {
            return Ok(words);
        }
        let default = || vec!["/bin/sh".to_owned(), "-c".to_owned()];
        let mut line = if config.shell.is_empty() { default() } else { config.shell.clone() };
        line.extend(words);
        Ok(line)
    }

    fn env(&self, config: &mut ImageConfig) -> Result<(), ChangeError> {
        self.at_least_one("ENV")?;
        // All of one instruction see the environment before it.
        let before = config.env.clone();
        for (name, value) in name_values("ENV", self.rest)? {
            let (name, value) = (words::expand(&name, &before)?, words::expand(&value, &before)?);
            let entry = format!("{name}={value}");
            match config.env.iter_mut().find(|e| e.split('=').next() == Some(&name)) {
                Some(known) => *known = entry,
                None => config.env.push(entry),
            }
        }
        Ok(())
    }

    fn label(&self, config: &mut ImageConfig) -> Result<(), ChangeError> {
        self.at_least_one("LABEL")?;
        for (name, value) in name_values("LABEL", self.rest)? {
            let (name, value) = (words::expand(&name, &config.env)?, words::expand(&value, &config.env)?);
            config.labels.insert(name, value);
        }
        Ok(())
    }

    fn expose(&self, config: &mut ImageConfig) -> Result<(), ChangeError> {
        self.at_least_one("EXPOSE")?;
        for argument in words::split(self.rest) {
            for word in words::expand(&argument, &config.env)?.split_whitespace() {
                config.exposed_ports.extend(ports::parse(word)?.into_iter().map(|port| (port, Empty {})));
            }
        }
        Ok(())
    }

    fn on_build(&self, config: &mut ImageConfig) -> Result<(), ChangeError> {
        self.at_least_one("ONBUILD")?;
        let trigger = self.rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        match trigger.as_str() {
            "ONBUILD" => return Err(ChangeError::OnBuildOnBuild),
            "MAINTAINER" | "FROM" => return Err(ChangeError::OnBuildTrigger(trigger)),
            _ => config.on_build.push(self.rest.to_owned()),
        }
        Ok(())
    }

    fn shell(&self, config: &mut ImageConfig) -> Result<(), ChangeError> {
        self.no_flags()?;
        match command(self.rest)? {
            (words, true) if words.is_empty() => Err(ChangeError::AtLeastOne("SHELL")),
            (words, true) => {
                config.shell = words;
                Ok(())
            }
            (words, false) if words.is_empty() => Err(ChangeError::AtLeastOne("SHELL")),
            (_, false) => Err(ChangeError::ShellNotJson),
        }
    }

    fn stop_signal(&self, config: &mut ImageConfig) -> Result<(), ChangeError> {
        let signal = words::expand(self.exactly_one("STOPSIGNAL")?, &config.env)?;
        if gantry_model::signal::parse(&signal).is_err() {
            return Err(ChangeError::Signal(signal));
        }
        config.stop_signal = signal;
        Ok(())
    }

    fn volume(&self, config: &mut ImageConfig) -> Result<(), ChangeError> {
        self.no_flags()?;
        let (mut paths, json) = command(self.rest)?;
        if !json {
            paths = self.rest.split_whitespace().map(str::to_owned).collect();
        }
        if paths.is_empty() {
            return Err(ChangeError::AtLeastOne("VOLUME"));
        }
        for path in paths {
            let path = words::expand(&path, &config.env)?;
            let path = path.trim();
            if path.is_empty() {
                return Err(ChangeError::EmptyVolume);
            }
            config.volumes.insert(path.to_owned(), Empty {});
        }
        Ok(())
    }

    fn working_dir(&self, config: &mut ImageConfig) -> Result<(), ChangeError> {
        let wanted = words::expand(self.exactly_one("WORKDIR")?, &config.env)?;
        let joined = if wanted.starts_with('/') { wanted } else { format!("{}/{wanted}", config.working_dir) };
        let mut parts = Vec::new();
        for part in joined.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        config.working_dir = format!("/{}", parts.join("/"));
        Ok(())
    }
}

/// A command in JSON form, or the whole line as one word; and which it was.
pub(super) fn command(rest: &str) -> Result<(Vec<String>, bool), ChangeError> {
    if rest.starts_with('[')
        && let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(rest)
    {
        let word = |value: serde_json::Value| match value {
            serde_json::Value::String(word) => Ok(word),
            _ => Err(ChangeError::NotStrings),
        };
        return Ok((values.into_iter().map(word).collect::<Result<_, _>>()?, true));
    }
    Ok((if rest.is_empty() { Vec::new() } else { vec![rest.to_owned()] }, false))
}

/// `name=value…`, or the old `name value` with everything after the name as the value.
fn name_values(instruction: &'static str, rest: &str) -> Result<Vec<(String, String)>, ChangeError> {
    let words = words::split(rest);
    let first = words.first().map_or("", String::as_str);
    let pairs = if first.contains('=') {
        let pair = |word: &String| {
            let (name, value) = word.split_once('=').ok_or_else(|| ChangeError::NoEquals(word.clone()))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        words.iter().map(pair).collect::<Result<Vec<_>, _>>()?
    } else {
        let (name, value) = rest.split_once(char::is_whitespace).ok_or(ChangeError::TwoArguments(instruction))?;
        vec![(name.to_owned(), value.trim_start().to_owned())]
    };
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return Err(ChangeError::BlankName(instruction));
    }
    Ok(pairs)
}
