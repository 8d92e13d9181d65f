//! A context's files: an index in memory of what lies elsewhere, one entry a file, made while the context arrives.

mod packed;

use crate::ignore::{Ignore, Verdict};
use crate::source::{Kind, NO_TIME, Node, join};
use packed::{At, Packed};
use std::collections::BTreeMap;
use std::io;

/// Entries that a context may have, and bytes of their names and of what is known of them. What is beyond takes more
/// memory than an engine has for somebody else's mistake.
const MAX_ENTRIES: usize = 2_000_000;
const MAX_NAMES: usize = 256 << 20;
const MAX_PACKED: usize = 256 << 20;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub node: Node,
    /// Digest of its data and what else counts.
    pub digest: [u8; 32],
}

/// The files of a context.
#[derive(Debug, Default)]
pub struct Tree {
    /// By path. A separator of one byte sorts a directory's entries right behind it.
    entries: BTreeMap<Box<[u8]>, At>,
    packed: Packed,
    names: usize,
    /// Files with several names.
    inodes: u64,
}

/// Why an entry cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// It has too many entries.
    #[error("the build context has too many files")]
    Full,
    /// The path leads out.
    #[error("the build context has a path that leads out of it: {0:?}")]
    Escapes(String),
    /// The path leads through something that is no directory.
    #[error("the build context has an entry below something that is no directory: {0:?}")]
    Parent(String),
    /// A second name of something that is not there.
    #[error("the build context has a link to a file that is not before it: {0:?}")]
    Link(String),
}

impl Tree {
    /// A path as it is kept: without slashes at the ends, `.` and `..`.
    pub fn clean(path: &[u8]) -> Result<Vec<u8>, TreeError> {
        let escapes = || TreeError::Escapes(String::from_utf8_lossy(path).into_owned());
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

    /// Adds an entry in place of what had its path.
    pub fn insert(&mut self, path: &[u8], entry: &Entry) -> Result<(), TreeError> {
        self.make_parents(path)?;
        if self.is_directory(path) == Some(true) && entry.node.kind != Kind::Directory {
            self.remove_below(path);
        }
        self.put(path, entry)
    }

    /// What has a path.
    pub fn get(&self, path: &[u8]) -> Option<Entry> {
        self.entries.get(path).map(|at| self.packed.get(*at))
    }

    /// Whether what has a path is a directory.
    fn is_directory(&self, path: &[u8]) -> Option<bool> {
        self.entries.get(path).map(|at| self.packed.is_directory(*at))
    }

    /// What a second name of the file at a path is: the same file.
    pub fn link(&mut self, path: &[u8]) -> Result<Entry, TreeError> {
        let missing = || TreeError::Link(String::from_utf8_lossy(path).into_owned());
        let at = self.entries.get_mut(path).ok_or_else(missing)?;
        let mut first = self.packed.get(*at);
        if !matches!(first.node.kind, Kind::File(_)) {
            return Err(missing());
        }
        if first.node.inode == 0 {
            self.inodes += 1;
            first.node.inode = self.inodes;
            *at = self.packed.add(&first);
        }
        Ok(first)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names in a directory.
    pub fn list(&self, path: &[u8]) -> Vec<Vec<u8>> {
        let prefix = if path.is_empty() { Vec::new() } else { [path, b"/"].concat() };
        let mut names = Vec::new();
        let mut from = prefix.clone();
        // From child to child; what lies below one is jumped over.
        while let Some((found, _)) = self.entries.range(from.into_boxed_slice()..).next() {
            let Some(rest) = found.strip_prefix(&prefix[..]) else { break };
            let name = rest.split(|&b| b == b'/').next().unwrap_or_default().to_vec();
            if name.len() == rest.len() {
                names.push(name.clone());
                // Entries below it begin with `name/`; names that go on after `name` may come first.
                from = [&prefix[..], &name, b"\0"].concat();
            } else {
                // The first below a child, which itself came earlier; `0` follows the slash.
                from = [&prefix[..], &name, b"0"].concat();
            }
        }
        names.sort_unstable();
        names
    }

    /// Removes what the rules leave out.
    pub fn ignore(&mut self, rules: &Ignore) {
        if !rules.is_empty() {
            self.ignore_below(rules, &rules.top(), b"");
        }
    }

    /// Whether something is left in the directory.
    fn ignore_below(&mut self, rules: &Ignore, verdict: &Verdict, dir: &[u8]) -> bool {
        let mut left = false;
        for name in self.list(dir) {
            let path = join(dir, &name);
            let said = rules.look(verdict, &String::from_utf8_lossy(&path));
            let inside = self.is_directory(&path) == Some(true)
                && (!said.ignored || rules.has_exceptions())
                && self.ignore_below(rules, &said, &path);
            if said.ignored && !inside {
                self.remove_below(&path);
                self.remove(&path);
            } else {
                left = true;
            }
        }
        left
    }

    fn make_parents(&mut self, path: &[u8]) -> Result<(), TreeError> {
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            match self.is_directory(&path[..at]) {
                Some(true) => {}
                Some(false) => return Err(TreeError::Parent(String::from_utf8_lossy(path).into_owned())),
                None => self.put(&path[..at], &Entry::directory())?,
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &[u8], entry: &Entry) -> Result<(), TreeError> {
        self.names += path.len();
        let full = self.entries.len() >= MAX_ENTRIES || self.names > MAX_NAMES || self.packed.bytes() > MAX_PACKED;
        if full {
            return Err(TreeError::Full);
        }
        let at = self.packed.add(entry);
        self.entries.insert(path.into(), at);
        Ok(())
    }

    fn remove(&mut self, path: &[u8]) {
        if self.entries.remove(path).is_some() {
            self.names = self.names.saturating_sub(path.len());
        }
    }

    fn remove_below(&mut self, path: &[u8]) {
        let (from, to) = ([path, b"/"].concat(), [path, b"0"].concat());
        let below = self.entries.range(from.into_boxed_slice()..to.into_boxed_slice());
        let below: Vec<Box<[u8]>> = below.map(|(path, _)| path.clone()).collect();
        for path in below {
            self.remove(&path);
        }
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
        Self::invalid(e.to_string())
    }
}

impl From<TreeError> for io::Error {
    fn from(e: TreeError) -> Self {
        Self::new(io::ErrorKind::InvalidData, e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Entry {
        let mut entry = Entry::directory();
        entry.node.kind = Kind::File(0);
        entry
    }

    fn tree(paths: &[&str]) -> Tree {
        let mut tree = Tree::default();
        for path in paths {
            tree.insert(&Tree::clean(path.as_bytes()).unwrap(), &file()).unwrap();
        }
        tree
    }

    fn list(tree: &Tree, dir: &str) -> Vec<String> {
        tree.list(dir.as_bytes()).iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    fn paths(tree: &Tree) -> Vec<String> {
        tree.entries.keys().map(|path| String::from_utf8_lossy(path).into_owned()).collect()
    }

    #[test]
    fn names_of_a_directory() {
        let tree = tree(&["a/b/c", "a-b", "a.txt", "a/b.x", "a/b0", "z", "a0/x"]);
        assert_eq!(list(&tree, ""), ["a", "a-b", "a.txt", "a0", "z"]);
        assert_eq!(list(&tree, "a"), ["b", "b.x", "b0"]);
        assert_eq!(list(&tree, "a/b"), ["c"]);
        assert!(list(&tree, "z").is_empty());
    }

    #[test]
    fn hostile_paths() {
        assert_eq!(Tree::clean(b"./a//b/../c/").unwrap(), b"a/c");
        assert_eq!(Tree::clean(b"/a").unwrap(), b"a");
        assert!(Tree::clean(b"../a").is_err() && Tree::clean(b"a/../../b").is_err() && Tree::clean(b"a\0b").is_err());
        let mut tree = tree(&["a"]);
        assert!(matches!(tree.insert(b"a/b", &file()), Err(TreeError::Parent(_))));
        tree.insert(b"d/e", &file()).unwrap();
        tree.insert(b"d", &file()).unwrap();
        assert_eq!(paths(&tree), ["a", "d"]);
    }

    #[test]
    fn rules_leave_out() {
        let all = ["a/b/c", "a/b/d", "a/e", "f", "g/h"];
        let kept = |text: &str| {
            let mut tree = tree(&all);
            tree.ignore(&Ignore::parse(text).unwrap());
            paths(&tree)
        };
        assert_eq!(kept("a"), ["f", "g", "g/h"]);
        assert_eq!(kept("*\n!a/b/c"), ["a", "a/b", "a/b/c"]);
        assert_eq!(kept("**/c\ng/*"), ["a", "a/b", "a/b/d", "a/e", "f", "g"]);
        assert_eq!(kept("*").len(), 0);
    }
}
