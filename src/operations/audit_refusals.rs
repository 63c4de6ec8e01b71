//! Writes refusals to the audit log without letting callers fill the disk: the first hundred a minute from one source
//! get a row each, the rest are counted in one row. Each caller is a source, and so is each address without a valid
//! credential, so a flood from one does not hide the others' refusals.

use std::{collections::HashMap, net::IpAddr, panic::AssertUnwindSafe, sync::Mutex};

use futures::{FutureExt as _, future::BoxFuture};

use super::{ErrorCode, Failed, Refusal, Service};
use crate::domain::{
    audit::{Action, Actor, AuditEntry, Outcome},
    ids::{AccountId, SeatId},
    limits::REFUSALS_PER_MINUTE_MAX,
    time::Timestamp,
};

/// The most sources counted at once. Beyond it, all others share one count.
const SOURCES_MAX: usize = 10_000;
/// Rows a minute for all sources without a valid credential: ten addresses' worth. More addresses get no more rows.
const STRANGERS_ROWS_MAX: u32 = 10 * REFUSALS_PER_MINUTE_MAX;

/// The source of a refusal, by which rows are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// A caller. Logins are distinguished by their seats, because they have no key.
    Caller(Option<AccountId>, Actor, Option<SeatId>),
    /// A client without a valid credential, by its address if that is known.
    Stranger(Option<IpAddr>),
}

/// The refusals of the current minute.
#[derive(Default)]
pub(super) struct AuditRefusals {
    minute: Mutex<Minute>,
}

#[derive(Default)]
struct Minute {
    number: i64,
    counts: HashMap<Source, Count>,
    /// The number of rows for strangers.
    strangers: u32,
}

/// The refusals of one source.
#[derive(Default)]
struct Count {
    rows: u32,
    left_out: u64,
}

impl Source {
    fn of(entry: &AuditEntry, from: Option<IpAddr>) -> Self {
        match (entry.actor, entry.seat) {
            // A login without a seat counts as a stranger.
            (Actor::Unknown, _) | (Actor::Login, None) => Self::Stranger(from),
            (Actor::Login, seat) => Self::Caller(entry.account, entry.actor, seat),
            // A caller could choose any `seat_id` to get a new share, so ignore the seat.
            (
                Actor::Person
                | Actor::Stdio
                | Actor::Key(_)
                | Actor::Token(_)
                | Actor::Hook
                | Actor::Page
                | Actor::System,
                _,
            ) => Self::Caller(entry.account, entry.actor, None),
        }
    }
}

impl AuditRefusals {
    /// Counts one refusal, of a stranger at this address. Returns whether it gets a row, and the counter rows of the
    /// minute that has ended.
    fn count(&self, entry: &AuditEntry, from: Option<IpAddr>) -> (bool, Vec<AuditEntry>) {
        let Ok(mut minute) = self.minute.lock() else { return (true, Vec::new()) };
        let number = entry.at.seconds().div_euclid(60);
        let ended = if minute.number == number { Vec::new() } else { minute.end(number, entry.at) };
        (minute.take_row(Source::of(entry, from)), ended)
    }
}

impl Minute {
    /// Whether a refusal of this source gets a row.
    fn take_row(&mut self, source: Source) -> bool {
        let is_stranger = matches!(source, Source::Stranger(_));
        // Strangers must not use up the capacity for callers.
        let none_left = is_stranger && self.strangers >= STRANGERS_ROWS_MAX;
        let known = self.counts.contains_key(&source) || !none_left && self.counts.len() < SOURCES_MAX;
        let count = self.counts.entry(if known { source } else { Source::Stranger(None) }).or_default();
        if none_left || count.rows >= REFUSALS_PER_MINUTE_MAX {
            count.left_out += 1;
            return false;
        }
        count.rows += 1;
        self.strangers += u32::from(is_stranger);
        true
    }

    /// Starts a new minute, and returns the rows that count the refusals without rows of their own: one for each
    /// caller, and one for all strangers.
    fn end(&mut self, number: i64, at: Timestamp) -> Vec<AuditEntry> {
        (self.number, self.strangers) = (number, 0);
        let mut left_out: HashMap<Source, u64> = HashMap::new();
        for (source, count) in self.counts.drain().filter(|(_, count)| count.left_out > 0) {
            let source = if let Source::Stranger(_) = source { Source::Stranger(None) } else { source };
            *left_out.entry(source).or_default() += count.left_out;
        }
        let rows = left_out.into_iter().map(|(source, count)| {
            let (account, actor, seat) = match source {
                Source::Caller(account, actor, seat) => (account, actor, seat),
                Source::Stranger(_) => (None, Actor::Unknown, None),
            };
            let entry = AuditEntry::by(actor, Action::Call, at);
            AuditEntry { account, seat, outcome: Outcome::RateLimited, count: Some(count), ..entry }
        });
        rows.collect()
    }
}

impl Service {
    /// Counts a refusal, writes it to the audit log and returns it. If the row can't be written, the refusal stands,
    /// because it reveals nothing.
    ///
    /// The future is boxed so that the futures of other calls reserve no room for it.
    pub(super) fn refuse(&self, refusal: Refusal, entry: AuditEntry) -> BoxFuture<'_, Refusal> {
        self.refuse_from(refusal, entry, None)
    }

    /// As [`Self::refuse`], for a client at this address without a valid credential.
    pub(super) fn refuse_from(
        &self,
        refusal: Refusal,
        entry: AuditEntry,
        from: Option<IpAddr>,
    ) -> BoxFuture<'_, Refusal> {
        Box::pin(async move {
            if let Some(limit) = refusal.limit() {
                self.shared.counters.limited(limit);
            }
            // A vault that can't be written takes no row either, and the caller must not wait twice.
            if matches!(refusal, Refusal::Unavailable { .. } | Refusal::OutcomeUnknown) {
                self.count_refusal(refusal.code());
            } else {
                self.note_refusal(refusal.code(), entry, from).await;
            }
            refusal
        })
    }

    /// Counts a transport's own refusal of a client at this address, and writes it to the audit log.
    pub async fn record_own(&self, code: ErrorCode, entry: AuditEntry, from: Option<IpAddr>) {
        self.note_refusal(code, entry, from).await;
    }

    /// Does the work of a page for people. As at the door, a refusal is counted and written to the audit log, with this
    /// row and for a visitor at this address, and a panic becomes an answer.
    pub(super) fn on_page<'a, T: Send + 'a>(
        &'a self,
        (row, from): (AuditEntry, Option<IpAddr>),
        work: impl Future<Output = Result<T, Failed>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Refusal>> {
        Box::pin(async move {
            let done = AssertUnwindSafe(work).catch_unwind().await;
            match done.unwrap_or_else(|_panic| Err(self.panicked("the page").into())) {
                Ok(done) => Ok(done),
                Err(failed) => {
                    let refusal = self.refusal_of(failed);
                    Err(self.refuse_from(refusal, AuditEntry { at: self.now(), ..row }, from).await)
                }
            }
        })
    }

    async fn note_refusal(&self, code: ErrorCode, entry: AuditEntry, from: Option<IpAddr>) {
        self.count_refusal(code);
        let entry = AuditEntry { outcome: code.outcome(), ..entry };
        let (kept, mut rows) = self.shared.audit_refusals.count(&entry, from);
        rows.extend(kept.then_some(entry));
        self.write_rows(rows).await;
    }

    /// Writes the outstanding counter rows before the process ends.
    pub(super) async fn write_refusal_counts(&self) {
        let now = self.now();
        let rows =
            self.shared.audit_refusals.minute.lock().map(|mut minute| minute.end(i64::MIN, now)).unwrap_or_default();
        self.write_rows(rows).await;
    }

    async fn write_rows(&self, rows: Vec<AuditEntry>) {
        if let Err(cause) = self.vault().record(rows).await {
            tracing::error!(%cause, "a refusal could not be written to the audit log");
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn entry(actor: Actor, seat: Option<u128>) -> AuditEntry {
        let account = Some(AccountId::new(Uuid::from_u128(1)));
        let seat = seat.map(|seat| SeatId::new(Uuid::from_u128(seat)));
        AuditEntry { account, seat, ..AuditEntry::by(actor, Action::Call, Timestamp::from_seconds(60)) }
    }

    /// The number of rows for `count` refusals.
    fn rows(refusals: &AuditRefusals, entry: &AuditEntry, from: Option<IpAddr>, count: usize) -> usize {
        (0..count).filter(|_| refusals.count(entry, from).0).count()
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn logins_for_different_seats_have_rows_of_their_own_and_a_key_has_not_for_each_seat_it_names() {
        let refusals = AuditRefusals::default();
        let key = Actor::Key("0123456789AB".parse().unwrap());

        let logins = [1, 2].map(|seat| rows(&refusals, &entry(Actor::Login, Some(seat)), None, 150));
        let keys = [1, 2].map(|seat| rows(&refusals, &entry(key, Some(seat)), None, 150));

        assert_eq!((logins, keys), ([100, 100], [100, 0]));

        let later = AuditEntry { at: Timestamp::from_seconds(120), ..entry(key, None) };
        let (_, ended) = refusals.count(&later, None);
        let mut counted: Vec<_> = ended.iter().map(|row| (row.seat, row.actor, row.count)).collect();
        counted.sort_by_key(|row| row.0);
        let of = |seat, actor, count| (entry(actor, seat).seat, actor, Some(count));
        assert_eq!(counted, [of(None, key, 200), of(Some(1), Actor::Login, 50), of(Some(2), Actor::Login, 50)]);
        assert!(ended.iter().all(|row| row.account == later.account && row.outcome == Outcome::RateLimited));
    }

    #[test]
    fn callers_beyond_the_limit_share_one_count() {
        let refusals = AuditRefusals::default();
        let callers = u128::try_from(SOURCES_MAX).unwrap() + 150;

        let with_rows = (0..callers).filter(|seat| rows(&refusals, &entry(Actor::Login, Some(*seat)), None, 1) == 1);

        assert_eq!(with_rows.count(), SOURCES_MAX + 100);
        assert_eq!(refusals.minute.lock().unwrap().counts.len(), SOURCES_MAX + 1);
    }

    #[test]
    fn one_strangers_flood_hides_no_other_strangers_refusals_and_many_fill_no_disk() {
        let refusals = AuditRefusals::default();
        let unknown = entry(Actor::Unknown, None);

        assert_eq!(rows(&refusals, &unknown, Some(address(1)), 10_000), 100);
        assert_eq!(
            rows(&refusals, &entry(Actor::Login, None), Some(address(1)), 1),
            0,
            "a login without a seat is a stranger"
        );
        assert_eq!(rows(&refusals, &unknown, Some(address(2)), 5), 5);
        let many: usize = (3..=255).map(|last| rows(&refusals, &unknown, Some(address(last)), 200)).sum();
        assert_eq!(many, 1000 - 105);
        assert_eq!(rows(&refusals, &entry(Actor::Login, Some(1)), None, 5), 5, "callers have their own");

        let later = AuditEntry { at: Timestamp::from_seconds(120), ..unknown };
        let (kept, ended) = refusals.count(&later, Some(address(1)));
        assert!(kept);
        let counted: Vec<_> = ended.iter().map(|row| (row.actor, row.count)).collect();
        assert_eq!(counted, [(Actor::Unknown, Some(9_900 + 1 + 253 * 200 - 895))]);
    }
}
