//! Erasing for good what was deleted long enough ago, by a clock that can be trusted.

use std::time::Duration;

use super::{CHUNK, Draft, Kept, Outcome, Page, Vault, ledger::first, records::SealedMetadata};
use crate::{
    domain::{audit::AuditEntry, hourly::MINUTES_COUNTED, limits::IDEMPOTENCY_SECONDS, time::Timestamp},
    store::{AuditQuery, Kind, Life, List, StoreError},
};

/// How far the clock may be ahead of the audit log before nothing is erased.
const JUMP: Duration = Duration::from_hours(25);
/// For how long it must have been right before something is erased.
const SETTLED: Duration = Duration::from_hours(1);
/// Secrets that are erased in one commit.
const ERASED_AT_ONCE: usize = 100;

/// What erasing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erased {
    /// Secrets that are gone.
    pub secrets: u64,
    /// Nothing was erased, since the clock is far ahead of the audit log or has been right for less than an hour.
    pub clock_unsettled: bool,
}

impl Vault {
    /// Erases every secret that was deleted before a time, with a row for each like `entry`, and what no longer counts of
    /// codes and registrations. Damaged secrets stay: whoever can write the store could otherwise have any erased.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erase_deleted(&self, before: Timestamp, entry: &AuditEntry) -> Result<Erased, StoreError> {
        if !self.is_clock_settled(entry.at).await? {
            return Ok(Erased { secrets: 0, clock_unsettled: true });
        }
        let list = List { life: Some(Life::Deleted), ..List::of(Kind::Secret, None, CHUNK) };
        let mut due: Vec<Kept<SealedMetadata>> = self.listed(list, Page::ALL).await?.sound;
        due.retain(|kept| kept.deleted_at.is_some_and(|at| at < before));
        let mut erased = Erased::default();
        for batch in due.chunks(ERASED_AT_ONCE) {
            let draft = batch.iter().fold(self.silent_draft(), |draft, kept| {
                let (account, secret) = (Some(kept.account), Some(kept.id));
                draft.keep(kept).erase_secret(kept.id).entry(AuditEntry { account, secret, ..entry.clone() })
            });
            // Somebody else has erased or restored one of them: the others go the next time.
            if draft.commit().await? == Outcome::Done {
                erased.secrets += batch.len() as u64;
            }
        }
        self.sweep(entry.at).await?;
        Ok(erased)
    }

    /// Whether the clock stands where the audit log says it stood an hour ago at least: one start with a clock that is days
    /// ahead must not erase what a person may still restore.
    async fn is_clock_settled(&self, now: Timestamp) -> Result<bool, StoreError> {
        let window = AuditQuery {
            since: Some(now.minus(JUMP)),
            until: Some(now.minus(SETTLED)),
            limit: 1,
            ..AuditQuery::default()
        };
        Ok(first(self.store(), window).await?.is_some())
    }

    /// Removes counts and registrations that no longer count.
    async fn sweep(&self, now: Timestamp) -> Result<(), StoreError> {
        let hours = Duration::from_secs(MINUTES_COUNTED.unsigned_abs() * 120);
        let day = Duration::from_secs(IDEMPOTENCY_SECONDS.unsigned_abs());
        for (kind, age) in [(Kind::Count, hours), (Kind::Idempotency, day)] {
            let before_sort = Some(now.minus(age).micros());
            let old = self.store().list(&List { before_sort, ..List::of(kind, None, CHUNK) }).await?;
            if !old.is_empty() {
                let mut draft: Draft<'_> = self.silent_draft();
                draft.remove_all(old.into_iter().map(|record| record.key));
                draft.commit().await?;
            }
        }
        Ok(())
    }
}
