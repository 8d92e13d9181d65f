//! Files that the engine fetches: contexts (`remote=`) and sources of `ADD`.

use super::backend::Builder;
use super::context::BuildContext;
use super::files::file_node;
use super::git::GitUrl;
use super::spool::{Spool, unnamed};
use crate::Engine;
use crate::images::fetch::{Fetched, failed, read_with};
use gantry_image_builder::{Kind, Node, Source};
use gantry_model::error::Context;
use gantry_model::{Digest, Error, Result};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

impl Engine {
    /// Fetches a context: an archive, a Dockerfile alone, or a git repository, of which git's own files are wanted or not.
    pub async fn build_context_from(&self, url: &str, keep_git_dir: bool) -> Result<BuildContext> {
        let is = |prefix: &str| url.starts_with(prefix);
        if let Some(git) = GitUrl::parse(url) {
            return Ok(BuildContext { spool: self.fetch_git(git.with(None, keep_git_dir)).await? });
        }
        if !is("http://") && !is("https://") {
            return Err(Error::invalid(format!("remote must be a URL of http, https or git, not {url}")));
        }
        let dir = self.build_dir()?.join("tmp");
        let spool = self.fetch_with(url, move |reader, _| Spool::read_any(reader, &dir)).await?;
        Ok(BuildContext { spool })
    }

    /// Fetches what is at a URL, for somebody who reads blockingly and is told when it was changed last.
    async fn fetch_with<T: Send + 'static>(
        &self,
        url: &str,
        work: impl FnOnce(&mut Fetched, Option<i64>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let body = self.registry.file(url).await.map_err(|e| failed(url, e))?;
        let modified = body.modified;
        read_with(body, "build", move |mut reader| work(&mut reader, modified)).await
    }
}

impl Builder {
    /// Fetches a file for `ADD`.
    pub(super) async fn fetch(&self, url: &str, checksum: Option<&str>) -> Result<RemoteFile> {
        let wanted: Option<Digest> = checksum
            .map(|text| text.parse().map_err(|e| Error::invalid(format!("invalid checksum {text}: {e}"))))
            .transpose()?;
        let dir = self.scratch().await?.path().to_owned();
        let name = url_name(url);
        let source = url.to_owned();
        self.engine
            .fetch_with(url, move |reader, modified| {
                let file = RemoteFile { modified, ..RemoteFile::receive(reader, &dir, &name)? };
                if let Some(wanted) = wanted
                    && wanted != file.digest
                {
                    return Err(Error::invalid(format!(
                        "digest mismatch for {source}: {} instead of {wanted}",
                        file.digest
                    )));
                }
                Ok(file)
            })
            .await
    }
}

/// The last part of a URL's path, as a file's name.
fn url_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let name = path.split_once('/').and_then(|(_, path)| path.rsplit('/').next()).unwrap_or_default();
    if matches!(name, "" | "." | "..") { "index".to_owned() } else { name.to_owned() }
}

/// A file that was fetched; nobody else sees it.
#[derive(Debug)]
pub(super) struct RemoteFile {
    name: String,
    data: File,
    size: u64,
    digest: Digest,
    hash: [u8; 32],
    /// In seconds since the epoch.
    modified: Option<i64>,
}

impl RemoteFile {
    fn receive(reader: &mut dyn Read, dir: &Path, name: &str) -> Result<Self> {
        let mut data = unnamed(dir)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        let mut size = 0;
        loop {
            let length = reader.read(&mut buffer).map_err(|e| Error::invalid(format!("cannot fetch {name}: {e}")))?;
            if length == 0 {
                break;
            }
            hash.update(&buffer[..length]);
            data.write_all(&buffer[..length]).context("keeping a remote file")?;
            size += length as u64;
        }
        let hash: [u8; 32] = hash.finalize().into();
        Ok(Self { name: name.to_owned(), data, size, digest: Digest::sha256(hash), hash, modified: None })
    }
}

impl Source for RemoteFile {
    fn look(&self, path: &[u8]) -> io::Result<Option<Node>> {
        if path.is_empty() {
            return Ok(Some(gantry_image_builder::tree::Entry::directory().node));
        }
        Ok((path == self.name.as_bytes()).then(|| {
            let mut node = file_node(self.size, 0o600, 0);
            node.mtime = self.modified.map_or(gantry_image_builder::source::NO_TIME, |modified| (modified, 0));
            node
        }))
    }

    fn list(&self, _: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        Ok(vec![self.name.clone().into_bytes()])
    }

    fn open(&self, _: &[u8], _: &Node) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(At { file: &self.data, at: 0 }))
    }

    fn digest(&self, _: &[u8], node: &Node) -> io::Result<[u8; 32]> {
        debug_assert!(matches!(node.kind, Kind::File(_)));
        Ok(self.hash)
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

struct At<'f> {
    file: &'f File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::url_name;

    #[test]
    fn names_of_remote_files() {
        assert_eq!(url_name("http://x/a/b.tar?c#d"), "b.tar");
        assert_eq!(url_name("http://x"), "index");
        assert_eq!(url_name("http://x/.."), "index");
    }
}
