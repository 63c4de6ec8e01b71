//! One connection, and the statements sent over it. Statements are pipelined: several are on their way at the same
//! time, in the order in which they were sent.

use std::{
    borrow::Cow,
    collections::HashMap,
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_postgres::{
    AsyncMessage, Client, Connection, Row, Statement,
    error::SqlState,
    tls::TlsStream,
    types::{ToSql, Type},
};

use super::reads::column;
use crate::{domain::time::Timestamp, store::ServerClock};

/// The longest time that a flight, or a read, may take. Then the connection is given up.
pub(super) const FLIGHT: Duration = Duration::from_secs(5);

/// How long an acknowledged commit shows that a connection's server is the primary. A server that is cut off from the
/// others answers reads for many seconds more, with rights that may have been revoked elsewhere, while its commits
/// hang.
const FRESH: Duration = Duration::from_secs(2);

/// A commit whose only purpose is its acknowledgement. Nearly every connection has a row of its own, so that none waits
/// for another.
const HEARTBEAT: &str = "INSERT INTO heartbeat (place, at) VALUES (pg_backend_pid() % 1024, \
                         (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) \
                         ON CONFLICT (place) DO UPDATE SET at = excluded.at RETURNING at";

/// The longest time that a statement over whole tables may take.
const EXAMINE: Duration = Duration::from_mins(30);

/// A value of a statement.
#[derive(Debug)]
pub(super) enum Value {
    Number(i64),
    Small(i16),
    Bytes(Vec<u8>),
    Text(String),
    Numbers(Vec<i64>),
    Smalls(Vec<i16>),
    Blobs(Vec<Vec<u8>>),
    MaybeNumbers(Vec<Option<i64>>),
    MaybeBlobs(Vec<Option<Vec<u8>>>),
    MaybeTexts(Vec<Option<String>>),
}

impl Value {
    const fn sql_type(&self) -> Type {
        match self {
            Self::Number(_) => Type::INT8,
            Self::Small(_) => Type::INT2,
            Self::Bytes(_) => Type::BYTEA,
            Self::Text(_) => Type::TEXT,
            Self::Numbers(_) | Self::MaybeNumbers(_) => Type::INT8_ARRAY,
            Self::Smalls(_) => Type::INT2_ARRAY,
            Self::Blobs(_) | Self::MaybeBlobs(_) => Type::BYTEA_ARRAY,
            Self::MaybeTexts(_) => Type::TEXT_ARRAY,
        }
    }

    fn to_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Number(value) => value,
            Self::Small(value) => value,
            Self::Bytes(value) => value,
            Self::Text(value) => value,
            Self::Numbers(value) => value,
            Self::Smalls(value) => value,
            Self::Blobs(value) => value,
            Self::MaybeNumbers(value) => value,
            Self::MaybeBlobs(value) => value,
            Self::MaybeTexts(value) => value,
        }
    }
}

/// A statement and its values.
pub(super) struct Step {
    pub(super) sql: Cow<'static, str>,
    pub(super) values: Vec<Value>,
}

impl Step {
    pub(super) fn new(sql: impl Into<Cow<'static, str>>, values: Vec<Value>) -> Self {
        Self { sql: sql.into(), values }
    }
}

/// Why a statement or a flight did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server refused it and undid it. A guard that does not hold is a division by zero.
    Refused(SqlState),
    /// The connection is gone, or took too long: the statement may or may not have taken effect.
    Lost(String),
}

impl Failure {
    fn of(cause: &tokio_postgres::Error) -> Self {
        match cause.code() {
            // The server ends the connection, or this is not the primary any more.
            Some(code) if is_end(code) => Self::Lost(format!("the server ended the connection ({})", code.code())),
            Some(code) => Self::Refused(code.clone()),
            None => Self::Lost("the connection broke".to_owned()),
        }
    }
}

fn late() -> Failure {
    Failure::Lost("the server did not answer in time".to_owned())
}

fn unsure() -> Failure {
    Failure::Lost("the server warned that a standby may lack the change".to_owned())
}

fn is_end(code: &SqlState) -> bool {
    let ends = ["57P", "08"];
    ends.iter().any(|class| code.code().starts_with(class)) || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}

/// The host of a link, and the generation of links to which it belongs.
pub(super) struct Place {
    host: usize,
    prepares: bool,
    current: Arc<AtomicUsize>,
    generation: usize,
}

impl Place {
    /// The place of a link that is made now.
    pub(super) fn of(host: usize, prepares: bool, current: &Arc<AtomicUsize>) -> Self {
        Self { host, prepares, current: Arc::clone(current), generation: current.load(Ordering::Acquire) }
    }
}

/// A connection to the server.
pub(super) struct Link {
    client: Client,
    /// The host that it leads to, by its number in the address.
    pub(super) host: usize,
    /// Whether a warning arrived: commits since then may not be on the standby.
    warned: Arc<AtomicBool>,
    statements: Mutex<HashMap<Cow<'static, str>, Statement>>,
    /// Whether statements are prepared. A pooler that hands out connections by the transaction loses them.
    prepares: bool,
    /// When a commit over it was last acknowledged. Locked during a heartbeat, so that many readers share one.
    acknowledged: tokio::sync::Mutex<Option<Instant>>,
    /// Whether a statement was not answered in time: a caller that waits for its turn must not wait as long again.
    is_silent: AtomicBool,
    /// The generation of links that the process uses, and the one to which this link belongs.
    current: Arc<AtomicUsize>,
    generation: usize,
    driver: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    pub(super) fn new<S, T>(client: Client, connection: Connection<S, T>, place: Place) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        T: TlsStream + Unpin + Send + 'static,
    {
        let warned = Arc::new(AtomicBool::new(false));
        let driver = tokio::spawn(drive(connection, Arc::clone(&warned)));
        let acknowledged = tokio::sync::Mutex::default();
        let (statements, is_silent) = (Mutex::default(), AtomicBool::new(false));
        let Place { host, prepares, current, generation } = place;
        Self { client, host, warned, statements, prepares, acknowledged, is_silent, current, generation, driver }
    }

    /// Whether a warning arrived.
    pub(super) fn is_warned(&self) -> bool {
        self.warned.load(Ordering::Acquire)
    }

    /// Whether the connection has ended, or is of no use any more.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
            || self.is_silent.load(Ordering::Acquire)
            || self.current.load(Ordering::Acquire) != self.generation
    }

    /// Retires all links of this link's generation, so that they are replaced.
    pub(super) fn end_generation(&self) {
        let next = self.generation.wrapping_add(1);
        let _ = self.current.compare_exchange(self.generation, next, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Verifies that the server is the primary, unless that was verified recently, and reads its clock.
    pub(super) async fn prove(&self) -> Result<Option<ServerClock>, Failure> {
        let mut acknowledged = self.acknowledged.lock().await;
        if acknowledged.is_some_and(|then| then.elapsed() < FRESH) {
            return Ok(None);
        }
        if self.is_closed() {
            return Err(late());
        }
        let asked = Instant::now();
        let rows = self.query(&Step::new(HEARTBEAT, Vec::new())).await?;
        if self.is_warned() {
            return Err(unsure());
        }
        let answered = Instant::now();
        *acknowledged = Some(answered);
        let time = |row: &Row| ServerClock::between(Timestamp::from_micros(column(row, 0)), asked, answered);
        Ok(rows.first().map(time))
    }

    /// Has the server plan each prepared statement once, and give up a lock of a table in time. A server without one of these
    /// settings goes on without it.
    pub(super) async fn plan_once(&self) {
        if self.prepares {
            let _ = self.batch("SET plan_cache_mode = force_generic_plan").await;
            // Not the value that `BEGIN` sets, by which statements know that they are in a flight.
            let _ = self.batch("SET lock_timeout = '3998ms'").await;
        }
    }

    /// Runs one statement by itself.
    pub(super) async fn query(&self, step: &Step) -> Result<Vec<Row>, Failure> {
        self.within(self.one(step)).await
    }

    /// Runs one statement that changes something, as a transaction of its own.
    pub(super) async fn commit(&self, step: &Step) -> Result<(), Failure> {
        self.query(step).await?;
        if self.is_warned() { Err(unsure()) } else { Ok(()) }
    }

    /// Runs a statement that reads whole tables.
    pub(super) async fn examine(&self, step: &Step) -> Result<Vec<Row>, Failure> {
        timeout(EXAMINE, self.one(step)).await.unwrap_or_else(|_| Err(late()))
    }

    /// Runs statements without a result, such as those that make the tables.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.within(async { self.client.batch_execute(sql).await.map_err(|cause| Failure::of(&cause)) }).await
    }

    /// Sends several statements at once, and returns the rows of each.
    pub(super) async fn together(&self, steps: &[Step]) -> Result<Vec<Vec<Row>>, Failure> {
        self.within(async {
            self.prepare(steps).await?;
            join_all(steps.iter().map(|step| self.one(step))).await.into_iter().collect()
        })
        .await
    }

    /// Sends a transaction at once, and returns the rows of each statement. Every statement must succeed, or nothing
    /// happens.
    pub(super) async fn flight(&self, begin: &str, steps: &[Step]) -> Result<Vec<Vec<Row>>, Failure> {
        let sent = self.within(async {
            self.prepare(steps).await?;
            // They are sent in the order in which they are polled first.
            let (started, done, committed) = futures::join!(
                self.client.batch_execute(begin),
                join_all(steps.iter().map(|step| self.one(step))),
                self.client.batch_execute("COMMIT"),
            );
            // COMMIT of a failed transaction succeeds, so the first failure is what counts.
            started.map_err(|cause| match Failure::of(&cause) {
                Failure::Refused(code) => Failure::Lost(format!("no transaction was begun ({})", code.code())),
                lost @ Failure::Lost(_) => lost,
            })?;
            let found = done.into_iter().collect::<Result<Vec<_>, _>>()?;
            committed.map_err(|cause| Failure::of(&cause))?;
            Ok(found)
        });
        let found = sent.await?;
        if self.is_warned() {
            return Err(unsure());
        }
        Ok(found)
    }

    async fn within<T>(&self, act: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        timeout(FLIGHT, act).await.unwrap_or_else(|_| {
            self.is_silent.store(true, Ordering::Release);
            Err(late())
        })
    }

    async fn one(&self, step: &Step) -> Result<Vec<Row>, Failure> {
        let rows = if self.prepares {
            let statement = self.statement(step).await?;
            let values: Vec<_> = step.values.iter().map(Value::to_sql).collect();
            self.client.query(&statement, &values).await
        } else {
            let values: Vec<_> = step.values.iter().map(|value| (value.to_sql(), value.sql_type())).collect();
            self.client.query_typed(&step.sql, &values).await
        };
        rows.map_err(|cause| Failure::of(&cause))
    }

    /// Prepares the statements that are not prepared yet: afterwards sending one does not wait for the server.
    async fn prepare(&self, steps: &[Step]) -> Result<(), Failure> {
        if self.prepares {
            for step in steps {
                self.statement(step).await?;
            }
        }
        Ok(())
    }

    async fn statement(&self, step: &Step) -> Result<Statement, Failure> {
        if let Some(statement) = self.kept().get(&step.sql) {
            return Ok(statement.clone());
        }
        let types: Vec<Type> = step.values.iter().map(Value::sql_type).collect();
        let made = self.client.prepare_typed(&step.sql, &types).await.map_err(|cause| Failure::of(&cause))?;
        self.kept().insert(step.sql.clone(), made.clone());
        Ok(made)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<Cow<'static, str>, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drives the connection until it ends, and notes warnings, which the library only logs.
async fn drive<S, T>(mut connection: Connection<S, T>, warned: Arc<AtomicBool>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: TlsStream + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message
            && notice.code().code().starts_with("01")
        {
            warned.store(true, Ordering::Release);
        }
    }
}
