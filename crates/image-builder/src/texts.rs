//! Files that are written in the Dockerfile itself.

use crate::digest::FileDigest;
use crate::source::{Kind, Node, Source};
use crate::tree::Entry;
use std::io::{self, Read};

/// Here-documents as files.
#[derive(Debug)]
pub(crate) struct Texts(Vec<(String, String)>);

impl Texts {
    /// Names and contents.
    pub(crate) fn new(files: Vec<(String, String)>) -> Self {
        Self(files)
    }

    fn find(&self, path: &[u8]) -> Option<&str> {
        self.0.iter().find(|(name, _)| name.as_bytes() == path).map(|(_, text)| text.as_str())
    }
}

impl Source for Texts {
    fn look(&self, path: &[u8]) -> io::Result<Option<Node>> {
        let mut node = Entry::directory().node;
        if path.is_empty() {
            return Ok(Some(node));
        }
        let Some(text) = self.find(path) else { return Ok(None) };
        node.kind = Kind::File(text.len() as u64);
        node.mode = 0o644;
        Ok(Some(node))
    }

    fn list(&self, _: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut names: Vec<Vec<u8>> = self.0.iter().map(|(name, _)| name.clone().into_bytes()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn open(&self, path: &[u8], _: &Node) -> io::Result<Box<dyn Read + '_>> {
        self.find(path).map(|text| Box::new(text.as_bytes()) as _).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn digest(&self, path: &[u8], node: &Node) -> io::Result<[u8; 32]> {
        let mut digest = FileDigest::new(path, node, b"", b"");
        digest.update(self.find(path).unwrap_or_default().as_bytes());
        Ok(digest.finish())
    }

    fn describe(&self) -> String {
        "the Dockerfile".to_owned()
    }
}
