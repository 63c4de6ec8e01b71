//! An enrolment: an agent asks for a secret, and an authenticated person adds it.

use super::{
    ids::{AccountId, EnrolmentId, SeatId, SecretId},
    text::ShownText,
    time::Timestamp,
};

/// One enrolment. It is kept for as long as its result can be queried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Its identity.
    pub id: EnrolmentId,
    /// The account that the secret will belong to.
    pub account: AccountId,
    /// A keyed hash of the caller: nobody else may query the result.
    pub caller: [u8; 32],
    /// The person whom it is for.
    pub seat: Option<SeatId>,
    /// What the agent calls the secret.
    pub label: Option<ShownText>,
    /// A keyed hash of the token in the link.
    pub proof: [u8; 32],
    /// Its state.
    pub state: EnrolmentState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the link stops working.
    pub expires_at: Timestamp,
}

/// The state of an enrolment. Expiry is derived from the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrolmentState {
    /// The person has not answered.
    Pending,
    /// The secret is stored.
    Stored(SecretId),
    /// The person declined.
    Declined,
    /// The agent cancelled it.
    Cancelled,
}
