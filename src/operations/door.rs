//! The door: the checks that every call of an operation passes once. Scope, seat and grant come first, then the
//! operation's body; refusals from any of them are counted and get an audit row.

use std::{error::Error, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;

use super::{Patience, Refusal, Service};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        ids::SecretId,
        principal::Principal,
        scope::Scope,
        seat::Seat,
    },
    random::NoRandomness,
    vault::{OpenSealError, StoreError},
};

/// The greatest age of a caller's rights when the work of a call begins: a transport may hold a message until its turn.
const RIGHTS_FRESH: Duration = Duration::from_secs(1);

/// The callers that may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Callers who hold this scope.
    Scope(Scope),
    /// Callers who hold `codes:read`, and those who hold `codes:decoy`: they get decoys.
    Codes,
    /// Holders of an API key: not of a token, nor a login.
    Key,
    /// The person at the command line.
    Person,
}

/// The effect of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Read,
    /// It marks something as used, so the same call again may be answered differently.
    Use,
    /// It types something into a page of a browser, and marks it as used.
    Fill,
    /// It adds something. Callers limited to given secrets may not call it.
    Add,
    /// It asks a person to add something. Callers limited to given secrets may not call it either.
    Ask,
    /// It changes something.
    Change,
    /// It removes something.
    Erase,
}

/// The properties of an operation that hold for every call.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its name; the mirrored API's, if it has one.
    pub name: &'static str,
    /// The callers that may call it.
    pub access: Access,
    /// Its action in the audit log.
    pub action: Action,
    /// Its effect.
    pub effect: Effect,
}

impl Spec {
    /// An operation for the person at the command line.
    pub(super) const fn person(name: &'static str, action: Action, effect: Effect) -> Self {
        Self { name, access: Access::Person, action, effect }
    }

    /// Whether the operation can work for a caller.
    pub fn works_for(&self, caller: &Principal) -> bool {
        self.check(caller).is_ok()
    }

    fn check(&self, caller: &Principal) -> Result<(), Refusal> {
        match self.access {
            Access::Codes if !caller.may(Scope::CodesRead) && !caller.may(Scope::CodesDecoy) => {
                let fills = caller.may(Scope::CodesFill);
                Err(if fills { Refusal::FillOnly } else { Refusal::MissingScope(Scope::CodesRead) })
            }
            Access::Scope(scope) if !caller.may(scope) => Err(Refusal::MissingScope(scope)),
            Access::Key if !matches!(caller.actor(), Actor::Key(_)) => Err(Refusal::KeyOnly),
            Access::Person if !caller.is_person() => Err(Refusal::PersonOnly),
            // The operation adds something that such a caller could not see.
            Access::Scope(_) | Access::Codes | Access::Key | Access::Person
                if caller.is_limited() && matches!(self.effect, Effect::Add | Effect::Ask) =>
            {
                Err(Refusal::Limited)
            }
            Access::Scope(_) | Access::Codes | Access::Key | Access::Person => Ok(()),
        }
    }
}

/// The seat for which a call is made.
#[derive(Debug, Clone, Copy)]
pub enum ForSeat<'a> {
    /// No seat: only the caller's own seat is checked, if it has one.
    Nobody,
    /// The named seat, or the one to which the caller is bound.
    Named(Option<&'a str>),
}

/// One operation. Its fields are its arguments.
pub trait Operation: Sized + Send + Sync {
    /// The properties that hold for every call.
    const SPEC: Spec;
    /// The result of a call.
    type Output: Send;

    /// The properties of this particular call, if its caller or arguments change them.
    fn spec_for(&self, _: &Principal) -> Spec {
        Self::SPEC
    }

    /// The secret that it works on.
    fn secret(&self) -> Option<SecretId> {
        None
    }

    /// The seat for which it is called.
    fn seat(&self) -> ForSeat<'_> {
        ForSeat::Nobody
    }

    /// The body. The door writes its error to the audit log.
    fn run(self, call: &mut Call<'_>) -> impl Future<Output = Result<Self::Output, Failed>> + Send;
}

/// One call, as an operation's body sees it.
pub struct Call<'a> {
    /// The service that the operation uses.
    pub(super) service: &'a Service,
    /// The caller.
    pub(super) caller: &'a Principal,
    /// Notified while the call waits.
    pub(super) patience: &'a dyn Patience,
    /// The call's audit row. The body adds fields to it; a refusal is written with the fields that are known by then.
    pub(super) entry: AuditEntry,
    /// The seat for which the call is made.
    pub(super) seat: Option<Seat>,
}

/// The error of a call.
#[derive(Debug)]
pub enum Failed {
    /// A refusal that the caller can act on.
    Refused(Refusal),
    /// An error of the store.
    Store(StoreError),
    /// A bug, or a machine without randomness.
    Internal(Box<dyn Error + Send + Sync>),
}

impl Service {
    /// Carries out an operation for a caller.
    ///
    /// # Errors
    /// [`Refusal`]; it is in the audit log, unless that can't be written.
    pub async fn perform<O: Operation>(&self, caller: &Principal, operation: O) -> Result<O::Output, Refusal> {
        self.perform_for(caller, operation, &()).await
    }

    /// As [`Self::perform`], with notifications to the caller while the call waits.
    ///
    /// # Errors
    /// [`Refusal`]; it is in the audit log, unless that can't be written.
    pub async fn perform_for<O: Operation>(
        &self,
        caller: &Principal,
        operation: O,
        patience: &dyn Patience,
    ) -> Result<O::Output, Refusal> {
        if O::SPEC.effect != Effect::Read {
            // With a wrong clock, a code would be wrong, and an audit row would be out of place.
            self.check_clock()?;
        }
        let mut entry = AuditEntry::of(caller, operation.spec_for(caller).action, self.now());
        entry.secret = operation.secret();
        let mut call = Call { service: self, caller, patience, entry, seat: None };
        let work = async {
            call.admit(&operation).await?;
            operation.run(&mut call).await
        };
        // A caller whose call panics gets an answer, and the audit log its row.
        let done = AssertUnwindSafe(work).catch_unwind().await;
        match done.unwrap_or_else(|_panic| Err(Failed::Internal(Box::new(Panicked { during: O::SPEC.name })))) {
            Ok(output) => Ok(output),
            Err(failed) => {
                let refusal = self.refusal_of(failed);
                Err(self.refuse(refusal, AuditEntry { at: self.now(), ..call.entry }).await)
            }
        }
    }

    /// Refuses a call with invalid arguments, in the audit log. If the caller lacks the scope, the refusal reports only
    /// that.
    pub async fn refuse_arguments(&self, caller: &Principal, spec: &Spec, refusal: Refusal) -> Refusal {
        let refusal = spec.check(caller).err().unwrap_or(refusal);
        self.refuse(refusal, AuditEntry::of(caller, spec.action, self.now())).await
    }

    /// Refuses a call that did not reach an operation, in the audit log.
    pub async fn record_refusal(&self, caller: &Principal, action: Action, refusal: Refusal) -> Refusal {
        self.refuse(refusal, AuditEntry::of(caller, action, self.now())).await
    }

    /// The refusal for a failure. The cause goes to the log.
    pub(super) fn refusal_of(&self, failed: Failed) -> Refusal {
        match failed {
            Failed::Refused(refusal) => refusal,
            Failed::Store(StoreError::Unavailable(obstacle)) => {
                tracing::warn!(%obstacle, "the vault is unavailable");
                Refusal::Unavailable { obstacle: Some(obstacle) }
            }
            Failed::Store(cause @ StoreError::Unknown(_)) => {
                tracing::error!(%cause, "a change may or may not have been kept");
                Refusal::OutcomeUnknown
            }
            Failed::Store(StoreError::Damaged { what }) => {
                tracing::error!(%what, "the vault is damaged");
                Refusal::Damaged(what)
            }
            Failed::Internal(cause) => self.internal(cause.as_ref()),
        }
    }

    /// Reports a bug that a transport found; the transport writes the audit row. The cause must hold nothing that a
    /// caller sent.
    pub fn bug(&self, cause: &dyn Error) -> Refusal {
        self.internal(cause)
    }

    /// Reports a panic that a transport caught; the transport writes the audit row. The panic's message is not logged:
    /// it may quote anything.
    pub fn panicked(&self, during: &'static str) -> Refusal {
        self.bug(&Panicked { during })
    }

    fn internal(&self, cause: &dyn Error) -> Refusal {
        let id = self.shared.random.random_id().map_or_else(|_| "0".to_owned(), |id| id.simple().to_string());
        tracing::error!(%id, %cause, "internal error");
        Refusal::Internal { id }
    }
}

impl Call<'_> {
    async fn admit<O: Operation>(&mut self, operation: &O) -> Result<(), Failed> {
        operation.spec_for(self.caller).check(self.caller)?;
        if self.caller.is_stale(self.entry.at, RIGHTS_FRESH) {
            self.service.still_valid(self.caller).await?;
        }
        match operation.seat() {
            ForSeat::Nobody => self.service.require_own_seat(self.caller).await?,
            ForSeat::Named(name) => {
                self.seat = self.service.seat_for(self.caller, name).await?;
                self.entry.seat = self.seat.as_ref().map(|seat| seat.id);
            }
        }
        match operation.secret() {
            Some(secret) if !self.caller.sees(secret) => Err(Refusal::NotFound("secret").into()),
            _ => Ok(()),
        }
    }

    /// Counts a use of a secret that the caller may see, if uses are limited. Calls for other secrets must not use up
    /// the limit or reveal anything through it.
    pub(super) async fn count_use(&self, secret: SecretId) -> Result<(), Refusal> {
        let Some(pace) = self.service.shared.secret_pace.get() else { return Ok(()) };
        self.service.count(pace, secret.as_bytes()).await
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Failed {
    fn from(cause: StoreError) -> Self {
        Self::Store(cause)
    }
}

impl From<NoRandomness> for Failed {
    fn from(cause: NoRandomness) -> Self {
        Self::Internal(Box::new(cause))
    }
}

impl From<OpenSealError> for Failed {
    fn from(cause: OpenSealError) -> Self {
        Self::Internal(Box::new(cause))
    }
}

/// An operation that panicked.
#[derive(Debug, thiserror::Error)]
#[error("{during} panicked")]
struct Panicked {
    during: &'static str,
}
