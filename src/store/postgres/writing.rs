//! The writing side: commits, the chain that this process holds, and the outcome of a commit whose answer was lost.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::SqlState;

use super::{
    flight::{self, BEGIN, Lease},
    link::{Failure, Link, Step, Value},
    plan::Plan,
    reads::{self, column},
    reasons,
    store::Shared,
};
use crate::{
    domain::time::Timestamp,
    store::{Commit, Committed, ID_BYTES_MAX, Removal, ServerClock, StoreError, Tail},
};

/// How often a commit is tried while other writers are faster.
const TRIES: u32 = 5;

/// The writing connection, and the chain that this process writes.
#[derive(Default)]
pub(super) struct Writing {
    pub(super) link: Option<Arc<Link>>,
    pub(super) lease: Option<Lease>,
}

/// The outcome of a flight.
enum FlightEnd {
    Done,
    /// A guard did not hold, or the server had to undo it: nothing happened.
    Refused,
    /// As [`Self::Refused`], because another transaction held a lock.
    Locked,
}

impl Shared {
    pub(super) async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        flight::check_rows(commit)?;
        refuse_long(commit)?;
        let until = self.pulse.until();
        let Ok(mut writing) = timeout_at(until, self.writing.lock()).await else {
            return Err(self.unreachable("it did not answer in time"));
        };
        let logs = commit.changes.iter().any(|change| !change.audit.is_empty());
        let mut tries = 0;
        while tries < TRIES {
            self.open()?;
            let plan = Plan::of(commit, None);
            let flown = if plan.fits() {
                self.fly(&mut writing, &plan, commit.tail.as_ref(), until).await?
            } else {
                FlightEnd::Refused
            };
            match flown {
                FlightEnd::Done => return Ok(Committed::Done),
                // A commit that waits for its standby keeps its locks for as long as a failover lasts.
                FlightEnd::Locked if Instant::now() < until => self.not_kept_away(&mut writing, until).await?,
                FlightEnd::Locked | FlightEnd::Refused => tries += 1,
            }
            let held = writing.lease;
            let known = self.ask(&mut writing, until, |link| async move { reads::known(&link, commit).await }).await?;
            if let Some(tail) = known.tail.filter(|tail| logs && commit.tail != Some(*tail)) {
                return Ok(Committed::Moved { tail });
            }
            if let Some(refusal) = Plan::of(commit, Some(&known)).refusal() {
                return Ok(refusal);
            }
            // Nothing is stale, so another writer was faster, or holds this chain now.
            let lost = !self.is_held(&mut writing, held, until).await?;
            if let Some(tail) = commit.tail.filter(|_| lost && logs) {
                return Ok(Committed::Moved { tail });
            }
        }
        Err(StoreError::Unavailable("other processes were faster each time".to_owned()))
    }

    /// Sends a flight, and finds out its outcome if its answer is lost.
    async fn fly(
        &self,
        writing: &mut Writing,
        plan: &Plan<'_>,
        tail: Option<&Tail>,
        until: Instant,
    ) -> Result<FlightEnd, StoreError> {
        let lease = self.lease(writing, until).await?;
        let next = Lease { flight: lease.flight.wrapping_add(1), ..lease };
        let Some(link) = &writing.link else { return Ok(FlightEnd::Refused) };
        let begun = Instant::now();
        let sent = if let Some(step) = flight::single(&next, plan, tail)? {
            link.commit(&step).await
        } else {
            let mut steps = vec![flight::leased(&next)];
            steps.extend(flight::steps(plan, tail)?);
            link.flight(BEGIN, &steps).await.map(drop)
        };
        match sent {
            Ok(()) => {
                writing.lease = Some(next);
                self.pulse.acknowledged();
                Ok(FlightEnd::Done)
            }
            Err(Failure::Refused(SqlState::LOCK_NOT_AVAILABLE)) => Ok(FlightEnd::Locked),
            Err(Failure::Refused(code)) if is_conflict(&code) => Ok(FlightEnd::Refused),
            Err(Failure::Refused(code)) => Err(self.unreachable(&reasons::of_statement(&code))),
            Err(Failure::Lost(why)) => {
                self.pulse.failed(begun);
                self.connector.turn_away(link);
                writing.link = None;
                if self.was_carried_out(writing, next, until, &why).await? {
                    Ok(FlightEnd::Done)
                } else {
                    Ok(FlightEnd::Refused)
                }
            }
        }
    }

    /// Whether a flight whose answer was lost was committed.
    ///
    /// The epoch is moved under the lock of the writer's row: the old flight has ended by then, and can't begin any more.
    /// When that commit is acknowledged, everything before it is as durable.
    async fn was_carried_out(
        &self,
        writing: &mut Writing,
        sent: Lease,
        until: Instant,
        why: &str,
    ) -> Result<bool, StoreError> {
        let unknown = || StoreError::Unknown(format!("the server {} ({why})", self.connector.address().place()));
        let steps = [flight::settled(&sent)];
        writing.lease = None;
        loop {
            let link = self.connect(until).await.map_err(|_| unknown())?;
            match link.flight(BEGIN, &steps).await {
                Ok(found) => {
                    // Another writer has the chain: the outcome can't be found out any more.
                    let row = found.first().and_then(|rows| rows.first()).ok_or_else(unknown)?;
                    let lease = Lease { chain: sent.chain, epoch: column(row, 0), flight: column(row, 1) };
                    self.pulse.acknowledged();
                    writing.link = Some(Arc::new(link));
                    writing.lease = Some(lease);
                    return Ok(lease.flight == sent.flight);
                }
                Err(Failure::Lost(_)) => self.connector.turn_away(&link),
                Err(Failure::Refused(code)) if is_conflict(&code) => {}
                Err(Failure::Refused(_)) => return Err(unknown()),
            }
            if Instant::now() >= until {
                return Err(unknown());
            }
        }
    }

    /// The chain that this process writes: the one that it has, one whose lease has expired, or a new one.
    pub(super) async fn lease(&self, writing: &mut Writing, until: Instant) -> Result<Lease, StoreError> {
        if let Some(lease) = writing.lease.filter(|_| writing.link.as_ref().is_some_and(|link| !link.is_closed())) {
            return Ok(lease);
        }
        if let Some(lease) = writing.lease {
            // Nothing is under way, so the chain is still this writer's if its epoch is.
            writing.link = Some(Arc::new(self.connect_to_plan_once(until).await?));
            return Ok(lease);
        }
        loop {
            for step in flight::chains() {
                let steps = [step];
                let steps = &steps;
                let found = self.ask(writing, until, |link| async move { link.flight(BEGIN, steps).await }).await?;
                if let Some(row) = found.first().and_then(|rows| rows.first()) {
                    let chain = u32::try_from(column::<i64>(row, 0))
                        .map_err(|_| StoreError::Damaged { what: "a writer has no chain".to_owned() })?;
                    let lease = Lease { chain, epoch: column(row, 1), flight: column(row, 2) };
                    writing.lease = Some(lease);
                    return Ok(lease);
                }
            }
            if Instant::now() >= until {
                return Err(self.unreachable("no audit chain is free"));
            }
        }
    }

    /// Returns an error if another process keeps all writers away, which it may do for long.
    async fn not_kept_away(&self, writing: &mut Writing, until: Instant) -> Result<(), StoreError> {
        let Some(lease) = writing.lease else { return Ok(()) };
        let sql = "SELECT chain FROM writer WHERE chain = $1 FOR UPDATE SKIP LOCKED";
        let step = Step::new(sql, vec![Value::Number(i64::from(lease.chain))]);
        let step = &step;
        let free = self.ask(writing, until, |link| async move { link.query(step).await }).await?;
        if free.is_empty() { Err(self.kept_away()) } else { Ok(()) }
    }

    fn kept_away(&self) -> StoreError {
        self.unreachable("another process keeps all others from writing, as while a vault is moved")
    }

    /// Whether the chain is still this writer's. If not, the next commit takes another one.
    async fn is_held(&self, writing: &mut Writing, held: Option<Lease>, until: Instant) -> Result<bool, StoreError> {
        let Some(held) = held else { return Ok(false) };
        let step = Step::new("SELECT epoch FROM writer WHERE chain = $1", vec![Value::Number(i64::from(held.chain))]);
        let step = &step;
        let rows = self.ask(writing, until, |link| async move { link.query(step).await }).await?;
        let is_held = rows.first().is_some_and(|row| column::<i64>(row, 0) == held.epoch);
        if !is_held {
            writing.lease = None;
        }
        Ok(is_held)
    }

    /// Runs `act` over the writing connection. It may run more than once.
    async fn ask<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        writing: &mut Writing,
        until: Instant,
        act: impl Fn(Arc<Link>) -> F,
    ) -> Result<T, StoreError> {
        loop {
            if writing.link.as_ref().is_none_or(|link| link.is_closed()) {
                writing.link = Some(Arc::new(self.connect_to_plan_once(until).await?));
            }
            let Some(link) = &writing.link else { continue };
            let begun = Instant::now();
            match act(Arc::clone(link)).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Refused(SqlState::LOCK_NOT_AVAILABLE)) => return Err(self.kept_away()),
                Err(Failure::Refused(code)) if is_conflict(&code) && Instant::now() < until => {}
                Err(Failure::Refused(code)) => return Err(self.unreachable(&reasons::of_statement(&code))),
                Err(Failure::Lost(why)) => {
                    self.pulse.failed(begun);
                    self.connector.turn_away(link);
                    writing.link = None;
                    if Instant::now() >= until {
                        return Err(self.unreachable(&why));
                    }
                }
            }
        }
    }

    /// Shows that something can be written. Whether it succeeds or not, the chain is unchanged.
    pub(super) async fn probe(&self) -> Result<Result<(), Failure>, StoreError> {
        // The task that holds the lock waits for the same server.
        let Ok(mut writing) = self.writing.try_lock() else { return Ok(Err(Failure::Lost("it is busy".to_owned()))) };
        let lease = self.lease(&mut writing, self.pulse.until()).await?;
        let Some(link) = &writing.link else { return Ok(Err(Failure::Lost("there is no connection".to_owned()))) };
        let steps = [flight::alive(&lease)];
        let asked = Instant::now();
        Ok(match link.flight(BEGIN, &steps).await {
            Ok(found) => {
                self.pulse.acknowledged();
                if let Some(row) = found.first().and_then(|rows| rows.first()) {
                    let time = Timestamp::from_micros(column(row, 1));
                    self.pulse.read_clock(ServerClock::between(time, asked, Instant::now()));
                }
                Ok(())
            }
            Err(Failure::Refused(SqlState::DIVISION_BY_ZERO)) => {
                writing.lease = None;
                Err(Failure::Lost("another process took the audit chain of this one".to_owned()))
            }
            Err(Failure::Refused(code)) => Err(Failure::Refused(code)),
            Err(Failure::Lost(why)) => {
                self.pulse.failed(asked);
                self.connector.turn_away(link);
                writing.link = None;
                Err(Failure::Lost(why))
            }
        })
    }
}

/// Whether the server undid a transaction because of another one, or because a guard did not hold.
fn is_conflict(code: &SqlState) -> bool {
    let conflicts = [
        SqlState::DIVISION_BY_ZERO,
        SqlState::UNIQUE_VIOLATION,
        SqlState::FOREIGN_KEY_VIOLATION,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
    ];
    conflicts.contains(code)
}

fn refuse_long(commit: &Commit) -> Result<(), StoreError> {
    let puts = commit.changes.iter().flat_map(|change| &change.put).map(|put| put.record.key.id.len());
    let removals = commit.changes.iter().flat_map(|change| &change.remove).map(|removal| match removal {
        Removal::One(key) => key.id.len(),
        Removal::Prefix(_, prefix) => prefix.len(),
    });
    if puts.chain(removals).any(|length| length > ID_BYTES_MAX) {
        return Err(StoreError::Unavailable("a record's id is too long to be kept".to_owned()));
    }
    Ok(())
}
