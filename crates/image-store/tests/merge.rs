//! Archives on top of a container's files stay inside the container's root.

mod common;

use common::{file, header};
use gantry_image_store::extract::{Limits, MergeOptions, merge};
use gantry_model::Result;
use rustix::fd::OwnedFd;
use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
};

fn extract(root: &Path, path: &str, archive: &[u8], keep_kinds: bool) -> Result<u64> {
    let open = |path: &Path| -> OwnedFd { File::open(path).unwrap().into() };
    let into = open(&root.join(path.trim_start_matches('/')));
    let root = open(root);
    let options = MergeOptions {
        root: &root,
        into: &into,
        path,
        keep_kinds,
        owner: Some((7, 8)),
        ids: None,
        limits: Limits::default(),
    };
    merge(&mut &archive[..], &options).map(|done| done.entries)
}

fn archive(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, contents) in entries {
        match contents.strip_prefix("-> ") {
            Some(target) => {
                let mut header = header(tar::EntryType::Symlink, 0);
                builder.append_link(&mut header, path, target).unwrap();
            }
            None => file(&mut builder, path, contents.as_bytes()),
        }
    }
    builder.into_inner().unwrap()
}

#[test]
fn links_lead_to_places_inside_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    for made in [&root.join("w"), &root.join("etc"), &outside] {
        fs::create_dir_all(made).unwrap();
    }
    symlink("/etc", root.join("w/abs")).unwrap();
    symlink("../../../../etc", root.join("w/up")).unwrap();
    symlink(&outside, root.join("w/out")).unwrap();
    extract(&root, "/w", &archive(&[("abs/a", "1"), ("up/b", "2")]), false).unwrap();
    assert!(root.join("etc/a").is_file() && root.join("etc/b").is_file());
    assert!(extract(&root, "/w", &archive(&[("out/c", "3")]), false).is_err());
    // One that the archive brings itself.
    let planted = archive(&[("mine", "-> /etc"), ("mine/d", "4")]);
    extract(&root, "/w", &planted, false).unwrap();
    assert!(root.join("etc/d").is_file());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn what_is_there_is_kept_or_replaced_as_asked() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    fs::create_dir_all(root.join("w/d/deep")).unwrap();
    fs::write(root.join("w/f"), "old").unwrap();
    let refused = extract(root, "/w", &archive(&[("d", "a file")]), true).unwrap_err();
    assert!(refused.to_string().contains("cannot overwrite directory \"/w/d\" with non-directory \"/w\""), "{refused}");
    extract(root, "/w", &archive(&[("d", "a file"), ("f", "new")]), false).unwrap();
    assert_eq!(fs::read_to_string(root.join("w/d")).unwrap(), "a file");
    let new = fs::metadata(root.join("w/f")).unwrap();
    assert_eq!((new.uid(), new.gid(), new.mtime(), new.len()), (7, 8, 1_000_000_000, 3));
    let refused = extract(root, "/w", &archive(&[("s", "-> ../../etc")]), false).unwrap_err();
    assert!(refused.to_string().contains("invalid symlink \"/w/s\" -> \"../../etc\""), "{refused}");
}
