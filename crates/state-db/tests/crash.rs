//! `kill -9` at random points: what was acknowledged is there, and no batch is there by half.

use gantry_state_db::{Batch, Db, Table};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    thread,
};

const LEFT: Table<u64> = Table::new("left");
const RIGHT: Table<u64> = Table::new("right");
const CHILD: &str = "GANTRY_STATE_DB_CRASH_CHILD";
const WRITERS: u64 = 4;

/// Not a test of its own: the program that is killed. Each thread writes a counter into two tables in one batch and
/// says so when it is durable.
#[test]
fn child() {
    let Some(path) = env::var_os(CHILD) else { return };
    let db = Db::open(Path::new(&path)).unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let db = db.clone();
            scope.spawn(move || {
                let key = writer.to_string();
                let first = db.get(LEFT, &key).unwrap().unwrap_or(0) + 1;
                for n in first.. {
                    let padding = format!("{key}-{}", n % 50);
                    let batch = Batch::new().put(LEFT, &key, &n).unwrap().put(LEFT, &padding, &n).unwrap();
                    db.commit(batch.put(RIGHT, &key, &n).unwrap()).unwrap();
                    // Straight to the descriptor: the test harness captures print!.
                    writeln!(std::io::stderr(), "ack {writer} {n}").unwrap();
                }
            });
        }
    });
}

#[test]
fn killed_at_any_point() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut acknowledged = [0u64; WRITERS as usize];
    for round in 0..25u64 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        // Somewhere inside a commit, a different one every time; then everything that still made it into the pipe.
        for line in lines.by_ref().take((round as usize * 7) % 23 + 1).map(|l| l.unwrap()).collect::<Vec<_>>() {
            note(&mut acknowledged, &line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(|line| note(&mut acknowledged, &line.unwrap()));

        let db = Db::open(&path).unwrap();
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let left = db.get(LEFT, &writer.to_string()).unwrap().unwrap_or(0);
            let right = db.get(RIGHT, &writer.to_string()).unwrap().unwrap_or(0);
            assert_eq!(left, right, "half a batch in round {round}");
            assert!(left == *acknowledged || left == acknowledged + 1, "stored {left}, acknowledged {acknowledged}");
        }
        for (writer, acknowledged) in acknowledged.iter_mut().enumerate() {
            *acknowledged = db.get(LEFT, &writer.to_string()).unwrap().unwrap_or(0);
        }
    }
    assert!(acknowledged.iter().sum::<u64>() > 100, "the child did not get to write: {acknowledged:?}");
}

fn note(acknowledged: &mut [u64], line: &str) {
    let mut words = line.split(' ');
    if let (Some("ack"), Some(writer), Some(n)) = (words.next(), words.next(), words.next()) {
        acknowledged[writer.parse::<usize>().unwrap()] = n.parse().unwrap();
    }
}
