//! Reads, verifies and prunes the audit log, for people and their tools.

use std::{path::PathBuf, time::Duration};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Access, Call, Effect, Failed, Operation, Refusal, Service, Spec, audit_archive::ArchiveFile};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry, AuditFilter, AuditRow, ChainHead},
        ids::SecretId,
        limits::{AUDIT_DAYS_MIN, AUDIT_KEPT_MIN, PAGE_ROWS_MAX, TRACED_ROWS_MAX},
        scope::Scope,
        time::Timestamp,
    },
    vault::{AuditAsk, AuditReport, AuditRows, Ties},
};

/// A page of the audit rows of the caller's account that match a filter. A caller that is limited to given secrets or
/// bound to a seat sees only the rows on those secrets or for that seat.
#[derive(Debug, Clone, Default)]
pub struct ReadAudit {
    /// The filter.
    pub filter: AuditFilter,
    /// The page.
    pub page: AuditAsk,
}

impl Operation for ReadAudit {
    const SPEC: Spec = Spec {
        name: "read_audit",
        access: Access::Scope(Scope::AuditRead),
        action: Action::Call,
        effect: Effect::Read,
    };
    type Output = AuditRows;

    async fn run(self, call: &mut Call<'_>) -> Result<AuditRows, Failed> {
        call.audit_rows(self.filter, &self.page).await
    }
}

impl Call<'_> {
    /// A page of the rows that the caller may see.
    pub(super) async fn audit_rows(&self, filter: AuditFilter, page: &AuditAsk) -> Result<AuditRows, Failed> {
        let caller = self.caller;
        if caller.seat().is_some() && filter.seat.is_some_and(|seat| caller.seat() != Some(seat)) {
            return Err(Refusal::OtherSeat.into());
        }
        let filter = AuditFilter {
            account: Some(caller.account()),
            seat: caller.seat().or(filter.seat),
            secrets: caller.granted().map(<[SecretId]>::to_vec),
            ..filter
        };
        Ok(self.service.vault().audit_page(&filter, page).await?)
    }
}

/// A page of the audit rows of every account, for the person who manages the vault.
#[derive(Debug, Clone, Default)]
pub struct ReadWholeAudit {
    /// The filter.
    pub filter: AuditFilter,
    /// The page.
    pub page: AuditAsk,
}

impl Operation for ReadWholeAudit {
    const SPEC: Spec = Spec::person("read_whole_audit", Action::Call, Effect::Read);
    type Output = AuditRows;

    async fn run(self, call: &mut Call<'_>) -> Result<AuditRows, Failed> {
        Ok(call.service.vault().audit_page(&self.filter, &self.page).await?)
    }
}

/// Checks every row's MAC, the numbering, the ends of each chain, and anchors that were kept outside.
#[derive(Debug, Clone, Default)]
pub struct VerifyAudit {
    /// The anchors.
    pub anchors: Vec<ChainHead>,
}

impl Operation for VerifyAudit {
    const SPEC: Spec = Spec::person("verify_audit", Action::Call, Effect::Read);
    type Output = AuditReport;

    async fn run(self, call: &mut Call<'_>) -> Result<AuditReport, Failed> {
        Ok(call.service.vault().verify(&self.anchors).await?)
    }
}

/// Finds the rows that record a given code.
pub struct TraceCode {
    /// The digits.
    pub digits: Zeroizing<String>,
    /// The secret, if it is known.
    pub secret: Option<SecretId>,
}

/// The rows of a code.
#[derive(Debug, Default)]
pub struct Traced {
    /// The first of them, [`TRACED_ROWS_MAX`] at most.
    pub rows: Vec<AuditRow>,
    /// The number of all.
    pub total: u64,
}

impl Operation for TraceCode {
    const SPEC: Spec = Spec::person("trace_code", Action::Call, Effect::Read);
    type Output = Traced;

    async fn run(self, call: &mut Call<'_>) -> Result<Traced, Failed> {
        let vault = call.service.vault();
        let filter = AuditFilter {
            account: Some(call.caller.account()),
            secret: self.secret,
            action: Some(Action::CodeGet),
            ..AuditFilter::default()
        };
        let mut page = AuditAsk { limit: PAGE_ROWS_MAX, ..AuditAsk::default() };
        let mut traced = Traced::default();
        loop {
            let AuditRows { rows, next } = vault.audit_page(&filter, &page).await?;
            let is_of_code = |row: &AuditRow| -> bool {
                let AuditEntry { secret: Some(secret), step: Some(step), code_tag: Some(tag), .. } = row.entry else {
                    return false;
                };
                vault.code_tag(secret, step, &self.digits).ct_eq(&tag).into()
            };
            for row in rows.into_iter().filter(is_of_code) {
                traced.total += 1;
                if traced.rows.len() < TRACED_ROWS_MAX {
                    traced.rows.push(row);
                }
            }
            let Some(next) = next else { return Ok(traced) };
            page.from = Some(next);
            // Many rows are examined; let other tasks run in between.
            tokio::task::yield_now().await;
        }
    }
}

/// Removes rows that are older than a time, which must be at least a year ago; an audit row records it. Returns how
/// many.
#[derive(Debug, Clone)]
pub struct PruneAudit {
    /// Older rows are removed.
    pub before: Timestamp,
    /// The file to which they are appended first.
    pub archive: Option<PathBuf>,
}

impl Operation for PruneAudit {
    const SPEC: Spec = Spec::person("prune_audit", Action::AuditPrune, Effect::Erase);
    type Output = u64;

    async fn run(self, call: &mut Call<'_>) -> Result<u64, Failed> {
        if self.before > call.entry.at.minus(AUDIT_KEPT_MIN) {
            return Err(Refusal::invalid("before", format!("must lie {AUDIT_DAYS_MIN} days back at least")).into());
        }
        let vault = call.service.vault();
        let Some(file) = self.archive else { return Ok(vault.prune(self.before, &call.entry, None).await?) };
        let mut archive = ArchiveFile::open(file, vault).await?;
        let pruned = vault.prune(self.before, &call.entry, Some(&mut |what| archive.write(what))).await;
        if let Some(failure) = archive.failure() {
            return Err(failure.into());
        }
        Ok(pruned?)
    }
}

impl Service {
    /// Removes rows older than this, which must be [`AUDIT_KEPT_MIN`] at least, as a server does by itself. Returns how
    /// many.
    ///
    /// # Errors
    /// `unavailable`, and `Damaged` if a chain is broken: pruning must not remove the evidence.
    pub async fn prune_audit_unasked(&self, keep: Duration) -> Result<u64, Refusal> {
        let now = self.now();
        let entry = AuditEntry::by(Actor::System, Action::AuditPrune, now);
        let pruned = self.vault().prune(now.minus(keep.max(AUDIT_KEPT_MIN)), &entry, None).await;
        pruned.map_err(|cause| self.refusal_of(cause.into()))
    }

    /// Binds the chains of the audit log, if there are several, as a server does by itself every minute.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn tie_audit_unasked(&self, ties: &mut Ties) -> Result<(), Refusal> {
        let entry = AuditEntry::by(Actor::System, Action::AuditKnot, self.now());
        let gone = self.vault().tie(ties, &entry).await.map_err(|cause| self.refusal_of(cause.into()))?;
        for ChainHead { chain, seq, .. } in gone {
            tracing::error!(
                chain,
                row = seq,
                "a row of the audit log that was there a minute ago is gone; `countersign audit verify` tells more"
            );
        }
        Ok(())
    }

    /// The end of each chain of the audit log, to be stored outside as an anchor. The rows that it names survive a
    /// power cut.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn audit_heads(&self) -> Result<Vec<ChainHead>, Refusal> {
        self.vault().anchor().await.map_err(|cause| self.refusal_of(cause.into()))
    }
}
