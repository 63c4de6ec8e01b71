//! An enrolment: an agent requests a secret, and a person adds it after a proof of identity. Never here: a clock, a
//! store.

use super::{
    audit::Actor,
    ids::{AccountId, EnrolmentId, SeatId, SecretId},
    limits::ENROLMENT_TRIES_MAX,
    origin::Origin,
    principal::{Client, Principal},
    text::ShownText,
    time::Timestamp,
};

/// One enrolment. It is kept for a while after its end, so that its result can be queried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// Its identity. The link's token is made from it by the vault's key.
    pub id: EnrolmentId,
    /// The account that the secret will belong to.
    pub account: AccountId,
    /// The caller that requested it: no other caller may query the result.
    pub asker: Asker,
    /// The seat whose person it is for.
    pub seat: Option<SeatId>,
    /// The agent's description of the secret.
    pub proposal: Proposal,
    /// The proof of identity that the person has to give.
    pub proof: ProofWanted,
    /// Tries at the proof that have begun and not succeeded.
    pub tries: u32,
    /// Whether a person has given the proof and seen the request.
    pub opened: bool,
    /// Its state.
    pub state: EnrolmentState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the link stops working.
    pub expires_at: Timestamp,
}

/// The caller that requested an enrolment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The actor of the call.
    pub actor: Actor,
    /// The seat to which the caller is bound.
    pub seat: Option<SeatId>,
    /// What its client claims about itself, for the person to read.
    pub client: Client,
}

/// An agent's description of a secret that it does not have. The person sees it and may change it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proposal {
    /// The label of the secret.
    pub label: Option<ShownText>,
    /// The service that issued it.
    pub issuer: Option<ShownText>,
    /// The web origins that its codes may be typed into.
    pub origins: Vec<Origin>,
}

/// The proof that an enrolment is a person's to answer. The link alone proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofWanted {
    /// The person is the user who runs the sidecar on this machine: the connection's other end belongs to that user, or
    /// the person types the phrase that the user's terminal shows.
    Machine,
    /// The person is the seat's: a proxy has signed them in, or they type the seat's PIN.
    Seat,
}

/// The state of an enrolment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrolmentState {
    /// The person has not answered.
    Pending,
    /// The secret is stored.
    Stored(SecretId),
    /// The person declined.
    Declined,
    /// Too many wrong proofs were given, or the agent's user cancelled it.
    Cancelled,
    /// The person did not answer in time.
    Expired,
}

impl ProofWanted {
    /// The word that the record keeps. It never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Seat => "seat",
        }
    }

    /// Reads the word back.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Machine, Self::Seat].into_iter().find(|proof| proof.as_str() == word)
    }
}

impl Asker {
    /// The part of a caller that an enrolment stores.
    pub fn of(caller: &Principal) -> Self {
        Self { actor: caller.actor(), seat: caller.seat(), client: caller.client().clone() }
    }
}

impl Enrolment {
    /// Its state at a time: an enrolment that is still pending at its end has expired.
    pub fn state_at(&self, now: Timestamp) -> EnrolmentState {
        let is_over = self.state == EnrolmentState::Pending && self.expires_at <= now;
        if is_over { EnrolmentState::Expired } else { self.state }
    }

    /// Whether a person may still answer it.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.state_at(now) == EnrolmentState::Pending
    }

    /// Whether a caller is the one that requested it. The client's claims about itself are ignored.
    pub fn is_of(&self, caller: &Principal) -> bool {
        let Asker { actor, seat, client: _ } = &self.asker;
        (self.account, *actor, *seat) == (caller.account(), caller.actor(), caller.seat())
    }

    /// Tries at the proof that are left.
    pub const fn tries_left(&self) -> u32 {
        ENROLMENT_TRIES_MAX.saturating_sub(self.tries)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::scope::ScopeSet;

    fn enrolment(caller: &Principal) -> Enrolment {
        Enrolment {
            id: EnrolmentId::new(Uuid::from_u128(1)),
            account: caller.account(),
            asker: Asker::of(caller),
            seat: None,
            proposal: Proposal::default(),
            proof: ProofWanted::Machine,
            tries: 0,
            opened: false,
            state: EnrolmentState::Pending,
            created_at: Timestamp::from_seconds(0),
            expires_at: Timestamp::from_seconds(600),
        }
    }

    fn account(number: u128) -> AccountId {
        AccountId::new(Uuid::from_u128(number))
    }

    #[test]
    fn an_enrolment_expires_at_its_end_unless_it_was_answered() {
        let mut enrolment = enrolment(&Principal::person(account(1)));
        assert!(enrolment.is_open(Timestamp::from_seconds(599)));
        assert_eq!(enrolment.state_at(Timestamp::from_seconds(600)), EnrolmentState::Expired);

        enrolment.state = EnrolmentState::Declined;
        assert_eq!(enrolment.state_at(Timestamp::from_seconds(600)), EnrolmentState::Declined);
        assert!(!enrolment.is_open(Timestamp::from_seconds(0)));
    }

    #[test]
    fn an_enrolment_is_of_the_caller_who_asked_whatever_its_client_says() {
        let seat = Some(SeatId::new(Uuid::from_u128(7)));
        let asked = Principal::stdio(account(1), ScopeSet::ALL, seat);
        let enrolment = enrolment(&asked);

        assert!(enrolment.is_of(&asked.through(Client::default())));
        for other in [
            Principal::stdio(account(1), ScopeSet::ALL, None),
            Principal::stdio(account(2), ScopeSet::ALL, seat),
            Principal::person(account(1)),
        ] {
            assert!(!enrolment.is_of(&other), "{other:?}");
        }
    }
}
