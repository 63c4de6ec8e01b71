//! The owner of a session, a stream or a share of a limit.

use crate::domain::{
    api_key::KeyId,
    audit::{Action, Actor, AuditEntry},
    ids::{AccountId, SeatId},
    principal::Principal,
    session::SessionOwner,
    time::Timestamp,
};

/// An owner. Callers with equal owners may use each other's sessions and streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::transport) struct Owner(AccountId, Actor, Option<SeatId>);

impl Owner {
    pub(in crate::transport) fn of(caller: &Principal) -> Self {
        Self(caller.account(), caller.actor(), caller.seat())
    }

    /// An audit row about one of the owner's requests.
    pub(in crate::transport) fn entry(self, action: Action, at: Timestamp) -> AuditEntry {
        let Self(account, actor, seat) = self;
        AuditEntry { account: Some(account), seat, ..AuditEntry::by(actor, action, at) }
    }

    /// The owner in the form that other nodes know.
    pub(in crate::transport) const fn of_session(self) -> SessionOwner {
        let Self(account, actor, seat) = self;
        SessionOwner { account, actor, seat }
    }

    /// The account in which it acts.
    pub(in crate::transport) const fn account(self) -> AccountId {
        self.0
    }

    /// The seat to which it is bound.
    pub(in crate::transport) const fn seat(self) -> Option<SeatId> {
        self.2
    }

    /// The id of its key, if it has one.
    pub(in crate::transport) const fn key(self) -> Option<KeyId> {
        self.1.key()
    }
}
