//! Damage is found, named and mended.

mod common;

use common::{
    Bench, file, header,
    remote::{Remote, gzip},
};
use gantry_image_store::{Report, Severity, VerifyOptions};
use gantry_model::Digest;
use gantry_state_db::Db;
use std::{
    fs,
    io::Read,
    os::unix::fs::{PermissionsExt, symlink},
};

fn verify(bench: &Bench) -> Report {
    bench.store.verify(VerifyOptions::default(), &mut |_| ()).unwrap()
}

fn repair(bench: &Bench) -> Report {
    bench.store.verify(VerifyOptions { repair: true }, &mut |_| ()).unwrap()
}

fn shown(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

/// Every kind of entry.
fn everything() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut link = |kind, path: &str, target: &str| {
        let mut header = header(kind, 0);
        builder.append_link(&mut header, path, target).unwrap();
    };
    link(tar::EntryType::Symlink, "link", "elsewhere");
    for path in ["dir/", "dir/empty/"] {
        let mut header = header(tar::EntryType::Directory, 0);
        builder.append_data(&mut header, path, &[][..]).unwrap();
    }
    file(&mut builder, "implied/file", &vec![7; 300_000]);
    file(&mut builder, "dir/.wh.gone", b"");
    file(&mut builder, "dir/one", b"one");
    let mut hard = header(tar::EntryType::Link, 0);
    builder.append_link(&mut hard, "dir/two", "dir/one").unwrap();
    let mut fifo = header(tar::EntryType::Fifo, 0);
    builder.append_data(&mut fifo, "pipe", &[][..]).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn a_sound_store_is_sound() {
    let bench = Bench::new();
    bench.import(&everything(), "x").unwrap();
    bench.import(&gzip(&everything()), "y").unwrap();
    let report = verify(&bench);
    assert_eq!(shown(&report), Vec::<String>::new());
    // Two documents, two manifests, two blobs of one layer.
    assert_eq!((report.images, report.blobs, report.layers), (2, 6, 1));
    assert_eq!(fs::read_dir(bench.dir.path().join("layers")).unwrap().count(), 1);
}

#[test]
fn every_change_of_a_layer_is_found_and_undone() {
    let bench = Bench::new();
    let id = bench.import(&everything(), "x").unwrap();
    let root = bench.tree(&id);
    fs::write(root.join("implied/file"), vec![8; 300_000]).unwrap();
    fs::set_permissions(root.join("dir/empty"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(root.join("strange"), "").unwrap();
    fs::remove_file(root.join("pipe")).unwrap();
    fs::remove_file(root.join("link")).unwrap();
    symlink("here", root.join("link")).unwrap();
    fs::remove_file(root.join("dir/two")).unwrap();
    fs::copy(root.join("dir/one"), root.join("dir/two")).unwrap();
    let report = verify(&bench);
    assert!(!report.is_sound());
    let found = shown(&report).join("\n");
    for expected in [
        "/implied/file: its contents differ",
        "/dir/empty: its mode is 700 instead of 755",
        "/strange: it does not belong here",
        "/pipe: it is missing",
        "/link: it leads elsewhere",
        "/dir/one: its hard links differ",
    ] {
        assert!(found.contains(expected), "{expected} in {found}");
    }
    assert!(report.findings.iter().all(|finding| !finding.repaired));
    assert!(repair(&bench).findings.iter().all(|finding| finding.repaired));
    assert_eq!(shown(&verify(&bench)), Vec::<String>::new());
    fs::remove_dir_all(bench.dir.path().join("layers")).unwrap();
    fs::create_dir(bench.dir.path().join("layers")).unwrap();
    assert!(shown(&repair(&bench))[0].ends_with("its directory is missing"));
    assert!(verify(&bench).is_sound() && root.join("implied/file").exists());
}

#[test]
fn a_damaged_blob_is_mended_by_the_next_arrival() {
    let bench = Bench::new();
    let archive = everything();
    let remote = Remote::new(&[(archive.clone(), gzip(&archive))]);
    remote.arrive(&bench.store, "x").unwrap();
    let image = bench.store.resolve("x").unwrap();
    let blob = image.layers[0].blob.clone();
    let path = bench.dir.path().join("images/blobs/sha256").join(blob.hex());
    let present = |bench: &Bench| bench.store.arrival(remote.incoming()).unwrap().layers()[0].present;

    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[10] ^= 1;
    fs::write(&path, &bad).unwrap();
    assert!(present(&bench));
    let mut all = Vec::new();
    let failed = bench.store.open_blob(&blob).unwrap().unwrap().read_to_end(&mut all).unwrap_err();
    assert!(failed.to_string().contains(blob.as_str()) && all.len() < bad.len(), "{failed}");
    let bench = bench.reopen();
    assert_eq!(bench.store.damaged().len(), 1);
    assert!(bench.store.open_blob(&blob).unwrap().is_none());
    assert!(shown(&verify(&bench))[0].contains("its digest is sha256:"));
    assert!(!present(&bench));
    remote.arrive(&bench.store, "x").unwrap();
    assert_eq!(fs::read(&path).unwrap(), good);
    assert!(bench.store.damaged().is_empty() && verify(&bench).is_sound());

    // One that is gone or too short is noticed at once.
    fs::write(&path, &good[..20]).unwrap();
    assert!(!present(&bench));
    assert!(shown(&verify(&bench))[0].contains("it has 20 bytes instead of"));
    fs::remove_file(&path).unwrap();
    assert!(!present(&bench));
    fs::remove_dir_all(bench.tree(&image.id)).unwrap();
    remote.arrive(&bench.store, "x").unwrap();
    assert!(verify(&bench).is_sound());
    // So are the small ones.
    for small in [image.id.digest(), &image.manifest] {
        fs::write(bench.dir.path().join("images/blobs/sha256").join(small.hex()), "{}").unwrap();
        assert!(!verify(&bench).is_sound());
        remote.arrive(&bench.store, "x").unwrap();
        assert!(verify(&bench).is_sound());
    }
    let bench = bench.reopen();
    assert!(bench.tree(&image.id).join("dir/one").exists());
}

#[test]
fn what_dead_processes_left_is_told_and_left() {
    let bench = Bench::new();
    bench.import(&everything(), "x").unwrap();
    bench.store.flush();
    let root = bench.dir.path().to_owned();
    fs::create_dir_all(root.join("layers/tmp-half/diff")).unwrap();
    fs::create_dir_all(root.join("layers").join("0".repeat(64)).join("diff")).unwrap();
    fs::write(root.join("images/blobs/sha256").join("1".repeat(64)), "orphan").unwrap();
    fs::write(root.join("images/ingest/half"), "half").unwrap();
    fs::write(root.join("images/index.json"), "{}").unwrap();
    let Bench { dir, store } = bench;
    drop(store);
    let db = Db::open(&root.join("state.db")).unwrap();
    let store = gantry_image_store::ImageStore::open_to_verify(&root, db).unwrap();
    let report = store.verify(VerifyOptions::default(), &mut |_| ()).unwrap();
    assert!(report.is_sound());
    assert_eq!(report.findings.len(), 5, "{:?}", shown(&report));
    assert!(report.findings.iter().all(|finding| finding.severity == Severity::Leftover));
    assert!(root.join("layers/tmp-half").exists() && root.join("images/ingest/half").exists());
    drop(store);
    let store = gantry_image_store::ImageStore::open(dir.path(), Db::open(&root.join("state.db")).unwrap()).unwrap();
    let bench = Bench { dir, store };
    assert_eq!(shown(&verify(&bench)), Vec::<String>::new());
}

#[test]
fn layers_that_have_the_names_of_their_chains_are_renamed() {
    let bench = Bench::new();
    let layers: Vec<_> = ["a", "b"].map(|text| (common::small(text), common::small(text))).to_vec();
    Remote::new(&layers).arrive(&bench.store, "x").unwrap();
    let image = bench.store.resolve("x").unwrap();
    let top = &image.layers[1];
    let place = |digest: &Digest| bench.dir.path().join("layers").join(digest.hex());
    fs::rename(place(&top.diff_id), place(&top.chain_id)).unwrap();
    let bench = bench.reopen();
    assert!(verify(&bench).is_sound());
    assert_eq!(fs::read(bench.tree(&image.id).join("file")).unwrap(), b"b");
}
