//! A person proves their identity by signing in at an identity provider, in the browser that opened the link.
//!
//! A sign-in's state is derived by the vault's key from the value that the browser keeps, so neither the store nor this
//! process holds it, and any process may complete it. It works only once because the provider's code does.

use std::{net::IpAddr, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{ErrorCode, Failed, Refusal, Service, retries::Retries};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        enrolment::{Enrolment, EnrolmentState},
        ids::{AccountId, EnrolmentId},
        seat::{Seat, SeatName},
    },
    vault::{Derived, Outcome, Versioned},
};

/// A sign-in that is under way in one browser. No `Debug`.
pub struct SignIn {
    /// The enrolment whose link is to be opened.
    pub id: EnrolmentId,
    /// The value that the browser keeps.
    pub kept: String,
    /// The `state` that the provider sends back.
    pub state: String,
    /// The `nonce` that the provider writes into its token.
    pub nonce: String,
    /// The verifier that redeems the provider's code. Only the provider receives it.
    pub verifier: Zeroizing<String>,
}

/// The outcome of a sign-in.
pub enum SignedIn {
    /// The person signed in. They may open the link, with a ticket, until it stops working.
    Proven {
        /// The token in the link.
        token: String,
        /// The ticket that the page accepts as the proof.
        ticket: String,
        /// The time until the link stops working.
        left: Duration,
    },
    /// Another person signed in. The person may sign in as themselves.
    Anothers {
        /// The token in the link.
        token: String,
    },
    /// The sign-in failed at the provider. The person may open the link again.
    Failed {
        /// The token in the link.
        token: String,
    },
    /// The enrolment has ended, or was removed.
    Ended(EnrolmentState),
}

impl SignIn {
    /// Whether the `state` of an answer belongs to this sign-in.
    pub fn is_of(&self, state: &str) -> bool {
        self.state.as_bytes().ct_eq(state.as_bytes()).into()
    }
}

impl Service {
    /// Begins a sign-in for the person of a link. `None`: the link is not open, or its person can't sign in.
    ///
    /// # Errors
    /// `unavailable`, `internal`.
    pub async fn begin_sign_in(&self, token: &str, from: Option<IpAddr>) -> Result<Option<SignIn>, Refusal> {
        let row = AuditEntry::by(Actor::Unknown, Action::EnrolProve, self.now());
        self.on_page((row, from), self.try_begin(token)).await
    }

    async fn try_begin(&self, token: &str) -> Result<Option<SignIn>, Failed> {
        let open = self.enrolment_of(token).await?.filter(|kept| kept.is_open(self.now()));
        let Some(kept) = open else { return Ok(None) };
        let seat = self.seat_of(&kept).await?;
        if !seat.is_some_and(|seat| self.can_sign_in(kept.account, &seat)) {
            return Ok(None);
        }
        let mut salt = [0; 16];
        self.shared.random.fill(&mut salt)?;
        Ok(Some(self.sign_in_for(kept.id, salt)))
    }

    /// The sign-in of a browser, by the value that it has kept.
    pub fn kept_sign_in(&self, kept: &str) -> Option<SignIn> {
        let bytes: [u8; 32] = BASE64URL_NOPAD.decode(kept.as_bytes()).ok()?.try_into().ok()?;
        let (id, salt) = bytes.split_first_chunk::<16>()?;
        Some(self.sign_in_for(EnrolmentId::from_slice(id).ok()?, salt.try_into().ok()?))
    }

    fn sign_in_for(&self, id: EnrolmentId, salt: [u8; 16]) -> SignIn {
        let derived = |what| BASE64URL_NOPAD.encode(&self.vault().derived_for(what, id, &salt));
        SignIn {
            id,
            kept: BASE64URL_NOPAD.encode(&[id.as_bytes().as_slice(), &salt].concat()),
            state: derived(Derived::SignInState),
            nonce: derived(Derived::SignInNonce),
            verifier: Zeroizing::new(derived(Derived::SignInVerifier)),
        }
    }

    /// Completes a sign-in, with the subject whom the provider of an account's people has signed in, or the error. Each
    /// outcome is in the audit log.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn sign_in(
        &self,
        of: &SignIn,
        (at, who): (AccountId, Result<&str, ErrorCode>),
        from: Option<IpAddr>,
    ) -> Result<SignedIn, Refusal> {
        let row = AuditEntry::by(Actor::Unknown, Action::EnrolProve, self.now());
        self.on_page((row, from), self.try_sign_in(of, (at, who), from)).await
    }

    async fn try_sign_in(
        &self,
        of: &SignIn,
        (at, who): (AccountId, Result<&str, ErrorCode>),
        from: Option<IpAddr>,
    ) -> Result<SignedIn, Failed> {
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let Some(kept) = self.settled(of.id).await? else {
                return Ok(SignedIn::Ended(EnrolmentState::Expired));
            };
            if kept.state != EnrolmentState::Pending {
                return Ok(SignedIn::Ended(kept.state));
            }
            let token = self.token_of(kept.id);
            let subject = match who {
                Ok(subject) => subject,
                Err(code) => {
                    self.note_stranger(&kept, code, from).await;
                    return Ok(SignedIn::Failed { token });
                }
            };
            if kept.account != at || !self.is_person(&kept, subject).await? {
                self.note_stranger(&kept, ErrorCode::PermissionDenied, from).await;
                return Ok(SignedIn::Anothers { token });
            }
            let row = self.enrolment_row(&kept, Actor::Page, Action::EnrolProve);
            // Nothing changes, but the enrolment must still be open when the row is written.
            if self.vault().draft(row).unchanged(&kept).commit().await? == Outcome::Done {
                let left = self.now().until(kept.expires_at);
                return Ok(SignedIn::Proven { token, ticket: self.enrolment_ticket(kept.id, None), left });
            }
            retries.again().await?;
        }
    }

    /// Whether a provider's subject is, exactly, that of an enrolment's seat.
    async fn is_person(&self, kept: &Enrolment, subject: &str) -> Result<bool, Failed> {
        let seat = self.seat_of(kept).await?;
        let own = seat.as_ref().and_then(|seat| seat.profile.auth_subject.as_ref());
        Ok(own.is_some_and(|own| own.as_str() == subject))
    }

    /// The seat whose person answers an enrolment.
    pub(super) async fn seat_of(&self, kept: &Enrolment) -> Result<Option<Versioned<Seat>>, Failed> {
        match kept.seat {
            Some(id) => Ok(self.vault().seat(kept.account, &SeatName::Id(id)).await?),
            None => Ok(None),
        }
    }

    /// Whether the person of a seat can sign in at the page's identity provider.
    pub(super) fn can_sign_in(&self, account: AccountId, seat: &Seat) -> bool {
        let provider = self.enrolment_page().ok().and_then(super::EnrolmentPage::provider);
        provider == Some(account) && seat.profile.auth_subject.is_some()
    }
}
