//! Deaths of the process and of the machine: whole images or none, and nothing left over.

mod common;

use common::{Bench, small};
use gantry_image_store::{ImageStore, ImportOptions, import_name};
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
        // All have the same layer, so nothing else may be there.
        let count = |path: &str| fs::read_dir(dir.path().join(path)).unwrap().count();
        assert_eq!((count("layers"), count("images/ingest")), (1, 0));
        assert_eq!(count("images/blobs/sha256"), 1 + 2 * store.list().len());
        store.flush();
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
