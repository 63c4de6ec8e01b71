//! Erases secrets that were deleted long enough ago, and outdated records, by a clock that can be trusted.

use std::time::Duration;

use super::{CHUNK, Outcome, Page, Vault, Versioned, audit_row, ledger::first, records::SealedMetadata};
use crate::{
    domain::{
        audit::{AuditEntry, Outcome as Ended},
        hourly::MINUTES_COUNTED,
        ids::SecretId,
        limits::{ENROLMENT_KEPT_SECONDS, IDEMPOTENCY_SECONDS},
        time::Timestamp,
    },
    store::{AuditQuery, Kind, Life, List, RecordKey, StoreError},
};

/// How far the clock may be ahead of the audit log; beyond it, nothing is erased.
const JUMP: Duration = Duration::from_hours(25);
/// How long the clock must have been right before anything is erased.
const SETTLED: Duration = Duration::from_hours(1);
/// Secrets erased in one commit.
const ERASED_AT_ONCE: usize = 100;

/// The outcome of the audit row for erasing that was held back.
const HELD_BACK: Ended = Ended::Unavailable;

/// The result of erasing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// The number of erased secrets.
    pub secrets: u64,
    /// Whether some due secrets were kept because the clock is far ahead of the audit log or has been right for less
    /// than an hour.
    pub clock_unsettled: bool,
}

impl Vault {
    /// Whether a seed is all that is left of a secret: its record is lost.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_orphan(&self, id: SecretId) -> Result<bool, StoreError> {
        let keys = [Kind::Secret, Kind::Seed].map(|kind| RecordKey::new(kind, id.as_bytes()));
        let found = self.store().read(&keys).await?;
        Ok(matches!(found.as_slice(), [None, Some(_)]))
    }

    /// Erases every secret that was deleted before a time, with an audit row for each like `entry`, and outdated
    /// counts, registrations, enrolments, tokens and sessions. Damaged secrets stay: otherwise an attacker who can
    /// write the store could have any secret erased.
    ///
    /// Nothing is erased while the clock can't be trusted. Then an audit row holds the number of due secrets. An hour
    /// later that row proves what the clock showed, even in a vault where nothing else happens.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erase_deleted(&self, before: Timestamp, entry: &AuditEntry) -> Result<Erased, StoreError> {
        let now = entry.at;
        let list = List { life: Some(Life::Deleted), ..List::of(Kind::Secret, None, CHUNK) };
        let mut due: Vec<Versioned<SealedMetadata>> = self.listed(list, Page::ALL).await?.sound;
        due.retain(|kept| kept.deleted_at.is_some_and(|at| at < before));
        if self.is_clock_settled(now).await? {
            let erased = Erased { secrets: self.erase(&due, entry).await?, clock_unsettled: false };
            self.sweep(now).await?;
            return Ok(erased);
        }
        let witness = self.held_back_at(entry).await?;
        let is_old = witness.is_some_and(|at| at.until(now) >= SETTLED);
        // A secret must be due by the earlier clock as well: a single start with a clock that is ahead erases nothing.
        let witnessed = witness.filter(|_| is_old).map(|at| before.minus(at.until(now)));
        let (sure, held): (Vec<_>, Vec<_>) = due
            .into_iter()
            .partition(|kept| witnessed.is_some_and(|before| kept.deleted_at.is_some_and(|at| at < before)));
        let erased = Erased { secrets: self.erase(&sure, entry).await?, clock_unsettled: !held.is_empty() };
        if !held.is_empty() && (witness.is_none() || is_old) {
            let count = Some(held.len() as u64);
            self.record(vec![AuditEntry { outcome: HELD_BACK, count, ..entry.clone() }]).await?;
        }
        Ok(erased)
    }

    /// Erases secrets, with an audit row for each.
    async fn erase(&self, due: &[Versioned<SealedMetadata>], entry: &AuditEntry) -> Result<u64, StoreError> {
        let mut erased = 0;
        for batch in due.chunks(ERASED_AT_ONCE) {
            let draft = batch.iter().fold(self.silent_draft(), |draft, kept| {
                let (account, secret) = (Some(kept.account), Some(kept.id));
                draft.unchanged(kept).erase_secret(kept.id).entry(AuditEntry { account, secret, ..entry.clone() })
            });
            // If another process has erased or restored one of them, the others are erased next time.
            if draft.commit().await? == Outcome::Done {
                erased += batch.len() as u64;
            }
        }
        Ok(erased)
    }

    /// Whether the audit log has a row that is at least an hour and at most [`JUMP`] old: one start with a clock that
    /// is days ahead must not erase what a person may still restore.
    async fn is_clock_settled(&self, now: Timestamp) -> Result<bool, StoreError> {
        let window = AuditQuery {
            since: Some(now.minus(JUMP)),
            until: Some(now.minus(SETTLED)),
            limit: 1,
            ..AuditQuery::default()
        };
        Ok(first(self.store(), window).await?.is_some())
    }

    /// The clock's time when erasing was last held back, if nothing was erased since. A time in the future was wrong
    /// and is ignored.
    async fn held_back_at(&self, entry: &AuditEntry) -> Result<Option<Timestamp>, StoreError> {
        let action = Some(entry.action.as_str().into());
        let newest = AuditQuery { action, newest: true, limit: 1, ..AuditQuery::default() };
        let row = first(self.store(), newest).await?;
        let last = row.and_then(|record| audit_row::decode(&record.body)).map(|(_, entry)| entry);
        Ok(last.filter(|last| last.outcome == HELD_BACK && last.at <= entry.at).map(|last| last.at))
    }

    /// Removes outdated counts, registrations, enrolments and tokens, and ends idle sessions.
    async fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        let hours = Duration::from_secs(MINUTES_COUNTED.unsigned_abs() * 120);
        let day = Duration::from_secs(IDEMPOTENCY_SECONDS.unsigned_abs());
        let ended = Duration::from_secs(ENROLMENT_KEPT_SECONDS);
        let outdated =
            [(Kind::Count, hours), (Kind::Idempotency, day), (Kind::Enrolment, ended), (Kind::Token, Duration::ZERO)];
        for (kind, age) in outdated {
            self.remove_before(kind, now.minus(age)).await?;
        }
        // Sessions of a vault on a server end sooner. A file holds only those that a copy of such a vault has brought
        // along.
        self.end_idle_sessions(now.minus(day), now.minus(day)).await
    }

    /// Removes the records of a kind that are sorted before a time.
    pub(super) async fn remove_before(&self, kind: Kind, time: Timestamp) -> Result<(), StoreError> {
        let mut list = List { before_sort: Some(time.micros()), ..List::of(kind, None, CHUNK) };
        while let Some(old) = self.next_chunk(&mut list).await? {
            let old: Vec<_> = old.into_iter().map(|record| Versioned { value: (), record }).collect();
            for batch in old.chunks(ERASED_AT_ONCE) {
                // Stale: one of the records is in use again. The others are removed next time.
                self.removal(batch).commit().await?;
            }
        }
        Ok(())
    }
}
