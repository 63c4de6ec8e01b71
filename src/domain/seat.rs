//! A seat: a person in an account, for whom agents work.

use super::{
    ids::{AccountId, SeatId},
    text::{AuthSubject, Email, PhoneNumber, ShownText},
    time::Timestamp,
};

/// A person in an account: directory data, stored in clear under a record MAC, which detects changes by a database
/// writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Its identity.
    pub id: SeatId,
    /// The account it belongs to.
    pub account: AccountId,
    /// When it was made, in whole milliseconds.
    pub created_at: Timestamp,
    /// Its changeable part.
    pub profile: SeatProfile,
}

/// The data that a person may set for a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatProfile {
    /// The e-mail address, unique in the account, compared without case.
    pub email: Email,
    /// Given name.
    pub first_name: Option<ShownText>,
    /// Family name.
    pub last_name: Option<ShownText>,
    /// The number to which calls are forwarded.
    pub forwarding_number: Option<PhoneNumber>,
    /// The user's id at the identity provider, unique in the account.
    pub auth_subject: Option<AuthSubject>,
    /// The most codes that may be given for this seat in an hour, per secret.
    pub codes_per_hour: Option<u32>,
}

/// The name of a seat in a call: its id, or the user's id at the identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeatName {
    /// The seat's own id.
    Id(SeatId),
    /// Its `auth_subject`.
    Subject(AuthSubject),
}

impl SeatProfile {
    /// The id that its `auth_subject` would be read as: where both are accepted, an id takes precedence.
    pub fn subject_as_id(&self) -> Option<SeatId> {
        self.auth_subject.as_ref()?.as_str().parse().ok()
    }
}
