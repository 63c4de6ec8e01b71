//! Whose something is, such as a session or a share of a limit.

use crate::domain::{
    audit::Actor,
    ids::{AccountId, SeatId},
    principal::Principal,
};

/// Whose it is: two callers with the same one may do the same things with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::transport) struct Owner(AccountId, Actor, Option<SeatId>);

impl Owner {
    pub(in crate::transport) fn of(caller: &Principal) -> Self {
        Self(caller.account(), caller.actor(), caller.seat())
    }
}
