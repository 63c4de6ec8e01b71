//! A person opens the link of an enrolment, and proves their identity. The link alone opens nothing: an attacker who
//! sends a victim a link would otherwise get the victim's seed into the attacker's own account.

use std::{net::IpAddr, time::Duration};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{ErrorCode, Failed, Operation, Refusal, Service, Spec, retries::Retries};
use crate::{
    domain::{
        account::Account,
        audit::{Action, Actor, AuditEntry, Outcome as AuditOutcome},
        enrolment::{Enrolment, EnrolmentState, ProofWanted, Proposal},
        ids::{AccountId, EnrolmentId, SeatId},
        principal::Client,
        seat::Seat,
        text::Name,
        time::Timestamp,
        words::normal_words,
    },
    operations::{Call, Effect},
    vault::{Outcome, Versioned},
};

/// The facts that a transport knows about the person who opened a link.
#[derive(Clone, Copy)]
pub struct Visitor<'a> {
    /// The token in the link.
    pub token: &'a str,
    /// Whether the connection's other end is the user who runs this process. `None`: that can't be found out.
    pub same_user: Option<bool>,
    /// The user whom a proxy in front of the page has signed in.
    pub signed_in: Option<&'a str>,
    /// The ticket that the page gave to a person who proved their identity.
    pub ticket: Option<&'a str>,
    /// A PIN or a phrase.
    pub typed: Option<&'a str>,
    /// Whether a person probably sees the answer: browsers and bots fetch pages ahead.
    pub looks: bool,
    /// The address that they come from, as far as it is known.
    pub from: Option<IpAddr>,
}

impl Visitor<'_> {
    fn has(&self, ticket: &str) -> bool {
        self.ticket.is_some_and(|sent| sent.as_bytes().ct_eq(ticket.as_bytes()).into())
    }
}

/// The ticket of a visitor who proved their identity, or the answer for any other visitor.
type Proof = Result<String, Visited>;

/// The answer to a visitor.
pub enum Visited {
    /// No link has this token.
    Unknown,
    /// The enrolment has ended. The page does not reveal its secret.
    Ended(EnrolmentState),
    /// The visitor must prove their identity.
    Ask(ProofRequest),
    /// The visitor is signed in as another person.
    Anothers,
    /// The person of the seat has no means of proof.
    NoProof,
    /// The visitor is the person.
    Proven(Box<Proven>),
}

/// The proof that a visitor is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofRequest {
    /// The enrolment, whose phrase a terminal shows.
    pub id: EnrolmentId,
    /// Whether it is the phrase on the terminal or a proof by the person of a seat.
    pub proof: ProofWanted,
    /// Whether there is a phrase or a PIN to type.
    pub types: bool,
    /// Whether the visitor can sign in at the identity provider instead.
    pub signs_in: bool,
    /// The problem with the previous proof.
    pub problem: Option<ProofProblem>,
}

/// The problem with a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofProblem {
    /// It was wrong; this many tries are left.
    Wrong(u32),
    /// Too many were wrong recently; the next try may be made after this time.
    Held(Duration),
}

/// An enrolment whose person has proved their identity. Only this file makes one.
pub struct Proven {
    pub(super) id: EnrolmentId,
    pub(super) actor: Actor,
    /// The audit row of a step, but for its action.
    pub(super) row: AuditEntry,
    pub(super) from: Option<IpAddr>,
    /// The data that the person is shown.
    pub view: EnrolmentView,
    /// The ticket that each form must send back.
    pub ticket: String,
}

impl Proven {
    /// The account and the seat of the person. Without a seat, the person is the user who runs the account's sidecar.
    pub const fn who(&self) -> (Option<AccountId>, Option<SeatId>) {
        (self.row.account, self.row.seat)
    }
}

/// An enrolment, as its person sees it.
pub struct EnrolmentView {
    /// The two words that the chat shows too.
    pub words: String,
    /// The account that the secret will belong to.
    pub account: Name,
    /// The agent's client, by its own claim.
    pub client: Client,
    /// The name of the agent's key, if it has one.
    pub key: Option<Name>,
    /// Whether a person at a terminal began it.
    pub is_person: bool,
    /// The seat of the person for whom it is.
    pub seat: Option<Seat>,
    /// The agent's proposal for the secret.
    pub proposal: Proposal,
    /// When the link stops working.
    pub expires_at: Timestamp,
}

/// Opens an enrolment for the person at the command line, who needs no other proof.
#[derive(Debug, Clone, Copy)]
pub struct OpenEnrolment {
    /// The enrolment.
    pub id: EnrolmentId,
}

impl Operation for OpenEnrolment {
    const SPEC: Spec = Spec::person("open_enrolment", Action::EnrolOpen, Effect::Change);
    type Output = Result<Proven, EnrolmentState>;

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Output, Failed> {
        let kept = call.service.settled(self.id).await?.filter(|kept| kept.account == call.caller.account());
        let kept = kept.ok_or(Refusal::NotFound("enrolment"))?;
        if kept.state != EnrolmentState::Pending {
            return Ok(Err(kept.state));
        }
        call.service.open(&kept, Actor::Person).await?;
        let ticket = call.service.enrolment_ticket(kept.id, None);
        call.service.proven(&kept, (Actor::Person, None), ticket).await.map(Ok)
    }
}

impl Service {
    /// Admits a visitor who opened a link, if they prove their identity.
    ///
    /// # Errors
    /// `unavailable`, `internal`.
    pub async fn visit(&self, visitor: Visitor<'_>) -> Result<Visited, Refusal> {
        let row = AuditEntry::by(Actor::Unknown, Action::EnrolProve, self.now());
        self.on_page((row, visitor.from), self.try_visit(visitor)).await
    }

    async fn try_visit(&self, visitor: Visitor<'_>) -> Result<Visited, Failed> {
        let Some(found) = self.enrolment_of(visitor.token).await? else {
            // A guess at a token has no account.
            let row = AuditEntry::by(Actor::Unknown, Action::EnrolProve, self.now());
            self.record_own(ErrorCode::NotFound, row, visitor.from).await;
            return Ok(Visited::Unknown);
        };
        let Some(kept) = self.settled(found.id).await? else { return Ok(Visited::Unknown) };
        if kept.state != EnrolmentState::Pending {
            return Ok(Visited::Ended(kept.state));
        }
        let proved = match kept.proof {
            ProofWanted::Machine => self.prove_machine(&kept, visitor).await?,
            ProofWanted::Seat => self.prove_seat(&kept, visitor).await?,
        };
        let ticket = match proved {
            Ok(ticket) => ticket,
            Err(other) => return Ok(other),
        };
        if visitor.looks {
            self.open(&kept, Actor::Page).await?;
        }
        Ok(Visited::Proven(Box::new(self.proven(&kept, (Actor::Page, visitor.from), ticket).await?)))
    }

    /// The ticket of the user of this machine who runs the process, if that is the visitor.
    async fn prove_machine(&self, kept: &Versioned<Enrolment>, visitor: Visitor<'_>) -> Result<Proof, Failed> {
        let ticket = self.enrolment_ticket(kept.id, None);
        if visitor.same_user == Some(true) || visitor.has(&ticket) {
            return Ok(Ok(ticket));
        }
        let (id, proof) = (kept.id, ProofWanted::Machine);
        let ask = |problem| Visited::Ask(ProofRequest { id, proof, types: true, signs_in: false, problem });
        let Some(typed) = visitor.typed else {
            let is_other = visitor.same_user == Some(false);
            let code = if is_other { ErrorCode::PermissionDenied } else { ErrorCode::Unauthenticated };
            self.note_stranger(kept, code, visitor.from).await;
            return Ok(Err(ask(None)));
        };
        let (phrase, typed) = (self.enrolment_phrase(kept.id), Zeroizing::new(normal_words(typed)));
        let kept = match self.take_try(kept.id).await? {
            Ok(kept) => kept,
            Err(ended) => return Ok(Err(Visited::Ended(ended))),
        };
        let right = bool::from(phrase.as_bytes().ct_eq(typed.as_bytes())).then_some(ticket);
        self.tried(&kept, right, ask).await
    }

    /// The ticket of the person of the enrolment's seat, if that is the visitor.
    async fn prove_seat(&self, kept: &Versioned<Enrolment>, visitor: Visitor<'_>) -> Result<Proof, Failed> {
        let seat = self.seat_of(kept).await?;
        let Some(seat) = seat else {
            self.note_stranger(kept, ErrorCode::PermissionDenied, visitor.from).await;
            return Ok(Err(Visited::NoProof));
        };
        let ticket = self.enrolment_ticket(kept.id, None);
        if let Some(user) = visitor.signed_in {
            if is_person_of(&seat, user) {
                return Ok(Ok(ticket));
            }
            self.note_stranger(kept, ErrorCode::PermissionDenied, visitor.from).await;
            return Ok(Err(Visited::Anothers));
        }
        let pin = self.vault().seat_pin(seat.id).await?;
        // A ticket by a PIN is valid only as long as the seat has that PIN.
        let of_pin = pin.as_ref().map(|pin| self.enrolment_ticket(kept.id, Some(pin)));
        if let Some(ticket) = [Some(ticket), of_pin].into_iter().flatten().find(|ticket| visitor.has(ticket)) {
            return Ok(Ok(ticket));
        }
        let has_pin = pin.is_some();
        let (id, proof, signs_in) = (kept.id, ProofWanted::Seat, self.can_sign_in(kept.account, &seat));
        let ask = |problem| Visited::Ask(ProofRequest { id, proof, types: has_pin, signs_in, problem });
        let Some(typed) = visitor.typed.filter(|_| has_pin) else {
            self.note_stranger(kept, ErrorCode::Unauthenticated, visitor.from).await;
            return Ok(Err(if has_pin || signs_in { ask(None) } else { Visited::NoProof }));
        };
        let pin = match self.count_pin_try(seat.id).await? {
            Ok(pin) => pin,
            Err(after) => {
                self.note_stranger(kept, ErrorCode::RateLimited, visitor.from).await;
                return Ok(Err(ask(Some(ProofProblem::Held(after)))));
            }
        };
        let kept = match self.take_try(kept.id).await? {
            Ok(kept) => kept,
            Err(ended) => return Ok(Err(Visited::Ended(ended))),
        };
        let right = self.is_pin(&pin, Zeroizing::new(typed.to_owned())).await?;
        self.tried(&kept, right.then(|| self.enrolment_ticket(kept.id, Some(&pin))), ask).await
    }

    /// Counts a try before it is checked, so that concurrent tries can't exceed the limit.
    async fn take_try(&self, id: EnrolmentId) -> Result<Result<Versioned<Enrolment>, EnrolmentState>, Failed> {
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let Some(kept) = self.settled(id).await? else { return Ok(Err(EnrolmentState::Expired)) };
            if kept.state != EnrolmentState::Pending {
                return Ok(Err(kept.state));
            }
            if kept.tries_left() == 0 {
                // The last try ends the enrolment, but its caller may have gone before that was stored.
                let ended = self.finish(id, EnrolmentState::Cancelled, (Actor::System, Action::EnrolCancel)).await?;
                return Ok(Err(ended));
            }
            let new = Enrolment { tries: kept.tries.saturating_add(1), ..kept.value.clone() };
            if self.vault().silent_draft().replace(&kept, &new).commit().await? == Outcome::Done {
                return Ok(Ok(self.vault().enrolment(id).await?.ok_or(Refusal::NotFound("enrolment"))?));
            }
            retries.again().await?;
        }
    }

    /// Records the result of a try; a right one returns its ticket. The last wrong one ends the enrolment.
    async fn tried(
        &self,
        kept: &Versioned<Enrolment>,
        ticket: Option<String>,
        ask: impl Fn(Option<ProofProblem>) -> Visited,
    ) -> Result<Proof, Failed> {
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let Some(now) = self.vault().enrolment(kept.id).await? else { return Ok(Err(Visited::Unknown)) };
            let outcome = if ticket.is_some() { AuditOutcome::Ok } else { AuditOutcome::Wrong };
            let row = AuditEntry { outcome, ..self.enrolment_row(&now, Actor::Page, Action::EnrolProve) };
            if now.state != EnrolmentState::Pending {
                // Another try that was made at the same time was the last.
                self.vault().record(vec![row]).await?;
                return Ok(Err(Visited::Ended(now.state)));
            }
            let mut draft = self.vault().draft(row);
            let mut new = now.value.clone();
            if ticket.is_some() {
                new.tries = new.tries.saturating_sub(1);
            } else if new.tries_left() == 0 {
                new.state = EnrolmentState::Cancelled;
                draft = draft.entry(self.enrolment_row(&now, Actor::System, Action::EnrolCancel));
            }
            if draft.replace(&now, &new).commit().await? != Outcome::Done {
                retries.again().await?;
                continue;
            }
            if new.state == EnrolmentState::Cancelled {
                self.end(now.id);
                return Ok(Err(Visited::Ended(new.state)));
            }
            return Ok(ticket.ok_or_else(|| ask(Some(ProofProblem::Wrong(new.tries_left())))));
        }
    }

    /// Records in the audit log that a visitor opened a link without the proof, or is another person. Beyond a limit
    /// they are only counted, as refusals are.
    pub(super) async fn note_stranger(&self, kept: &Enrolment, code: ErrorCode, from: Option<IpAddr>) {
        let row = self.enrolment_row(kept, Actor::Unknown, Action::EnrolProve);
        self.record_own(code, row, from).await;
    }

    /// Records that a form did not come from the page that its sender opened.
    pub async fn note_forged(&self, proven: &Proven) {
        let row =
            AuditEntry { actor: Actor::Unknown, action: Action::EnrolProve, at: self.now(), ..proven.row.clone() };
        self.record_own(ErrorCode::PermissionDenied, row, proven.from).await;
    }

    /// Records that the person saw the request for the first time.
    async fn open(&self, kept: &Versioned<Enrolment>, actor: Actor) -> Result<(), Failed> {
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let Some(now) = self.vault().enrolment(kept.id).await?.filter(|now| !now.opened) else { return Ok(()) };
            let row = self.enrolment_row(&now, actor, Action::EnrolOpen);
            let new = Enrolment { opened: true, ..now.value.clone() };
            if self.vault().draft(row).replace(&now, &new).commit().await? == Outcome::Done {
                return Ok(());
            }
            retries.again().await?;
        }
    }

    async fn proven(
        &self,
        kept: &Enrolment,
        (actor, from): (Actor, Option<IpAddr>),
        ticket: String,
    ) -> Result<Proven, Failed> {
        let key = match kept.asker.actor.key() {
            Some(id) => self.vault().key(id).await?.map(|kept| kept.key.name.clone()),
            None => None,
        };
        let seat = self.seat_of(kept).await?.map(|kept| kept.value);
        let account: Account = self.vault().account(kept.account).await?.ok_or(Refusal::NotFound("account"))?.value;
        let view = EnrolmentView {
            words: self.enrolment_words(kept.id),
            account: account.name,
            client: kept.asker.client.clone(),
            key,
            is_person: kept.asker.actor == Actor::Person,
            seat,
            proposal: kept.proposal.clone(),
            expires_at: kept.expires_at,
        };
        let row = self.enrolment_row(kept, actor, Action::EnrolProve);
        Ok(Proven { id: kept.id, actor, row, from, view, ticket })
    }

    /// Wakes the calls that wait for an enrolment, which has ended, and removes its typed seeds from memory.
    pub(super) fn end(&self, id: EnrolmentId) {
        self.shared.enrolments.staged.forget(id);
        self.enrolment_ended();
    }
}

/// Whether a proxy's name for a user is that of a seat's person: the e-mail address, or the `auth_subject` exactly.
fn is_person_of(seat: &Seat, user: &str) -> bool {
    let (email, subject) = (&seat.profile.email, &seat.profile.auth_subject);
    email.as_str().to_lowercase() == user.to_lowercase()
        || subject.as_ref().is_some_and(|subject| subject.as_str() == user)
}
