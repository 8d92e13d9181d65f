//! Deaths of the process and of the machine: whole images or none, and nothing left over.

mod common;

use common::{
    Bench, file, noise,
    remote::{Remote, fetch, gzip},
    small,
};
use gantry_image_store::{ImageStore, ImportOptions, InUse, VerifyOptions, extract::Limits, import_name};
use gantry_model::Reference;
use gantry_state_db::{Batch, Db, Table};
use serde_json::Value;
use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

const CHILD: &str = "GANTRY_IMAGE_STORE_CRASH_CHILD";

fn open(root: &Path) -> ImageStore {
    ImageStore::open(root, Db::open(&root.join("state.db")).unwrap()).unwrap()
}

/// Not a test of its own: the program that is killed.
#[test]
fn child() {
    let Some(root) = env::var_os(CHILD) else { return };
    let store = open(Path::new(&root));
    let archive = small(&"x".repeat(3 << 20));
    for n in 0.. {
        let options = ImportOptions { name: import_name(&format!("i{n}"), "").unwrap(), ..ImportOptions::default() };
        let id = store.import(&mut &archive[..], options, &mut |_| ()).unwrap();
        writeln!(std::io::stderr(), "ack {id}").unwrap();
    }
}

#[test]
fn killed_while_importing() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..6 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut note = |line: String| acknowledged.extend(line.strip_prefix("ack ").map(str::to_owned));
        lines.by_ref().take(round % 3 + 1).for_each(|line| note(line.unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(|line| note(line.unwrap()));

        let store = open(dir.path());
        for id in &acknowledged {
            let image = store.resolve(id).unwrap();
            let file = store.rootfs(&image)[0].join("file");
            assert_eq!(fs::metadata(file).unwrap().len(), 3 << 20);
        }
        // The index is written beside this, by way of a temporary file.
        store.flush();
        // All have the same layer, so nothing else may be there.
        let count = |path: &str| fs::read_dir(dir.path().join(path)).unwrap().count();
        assert_eq!((count("layers"), count("images/ingest")), (1, 0));
        assert_eq!(count("images/blobs/sha256"), 1 + 2 * store.list().len());
    }
    assert!(acknowledged.len() >= 6);
}

#[test]
fn what_nobody_knows_is_swept() {
    let bench = Bench::new();
    let id = bench.import(&small("kept"), "x").unwrap();
    let root = bench.dir.path().to_owned();
    fs::create_dir_all(root.join("layers/tmp-half/diff/deep")).unwrap();
    fs::create_dir_all(root.join("layers").join("0".repeat(64)).join("diff")).unwrap();
    fs::write(root.join("images/blobs/sha256").join("1".repeat(64)), "orphan").unwrap();
    fs::write(root.join("images/ingest/half"), "half").unwrap();
    let bench = bench.reopen();
    assert_eq!(bench.leftovers().len(), 4, "{:?}", bench.leftovers());
    assert!(bench.tree(&id).join("file").exists());
}

/// After a power failure files may be there without their contents.
#[test]
fn another_boot_trusts_nothing_that_was_not_synced() {
    const IMAGES: Table<Value> = Table::new("images");
    let bench = Bench::new();
    let sound = bench.import(&small("sound"), "sound").unwrap();
    let damaged = bench.import(&small("damaged"), "damaged").unwrap();
    fs::write(bench.tree(&sound).join("file"), "").unwrap();
    let blob = bench.store.get(&damaged).unwrap().layers[0].blob.clone();
    let Bench { dir, store } = bench;
    store.flush();
    drop(store);
    fs::write(dir.path().join("images/blobs/sha256").join(blob.hex()), "").unwrap();
    let db = Db::open(&dir.path().join("state.db")).unwrap();
    for (id, mut record) in db.load(IMAGES).unwrap() {
        assert_eq!(record.get("unsynced"), None);
        record["unsynced"] = "another boot".into();
        db.commit(Batch::new().put(IMAGES, &id, &record).unwrap()).unwrap();
    }
    drop(db);
    let store = open(dir.path());
    assert!(store.resolve("damaged").is_err());
    let image = store.resolve("sound").unwrap();
    assert_eq!(fs::read(store.rootfs(&image)[0].join("file")).unwrap(), b"sound");
    assert_eq!(store.list().len(), 1);
}

/// A start that cannot extract, for lack of room perhaps, loses nothing.
#[test]
fn what_cannot_be_checked_is_checked_by_the_next_start() {
    const IMAGES: Table<Value> = Table::new("images");
    let bench = Bench::new();
    let id = bench.import(&small("kept"), "kept").unwrap();
    let Bench { dir, store } = bench;
    store.flush();
    drop(store);
    let path = dir.path().join("state.db");
    let db = Db::open(&path).unwrap();
    for (id, mut record) in db.load(IMAGES).unwrap() {
        record["unsynced"] = "another boot".into();
        db.commit(Batch::new().put(IMAGES, &id, &record).unwrap()).unwrap();
    }
    let none = Limits { entries: 0, ..Limits::default() };
    let store = ImageStore::open_with_limits(dir.path(), db, none).unwrap();
    store.flush();
    assert!(!store.rootfs(&store.get(&id).unwrap())[0].exists());
    drop(store);
    let store = open(dir.path());
    assert_eq!(fs::read(store.rootfs(&store.get(&id).unwrap())[0].join("file")).unwrap(), b"kept");
}

const ARRIVING: &str = "GANTRY_IMAGE_STORE_CRASH_ARRIVING";

/// The n-th image: a layer that all share, and one of its own.
fn remote(n: u64) -> Remote {
    let layers = [noise(400_000, 7), noise(700_000, 1000 + n)].map(|bytes| {
        let mut builder = tar::Builder::new(Vec::new());
        file(&mut builder, "file", &bytes);
        let archive = builder.into_inner().unwrap();
        (archive.clone(), gzip(&archive))
    });
    Remote::new(&layers)
}

/// Not a test of its own: the program that is killed.
#[test]
fn arriving_child() {
    let Some(root) = env::var_os(ARRIVING) else { return };
    let store = open(Path::new(&root));
    let say = |what: &str, n: u64| writeln!(std::io::stderr(), "{what} {n}").unwrap();
    for n in store.list().len() as u64.. {
        let remote = remote(n);
        let mut arrival = store.arrival(remote.incoming()).unwrap();
        for (index, wanted) in arrival.layers().to_vec().iter().enumerate().filter(|(_, wanted)| !wanted.present) {
            let incoming = store.incoming_layer(wanted).unwrap();
            for gap in incoming.missing() {
                for at in (gap.start..gap.end).step_by(60_000) {
                    let end = gap.end.min(at + 60_000);
                    incoming.write(at, &remote.blob(wanted)[at as usize..end as usize]).unwrap();
                    say("wrote", n);
                }
            }
            arrival.hold(index, &incoming.extract(&mut |_| ()).unwrap()).unwrap();
            say("extracted", n);
        }
        arrival.commit(&[Reference::parse(&format!("image:{n}")).unwrap()]).unwrap();
        say("committed", n);
        if n % 3 == 2 {
            // An image that stays out of the count of the others.
            store.import(&mut &small("x")[..], ImportOptions::default(), &mut |_| ()).unwrap();
            store.prune(&|_| true, &|_| InUse::None);
            store.prune_partials().unwrap();
            say("pruned", n);
        }
    }
}

/// Whatever was going on: the store is sound, what was acknowledged is there, and what had arrived is used.
#[test]
fn killed_while_images_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let mut committed = 0;
    for round in 0..9 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["arriving_child", "--exact", "--nocapture"])
            .env(ARRIVING, dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut note = |line: String| {
            if let Some(n) = line.strip_prefix("committed ") {
                committed = committed.max(n.parse::<u64>().unwrap() + 1);
            }
        };
        lines.by_ref().take(round * 5 % 23 + 1).for_each(|line| note(line.unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(|line| note(line.unwrap()));

        let store = open(dir.path());
        let report = store.verify(VerifyOptions::default(), &mut |_| ()).unwrap();
        assert!(report.findings.is_empty(), "{:?}", report.findings);
        for n in 0..committed {
            assert!(store.resolve(&format!("image:{n}")).is_ok(), "image {n} of {committed}");
        }
        // Nothing that arrived is wrong.
        let next = store.list().len() as u64;
        for wanted in store.arrival(remote(next).incoming()).unwrap().layers() {
            if !wanted.present && store.incoming_layer(wanted).unwrap().received() > 0 {
                fetch(&store, wanted, remote(next).blob(wanted)).unwrap();
            }
        }
        store.flush();
    }
    assert!(committed >= 3, "{committed}");
}
