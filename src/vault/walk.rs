//! A walk along a chain of the audit log over what is damaged in it: where it is sound, and what fences are to stand for.

use super::{
    Vault,
    ledger::{BEFORE_ALL, End},
};
use crate::{
    domain::{audit::ChainHead, time::Timestamp},
    store::AuditRecord,
};

/// Follows a chain over what is damaged in it.
pub(super) struct Walk {
    base: ChainHead,
    /// What the vault recorded as the end.
    pub(super) head: Option<ChainHead>,
    /// The end of what is sound or fenced off.
    pub(super) end: End,
    /// How many rows there are: the end that is known may be so many rows further, if nothing else says where it is.
    rows: u64,
    /// The last row that does not follow, if the one before did not either.
    lost: Option<ChainHead>,
    /// The last one of those that may be the end.
    near: Option<ChainHead>,
    /// The number of rows after that, with numbers that the chain can't have reached. A fence up to them would use its numbers up.
    pub(super) beyond: u64,
    /// The end before each fence, the last row that it stands for, and its time.
    pub(super) fences: Vec<(End, ChainHead, Timestamp)>,
    /// The number of rows at or below the base.
    pub(super) below: u64,
    /// The row that the head names is another one.
    pub(super) is_fork: bool,
}

impl Walk {
    pub(super) fn of(base: ChainHead, head: Option<ChainHead>, rows: u64) -> Self {
        let (end, fences) = (End::of_base(&base), Vec::new());
        Self { base, head, end, rows, lost: None, near: None, beyond: 0, fences, below: 0, is_fork: false }
    }

    fn lose(&mut self, this: ChainHead) {
        self.lost = Some(this);
        let known = self.end.head().seq.max(self.head.map_or(0, |head| head.seq));
        if this.seq <= known.saturating_add(self.rows) {
            self.near = Some(this);
        } else {
            self.beyond += 1;
        }
    }

    pub(super) fn see(&mut self, vault: &Vault, record: &AuditRecord) {
        let this = ChainHead { chain: record.chain, seq: record.seq, mac: record.mac };
        if record.seq <= self.base.seq {
            self.below += 1;
            return;
        }
        match self.lost.take() {
            None if vault.keyring().follows(&mut self.end, record) => {
                self.is_fork |= self.head.is_some_and(|head| head.seq == this.seq && head != this);
            }
            None => self.lose(this),
            Some(last) => {
                // A row's MAC covers that of the row before it. If it is right, then so is that one, though what it is the
                // MAC of is damaged.
                let mut resumed = End::of_base(&last);
                if vault.keyring().follows(&mut resumed, record) {
                    self.fence(last, record.at);
                    self.end = resumed;
                    (self.near, self.beyond) = (None, 0);
                } else {
                    self.lose(this);
                }
            }
        }
    }

    pub(super) fn end(&mut self, now: Timestamp) {
        let known = self.head.filter(|head| head.seq > self.end.head().seq);
        let last = match (self.near, known) {
            (Some(last), Some(head)) if head.seq >= last.seq => Some(head),
            (Some(last), _) => Some(last),
            (None, head) => head,
        };
        if let Some(last) = last {
            self.fence(last, now);
            self.end = End::of_base(&last);
        }
    }

    /// Its time must not precede that of the row before it.
    fn fence(&mut self, upto: ChainHead, or: Timestamp) {
        let time = if self.end.at == BEFORE_ALL { or } else { self.end.at };
        self.fences.push((self.end, upto, time));
    }
}
