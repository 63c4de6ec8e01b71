//! Archives: rows of the audit log that were pruned, kept in a file outside the vault, where they can still be verified.
//!
//! A row is archived with its stored bytes, which its MAC covers, and each run of rows begins with the end of the chain
//! before it. So an archive is verified like the log itself, up to where the log now starts.

use std::{collections::BTreeMap, io};

use super::{
    Finding, Vault,
    ledger::{self, End, base_of, first_of, genesis, is_fence, is_kept},
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
    chains: BTreeMap<u32, Progress>,
    rows: u64,
    fenced: Vec<(u32, u64, u64)>,
}

/// How far a chain has been verified.
struct Progress {
    /// The number of its first row in the archive.
    first: u64,
    end: End,
    /// Where a run stands whose rows are in the archive already.
    again: Option<End>,
}

/// The verified rows of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveReport {
    /// Sound rows.
    pub rows: u64,
    /// The chains that have rows, each with the numbers of its first and last sound row.
    pub spans: Vec<(u32, u64, u64)>,
    /// Rows that had been damaged and fenced off: the chain, and the first and the last number.
    pub fenced: Vec<(u32, u64, u64)>,
    /// The first problem and its chain; `None`: sound.
    pub finding: Option<(u32, Finding)>,
}

impl Vault {
    /// Begins to verify an archive.
    pub const fn check_archive(&self) -> ArchiveCheck<'_> {
        ArchiveCheck { vault: self, chains: BTreeMap::new(), rows: 0, fenced: Vec::new() }
    }
}

impl ArchiveCheck<'_> {
    /// Checks where a run of rows begins. The first run of a chain may begin anywhere; a later one continues it.
    ///
    /// # Errors
    /// [`Finding`].
    pub fn from(&mut self, head: ChainHead) -> Result<(), Finding> {
        let begun = End::of_base(&head);
        let Some(progress) = self.chains.get_mut(&head.chain) else {
            let first = head.seq.saturating_add(1);
            self.chains.insert(head.chain, Progress { first, end: begun, again: None });
            return Ok(());
        };
        let end = progress.end.head();
        let next = head.seq.saturating_add(1);
        if head.seq > end.seq || next < progress.first {
            return Err(Finding::Gap(next));
        }
        if head.seq == end.seq && head != end {
            return Err(Finding::Changed(head.seq));
        }
        // A pruning that was interrupted is repeated, and archives its rows again.
        progress.again = (head.seq < end.seq).then_some(begun);
        Ok(())
    }

    /// Checks the next row, and returns it as it reads. After a finding, only [`Self::found`] may be called.
    ///
    /// # Errors
    /// [`Finding`].
    pub fn row(&mut self, row: StoredRow) -> Result<AuditRow, Finding> {
        let StoredRow { chain, seq, at, body, mac } = row;
        let Some(progress) = self.chains.get_mut(&chain) else { return Err(Finding::Gap(seq)) };
        let record = AuditRecord { chain, seq, at: Timestamp::from_micros(at), body, mac };
        let end = progress.again.as_mut().unwrap_or(&mut progress.end);
        if Some(first_of(&record)) != end.head().seq.checked_add(1) {
            return Err(Finding::Gap(seq));
        }
        if !self.vault.keyring().follows(end, &record) {
            return Err(Finding::Changed(seq));
        }
        let fence = is_fence(&record).then(|| (chain, first_of(&record), seq));
        let row = ledger::read(record).map_err(|_| Finding::Changed(seq))?;
        match progress.again.map(|again| (again, again.head())) {
            None => self.rows += 1,
            Some((_, again)) if again.seq < progress.end.head().seq => return Ok(row),
            // The chains of both runs are one only if they meet.
            Some((_, again)) if again == progress.end.head() => {
                progress.again = None;
                return Ok(row);
            }
            // Rows that were archived before they were damaged: a fence stands for them and for later ones.
            Some((again, _)) if fence.is_some() => {
                (progress.end, progress.again) = (again, None);
                self.rows += 1;
            }
            Some(_) => return Err(Finding::Changed(seq)),
        }
        self.fenced.extend(fence);
        Ok(row)
    }

    /// Reports a problem that a reader of the archive found.
    pub fn found(self, chain: u32, finding: Finding) -> ArchiveReport {
        let span = |(chain, Progress { first, end, .. }): (&u32, &Progress)| {
            Some((*chain, *first, end.head().seq)).filter(|(_, first, last)| first <= last)
        };
        let spans = self.chains.iter().filter_map(span).collect();
        ArchiveReport { rows: self.rows, spans, fenced: self.fenced, finding: Some((chain, finding)) }
    }

    /// Checks that the vault's log goes on from where the archive ends, in every chain.
    ///
    /// # Errors
    /// [`StoreError`]; a finding is a result.
    pub async fn end(self) -> Result<ArchiveReport, StoreError> {
        let mut chains = self.vault.chains().await?;
        chains.extend(self.chains.keys());
        chains.sort_unstable();
        chains.dedup();
        self.end_of(chains).await
    }

    /// The same for the chains that the archive has: rows of the others may be in another one.
    ///
    /// # Errors
    /// [`StoreError`]; a finding is a result.
    pub async fn end_of_chains(self) -> Result<ArchiveReport, StoreError> {
        let chains = self.chains.keys().copied().collect();
        self.end_of(chains).await
    }

    async fn end_of(self, chains: Vec<u32>) -> Result<ArchiveReport, StoreError> {
        let (store, keyring) = (self.vault.store(), self.vault.keyring());
        for chain in chains {
            let base = base_of(store, keyring, chain).await?;
            let head = self.chains.get(&chain).map_or(genesis(chain), |progress| progress.end.head());
            let has_rows = self.chains.get(&chain).is_some_and(|progress| progress.first <= head.seq);
            if head.seq < base.seq || base.seq > 0 && !has_rows {
                return Ok(self.found(chain, Finding::Unarchived(base.seq.saturating_add(1))));
            }
            if head.seq > 0 && !is_kept(store, keyring, &head).await? {
                return Ok(self.found(chain, Finding::Branch(head.seq)));
            }
        }
        Ok(ArchiveReport { finding: None, ..self.found(0, Finding::Base) })
    }
}
