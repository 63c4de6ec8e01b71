//! Archives: rows of the audit log that were pruned, kept in a file outside the vault, where they can still be verified.
//!
//! A row is archived with its stored bytes, which its MAC covers, and each run of rows begins with the end of the chain
//! before it. So an archive is verified like the log itself, up to where the log now starts.

use std::{collections::BTreeMap, io};

use super::{
    Finding, Vault,
    ledger::{self, End, is_kept},
};
use crate::{
    domain::{
        audit::{AuditRow, ChainHead},
        time::Timestamp,
    },
    store::{AuditRecord, StoreError},
};

/// A row as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// The number of the row's chain.
    pub chain: u32,
    /// The row's number in its chain.
    pub seq: u64,
    /// The time under which it was stored, in microseconds.
    pub at: i64,
    /// The stored bytes.
    pub body: Vec<u8>,
    /// The row's MAC.
    pub mac: [u8; 32],
}

/// An entry of an archive, in the order of writing.
pub enum Archived<'a> {
    /// The following rows continue a chain from this head.
    From(ChainHead),
    /// A row, readable and as stored.
    Row(Box<AuditRow>, &'a StoredRow),
    /// The rows since the last `From` are complete. They are removed from the vault once this returns, so make them
    /// durable.
    Whole,
}

/// Writes to an archive.
pub type Archive<'a> = dyn FnMut(Archived<'_>) -> io::Result<()> + Send + 'a;

pub(super) fn write(archive: &mut Option<&mut Archive<'_>>, what: Archived<'_>) -> Result<(), StoreError> {
    let Some(archive) = archive else { return Ok(()) };
    archive(what).map_err(|cause| StoreError::Unavailable(format!("the archive can't be written ({cause})")))
}

pub(super) fn write_row(archive: &mut Option<&mut Archive<'_>>, record: &AuditRecord) -> Result<(), StoreError> {
    if archive.is_none() {
        return Ok(());
    }
    let AuditRecord { chain, seq, at, ref body, mac } = *record;
    let stored = StoredRow { chain, seq, at: at.micros(), body: body.clone(), mac };
    write(archive, Archived::Row(Box::new(ledger::read(record.clone())?), &stored))
}

/// Verifies an archive, line by line.
pub struct ArchiveCheck<'v> {
    vault: &'v Vault,
    ends: BTreeMap<u32, End>,
    rows: u64,
}

impl Vault {
    /// Begins to verify an archive.
    pub const fn check_archive(&self) -> ArchiveCheck<'_> {
        ArchiveCheck { vault: self, ends: BTreeMap::new(), rows: 0 }
    }
}

impl ArchiveCheck<'_> {
    /// Checks where a run of rows begins. The first run of a chain may begin anywhere; a later one continues it.
    ///
    /// # Errors
    /// [`Finding`].
    pub fn from(&mut self, head: ChainHead) -> Result<(), Finding> {
        match self.ends.get(&head.chain).map(End::head) {
            None => {
                self.ends.insert(head.chain, End::of_base(&head));
                Ok(())
            }
            Some(end) if head.seq > end.seq => Err(Finding::Gap(head.seq.saturating_add(1))),
            Some(end) if head.seq == end.seq && head != end => Err(Finding::Changed(head.seq)),
            // A pruning that was interrupted is repeated, and archives its rows again.
            Some(_) => Ok(()),
        }
    }

    /// Checks the next row.
    ///
    /// # Errors
    /// [`Finding`].
    pub fn row(&mut self, row: StoredRow) -> Result<(), Finding> {
        let StoredRow { chain, seq, at, body, mac } = row;
        let Some(end) = self.ends.get_mut(&chain) else { return Err(Finding::Gap(seq)) };
        if seq <= end.head().seq {
            return Ok(());
        }
        let record = AuditRecord { chain, seq, at: Timestamp::from_micros(at), body, mac };
        if Some(ledger::first_of(&record)) != end.head().seq.checked_add(1) {
            return Err(Finding::Gap(seq));
        }
        if !self.vault.keyring().follows(end, &record) {
            return Err(Finding::Changed(seq));
        }
        self.rows += 1;
        Ok(())
    }

    /// The number of sound rows so far.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Checks that the vault's log goes on from where the archive ends, and returns the number of sound rows.
    ///
    /// # Errors
    /// [`StoreError`]; the finding, with its chain, is a result.
    pub async fn end(self) -> Result<(u64, Option<(u32, Finding)>), StoreError> {
        for (chain, end) in &self.ends {
            if !is_kept(self.vault.store(), self.vault.keyring(), &end.head()).await? {
                return Ok((self.rows, Some((*chain, Finding::Anchor(end.head().seq)))));
            }
        }
        Ok((self.rows, None))
    }
}
