//! Instructions that change nothing but the configuration.

use crate::backend::{Action, Backend, BuildError};
use crate::dockerfile::{Command, Form, HealthCheck, HealthTest, Instruction};
use crate::key::Key;
use crate::stage::StageRun;
use crate::steps::ports::ports;
use gantry_model::{Error, Result};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The instructions that give the client's labels, each a step of its own, as in Docker.
pub(crate) fn labels(labels: &BTreeMap<String, String>) -> Vec<Instruction> {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$"));
    let label = |(name, value): (&String, &String)| {
        let (name, value) = (quote(name), quote(value));
        Instruction { text: format!("LABEL {name}={value}"), command: Command::Label(vec![(name, value)]), line: 0 }
    };
    labels.iter().map(label).collect()
}

/// Applies an instruction and makes an image of what it changed.
pub(crate) async fn apply<B: Backend>(
    stage: &mut StageRun<'_, B>,
    command: &Command,
    text: &str,
) -> Result<(), BuildError> {
    // The shell as it is before the instruction: `SHELL` is shown with the new one.
    let (comment, action) = change(stage, command)?;
    let space = if matches!(command, Command::Workdir(_)) { "" } else { " " };
    let created_by = format!("{} #(nop) {space}{comment}", stage.config.shell().join(" "));
    let key = Key::new("change", stage.image.as_deref())
        .with(&comment)
        .with(&serde_json::to_string(&stage.config).unwrap_or_default())
        .with(&stage.author);
    stage.step(key.finish(), action, created_by, text).await
}

/// Changes the configuration; what the history says, and what has to be done.
fn change<B: Backend>(stage: &mut StageRun<'_, B>, command: &Command) -> Result<(String, Action)> {
    let comment = match command {
        Command::Arg(list) => arg(stage, list)?,
        Command::Env(list) => env(stage, list)?,
        Command::Label(list) => label(stage, list)?,
        Command::Cmd(form) => {
            let words = command_line(stage, form);
            let comment = format!("CMD {}", quoted(&words));
            stage.config.cmd = (!words.is_empty()).then_some(words);
            stage.command_is_ours = true;
            comment
        }
        Command::Entrypoint(form) => {
            let words = command_line(stage, form);
            let comment = format!("ENTRYPOINT {}", quoted(&words));
            stage.config.entrypoint = (!words.is_empty()).then_some(words);
            // What a base image runs makes no sense behind another program.
            if !stage.command_is_ours {
                stage.config.cmd = None;
            }
            comment
        }
        Command::Expose(words) => expose(stage, words)?,
        Command::HealthCheck(check) => {
            stage.config.healthcheck = Some(health(check));
            shown_health(stage.config.healthcheck.as_ref())
        }
        Command::Maintainer(name) => {
            stage.author.clone_from(name);
            format!("MAINTAINER {name}")
        }
        Command::OnBuild(trigger) => {
            stage.config.on_build.push(trigger.clone());
            format!("ONBUILD {trigger}")
        }
        Command::Shell(shell) => {
            stage.config.shell.clone_from(shell);
            format!("SHELL [{}]", shell.join(" "))
        }
        Command::StopSignal(signal) => {
            let signal = stage.word(signal)?;
            gantry_model::signal::parse(&signal)?;
            stage.config.stop_signal.clone_from(&signal);
            format!("STOPSIGNAL {signal}")
        }
        Command::User(user) => {
            let user = stage.word(user)?;
            stage.config.user.clone_from(&user);
            format!("USER {user}")
        }
        Command::Volume(list) => volume(stage, list)?,
        Command::Workdir(path) => return workdir(stage, path),
        Command::Add(_) | Command::Copy(_) | Command::Run(_) => {
            return Err(Error::internal("not an instruction of the configuration"));
        }
    };
    Ok((comment, Action::None))
}

fn arg<B: Backend>(stage: &mut StageRun<'_, B>, list: &[(String, Option<String>)]) -> Result<String> {
    let mut comment = "ARG".to_owned();
    for (name, default) in list {
        let name = stage.word(name)?;
        let default = default.as_ref().map(|text| stage.word(text)).transpose()?;
        comment = match &default {
            Some(value) => format!("{comment} {name}={value}"),
            None => format!("{comment} {name}"),
        };
        stage.args.declare(&name, default);
        stage.declared.insert(name);
    }
    Ok(comment)
}

fn env<B: Backend>(stage: &mut StageRun<'_, B>, list: &[(String, String)]) -> Result<String> {
    let mut comment = "ENV".to_owned();
    // All of one instruction's values see the variables as they were before it.
    let list = expand_pairs(stage, list)?;
    for (name, value) in list {
        if name.is_empty() {
            return Err(Error::invalid("ENV names can not be blank"));
        }
        comment = format!("{comment} {name}={value}");
        stage.config.set_variable(&name, &value);
    }
    Ok(comment)
}

fn label<B: Backend>(stage: &mut StageRun<'_, B>, list: &[(String, String)]) -> Result<String> {
    let mut comment = "LABEL".to_owned();
    for (name, value) in expand_pairs(stage, list)? {
        if name.is_empty() {
            return Err(Error::invalid("LABEL names can not be blank"));
        }
        comment = format!("{comment} {name}={value}");
        stage.config.labels.insert(name, value);
    }
    Ok(comment)
}

fn expand_pairs<B: Backend>(stage: &StageRun<'_, B>, list: &[(String, String)]) -> Result<Vec<(String, String)>> {
    list.iter().map(|(name, value)| Ok((stage.word(name)?, stage.word(value)?))).collect()
}

fn expose<B: Backend>(stage: &mut StageRun<'_, B>, words: &[String]) -> Result<String> {
    let mut shown = Vec::new();
    // In the order of how they are written, which is not that of what they mean.
    let mut words: Vec<&String> = words.iter().collect();
    words.sort_unstable();
    for word in words {
        let expanded = stage.expander.words(word, &|name: &str| stage.variable(name)).map_err(Error::invalid)?;
        for word in expanded {
            for port in ports(&word)? {
                stage.config.exposed_ports.insert(port, json!({}));
            }
            shown.push(word);
        }
    }
    Ok(format!("EXPOSE {}", shown.join(" ")))
}

fn volume<B: Backend>(stage: &mut StageRun<'_, B>, list: &[String]) -> Result<String> {
    let list = list.iter().map(|path| stage.word(path)).collect::<Result<Vec<_>>>()?;
    for path in &list {
        if path.is_empty() {
            return Err(Error::invalid("VOLUME specified can not be an empty string"));
        }
        stage.config.volumes.insert(path.clone(), json!({}));
    }
    Ok(format!("VOLUME [{}]", list.join(" ")))
}

fn workdir<B: Backend>(stage: &mut StageRun<'_, B>, path: &str) -> Result<(String, Action)> {
    let path = stage.word(path)?;
    if path.is_empty() {
        return Err(Error::invalid("cannot normalize nothing"));
    }
    let path = stage.config.absolute(&path);
    stage.config.working_dir.clone_from(&path);
    Ok((format!("WORKDIR {path}"), Action::MakeDirectory(path)))
}

/// Program and arguments: the shell's for a text.
pub(crate) fn command_line<B: Backend>(stage: &StageRun<'_, B>, form: &Form) -> Vec<String> {
    match form {
        Form::Exec(words) => words.clone(),
        Form::Shell(text) if text.is_empty() => Vec::new(),
        Form::Shell(text) => stage.config.shell().into_iter().chain([text.clone()]).collect(),
    }
}

fn health(check: &HealthCheck) -> Value {
    let test: Vec<String> = match &check.test {
        HealthTest::None => vec!["NONE".to_owned()],
        HealthTest::Command(Form::Exec(words)) => ["CMD".to_owned()].into_iter().chain(words.clone()).collect(),
        HealthTest::Command(Form::Shell(text)) => vec!["CMD-SHELL".to_owned(), text.clone()],
    };
    let mut value = json!({ "Test": test });
    let times = [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ];
    for (name, time) in times {
        if !time.is_zero() {
            value[name] = json!(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
        }
    }
    if check.retries != 0 {
        value["Retries"] = json!(check.retries);
    }
    value
}

/// Docker prints Go's structure.
fn shown_health(value: Option<&Value>) -> String {
    let value = value.cloned().unwrap_or_default();
    let test: Vec<String> = serde_json::from_value(value["Test"].clone()).unwrap_or_default();
    let time = |name: &str| {
        let nanos = value[name].as_u64().unwrap_or(0);
        format!("\"{}\"", go_duration(Duration::from_nanos(nanos)))
    };
    let retries = value["Retries"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
    let retries = match retries {
        0 => "'\\x00'".to_owned(),
        n @ 7..=13 => format!("'\\{}'", ["a", "b", "t", "n", "v", "f", "r"][n as usize - 7]),
        n @ (1..=31 | 127) => format!("'\\x{n:02x}'"),
        n => format!("'{}'", char::from_u32(n).unwrap_or('\u{fffd}')),
    };
    format!(
        "HEALTHCHECK &{{{} {} {} {} {retries}}}",
        quoted(&test),
        time("Interval"),
        time("Timeout"),
        time("StartPeriod")
    )
}

fn go_duration(time: Duration) -> String {
    let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
    if seconds == 0 && nanos > 0 {
        return format!("{}ms", f64::from(nanos) / 1e6);
    }
    let rest = (seconds % 60) as f64 + f64::from(nanos) / 1e9;
    match (seconds / 3600, seconds / 60 % 60) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// Go's `%q` of a list of strings.
fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| Value::from(word.as_str()).to_string()).collect();
    format!("[{}]", words.join(" "))
}
