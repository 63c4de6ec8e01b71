//! The contract's methods: on which thread and on which connection they run. A few records are read on the caller's
//! thread; lists, and everything that waits for a lock, run on a blocking thread.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::task::spawn_blocking;

use super::{
    audit,
    connection::{self, PATIENCE, Patience},
    error,
    open_file::{Conn, OpenFile, unread},
    records, schema,
    writer::{Failed, Writer, closed, lock},
};
use crate::{
    domain::ids::AccountId,
    store::{
        AuditPage, AuditQuery, Change, Commit, Committed, Durable, Finders, Kind, List, Record, RecordKey, Store,
        StoreError, Tail, Writes,
    },
};

/// Idle reading connections that are kept.
const READERS_KEPT: usize = 4;
/// The most changes that a server commits on a thread that serves calls. More take longer than handing them to another
/// thread.
const QUICK_CHANGES_MAX: usize = 16;
/// How long a probe waits for another writer.
const PROBE_PATIENCE: Duration = Duration::from_millis(250);

/// The embedded backend.
pub(super) struct Sqlite {
    shared: Arc<Shared>,
    writes: Writes,
}

struct Shared {
    file: Arc<OpenFile>,
    writer: Writer,
    readers: Mutex<Vec<Conn>>,
    patience: Patience,
    closed: AtomicBool,
    /// Whether the log is being copied into the database.
    shortening: AtomicBool,
    /// The connection whose transaction keeps all writers away.
    held: Mutex<Option<Conn>>,
}

impl Sqlite {
    /// Makes a store over an open file, with a first reading connection.
    pub(super) fn new(file: Arc<OpenFile>, reader: Conn, writes: Writes) -> Self {
        let shared = Shared {
            writer: Writer::new(Arc::clone(&file)),
            file,
            readers: Mutex::new(vec![reader]),
            patience: Patience::default(),
            closed: AtomicBool::new(false),
            shortening: AtomicBool::new(false),
            held: Mutex::default(),
        };
        Self { shared: Arc::new(shared), writes }
    }

    /// Runs a slow or waiting function outside the runtime's threads.
    async fn away<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let done = spawn_blocking(move || act(&shared)).await;
        done.unwrap_or_else(|_| Err(StoreError::Unknown("the work was given up".to_owned())))
    }

    /// Copies a long log into the database over a reading connection, in the background.
    fn shorten_log(&self) {
        if self.shared.writer.is_log_due() && !self.shared.shortening.swap(true, Ordering::Relaxed) {
            let shared = Arc::clone(&self.shared);
            spawn_blocking(move || {
                // If this fails because a connection reads, it is tried again when the log has grown by as much again.
                let _ = shared.read(|conn| Ok(connection::checkpoint(conn)?));
                shared.file.copied();
                shared.shortening.store(false, Ordering::Relaxed);
            });
        }
    }

    /// Reads a few records on the caller's thread.
    fn read_few<T>(&self, act: impl Fn(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let at_once = match self.writes {
            Writes::Inline if self.shared.file.was_there().is_ok() => self.shared.writer.read_at_once(&act),
            Writes::Inline | Writes::Thread => None,
        };
        at_once.unwrap_or_else(|| self.shared.read(act))
    }

    async fn read_many<T: Send + 'static>(
        &self,
        act: impl Fn(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.away(move |shared| shared.read(act)).await
    }
}

impl Shared {
    /// Runs a read. The connection is kept only after a success: a new one may work where this one failed.
    fn read<T>(&self, act: impl Fn(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(closed());
        }
        self.file.was_there()?;
        let idle = lock(&self.readers).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.file.connect(&self.patience)?,
        };
        let act = |conn: &Connection| self.file.is_whole(conn).and_then(|()| act(conn));
        let (conn, read) = match act(&conn) {
            // SQLite reports a read that failed once as damage, too. Real damage is still there.
            Err(StoreError::Damaged { .. }) => {
                // Connections of one process share an index of the log, which such a read may leave broken.
                drop(conn);
                lock(&self.readers).clear();
                let conn = self.file.connect(&self.patience)?;
                let read = act(&conn);
                (conn, read)
            }
            read => (conn, read),
        };
        let read = read.map_err(|error| self.file.judged(error))?;
        let mut readers = lock(&self.readers);
        if readers.len() < READERS_KEPT && !self.closed.load(Ordering::Relaxed) {
            readers.push(conn);
        }
        Ok(read)
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StoreError> {
        self.read_few(|conn| records::read(conn, keys))
    }

    async fn find(&self, kind: Kind, account: Option<AccountId>, name: [u8; 32]) -> Result<Option<Record>, StoreError> {
        self.read_few(|conn| records::find(conn, kind, account, &name))
    }

    async fn finders(&self, keys: &[RecordKey]) -> Result<Vec<Finders>, StoreError> {
        let keys = keys.to_vec();
        self.read_many(move |conn| records::finders(conn, &keys)).await
    }

    async fn list(&self, list: &List) -> Result<Vec<Record>, StoreError> {
        let list = list.clone();
        self.read_many(move |conn| records::list(conn, &list)).await
    }

    async fn count(&self, list: &List) -> Result<u64, StoreError> {
        let list = list.clone();
        self.read_many(move |conn| records::count(conn, &list)).await
    }

    async fn commit(&self, commit: Arc<Commit>) -> Result<Committed, StoreError> {
        if commit.changes.iter().all(|change| *change == Change::default()) {
            return Ok(Committed::Done);
        }
        let until = Instant::now() + PATIENCE;
        let removes = commit.changes.iter().any(|change| change.scrub);
        // Handing the commit to another thread costs more than a small transaction that waits for no disk.
        let is_quick = commit.durable == Durable::Soon && commit.changes.len() <= QUICK_CHANGES_MAX;
        let at_once = match self.writes {
            Writes::Thread if !is_quick => Err(Failed::Busy),
            Writes::Inline | Writes::Thread => self.shared.writer.commit(&commit, None),
        };
        let committed = match at_once {
            Err(Failed::Busy) => {
                self.away(move |shared| {
                    shared.writer.commit(&commit, Some(until)).map_err(|failed| shared.writer.error_of(failed))
                })
                .await
            }
            Err(Failed::Error(error)) => Err(error),
            Ok(committed) => {
                if removes && committed == Committed::Done && self.shared.writer.is_scrub_due() {
                    // The changes are committed, even if this fails.
                    let scrub = |shared: &Shared| {
                        shared.writer.scrub_patiently();
                        Ok(())
                    };
                    let _ = self.away(scrub).await;
                }
                Ok(committed)
            }
        };
        if committed.is_err() {
            // Connections of one process share a broken index of the log, so keep none.
            lock(&self.shared.readers).clear();
        }
        self.shorten_log();
        committed
    }

    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let query = query.clone();
        self.read_many(move |conn| audit::page(conn, &query)).await
    }

    async fn tail(&self, chain: u32) -> Result<Option<Tail>, StoreError> {
        self.read_few(|conn| audit::tail(conn, chain))
    }

    async fn chains(&self) -> Result<Vec<u32>, StoreError> {
        self.read_few(audit::chains)
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.away(|shared| shared.writer.sync()).await
    }

    async fn probe(&self) -> Result<(), StoreError> {
        let until = Instant::now() + PROBE_PATIENCE;
        self.away(move |shared| shared.writer.probe(until)).await
    }

    fn log_bytes(&self) -> u64 {
        std::fs::symlink_metadata(self.shared.file.spot().log()).map_or(0, |facts| facts.len())
    }

    async fn examine(&self) -> Result<Vec<String>, StoreError> {
        self.away(|shared| {
            if shared.read(schema::examine)?.is_empty() {
                return Ok(Vec::new());
            }
            shared.file.read_through().map_err(|cause| unread(&cause))?;
            // SQLite reports a read that failed once as damage, too. Real damage is still there.
            lock(&shared.readers).clear();
            shared.read(schema::examine)
        })
        .await
    }

    async fn hold(&self) -> Result<(), StoreError> {
        self.away(|shared| {
            shared.file.is_there()?;
            let conn = shared.file.connect(&Patience::default())?;
            connection::configure(&conn)?;
            connection::run(&conn, "BEGIN IMMEDIATE").map_err(|cause| {
                if error::is_busy(&cause) { shared.writer.error_of(Failed::Busy) } else { cause.into() }
            })?;
            *lock(&shared.held) = Some(conn);
            Ok(())
        })
        .await
    }

    async fn retire(&self, to: &str) -> Result<(), StoreError> {
        let to = to.to_owned();
        self.away(move |shared| {
            let not_held = || StoreError::Unavailable("it is not held".to_owned());
            let conn = lock(&shared.held).take().ok_or_else(not_held)?;
            shared.file.is_there()?;
            schema::retire(&conn, &to)?;
            connection::run(&conn, "COMMIT").map_err(error::of_commit)?;
            // If a connection still reads the log, the change stays in the log, where it is as safe as in the database.
            let _ = connection::empty_log(&conn);
            Ok(())
        })
        .await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.shared.closed.store(true, Ordering::Relaxed);
        self.shared.patience.close();
        self.away(|shared| {
            let mut readers = lock(&shared.readers);
            readers.first().map(|reader| shared.file.is_ours(reader));
            readers.clear();
            drop(readers);
            lock(&shared.held).take();
            shared.writer.close()
        })
        .await
    }
}
