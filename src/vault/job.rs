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
    /// Whether it may take as long as other processes are faster. It is committed by itself.
    pub(super) patient: bool,
}

impl Job {
    /// Whether it changes nothing, so that the store neither commits nor syncs for it.
    pub(super) fn is_nothing(&self) -> bool {
        self.entries.is_empty() && self.change == Change::default()
    }

    /// Whether it only gives codes; the state file follows those once a second.
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
