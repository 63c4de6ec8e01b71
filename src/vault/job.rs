//! A job for the vault's writer.

use crate::{
    domain::audit::{Action, AuditEntry},
    store::{Change, Durable},
};

/// A change and its audit rows.
pub(super) struct Job {
    pub(super) change: Change,
    pub(super) entries: Vec<AuditEntry>,
    pub(super) durable: Durable,
    /// Whether the commit may go on as long as other processes are faster. Such a job is committed by itself.
    pub(super) patient: bool,
}

impl Job {
    /// Whether the job changes nothing, so that the store neither commits nor syncs for it.
    pub(super) fn is_nothing(&self) -> bool {
        self.entries.is_empty() && self.change == Change::default()
    }

    /// Whether all its rows are about codes; the state file follows such jobs once a second.
    pub(super) fn is_code(&self) -> bool {
        let code = |entry: &AuditEntry| {
            matches!(
                entry.action,
                Action::CodeGet | Action::CodeReserve | Action::CodeRelease | Action::CodeDecoy | Action::CodeVerify
            )
        };
        self.entries.iter().all(code)
    }
}
