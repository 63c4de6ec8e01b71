//! The operations, one file each, and the door, the checks that every call passes.
//!
//! An operation declares its properties ([`Spec`]), its arguments (its own fields) and its body ([`Operation::run`]).
//! The door ([`Service::perform`]) checks scope, seat and grant, catches panics, counts, and writes the audit row of
//! every refusal, so a body just returns errors with `?`. To change something, a body reads it, decides, and commits;
//! if another caller was faster, it reads and decides again.
//!
//! Operations contain no SQL, protocol, status code or flag, and no seed outlives the call.

mod accounts;
pub mod answers;
mod arguments;
mod audit;
mod audit_archive;
mod audit_refusals;
mod authenticate;
mod back_up;
mod bounds;
mod count_seats;
mod create_token;
mod decoys;
mod delete_secret;
mod door;
mod enroll_secret;
mod enrolment_answer;
mod enrolment_links;
mod enrolment_sign_in;
mod enrolment_visit;
mod entry;
mod export;
mod fill_code;
mod find_seats;
mod get_code;
mod get_seat;
mod guard_authority;
mod import_seats;
mod import_secrets;
mod issue;
mod keys;
mod last_use;
mod letters;
mod limit;
mod list_audit;
mod list_seats;
mod list_secrets;
mod long_reads;
mod manage_secret;
mod observer;
mod origins;
mod pace;
mod read_enrollment;
mod refusal;
mod register_secret;
mod reservation;
mod retries;
mod revoke_token;
mod rotate_keys;
mod schema;
mod seat_pins;
mod seats;
mod sessions;
mod skew;
mod staged_seeds;
mod tally;
mod typed_secret;
mod vault_keys;
mod vault_upkeep;
mod verify_code;
mod waiting;

use std::sync::{Arc, OnceLock};

use uuid::Uuid;

pub use self::{
    accounts::{AddAccount, ListAccounts, RemoveAccount},
    arguments::{Fields, levels, not_known},
    audit::{PruneAudit, ReadAudit, ReadWholeAudit, TraceCode, Traced, VerifyAudit},
    audit_archive::VerifyArchive,
    authenticate::Offered,
    back_up::BackUp,
    bounds::{Count, Seconds, Text, Whole},
    count_seats::{CountSeats, SeatCountResponse},
    create_token::{CreateToken, MintedToken, TokenCreateResponse},
    decoys::{Decoy, GuardedOrigins, ListDecoys, SpendDecoy},
    delete_secret::{DeleteSecret, SecretDeleteResponse},
    door::{Access, Call, Effect, Failed, ForSeat, Operation, Spec},
    enroll_secret::{EndEnrolment, EnrollResponse, EnrollSecret, Enrolled, how_to_reach},
    enrolment_answer::{Added, Choice, Review, in_words},
    enrolment_links::{EnrolmentPage, EnrolmentPhrase},
    enrolment_sign_in::{SignIn, SignedIn},
    enrolment_visit::{EnrolmentView, OpenEnrolment, ProofProblem, ProofRequest, Proven, Visited, Visitor},
    entry::{Answer, Api, ApiCall, ApiOperation, Entry, Method, Part, Rest, Reveal, Surface},
    export::{Export, ExportSecrets},
    fill_code::{FillCode, FillResponse, FilledCode},
    find_seats::FindSeats,
    get_code::{GetCode, TotpGetCodeResponse},
    get_seat::{GetSeat, SeatRetrieveResponse},
    guard_authority::{KeepAuthority, ReadAuthority},
    import_seats::{ImportSeats, ImportedSeats, PresentSeat, SortedSeats},
    import_secrets::{ImportSecrets, Imported, PresentSecret, Progress},
    issue::IssuedCode,
    keys::{CreateKey, EnableKey, Keys, ListKeys, MintedKey, RemoveDamagedKeys, RevokeKey},
    limit::Limit,
    list_audit::{AuditList, AuditListResponse, AuditRow, ClaimedClient, ListAudit},
    list_seats::{EverySeat, ListSeats, SeatList, SeatListResponse, SeatPage},
    list_secrets::{
        FindSecrets, GetSecret, ListDeleted, ListSecrets, SecretListResponse, SecretPage, SecretPageResponse,
    },
    manage_secret::{EraseSecret, ResetSteps, RestoreSecret, SecretChanges, UpdateSecret},
    observer::{Called, Observer},
    read_enrollment::ReadEnrollment,
    refusal::{ErrorCode, Refusal},
    register_secret::{Enrolment, HOLDS_SEED, RegisterSecret, Registered, Registration, SecretCreateResponse},
    revoke_token::{RevokeToken, TokenRevokeResponse},
    rotate_keys::{RotateDataKey, RotateRootKey, RotateVaultKey},
    schema::output_schema,
    seat_pins::SetSeatPin,
    seats::{AddSeat, NOT_ANOTHERS_ID, RemoveSeat, SeatChanges, UpdateSeat, check_seat},
    sessions::SessionLimits,
    tally::Tally,
    typed_secret::Typed,
    vault_keys::{AddVaultKey, ListVaultKeys, RemoveVaultKey},
    vault_upkeep::{Diagnose, Diagnosis, Health},
    verify_code::{Verification, VerifyCode, VerifyResponse},
    waiting::Patience,
};
pub use crate::vault::{
    ArchiveReport, AuditAsk, AuditReport, AuditRows, BackedUp, Circumstance, Erased, Finding, Life, Mended, Passphrase,
    RecoveryWords, Relocated, Repaired, Resealed, Restored, Rotation, Source, Stage, Ties, Travel, VaultKey, Versioned,
};

pub(crate) use pace::{Counted, Pace};

use self::{
    audit_refusals::AuditRefusals, enrolment_links::Enrolments, last_use::LastUses, long_reads::LongReads, skew::Skew,
    tally::Counters, waiting::Waiters,
};
use crate::{
    browser::Browsers,
    clock::SharedClock,
    domain::{browser_address::BrowserAddress, principal::Principal, rate::Rate, time::Timestamp},
    random::{NoRandomness, OrderedIds, SharedRandom},
    vault::{Listed, Vault},
};

/// Every operation of the API, in the order of lists: of the tools, those that agents use most come first, and the one
/// that can't be undone last.
pub static TABLE: [Entry; 14] = [
    Entry::of::<ListSecrets>(),
    Entry::of::<GetCode>(),
    Entry::of::<FillCode>(),
    Entry::of::<VerifyCode>(),
    Entry::of::<EnrollSecret>(),
    Entry::of::<ReadEnrollment>(),
    Entry::of::<RegisterSecret>(),
    Entry::of::<ListSeats>(),
    Entry::of::<GetSeat>(),
    Entry::of::<CountSeats>(),
    Entry::of::<DeleteSecret>(),
    Entry::of::<ListAudit>(),
    Entry::of::<CreateToken>(),
    Entry::of::<RevokeToken>(),
];

/// Everything that operations need. Cheap to clone; one for each process.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

struct Shared {
    vault: Vault,
    clock: SharedClock,
    random: SharedRandom,
    ids: OrderedIds,
    audit_refusals: AuditRefusals,
    waiters: Waiters,
    long_reads: LongReads,
    skew: Skew,
    last_uses: LastUses,
    counters: Counters,
    enrolments: Enrolments,
    /// Observes calls, for monitoring.
    observer: OnceLock<Arc<dyn Observer>>,
    /// The browsers in which codes may be typed, if any are configured.
    browsers: OnceLock<Browsers>,
    /// The rate of uses of each secret, if it is limited.
    secret_pace: OnceLock<Pace>,
}

impl Service {
    /// Makes a service.
    pub fn new(vault: Vault, clock: SharedClock, random: SharedRandom) -> Self {
        let (ids, audit_refusals, waiters, long_reads, skew) = Default::default();
        let (last_uses, counters, enrolments, observer, browsers, secret_pace) = Default::default();
        let shared = Shared {
            vault,
            clock,
            random,
            ids,
            audit_refusals,
            waiters,
            long_reads,
            skew,
            last_uses,
            counters,
            enrolments,
            observer,
            browsers,
            secret_pace,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Fills a buffer with random bytes, for data that a person's command encrypts.
    ///
    /// # Errors
    /// The operating system provides none.
    pub fn fill(&self, bytes: &mut [u8]) -> std::io::Result<()> {
        self.shared.random.fill(bytes).map_err(std::io::Error::other)
    }

    /// Limits how often codes of each secret may be requested or checked. Call it once, before serving any caller.
    pub fn limit_uses(&self, rate: Rate) {
        let _ = self.shared.secret_pace.set(Pace::new(Counted::Uses, rate));
    }

    /// Sets the browsers in which codes may be typed. Call it once, before serving any caller.
    pub fn use_browsers(&self, addresses: Vec<BrowserAddress>) {
        if !addresses.is_empty() {
            let _ = self.shared.browsers.set(Browsers::new(addresses));
        }
    }

    /// Whether this service offers an operation to a caller as a tool: a tool that types codes needs a browser.
    pub fn offers(&self, entry: &Entry, caller: &Principal) -> bool {
        let has_means = entry.spec.effect != Effect::Fill || self.shared.browsers.get().is_some();
        has_means && entry.api.words.is_some() && entry.spec.works_for(caller)
    }

    fn vault(&self) -> &Vault {
        &self.shared.vault
    }

    /// The time that operations use. Transports use this instead of a clock of their own.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// Refuses to work with an implausible clock: the machine's time is not set yet.
    ///
    /// # Errors
    /// [`Refusal::Clock`].
    pub fn check_clock(&self) -> Result<(), Refusal> {
        if self.now().is_plausible() { Ok(()) } else { Err(Refusal::Clock) }
    }

    /// An id for something that is created now; ids sort by age.
    fn ordered_id(&self, at: Timestamp) -> Result<Uuid, NoRandomness> {
        self.shared.ids.next(self.shared.random.as_ref(), at)
    }

    /// Ends every wait and finishes pending work, such as giving back the step of an interrupted call; then makes
    /// everything durable and closes the vault.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if the last writes could not be made durable.
    pub async fn close(&self) -> Result<(), Refusal> {
        self.shared.waiters.drained().await;
        self.write_refusal_counts().await;
        self.vault().close().await.map_err(|cause| self.refusal_of(cause.into()))
    }
}

/// The sound records of a list. A damaged one must not hide the others: it is left out, with a line in the log.
fn sound<T>(listed: Listed<T>) -> Vec<T> {
    for (_, cause) in listed.damaged {
        tracing::error!(%cause, "left out of a list");
    }
    listed.sound
}
