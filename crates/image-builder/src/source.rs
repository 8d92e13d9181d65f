//! Where `COPY` and `ADD` read from: a context, a stage, an image. The paths in it are hostile: they are resolved here,
//! part by part, so that no link leads out, whatever holds the files.

use std::collections::VecDeque;
use std::io::{self, Read};

/// As many links as Docker follows.
const MAX_LINKS: usize = 255;

/// The time of what has none of its own: when it is copied.
pub const NO_TIME: (i64, u32) = (i64::MIN, 0);

/// What there is under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last change: seconds and nanoseconds.
    pub mtime: (i64, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What the source needs to find its data again.
    pub data: u64,
    /// The same for all names of a file that has several; 0 for others.
    pub inode: u64,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link and where it leads.
    Link(Vec<u8>),
    /// A character device, by major and minor number.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// What [`Source::below`] gives.
pub type Entries<'s> = Box<dyn Iterator<Item = io::Result<(Vec<u8>, Node, [u8; 32])>> + 's>;

/// Files to copy from. Paths are relative to the top, without `.` and `..`; empty is the top.
pub trait Source: Send + Sync {
    /// What has a path whose parents are all directories. Links are not followed.
    fn look(&self, path: &[u8]) -> io::Result<Option<Node>>;

    /// The names in a directory, sorted.
    fn list(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>>;

    /// The data of a regular file.
    fn open(&self, path: &[u8], node: &Node) -> io::Result<Box<dyn Read + '_>>;

    /// A digest of metadata, without times, and data.
    fn digest(&self, path: &[u8], node: &Node) -> io::Result<[u8; 32]>;

    /// Everything in a directory in the order of a walk, each directory before what is in it, by its path, with its
    /// digest; `None` where somebody has to walk.
    fn below(&self, _: &[u8]) -> io::Result<Option<Entries<'_>>> {
        Ok(None)
    }

    /// How messages call it.
    fn describe(&self) -> String;

    /// What all of it is known by, where that is not what is in its files.
    fn version(&self) -> Option<String> {
        None
    }
}

/// A place in a source after all links were followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path without links.
    pub path: Vec<u8>,
    /// What is there.
    pub node: Node,
}

/// Where a path leads.
enum Followed {
    To(Place),
    Nowhere,
    /// From link to link without end.
    Around,
}

/// Follows a path as a program would whose root the source is; `None` if there is nothing.
pub fn resolve(source: &dyn Source, path: &[u8]) -> io::Result<Option<Place>> {
    match follow(source, path)? {
        Followed::To(place) => Ok(Some(place)),
        Followed::Nowhere => Ok(None),
        Followed::Around => Err(io::Error::other("too many links")),
    }
}

/// The same for a path that a pattern came upon: links that lead around lead nowhere.
pub(crate) fn resolve_match(source: &dyn Source, path: &[u8]) -> io::Result<Option<Place>> {
    match follow(source, path)? {
        Followed::To(place) => Ok(Some(place)),
        Followed::Nowhere | Followed::Around => Ok(None),
    }
}

fn follow(source: &dyn Source, path: &[u8]) -> io::Result<Followed> {
    let Some(top) = source.look(b"")? else { return Ok(Followed::Nowhere) };
    let mut pending: VecDeque<Vec<u8>> = path.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
    // The places on the way down, so that `..` finds back.
    let mut way = vec![Place { path: Vec::new(), node: top }];
    let mut links = 0;
    while let Some(part) = pending.pop_front() {
        match &part[..] {
            b"" | b"." => continue,
            b".." => {
                if way.len() > 1 {
                    way.pop();
                }
                continue;
            }
            _ => {}
        }
        let here = way.last().expect("the top is never taken off");
        if here.node.kind != Kind::Directory {
            return Ok(Followed::Nowhere);
        }
        let path = join(&here.path, &part);
        let Some(node) = source.look(&path)? else { return Ok(Followed::Nowhere) };
        let Kind::Link(target) = &node.kind else {
            way.push(Place { path, node });
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Ok(Followed::Around);
        }
        if target.starts_with(b"/") {
            way.truncate(1);
        }
        for part in target.split(|&b| b == b'/').rev() {
            pending.push_front(part.to_vec());
        }
    }
    Ok(way.pop().map_or(Followed::Nowhere, Followed::To))
}

/// A directory's path and a name.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    match (dir, name) {
        (b"", name) => name.to_vec(),
        (dir, b"") => dir.to_vec(),
        (dir, name) => [dir, b"/", name].concat(),
    }
}
