//! The guarantees of the store's contract. Each is checked against every backend, in every way of writing; a backend is
//! complete when all of them hold.

mod audit;
mod commits;
mod ending;
mod lists;
mod names;
mod together;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};

use countersign::{
    domain::{
        api_key::KeyId,
        ids::{AccountId, SeatId, SecretId},
        time::Timestamp,
    },
    store::{
        AuditPut, AuditRecord, AuditTerms, Change, Commit, Committed, Durable, Finders, Index, Kind, Life, OpenRequest,
        Opened, Put, Record, RecordKey, SharedStore, StoreError, Tail, Writes, open,
    },
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// A place for a store.
pub(crate) struct World {
    pub(crate) root: PathBuf,
    pub(crate) writes: Writes,
    /// Removes the folder at the end, if it is this process's own.
    _own: Option<TempDir>,
}

impl World {
    pub(crate) fn new(writes: Writes) -> Self {
        let own = tempfile::tempdir().unwrap();
        Self { root: own.path().to_owned(), writes, _own: Some(own) }
    }

    /// Another process's folder.
    pub(crate) fn shared(root: &Path) -> Self {
        Self { root: root.to_owned(), writes: Writes::Inline, _own: None }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.data().join("vault.db")
    }

    pub(crate) fn request(&self) -> OpenRequest {
        OpenRequest {
            url: crate::postgres::address_for(&self.root),
            data_dir: self.data(),
            writes: self.writes,
            make: true,
        }
    }

    /// Opens the store, and creates it first if it does not exist.
    pub(crate) async fn store(&self) -> SharedStore {
        match open(&self.request()).await.unwrap() {
            Opened::Store(store, _) => return store,
            Opened::Absent(absent) => absent.create(header()).await.unwrap(),
            Opened::Format1(_) => unreachable!("nothing here makes one"),
        }
        let Opened::Store(store, _) = open(&self.request()).await.unwrap() else { unreachable!("it was just made") };
        store
    }
}

/// Checks a promise against every backend, each in every way of writing.
#[expect(clippy::needless_pass_by_value, reason = "a promise is written where it is checked")]
pub(crate) fn check(promise: impl AsyncFn(&SharedStore, &World)) {
    let holds = async |world: World| {
        let store = world.store().await;
        promise(&store, &world).await;
        let store = world.store().await;
        assert_eq!(store.examine().await.unwrap(), Vec::<String>::new());
        store.close().await.unwrap();
    };
    for writes in [Writes::Inline, Writes::Thread] {
        runtime(writes).block_on(holds(World::new(writes)));
    }
}

/// The runtime that goes with a way of writing: one thread for a sidecar, several for a server.
pub(crate) fn runtime(writes: Writes) -> Runtime {
    match writes {
        Writes::Inline => tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        Writes::Thread => tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
    }
}

pub(crate) fn account(number: u128) -> AccountId {
    AccountId::new(Uuid::from_u128(number))
}

pub(crate) fn secret_id(number: u128) -> SecretId {
    SecretId::new(Uuid::from_u128(number))
}

pub(crate) fn seat_id(number: u128) -> SeatId {
    SeatId::new(Uuid::from_u128(number))
}

pub(crate) fn key_id(number: u128) -> KeyId {
    format!("{number:012}").parse().unwrap()
}

/// The first commit of a new store.
pub(crate) fn header() -> Commit {
    now(vec![Change { put: vec![put(record(Kind::Header, b"header"))], ..Change::default() }])
}

/// A new record of the first account.
pub(crate) fn record(kind: Kind, id: &[u8]) -> Record {
    Record {
        key: RecordKey::new(kind, id),
        version: 1,
        account: Some(account(1)),
        sort: 0,
        life: Life::Live,
        body: [b"body of ".as_slice(), id].concat(),
        mac: [7; 32],
    }
}

/// The next version of a record.
pub(crate) fn after(record: &Record, body: &[u8]) -> Record {
    Record { version: record.version + 1, body: body.to_vec(), ..record.clone() }
}

pub(crate) fn put(record: Record) -> Put {
    Put { record, index: Index::Keep }
}

pub(crate) fn named(record: Record, names: &[u8], words: &[u8]) -> Put {
    let names = names.iter().map(|name| [*name; 32]).collect();
    let words = words.iter().map(|word| [*word; 8]).collect();
    Put { record, index: Index::Replace(Finders { names, words }) }
}

pub(crate) fn putting(puts: impl IntoIterator<Item = Put>) -> Change {
    Change { put: puts.into_iter().collect(), ..Change::default() }
}

pub(crate) fn now(changes: Vec<Change>) -> Commit {
    Commit { changes, tail: None, durable: Durable::Now }
}

pub(crate) async fn commit(store: &SharedStore, commit: Commit) -> Result<Committed, StoreError> {
    store.commit(Arc::new(commit)).await
}

/// Commits one change, which must be done.
pub(crate) async fn done(store: &SharedStore, change: Change) {
    assert_eq!(commit(store, now(vec![change])).await, Ok(Committed::Done));
}

pub(crate) async fn read(store: &SharedStore, kind: Kind, id: &[u8]) -> Option<Record> {
    store.read(&[RecordKey::new(kind, id)]).await.unwrap().remove(0)
}

/// The MAC of the tests' audit record with a number.
pub(crate) fn mac(seq: u64) -> [u8; 32] {
    let mut mac = [1; 32];
    mac[..8].copy_from_slice(&seq.to_be_bytes());
    mac
}

pub(crate) fn tail(chain: u32, seq: u64) -> Tail {
    Tail { chain, seq, mac: mac(seq) }
}

/// An audit record at the second of its number, with no terms except an action.
pub(crate) fn row(chain: u32, seq: u64) -> AuditPut {
    let at = Timestamp::from_seconds(i64::try_from(seq).unwrap());
    let record = AuditRecord { chain, seq, at, body: format!("row {seq}").into_bytes(), mac: mac(seq) };
    let action = Cow::Borrowed("done");
    let terms = AuditTerms { account: None, actor_key: None, key: None, seat: None, secret: None, action };
    AuditPut { record, terms }
}

/// A commit of audit records after a place of their chain.
pub(crate) fn logging(after: Tail, rows: Vec<AuditPut>) -> Commit {
    let change = Change { audit: rows, ..Change::default() };
    Commit { changes: vec![change], tail: Some(after), durable: Durable::Now }
}

/// Adds audit records without terms up to the number `upto`.
pub(crate) async fn logged(store: &SharedStore, chain: u32, upto: u64) {
    let from = store.tail(chain).await.unwrap().unwrap_or_else(|| tail(chain, 0));
    let rows = (from.seq + 1..=upto).map(|seq| row(chain, seq)).collect();
    assert_eq!(commit(store, logging(from, rows)).await, Ok(Committed::Done));
}
