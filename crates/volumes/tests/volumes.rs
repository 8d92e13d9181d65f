//! Creating, removing and recovering volumes.

use gantry_state_db::Db;
use gantry_volumes::{CreateRequest, VolumeError, Volumes};
use std::fs;
use std::path::Path;

fn open(root: &Path) -> (Volumes, Db) {
    let db = Db::open(&root.join("state.db")).unwrap();
    (Volumes::open(root, db.clone()).unwrap(), db)
}

fn named(name: &str) -> CreateRequest {
    CreateRequest { name: name.to_owned(), ..CreateRequest::default() }
}

#[test]
fn create_is_idempotent_and_survives() {
    let dir = tempfile::tempdir().unwrap();
    let (volumes, db) = open(dir.path());
    let (made, new) = volumes.create(named("data")).unwrap();
    assert!(new && !made.anonymous);
    assert_eq!(volumes.create(named("data")).unwrap(), (made.clone(), false));
    fs::write(volumes.mountpoint("data").join("x"), "x").unwrap();
    drop((volumes, db));
    let (volumes, _db) = open(dir.path());
    assert_eq!(volumes.list(), [made]);
    assert!(volumes.mountpoint("data").join("x").exists());
    volumes.remove("data", Vec::new).unwrap();
    assert!(matches!(volumes.get("data"), Err(VolumeError::NotFound(_))));
    assert!(fs::read_dir(dir.path().join("volumes")).unwrap().next().is_none());
}

#[test]
fn many_creates_of_one_name_make_one_volume() {
    let dir = tempfile::tempdir().unwrap();
    let (volumes, _db) = open(dir.path());
    let made: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| volumes.create(named("one")).unwrap().1)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(made.iter().filter(|new| **new).count(), 1);
}

#[test]
fn what_is_used_or_pinned_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (volumes, _db) = open(dir.path());
    volumes.create(named("data")).unwrap();
    let error = volumes.remove("data", || vec!["abc".to_owned()]).unwrap_err();
    assert_eq!(error.to_string(), "remove data: volume is in use - [abc]");
    let pin = volumes.pin("data").unwrap();
    assert!(matches!(volumes.remove("data", Vec::new), Err(VolumeError::InUse { .. })));
    drop(pin);
    volumes.remove("data", Vec::new).unwrap();
}

#[test]
fn a_staged_volume_leaves_nothing_or_all() {
    let dir = tempfile::tempdir().unwrap();
    let (volumes, db) = open(dir.path());
    drop(volumes.stage_anonymous(None).unwrap());
    assert!(fs::read_dir(dir.path().join("volumes")).unwrap().next().is_none());

    let staged = volumes.stage_anonymous(None).unwrap();
    let name = staged.name().to_owned();
    fs::write(staged.data().join("x"), "x").unwrap();
    db.commit(staged.batch().unwrap()).unwrap();
    staged.publish().unwrap();
    assert!(volumes.get(&name).unwrap().anonymous);
    assert!(volumes.mountpoint(&name).join("x").exists());
}

#[test]
fn a_crash_between_two_steps_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let (volumes, db) = open(dir.path());
    for name in ["made", "going", "lost"] {
        volumes.create(named(name)).unwrap();
        fs::write(volumes.mountpoint(name).join("x"), "x").unwrap();
    }
    drop((volumes, db));
    let root = dir.path().join("volumes");
    // The row is there, the last rename is not; the removal began, its row is still there; gone by hand.
    fs::rename(root.join("made"), root.join(".new-made")).unwrap();
    fs::rename(root.join("going"), root.join(".old-going")).unwrap();
    fs::remove_dir_all(root.join("lost")).unwrap();
    // Without rows: an unfinished creation, an unfinished removal, another engine's volume.
    for leftover in [".new-a1", ".old-b1", "foreign"] {
        fs::create_dir_all(root.join(leftover).join("_data")).unwrap();
    }
    let (volumes, _db) = open(dir.path());
    let names: Vec<String> = volumes.list().into_iter().map(|v| v.name).collect();
    assert_eq!(names, ["foreign", "going", "lost", "made"]);
    assert!(volumes.mountpoint("made").join("x").exists() && volumes.mountpoint("going").join("x").exists());
    assert!(volumes.mountpoint("lost").exists());
    assert!(!root.join(".new-a1").exists() && !root.join(".old-b1").exists());
}

#[test]
fn only_an_empty_volume_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let (volumes, _db) = open(dir.path());
    volumes.create(named("data")).unwrap();
    let failing =
        volumes.fill_if_empty("data", |to| fs::write(to.join("half"), "").and(Err(std::io::ErrorKind::Other.into())));
    assert!(failing.is_err() && !volumes.mountpoint("data").join("half").exists());
    volumes.fill_if_empty("data", |to| fs::write(to.join("x"), "1")).unwrap();
    volumes.fill_if_empty("data", |_| panic!("it is not empty")).unwrap();
    assert!(volumes.mountpoint("data").join("x").exists());
}

#[test]
fn a_staged_removal_that_is_given_up_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (volumes, db) = open(dir.path());
    volumes.create(named("data")).unwrap();
    fs::write(volumes.mountpoint("data").join("x"), "x").unwrap();
    let leaving = volumes.stage_removal("data", Vec::new).unwrap();
    assert!(matches!(volumes.pin("data"), Err(VolumeError::NotFound(_))));
    drop(leaving);
    assert!(volumes.mountpoint("data").join("x").exists());
    let leaving = volumes.stage_removal("data", Vec::new).unwrap();
    db.commit(leaving.batch()).unwrap();
    leaving.finish();
    assert!(volumes.list().is_empty() && !volumes.mountpoint("data").exists());
}
