//! An instruction's arguments.

use super::lines::HereDoc;
use super::{Command, Form, MountText, Network, Run, Security, Text, flags, health, transfer, words};

/// Reads the arguments of an instruction other than `FROM`.
pub(super) fn parse(name: &'static str, rest: &str, documents: Vec<HereDoc>, escape: char) -> Text<Command> {
    match name {
        "ADD" | "COPY" => return transfer::parse(name, rest, documents, escape),
        "RUN" => return run(rest, documents, escape),
        "HEALTHCHECK" => return health::parse(rest, escape).map(Command::HealthCheck),
        "ONBUILD" => return on_build(rest, documents, escape),
        _ => {}
    }
    let (flags, rest) = flags::take(rest, escape);
    flags.none_left()?;
    let rest = rest.trim();
    if rest.is_empty() && !matches!(name, "CMD" | "ENTRYPOINT") {
        return Err(format!("{name} requires at least one argument"));
    }
    Ok(match name {
        "ARG" => Command::Arg(arg(rest, escape)?),
        "CMD" => Command::Cmd(form(rest)),
        "ENTRYPOINT" => Command::Entrypoint(form(rest)),
        "ENV" => Command::Env(words::pairs(rest, escape, "ENV")?),
        "LABEL" => Command::Label(words::pairs(rest, escape, "LABEL")?),
        "EXPOSE" => Command::Expose(words::shell_like(rest, escape)),
        "MAINTAINER" => Command::Maintainer(rest.to_owned()),
        "SHELL" => Command::Shell(shell(rest)?),
        "STOPSIGNAL" => Command::StopSignal(rest.to_owned()),
        "USER" => Command::User(rest.to_owned()),
        "VOLUME" => Command::Volume(volume(rest)?),
        "WORKDIR" => Command::Workdir(rest.to_owned()),
        other => return Err(format!("unknown instruction: {other}")),
    })
}

fn form(rest: &str) -> Form {
    match words::json_list(rest) {
        Some(list) => Form::Exec(list),
        None => Form::Shell(rest.trim().to_owned()),
    }
}

fn arg(rest: &str, escape: char) -> Text<Vec<(String, Option<String>)>> {
    let one = |word: String| match word.split_once('=') {
        Some(("", _)) => Err("ARG names can not be blank".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => Ok((word, None)),
    };
    words::shell_like(rest, escape).into_iter().map(one).collect()
}

fn shell(rest: &str) -> Text<Vec<String>> {
    match words::json_list(rest) {
        Some(list) if !list.is_empty() => Ok(list),
        Some(_) => Err("SHELL requires at least one argument".to_owned()),
        None => Err("SHELL requires the arguments to be in JSON form".to_owned()),
    }
}

fn volume(rest: &str) -> Text<Vec<String>> {
    let list: Vec<String> = words::json_or_plain(rest).into_iter().map(|v| v.trim().to_owned()).collect();
    if list.is_empty() {
        return Err("VOLUME requires at least one argument".to_owned());
    }
    if list.iter().any(String::is_empty) {
        return Err("VOLUME specified can not be an empty string".to_owned());
    }
    Ok(list)
}

fn run(rest: &str, documents: Vec<HereDoc>, escape: char) -> Text<Command> {
    let (mut flags, rest) = flags::take(rest, escape);
    let mounts = flags.values("mount")?.into_iter().map(MountText::new).collect::<Text<_>>()?;
    let network = match flags.value("network")?.as_deref() {
        None | Some("default") => Network::Default,
        Some("none") => Network::None,
        Some("host") => Network::Host,
        Some(other) => return Err(format!("invalid network mode: {other:?}")),
    };
    let security = match flags.value("security")?.as_deref() {
        None | Some("sandbox") => Security::Sandbox,
        Some("insecure") => Security::Insecure,
        Some(other) => return Err(format!("security {other:?} is not valid")),
    };
    flags.none_left()?;
    let command = form(rest);
    if matches!(&command, Form::Shell(text) if text.is_empty()) || command == Form::Exec(Vec::new()) {
        return Err("RUN requires at least one argument".to_owned());
    }
    Ok(Command::Run(Run { command, documents, mounts, network, security }))
}

/// The instruction is read now, so that its mistakes are this build's, and kept as it is written.
fn on_build(rest: &str, documents: Vec<HereDoc>, escape: char) -> Text<Command> {
    let (name, arguments) = words::first(rest);
    if name.is_empty() {
        return Err("ONBUILD requires at least one argument".to_owned());
    }
    let trigger = super::names::find(name)?;
    match trigger {
        "ONBUILD" => return Err("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()),
        "MAINTAINER" | "FROM" => return Err(format!("{trigger} isn't allowed as an ONBUILD trigger")),
        _ => {}
    }
    let mut text = rest.to_owned();
    for document in &documents {
        text = format!("{text}\n{}{}", document.content, document.name);
    }
    parse(trigger, arguments, documents, escape)?;
    Ok(Command::OnBuild(text))
}
