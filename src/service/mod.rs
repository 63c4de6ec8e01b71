//! The use cases, one file each: who may, in which order, and what is written down.
//!
//! Every method takes the [`Principal`] who calls first, asks the time once, and leaves on the trail what it revealed,
//! changed or refused. Never: SQL, a protocol, a status code, a flag, or a seed that outlives the call.

mod accounts;
mod audit;
mod authenticate;
mod decide_code;
mod export;
mod get_code;
mod give_back;
mod keys;
mod list_secrets;
mod manage_secret;
mod pace;
mod refusal;
mod refusals;
mod register_secret;
mod seats;
mod tally;
mod vault;
mod verify_code;
mod waiting;

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use uuid::Uuid;

pub use audit::{AuditReport, Finding};
pub use authenticate::Offered;
pub use export::Export;
pub use get_code::{CodeRequest, IssuedCode};
pub use keys::{KeyRequest, MintedKey};
pub use list_secrets::{SecretPage, SecretQuery};
pub use manage_secret::SecretChanges;
pub use refusal::{Code, Refusal};
pub use register_secret::{Enrolment, Registered, Registration};
pub use seats::{NOT_ANOTHERS_ID, SeatChanges, SeatQuery};
pub use tally::Tally;
pub use vault::{Diagnosis, Health};
pub use verify_code::Verification;
pub use waiting::Patience;

use crate::{
    clock::SharedClock,
    domain::{
        audit::{Action, AuditEntry},
        ids::{AccountId, SeatId, SecretId},
        principal::Principal,
        rate::Rate,
        scope::Scope,
        seat::{Seat, SeatName},
        secret::{CodeTerms, TotpSecret},
        time::Timestamp,
    },
    keyring::{Keyring, OpenSealError, Place},
    random::{NoRandomness, OrderedIds, SharedRandom},
    store::{InUse, Listed, SealedSecret, SharedStore, StoreError},
};
use authenticate::RIGHTS_FRESH;
pub(crate) use pace::Pace;
use refusals::Refusals;
use tally::Counters;
use waiting::Waiters;

/// Everything a use case needs. Cheap to clone; one for each process.
#[derive(Clone)]
pub struct Service {
    parts: Arc<Parts>,
}

/// What a service is made of.
struct Parts {
    store: SharedStore,
    keyring: Arc<Keyring>,
    clock: SharedClock,
    random: SharedRandom,
    ids: OrderedIds,
    refusals: Refusals,
    waiters: Waiters,
    counters: Counters,
    /// How often each secret may be used, where that is limited.
    uses: OnceLock<Pace<SecretId>>,
}

impl Service {
    /// Puts a service together.
    pub fn new(store: SharedStore, keyring: Arc<Keyring>, clock: SharedClock, random: SharedRandom) -> Self {
        let (ids, refusals, waiters, counters, uses) = Default::default();
        Self { parts: Arc::new(Parts { store, keyring, clock, random, ids, refusals, waiters, counters, uses }) }
    }

    /// Limits how often codes of each secret may be asked for or checked. Said once, before anybody is served.
    pub fn limit_uses(&self, rate: Rate) {
        let _ = self.parts.uses.set(Pace::new(rate));
    }

    /// Counts a use of a secret, where uses are limited. Only of one that is there for the caller: what is another's, or
    /// nobody's, uses nothing up and tells nothing.
    async fn count_use(&self, secret: SecretId, entry: &AuditEntry) -> Result<(), Refusal> {
        match self.parts.uses.get() {
            None => Ok(()),
            // Boxed: most servers limit nothing, and a call that waits keeps no room for it.
            Some(pace) => Box::pin(self.count_limited_use(pace, secret, entry)).await,
        }
    }

    async fn count_limited_use(
        &self,
        pace: &Pace<SecretId>,
        secret: SecretId,
        entry: &AuditEntry,
    ) -> Result<(), Refusal> {
        let Some(account) = entry.account else { return Ok(()) };
        match self.store().secret(account, secret).await {
            Ok(Some(kept)) if kept.deleted_at.is_none() => {}
            // The use itself says that there is none.
            Ok(_) => return Ok(()),
            Err(cause) => return Err(self.refuse_failed(cause, entry.clone()).await),
        }
        match pace.take(secret, Instant::now()) {
            Ok(()) => Ok(()),
            Err(after) => {
                let what = "too many calls for this secret";
                Err(self.refuse(Refusal::RateLimited { what, after }, entry.clone()).await)
            }
        }
    }

    fn store(&self) -> &SharedStore {
        &self.parts.store
    }

    fn keyring(&self) -> &Keyring {
        &self.parts.keyring
    }

    /// The time that the use cases go by: transports that count down or look back ask here, not a clock of their own.
    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    /// Refuses to work by a clock that can't be right: the machine has not been told the time yet.
    ///
    /// # Errors
    /// [`Refusal::Clock`].
    pub fn check_clock(&self) -> Result<(), Refusal> {
        if self.now().is_plausible() { Ok(()) } else { Err(Refusal::Clock) }
    }

    /// An id for something that is made now.
    fn ordered_id(&self, at: Timestamp) -> Result<Uuid, Refusal> {
        self.parts.ids.next(self.parts.random.as_ref(), at).map_err(|cause| self.no_randomness(cause))
    }

    /// Refuses a caller without a scope, or whose seat was removed, on the trail.
    async fn require(&self, caller: &Principal, scope: Scope, action: Action) -> Result<(), Refusal> {
        self.require_scope(caller, scope, action).await?;
        match caller.seat_to_look_up() {
            Some(seat) if !self.has_seat(caller.account(), seat).await? => {
                Err(self.refuse(Refusal::SeatRemoved, AuditEntry::of(caller, action, self.now())).await)
            }
            _ => Ok(()),
        }
    }

    /// Refuses a caller without a scope, on the trail. Its seat is left to [`Self::seat_for`], which looks it up anyway.
    async fn require_scope(&self, caller: &Principal, scope: Scope, action: Action) -> Result<(), Refusal> {
        if caller.may(scope) {
            return self.require_fresh(caller, action).await;
        }
        Err(self.refuse(Refusal::MissingScope(scope), AuditEntry::of(caller, action, self.now())).await)
    }

    /// Refuses a caller whose rights have ended since they were read, on the trail. Work begins as soon as they are, but
    /// where a carrier kept the message meanwhile.
    async fn require_fresh(&self, caller: &Principal, action: Action) -> Result<(), Refusal> {
        let now = self.now();
        if !caller.is_stale(now, RIGHTS_FRESH) {
            return Ok(());
        }
        match Box::pin(self.still_valid(caller)).await {
            Err(refusal) => Err(self.refuse(refusal, AuditEntry::of(caller, action, now)).await),
            valid => valid,
        }
    }

    async fn has_seat(&self, account: AccountId, seat: SeatId) -> Result<bool, Refusal> {
        let found = self.store().seat(account, SeatName::Id(seat)).await;
        Ok(found.map_err(|cause| self.failed(&cause))?.is_some())
    }

    /// Refuses everybody but the person at the command line, on the trail.
    async fn require_person(&self, caller: &Principal, action: Action) -> Result<(), Refusal> {
        if caller.is_person() {
            return Ok(());
        }
        Err(self.refuse(Refusal::PersonOnly, AuditEntry::of(caller, action, self.now())).await)
    }

    /// The seat that a call is for: the one the caller is bound to, or the one it names.
    async fn seat_for(
        &self,
        caller: &Principal,
        named: Option<&str>,
        entry: &AuditEntry,
    ) -> Result<Option<Seat>, Refusal> {
        // Boxed: most calls are for none, and keep no room for it.
        match (named, caller.seat()) {
            (None, None) => Ok(None),
            (None, Some(bound)) => Box::pin(self.bound_seat(caller, bound, entry)).await.map(Some),
            (Some(named), _) => Box::pin(self.named_seat(caller, named, entry)).await.map(Some),
        }
    }

    async fn bound_seat(&self, caller: &Principal, bound: SeatId, entry: &AuditEntry) -> Result<Seat, Refusal> {
        match self.store().seat(caller.account(), SeatName::Id(bound)).await {
            Ok(Some(seat)) => Ok(seat),
            Ok(None) => Err(self.refuse(Refusal::SeatRemoved, entry.clone()).await),
            Err(cause) => Err(self.refuse_failed(cause, entry.clone()).await),
        }
    }

    async fn named_seat(&self, caller: &Principal, named: &str, entry: &AuditEntry) -> Result<Seat, Refusal> {
        match (self.find_seat(caller.account(), named).await, caller.seat()) {
            (Ok(Some(seat)), bound) if bound.is_none_or(|bound| bound == seat.id) => Ok(seat),
            // A caller that is bound to a seat must not learn which others exist.
            (Ok(_), Some(_)) => Err(self.refuse(Refusal::OtherSeat, entry.clone()).await),
            (Ok(_), None) => Err(self.refuse(Refusal::NotFound("seat"), entry.clone()).await),
            (Err(cause), _) => Err(self.refuse_failed(cause, entry.clone()).await),
        }
    }

    /// Opens what is known of a kept secret.
    fn opened(&self, kept: &SealedSecret) -> Result<TotpSecret, Refusal> {
        let metadata = self
            .keyring()
            .open_metadata(&kept.metadata, &place_of(kept))
            .map_err(|cause| self.damaged(kept.id, cause))?;
        Ok(TotpSecret {
            id: kept.id,
            created_at: kept.created_at,
            last_used_at: kept.last_used_at,
            deleted_at: kept.deleted_at,
            metadata,
        })
    }

    /// A store that could not do it: `unavailable`, or `internal` with an id that leads to the log.
    fn failed(&self, cause: &StoreError) -> Refusal {
        match cause {
            StoreError::Unavailable(_) => {
                tracing::warn!(%cause, "the store is unavailable");
                self.parts.counters.refused(Code::Unavailable);
                Refusal::Unavailable
            }
            StoreError::Exists(what) => Refusal::Exists(what),
            StoreError::NoAccount => Refusal::NotFound("account"),
            StoreError::InUse(what) => Refusal::InUse(what),
            StoreError::Damaged { .. } => self.internal(cause),
        }
    }

    fn damaged(&self, id: SecretId, cause: OpenSealError) -> Refusal {
        let cause = StoreError::Damaged { table: "secret", what: format!("{id}: {cause}") };
        self.internal(&cause)
    }

    fn no_randomness(&self, cause: NoRandomness) -> Refusal {
        self.internal(&cause)
    }

    /// A bug that a transport came upon. The cause must hold nothing of what a caller sent.
    pub fn bug(&self, cause: &dyn std::error::Error) -> Refusal {
        self.internal(cause)
    }

    /// A panic that a transport caught. Its message is not logged: it may quote anything.
    pub fn note_panic(&self, during: &'static str) -> Refusal {
        self.internal(&Panicked { during })
    }

    fn internal(&self, cause: &dyn std::error::Error) -> Refusal {
        let id = self.parts.random.random_id().map_or_else(|_| "0".to_owned(), |id| id.simple().to_string());
        tracing::error!(%id, %cause, "internal error");
        self.parts.counters.refused(Code::Internal);
        Refusal::Internal { id }
    }

    /// Lets what was begun end, such as giving back the step of a call that was interrupted; then makes everything durable
    /// and lets go of the store.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the last writes could not be made durable.
    pub async fn close(&self) -> Result<(), Refusal> {
        self.parts.waiters.settle().await;
        self.flush_refusals().await;
        self.store().close().await.map_err(|cause| self.failed(&cause))
    }
}

impl Parts {
    /// How codes of a secret are made and given.
    fn terms_of(&self, in_use: &InUse<'_>) -> Result<CodeTerms, OpenSealError> {
        if let Some(terms) = in_use.terms.get() {
            return Ok(*terms);
        }
        let terms = self.keyring.open_terms(&in_use.secret.metadata, &place_of(in_use.secret))?;
        Ok(*in_use.terms.get_or_init(|| terms))
    }
}

/// A use case or tool that panicked.
#[derive(Debug, thiserror::Error)]
#[error("{during} panicked")]
struct Panicked {
    during: &'static str,
}

/// What there is to show of a list. What is damaged must not hide the others: it is left out, with a line in the log.
fn sound<T>(listed: Listed<T>) -> Vec<T> {
    for cause in listed.damaged {
        tracing::error!(%cause, "left out of a list");
    }
    listed.sound
}

/// Where a kept secret's blobs belong.
const fn place_of(kept: &SealedSecret) -> Place {
    Place { account: kept.account, secret: kept.id, version: kept.version, created_at: kept.created_at }
}
