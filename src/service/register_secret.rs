//! Registering a secret: from an `otpauth://` URI, from a label and a seed, or with a seed made here.

use zeroize::Zeroizing;

use super::{Refusal, Service};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SecretId,
        limits::IDEMPOTENCY_CHARS_MAX,
        limits::IDEMPOTENCY_SECONDS,
        otpauth::OtpAuth,
        principal::Principal,
        scope::Scope,
        secret::{SecretMetadata, TotpSecret},
        seed::Seed,
        text::ShownText,
        time::Timestamp,
        totp::{Algorithm, Digits, Period, TotpParameters},
    },
    keyring::Place,
    store::{Added, Idempotency, SealedSecret},
};

/// What a caller sends, well-typed but not looked at. With a `uri`, the other fields are not looked at at all.
#[derive(Default)]
pub struct Registration {
    /// An `otpauth://totp/…` URI.
    pub uri: Option<Zeroizing<String>>,
    /// What people call it; required without a URI.
    pub label: Option<String>,
    /// The seed in base32; without it one is made.
    pub secret: Option<Zeroizing<String>>,
    /// The service that issued it.
    pub issuer: Option<String>,
    /// `SHA1` (default), `SHA256` or `SHA512`.
    pub algorithm: Option<String>,
    /// 6 (default) or 8.
    pub digits: Option<i64>,
    /// Seconds, 1..=3600; 30 by default.
    pub period: Option<i64>,
    /// Whether every call for it is single-use.
    pub single_use: bool,
    /// Repeats with the same text within a day get the first answer, without the seed.
    pub idempotency_key: Option<String>,
}

/// A registration that was checked: what is kept.
pub struct Enrolment {
    /// What is known of it.
    pub metadata: SecretMetadata,
    /// Its seed.
    pub seed: Seed,
}

/// A registered secret.
pub struct Registered {
    /// What is known of it.
    pub secret: TotpSecret,
    /// Its seed, to be shown this once. `None` for a repeat.
    pub seed: Option<Seed>,
}

impl Service {
    /// Registers a secret.
    ///
    /// # Errors
    /// `permission_denied`, `invalid_argument`, `unavailable`.
    pub async fn register_secret(&self, caller: &Principal, registration: Registration) -> Result<Registered, Refusal> {
        self.require(caller, Scope::SecretsWrite, Action::SecretRegister).await?;
        let now = self.now().whole_millis();
        let entry = AuditEntry::of(caller, Action::SecretRegister, now);
        if caller.is_limited() {
            return Err(self.refuse(Refusal::Limited, entry).await);
        }
        let repeat = match self.idempotency(caller, &registration, now) {
            Ok(repeat) => repeat,
            Err(refusal) => return Err(self.refuse(refusal, entry).await),
        };
        match self.check_registration(&registration) {
            Ok(enrolment) => self.keep(caller, enrolment, repeat, entry).await,
            Err(refusal) => Err(self.refuse(refusal, entry).await),
        }
    }

    /// Checks what a caller sent, and makes a seed if there is none.
    ///
    /// # Errors
    /// `invalid_argument`, which names the field and never quotes it.
    pub fn check_registration(&self, from: &Registration) -> Result<Enrolment, Refusal> {
        if let Some(uri) = &from.uri {
            let read = OtpAuth::parse(uri).map_err(|problem| Refusal::invalid("uri", problem.to_string()))?;
            let OtpAuth { label, issuer, totp, seed, single_use } = read;
            let metadata = SecretMetadata { label, issuer, totp, single_use: single_use || from.single_use };
            return Ok(Enrolment { metadata, seed });
        }
        let label =
            from.label.as_deref().ok_or_else(|| Refusal::invalid("label", "is required unless `uri` is given"))?;
        let metadata = SecretMetadata {
            label: shown("label", label)?,
            issuer: from.issuer.as_deref().map(|issuer| shown("issuer", issuer)).transpose()?,
            totp: TotpParameters {
                algorithm: algorithm(from.algorithm.as_deref())?,
                digits: digits(from.digits)?,
                period: period(from.period)?,
            },
            single_use: from.single_use,
        };
        let seed = match &from.secret {
            Some(text) => Seed::from_base32(text).map_err(|problem| Refusal::invalid("secret", problem.to_string()))?,
            None => self
                .parts
                .random
                .bytes(Algorithm::GENERATED_SEED_BYTES)
                .map_err(|cause| self.no_randomness(cause))
                .and_then(|bytes| Seed::from_bytes(bytes).map_err(|cause| self.internal(&cause)))?,
        };
        Ok(Enrolment { metadata, seed })
    }

    async fn keep(
        &self,
        caller: &Principal,
        enrolment: Enrolment,
        repeat: Option<Idempotency>,
        entry: AuditEntry,
    ) -> Result<Registered, Refusal> {
        let Enrolment { metadata, seed } = enrolment;
        let (account, created_at) = (caller.account(), entry.at);
        let id = SecretId::new(self.ordered_id(created_at)?);
        let place = Place { account, secret: id, version: 1, created_at };
        let sealed = self.sealed(&metadata, &seed, place)?;
        let added = self.store().add_secret(sealed, repeat, AuditEntry { secret: Some(id), ..entry.clone() });
        match added.await.map_err(|cause| self.failed(&cause))? {
            Added::New => {
                let secret = TotpSecret { id, created_at, last_used_at: None, deleted_at: None, metadata };
                Ok(Registered { secret, seed: Some(seed) })
            }
            Added::Repeat(first) => {
                let kept = self.store().secret(account, first).await.map_err(|cause| self.failed(&cause))?;
                let kept = kept.filter(|kept| kept.deleted_at.is_none()).ok_or(Refusal::NotFound("secret"))?;
                Ok(Registered { secret: self.opened(&kept)?, seed: None })
            }
            Added::Conflict => {
                let refusal = Refusal::invalid("Idempotency-Key", "was used for another request; take a new one");
                Err(self.refuse(refusal, entry).await)
            }
        }
    }

    /// Seals both halves of a secret to their place.
    pub(super) fn sealed(&self, metadata: &SecretMetadata, seed: &Seed, place: Place) -> Result<SealedSecret, Refusal> {
        let (keyring, random) = (self.keyring(), self.parts.random.as_ref());
        Ok(SealedSecret {
            id: place.secret,
            account: place.account,
            version: place.version,
            created_at: place.created_at,
            deleted_at: None,
            last_used_at: None,
            metadata: keyring.seal_metadata(metadata, &place, random).map_err(|cause| self.no_randomness(cause))?,
            seed: keyring.seal_seed(seed, &place, random).map_err(|cause| self.no_randomness(cause))?,
        })
    }

    fn idempotency(
        &self,
        caller: &Principal,
        from: &Registration,
        now: Timestamp,
    ) -> Result<Option<Idempotency>, Refusal> {
        let Some(key) = &from.idempotency_key else { return Ok(None) };
        if key.is_empty() || key.chars().count() > IDEMPOTENCY_CHARS_MAX {
            return Err(Refusal::invalid(
                "Idempotency-Key",
                format!("must be 1 to {IDEMPOTENCY_CHARS_MAX} characters"),
            ));
        }
        let account = caller.account();
        let number = |value: Option<i64>| value.map_or([0xFF; 8], i64::to_be_bytes);
        let request: [&[u8]; 8] = [
            from.uri.as_ref().map_or(&[], |text| text.as_bytes()),
            from.label.as_deref().unwrap_or_default().as_bytes(),
            from.secret.as_ref().map_or(&[], |text| text.as_bytes()),
            from.issuer.as_deref().unwrap_or_default().as_bytes(),
            from.algorithm.as_deref().unwrap_or_default().as_bytes(),
            &number(from.digits),
            &number(from.period),
            &[u8::from(from.single_use)],
        ];
        Ok(Some(Idempotency {
            key: self.keyring().fingerprint("idempotency-key", &[account.as_bytes(), key.as_bytes()]),
            request: self.keyring().fingerprint("registration", &request),
            since: now.minus(std::time::Duration::from_secs(IDEMPOTENCY_SECONDS.unsigned_abs())),
        }))
    }
}

/// Checks a text that will be shown.
pub(super) fn shown(field: &'static str, text: &str) -> Result<ShownText, Refusal> {
    ShownText::parse(text).map_err(|problem| Refusal::invalid(field, problem.to_string()))
}

fn algorithm(text: Option<&str>) -> Result<Algorithm, Refusal> {
    text.map_or(Ok(Algorithm::default()), str::parse)
        .map_err(|_| Refusal::invalid("algorithm", "must be SHA1, SHA256 or SHA512"))
}

fn digits(count: Option<i64>) -> Result<Digits, Refusal> {
    count
        .map_or(Some(Digits::default()), |count| u64::try_from(count).ok().and_then(|count| count.try_into().ok()))
        .ok_or_else(|| Refusal::invalid("digits", "must be 6 or 8"))
}

fn period(seconds: Option<i64>) -> Result<Period, Refusal> {
    seconds
        .map_or(Some(Period::default()), |count| u64::try_from(count).ok().and_then(|count| count.try_into().ok()))
        .ok_or_else(|| Refusal::invalid("period", "must be 1 to 3600 seconds"))
}
