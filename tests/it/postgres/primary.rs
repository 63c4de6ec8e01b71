//! A server that answers and no longer commits: it may be a primary that another server has replaced.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use countersign::store::{Kind, Writes};
use tokio_postgres::{Client, NoTls};

use super::commits::opened;
use crate::{
    kit::Patience,
    store::{done, put, putting, read, record, runtime},
};

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until a heartbeat of this database waits for the lock. The view shows the locks of all databases.
async fn blocked(client: &Client) {
    let patience = Patience::new();
    loop {
        let sql = "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database \
                   WHERE datname = current_database() AND relation = 'heartbeat'::regclass AND NOT granted";
        if client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            return;
        }
        patience.turn().await;
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn what_is_read_of_a_server_that_no_longer_commits_is_not_believed() {
    let url = super::fresh();
    runtime(Writes::Thread).block_on(async {
        let store = opened(&url).await;
        done(&store, putting([put(record(Kind::Use, b"a"))])).await;
        // One read over each of the two connections.
        for _ in 0..2 {
            assert!(read(&store, Kind::Use, b"a").await.is_some());
        }
        let (other, watch) = (client(&url).await, client(&url).await);
        other.batch_execute("BEGIN; LOCK TABLE heartbeat IN EXCLUSIVE MODE").await.unwrap();

        // A recent proof holds for two seconds. Then a read waits, although the server answers it.
        let reads = Arc::new(AtomicU32::new(0));
        let (counted, reading) = (Arc::clone(&reads), store.clone());
        let reader = tokio::spawn(async move {
            loop {
                assert!(read(&reading, Kind::Use, b"a").await.is_some());
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        blocked(&watch).await;
        let before = reads.load(Ordering::SeqCst);
        let records = watch.query_one("SELECT count(*) FROM record", &[]).await.unwrap().get::<_, i64>(0);
        assert!(records > 0, "the server answers reads");
        assert_eq!(reads.load(Ordering::SeqCst), before, "a read was believed");

        other.batch_execute("COMMIT").await.unwrap();
        let patience = Patience::new();
        while reads.load(Ordering::SeqCst) == before {
            patience.turn().await;
        }
        reader.abort();
        store.close().await.unwrap();
    });
}
