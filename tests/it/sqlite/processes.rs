//! Several processes on one store, and processes that are killed.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, Write as _},
    path::Path,
};

use countersign::store::{
    Change, Commit, Committed, Durable, Kind, List, OpenError, Opened, RecordKey, SharedStore, StoreError, Writes, open,
};

use super::{Other, World, put, putting, record, runtime};
use crate::store::{commit, header, logging, read, row, tail};

/// The instructions for a process that a test starts.
pub(super) const TASK: &str = "COUNTERSIGN_TEST_TASK";
pub(super) const ROOT: &str = "COUNTERSIGN_TEST_ROOT";
/// The test that is the `main` of such a process.
pub(super) const MAIN: &str = "sqlite::processes::the_other_process";

const STARTERS: usize = 16;
const KILLS: usize = 60;

#[test]
fn sixteen_first_openings_at_once_make_one_file() {
    for round in 0..3 {
        let world = World::new(Writes::Inline);
        let starters: Vec<_> = (0..STARTERS).map(|_| Other::start("open", &world.root, &[])).collect();

        let said: Vec<_> = starters.into_iter().map(|mut starter| starter.next().unwrap()).collect();

        assert_eq!(said.iter().filter(|said| *said == "made").count(), 1, "round {round}: {said:?}");
        assert_eq!(said.iter().filter(|said| *said == "found").count(), STARTERS - 1, "round {round}: {said:?}");
        let names: Vec<_> = super::files_in(&world.data());
        assert!(names.iter().all(|name| !name.to_string_lossy().contains(".new")), "{names:?}");
    }
}

#[test]
fn whatever_was_acknowledged_survives_a_kill() {
    let world = World::new(Writes::Inline);
    let mut acknowledged = BTreeSet::new();
    for kill in 0..KILLS {
        let mut process = Other::start("write", &world.root, &[]);
        // A different number of answers each time, so that the kill happens at different moments.
        for _ in 0..3 + kill % 17 {
            acknowledged.insert(process.next().unwrap());
        }
        process.process.kill().unwrap();
        // The lines that were written before the kill.
        acknowledged.extend(std::iter::from_fn(|| process.next()));
    }
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        for id in &acknowledged {
            assert!(read(&store, Kind::Use, id.as_bytes()).await.is_some(), "{id} is lost");
        }
        let kept = store.count(&List::of(Kind::Use, None, 0)).await.unwrap();
        assert_eq!(store.tail(0).await.unwrap().unwrap().seq, kept, "a record and its audit record come together");
        assert!(kept >= acknowledged.len() as u64);
        assert_eq!(store.examine().await.unwrap(), Vec::<String>::new());
    });
}

/// The `main` of the processes that the tests start. It does nothing without their environment.
#[test]
fn the_other_process() {
    let Some(task) = std::env::var_os(TASK) else { return };
    let world = World::shared(Path::new(&std::env::var_os(ROOT).unwrap()));
    runtime(Writes::Inline).block_on(async {
        match task.to_str().unwrap() {
            "open" => first_opening(&world).await,
            crate::torture::WORKER => crate::torture::work(&world.root).await,
            crate::vault::rotation::RESTLESS => crate::vault::rotation::write_without_rest(&world.root).await,
            "write" => write(&world.store().await).await,
            _ => obey(&world).await,
        }
    });
}

async fn first_opening(world: &World) {
    let made = match open(&world.request()).await.unwrap() {
        Opened::Absent(absent) => {
            absent.create(header()).await.unwrap();
            true
        }
        Opened::Store(..) | Opened::Format1(_) => false,
    };
    assert!(read(&world.store().await, Kind::Header, b"header").await.is_some());
    say(if made { "made" } else { "found" });
}

/// Commits without end, and reports each commit after it was acknowledged.
async fn write(store: &SharedStore) {
    let mut number = store.tail(0).await.unwrap().map_or(0, |tail| tail.seq);
    loop {
        number += 1;
        let durable = if number % 3 == 0 { Durable::Now } else { Durable::Soon };
        assert_eq!(kept(store, number, durable).await, Ok(Committed::Done));
        say(&number.to_string());
    }
}

/// Stores a record with a number, and an audit record.
async fn kept(store: &SharedStore, number: u64, durable: Durable) -> Result<Committed, String> {
    let told = |error: StoreError| error.to_string();
    let last = store.tail(0).await.map_err(told)?.unwrap_or_else(|| tail(0, 0));
    let id = number.to_string();
    let change = Change { audit: vec![row(0, last.seq + 1)], ..putting([put(record(Kind::Use, id.as_bytes()))]) };
    let whole = Commit { changes: vec![change], durable, ..logging(last, Vec::new()) };
    commit(store, whole).await.map_err(told)
}

/// Carries out orders, line by line.
async fn obey(world: &World) {
    let mut store = None;
    let mut locking = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (what, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number = number.parse::<u64>().unwrap();
        if what == "lock" {
            let conn = rusqlite::Connection::open(world.vault()).unwrap();
            conn.execute_batch("BEGIN IMMEDIATE").unwrap();
            locking = Some(conn);
            say("locked");
            continue;
        }
        if what == "open" {
            let opened: Result<Opened, OpenError> = open(&world.request()).await;
            say(&match opened {
                Ok(Opened::Store(opened, _)) => {
                    store = Some(opened);
                    "opened".to_owned()
                }
                Ok(_) => "no store".to_owned(),
                Err(error) => error.to_string(),
            });
            continue;
        }
        let store = store.as_ref().unwrap();
        let told =
            |ended: Result<(), _>| ended.map_or_else(|error: StoreError| error.to_string(), |()| "done".to_owned());
        say(&match what {
            "now" => told_of(kept(store, number, Durable::Now).await),
            "soon" => told_of(kept(store, number, Durable::Soon).await),
            "read" => {
                let key = RecordKey::new(Kind::Use, number.to_string());
                store.read(&[key]).await.map_or_else(|error| error.to_string(), |found| found[0].is_some().to_string())
            }
            "sync" => told(store.sync().await),
            "close" => told(store.close().await),
            "examine" => store.examine().await.map_or_else(|error| error.to_string(), |found| format!("{found:?}")),
            _ => unreachable!("{what}"),
        });
    }
    drop(locking);
}

fn told_of(ended: Result<Committed, String>) -> String {
    ended.map_or_else(|error| error, |ended| format!("{ended:?}"))
}

/// The test harness uses standard output itself.
pub(crate) fn say(line: &str) {
    // The line is written in one piece, so that a kill can't cut it.
    std::io::stderr().write_all(format!("> {line}\n").as_bytes()).unwrap();
}
