//! Verifies and prunes the audit log, a page at a time.

use subtle::ConstantTimeEq as _;

use super::{
    CHUNK, Outcome, Vault,
    archive::{self, Archive, Archived},
    knots::Witnesses,
    ledger::{End, base_of, first, first_of, genesis, head_of, is_fence, is_kept},
    records::{AuditBase, AuditHead},
};
use crate::{
    domain::{
        audit::{AuditEntry, ChainHead},
        time::Timestamp,
    },
    store::{AuditQuery, AuditRecord, Cursor, Index, Kind, Prune, Put, RecordKey, StoreError},
};

/// The number of rows that one commit of a pruning removes.
const PRUNED_AT_ONCE: u64 = 10_000;

/// The result of verifying the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// The number of checked rows.
    pub rows: u64,
    /// The first and last number of each chain's checked rows.
    pub spans: Vec<(u32, u64, u64)>,
    /// The number of anchors that were compared with a row. Anchors below a base can't be.
    pub anchors: u64,
    /// The number of times that a knot's head was compared with a row. Heads below a base can't be.
    pub knots: u64,
    /// Rows that were damaged and are fenced off: the chain, and the first and the last number.
    pub fenced: Vec<(u32, u64, u64)>,
    /// The first problem and its chain; `None`: the log is sound.
    pub finding: Option<(u32, Finding)>,
}

impl AuditReport {
    /// Counts a checked row. Rows of a chain come one after the other.
    fn count(&mut self, row: &AuditRecord) {
        self.rows += 1;
        match self.spans.last_mut() {
            Some((chain, _, last)) if *chain == row.chain => *last = row.seq,
            _ => self.spans.push((row.chain, row.seq, row.seq)),
        }
    }
}

/// The first problem in a chain of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A row is missing before this one, or rows were reordered.
    #[error("row {0} does not follow the one before it: rows are missing or were moved")]
    Gap(u64),
    /// A row was changed, or written without the vault's key.
    #[error("row {0} was changed, or written without the vault's key")]
    Changed(u64),
    /// A row exists in the pruned part.
    #[error("row {0} stands among those that were pruned: it was written without the vault's key")]
    Pruned(u64),
    /// The last rows were cut off.
    #[error("the audit log ends before row {0}, which it had: its tail was cut off")]
    Cut(u64),
    /// The record of the chain's head was changed or removed.
    #[error("the record of where the audit log ends was changed without the vault's key")]
    Head,
    /// The record of what the chain starts from was changed.
    #[error("the record of what the audit log starts from was changed without the vault's key")]
    Base,
    /// A knot of another chain does not match.
    #[error("row {0} is not the one that another chain has noted: an older end of this chain was put back")]
    Knot(u64),
    /// An archive ends before the first row that the vault still has.
    #[error(
        "the archive ends before row {0}, with which the audit log begins: its end was cut off, the next rows are in another file \
         (give all files, the oldest first), or they were pruned without an archive (`countersign audit list --action trail.prune`)"
    )]
    Unarchived(u64),
    /// An archive ends with a row that the vault has not, or has another one in its place.
    #[error(
        "row {0}, with which the archive ends, is not the vault's: the vault was restored to an earlier state, or is another one"
    )]
    Branch(u64),
    /// An anchor kept outside does not match.
    #[error("row {0} is not the one that the given anchor vouches for")]
    Anchor(u64),
}

impl Vault {
    /// Checks every row's MAC, the numbering, the ends of each chain, the heads that the chains' knots name, and
    /// anchors that were kept outside.
    ///
    /// # Errors
    /// [`StoreError`], if the log can't be read.
    pub async fn verify(&self, anchors: &[ChainHead]) -> Result<AuditReport, StoreError> {
        let mut chains = self.chains().await?;
        chains.extend(anchors.iter().map(|anchor| anchor.chain));
        // A vault always has the first chain.
        chains.push(0);
        chains.sort_unstable();
        chains.dedup();
        let mut report = AuditReport::default();
        for chain in chains.iter().copied() {
            let anchors: Vec<_> = anchors.iter().filter(|anchor| anchor.chain == chain).copied().collect();
            let witnesses = Witnesses::of(chain, &chains);
            if let Some(finding) = self.verify_chain(chain, &anchors, witnesses, &mut report).await? {
                report.finding = Some((chain, finding));
                break;
            }
        }
        Ok(report)
    }

    async fn verify_chain(
        &self,
        chain: u32,
        anchors: &[ChainHead],
        mut witnesses: Witnesses,
        report: &mut AuditReport,
    ) -> Result<Option<Finding>, StoreError> {
        let (store, keyring) = (self.store(), self.keyring());
        // Read the ends first: rows added meanwhile come after them.
        let base = match base_of(store, keyring, chain).await {
            Err(StoreError::Damaged { .. }) => return Ok(Some(Finding::Base)),
            base => base?,
        };
        let noted = head_of(store, keyring, chain).await?.map(|(AuditHead(head), _)| head);
        if let Some(seq) = self.first_pruned(&base).await? {
            return Ok(Some(Finding::Pruned(seq)));
        }
        let mut awaited: Vec<(ChainHead, bool)> = anchors.iter().map(|anchor| (*anchor, true)).collect();
        awaited.extend(noted.map(|head| (head, false)));
        let mut end = End::of_base(&base);
        if let Some(finding) = contradiction(&base, &awaited, report) {
            return Ok(Some(finding));
        }
        let mut query = AuditQuery {
            chain: Some(chain),
            after: Cursor(vec![(chain, base.seq)]),
            limit: CHUNK,
            ..AuditQuery::default()
        };
        loop {
            let page = store.audit(&query).await?;
            for record in &page.records {
                if record.chain != chain || Some(first_of(record)) != end.tail.seq.checked_add(1) {
                    return Ok(Some(Finding::Gap(record.seq)));
                }
                if !keyring.follows(&mut end, record) {
                    return Ok(Some(Finding::Changed(record.seq)));
                }
                if is_fence(record) {
                    // The rows that it stands for are gone, so no head or anchor can be compared with it.
                    report.fenced.push((chain, first_of(record), record.seq));
                    continue;
                }
                if let Some(finding) = contradiction(&end.head(), &awaited, report) {
                    return Ok(Some(finding));
                }
                if !witnesses.agree(store, &end.head(), &mut report.knots).await? {
                    return Ok(Some(Finding::Knot(record.seq)));
                }
                report.count(record);
            }
            let Some(next) = page.next else { break };
            query.after = next;
        }
        let cut = awaited.iter().map(|(head, _)| head.seq).filter(|seq| *seq > end.tail.seq).min();
        let cut = cut.or(witnesses.beyond(self).await?);
        let lost = noted.is_none_or(|head| head.seq < base.seq);
        Ok(cut.map(Finding::Cut).or(lost.then_some(Finding::Head)))
    }

    /// The first row at or below a base, where the vault has none.
    async fn first_pruned(&self, base: &ChainHead) -> Result<Option<u64>, StoreError> {
        let before = Cursor(vec![(base.chain, base.seq.saturating_add(1))]);
        let query = AuditQuery { chain: Some(base.chain), before, limit: 1, ..AuditQuery::default() };
        Ok(first(self.store(), query).await?.map(|record| record.seq))
    }

    /// Removes the rows of each chain that are older than a time, adds an audit row about it, and returns how many were
    /// removed. A broken chain is left alone: pruning must not remove the evidence.
    ///
    /// # Errors
    /// [`StoreError`]; `Damaged` if a chain is broken. Nothing was removed that the archive, if there is one, does not have.
    pub async fn prune(
        &self,
        before: Timestamp,
        entry: &AuditEntry,
        mut archive: Option<&mut Archive<'_>>,
    ) -> Result<u64, StoreError> {
        let mut removed = 0;
        for chain in self.chains().await? {
            let query =
                AuditQuery { chain: Some(chain), until: Some(before), newest: true, limit: 1, ..AuditQuery::default() };
            let Some(last) = first(self.store(), query).await? else { continue };
            loop {
                let now = self.prune_some((chain, last.seq), entry, &mut archive).await?;
                removed += now;
                if now == 0 {
                    break;
                }
            }
        }
        Ok(removed)
    }

    /// Removes the next rows of a chain, up to `last` at most, and returns how many.
    async fn prune_some(
        &self,
        (chain, last): (u32, u64),
        entry: &AuditEntry,
        archive: &mut Option<&mut Archive<'_>>,
    ) -> Result<u64, StoreError> {
        let (store, keyring) = (self.store(), self.keyring());
        let broken =
            |what: &str| StoreError::Damaged { what: format!("the audit log, which is left as it is: {what}") };
        let key = RecordKey::new(Kind::AuditBase, chain.to_be_bytes());
        let kept = store.read_one(&key).await?;
        let base = kept.as_ref().map(|record| keyring.open_record::<AuditBase>(record)).transpose()?;
        let base = base.map_or(genesis(chain), |AuditBase(base)| base);
        let upto = last.min(base.seq.saturating_add(PRUNED_AT_ONCE));
        if upto <= base.seq {
            return Ok(0);
        }
        let Some((AuditHead(head), _)) = head_of(store, keyring, chain).await? else {
            return Err(broken("its head was changed without the vault's key"));
        };
        if !is_kept(store, keyring, &head).await? {
            return Err(broken("the row that its head names is gone or changed"));
        }
        if self.first_pruned(&base).await?.is_some() {
            return Err(broken("there are rows below those that were pruned"));
        }
        archive::write(archive, Archived::From(base))?;
        let new = self.follow(&base, upto, archive).await?.ok_or_else(|| broken("its chain is broken"))?;
        archive::write(archive, Archived::Whole)?;
        // The head must not stay below the removed rows: it moves with the row that records the pruning.
        let count = new.seq.saturating_sub(base.seq);
        let mut draft = self.draft(AuditEntry { count: Some(count), ..entry.clone() }).scrub();
        let version = kept.map_or(1, |record| record.version.saturating_add(1));
        let change = draft.change_mut();
        change.prune = Some(Prune { chain, upto: new.seq });
        change.put.push(Put { record: keyring.record(&AuditBase(new), version), index: Index::Keep });
        match draft.commit().await? {
            Outcome::Done => Ok(count),
            // Another process is pruning too.
            Outcome::Stale | Outcome::Taken => Ok(0),
        }
    }

    /// Follows a chain from its base to a row, or to the end of the fence that stands for it, and archives the rows.
    /// `None` if the chain breaks before that.
    async fn follow(
        &self,
        from: &ChainHead,
        upto: u64,
        archive: &mut Option<&mut Archive<'_>>,
    ) -> Result<Option<ChainHead>, StoreError> {
        let (chain, mut end) = (from.chain, End::of_base(from));
        let after = Cursor(vec![(chain, from.seq)]);
        let mut query = AuditQuery { chain: Some(chain), after, limit: CHUNK, ..AuditQuery::default() };
        loop {
            let page = self.store().audit(&query).await?;
            for record in &page.records {
                if !self.keyring().follows(&mut end, record) {
                    return Ok(None);
                }
                archive::write_row(archive, record)?;
                if record.seq >= upto {
                    return Ok(Some(end.head()));
                }
            }
            let Some(next) = page.next else { return Ok(None) };
            query.after = next;
        }
    }
}

/// The problem, if a row, or the base before the first one, differs from an anchor or the chain's head.
fn contradiction(at: &ChainHead, awaited: &[(ChainHead, bool)], report: &mut AuditReport) -> Option<Finding> {
    let mut finding = None;
    for (head, anchor) in awaited.iter().filter(|(head, _)| head.seq == at.seq) {
        report.anchors += u64::from(*anchor);
        let same: bool = head.mac.ct_eq(&at.mac).into();
        if !same {
            finding = finding.or(Some(if *anchor { Finding::Anchor(at.seq) } else { Finding::Changed(at.seq) }));
        }
    }
    finding
}
