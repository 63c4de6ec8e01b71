//! Commits whose answer is lost: each happens once, and its caller gets the outcome.

use std::{sync::Arc, time::Duration};

use countersign::store::{Committed, Kind, OpenRequest, Opened, SharedStore, StoreError, Writes, open};
use tokio::time::Instant;

use super::proxy::{Cut, Proxy};
use crate::store::{after, commit, done, logging, now, put, putting, read, record, row, runtime, tail};

pub(super) async fn opened(url: &str) -> SharedStore {
    let request = OpenRequest { url: url.to_owned(), data_dir: "/nowhere".into(), writes: Writes::Thread, make: true };
    match open(&request).await.unwrap() {
        Opened::Store(store, _) => return store,
        Opened::Absent(absent) => absent.create(crate::store::header()).await.unwrap(),
        Opened::Format1(_) => unreachable!("a server never had one"),
    }
    let Opened::Store(store, _) = open(&request).await.unwrap() else { unreachable!("it was just made") };
    store
}

/// Commits over a connection that is cut once.
fn cut_while_committing(cut: Cut) {
    cut_each_time(cut, 1);
}

fn cut_each_time(cut: Cut, times: usize) {
    // The first commit is one statement, the second a transaction of several.
    for puts_more in [false, true] {
        cut_once_more(cut, times, puts_more);
    }
}

fn cut_once_more(cut: Cut, times: usize, puts_more: bool) {
    let direct = super::fresh();
    runtime(Writes::Thread).block_on(async {
        let proxy = Proxy::start().await;
        let store = opened(&proxy.address(&direct)).await;
        let first = record(Kind::Use, b"a");
        done(&store, putting([put(first.clone())])).await;
        let second = after(&first, b"second");
        let mut change = logging(tail(5, 0), vec![row(5, 1)]);
        change.changes.push(putting([put(second.clone())]));
        if puts_more {
            change.changes.push(putting([put(record(Kind::Use, b"b"))]));
        }

        proxy.cut_each(cut, times);
        let told = commit(&store, change.clone()).await;

        assert!(proxy.has_cut());
        assert_eq!(told, Ok(Committed::Done));
        assert_eq!(read(&store, Kind::Use, b"a").await, Some(second));
        assert_eq!(store.tail(5).await.unwrap(), Some(tail(5, 1)));
        // The change happened once: a second commit of it is refused.
        assert_eq!(commit(&store, change).await, Ok(Committed::Moved { tail: tail(5, 1) }));
        store.close().await.unwrap();
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_commit_whose_answer_is_lost_has_happened_once() {
    cut_while_committing(Cut::After);
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_commit_that_never_arrived_is_sent_again() {
    cut_while_committing(Cut::Before);
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_commit_is_settled_although_the_answers_to_that_are_lost_as_well() {
    cut_each_time(Cut::After, 3);
    cut_each_time(Cut::Before, 3);
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_sign_of_life_that_is_lost_leaves_the_chain_and_the_count_of_its_flights() {
    let direct = super::fresh();
    runtime(Writes::Thread).block_on(async {
        let proxy = Proxy::start().await;
        let store = opened(&proxy.address(&direct)).await;
        let first = record(Kind::Use, b"a");
        done(&store, putting([put(first.clone())])).await;
        let chain = store.own_chain().await.unwrap();
        for cut in [Cut::Before, Cut::After] {
            proxy.cut(cut);
            // A server that has acknowledged a commit recently is expected back.
            store.probe().await.unwrap();
            assert!(proxy.has_cut());
        }
        // A lost commit is still distinguished from one that happened.
        proxy.cut(Cut::Before);
        done(&store, putting([put(after(&first, b"second"))])).await;
        assert_eq!(read(&store, Kind::Use, b"a").await, Some(after(&first, b"second")));
        assert_eq!(store.own_chain().await.unwrap(), chain);
        store.close().await.unwrap();
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn while_the_server_is_away_many_calls_wait_and_few_connections_are_tried() {
    let direct = super::fresh();
    runtime(Writes::Thread).block_on(async {
        let proxy = Arc::new(Proxy::start().await);
        let store = opened(&proxy.address(&direct)).await;
        done(&store, putting([put(record(Kind::Use, b"a"))])).await;
        let before = proxy.tried();
        proxy.close(true);
        let calls: Vec<_> = (0..100)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { read(&store, Kind::Use, b"a").await })
            })
            .collect();
        let patience = crate::kit::Patience::new();
        while proxy.tried() < before + 6 {
            patience.turn().await;
        }
        // Two connections read, and each is tried again only when the previous try has failed.
        let during = proxy.tried() - before;
        proxy.close(false);
        for call in calls {
            assert!(call.await.unwrap().is_some());
        }
        assert!(during <= 8, "{during} connections were tried");
        store.close().await.unwrap();
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_store_that_another_process_holds_says_so_within_seconds_and_takes_the_next_commit() {
    let url = super::fresh();
    runtime(Writes::Thread).block_on(async {
        let (store, other) = (opened(&url).await, opened(&url).await);
        let first = record(Kind::Use, b"a");
        done(&other, putting([put(first.clone())])).await;
        let chain = other.own_chain().await.unwrap();
        store.hold().await.unwrap();

        let begun = Instant::now();
        let refused = commit(&other, now(vec![putting([put(after(&first, b"second"))])])).await;

        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let Err(StoreError::Unavailable(told)) = &refused else { panic!("{refused:?}") };
        assert!(told.contains("keeps all others from writing"), "{told}");
        // A process that has no chain yet gets the same error.
        let third = opened(&url).await;
        let refused = commit(&third, now(vec![putting([put(record(Kind::Use, b"b"))])])).await;
        assert!(matches!(&refused, Err(StoreError::Unavailable(told)) if told.contains("all others")), "{refused:?}");
        store.close().await.unwrap();
        done(&other, putting([put(after(&first, b"second"))])).await;
        assert_eq!(other.own_chain().await.unwrap(), chain);
        other.close().await.unwrap();
        third.close().await.unwrap();
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn calls_that_wait_at_a_connection_without_an_answer_wait_once_and_not_one_after_the_other() {
    let direct = super::fresh();
    runtime(Writes::Thread).block_on(async {
        let proxy = Proxy::start().await;
        let store = opened(&proxy.address(&direct)).await;
        let first = record(Kind::Use, b"b");
        done(&store, putting([put(first.clone())])).await;
        assert_eq!(read(&store, Kind::Use, b"a").await, None, "the connection for that is open");
        proxy.silence();
        let begun = Instant::now();
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { read(&store, Kind::Use, b"a").await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), None);
        }
        // A connection is given up after five seconds; one after the other, the calls would take fifty.
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        // The connection for writes was silent, too, and was replaced as well.
        let begun = Instant::now();
        done(&store, putting([put(after(&first, b"second"))])).await;
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        store.close().await.unwrap();
    });
}
