//! A tree that comes out of our extraction is the tree that comes out of GNU tar's.

mod common;

use common::{Bench, file, header};
use rustix::fs::{Mode, XattrFlags, getxattr, listxattr, lsetxattr, mknodat};
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
    },
    path::Path,
    process::Command,
};

/// A tree with everything that archives can carry.
fn make_tree(root: &Path) {
    let deep = root.join("d").join("x".repeat(120)).join("y".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("long name ✓ \n"), "deep").unwrap();
    fs::write(root.join("setuid"), vec![1; 70_000]).unwrap();
    chown(root.join("setuid"), Some(1000), Some(3_000_000)).unwrap();
    fs::set_permissions(root.join("setuid"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::hard_link(root.join("setuid"), root.join("d/hard")).unwrap();
    symlink("z".repeat(200), root.join("link")).unwrap();
    symlink("/etc/passwd", root.join("d/absolute")).unwrap();
    lchown(root.join("link"), Some(7), Some(8)).unwrap();
    fs::hard_link(root.join("link"), root.join("link2")).unwrap();
    for (name, kind, device) in [
        ("fifo", rustix::fs::FileType::Fifo, 0),
        ("null", rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        ("loop", rustix::fs::FileType::BlockDevice, rustix::fs::makedev(7, 300)),
    ] {
        mknodat(rustix::fs::CWD, root.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    }
    let mut sparse = File::create(root.join("sparse")).unwrap();
    for at in [0, 1 << 20, (3 << 20) + 4096] {
        sparse.seek(SeekFrom::Start(at)).unwrap();
        sparse.write_all(&[at as u8 | 1; 8192]).unwrap();
    }
    sparse.set_len(5 << 20).unwrap();
    for i in 0..30 {
        // More pieces than the old GNU header holds.
        sparse.seek(SeekFrom::Start((6 << 20) + i * (1 << 16))).unwrap();
        sparse.write_all(&[9; 4096]).unwrap();
    }
    drop(sparse);
    // VFS capabilities, version 2: cap_net_raw, permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    lsetxattr(root.join("empty"), "security.capability", &capability, XattrFlags::empty()).unwrap();
    lsetxattr(root.join("setuid"), "user.note", b"a\0b\n", XattrFlags::empty()).unwrap();
    lsetxattr(root.join("d"), "user.dir", b"yes", XattrFlags::empty()).unwrap();
    fs::set_permissions(root.join("d"), fs::Permissions::from_mode(0o3771)).unwrap();
    chown(root.join("d"), Some(5), Some(6)).unwrap();
    for name in ["d", "setuid", "link", "fifo", "."] {
        let mut touch = Command::new("touch");
        touch.args(["-h", "-d", "2001-02-03 04:05:06.123456789 UTC", name]).current_dir(root);
        assert!(touch.status().unwrap().success());
    }
}

/// Everything about every file below `root`, by path.
fn describe(root: &Path, nanoseconds: bool, xattrs: bool) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut queue = vec![root.to_owned()];
    while let Some(path) = queue.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            queue.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        let size = if meta.is_dir() { 0 } else { meta.size() };
        let nanos = if nanoseconds { meta.mtime_nsec() } else { 0 };
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        let target = fs::read_link(&path).ok();
        let attributes = if xattrs && !meta.is_symlink() { attributes(&path) } else { Vec::new() };
        let line = format!(
            "{:o} {}:{} {size} {}.{nanos} links {} dev {} -> {target:?} {} {attributes:?}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            if meta.is_dir() { 0 } else { meta.nlink() },
            meta.rdev(),
            content.iter().fold(0u64, |sum, b| sum.wrapping_mul(31).wrapping_add(u64::from(*b))),
        );
        found.insert(path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), line);
    }
    found
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let length = listxattr(path, &mut names[..]).unwrap();
    let mut all = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0; 4096];
        let length = getxattr(path, CString::new(name).unwrap(), &mut value[..]).unwrap();
        all.push((String::from_utf8_lossy(name).into_owned(), value[..length].to_vec()));
    }
    all.sort();
    all
}

fn tar(arguments: &[&str], directory: &Path) {
    let status = Command::new("tar").args(arguments).current_dir(directory).status().unwrap();
    assert!(status.success(), "tar {arguments:?}");
}

#[test]
fn the_same_tree_as_gnu_tar() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    make_tree(&source);
    let bench = Bench::new();
    let pax = ["--format=pax", "--xattrs", "--xattrs-include=*"];
    for (format, nanoseconds, xattrs) in [
        (&["--format=gnu"][..], false, false),
        (&["--format=gnu", "--sparse"], false, false),
        (&pax, true, true),
        (&[&pax[..], &["--sparse", "--sparse-version=0.0"]].concat(), true, true),
        (&[&pax[..], &["--sparse", "--sparse-version=0.1"]].concat(), true, true),
        (&[&pax[..], &["--sparse", "--sparse-version=1.0"]].concat(), true, true),
    ] {
        let archive = work.path().join("archive.tar");
        let path = archive.to_str().unwrap();
        tar(&[&["--numeric-owner", "-cf", path], format, &["."]].concat(), &source);
        let reference = work.path().join("reference");
        fs::create_dir(&reference).unwrap();
        let extract = ["--numeric-owner", "--same-owner", "--xattrs", "--xattrs-include=*", "-xpf", path];
        tar(&extract, &reference);
        let id = bench.import(&fs::read(&archive).unwrap(), "").unwrap();
        let ours = describe(&bench.tree(&id), nanoseconds, xattrs);
        for (path, line) in describe(&reference, nanoseconds, xattrs) {
            assert_eq!(ours.get(&path), Some(&line), "{path} with {format:?}");
        }
        if format.contains(&"--sparse") {
            let blocks = |root: &Path| fs::metadata(root.join("sparse")).unwrap().blocks();
            assert!(blocks(&bench.tree(&id)) <= blocks(&reference), "the holes are filled with {format:?}");
        }
        fs::remove_dir_all(&reference).unwrap();
    }
}

/// libarchive writes other headers for the same things: its own sparse maps, names in PAX records, times with fractions.
#[test]
fn the_same_tree_from_bsdtar() {
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    fs::create_dir(&source).unwrap();
    make_tree(&source);
    let bench = Bench::new();
    for (format, exact) in [("pax", true), ("gnutar", false)] {
        let archive = work.path().join("archive.tar");
        let mut bsdtar = Command::new("bsdtar");
        bsdtar.args(["--format", format, "--numeric-owner", "-cf"]).arg(&archive).arg(".").current_dir(&source);
        assert!(bsdtar.status().unwrap().success());
        let id = bench.import(&fs::read(&archive).unwrap(), "").unwrap();
        let ours = describe(&bench.tree(&id), exact, exact);
        for (path, line) in describe(&source, exact, exact) {
            assert_eq!(ours.get(&path), Some(&line), "{path} with {format}");
        }
    }
}

#[test]
fn whiteouts_become_overlayfs_marks() {
    let mut builder = tar::Builder::new(Vec::new());
    file(&mut builder, "a/.wh.gone", b"");
    file(&mut builder, "opaque/.wh..wh..opq", b"");
    file(&mut builder, "opaque/kept", b"x");
    // A whiteout and then the same name: the directory must not show what lies below.
    file(&mut builder, ".wh.again", b"");
    file(&mut builder, "again/new", b"x");
    builder.append_data(&mut header(tar::EntryType::Directory, 0), "again/", &[][..]).unwrap();
    file(&mut builder, "first", b"x");
    file(&mut builder, ".wh.first", b"");
    file(&mut builder, ".wh..wh.plnk/1", b"");
    let bench = Bench::new();
    let result = bench.import(&builder.into_inner().unwrap(), "");
    // `again/new` needs `again`, which is a whiteout by then.
    assert!(result.unwrap_err().message().contains("not a directory"));

    let mut builder = tar::Builder::new(Vec::new());
    file(&mut builder, "a/.wh.gone", b"");
    file(&mut builder, "opaque/.wh..wh..opq", b"");
    file(&mut builder, ".wh.again", b"");
    builder.append_data(&mut header(tar::EntryType::Directory, 0), "again/", &[][..]).unwrap();
    file(&mut builder, "again/new", b"x");
    file(&mut builder, "first", b"x");
    file(&mut builder, ".wh.first", b"");
    let id = bench.import(&builder.into_inner().unwrap(), "").unwrap();
    let tree = bench.tree(&id);
    let gone = fs::symlink_metadata(tree.join("a/gone")).unwrap();
    assert_eq!((gone.mode() & 0o170_000, gone.rdev()), (0o020_000, 0));
    for directory in ["opaque", "again"] {
        let mark = ("trusted.overlay.opaque".to_owned(), b"y".to_vec());
        assert!(attributes(&tree.join(directory)).contains(&mark), "{directory}");
    }
    assert_eq!(fs::read(tree.join("first")).unwrap(), b"x");
    assert!(!fs::read_dir(&tree).unwrap().any(|e| e.unwrap().file_name().as_bytes().starts_with(b".wh.")));
}

#[test]
fn later_entries_win() {
    let mut builder = tar::Builder::new(Vec::new());
    file(&mut builder, "f", b"old");
    file(&mut builder, "f", b"new");
    file(&mut builder, "d/a/b", b"x");
    file(&mut builder, "d", b"a file now");
    file(&mut builder, "e", b"x");
    builder.append_data(&mut header(tar::EntryType::Directory, 0), "e", &[][..]).unwrap();
    file(&mut builder, "e/inside", b"x");
    let bench = Bench::new();
    let id = bench.import(&builder.into_inner().unwrap(), "").unwrap();
    let read = |path: &str| fs::read_to_string(bench.tree(&id).join(path)).unwrap();
    assert_eq!((read("f"), read("d"), read("e/inside")), ("new".into(), "a file now".into(), "x".into()));
}
