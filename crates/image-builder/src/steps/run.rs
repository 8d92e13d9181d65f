//! `RUN`.

use crate::backend::{Action, Backend, BuildError, FilesOf, MountOf, RunAction, RunMount, SCRIPTS};
use crate::dockerfile::{Form, Mount, MountKind, Run, Security};
use crate::key::Key;
use crate::stage::StageRun;
use crate::steps::metadata::command_line;
use gantry_model::{Error, Result};

pub(crate) async fn run<B: Backend>(stage: &mut StageRun<'_, B>, run: &Run, text: &str) -> Result<(), BuildError> {
    let (command, scripts) = command(stage, run)?;
    let environment = stage.args.for_commands(&|name| stage.config.variable(name).is_some());
    let counted = stage.args.counted(&environment);
    let mut mounts = Vec::new();
    for mount in &run.mounts {
        let expand = |text: &str| stage.expander.word(text, &|name: &str| stage.variable(name));
        let mount = mount.read(&expand).map_err(Error::invalid)?;
        mounts.push(find(stage, &mount).await?);
    }
    let shown = command.join(" ");
    // Docker counts those that do not count, too: with a proxy alone the line begins with `|0`.
    let created_by = if environment.is_empty() {
        shown.clone()
    } else {
        let words: Vec<&str> = counted.iter().map(String::as_str).chain([shown.as_str()]).collect();
        format!("|{} {}", counted.len(), words.join(" "))
    };
    let key = Key::new("run", stage.image.as_deref())
        .with_all(&command)
        .with_all(&counted)
        .with_all(scripts.iter().map(|(_, text)| text))
        .with(&format!("{:?}", run.network));
    let key = if run.security == Security::Insecure { key.with("insecure") } else { key };
    let key = mounts.iter().fold(key, |key, (said, _)| key.with(said));
    let action = RunAction {
        command,
        shown,
        environment,
        scripts,
        mounts: mounts.into_iter().map(|(_, mount)| mount).collect(),
        network: run.network,
        security: run.security,
    };
    stage.step(key.finish(), Action::Run(Box::new(action)), created_by, text).await
}

/// Names and texts.
type Scripts = Vec<(String, String)>;

/// Program and arguments, and files that have to be there to run.
fn command<B: Backend>(stage: &StageRun<'_, B>, run: &Run) -> Result<(Vec<String>, Scripts)> {
    let Form::Shell(line) = &run.command else {
        let words = command_line(stage, &run.command);
        return Ok((words, Vec::new()));
    };
    let Some(first) = run.documents.first() else { return Ok((command_line(stage, &run.command), Vec::new())) };
    let alone = line.starts_with("<<") && !line.contains(char::is_whitespace);
    if !alone {
        // The shell reads the documents itself.
        let whole = run.documents.iter().fold(line.clone(), |whole, d| format!("{whole}\n{}{}", d.content, d.name));
        return Ok((command_line(stage, &Form::Shell(whole)), Vec::new()));
    }
    let script = first.meant();
    if !script.starts_with("#!") {
        return Ok((command_line(stage, &Form::Shell(script)), Vec::new()));
    }
    if first.name.contains('/') || first.name.starts_with('.') {
        return Err(Error::invalid(format!("a script cannot be called {:?}", first.name)));
    }
    Ok((vec![format!("{SCRIPTS}/{}", first.name)], vec![(first.name.clone(), script)]))
}

/// Finds what a mount shows; also what of it counts for the cache.
async fn find<B: Backend>(stage: &StageRun<'_, B>, mount: &Mount) -> Result<(String, RunMount)> {
    let target = &mount.target;
    let target = if target.is_empty() { String::new() } else { stage.config.absolute(target) };
    if target == "/" {
        return Err(Error::invalid("invalid mount target \"/\""));
    }
    let (said, of) = match &mount.kind {
        MountKind::Bind(bind) => {
            let (said, of) = files(stage, bind.from.as_deref()).await?;
            let path = bind.source.clone();
            let said = if of == FilesOf::Context { context_digest(stage, &path).await? } else { said };
            (format!("{said} {path}"), MountOf::Files { of, path })
        }
        MountKind::Cache(cache) => {
            let seed = match cache.from.as_deref() {
                Some(from) => Some(files(stage, Some(from)).await?.1),
                None => None,
            };
            // What is in it does not count: it may be gone at any time.
            (format!("cache {}", cache.id), MountOf::Cache(cache.clone(), seed))
        }
        MountKind::Tmpfs(tmpfs) => ("tmpfs".to_owned(), MountOf::Tmpfs(tmpfs.clone())),
        MountKind::Secret(secret) => (format!("secret {}", secret.id), MountOf::Secret(secret.clone())),
        MountKind::Ssh(secret) => (format!("ssh {}", secret.id), MountOf::Ssh(secret.clone())),
    };
    let said = format!("{target} {} {said}", mount.readonly);
    Ok((said, RunMount { target, readonly: mount.readonly, of }))
}

async fn files<B: Backend>(stage: &StageRun<'_, B>, from: Option<&str>) -> Result<(String, FilesOf)> {
    let Some(from) = from else { return Ok(("context".to_owned(), FilesOf::Context)) };
    let base = stage.build.find(stage.index, from, stage.build.options.platform.as_deref(), &stage.console).await?;
    Ok((base.id.clone().unwrap_or_else(|| "scratch".to_owned()), FilesOf::Image(base.id)))
}

async fn context_digest<B: Backend>(stage: &StageRun<'_, B>, path: &str) -> Result<String> {
    let source = stage.build.backend.files(&FilesOf::Context).await?;
    let pattern = if path.is_empty() { ".".to_owned() } else { path.to_owned() };
    super::transfer::on_a_thread(move || {
        let selected = crate::select::select(&*source, &pattern, false)?;
        Ok(crate::select::digest(&*source, &selected, &crate::ignore::Ignore::default(), false)?)
    })
    .await
}
