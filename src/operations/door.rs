//! The door: what every call of an operation passes, once. Scope, seat, grant; then the body; then, for whatever was
//! refused on the way, the counters and the audit row.

use std::{error::Error, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt as _;

use super::{Patience, Refusal, Service};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SecretId,
        principal::Principal,
        scope::Scope,
        seat::Seat,
    },
    random::NoRandomness,
    vault::{OpenSealError, StoreError},
};

/// How old rights may get between the moment they were read and the one in which work with them begins: a carrier may keep
/// a message until its turn comes.
const RIGHTS_FRESH: Duration = Duration::from_secs(1);

/// Who may call an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Callers who hold this scope.
    Scope(Scope),
    /// The person at the command line.
    Person,
}

/// What an operation does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Read,
    /// It marks something as used: the same call again may be answered otherwise.
    Use,
    /// It adds something. A caller that is limited to given secrets may not.
    Add,
    /// It changes something.
    Change,
    /// It takes something away.
    Erase,
}

/// What holds for every call of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Its name, the mirrored API's where that has it.
    pub name: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What the audit log calls it.
    pub action: Action,
    /// What it does to the world.
    pub effect: Effect,
}

impl Spec {
    /// An operation for the person at the command line.
    pub(super) const fn person(name: &'static str, action: Action, effect: Effect) -> Self {
        Self { name, access: Access::Person, action, effect }
    }

    /// Whether the operation can work for a caller.
    pub fn works_for(&self, caller: &Principal) -> bool {
        let may = match self.access {
            Access::Scope(scope) => caller.may(scope),
            Access::Person => caller.is_person(),
        };
        may && !(caller.is_limited() && self.effect == Effect::Add)
    }
}

/// For which seat a call is.
#[derive(Debug, Clone, Copy)]
pub enum ForSeat<'a> {
    /// For none: that the caller's own seat is still there is all that matters.
    Nobody,
    /// For the one that is named, or the one that the caller is bound to.
    Named(Option<&'a str>),
}

/// One operation, with what it takes.
pub trait Operation: Sized + Send + Sync {
    /// What holds for every call of it.
    const SPEC: Spec;
    /// What it answers.
    type Output: Send;

    /// The secret that it is on.
    fn secret(&self) -> Option<SecretId> {
        None
    }

    /// The seat that it is for.
    fn seat(&self) -> ForSeat<'_> {
        ForSeat::Nobody
    }

    /// Does it. An error is written to the audit log by the door.
    fn run(self, call: &mut Call<'_>) -> impl Future<Output = Result<Self::Output, Failed>> + Send;
}

/// One call, as a body sees it.
pub struct Call<'a> {
    /// What operations need.
    pub(super) service: &'a Service,
    /// Who calls.
    pub(super) caller: &'a Principal,
    /// What hears that the call waits.
    pub(super) patience: &'a dyn Patience,
    /// What the audit log will say of it. A body adds what it learns; a refusal is written with what is known by then.
    pub(super) entry: AuditEntry,
    /// The seat that the call is for.
    pub(super) seat: Option<Seat>,
}

/// Why a body did not do what was asked.
#[derive(Debug)]
pub enum Failed {
    /// The caller can do something about it.
    Refused(Refusal),
    /// The vault could not do it.
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

    /// The same for a caller who hears now and then that the call still waits.
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
            // A code would be wrong, and a row of that time would stand where nobody looks for it.
            self.check_clock()?;
        }
        let mut entry = AuditEntry::of(caller, O::SPEC.action, self.now());
        entry.secret = operation.secret();
        let mut call = Call { service: self, caller, patience, entry, seat: None };
        let work = async {
            call.admit(&operation).await?;
            operation.run(&mut call).await
        };
        // rmcp would leave the caller of a tool that panics without any answer.
        let done = AssertUnwindSafe(work).catch_unwind().await;
        match done.unwrap_or_else(|_panic| Err(Failed::Internal(Box::new(Panicked { during: O::SPEC.name })))) {
            Ok(output) => Ok(output),
            Err(failed) => {
                let refusal = self.refusal_of(failed);
                Err(self.refuse(refusal, AuditEntry { at: self.now(), ..call.entry }).await)
            }
        }
    }

    /// Refuses a call whose arguments could not be read, in the audit log. Of a caller without the scope it says that alone.
    pub async fn refuse_arguments(&self, caller: &Principal, spec: &Spec, refusal: Refusal) -> Refusal {
        let refusal = allowed(spec, caller).err().unwrap_or(refusal);
        self.refuse(refusal, AuditEntry::of(caller, spec.action, self.now())).await
    }

    /// Refuses a caller before its call is of any operation, in the audit log.
    pub async fn record_refusal(&self, caller: &Principal, action: Action, refusal: Refusal) -> Refusal {
        self.refuse(refusal, AuditEntry::of(caller, action, self.now())).await
    }

    /// What a caller is told of a failure. The cause goes to the log.
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
            Failed::Store(cause) => self.internal(&cause),
            Failed::Internal(cause) => self.internal(cause.as_ref()),
        }
    }

    /// A bug that a transport came upon; the transport sees to the audit row. The cause must hold nothing of what a caller
    /// sent.
    pub fn bug(&self, cause: &dyn Error) -> Refusal {
        self.internal(cause)
    }

    /// A panic that a transport caught; the transport sees to the audit row. Its message is not logged: it may quote anything.
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
        allowed(&O::SPEC, self.caller)?;
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

    /// Counts a use of a secret that exists for the caller, where uses are limited. What is another's, or nobody's, uses
    /// nothing up and tells nothing.
    pub(super) fn count_use(&self, secret: SecretId) -> Result<(), Refusal> {
        let Some(pace) = self.service.shared.secret_pace.get() else { return Ok(()) };
        let taken = pace.take(secret, std::time::Instant::now());
        taken.map_err(|after| Refusal::RateLimited { what: "too many calls for this secret", after })
    }
}

fn allowed(spec: &Spec, caller: &Principal) -> Result<(), Refusal> {
    match spec.access {
        Access::Scope(scope) if !caller.may(scope) => Err(Refusal::MissingScope(scope)),
        Access::Person if !caller.is_person() => Err(Refusal::PersonOnly),
        Access::Scope(_) | Access::Person if caller.is_limited() && spec.effect == Effect::Add => Err(Refusal::Limited),
        Access::Scope(_) | Access::Person => Ok(()),
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
