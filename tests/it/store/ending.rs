//! The end of a store: other holders are kept from writing, and then the store is closed for all.

use std::time::Duration;

use tokio::time::timeout;

use countersign::store::{Committed, Kind, OpenError, StoreError, open};

use super::{after, check, commit, done, now, put, putting, read, record};

#[test]
fn while_a_store_is_held_nobody_commits_and_everybody_reads() {
    check(async |store, world| {
        let other = world.store().await;
        let first = record(Kind::Use, b"a");
        done(&other, putting([put(first.clone())])).await;
        store.hold().await.unwrap();

        let second = now(vec![putting([put(after(&first, b"second"))])]);
        let waited = timeout(Duration::from_secs(20), commit(&other, second.clone())).await;

        assert!(matches!(waited, Ok(Err(StoreError::Unavailable(_)))), "{waited:?}");
        assert_eq!(read(&other, Kind::Use, b"a").await, Some(first.clone()));
        assert_eq!(read(store, Kind::Use, b"a").await, Some(first.clone()));
        store.close().await.unwrap();
        assert_eq!(commit(&other, second).await.unwrap(), Committed::Done, "it was let go");
        assert_eq!(read(&other, Kind::Use, b"a").await, Some(after(&first, b"second")));
        other.close().await.unwrap();
    });
}

#[test]
fn a_store_that_is_over_is_over_for_everybody_and_says_where_the_vault_went() {
    check_to_the_end(&async |store: &countersign::store::SharedStore, world: &super::World| {
        let others = [world.store().await, world.store().await];
        let first = record(Kind::Use, b"a");
        for (other, id) in others.iter().zip([b"b", b"c"]) {
            done(other, putting([put(record(Kind::Use, id))])).await;
        }
        done(store, putting([put(first.clone())])).await;
        assert!(matches!(store.retire("nowhere").await, Err(StoreError::Unavailable(_))), "it is not held");
        store.hold().await.unwrap();

        store.retire("sqlite elsewhere").await.unwrap();

        for other in &others {
            let keys = [first.key.clone()];
            assert!(matches!(other.read(&keys).await, Err(StoreError::Unavailable(_))), "it reads");
            let refused = commit(other, now(vec![putting([put(after(&first, b"second"))])])).await;
            assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
            let _ = other.close().await;
        }
        let _ = store.close().await;
        let Err(OpenError::Moved { to, .. }) = open(&world.request()).await else { panic!("it opens") };
        assert_eq!(to, "sqlite elsewhere");
    });
}

/// Like [`check`], for a promise after which the store is gone.
fn check_to_the_end(promise: &impl AsyncFn(&countersign::store::SharedStore, &super::World)) {
    for writes in [countersign::store::Writes::Inline, countersign::store::Writes::Thread] {
        super::runtime(writes).block_on(async {
            let world = super::World::new(writes);
            let store = world.store().await;
            promise(&store, &world).await;
        });
    }
}
