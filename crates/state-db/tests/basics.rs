//! Reading, writing, migrating and refusing.

use gantry_state_db::{Batch, Db, DbError, Migration, Table};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{fs, sync::mpsc, thread};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Dog {
    name: String,
    age: u32,
}

const DOGS: Table<Dog> = Table::new("dogs");
const WORDS: Table<String> = Table::new("words");

fn dog(name: &str, age: u32) -> Dog {
    Dog { name: name.into(), age }
}

#[test]
fn stores_reads_and_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let db = Db::open(&path).unwrap();
    assert!(db.load(DOGS).unwrap().is_empty());
    assert_eq!(db.get(DOGS, "a").unwrap(), None);
    let batch = Batch::new().put(DOGS, "b", &dog("Bo", 2)).unwrap().put(DOGS, "a", &dog("Al", 1)).unwrap();
    db.commit(batch.and(Batch::new().put(WORDS, "w", &"hi".to_owned()).unwrap())).unwrap();
    db.commit(Batch::new().delete(DOGS, "b").delete(DOGS, "never there")).unwrap();
    drop(db);
    let db = Db::open(&path).unwrap();
    assert_eq!(db.load(DOGS).unwrap(), [("a".to_owned(), dog("Al", 1))]);
    assert_eq!(db.get(WORDS, "w").unwrap().as_deref(), Some("hi"));
}

#[test]
fn a_batch_that_cannot_be_encoded_stores_nothing() {
    let unencodable = std::collections::BTreeMap::from([(vec![1u8], 1)]);
    assert!(matches!(Batch::new().put(Table::new("t"), "k", &unencodable), Err(DbError::Encode { .. })));
}

#[test]
fn concurrent_commits_all_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(&dir.path().join("state.db")).unwrap();
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        for t in 0..8u32 {
            let (db, tell) = (db.clone(), tell.clone());
            scope.spawn(move || {
                for i in 0..20 {
                    let batch = Batch::new().put(DOGS, &format!("{t}-{i}"), &dog("x", i)).unwrap();
                    let tell = tell.clone();
                    db.submit(batch, move |result| tell.send(result).unwrap());
                }
            });
        }
    });
    drop(tell);
    assert_eq!(told.iter().flatten().count(), 160);
    assert_eq!(db.load(DOGS).unwrap().len(), 160);
}

#[test]
fn a_callback_may_hold_the_last_handle() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let db = Db::open(&path).unwrap();
    let (tell, told) = mpsc::channel();
    let last = db.clone();
    db.submit(Batch::new().put(DOGS, "a", &dog("Al", 1)).unwrap(), move |result| {
        drop(last);
        tell.send(result.is_ok()).unwrap();
    });
    drop(db);
    assert!(told.recv().unwrap());
}

#[test]
fn damage_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    fs::write(&path, vec![0x5a; 64 << 10]).unwrap();
    let error = Db::open(&path).unwrap_err();
    assert!(matches!(error, DbError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("state.db is corrupt"), "{error}");

    fs::remove_file(&path).unwrap();
    let db = Db::open(&path).unwrap();
    db.commit(Batch::new().put(WORDS, "w", &"x".repeat(100_000)).unwrap()).unwrap();
    drop(db);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
    let error = Db::open(&path).unwrap_err();
    assert!(matches!(error, DbError::Corrupt { .. }), "{error:?}");
}

#[test]
fn only_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let _db = Db::open(&path).unwrap();
    assert!(matches!(Db::open(&path), Err(DbError::InUse { .. })));
}

#[test]
fn a_value_of_another_form_names_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let db = Db::open(&path).unwrap();
    db.commit(Batch::new().put(Table::<u8>::new("dogs"), "rex", &7).unwrap()).unwrap();
    let error = db.load(DOGS).unwrap_err().to_string();
    assert!(error.contains("table dogs under \"rex\""), "{error}");
}

#[test]
fn migrations_run_once_and_newer_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let old: Table<String> = Table::new("dogs");
    let db = Db::open(&path).unwrap();
    db.commit(Batch::new().put(old, "a", &"Al".to_owned()).unwrap().put(old, "b", &"gone".to_owned()).unwrap())
        .unwrap();
    drop(db);

    let failing: &[Migration] = &[|m| m.drop_table("dogs").and(Err("no".into()))];
    assert!(matches!(Db::open_with(&path, failing), Err(DbError::Migration { version: 2, .. })));

    let ages: &[Migration] =
        &[|m| m.rewrite("dogs", |_, name| Ok((name != "gone").then(|| json!({ "name": name, "age": 0 }))))];
    for _ in 0..2 {
        let db = Db::open_with(&path, ages).unwrap();
        assert_eq!(db.load(DOGS).unwrap(), [("a".to_owned(), dog("Al", 0))]);
    }
    assert!(matches!(Db::open(&path), Err(DbError::TooNew { found: 2, known: 1, .. })));
}
