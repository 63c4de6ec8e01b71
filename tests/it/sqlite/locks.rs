//! Other processes that hold a lock and do not release it.

use std::time::{Duration, Instant};

use countersign::store::{Change, Kind, List, RecordKey, Removal, StoreError, Writes};
use rustix::process::{Pid, Signal, kill_process};

use super::{Other, World, check, done, put, putting, record, runtime};
use crate::store::{commit, now, read};

/// Longer than any call takes that does not wait for a lock, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(20);

#[test]
fn a_stopped_process_that_holds_the_write_lock_stops_no_reader_and_writers_hear_of_it_in_time() {
    for writes in [Writes::Inline, Writes::Thread] {
        let world = World::new(writes);
        runtime(writes).block_on(async {
            let store = world.store().await;
            done(&store, putting([put(record(Kind::Secret, b"a"))])).await;
            let mut stopped = Other::start("obey", &world.root, &[]);
            assert_eq!(stopped.ask("lock"), "locked");
            let holder = Pid::from_child(&stopped.process);
            kill_process(holder, Signal::STOP).unwrap();

            let begun = Instant::now();
            assert!(read(&store, Kind::Secret, b"a").await.is_some());
            assert_eq!(store.list(&List::of(Kind::Secret, None, 9)).await.unwrap().len(), 1);
            assert_eq!(store.tail(0).await, Ok(None));
            store.sync().await.unwrap();
            assert!(begun.elapsed() < AT_ONCE, "reads took {:?}", begun.elapsed());

            let begun = Instant::now();
            let change = || now(vec![putting([put(record(Kind::Secret, b"b"))])]);
            // Reads continue while the commit waits.
            let (refused, found) = tokio::join!(commit(&store, change()), read(&store, Kind::Secret, b"a"));
            let waited = begun.elapsed();
            assert!(found.is_some());
            let Err(StoreError::Unavailable(what)) = refused else { panic!("{refused:?}") };
            assert!(what.starts_with(&format!("process {holder} holds the vault's write lock")), "{what}");
            assert!(waited >= Duration::from_secs(2) && waited < Duration::from_secs(2) + AT_ONCE, "{waited:?}");
            assert!(matches!(store.probe().await, Err(StoreError::Unavailable(_))));

            // The store closes at once, for waiting calls, too.
            let begun = Instant::now();
            let (refused, closed) = tokio::join!(commit(&store, change()), store.close());
            assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
            closed.unwrap();
            assert!(begun.elapsed() < AT_ONCE, "closing took {:?}", begun.elapsed());
            kill_process(holder, Signal::CONT).unwrap();
        });
    }
}

#[test]
fn who_waits_for_a_lock_goes_on_when_it_is_free() {
    check(async |store, world| {
        let mut other = Other::start("obey", &world.root, &[]);
        assert_eq!(other.ask("lock"), "locked");
        let freed = async {
            tokio::task::yield_now().await;
            drop(other);
        };
        let change = now(vec![putting([put(record(Kind::Secret, b"b"))])]);
        let (ended, ()) = tokio::join!(commit(store, change), freed);
        assert_eq!(ended, Ok(countersign::store::Committed::Done));
    });
}

/// In a sidecar, that thread also answers pings and lists.
#[test]
fn a_removal_that_waits_for_a_reader_does_not_hold_the_only_thread() {
    check(async |store, world| {
        done(store, putting([put(record(Kind::Secret, b"a"))])).await;
        let reader = rusqlite::Connection::open(world.vault()).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM record").unwrap();
        let removal = Removal::One(RecordKey::new(Kind::Secret, *b"a"));
        let removing = Change { remove: vec![removal], scrub: true, ..Change::default() };
        // The reader ends as soon as the thread is free.
        let (ended, ()) = tokio::join!(commit(store, now(vec![removing])), async { drop(reader) });
        assert_eq!(ended, Ok(countersign::store::Committed::Done));
        assert_eq!(store.log_bytes(), 0, "what was removed is in no file any more");
    });
}
