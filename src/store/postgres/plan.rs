//! The conditions and changes of a commit, worked out before it is sent: all of them then go in one flight, and no lock
//! is held while a decision is made.
//!
//! The first attempt assumes that the stored versions are those that the changes expect; the flight checks that. If it
//! does not hold, the versions are read, and planning again with them shows which changes are stale.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use crate::{
    domain::ids::AccountId,
    store::{
        AuditPut, Change, Commit, Committed, Expect, Finders, Index, Kind, Prune, Put, Record, RecordKey, Removal, Tail,
    },
};

/// A name: its kind, account and text.
pub(super) type Name = (Kind, Option<AccountId>, [u8; 32]);

/// The stored state that a commit mentions.
#[derive(Debug, Default)]
pub(super) struct CurrentState {
    /// Versions of the records that exist.
    pub(super) versions: BTreeMap<RecordKey, u64>,
    /// The id of the record that has a name.
    pub(super) names: BTreeMap<Name, Vec<u8>>,
    /// Kinds of which an account has records.
    pub(super) occupied: BTreeSet<(Kind, AccountId)>,
    /// The end of the commit's chain.
    pub(super) tail: Option<Tail>,
}

/// A condition on a record that the commit does not replace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It has this version.
    Version(u64),
    /// It exists.
    Exists,
    /// It does not exist.
    Absent,
}

/// A record as the changes so far leave it.
#[derive(Debug, Default)]
struct Now<'a> {
    /// The first condition on the stored record.
    base: Option<Condition>,
    /// Its state after the changes so far; `None`: as stored.
    state: Option<Condition>,
    /// Whether the stored record is removed.
    removed: bool,
    written: Option<&'a Record>,
    finders: Option<&'a Finders>,
}

/// The work of a commit.
#[derive(Default)]
pub(super) struct Plan<'a> {
    /// Records that are replaced or removed, with the versions that they must have.
    pub(super) locked: Vec<(&'a RecordKey, u64)>,
    /// Records that stay as they are, with the conditions that they must meet.
    pub(super) held: Vec<(&'a RecordKey, Condition)>,
    /// Kinds of which an account must have no record.
    pub(super) none_in: Vec<(Kind, AccountId)>,
    /// Records to remove.
    pub(super) removed: Vec<&'a RecordKey>,
    /// Ranges of records to remove: a kind and the beginning of the ids.
    pub(super) prefixes: Vec<(Kind, &'a [u8])>,
    /// New records.
    pub(super) inserted: Vec<&'a Record>,
    /// Records that replace others.
    pub(super) updated: Vec<&'a Record>,
    /// New index entries.
    pub(super) indexed: Vec<(&'a Record, &'a Finders)>,
    /// Parts of the audit log to remove.
    pub(super) pruned: Vec<Prune>,
    /// Rows of the audit log to add.
    pub(super) rows: Vec<&'a AuditPut>,
    /// The changes that can't be made.
    pub(super) stale: Vec<usize>,
    /// Changes whose names are taken, whether or not the other changes are made.
    pub(super) taken: Vec<usize>,
}

impl<'a> Plan<'a> {
    /// Plans a commit, from the known stored state or by assuming that its expectations hold.
    pub(super) fn of(commit: &'a Commit, known: Option<&CurrentState>) -> Self {
        let names = known.map(|known| known.names.clone()).unwrap_or_default();
        let mut worked =
            Working { known, now: BTreeMap::new(), names, touched: BTreeSet::new(), plan: Self::default() };
        let mut refused = BTreeSet::new();
        for (number, change) in commit.changes.iter().enumerate() {
            match worked.change(change) {
                Fits::Yes => continue,
                Fits::Stale => worked.plan.stale.push(number),
                // A name that only a refused change has put is free.
                Fits::Taken(by) if refused.contains(&by) => {}
                Fits::Taken(_) => worked.plan.taken.push(number),
            }
            refused.extend(change.put.iter().map(|put| put.record.key.clone()));
        }
        worked.finished()
    }

    /// Whether every change can be made, as far as is known.
    pub(super) fn fits(&self) -> bool {
        self.stale.is_empty() && self.taken.is_empty()
    }

    /// How the commit ends if it can't be made; `None`: it can.
    pub(super) fn refusal(self) -> Option<Committed> {
        match (self.stale.is_empty(), self.taken.is_empty()) {
            (false, _) => Some(Committed::Stale { changes: self.stale }),
            (true, false) => Some(Committed::Taken { changes: self.taken }),
            (true, true) => None,
        }
    }
}

enum Fits {
    Yes,
    Stale,
    /// This record has the name.
    Taken(RecordKey),
}

struct Working<'a, 'k> {
    known: Option<&'k CurrentState>,
    now: BTreeMap<&'a RecordKey, Now<'a>>,
    names: BTreeMap<Name, Vec<u8>>,
    /// The kinds of an account of which something was put, and the kinds of which something was removed.
    touched: BTreeSet<(Kind, Option<AccountId>)>,
    plan: Plan<'a>,
}

impl<'a> Working<'a, '_> {
    fn change(&mut self, change: &'a Change) -> Fits {
        if !change.expect.iter().all(|expect| self.expect(expect)) {
            return Fits::Stale;
        }
        for removal in &change.remove {
            self.remove(removal);
        }
        for put in &change.put {
            match self.put(put) {
                Fits::Yes => {}
                fits @ (Fits::Stale | Fits::Taken(_)) => return fits,
            }
        }
        self.plan.pruned.extend(change.prune);
        self.plan.rows.extend(&change.audit);
        Fits::Yes
    }

    /// The entry of a record's state, to read and change it.
    fn record(&mut self, key: &'a RecordKey) -> &mut Now<'a> {
        let is_in = |(kind, prefix): &(Kind, &[u8])| *kind == key.kind && key.id.starts_with(prefix);
        let removed = self.plan.prefixes.iter().any(is_in);
        let state = match self.known {
            _ if removed => Some(Condition::Absent),
            Some(known) => {
                Some(known.versions.get(key).map_or(Condition::Absent, |version| Condition::Version(*version)))
            }
            None => None,
        };
        self.now.entry(key).or_insert(Now { state, removed, ..Now::default() })
    }

    fn expect(&mut self, expect: &'a Expect) -> bool {
        let (key, wanted) = match expect {
            Expect::Version(key, version) => (key, Condition::Version(*version)),
            Expect::Absent(key) => (key, Condition::Absent),
            Expect::Exists(key) => (key, Condition::Exists),
            Expect::NoneIn(kind, account) => {
                self.plan.none_in.push((*kind, *account));
                let occupied = self.known.is_some_and(|known| known.occupied.contains(&(*kind, *account)));
                // A change before this one may have added or removed one: then the caller decides again.
                let touched = [Some(*account), None].iter().any(|of| self.touched.contains(&(*kind, *of)));
                return !occupied && !touched;
            }
        };
        self.is(key, wanted)
    }

    /// Whether a record is as wanted. If nothing is known about the record, the condition is assumed to hold, and the
    /// flight checks it.
    fn is(&mut self, key: &'a RecordKey, wanted: Condition) -> bool {
        let now = self.record(key);
        match (now.state, wanted) {
            (None, _) | (Some(Condition::Exists), Condition::Version(_)) => {
                (now.base, now.state) = (Some(wanted), Some(wanted));
                true
            }
            (Some(Condition::Version(_) | Condition::Exists), Condition::Exists)
            | (Some(Condition::Absent), Condition::Absent) => {
                now.base = now.base.or_else(|| (!now.removed && now.written.is_none()).then_some(wanted));
                true
            }
            (Some(Condition::Version(version)), Condition::Version(wanted)) if version == wanted => {
                now.base =
                    now.base.or_else(|| (!now.removed && now.written.is_none()).then_some(Condition::Version(wanted)));
                true
            }
            (Some(_), _) => false,
        }
    }

    fn remove(&mut self, removal: &'a Removal) {
        match removal {
            Removal::One(key) => {
                let now = self.record(key);
                now.removed = true;
                (now.state, now.written, now.finders) = (Some(Condition::Absent), None, None);
                self.plan.removed.push(key);
                self.touched.insert((key.kind, None));
                self.names.retain(|(kind, ..), id| *kind != key.kind || *id != key.id);
            }
            Removal::Prefix(kind, prefix) => {
                let of = |key: &RecordKey| key.kind == *kind && key.id.starts_with(prefix);
                for (_, now) in self.now.iter_mut().filter(|(key, _)| of(key)) {
                    now.removed = true;
                    (now.state, now.written, now.finders) = (Some(Condition::Absent), None, None);
                }
                self.plan.prefixes.push((*kind, prefix));
                self.touched.insert((*kind, None));
                self.names.retain(|(named, ..), id| named != kind || !id.starts_with(prefix));
            }
        }
    }

    fn put(&mut self, Put { record, index }: &'a Put) -> Fits {
        let before = match record.version {
            0 => return Fits::Stale,
            1 => Condition::Absent,
            version => Condition::Version(version - 1),
        };
        if !self.is(&record.key, before) {
            return Fits::Stale;
        }
        let now = self.record(&record.key);
        (now.state, now.written) = (Some(Condition::Version(record.version)), Some(record));
        self.touched.insert((record.key.kind, record.account));
        let Index::Replace(finders) = index else { return Fits::Yes };
        self.record(&record.key).finders = Some(finders);
        self.names.retain(|(kind, ..), id| *kind != record.key.kind || *id != record.key.id);
        for name in &finders.names {
            match self.names.entry((record.key.kind, record.account, *name)) {
                Entry::Occupied(by) => return Fits::Taken(RecordKey::new(record.key.kind, by.get().clone())),
                Entry::Vacant(free) => drop(free.insert(record.key.id.clone())),
            }
        }
        Fits::Yes
    }

    fn finished(self) -> Plan<'a> {
        let mut plan = self.plan;
        for (key, now) in self.now {
            if let Some((record, finders)) = now.written.zip(now.finders) {
                plan.indexed.push((record, finders));
            }
            match (now.written, now.base) {
                (Some(record), Some(Condition::Version(_))) if !now.removed => plan.updated.push(record),
                (Some(record), _) => plan.inserted.push(record),
                (None, _) => {}
            }
            match now.base {
                Some(Condition::Version(version)) if now.removed || now.written.is_some() => {
                    plan.locked.push((key, version));
                }
                // The primary key refuses a second record.
                Some(Condition::Absent) if now.written.is_some() && !now.removed => {}
                Some(held) => plan.held.push((key, held)),
                None => {}
            }
        }
        plan
    }
}
