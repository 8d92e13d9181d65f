//! Trees become archives that give the same trees.

mod common;

use common::{Bench, small};
use gantry_image_store::{
    CommitOptions, ImageConfig, Top, VerifyOptions,
    extract::{Limits, extract},
    pack::{Form, Found, Step, Walk, pack, pack_object},
    tar::{Archive, Kind},
};
use rustix::{
    fd::OwnedFd,
    fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr},
};
use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink},
    path::Path,
};

fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

fn everything(_: &Found, _: &[u8]) -> bool {
    false
}

/// Names, kinds, modes, owners, sizes, link counts and times of a tree.
fn listing(dir: &Path) -> Vec<String> {
    let mut walk = Walk::new(&open(dir), b"").unwrap();
    let mut all = Vec::new();
    while let Some(step) = walk.step().unwrap() {
        let Step::Found(found) = step else { continue };
        let s = &found.stat;
        let name = String::from_utf8_lossy(walk.path()).into_owned();
        let size = if found.kind() == FileType::Directory { 0 } else { s.st_size };
        let rest = (s.st_mode, s.st_uid, s.st_gid, size, s.st_nlink, s.st_mtime, s.st_rdev);
        all.push(format!("{name} {rest:?}"));
        if found.kind() == FileType::Directory {
            walk.enter(&found).unwrap();
        }
    }
    all
}

fn make_tree(dir: &Path) {
    let deep = dir.join("long".repeat(30)).join("name".repeat(40));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "x").unwrap();
    fs::write(dir.join("set-uid"), "program").unwrap();
    chown(dir.join("set-uid"), Some(70_000), Some(3_000_000_000)).unwrap();
    fs::set_permissions(dir.join("set-uid"), PermissionsExt::from_mode(0o6751)).unwrap();
    fs::hard_link(dir.join("set-uid"), dir.join("zzz-link")).unwrap();
    symlink("../".repeat(100), dir.join("symlink")).unwrap();
    for (name, kind, device) in
        [("null", FileType::CharacterDevice, makedev(1, 3)), ("loop", FileType::BlockDevice, makedev(7, 200))]
    {
        mknodat(CWD, dir.join(name), kind, Mode::from_raw_mode(0o600), device).unwrap();
    }
    mknodat(CWD, dir.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o622), 0).unwrap();
    let sparse = File::create(dir.join("sparse")).unwrap();
    sparse.set_len(50 << 20).unwrap();
    sparse.write_all_at(b"middle", 30 << 20).unwrap();
    setxattr(dir.join("sparse"), "user.note", b"a=b\n\0c", XattrFlags::empty()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap());
}

#[test]
fn a_tree_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for made in [&from, &to] {
        fs::create_dir(made).unwrap();
    }
    make_tree(&from);
    let mut bytes = Vec::new();
    pack(&open(&from), Form::Tree, None, &everything, &mut bytes).unwrap();
    let mut again = Vec::new();
    pack(&open(&from), Form::Tree, None, &everything, &mut again).unwrap();
    assert!(bytes == again, "the order is the same each time");

    std::thread::spawn({
        let to = to.clone();
        move || extract(&mut Archive::new(bytes.as_slice()), &to, Limits::default()).map(drop)
    })
    .join()
    .unwrap()
    .unwrap();
    fs::remove_file(from.join("socket")).unwrap();
    assert_eq!(listing(&from), listing(&to));
    let mut value = [0; 16];
    assert_eq!(rustix::fs::getxattr(to.join("sparse"), "user.note", &mut value).unwrap(), 6);
    let mut read = [0; 6];
    File::open(to.join("sparse")).unwrap().read_exact_at(&mut read, 30 << 20).unwrap();
    assert_eq!(&read, b"middle");
}

fn names(bytes: &[u8]) -> Vec<String> {
    let mut archive = Archive::new(bytes);
    let mut names = Vec::new();
    while let Some(entry) = archive.next_entry().unwrap() {
        let link = if entry.kind == Kind::HardLink {
            format!("={}", String::from_utf8_lossy(&entry.link))
        } else {
            String::new()
        };
        names.push(String::from_utf8_lossy(&entry.path).into_owned() + &link);
    }
    names
}

#[test]
fn an_object_gets_the_name_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d/f"), "1").unwrap();
    fs::hard_link(dir.path().join("d/f"), dir.path().join("d/g")).unwrap();
    let packed = |path: &str, name: &[u8]| {
        let mut bytes = Vec::new();
        pack_object(&Found::new(open(&dir.path().join(path))).unwrap(), name, None, &mut bytes).unwrap();
        names(&bytes)
    };
    assert_eq!(packed("d", b"new"), ["new/", "new/f", "new/g=new/f"]);
    assert_eq!(packed("d", b""), ["/", "/f", "/g=/f"]);
    assert_eq!(packed("d", b"."), ["./", "./f", "./g=./f"]);
    assert_eq!(packed("d/f", b"x"), ["x"]);
}

#[test]
fn a_file_that_shrinks_leaves_the_archive_whole() {
    struct Cut<'a>(Vec<u8>, &'a Path);
    impl std::io::Write for Cut<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // The header is on its way, and most of the data is still to be read.
            fs::write(self.1, "short").unwrap();
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    fs::write(dir.path().join("b"), "after").unwrap();
    let mut out = Cut(Vec::new(), &path);
    pack(&open(dir.path()), Form::Tree, None, &everything, &mut out).unwrap();
    assert_eq!(names(&out.0), ["a", "b"]);
}

#[test]
fn marks_of_overlayfs_become_whiteouts() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("opaque")).unwrap();
    setxattr(dir.path().join("opaque"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    fs::write(dir.path().join("opaque/new"), "").unwrap();
    fs::write(dir.path().join(".wh.forged"), "").unwrap();
    fs::create_dir(dir.path().join("mounted")).unwrap();
    mknodat(CWD, dir.path().join("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    let mut bytes = Vec::new();
    pack(&open(dir.path()), Form::Layer, None, &|_, path| path == b"mounted", &mut bytes).unwrap();
    assert_eq!(names(&bytes), [".wh.gone", "opaque/", "opaque/.wh..wh..opq", "opaque/new"]);
    assert!(!bytes.windows(7).any(|w| w == b"trusted"));
}

fn options<'a>(
    base: &gantry_image_store::ImageId,
    upper: &'a OwnedFd,
    check: &'a dyn Fn() -> gantry_model::Result<()>,
) -> CommitOptions<'a> {
    CommitOptions {
        base: Some(base.clone()),
        top: Top::Upper(upper),
        skip: &everything,
        check,
        name: gantry_image_store::import_name("made", "").unwrap(),
        author: "me".into(),
        comment: "note".into(),
        created: None,
        steps: Vec::new(),
        created_by: "sh".into(),
        engine_version: "1".into(),
        container: "c".into(),
        container_config: serde_json::json!({"Cmd": ["sh"]}),
        config: ImageConfig { user: "7".into(), ..ImageConfig::default() },
    }
}

#[test]
fn a_commit_is_an_image_on_its_base() {
    let bench = Bench::new();
    let base = bench.import(&small("base"), "base").unwrap();
    let upper = tempfile::tempdir().unwrap();
    fs::write(upper.path().join("new"), "content").unwrap();
    mknodat(CWD, upper.path().join("file"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    let upper = open(upper.path());
    let id = bench.store.commit(options(&base, &upper, &|| Ok(()))).unwrap();
    let image = bench.store.resolve("made").unwrap();
    assert_eq!((&image.id, image.parent.as_ref()), (&id, Some(&base)));
    assert_eq!(image.document.config.user, "7");
    assert_eq!(image.document.history.len(), 2);
    assert_eq!((image.document.history[1].comment.as_str(), image.document.author.as_str()), ("note", "me"));
    let top = bench.tree(&id);
    assert_eq!(fs::read_to_string(top.join("new")).unwrap(), "content");
    assert_eq!(fs::symlink_metadata(top.join("file")).unwrap().rdev(), 0);
    let bench = bench.reopen();
    assert_eq!(bench.store.resolve("made").unwrap().layers.len(), 2);
}

#[test]
fn an_empty_commit_adds_no_layer_and_a_refused_one_nothing() {
    let bench = Bench::new();
    let base = bench.import(&small("base"), "base").unwrap();
    let before = bench.leftovers().len();
    let upper = tempfile::tempdir().unwrap();
    let opened = open(upper.path());
    let id = bench.store.commit(options(&base, &opened, &|| Ok(()))).unwrap();
    let image = bench.store.get(&id).unwrap();
    assert_eq!(image.layers.len(), 1);
    assert!(image.document.history[1].empty_layer);
    assert_eq!(bench.leftovers().len(), before + 2);

    fs::write(upper.path().join("new"), "content").unwrap();
    let refuse = || Err(gantry_model::Error::conflict("gone"));
    assert!(bench.store.commit(options(&base, &opened, &refuse)).is_err());
    assert_eq!(bench.leftovers().len(), before + 2);
}

/// The files of an overlay that is over are the layer's as they are; what an archive does not tell is gone from them.
#[test]
fn given_files_are_taken_and_not_copied() {
    let bench = Bench::new();
    let base = bench.import(&small("base"), "base").unwrap();
    let make = |dir: &Path| {
        make_tree(dir);
        fs::create_dir_all(dir.join("opaque/etc/skipped/deep")).unwrap();
        fs::write(dir.join("opaque/etc/.wh.forged"), "").unwrap();
        fs::write(dir.join("opaque/etc/file"), "content").unwrap();
        fs::set_permissions(dir, PermissionsExt::from_mode(0o700)).unwrap();
        for (path, name, value) in [
            ("opaque", "trusted.overlay.opaque", &b"y"[..]),
            ("opaque/etc", "trusted.overlay.impure", b"y"),
            ("opaque/etc/file", "trusted.overlay.origin", b"somewhere"),
            ("opaque/etc/file", "user.own", b"kept"),
            (".", "user.own", b"the root's"),
        ] {
            setxattr(dir.join(path), name, value, XattrFlags::empty()).unwrap();
        }
        mknodat(CWD, dir.join("opaque/gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        drop(std::os::unix::net::UnixListener::bind(dir.join("opaque/socket")).unwrap());
        // Of these an archive has the seconds, and none that are later than it should be.
        let times =
            |nanos| fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_nanos(nanos));
        File::open(dir.join("opaque/etc/file")).unwrap().set_times(times(5_000_000_007)).unwrap();
        File::open(dir.join("opaque/etc")).unwrap().set_times(times(6_000_000_007)).unwrap();
        File::open(dir.join("opaque")).unwrap().set_times(times(90_000_000_000_000)).unwrap();
    };
    let (copied, given) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    make(copied.path());
    make(given.path());
    let inode = fs::metadata(given.path().join("opaque/etc/file")).unwrap().ino();
    let skip = |_: &Found, path: &[u8]| path == b"opaque/etc/skipped";
    let commit = |dir: &Path, is_given: bool| {
        let upper = open(dir);
        let created = Some(gantry_model::Timestamp::from_unix_nanos(80_000_000_000_000));
        let top = if is_given { Top::Given(&upper) } else { Top::Upper(&upper) };
        let id = bench.store.commit(CommitOptions { top, created, skip: &skip, ..options(&base, &upper, &|| Ok(())) });
        bench.store.get(&id.unwrap()).unwrap()
    };
    let taken = commit(given.path(), true);
    let tree = bench.tree(&taken.id);
    assert_eq!(fs::metadata(tree.join("opaque/etc/file")).unwrap().ino(), inode);
    assert_eq!(fs::read_dir(given.path()).unwrap().count(), 0);
    let report = bench.store.verify(VerifyOptions::default(), &mut |_| ()).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    // The same archive as of files that are copied, and the same size; that the layer is there already is no matter.
    let written = commit(copied.path(), false);
    assert_eq!(taken.layers, written.layers);
    assert_eq!(commit(copied.path(), true).layers, written.layers);
}
