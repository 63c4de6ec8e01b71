//! The trail, for people and their tools: reading, checking, pruning it.

use std::time::Duration;

use subtle::ConstantTimeEq as _;

use super::{Refusal, Service};
use crate::{
    domain::{
        audit::{Action, AuditEntry, AuditFilter, AuditRow, ChainHead},
        ids::SecretId,
        limits::{PAGE_ROWS_MAX, TRAIL_DAYS_MIN},
        principal::Principal,
        scope::Scope,
        time::Timestamp,
    },
    store::StoreError,
};

/// Rows that are checked at a time.
const CHUNK: u32 = PAGE_ROWS_MAX;

/// What a check of the trail found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// How many rows were checked.
    pub rows: u64,
    /// The first and last number.
    pub span: Option<(u64, u64)>,
    /// Where the chain ends.
    pub head: ChainHead,
    /// What is wrong; `None`: nothing.
    pub finding: Option<Finding>,
}

/// What is wrong with the trail, at the first place where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A row is missing before this one, or rows were reordered.
    #[error("row {0} does not follow the one before it: rows are missing or were moved")]
    Gap(u64),
    /// A row was changed, or written by somebody without the vault's key.
    #[error("row {0} was changed, or written without the vault's key")]
    Changed(u64),
    /// The last rows were cut off.
    #[error("the trail ends before row {0}, which it had: its tail was cut off")]
    Cut(u64),
    /// The note of where the trail ends is older than what was pruned.
    #[error("the trail was noted to end with row {0}, which is gone")]
    Gone(u64),
    /// The note of where the trail ends was changed.
    #[error("the note of where the trail ends was changed without the vault's key")]
    Head,
    /// An anchor kept outside does not match.
    #[error("row {0} is not the one that the given anchor vouches for")]
    Anchor(u64),
}

impl Service {
    /// Rows of the caller's account that match a filter. For a caller that is limited to given secrets or bound to a
    /// seat, rows on anything else, or for anybody else, don't exist.
    ///
    /// # Errors
    /// `permission_denied`, also for another seat than the caller's; `unavailable`.
    pub async fn read_trail(&self, caller: &Principal, filter: AuditFilter) -> Result<Vec<AuditRow>, Refusal> {
        self.require(caller, Scope::AuditRead, Action::Call).await?;
        if caller.seat().is_some() && filter.seat.is_some_and(|seat| caller.seat() != Some(seat)) {
            return Err(self.refuse(Refusal::OtherSeat, AuditEntry::of(caller, Action::Call, self.now())).await);
        }
        let filter = AuditFilter {
            account: Some(caller.account()),
            seat: caller.seat().or(filter.seat),
            secrets: caller.granted().map(<[SecretId]>::to_vec),
            ..filter
        };
        self.store().trail(filter).await.map_err(|cause| self.failed(&cause))
    }

    /// Rows of every account, for the person who keeps the vault.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn read_whole_trail(&self, caller: &Principal, filter: AuditFilter) -> Result<Vec<AuditRow>, Refusal> {
        self.require_person(caller, Action::Call).await?;
        self.store().trail(filter).await.map_err(|cause| self.failed(&cause))
    }

    /// Checks every row's keyed hash, the numbering, the end, and anchors that were kept outside.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn verify_trail(&self, caller: &Principal, anchors: &[ChainHead]) -> Result<AuditReport, Refusal> {
        self.require_person(caller, Action::Call).await?;
        // The end is read first: rows that others add meanwhile come after it.
        let (base, noted) = self.store().trail_ends().await.map_err(|cause| self.failed(&cause))?;
        let mut report = AuditReport { rows: 0, span: None, head: base, finding: None };
        let mut vouched: Vec<ChainHead> = anchors.iter().filter(|anchor| anchor.seq > base.seq).copied().collect();
        let anchored = vouched.len();
        vouched.extend(noted.filter(|head| head.seq > base.seq));
        let mut chunk = CHUNK;
        while report.finding.is_none() {
            let filter = AuditFilter { after: report.head.seq, limit: Some(chunk), ..AuditFilter::default() };
            let rows = match self.store().trail(filter).await {
                Ok(rows) => rows,
                // One of them can't be read: one by one up to that.
                Err(StoreError::Damaged { .. }) if chunk > 1 => {
                    chunk = 1;
                    continue;
                }
                Err(StoreError::Damaged { .. }) => {
                    report.finding = Some(Finding::Changed(report.head.seq.saturating_add(1)));
                    break;
                }
                Err(cause) => return Err(self.failed(&cause)),
            };
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                report.finding = self.check_row(&report.head, row).or_else(|| contradicts(row, &vouched, anchored));
                if report.finding.is_some() {
                    break;
                }
                report.head = ChainHead { seq: row.seq, mac: row.mac };
                report.rows += 1;
                report.span = Some((report.span.map_or(row.seq, |(first, _)| first), row.seq));
            }
        }
        let cut = vouched.iter().find(|vouched| vouched.seq > report.head.seq).map(|vouched| Finding::Cut(vouched.seq));
        let gone = noted.filter(|head| head.seq <= base.seq && *head != base).map(|head| Finding::Gone(head.seq));
        let head = noted.is_none().then_some(Finding::Head);
        report.finding = report.finding.or(cut).or(gone).or(head);
        Ok(report)
    }

    fn check_row(&self, before: &ChainHead, row: &AuditRow) -> Option<Finding> {
        if row.seq != before.seq.saturating_add(1) {
            return Some(Finding::Gap(row.seq));
        }
        let right: bool = self.keyring().trail_mac(&before.mac, &row.entry.canonical(row.seq)).ct_eq(&row.mac).into();
        if right { None } else { Some(Finding::Changed(row.seq)) }
    }

    /// Where the chain ends now: what an anchor outside keeps.
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn trail_head(&self, caller: &Principal) -> Result<ChainHead, Refusal> {
        self.require_person(caller, Action::Call).await?;
        let last = AuditFilter { limit: Some(1), newest: true, ..AuditFilter::default() };
        let rows = self.store().trail(last).await.map_err(|cause| self.failed(&cause))?;
        match rows.last() {
            Some(row) => Ok(ChainHead { seq: row.seq, mac: row.mac }),
            None => self.store().trail_ends().await.map(|(base, _)| base).map_err(|cause| self.failed(&cause)),
        }
    }

    /// The rows that gave out this code: the answer to "did this code come from us".
    ///
    /// # Errors
    /// `permission_denied`, `unavailable`.
    pub async fn trace_code(
        &self,
        caller: &Principal,
        secret: Option<SecretId>,
        digits: &str,
    ) -> Result<Vec<AuditRow>, Refusal> {
        let filter = AuditFilter { secret, action: Some(Action::CodeGet), ..AuditFilter::default() };
        let mut rows = self.read_trail(caller, filter).await?;
        rows.retain(|row| {
            let AuditEntry { secret: Some(secret), step: Some(step), code_tag: Some(tag), .. } = row.entry else {
                return false;
            };
            self.keyring().tag_of(secret, step, digits).ct_eq(&tag).into()
        });
        Ok(rows)
    }

    /// Removes rows that are older than a time, a year old at least; a row says so. Returns how many.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_argument`, `unavailable`.
    pub async fn prune_trail(&self, caller: &Principal, before: Timestamp) -> Result<u64, Refusal> {
        self.require_person(caller, Action::TrailPrune).await?;
        let now = self.now();
        let youngest = now.minus(Duration::from_secs(TRAIL_DAYS_MIN.unsigned_abs() * 86_400));
        if before > youngest {
            return Err(Refusal::invalid("before", format!("must lie {TRAIL_DAYS_MIN} days back at least")));
        }
        let entry = AuditEntry::of(caller, Action::TrailPrune, now);
        self.store().prune_trail(before, entry).await.map_err(|cause| self.failed(&cause))
    }
}

/// Whether a row is not what an anchor, or the noted head behind the anchors, says it is.
fn contradicts(row: &AuditRow, vouched: &[ChainHead], anchored: usize) -> Option<Finding> {
    let (nth, _) = vouched.iter().enumerate().find(|(_, head)| head.seq == row.seq && head.mac != row.mac)?;
    Some(if nth < anchored { Finding::Anchor(row.seq) } else { Finding::Changed(row.seq) })
}
