//! `COPY` and `ADD`.

use crate::backend::{Action, Backend, BuildError, Copy, CopyPart, FilesOf};
use crate::dockerfile::{HereDoc, Transfer};
use crate::ignore::Ignore;
use crate::key::Key;
use crate::select::{Selected, digest, select};
use crate::source::Source;
use crate::stage::StageRun;
use crate::texts::Texts;
use crate::transfer::Chmod;
use gantry_model::{Error, Result};
use std::sync::Arc;

/// An instruction whose words are expanded.
struct Meant {
    name: &'static str,
    sources: Vec<String>,
    documents: Vec<(String, String)>,
    destination: String,
    /// As it is written, for the history.
    shown: String,
    into_directory: bool,
    chown: Option<String>,
    chmod: Option<String>,
    exclude: Vec<String>,
}

pub(crate) async fn transfer<B: Backend>(
    stage: &mut StageRun<'_, B>,
    name: &'static str,
    transfer: &Transfer,
    text: &str,
) -> Result<(), BuildError> {
    let meant = meant(stage, name, transfer)?;
    let chmod = meant.chmod.as_deref().map(Chmod::parse).transpose().map_err(Error::invalid)?;
    let exclude = Ignore::of(&meant.exclude).map_err(|e| Error::invalid(e.to_string()))?;
    let from = match &transfer.from {
        Some(from) => Some(stage.build.find(stage.index, from, stage.build.options.platform.as_deref()).await?),
        None => None,
    };
    // What is read from an image is known by the image alone; its files need not be looked at.
    let quick = from.as_ref().map(|base| {
        let image = base.id.as_deref().unwrap_or("scratch");
        let key = key(stage, &meant, transfer).with("image").with(image).with_all(&meant.sources);
        key.with_all(meant.documents.iter().map(|(_, text)| text)).finish()
    });
    if let Some(quick) = &quick
        && stage.take_cached(quick).await
    {
        return Ok(());
    }
    let files = from.map_or(FilesOf::Context, |base| FilesOf::Image(base.id));
    let parts = parts(stage, &meant, transfer, &files, &exclude).await?;
    let digests: Vec<String> = parts.iter().map(|(digest, _)| digest.clone()).collect();
    let shown = if digests.len() == 1 { digests[0].clone() } else { crate::digest::combined("multi", &digests) };
    let chown = meant.chown.as_ref().map(|owner| format!("--chown={owner} ")).unwrap_or_default();
    let chmod_shown = meant.chmod.as_ref().map(|mode| format!("--chmod={mode} ")).unwrap_or_default();
    let shell = stage.config.shell().join(" ");
    let created_by = format!("{shell} #(nop) {name} {chown}{chmod_shown}{shown} in {} ", meant.shown);
    let key = key(stage, &meant, transfer).with("files").with_all(&digests);
    let key = key.with_all(parts.iter().flat_map(|(_, part)| part_names(part)).collect::<Vec<_>>().iter());
    let action = Action::Copy(Copy {
        parts: parts.into_iter().map(|(_, part)| part).collect(),
        destination: meant.destination,
        into_directory: meant.into_directory,
        chown: meant.chown,
        chmod,
        exclude,
        parents: transfer.parents,
    });
    let parent = stage.image.clone();
    stage.step(key, action, created_by, text).await?;
    if let (Some(quick), Some(image)) = (quick, &stage.image) {
        stage.build.cache.keep(&quick, image, parent.as_deref(), text);
    }
    Ok(())
}

/// Everything but the files.
fn key<B: Backend>(stage: &StageRun<'_, B>, meant: &Meant, transfer: &Transfer) -> Key {
    Key::new(meant.name, stage.image.as_deref())
        .with(&meant.destination)
        .with(&meant.into_directory.to_string())
        .with(meant.chown.as_deref().unwrap_or_default())
        .with(meant.chmod.as_deref().unwrap_or_default())
        .with_all(&meant.exclude)
        .with(&transfer.parents.to_string())
        .with(&format!("{:?}", transfer.unpack))
}

/// The names that files get: a digest does not know the one of a file that it stands for alone.
fn part_names(part: &CopyPart) -> Vec<String> {
    part.selected.iter().map(|one| String::from_utf8_lossy(&one.asked).into_owned()).collect()
}

fn meant<B: Backend>(stage: &StageRun<'_, B>, name: &'static str, transfer: &Transfer) -> Result<Meant> {
    let words = |list: &[String]| list.iter().map(|word| stage.word(word)).collect::<Result<Vec<_>>>();
    let sources = words(&transfer.sources)?;
    let destination = stage.word(&transfer.destination)?;
    let into_directory =
        destination.ends_with('/') || matches!(destination.as_str(), "." | "..") || destination.ends_with("/.");
    if sources.len() + transfer.documents.len() > 1 && !into_directory {
        return Err(Error::invalid(format!(
            "When using {name} with more than one source file, the destination must be a directory and end with a /"
        )));
    }
    let document = |document: &HereDoc| -> Result<(String, String)> {
        let text = document.meant();
        if !document.expand {
            return Ok((document.name.clone(), text));
        }
        let text = stage.expander.text().word(&text, &|name: &str| stage.variable(name)).map_err(Error::invalid)?;
        Ok((document.name.clone(), text))
    };
    let mut absolute = stage.config.absolute(&destination);
    if into_directory && !absolute.ends_with('/') {
        absolute.push('/');
    }
    Ok(Meant {
        name,
        sources,
        documents: transfer.documents.iter().map(document).collect::<Result<_>>()?,
        destination: absolute,
        shown: destination,
        into_directory,
        chown: transfer.chown.as_deref().map(|owner| stage.word(owner)).transpose()?,
        chmod: transfer.chmod.as_deref().map(|mode| stage.word(mode)).transpose()?,
        exclude: words(&transfer.exclude)?,
    })
}

/// Finds all files, with a digest of each source.
async fn parts<B: Backend>(
    stage: &StageRun<'_, B>,
    meant: &Meant,
    transfer: &Transfer,
    files: &FilesOf,
    exclude: &Ignore,
) -> Result<Vec<(String, CopyPart)>> {
    let mut parts = Vec::new();
    for pattern in &meant.sources {
        let (source, pattern, unpack) = if let Some(url) = remote(meant.name, pattern)? {
            let checksum = transfer.checksum.as_deref().map(|word| stage.word(word)).transpose()?;
            if url_name(url).is_empty() && meant.into_directory {
                return Err(Error::invalid(format!("cannot determine filename for source {url}")));
            }
            let of = FilesOf::Url { url: url.to_owned(), checksum };
            (stage.build.backend.files(&of).await?, "*".to_owned(), transfer.unpack == Some(true))
        } else {
            if transfer.checksum.is_some() {
                return Err(Error::invalid("checksum can't be specified for COPY or local sources"));
            }
            let unpack = meant.name == "ADD" && transfer.unpack != Some(false);
            (stage.build.backend.files(files).await?, pattern.clone(), unpack)
        };
        let exclude = exclude.clone();
        let keep_owners = matches!(files, FilesOf::Image(_));
        let part = on_a_thread(move || {
            let selected = select(&*source, &pattern)?;
            let digest = digest(&*source, &selected, &exclude)?;
            Ok((digest, CopyPart { source, selected, unpack, keep_owners }))
        });
        parts.push(part.await?);
    }
    for document in &meant.documents {
        let source: Arc<dyn Source> = Arc::new(Texts::new(vec![document.clone()]));
        let selected: Vec<Selected> = select(&*source, &escaped(&document.0))?;
        let digest = digest(&*source, &selected, &Ignore::default())?;
        parts.push((digest, CopyPart { source, selected, unpack: false, keep_owners: false }));
    }
    Ok(parts)
}

/// A name as a pattern that means only it.
fn escaped(name: &str) -> String {
    name.chars().flat_map(|c| "*?[\\".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Where a source is if it is not in the context; only `ADD` knows such.
fn remote<'s>(name: &str, source: &'s str) -> Result<Option<&'s str>> {
    let is = |prefix: &str| source.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    let url = is("http://") || is("https://");
    if name == "COPY" {
        if url {
            return Err(Error::invalid("source can't be a URL for COPY"));
        }
        return Ok(None);
    }
    let path = source.split(['#', '?']).next().unwrap_or_default();
    if is("git://") || is("ssh://") || is("git@") || url && path.strip_suffix(".git").is_some() {
        return Err(Error::invalid(format!("adding a git repository ({source}) is not supported")));
    }
    Ok(url.then_some(source))
}

/// The last part of a URL's path.
pub(crate) fn url_name(url: &str) -> &str {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split_once('/').and_then(|(_, path)| path.rsplit('/').next()).unwrap_or_default()
}

/// Reading files may take long.
pub(crate) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("the builder failed: {e}")))?
}
