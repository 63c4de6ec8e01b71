//! Refusals on the trail, without letting anybody fill the disk with them: the first hundred a minute from one source
//! get a row each, the rest are counted and become one row.

use std::{collections::HashMap, sync::Mutex};

use futures::future::BoxFuture;

use super::{Refusal, Service};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        ids::AccountId,
        limits::REFUSALS_PER_MINUTE_MAX,
        principal::Principal,
        time::Timestamp,
    },
    store::StoreError,
};

/// Sources that are counted at once. Beyond it the rest share one count.
const SOURCES_MAX: usize = 10_000;

type Source = (Option<AccountId>, Actor);

/// What was refused in the current minute.
#[derive(Default)]
pub(super) struct Refusals {
    minute: Mutex<Minute>,
}

#[derive(Default)]
struct Minute {
    number: i64,
    counts: HashMap<Source, u32>,
}

impl Refusals {
    /// Counts one refusal. Returns whether it gets a row, and the counter rows of the minute that has ended.
    pub(super) fn count(&self, entry: &AuditEntry) -> (bool, Vec<AuditEntry>) {
        let Ok(mut minute) = self.minute.lock() else { return (true, Vec::new()) };
        let number = entry.at.seconds().div_euclid(60);
        let ended = if minute.number == number { Vec::new() } else { minute.end(number, entry.at) };
        let source = match (entry.account, entry.actor) {
            source if minute.counts.contains_key(&source) || minute.counts.len() < SOURCES_MAX => source,
            _ => (None, Actor::Unknown),
        };
        let count = minute.counts.entry(source).or_default();
        *count = count.saturating_add(1);
        (*count <= REFUSALS_PER_MINUTE_MAX, ended)
    }
}

impl Minute {
    /// Starts another minute; the rows that say how many refusals of this one have no row of their own.
    fn end(&mut self, number: i64, at: Timestamp) -> Vec<AuditEntry> {
        self.number = number;
        let left_out = self.counts.drain().filter_map(|((account, actor), count)| {
            let count = count.checked_sub(REFUSALS_PER_MINUTE_MAX).filter(|count| *count > 0)?;
            let entry = AuditEntry::by(actor, Action::Call, at);
            let outcome = crate::domain::audit::Outcome::RateLimited;
            Some(AuditEntry { account, outcome, count: Some(u64::from(count)), ..entry })
        });
        left_out.collect()
    }
}

impl Service {
    /// Puts a refusal on the trail and hands it back. If the row can't be kept the refusal stands all the same: nothing
    /// is revealed by it.
    ///
    /// Boxed: nearly every step of a call may end in it, and those that don't must not keep room for it.
    pub(super) fn refuse(&self, refusal: Refusal, entry: AuditEntry) -> BoxFuture<'_, Refusal> {
        Box::pin(async move {
            self.parts.counters.refused(refusal.code());
            self.put_on_trail(&refusal, entry).await;
            refusal
        })
    }

    /// A call that the store could not carry out. That a record is damaged is a refusal like others, and on the trail; a
    /// store that is unavailable can't be written to.
    pub(super) fn refuse_failed(&self, cause: StoreError, entry: AuditEntry) -> BoxFuture<'_, Refusal> {
        Box::pin(async move {
            let refusal = self.failed(&cause);
            if matches!(cause, StoreError::Damaged { .. }) {
                self.put_on_trail(&refusal, entry).await;
            }
            refusal
        })
    }

    async fn put_on_trail(&self, refusal: &Refusal, entry: AuditEntry) {
        let entry = AuditEntry { outcome: refusal.code().outcome(), ..entry };
        let (kept, mut rows) = self.parts.refusals.count(&entry);
        if kept {
            rows.push(entry);
        }
        if !rows.is_empty()
            && let Err(cause) = self.store().record(rows).await
        {
            tracing::error!(%cause, "a refusal could not be put on the trail");
        }
    }

    /// Counts a refusal that a transport decided on: a bad argument, an unknown tool, a missing scope.
    pub fn note_refusal(&self, caller: &Principal, action: Action, refusal: Refusal) -> BoxFuture<'_, Refusal> {
        self.refuse(refusal, AuditEntry::of(caller, action, self.now()))
    }

    /// Writes the counter rows that are due, at the end of a process.
    pub(super) async fn flush_refusals(&self) {
        let now = self.now();
        let rows = match self.parts.refusals.minute.lock() {
            Ok(mut minute) => minute.end(i64::MIN, now),
            Err(_) => Vec::new(),
        };
        if !rows.is_empty()
            && let Err(cause) = self.store().record(rows).await
        {
            tracing::error!(%cause, "counted refusals could not be put on the trail");
        }
    }
}
