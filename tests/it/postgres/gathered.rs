//! Reads of many callers at once: each gets its own records, as of a moment after its request, with few statements.

use std::sync::Arc;

use countersign::store::{Kind, RecordKey, SharedStore, StoreError, Writes};
use futures::future::join_all;
use tokio::task::JoinHandle;

use super::commits::opened;
use crate::{
    kit::until,
    store::{after, done, put, putting, read, record, runtime},
};

/// The number of concurrent callers.
const CALLERS: u8 = 200;

fn key(id: u8) -> RecordKey {
    RecordKey::new(Kind::Use, vec![id])
}

/// Reads as a caller on its own thread does: two records, and one that does not exist.
fn caller(store: &SharedStore, id: u8) -> JoinHandle<Result<(), StoreError>> {
    let store = Arc::clone(store);
    tokio::spawn(async move {
        let found = store.read(&[key(id), key(id ^ 1), RecordKey::new(Kind::Secret, vec![id])]).await?;
        let ids: Vec<_> = found.into_iter().map(|record| record.map(|record| record.key.id)).collect();
        assert_eq!(ids, [Some(vec![id]), Some(vec![id ^ 1]), None]);
        Ok(())
    })
}

async fn filled(address: &str) -> SharedStore {
    let store = opened(address).await;
    done(&store, putting((0..CALLERS).map(|id| put(record(Kind::Use, &[id]))))).await;
    store
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn what_many_callers_read_at_once_is_read_by_few_statements() {
    let address = super::fresh();
    let rounds = 5;
    let statements = || {
        // Statements are counted when their connections end.
        let others =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        until(|| super::number(&address, others) == 0);
        super::number(&address, "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()")
    };
    let read_by_all = |rounds| {
        runtime(Writes::Thread).block_on(async {
            let store = opened(&address).await;
            for _ in 0..rounds {
                let asked: Vec<_> = (0..CALLERS).map(|id| caller(&store, id)).collect();
                for told in join_all(asked).await {
                    told.unwrap().unwrap();
                }
            }
            store.close().await.unwrap();
        });
    };
    runtime(Writes::Thread).block_on(async { filled(&address).await.close().await.unwrap() });
    let before = statements();
    read_by_all(0);
    let of_opening = statements() - before;
    read_by_all(rounds);
    let own = statements() - before - 2 * of_opening;
    assert!(own < i64::from(CALLERS), "{own} statements for {rounds} times {CALLERS} callers");
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn callers_who_go_away_take_nobodys_answer_with_them() {
    let address = super::fresh();
    runtime(Writes::Thread).block_on(async {
        let store = filled(&address).await;
        for round in 0..20 {
            let asked: Vec<_> = (0..CALLERS).map(|id| (id, caller(&store, id))).collect();
            for (id, asked) in &asked {
                if (*id + round) % 3 == 0 {
                    asked.abort();
                }
                tokio::task::yield_now().await;
            }
            for (_, asked) in asked {
                match asked.await {
                    Ok(told) => told.unwrap(),
                    Err(gone) => assert!(gone.is_cancelled()),
                }
            }
        }
        // No turn is held for ever.
        caller(&store, 7).await.unwrap().unwrap();
        store.close().await.unwrap();
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_read_finds_what_was_committed_before_it_was_asked_for() {
    let address = super::fresh();
    runtime(Writes::Thread).block_on(async {
        let store = filled(&address).await;
        // Other callers keep both connections busy.
        let busy: Vec<_> = (100..150)
            .map(|id| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    loop {
                        caller(&store, id).await.unwrap().unwrap();
                    }
                })
            })
            .collect();
        let mut kept = record(Kind::Use, &[7]);
        for _ in 0..100 {
            kept = after(&kept, b"again");
            done(&store, putting([put(kept.clone())])).await;
            assert_eq!(read(&store, Kind::Use, &[7]).await.as_ref(), Some(&kept));
        }
        busy.iter().for_each(JoinHandle::abort);
        store.close().await.unwrap();
    });
}
