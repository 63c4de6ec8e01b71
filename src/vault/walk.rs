//! A walk along a chain of the audit log across damaged rows: where it is sound, and which rows fences are to stand
//! for.

use super::{
    Vault,
    ledger::{BEFORE_ALL, End},
};
use crate::{
    domain::{audit::ChainHead, time::Timestamp},
    store::AuditRecord,
};

/// Follows a chain across damaged rows.
pub(super) struct Walk {
    base: ChainHead,
    /// The head that the vault recorded.
    pub(super) head: Option<ChainHead>,
    /// The end of the rows that are sound or fenced off.
    pub(super) end: End,
    /// The number of rows in the log: rows with numbers up to this many after the known end may belong to the chain.
    rows: u64,
    /// The last row that does not follow, if the one before did not either.
    lost: Option<ChainHead>,
    /// The last row that does not follow, among those whose number the chain may have reached.
    near: Option<ChainHead>,
    /// The number of rows after `near`, with numbers that the chain can't have reached. A fence up to them would use
    /// the chain's numbers up.
    pub(super) beyond: u64,
    /// The end before each fence, the last row that it stands for, and its time.
    pub(super) fences: Vec<(End, ChainHead, Timestamp)>,
    /// The number of rows at or below the base.
    pub(super) below: u64,
    /// Whether the row that the head names is another one.
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
                // A row's MAC covers the MAC of the row before it. If it is right, then so is that one, though the row
                // before is damaged.
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

    /// Adds a fence. Its time must not precede that of the row before it.
    fn fence(&mut self, upto: ChainHead, or: Timestamp) {
        let time = if self.end.at == BEFORE_ALL { or } else { self.end.at };
        self.fences.push((self.end, upto, time));
    }
}
