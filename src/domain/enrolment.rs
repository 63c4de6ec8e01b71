//! An enrolment: an agent asks for a secret, and a person, who proves who they are, adds it.

use super::{
    ids::{AccountId, EnrolmentId, SeatId, SecretId},
    text::ShownText,
    time::Timestamp,
};

/// One enrolment, for as long as its answer can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Its identity.
    pub id: EnrolmentId,
    /// The account that the secret will belong to.
    pub account: AccountId,
    /// A keyed hash of who asked: nobody else hears how it ended.
    pub caller: [u8; 32],
    /// The person whom it is for.
    pub seat: Option<SeatId>,
    /// What the agent calls the secret.
    pub label: Option<ShownText>,
    /// A keyed hash of the token in the link.
    pub proof: [u8; 32],
    /// How far it is.
    pub state: EnrolmentState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the link stops working.
    pub expires_at: Timestamp,
}

/// How far an enrolment is. That it expired is seen from the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrolmentState {
    /// The person has not answered.
    Pending,
    /// The secret is stored.
    Stored(SecretId),
    /// The person said no.
    Declined,
    /// The agent took it back.
    Cancelled,
}
