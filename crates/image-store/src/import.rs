//! A tar archive becomes an image of one layer.

use crate::{
    HistoryItem, ImageDocument, ImageId, ImageStore, Progress, changes,
    config::RootFs,
    image::{Layer, chain_ids},
    layout,
    lease::Lease,
    pipeline::{self, Keep, Plan},
    records::ImageRecord,
};
use gantry_model::{Digest, Error, Reference, Result, Timestamp};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Write};

/// How to import.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// What to call the image; see [`crate::import_name`].
    pub name: Option<Reference>,
    /// The comment; empty for one that names the source.
    pub message: String,
    /// Dockerfile instructions for the configuration.
    pub changes: Vec<String>,
    /// `os[/architecture[/variant]]`; this machine's by default.
    pub platform: Option<String>,
    /// Where the archive comes from, for the comment; `-` for the request's body.
    pub source: String,
}

impl ImageStore {
    /// Imports the archive in `body`, compressed or not, as a new image.
    pub fn import(
        &self,
        body: &mut dyn Read,
        options: ImportOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ImageId> {
        // Whatever is wrong with the request is said before the body is read.
        let ImportOptions { name, message, changes, platform: wanted, source } = options;
        let mut document = ImageDocument::default();
        (document.os, document.architecture, document.variant) = platform(wanted.as_deref())?;
        document.config = changes::apply(&changes, document.config)?;

        let store = &self.inner;
        let mut lease = Lease::new(store);
        let mut blob = store.files.temporary_file()?;
        let directory = store.files.temporary_layer()?;
        let plan = Plan {
            known: None,
            keep: Keep::Write(&blob.file().try_clone()?),
            extract: Some(&directory.path().join("diff")),
            limits: store.limits,
        };
        let arrived = pipeline::run(body, &plan, &mut |bytes| progress(Progress::Received { bytes }))?;
        let digest = arrived.blob.ok_or_else(|| Error::internal("the archive was not kept"))?;
        lease.add_blob(blob, &digest)?;
        lease.add_layer(directory, &arrived.diff_id)?;
        let layer = Layer {
            blob: digest,
            blob_size: arrived.blob_size,
            compression: arrived.compression,
            chain_id: chain_ids(std::slice::from_ref(&arrived.diff_id)).remove(0),
            diff_id: arrived.diff_id,
            size: arrived.extracted.map_or(0, |e| e.size),
        };

        let comment = if message.is_empty() { format!("Imported from {source}") } else { message };
        describe(&mut document, comment, &layer);
        let text = serde_json::to_string(&document).map_err(|e| Error::internal(e.to_string()))?;
        let id = ImageId::new(self.store_blob(text.as_bytes(), &mut lease)?);
        let manifest = layout::manifest(id.digest(), text.len() as u64, std::slice::from_ref(&layer));
        let digest = self.store_blob(&manifest, &mut lease)?;
        let record = ImageRecord::new(text, digest, manifest.len() as u64, vec![layer]);
        store.commit_image(&id, record, name.as_slice(), lease)?;
        Ok(id)
    }

    /// Stores a small blob.
    pub(crate) fn store_blob(&self, bytes: &[u8], lease: &mut Lease) -> Result<Digest> {
        let digest = Digest::sha256(Sha256::digest(bytes).into());
        if !lease.use_sized_blob(&digest, bytes.len() as u64) {
            let mut temporary = self.inner.files.temporary_file()?;
            temporary.file().write_all(bytes)?;
            lease.add_blob(temporary, &digest)?;
        }
        Ok(digest)
    }
}

fn describe(document: &mut ImageDocument, comment: String, layer: &Layer) {
    document.created = Timestamp::now();
    document.comment.clone_from(&comment);
    document.rootfs = Some(RootFs { kind: "layers".into(), diff_ids: vec![layer.diff_id.clone()] });
    document.history = vec![HistoryItem { created: document.created, comment, ..HistoryItem::default() }];
}

/// Operating system, architecture and variant in Go's words.
fn platform(wanted: Option<&str>) -> Result<(String, String, String)> {
    let wanted = wanted.filter(|text| !text.is_empty());
    let mut parts = wanted.unwrap_or("linux").split('/').map(str::to_ascii_lowercase);
    let first = parts.next().unwrap_or_default();
    // `amd64` alone is an architecture.
    let (os, architecture) =
        if is_architecture(&first) { ("linux".to_owned(), Some(first)) } else { (first, parts.next()) };
    let variant = parts.next().unwrap_or_default();
    let architecture = normalise(architecture.as_deref().unwrap_or(std::env::consts::ARCH));
    if parts.next().is_some() || !is_architecture(&architecture) || !is_word(&variant) || !is_word(&os) {
        let shown = wanted.unwrap_or_default();
        return Err(Error::invalid(format!("{shown:?}: unknown operating system or architecture")));
    }
    if os != "linux" {
        return Err(Error::invalid("operating system is not supported"));
    }
    Ok((os, architecture, variant))
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn normalise(architecture: &str) -> String {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "x86" | "i686" => "386",
        "armhf" | "armel" => "arm",
        "powerpc64" => "ppc64le",
        other => other,
    }
    .to_owned()
}

fn is_architecture(name: &str) -> bool {
    const KNOWN: [&str; 12] = [
        "386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64", "ppc64le", "riscv64", "s390x", "wasm",
    ];
    KNOWN.contains(&normalise(name).as_str())
}

#[cfg(test)]
mod tests {
    use super::platform;

    #[test]
    fn platforms() {
        let parse = |text| platform(Some(text)).ok().map(|(os, arch, variant)| [os, arch, variant].join("/"));
        assert_eq!(parse("linux/arm64/v8").as_deref(), Some("linux/arm64/v8"));
        assert_eq!(parse("linux/x86_64").as_deref(), Some("linux/amd64/"));
        assert_eq!(parse("arm64").as_deref(), Some("linux/arm64/"));
        assert_eq!(parse("linux/vax"), None);
        assert_eq!(parse("windows/amd64"), None);
        assert_eq!(parse("linux/amd64/a/b"), None);
        assert!(platform(None).is_ok());
    }
}
