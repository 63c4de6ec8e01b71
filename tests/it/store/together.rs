//! Several holders of one store: each sees the others' changes, and no two of them change the same record.

use std::sync::Arc;

use countersign::store::{Commit, Committed, Durable, Kind, SharedStore, StoreError};

use super::{after, check, commit, done, logging, now, put, putting, read, record, row, tail};

#[test]
fn what_one_holder_commits_the_other_reads_next() {
    check(async |store, world| {
        let other = world.store().await;
        let mut kept = record(Kind::Use, b"a");
        done(store, putting([put(kept.clone())])).await;
        for turn in 0..20_u8 {
            let (writer, reader) = if turn % 2 == 0 { (store, &other) } else { (&other, store) };
            let next = after(&kept, &[turn]);
            let durable = if turn % 3 == 0 { Durable::Now } else { Durable::Soon };
            let change = Commit { durable, ..now(vec![putting([put(next.clone())])]) };
            assert_eq!(commit(writer, change).await, Ok(Committed::Done));
            assert_eq!(read(reader, Kind::Use, b"a").await, Some(next.clone()));
            let late = now(vec![putting([put(after(&kept, b"late"))])]);
            assert_eq!(commit(reader, late).await, Ok(Committed::Stale { changes: vec![0] }));
            kept = next;
        }
        other.close().await.unwrap();
    });
}

#[test]
fn holders_that_log_at_once_share_one_chain() {
    check(async |store, world| {
        let other = world.store().await;
        assert_eq!(commit(store, logging(tail(0, 0), vec![row(0, 1)])).await, Ok(Committed::Done));
        assert_eq!(commit(&other, logging(tail(0, 1), vec![row(0, 2)])).await, Ok(Committed::Done));
        let moved = commit(store, logging(tail(0, 1), vec![row(0, 2)])).await;
        assert_eq!(moved, Ok(Committed::Moved { tail: tail(0, 2) }));
        other.close().await.unwrap();
    });
}

/// Adds one to a number, as all changes are made: read, decide, commit, and retry if another caller was faster. The
/// change is logged in the caller's own chain, which has `rows` rows.
async fn add_one(store: &SharedStore, chain: u32, rows: u64) -> u32 {
    for tries in 0..10_000 {
        let kept = read(store, Kind::Use, b"n").await.unwrap();
        let number = u64::from_be_bytes(kept.body.clone().try_into().unwrap());
        let next = after(&kept, &(number + 1).to_be_bytes());
        let mut change = logging(tail(chain, rows), vec![row(chain, rows + 1)]);
        change.changes.push(putting([put(next)]));
        match commit(store, Commit { durable: Durable::Soon, ..change }).await.unwrap() {
            Committed::Done => return tries,
            Committed::Stale { .. } => {}
            Committed::Taken { .. } | Committed::Moved { .. } => {
                unreachable!("it bears no name, and the chain is its own")
            }
        }
        tokio::task::yield_now().await;
    }
    unreachable!("ten thousand others cannot have been faster")
}

#[test]
fn callers_at_the_same_time_change_a_record_one_after_another() {
    check(async |store, world| {
        let mut first = record(Kind::Use, b"n");
        first.body = 0_u64.to_be_bytes().to_vec();
        done(store, putting([put(first)])).await;
        let holders = [Arc::clone(store), world.store().await];
        let callers = (0..16_usize).map(|number| {
            let store = Arc::clone(&holders[number % 2]);
            tokio::spawn(async move {
                let chain = u32::try_from(number).unwrap();
                for rows in 0..25 {
                    add_one(&store, chain, rows).await;
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        let kept = read(store, Kind::Use, b"n").await.unwrap();
        assert_eq!(kept.body, 400_u64.to_be_bytes());
        assert_eq!(kept.version, 401);
    });
}

#[test]
fn a_caller_who_is_gone_before_its_turn_leaves_nobody_waiting() {
    check(async |store, _| {
        let change = |id: u8| Arc::new(now(vec![putting([put(record(Kind::Use, &[id]))])]));
        let gone = store.commit(change(1));
        let mut gone = Box::pin(gone);
        let _ = futures::poll!(&mut gone);
        drop(gone);
        assert_eq!(store.commit(change(2)).await, Ok(Committed::Done));
        assert!(read(store, Kind::Use, &[2]).await.is_some());
        // The first commit may have happened or not; the record exists completely or not at all.
        let first = store.commit(change(1)).await;
        assert!(matches!(first, Ok(Committed::Done | Committed::Stale { .. })), "{first:?}");
    });
}

#[test]
fn a_commit_that_is_under_way_when_the_store_is_closed_is_whole_or_refused() {
    check(async |store, world| {
        let other = world.store().await;
        let change = Arc::new(now(vec![putting([put(record(Kind::Use, b"a")), put(record(Kind::Seed, b"a"))])]));
        let (ended, closed) = tokio::join!(other.commit(change), other.close());
        closed.unwrap();
        let kept = [read(store, Kind::Use, b"a").await.is_some(), read(store, Kind::Seed, b"a").await.is_some()];
        match ended {
            Ok(Committed::Done) => assert_eq!(kept, [true; 2]),
            Err(StoreError::Unavailable(_)) => assert_eq!(kept, [false; 2]),
            other => unreachable!("{other:?}"),
        }
    });
}
