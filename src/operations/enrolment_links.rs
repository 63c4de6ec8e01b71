//! The links of enrolments: the page behind them, their tokens, and the words by which people recognise one.
//!
//! A token is the enrolment's id and a keyed hash of it. So the store holds no data that opens a link, and every
//! process that has the vault's key can make the link again or answer it.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;
use tokio::sync::{Mutex, Notify};

use super::{
    Call, Effect, Failed, Operation, Refusal, Service, Spec, authenticate::is_valid, retries::Retries,
    staged_seeds::StagedSeeds,
};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        enrolment::{Enrolment, EnrolmentState, ProofWanted},
        ids::{AccountId, EnrolmentId},
        seat_pin::SeatPin,
        text::Purpose,
        words::words_of,
    },
    vault::{Derived, Outcome, PinMemory, StoreError, Versioned},
};

/// Bytes of a token that are derived by the vault's key.
const TOKEN_SECRET_BYTES: usize = 16;
/// How often an enrolment is read, since another process may have ended it.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// Words of the phrase that a terminal shows: 32 bits, of which five are tried at most.
const PHRASE_WORDS: usize = 4;

/// A page on which people answer enrolments, served by a transport.
#[async_trait]
pub trait EnrolmentPage: Send + Sync {
    /// How people prove their identity on the page.
    fn proof(&self) -> ProofWanted;

    /// Whether a proxy in front of the page signs people in, so that they need no PIN.
    fn signs_in(&self) -> bool;

    /// The account whose people can sign in at an identity provider, if there is one.
    fn provider(&self) -> Option<AccountId>;

    /// Serves the page until the enrolment's end, and returns the URL to which `/enroll/TOKEN` is appended.
    ///
    /// # Errors
    /// [`Refusal::NoPage`] if it can't be served.
    async fn serve(&self, service: &Service, enrolment: EnrolmentId) -> Result<String, Refusal>;
}

/// The phrase of an enrolment, for the terminal of the person who runs this vault.
#[derive(Debug, Clone, Copy)]
pub struct EnrolmentPhrase {
    /// The enrolment.
    pub id: EnrolmentId,
}

impl Operation for EnrolmentPhrase {
    const SPEC: Spec = Spec::person("enrolment_phrase", Action::EnrolProve, Effect::Read);
    /// The phrase, and the two words by which the person recognises the enrolment.
    type Output = (String, String);

    async fn run(self, call: &mut Call<'_>) -> Result<Self::Output, Failed> {
        let kept = call.service.vault().enrolment(self.id).await?;
        let kept = kept.filter(|kept| kept.account == call.caller.account() && kept.is_open(call.entry.at));
        let kept = kept.ok_or(Refusal::NotFound("open enrolment"))?;
        if kept.proof == ProofWanted::Seat {
            let problem = "is to be answered by the person of a seat, who proves it by signing in or by the seat's PIN \
                           (`countersign seat update SEAT --pin`)";
            return Err(Refusal::invalid("id", problem).into());
        }
        Ok((call.service.enrolment_phrase(kept.id), call.service.enrolment_words(kept.id)))
    }
}

/// The state that enrolments share in one process.
pub(super) struct Enrolments {
    page: OnceLock<Arc<dyn EnrolmentPage>>,
    /// Notified whenever this process ends an enrolment.
    pub(super) changed: Notify,
    /// Locked while an enrolment begins, so that the number of open ones is bounded exactly within this process.
    pub(super) beginning: Mutex<()>,
    pub(super) staged: StagedSeeds,
    /// Locked while a PIN is hashed.
    pub(super) pins: Arc<Mutex<PinMemory>>,
}

impl Default for Enrolments {
    fn default() -> Self {
        Self {
            page: OnceLock::new(),
            changed: Notify::new(),
            beginning: Mutex::default(),
            staged: StagedSeeds::default(),
            pins: Arc::default(),
        }
    }
}

impl Service {
    /// Offers a page for enrolments. Call it once, before serving any caller.
    pub fn offer_enrolments(&self, page: Arc<dyn EnrolmentPage>) {
        let _ = self.shared.enrolments.page.set(page);
    }

    /// The page for enrolments.
    pub(super) fn enrolment_page(&self) -> Result<&dyn EnrolmentPage, Refusal> {
        self.shared.enrolments.page.get().map(AsRef::as_ref).ok_or(Refusal::NoPage)
    }

    /// Serves the page for an enrolment, and returns its link.
    pub(super) async fn link_of(&self, enrolment: &Enrolment) -> Result<String, Refusal> {
        let base = self.enrolment_page()?.serve(self, enrolment.id).await?;
        Ok(format!("{base}/enroll/{}", self.token_of(enrolment.id)))
    }

    pub(super) fn token_of(&self, id: EnrolmentId) -> String {
        self.signed(Derived::Token, id)
    }

    /// The enrolment of a token. `None`: no link has this token.
    pub(super) async fn enrolment_of(&self, token: &str) -> Result<Option<Versioned<Enrolment>>, StoreError> {
        let Some(id) = self.id_of_signed(Derived::Token, token) else { return Ok(None) };
        self.vault().enrolment(id).await
    }

    /// The state that an MCP client sends back when it calls again. It does not open the page.
    pub fn request_state_of(&self, id: EnrolmentId) -> String {
        self.signed(Derived::RequestState, id)
    }

    /// The enrolment for which an MCP client calls again. `None`: [`Self::request_state_of`] never returned this.
    /// Another caller's state is of no use, because another caller's enrolment does not exist.
    pub fn id_of_request_state(&self, state: &str) -> Option<EnrolmentId> {
        self.id_of_signed(Derived::RequestState, state)
    }

    /// An enrolment's id with a keyed hash that only a holder of the vault's key can make.
    fn signed(&self, what: Derived, id: EnrolmentId) -> String {
        let secret = self.vault().derived(what, id);
        let secret = secret.iter().take(TOKEN_SECRET_BYTES);
        BASE64URL_NOPAD.encode(&id.as_bytes().iter().chain(secret).copied().collect::<Vec<_>>())
    }

    fn id_of_signed(&self, what: Derived, text: &str) -> Option<EnrolmentId> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let id = bytes.get(..16).and_then(|id| EnrolmentId::from_slice(id).ok())?;
        bool::from(self.signed(what, id).as_bytes().ct_eq(text.as_bytes())).then_some(id)
    }

    /// The two words that the page and the chat show: a person who sees the same ones answers the right request.
    pub(super) fn enrolment_words(&self, id: EnrolmentId) -> String {
        let [one, two, ..] = self.vault().derived(Derived::Words, id);
        words_of(&[one, two])
    }

    /// The phrase that a terminal shows to its user.
    pub(super) fn enrolment_phrase(&self, id: EnrolmentId) -> String {
        let derived = self.vault().derived(Derived::Phrase, id);
        words_of(derived.get(..PHRASE_WORDS).unwrap_or_default())
    }

    /// The ticket that a form must send back: the page gives it only to the person who proved their identity, perhaps
    /// by a PIN.
    pub(super) fn enrolment_ticket(&self, id: EnrolmentId, pin: Option<&SeatPin>) -> String {
        BASE64URL_NOPAD.encode(&match pin {
            None => self.vault().derived(Derived::Ticket, id),
            Some(pin) => self.vault().derived_for(Derived::Ticket, id, &pin.salt),
        })
    }

    /// An audit row about an enrolment. Its words stand in the place of the purpose, so that the rows of one enrolment
    /// are found together.
    pub(super) fn enrolment_row(&self, of: &Enrolment, actor: Actor, action: Action) -> AuditEntry {
        let purpose = Purpose::of(&format!("enrolment {}", self.enrolment_words(of.id)));
        let entry = AuditEntry::by(actor, action, self.now());
        AuditEntry { account: Some(of.account), seat: of.seat, purpose, ..entry }
    }

    /// The enrolment as it is now. One that was not answered in time, or whose key is no longer valid, ends here, once,
    /// with an audit row.
    pub(super) async fn settled(&self, id: EnrolmentId) -> Result<Option<Versioned<Enrolment>>, Failed> {
        let mut retries = Retries::new(&self.shared.random);
        loop {
            let Some(kept) = self.vault().enrolment(id).await? else { return Ok(None) };
            let now = kept.state_at(self.now());
            let (state, action) = if now != kept.state {
                (now, Action::EnrolExpire)
            } else if now == EnrolmentState::Pending && self.is_asker_gone(&kept).await? {
                (EnrolmentState::Cancelled, Action::EnrolCancel)
            } else {
                return Ok(Some(kept));
            };
            let row = self.enrolment_row(&kept, Actor::System, action);
            let new = Enrolment { state, ..kept.value.clone() };
            if self.vault().draft(row).replace(&kept, &new).commit().await? == Outcome::Done {
                self.end(id);
            } else {
                retries.again().await?;
            }
        }
    }

    /// Whether the key that began the enrolment was revoked, has expired or is off: its enrolments end then.
    async fn is_asker_gone(&self, of: &Enrolment) -> Result<bool, Failed> {
        let Some(id) = of.asker.actor.key() else { return Ok(false) };
        // A removed key authenticates no caller either.
        Ok(self.vault().key(id).await?.is_none_or(|kept| !is_valid(&kept.key, self.now())))
    }

    /// Whether an enrolment may still be answered. For the page, which is served only as long as it may.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn is_enrolment_open(&self, id: EnrolmentId) -> Result<bool, Refusal> {
        let kept = self.vault().enrolment(id).await.map_err(|cause| self.refusal_of(cause.into()))?;
        Ok(kept.is_some_and(|kept| kept.is_open(self.now())))
    }

    /// Waits until an enrolment has ended, without a timeout. If the vault can't be read, it keeps waiting.
    pub async fn enrolment_over(&self, id: EnrolmentId) {
        loop {
            let changed = self.shared.enrolments.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_enrolment_open(id).await == Ok(false) {
                return;
            }
            let clock = &self.shared.clock;
            tokio::select! {
                () = changed => {}
                // Another process may have ended it.
                () = clock.wait(clock.now().plus(LOOKED_EVERY), LOOKED_EVERY) => {}
            }
        }
    }

    /// Wakes the calls that wait for the end of an enrolment.
    pub(super) fn enrolment_ended(&self) {
        self.shared.enrolments.changed.notify_waiters();
    }
}
