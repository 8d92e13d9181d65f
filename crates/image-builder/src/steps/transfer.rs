//! `COPY` and `ADD`.

use crate::backend::{Action, Backend, BuildError, Copy, CopyPart, FilesOf};
use crate::dockerfile::{HereDoc, Transfer};
use crate::ignore::Ignore;
use crate::key::Key;
use crate::select::{Selected, digest, select};
use crate::source::Source;
use crate::stage::StageRun;
use crate::steps::remote::{Remote, remote};
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
    checksum: Option<String>,
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
        // A number is a stage's, and no image has one for its name.
        Some(from) if is_number(from) && stage.build.file.stage_before(stage.index, from).is_none() => {
            return Err(Error::invalid(format!("invalid from flag value {from}: index out of bounds")).into());
        }
        Some(from) => {
            Some(stage.build.find(stage.index, from, stage.build.options.platform.as_deref(), &stage.console).await?)
        }
        None => None,
    };
    let keys = Keys { parent: stage.image.clone(), link: transfer.link && !meant.names_an_owner() };
    // What is read from an image is known by the image alone; its files need not be looked at.
    let quick = from.as_ref().map(|base| {
        let image = base.id.as_deref().unwrap_or("scratch");
        keys.with(&|key| {
            let key = meant.key(key, transfer).with("image").with(image).with_all(&meant.sources);
            key.with_all(meant.documents.iter().map(|(_, text)| text))
        })
    });
    if let Some(quick) = &quick
        && take(stage, quick, text).await?
    {
        return Ok(());
    }
    let files = from.map_or(FilesOf::Context, |base| FilesOf::Image(base.id));
    let parts = parts(stage, &meant, transfer, &files, &exclude).await?;
    let digests: Vec<String> = parts.iter().map(|(digest, _)| digest.clone()).collect();
    let created_by = meant.history(&stage.config.shell().join(" "), &digests);
    // A digest does not know the name of a file that it stands for alone.
    let names: Vec<String> = parts.iter().flat_map(|(_, part)| part_names(part)).collect();
    let whole = keys.with(&|key| meant.key(key, transfer).with("files").with_all(&digests).with_all(&names));
    if whole.1.is_some() && take(stage, &whole, text).await? {
        return Ok(());
    }
    let action = Action::Copy(Copy {
        parts: parts.into_iter().map(|(_, part)| part).collect(),
        destination: meant.destination,
        into_directory: meant.into_directory,
        chown: meant.chown,
        chmod,
        exclude,
        parents: transfer.parents,
        link: transfer.link,
    });
    stage.step(whole.0.clone(), action, created_by, text).await?;
    if let Some(image) = &stage.image {
        let quick = quick.map(|(quick, linked)| [Some(quick), linked]).unwrap_or_default();
        for key in quick.into_iter().chain([whole.1]).flatten() {
            stage.build.cache.keep(&key, image, keys.parent.as_deref(), text);
        }
    }
    Ok(())
}

/// A key for the result, and one for the layer alone if it depends on nothing below.
type KeyPair = (String, Option<String>);

struct Keys {
    parent: Option<String>,
    link: bool,
}

impl Keys {
    fn with(&self, fill: &dyn Fn(Key) -> Key) -> KeyPair {
        let result = fill(Key::new("copy", self.parent.as_deref())).finish();
        let layer = self.link.then(|| fill(Key::new("link", Some("anything"))).finish());
        (result, layer)
    }
}

async fn take<B: Backend>(stage: &mut StageRun<'_, B>, keys: &KeyPair, text: &str) -> Result<bool> {
    let (result, layer) = keys;
    if stage.take_cached(result).await {
        return Ok(true);
    }
    match layer {
        Some(layer) => stage.take_linked(layer, result, text).await,
        None => Ok(false),
    }
}

impl Meant {
    /// Everything but the files.
    fn key(&self, key: Key, transfer: &Transfer) -> Key {
        key.with(self.name)
            .with(&self.destination)
            .with(&self.into_directory.to_string())
            .with(self.chown.as_deref().unwrap_or_default())
            .with(self.chmod.as_deref().unwrap_or_default())
            .with_all(&self.exclude)
            .with(&format!("{} {} {}", transfer.parents, transfer.link, transfer.keep_git_dir))
            .with(&format!("{:?}", transfer.unpack))
    }

    fn history(&self, shell: &str, digests: &[String]) -> String {
        let shown = if let [one] = digests { one.clone() } else { crate::digest::combined("multi", digests.iter()) };
        let chown = self.chown.as_ref().map(|owner| format!("--chown={owner} ")).unwrap_or_default();
        let chmod = self.chmod.as_ref().map(|mode| format!("--chmod={mode} ")).unwrap_or_default();
        format!("{shell} #(nop) {} {chown}{chmod}{shown} in {} ", self.name, self.shown)
    }

    /// Whether the files below must say who the owner is.
    fn names_an_owner(&self) -> bool {
        self.chown.as_deref().is_some_and(|owner| owner.chars().any(|c| !c.is_ascii_digit() && c != ':'))
    }
}

/// The names that files get.
fn part_names(part: &CopyPart) -> Vec<String> {
    part.selected.iter().map(|one| String::from_utf8_lossy(&one.asked).into_owned()).collect()
}

fn meant<B: Backend>(stage: &StageRun<'_, B>, name: &'static str, transfer: &Transfer) -> Result<Meant> {
    let words = |list: &[String]| list.iter().map(|word| stage.word(word)).collect::<Result<Vec<_>>>();
    let word = |word: &Option<String>| word.as_deref().map(|word| stage.word(word)).transpose();
    let sources = words(&transfer.sources)?;
    let destination = stage.word(&transfer.destination)?;
    let into_directory =
        destination.ends_with('/') || matches!(destination.as_str(), "." | "..") || destination.ends_with("/.");
    if sources.len() + transfer.documents.len() > 1 && !into_directory {
        return Err(several(name));
    }
    let checksum = word(&transfer.checksum)?;
    if checksum.is_some() && sources.len() + transfer.documents.len() != 1 {
        return Err(Error::invalid("checksum can't be specified for multiple sources"));
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
        chown: word(&transfer.chown)?,
        chmod: word(&transfer.chmod)?,
        checksum,
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
        let checksum = meant.checksum.clone();
        let (of, pattern, unpack) = match remote(meant.name, pattern)? {
            Some(Remote::File(url)) => {
                if url_name(url).is_empty() && meant.into_directory {
                    return Err(Error::invalid(format!("cannot determine filename for source {url}")));
                }
                let of = FilesOf::Url { url: url.to_owned(), checksum };
                (of, "*".to_owned(), transfer.unpack == Some(true))
            }
            Some(Remote::Git(url)) => {
                let of = FilesOf::Git { url: url.to_owned(), checksum, keep: transfer.keep_git_dir };
                (of, ".".to_owned(), false)
            }
            None if checksum.is_some() => {
                return Err(Error::invalid("checksum requires HTTP(S) or Git sources"));
            }
            None => (files.clone(), pattern.clone(), meant.name == "ADD" && transfer.unpack != Some(false)),
        };
        let source = stage.build.backend.files(&of).await?;
        let (exclude, parents) = (exclude.clone(), transfer.parents);
        let keep_owners = matches!(of, FilesOf::Image(_));
        let (name, into_directory) = (meant.name, meant.into_directory);
        let part = on_a_thread(move || {
            let selected = select(&*source, &pattern, parents)
                .map_err(|e| Error::new(e.kind(), format!("{name} failed: {}", e.message())))?;
            if selected.len() > 1 && !into_directory && !parents {
                return Err(several(name));
            }
            let digest = match source.version() {
                Some(version) => format!("git:{version}"),
                None => digest(&*source, &selected, &exclude, parents)?,
            };
            Ok((digest, CopyPart { source, selected, unpack, keep_owners }))
        });
        parts.push(part.await?);
    }
    for document in &meant.documents {
        let source: Arc<dyn Source> = Arc::new(Texts::new(vec![document.clone()]));
        let selected: Vec<Selected> = select(&*source, &escaped(&document.0), false)?;
        let digest = digest(&*source, &selected, &Ignore::default(), false)?;
        parts.push((digest, CopyPart { source, selected, unpack: false, keep_owners: false }));
    }
    Ok(parts)
}

/// Several files, and no directory to put them into.
fn several(name: &str) -> Error {
    Error::invalid(format!(
        "When using {name} with more than one source file, the destination must be a directory and end with a /"
    ))
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// A name as a pattern that means only it.
fn escaped(name: &str) -> String {
    name.chars().flat_map(|c| "*?[\\".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// The last part of a URL's path.
fn url_name(url: &str) -> &str {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split_once('/').and_then(|(_, path)| path.rsplit('/').next()).unwrap_or_default()
}

/// Reading files may take long.
pub(crate) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("the builder failed: {e}")))?
}
