//! Whose something is, such as a session or a share of a limit.

use crate::domain::{
    api_key::KeyId,
    audit::{Action, Actor, AuditEntry},
    ids::{AccountId, SeatId},
    principal::Principal,
    time::Timestamp,
};

/// Whose it is: two callers with the same one may do the same things with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::transport) struct Owner(AccountId, Actor, Option<SeatId>);

impl Owner {
    pub(in crate::transport) fn of(caller: &Principal) -> Self {
        Self(caller.account(), caller.actor(), caller.seat())
    }

    /// A row of the audit log about something that it asked for.
    pub(in crate::transport) fn entry(self, action: Action, at: Timestamp) -> AuditEntry {
        let Self(account, actor, seat) = self;
        AuditEntry { account: Some(account), seat, ..AuditEntry::by(actor, action, at) }
    }

    /// The account in which it acts.
    pub(in crate::transport) const fn account(self) -> AccountId {
        self.0
    }

    /// The seat that it is bound to.
    pub(in crate::transport) const fn seat(self) -> Option<SeatId> {
        self.2
    }

    /// The key that it is the holder of, if it is one's.
    pub(in crate::transport) const fn key(self) -> Option<KeyId> {
        self.1.key()
    }
}
