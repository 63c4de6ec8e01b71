//! Commits whose answer is lost: each happens once, and its caller is told what became of it.

use countersign::store::{Committed, Kind, OpenRequest, Opened, SharedStore, Writes, open};

use super::proxy::{Cut, Proxy};
use crate::store::{after, commit, done, logging, put, putting, read, record, row, runtime, tail};

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

/// Commits once over a connection that is cut, and returns what the caller is told.
fn cut_while_committing(cut: Cut) {
    let direct = super::fresh();
    runtime(Writes::Thread).block_on(async {
        let proxy = Proxy::start().await;
        let store = opened(&proxy.address(&direct)).await;
        let first = record(Kind::Use, b"a");
        done(&store, putting([put(first.clone())])).await;
        let second = after(&first, b"second");
        let mut change = logging(tail(5, 0), vec![row(5, 1)]);
        change.changes.push(putting([put(second.clone())]));

        proxy.cut(cut);
        let told = commit(&store, change.clone()).await;

        assert!(proxy.has_cut());
        assert_eq!(told, Ok(Committed::Done));
        assert_eq!(read(&store, Kind::Use, b"a").await, Some(second));
        assert_eq!(store.tail(5).await.unwrap(), Some(tail(5, 1)));
        // It happened once: again it is refused.
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
