//! The contract's methods: over which connection they run, and what happens when one breaks.
//!
//! There are a connection that writes, one that reads records by their keys, and one for all other reads, which may be
//! long. All are pipelined; a pool would add checks and hand-overs and gain nothing. If the answer to a commit is lost,
//! its outcome is found out before anything else is written.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    audit::{self, PageError},
    connect::Connector,
    link::{Failure, Link, Step, Value},
    pace::{self, Sweeps},
    pulse::Pulse,
    read_queue::{self, ReadQueue},
    reads, reasons, schema, surroundings,
    writing::Writing,
};
use crate::{
    domain::{ids::AccountId, rate::Rate},
    store::{
        AuditPage, AuditQuery, Change, Commit, Committed, Finders, Kind, List, Paced, Record, RecordKey, ServerClock,
        Store, StoreError, Surroundings, Tail,
    },
};

/// The timeout of a probe, which serves load balancers.
const PROBE: Duration = Duration::from_millis(500);
/// The pause between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(100);
/// The purpose of a reading connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reads {
    /// Records by their keys, as every call does.
    Records,
    /// Everything else: a long list must not hold calls up.
    Rest,
}

/// The backend of a server.
pub(super) struct Postgres {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) connector: Connector,
    pub(super) writing: Mutex<Writing>,
    records: Reader,
    rest: Reader,
    pub(super) read_queue: ReadQueue,
    pub(super) pulse: Pulse,
    sweeps: Sweeps,
    closed: AtomicBool,
    /// The connection whose transaction reads everything as of one moment; if there is one, nothing is written.
    still: Option<Arc<Link>>,
    /// The connection whose transaction keeps all writers away.
    pub(super) held: Mutex<Option<Link>>,
}

/// A connection that reads.
#[derive(Default)]
struct Reader {
    link: std::sync::Mutex<Option<Arc<Link>>>,
    /// Locked while the connection is replaced, so that many waiting calls make one connection.
    making: Mutex<()>,
}

impl Postgres {
    /// Makes a store over a first connection.
    pub(super) fn new(connector: Connector, reader: Link) -> Self {
        Self { shared: Arc::new(Shared::new(connector, Some(Arc::new(reader)), None)) }
    }

    /// Makes a store over a transaction that reads as of one moment.
    pub(super) fn still(connector: Connector, link: Link) -> Self {
        Self { shared: Arc::new(Shared::new(connector, None, Some(Arc::new(link)))) }
    }

    /// Carries something out even if the caller goes away: half a flight would leave the connection in doubt.
    async fn away<T: Send + 'static>(
        &self,
        act: impl FnOnce(Arc<Shared>) -> BoxFuture<'static, Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let done = tokio::spawn(act(Arc::clone(&self.shared))).await;
        done.unwrap_or_else(|_| Err(StoreError::Unknown("the work was given up".to_owned())))
    }
}

impl Shared {
    fn new(connector: Connector, reader: Option<Arc<Link>>, still: Option<Arc<Link>>) -> Self {
        Self {
            connector,
            writing: Mutex::default(),
            records: Reader::default(),
            rest: Reader { link: std::sync::Mutex::new(reader), ..Reader::default() },
            read_queue: ReadQueue::default(),
            pulse: Pulse::default(),
            sweeps: Sweeps::default(),
            closed: AtomicBool::new(false),
            still,
            held: Mutex::default(),
        }
    }

    /// Returns an error if the store is closed or is read as of one moment.
    fn writable(&self) -> Result<(), StoreError> {
        self.open()?;
        if self.still.is_some() { Err(self.unreachable("it is only read here")) } else { Ok(()) }
    }

    pub(super) fn open(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable("the vault is closed".to_owned()));
        }
        Ok(())
    }

    pub(super) fn unreachable(&self, why: &str) -> StoreError {
        StoreError::Unavailable(format!("the server {} ({why})", self.connector.address().place()))
    }

    /// Runs a read, over another connection if the first one breaks or its server no longer commits.
    pub(super) async fn read<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        act: impl Fn(Arc<Link>) -> F,
    ) -> Result<T, StoreError> {
        self.read_over(Reads::Rest, act).await
    }

    /// As [`Self::read`], over the connection for these reads.
    pub(super) async fn read_over<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        reads: Reads,
        act: impl Fn(Arc<Link>) -> F,
    ) -> Result<T, StoreError> {
        if let Some(link) = &self.still {
            self.open()?;
            return act(Arc::clone(link)).await.map_err(|cause| self.unreachable(&reasons::of_failure(&cause)));
        }
        let until = self.pulse.until();
        loop {
            let link = self.reader(reads, until).await?;
            let begun = Instant::now();
            let (read, proven) = futures::join!(act(Arc::clone(&link)), self.prove(&link));
            // By the end of a long read, the proof from its beginning has expired.
            let proven = if proven.is_ok() { self.prove(&link).await } else { proven };
            match proven.and(read) {
                Ok(read) => return Ok(read),
                Err(Failure::Refused(code)) => return Err(self.unreachable(&reasons::of_statement(&code))),
                Err(Failure::Lost(why)) => {
                    self.pulse.failed(begun);
                    self.forget(reads, &link);
                    self.connector.turn_away(&link);
                    if Instant::now() >= until {
                        return Err(self.unreachable(&why));
                    }
                }
            }
        }
    }

    const fn reader_of(&self, reads: Reads) -> &Reader {
        match reads {
            Reads::Records => &self.records,
            Reads::Rest => &self.rest,
        }
    }

    async fn reader(&self, reads: Reads, until: Instant) -> Result<Arc<Link>, StoreError> {
        self.open()?;
        let reader = self.reader_of(reads);
        let there = || lock(&reader.link).as_ref().filter(|link| !link.is_closed()).map(Arc::clone);
        if let Some(link) = there() {
            return Ok(link);
        }
        let Ok(_making) = timeout_at(until, reader.making.lock()).await else {
            return Err(self.unreachable("it did not come back in time"));
        };
        if let Some(link) = there() {
            return Ok(link);
        }
        let link = Arc::new(match reads {
            Reads::Records => self.connect_to_plan_once(until).await?,
            Reads::Rest => self.connect(until).await?,
        });
        self.open()?;
        *lock(&reader.link) = Some(Arc::clone(&link));
        Ok(link)
    }

    /// Verifies that a connection's server is the primary.
    async fn prove(&self, link: &Link) -> Result<(), Failure> {
        if let Some(clock) = link.prove().await? {
            self.pulse.acknowledged();
            self.pulse.read_clock(clock);
        }
        Ok(())
    }

    /// Stops using a connection that broke, unless another one is in its place already.
    fn forget(&self, reads: Reads, broken: &Arc<Link>) {
        let mut kept = lock(&self.reader_of(reads).link);
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, broken)) {
            *kept = None;
        }
    }

    /// Connects for statements that are sent again and again. Planning them each time, which servers do for lists of
    /// keys, takes longer than carrying them out.
    pub(super) async fn connect_to_plan_once(&self, until: Instant) -> Result<Link, StoreError> {
        let link = self.connect(until).await?;
        link.plan_once().await;
        Ok(link)
    }

    /// Connects to the primary, waiting for it while a failover lasts.
    pub(super) async fn connect(&self, until: Instant) -> Result<Link, StoreError> {
        loop {
            let begun = Instant::now();
            let why = match timeout_at(until, self.connector.connect()).await {
                Ok(Ok(link)) => return Ok(link),
                Ok(Err(why)) => why,
                Err(_) => "it did not answer in time".to_owned(),
            };
            self.pulse.failed(begun);
            self.open()?;
            if Instant::now() >= until {
                return Err(self.unreachable(&why));
            }
            sleep(PAUSE).await;
        }
    }

    async fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.let_go().await;
        let mut writing = self.writing.lock().await;
        if let (Some(link), Some(lease)) = (writing.link.take(), writing.lease.take()) {
            let values = vec![Value::Number(i64::from(lease.chain)), Value::Number(lease.epoch)];
            let step = Step::new("UPDATE writer SET lease_until = 0 WHERE chain = $1 AND epoch = $2", values);
            // A lease that can't be given back expires by itself.
            let _ = link.query(&step).await;
        }
        for reader in [&self.records, &self.rest] {
            lock(&reader.link).take();
        }
    }
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for Postgres {
    async fn read(&self, keys: &[RecordKey]) -> Result<Vec<Option<Record>>, StoreError> {
        self.shared.open()?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        read_queue::read(&self.shared, keys).await
    }

    async fn find(&self, kind: Kind, account: Option<AccountId>, name: [u8; 32]) -> Result<Option<Record>, StoreError> {
        self.shared.read(|link| async move { reads::find(&link, kind, account, name).await }).await
    }

    async fn finders(&self, keys: &[RecordKey]) -> Result<Vec<Finders>, StoreError> {
        self.shared.read(|link| async move { reads::finders(&link, keys).await }).await
    }

    async fn list(&self, list: &List) -> Result<Vec<Record>, StoreError> {
        self.shared.read(|link| async move { reads::list(&link, list).await }).await
    }

    async fn count(&self, list: &List) -> Result<u64, StoreError> {
        self.shared.read(|link| async move { reads::count(&link, list).await }).await
    }

    async fn commit(&self, commit: Arc<Commit>) -> Result<Committed, StoreError> {
        self.shared.writable()?;
        if commit.changes.iter().all(|change| *change == Change::default()) {
            return Ok(Committed::Done);
        }
        self.away(|shared| Box::pin(async move { shared.commit(&commit).await })).await
    }

    async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, StoreError> {
        let page = self.shared.read(|link| async move {
            match audit::page(&link, query).await {
                Ok(page) => Ok(Ok(page)),
                Err(PageError::Store(error)) => Ok(Err(error)),
                Err(PageError::Failed(cause)) => Err(cause),
            }
        });
        page.await?
    }

    async fn tail(&self, chain: u32) -> Result<Option<Tail>, StoreError> {
        let step = reads::tail_step(chain);
        let step = &step;
        let rows = self.shared.read(|link| async move { link.query(step).await }).await?;
        Ok(rows.first().map(|row| reads::tail_of(row, chain)))
    }

    async fn chains(&self) -> Result<Vec<u32>, StoreError> {
        self.shared.read(|link| async move { audit::chains(&link).await }).await
    }

    async fn own_chain(&self) -> Result<u32, StoreError> {
        self.shared.writable()?;
        let lease = self.away(|shared| {
            Box::pin(async move {
                let mut writing = shared.writing.lock().await;
                let until = shared.pulse.until();
                shared.lease(&mut writing, until).await
            })
        });
        Ok(lease.await?.chain)
    }

    /// Every commit is durable when it returns.
    async fn sync(&self) -> Result<(), StoreError> {
        self.shared.open()
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.shared.writable()?;
        let probe = self.away(|shared| Box::pin(async move { shared.probe().await }));
        match timeout(PROBE, probe).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(Failure::Refused(code)))) => Err(self.shared.unreachable(&reasons::of_statement(&code))),
            // The server was reached, and has no chain for this process.
            Ok(Err(error)) if !self.shared.pulse.is_failing() => Err(error),
            // In a failover all processes fail alike: if all reported it, a load balancer would have no process left to
            // send calls to.
            _ if self.shared.pulse.is_hopeful() => Ok(()),
            Ok(Ok(Err(Failure::Lost(why)))) => Err(self.shared.unreachable(&why)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(self.shared.unreachable("it did not answer in time")),
        }
    }

    fn clock(&self) -> Option<ServerClock> {
        self.shared.pulse.clock()
    }

    async fn pace(&self, bucket: [u8; 16], rate: Rate) -> Result<Paced, StoreError> {
        self.shared.writable()?;
        if self.shared.sweeps.is_due() {
            let shared = Arc::clone(&self.shared);
            tokio::spawn(async move { shared.sweep().await });
        }
        self.shared.read(|link| async move { pace::take(&link, bucket, rate).await }).await
    }

    async fn examine(&self) -> Result<Vec<String>, StoreError> {
        self.shared.read(|link| async move { schema::examine(&link).await }).await
    }

    async fn surroundings(&self) -> Result<Surroundings, StoreError> {
        let connector = &self.shared.connector;
        self.shared.read(|link| async move { surroundings::look(&link, connector).await }).await
    }

    async fn hold(&self) -> Result<(), StoreError> {
        self.shared.writable()?;
        self.away(|shared| Box::pin(async move { shared.hold().await })).await
    }

    async fn retire(&self, to: &str) -> Result<(), StoreError> {
        let to = to.to_owned();
        self.away(|shared| Box::pin(async move { shared.retire(&to).await })).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.away(|shared| {
            Box::pin(async move {
                shared.close().await;
                Ok(())
            })
        })
        .await
    }
}
