//! A context's files: an index of what lies elsewhere, one entry a file, made while the context arrives.
//!
//! However many files there are, the index takes a bounded part of memory. Entries are collected up to a bound, written
//! down sorted, and merged when the last has come; a small context's never leave memory. Paths are sorted with the slash
//! before every other byte, so that a directory is followed by everything in it.

mod blocks;
mod build;
mod record;

pub use blocks::Spill;
pub use build::Builder;

use crate::ignore::{Ignore, Verdict};
use crate::source::{Kind, NO_TIME, Node};
use blocks::{Blocks, Cursor, Sizes, Writer};
use record::Record;
use std::io;
use std::sync::Arc;

/// Bytes of a path: no system has longer ones.
const MAX_PATH: usize = 4096;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub node: Node,
    /// Digest of its data and what else counts.
    pub digest: [u8; 32],
}

/// The files of a context.
pub struct Tree {
    blocks: Blocks,
    spill: Spill,
    sizes: Sizes,
}

impl std::fmt::Debug for Tree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("blocks", &self.blocks).finish_non_exhaustive()
    }
}

/// Why an entry cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// It has too many entries.
    #[error("the build context has too many files")]
    Full,
    /// The path leads out.
    #[error("the build context has a path that leads out of it: {0:?}")]
    Escapes(String),
    /// The path is longer than any system's.
    #[error("the build context has a path of {0} bytes")]
    Long(usize),
    /// The path leads through something that is no directory.
    #[error("the build context has an entry below something that is no directory: {0:?}")]
    Parent(String),
    /// A second name of something that is not there.
    #[error("the build context has a link to a file that is not before it: {0:?}")]
    Link(String),
    /// The index cannot be written or read.
    #[error("the index of the build context: {0}")]
    Index(#[from] io::Error),
}

/// A path as it is sorted.
fn key(path: &[u8]) -> Vec<u8> {
    path.iter().map(|&b| if b == b'/' { 0 } else { b }).collect()
}

/// The other way.
fn path(key: &[u8]) -> Vec<u8> {
    key.iter().map(|&b| if b == 0 { b'/' } else { b }).collect()
}

impl Tree {
    /// A path as it is kept: without slashes at the ends, `.` and `..`.
    pub fn clean(path: &[u8]) -> Result<Vec<u8>, TreeError> {
        let escapes = || TreeError::Escapes(String::from_utf8_lossy(path).into_owned());
        if path.len() > MAX_PATH {
            return Err(TreeError::Long(path.len()));
        }
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|&b| b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop().ok_or_else(escapes)?;
                }
                part if part.contains(&0) => return Err(escapes()),
                part => parts.push(part),
            }
        }
        Ok(parts.join(&b'/'))
    }

    /// What has a path.
    pub fn get(&self, path: &[u8]) -> io::Result<Option<Entry>> {
        let found = self.blocks.find(&key(path))?;
        found.map(|bytes| Ok(Record::decode(&bytes)?.entry)).transpose()
    }

    /// The names in a directory, sorted.
    pub fn list(&self, dir: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let prefix = prefix(dir);
        let mut names = Vec::new();
        let mut cursor = self.blocks.seek(&prefix)?;
        while cursor.next()? {
            let Some(rest) = cursor.key().strip_prefix(&prefix[..]) else { break };
            if let Some(end) = rest.iter().position(|&b| b == 0) {
                // What lies below a child, which itself came before, is jumped over.
                let behind = [&prefix[..], &rest[..end], b"\x01"].concat();
                cursor = self.blocks.seek(&behind)?;
                continue;
            }
            names.push(rest.to_vec());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Everything in a directory, each directory before what is in it.
    pub fn below(&self, dir: &[u8]) -> io::Result<Below<'_>> {
        let prefix = prefix(dir);
        Ok(Below { cursor: self.blocks.seek(&prefix)?, prefix })
    }

    /// The same without what the rules leave out. Directories stay in which something stays.
    pub fn without(self, rules: &Ignore) -> io::Result<Self> {
        if rules.is_empty() {
            return Ok(self);
        }
        let mut writer = Writer::new(self.sizes, Arc::clone(&self.spill));
        let mut cursor = self.blocks.seek(b"")?;
        let mut above: Vec<Above> = Vec::new();
        while cursor.next()? {
            let key = cursor.key();
            while above.last().is_some_and(|dir| !is_below(key, &dir.key)) {
                above.pop();
            }
            let parent = above.last().map_or_else(|| rules.top(), |dir| dir.verdict.clone());
            let verdict = rules.look(&parent, &String::from_utf8_lossy(&path(key)));
            let directory = Record::decode(cursor.value())?.entry.node.kind == Kind::Directory;
            if verdict.ignored {
                if directory && !rules.has_exceptions() {
                    let behind = [key, b"\x01"].concat();
                    cursor = self.blocks.seek(&behind)?;
                } else if directory {
                    above.push(Above { key: key.to_vec(), verdict, waits: Some(cursor.value().to_vec()) });
                }
                continue;
            }
            for dir in &mut above {
                if let Some(value) = dir.waits.take() {
                    writer.push(&dir.key, &value)?;
                }
            }
            writer.push(key, cursor.value())?;
            if directory {
                above.push(Above { key: key.to_vec(), verdict, waits: None });
            }
        }
        drop(cursor);
        Ok(Self { blocks: writer.finish()?, ..self })
    }
}

/// A directory on the way down.
struct Above {
    key: Vec<u8>,
    verdict: Verdict,
    /// It is left out unless something in it is not.
    waits: Option<Vec<u8>>,
}

/// What the keys in a directory begin with.
fn prefix(dir: &[u8]) -> Vec<u8> {
    if dir.is_empty() { Vec::new() } else { [&key(dir)[..], b"\0"].concat() }
}

fn is_below(key: &[u8], dir: &[u8]) -> bool {
    key.strip_prefix(dir).is_some_and(|rest| rest.first() == Some(&0))
}

/// The entries in a directory.
pub struct Below<'t> {
    cursor: Cursor<'t>,
    prefix: Vec<u8>,
}

impl Iterator for Below<'_> {
    type Item = io::Result<(Vec<u8>, Entry)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut step = || {
            if !self.cursor.next()? || !self.cursor.key().starts_with(&self.prefix) {
                return Ok(None);
            }
            Ok(Some((path(self.cursor.key()), Record::decode(self.cursor.value())?.entry)))
        };
        step().transpose()
    }
}

impl Entry {
    /// A directory that nobody described.
    pub fn directory() -> Self {
        let node = Node {
            kind: Kind::Directory,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: NO_TIME,
            xattrs: Vec::new(),
            data: 0,
            inode: 0,
        };
        Self { node, digest: [0; 32] }
    }
}

impl From<TreeError> for gantry_model::Error {
    fn from(e: TreeError) -> Self {
        match e {
            TreeError::Index(e) => gantry_model::Error::from(e).context("the index of the build context"),
            e => Self::invalid(e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::build::Bounds;
    use super::*;

    fn file() -> Entry {
        let mut entry = Entry::directory();
        entry.node.kind = Kind::File(0);
        entry
    }

    fn builder(small: bool) -> Builder {
        let bounds = Bounds { collected: 200, sizes: Sizes { block: 150, memory: 300 } };
        let spill: Spill = Arc::new(tempfile::tempfile);
        if small { Builder::with_bounds(spill, bounds) } else { Builder::new(spill) }
    }

    /// The same paths, in memory and through files.
    fn trees(paths: &[&str]) -> [Tree; 2] {
        [false, true].map(|small| {
            let mut tree = builder(small);
            for path in paths {
                tree.add(&Tree::clean(path.as_bytes()).unwrap(), file()).unwrap();
            }
            tree.finish().unwrap()
        })
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn list(tree: &Tree, dir: &str) -> Vec<String> {
        tree.list(dir.as_bytes()).unwrap().iter().map(|name| text(name)).collect()
    }

    fn paths(tree: &Tree) -> Vec<String> {
        tree.below(b"").unwrap().map(|entry| text(&entry.unwrap().0)).collect()
    }

    #[test]
    fn names_of_a_directory() {
        for tree in trees(&["a/b/c", "a-b", "a.txt", "a/b.x", "a/b0", "z", "a0/x"]) {
            assert_eq!(list(&tree, ""), ["a", "a-b", "a.txt", "a0", "z"]);
            assert_eq!(list(&tree, "a"), ["b", "b.x", "b0"]);
            assert_eq!(list(&tree, "a/b"), ["c"]);
            assert!(list(&tree, "z").is_empty() && list(&tree, "none").is_empty());
            assert_eq!(paths(&tree), ["a", "a/b", "a/b/c", "a/b.x", "a/b0", "a-b", "a.txt", "a0", "a0/x", "z"]);
            assert!(tree.get(b"a/b").unwrap().is_some() && tree.get(b"a/c").unwrap().is_none());
            let inside: Vec<_> = tree.below(b"a").unwrap().map(|entry| text(&entry.unwrap().0)).collect();
            assert_eq!(inside, ["a/b", "a/b/c", "a/b.x", "a/b0"]);
        }
    }

    #[test]
    fn hostile_paths() {
        assert_eq!(Tree::clean(b"./a//b/../c/").unwrap(), b"a/c");
        assert_eq!(Tree::clean(b"/a").unwrap(), b"a");
        assert!(Tree::clean(b"../a").is_err() && Tree::clean(b"a/../../b").is_err() && Tree::clean(b"a\0b").is_err());
        assert!(Tree::clean(&[b'a'; MAX_PATH + 1]).is_err());
        for small in [false, true] {
            let add = |all: &[(&str, Entry)]| {
                let mut tree = builder(small);
                for (path, entry) in all {
                    tree.add(path.as_bytes(), entry.clone())?;
                }
                tree.finish()
            };
            let (file, dir) = (file(), Entry::directory());
            assert!(matches!(add(&[("a", file.clone()), ("a/b", file.clone())]), Err(TreeError::Parent(_))));
            let kept = |all: &[(&str, Entry)]| paths(&add(all).unwrap());
            assert_eq!(kept(&[("d/e", file.clone()), ("d", file.clone())]), ["d"]);
            assert_eq!(kept(&[("d/e", file.clone()), ("d", dir.clone())]), ["d", "d/e"]);
            let again = [("d/e/f", file.clone()), ("d", file.clone()), ("d", dir), ("d/g", file.clone())];
            assert_eq!(kept(&again), ["d", "d/g"]);
        }
    }

    #[test]
    fn the_last_of_many() {
        let mut tree = builder(true);
        for round in 0..20u64 {
            for name in 0..50 {
                let mut entry = file();
                entry.node.data = round;
                tree.add(format!("d{}/f{name}", name % 7).as_bytes(), entry).unwrap();
            }
        }
        let tree = tree.finish().unwrap();
        assert_eq!(paths(&tree).len(), 57);
        assert!((0..50).all(|n| tree.get(format!("d{}/f{n}", n % 7).as_bytes()).unwrap().unwrap().node.data == 19));
    }

    /// What an index must do, entry by entry.
    #[derive(Default)]
    struct Model(std::collections::BTreeMap<String, (bool, u64)>);

    impl Model {
        /// False for what has something other than a directory above it.
        fn add(&mut self, path: &str, directory: bool, number: u64) -> bool {
            let parents: Vec<&str> = path.match_indices('/').map(|(at, _)| &path[..at]).collect();
            if parents.iter().any(|parent| self.0.get(*parent).is_some_and(|(directory, _)| !directory)) {
                return false;
            }
            for parent in parents {
                self.0.entry(parent.to_owned()).or_insert((true, 0));
            }
            if !directory {
                let inside = format!("{path}/");
                self.0.retain(|other, _| !other.starts_with(&inside));
            }
            self.0.insert(path.to_owned(), (directory, number));
            true
        }
    }

    #[test]
    fn any_order_of_entries() {
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..200 {
            let (mut model, mut tree) = (Model::default(), builder(round % 2 == 0));
            for number in 1..=60 {
                let depth = 1 + random(3);
                let path: Vec<&str> = (0..depth).map(|_| ["a", "b", "a-", "a.b", "c"][random(5) as usize]).collect();
                let (path, directory) = (path.join("/"), random(3) == 0);
                if !model.add(&path, directory, number) {
                    continue;
                }
                let mut entry = if directory { Entry::directory() } else { file() };
                entry.node.data = number;
                tree.add(path.as_bytes(), entry).unwrap();
            }
            let tree = tree.finish().unwrap();
            let found = tree.below(b"").unwrap().map(|entry| {
                let (path, entry) = entry.unwrap();
                assert_eq!(tree.get(&path).unwrap().as_ref(), Some(&entry));
                (text(&path), (entry.node.kind == Kind::Directory, entry.node.data))
            });
            assert_eq!(found.collect::<std::collections::BTreeMap<_, _>>(), model.0, "round {round}");
        }
    }

    #[test]
    fn second_names() {
        for small in [false, true] {
            let mut tree = builder(small);
            for name in ["a", "b", "c/d"] {
                tree.add(name.as_bytes(), file()).unwrap();
            }
            (0..50).for_each(|n| tree.add(format!("x{n}").as_bytes(), file()).unwrap());
            tree.add_link(b"l", b"a").unwrap();
            tree.add_link(b"m", b"l").unwrap();
            tree.add_link(b"n", b"c/d").unwrap();
            assert!(matches!(tree.add_link(b"o", b"none"), Err(TreeError::Link(_))));
            assert!(matches!(tree.add_link(b"o", b"c"), Err(TreeError::Link(_))));
            let tree = tree.finish().unwrap();
            let inode = |path: &str| tree.get(path.as_bytes()).unwrap().unwrap().node.inode;
            assert_eq!([inode("a"), inode("l"), inode("m")], [1; 3]);
            assert_eq!([inode("c/d"), inode("n"), inode("b")], [2, 2, 0]);
        }
    }

    #[test]
    fn rules_leave_out() {
        let all = ["a/b/c", "a/b/d", "a/e", "f", "g/h"];
        let kept = |text: &str| {
            let [one, two] = trees(&all).map(|tree| paths(&tree.without(&Ignore::parse(text).unwrap()).unwrap()));
            assert_eq!(one, two);
            one
        };
        assert_eq!(kept("a"), ["f", "g", "g/h"]);
        assert_eq!(kept("*\n!a/b/c"), ["a", "a/b", "a/b/c"]);
        assert_eq!(kept("**/c\ng/*"), ["a", "a/b", "a/b/d", "a/e", "f", "g"]);
        assert_eq!(kept("*").len(), 0);
        assert_eq!(kept("!x\na/b\n!a/b/d"), ["a", "a/b", "a/b/d", "a/e", "f", "g", "g/h"]);
    }
}
