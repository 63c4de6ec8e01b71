//! Refusals in the audit log, without letting anybody fill the disk with them: the first hundred a minute from one source
//! get a row each, the rest are counted and become one row. A caller is a source, and so is each address of strangers: the
//! flood of one hides nobody else's.

use std::{collections::HashMap, net::IpAddr, sync::Mutex};

use futures::future::BoxFuture;

use super::{Refusal, Service};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry, Outcome},
        ids::{AccountId, SeatId},
        limits::REFUSALS_PER_MINUTE_MAX,
        principal::Principal,
        time::Timestamp,
    },
    store::StoreError,
};

/// Sources that are counted at once. Beyond it the rest share one count.
const SOURCES_MAX: usize = 10_000;
/// Rows a minute for all who are nobody's callers: ten addresses' worth. Whoever has more addresses fills no more with them.
const STRANGERS_ROWS_MAX: u32 = 10 * REFUSALS_PER_MINUTE_MAX;

/// Who was refused: whose share of the rows it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// A caller. Logins are told apart by their seats: they are nobody's key.
    Caller(Option<AccountId>, Actor, Option<SeatId>),
    /// Nobody's caller, at an address if that is known.
    Stranger(Option<IpAddr>),
}

/// What was refused in the current minute.
#[derive(Default)]
pub(super) struct Refusals {
    minute: Mutex<Minute>,
}

#[derive(Default)]
struct Minute {
    number: i64,
    counts: HashMap<Source, Count>,
    /// Rows that strangers were given.
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
            // A login without a seat is as good as none.
            (Actor::Unknown, _) | (Actor::Login, None) => Self::Stranger(from),
            (Actor::Login, seat) => Self::Caller(entry.account, entry.actor, seat),
            // The seat that a call names is the caller's to choose, and must not give it another share.
            (Actor::Person | Actor::Stdio | Actor::Key(_) | Actor::System, _) => {
                Self::Caller(entry.account, entry.actor, None)
            }
        }
    }
}

impl Refusals {
    /// Counts one refusal. Returns whether it gets a row, and the counter rows of the minute that has ended.
    pub(super) fn count(&self, entry: &AuditEntry) -> (bool, Vec<AuditEntry>) {
        self.count_from(entry, None)
    }

    /// Counts one refusal of whoever is at this address.
    fn count_from(&self, entry: &AuditEntry, from: Option<IpAddr>) -> (bool, Vec<AuditEntry>) {
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
        // Strangers without end must not take what callers are counted by.
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

    /// Starts another minute; the rows that say how many refusals of this one have no row of their own: one for each
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
    /// Puts a refusal on the trail and hands it back. If the row can't be kept the refusal stands all the same: nothing
    /// is revealed by it.
    ///
    /// Boxed: nearly every step of a call may end in it, and those that don't must not keep room for it.
    pub(super) fn refuse(&self, refusal: Refusal, entry: AuditEntry) -> BoxFuture<'_, Refusal> {
        Box::pin(async move {
            self.parts.counters.refused(refusal.code());
            self.put_on_trail(&refusal, entry, None).await;
            refusal
        })
    }

    /// The same for whoever could not prove to be a caller, at this address.
    pub(super) fn refuse_stranger(
        &self,
        refusal: Refusal,
        entry: AuditEntry,
        from: Option<IpAddr>,
    ) -> BoxFuture<'_, Refusal> {
        Box::pin(async move {
            self.parts.counters.refused(refusal.code());
            self.put_on_trail(&refusal, entry, from).await;
            refusal
        })
    }

    /// A call that the store could not carry out. That a record is damaged is a refusal like others, and on the trail; a
    /// store that is unavailable can't be written to.
    pub(super) fn refuse_failed(&self, cause: StoreError, entry: AuditEntry) -> BoxFuture<'_, Refusal> {
        Box::pin(async move {
            let refusal = self.failed(&cause);
            if matches!(cause, StoreError::Damaged { .. }) {
                self.put_on_trail(&refusal, entry, None).await;
            }
            refusal
        })
    }

    async fn put_on_trail(&self, refusal: &Refusal, entry: AuditEntry, from: Option<IpAddr>) {
        let entry = AuditEntry { outcome: refusal.code().outcome(), ..entry };
        let (kept, mut rows) = self.parts.refusals.count_from(&entry, from);
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn entry(actor: Actor, seat: Option<u128>) -> AuditEntry {
        let account = Some(AccountId::new(Uuid::from_u128(1)));
        let seat = seat.map(|seat| SeatId::new(Uuid::from_u128(seat)));
        AuditEntry { account, seat, ..AuditEntry::by(actor, Action::Call, Timestamp::from_seconds(60)) }
    }

    /// How many of so many refusals get a row.
    fn rows(refusals: &Refusals, entry: &AuditEntry, from: Option<IpAddr>, count: usize) -> usize {
        (0..count).filter(|_| refusals.count_from(entry, from).0).count()
    }

    /// As many, of strangers at an address.
    fn rows_at(refusals: &Refusals, last: u8, entry: &AuditEntry, count: usize) -> usize {
        rows(refusals, entry, Some(IpAddr::from([192, 0, 2, last])), count)
    }

    #[test]
    fn logins_for_different_seats_have_rows_of_their_own_and_a_key_has_not_for_each_seat_it_names() {
        let refusals = Refusals::default();
        let key = Actor::Key("0123456789AB".parse().unwrap());

        let logins = [1, 2].map(|seat| rows(&refusals, &entry(Actor::Login, Some(seat)), None, 150));
        let keys = [1, 2].map(|seat| rows(&refusals, &entry(key, Some(seat)), None, 150));

        assert_eq!((logins, keys), ([100, 100], [100, 0]));
    }

    #[test]
    fn one_strangers_flood_hides_no_other_strangers_refusals_and_many_fill_no_disk() {
        let refusals = Refusals::default();
        let unknown = entry(Actor::Unknown, None);

        assert_eq!(rows_at(&refusals, 1, &unknown, 10_000), 100);
        assert_eq!(rows_at(&refusals, 1, &entry(Actor::Login, None), 1), 0, "a login without a seat is a stranger");
        assert_eq!(rows_at(&refusals, 2, &unknown, 5), 5);
        let many: usize = (3..=255).map(|last| rows_at(&refusals, last, &unknown, 200)).sum();
        assert_eq!(many, 1000 - 105);
        assert_eq!(rows(&refusals, &entry(Actor::Login, Some(1)), None, 5), 5, "callers have their own");

        let later = AuditEntry { at: Timestamp::from_seconds(120), ..unknown };
        let (kept, ended) = refusals.count_from(&later, None);
        assert!(kept);
        let counted: Vec<_> = ended.iter().map(|row| (row.actor, row.count)).collect();
        assert_eq!(counted, [(Actor::Unknown, Some(9_900 + 1 + 253 * 200 - 895))]);
    }
}
