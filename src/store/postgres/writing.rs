//! The writing side: commits, the chain that this process holds, and what became of a commit whose answer was lost.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_postgres::error::SqlState;

use super::{
    flight::{self, BEGIN, LEASE, Lease},
    link::{Failure, Link, Step, Value},
    plan::Plan,
    reads::{self, column},
    store::{PATIENCE, READ_PATIENCE, Shared, refusal},
};
use crate::store::{Commit, Committed, ID_BYTES_MAX, Removal, StoreError, Tail};

/// How often a commit is tried while other writers are faster.
const TRIES: u32 = 5;

/// The writing connection, and the chain that this process writes.
#[derive(Default)]
pub(super) struct Writing {
    pub(super) link: Option<Arc<Link>>,
    pub(super) lease: Option<Lease>,
}

/// What became of a flight.
enum Flown {
    Done,
    /// A guard did not hold, or the server had to undo it: nothing happened.
    Refused,
}

impl Shared {
    pub(super) async fn commit(&self, commit: &Commit) -> Result<Committed, StoreError> {
        flight::check_rows(commit)?;
        refuse_long(commit)?;
        let mut writing = self.writing.lock().await;
        let until = Instant::now() + PATIENCE;
        let logs = commit.changes.iter().any(|change| !change.audit.is_empty());
        for _ in 0..TRIES {
            self.open()?;
            let plan = Plan::of(commit, None);
            if plan.fits() && matches!(self.fly(&mut writing, &plan, commit.tail.as_ref(), until).await?, Flown::Done) {
                return Ok(Committed::Done);
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

    /// Sends a flight, and finds out what became of it if its answer is lost.
    async fn fly(
        &self,
        writing: &mut Writing,
        plan: &Plan<'_>,
        tail: Option<&Tail>,
        until: Instant,
    ) -> Result<Flown, StoreError> {
        let lease = self.lease(writing, until).await?;
        let next = Lease { flight: lease.flight.wrapping_add(1), ..lease };
        let mut steps = vec![flight::leased(&next)];
        steps.extend(flight::steps(plan, tail)?);
        let Some(link) = &writing.link else { return Ok(Flown::Refused) };
        match link.flight(BEGIN, &steps).await {
            Ok(()) => {
                writing.lease = Some(next);
                Ok(Flown::Done)
            }
            Err(Failure::Refused(code)) if is_conflict(&code) => Ok(Flown::Refused),
            Err(Failure::Refused(code)) => Err(self.unreachable(&refusal(&code))),
            Err(Failure::Lost(why)) => {
                self.connector.turn_away(link);
                writing.link = None;
                if self.was_carried_out(writing, next, until, &why).await? {
                    Ok(Flown::Done)
                } else {
                    Ok(Flown::Refused)
                }
            }
        }
    }

    /// Whether a flight happened whose answer was lost.
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
        let sql = "UPDATE writer SET epoch = epoch + 1 WHERE chain = $1 AND epoch = $2 RETURNING epoch, flight";
        let step = Step::new(sql, vec![Value::Number(i64::from(sent.chain)), Value::Number(sent.epoch)]);
        writing.lease = None;
        loop {
            let link = self.connect(until).await.map_err(|_| unknown())?;
            let found = link.query(&step).await;
            let warned = link.is_warned();
            match found {
                Ok(rows) if !warned => {
                    // Another writer has the chain: whether it has happened can't be told any more.
                    let row = rows.first().ok_or_else(unknown)?;
                    let lease = Lease { chain: sent.chain, epoch: column(row, 0), flight: column(row, 1) };
                    writing.link = Some(Arc::new(link));
                    writing.lease = Some(lease);
                    return Ok(lease.flight == sent.flight);
                }
                // The epoch may have been moved without our knowing: then the next attempt finds no row.
                Ok(_) | Err(Failure::Lost(_)) => self.connector.turn_away(&link),
                Err(Failure::Refused(code)) if is_conflict(&code) => {}
                Err(Failure::Refused(_)) => return Err(unknown()),
            }
            if Instant::now() >= until {
                return Err(unknown());
            }
        }
    }

    /// The chain that this process writes: the one it has, one that nobody holds any more, or a new one.
    pub(super) async fn lease(&self, writing: &mut Writing, until: Instant) -> Result<Lease, StoreError> {
        if let Some(lease) = writing.lease.filter(|_| writing.link.as_ref().is_some_and(|link| !link.is_closed())) {
            return Ok(lease);
        }
        if let Some(lease) = writing.lease {
            // Nothing is under way, so the chain is still this writer's if its epoch is.
            writing.link = Some(Arc::new(self.connect(until).await?));
            return Ok(lease);
        }
        let free = "UPDATE writer SET epoch = epoch + 1, \
                    lease_until = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $1 \
                    WHERE chain = (SELECT chain FROM writer \
                    WHERE lease_until < (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
                    ORDER BY chain LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING chain, epoch, flight";
        let new = "INSERT INTO writer (chain, epoch, flight, lease_until) SELECT coalesce(max(chain) + 1, 0), 1, 0, \
                   (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + $1 FROM writer \
                   ON CONFLICT DO NOTHING RETURNING chain, epoch, flight";
        loop {
            for sql in [free, new] {
                let step = Step::new(sql, vec![Value::Number(LEASE)]);
                let step = &step;
                let rows = self.ask(writing, until, |link| async move { link.query(step).await }).await?;
                if let Some(row) = rows.first() {
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

    /// Asks something over the writing connection, which may be asked twice.
    async fn ask<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        writing: &mut Writing,
        until: Instant,
        act: impl Fn(Arc<Link>) -> F,
    ) -> Result<T, StoreError> {
        loop {
            if writing.link.as_ref().is_none_or(|link| link.is_closed()) {
                writing.link = Some(Arc::new(self.connect(until).await?));
            }
            let Some(link) = &writing.link else { continue };
            match act(Arc::clone(link)).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Refused(code)) if is_conflict(&code) && Instant::now() < until => {}
                Err(Failure::Refused(code)) => return Err(self.unreachable(&refusal(&code))),
                Err(Failure::Lost(why)) => {
                    writing.link = None;
                    if Instant::now() >= until {
                        return Err(self.unreachable(&why));
                    }
                }
            }
        }
    }

    pub(super) async fn probe(&self) -> Result<(), StoreError> {
        self.open()?;
        let mut writing = self.writing.lock().await;
        let lease = self.lease(&mut writing, Instant::now() + READ_PATIENCE).await?;
        let next = Lease { flight: lease.flight.wrapping_add(1), ..lease };
        let steps = [flight::leased(&next)];
        let Some(link) = &writing.link else { return Err(self.unreachable("there is no connection")) };
        match link.flight(BEGIN, &steps).await {
            Ok(()) => {
                writing.lease = Some(next);
                Ok(())
            }
            Err(Failure::Refused(code)) => {
                writing.lease = None;
                Err(self.unreachable(&refusal(&code)))
            }
            Err(Failure::Lost(why)) => {
                (writing.link, writing.lease) = (None, None);
                Err(self.unreachable(&why))
            }
        }
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
