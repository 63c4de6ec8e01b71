//! Registers a secret: from an `otpauth://` URI, from a label and a seed, or with a generated seed.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Access, Api, ApiOperation, Call, Effect, Failed, Method, Operation, Refusal, Service, Spec, Surface,
    answers::{self, OK, Revealed},
    bounds::{OriginList, whole, wiped_option, words},
    origins::origins,
    retries::Retries,
};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SecretId,
        limits::{IDEMPOTENCY_CHARS_MAX, IDEMPOTENCY_SECONDS},
        otpauth::{OtpAuth, holds_link, is_link},
        scope::Scope,
        secret::{SecretMetadata, SecretUse, TotpSecret},
        seed::Seed,
        text::ShownText,
        time::Timestamp,
        totp::{Algorithm, Digits, Period, TotpParameters},
    },
    random::{Random, SystemRandom},
    vault::{NewSecret, Outcome, Repeat},
};

/// What a caller sends, well-typed but not looked at. With a `uri`, the other fields are not looked at at all.
#[derive(Default, Deserialize, JsonSchema)]
pub struct Registration {
    /// An `otpauth://totp/` URI, as a QR code holds it. Beside it, only `origins` and `single_use` count.
    #[serde(default, deserialize_with = "wiped_option")]
    #[schemars(with = "String")]
    pub uri: Option<Zeroizing<String>>,
    /// What to call it. Required without `uri`.
    #[serde(default)]
    #[schemars(with = "ShownText")]
    pub label: Option<String>,
    /// The seed in base32, as the service shows it.
    #[serde(default, deserialize_with = "wiped_option")]
    #[schemars(with = "String")]
    pub secret: Option<Zeroizing<String>>,
    /// The service that issued it.
    #[serde(default)]
    #[schemars(with = "ShownText")]
    pub issuer: Option<String>,
    /// The hash function.
    #[serde(default)]
    #[schemars(with = "Algorithm", extend("default" = Algorithm::default().as_str()))]
    pub algorithm: Option<String>,
    /// Digits of a code.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "Digits", extend("default" = Digits::default().get()))]
    pub digits: Option<i64>,
    /// Seconds a code lives.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "Period", extend("default" = Period::default().seconds()))]
    pub period: Option<i64>,
    /// True: each of its codes goes to one caller only.
    #[serde(default)]
    pub single_use: bool,
    /// Where its login pages are.
    #[serde(default)]
    #[schemars(with = "OriginList")]
    pub origins: Option<Vec<String>>,
    /// Its codes are typed into pages alone, and shown to nobody. For people.
    #[serde(skip)]
    #[schemars(skip)]
    pub fill_only: bool,
}

/// Registers a secret.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RegisterSecret {
    /// What is registered.
    pub registration: Registration,
    /// Repeats with the same text within a day get the first answer, without the seed.
    #[serde(skip)]
    pub idempotency_key: Option<String>,
    /// The secrets of the same issuer and label of which a person knows. If there is another by the time this one is
    /// stored, it is refused. `None`: it is stored whatever is there.
    #[serde(skip)]
    pub beside: Option<Vec<SecretId>>,
}

/// The answer to a registration.
#[derive(Serialize, JsonSchema)]
pub struct SecretCreateResponse {
    /// `OK`.
    pub status: &'static str,
    /// The secret, with its seed this once.
    pub totp_secret: answers::TotpSecret,
}

impl From<Registered> for SecretCreateResponse {
    fn from(from: Registered) -> Self {
        let secret = from.seed.as_ref().map(Revealed::from);
        Self { status: OK, totp_secret: answers::TotpSecret { secret, ..answers::TotpSecret::from(&from.secret) } }
    }
}

impl ApiOperation for RegisterSecret {
    const API: Api = Api {
        title: "Register a TOTP secret",
        words: Some(
            "Stores a TOTP secret, encrypted: from an otpauth:// uri, or from label and secret, the base32 seed that a service shows when 2FA is set up; without a seed a new one is made. Returns the record; its secret field, where shown, this once only. Calling it twice stores two.",
        ),
        method: Method::Post,
        path: "/api/v2/totp/secrets",
        id: "registerTotpSecret",
        tag: "TOTP",
        description: "Stores a secret, encrypted: from an `otpauth://totp/` URI (which overrides all other fields), or \
                      from a label with an optional base32 seed; without a seed one is made. The answer shows the seed \
                      this once. With an `Idempotency-Key` header, a repeat within a day gets the first answer, without \
                      the seed.",
        answer: "The secret, with its seed this once.",
        waits: false,
        refusals: &[],
    };
    type Answer = SecretCreateResponse;
    type RestAnswer = SecretCreateResponse;

    fn over(self, surface: &Surface) -> Self {
        match surface {
            Surface::Rest { idempotency_key } => Self { idempotency_key: idempotency_key.clone(), ..self },
            Surface::Mcp { .. } => self,
        }
    }

    fn conceal(answer: &mut SecretCreateResponse) {
        answer.totp_secret.secret = None;
    }
}

impl Registration {
    /// Checks it as its registration will, before a vault exists.
    ///
    /// # Errors
    /// [`Refusal`], if it would be refused.
    pub fn must_be_sound(&self) -> Result<(), Refusal> {
        match self.check(&SystemRandom) {
            Err(Failed::Refused(refusal)) => Err(refusal),
            // Any other failure will recur when the secret is registered, which can report it.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// A checked registration.
pub struct Enrolment {
    /// Its metadata.
    pub metadata: SecretMetadata,
    /// Its seed.
    pub seed: Seed,
}

/// A registered secret.
pub struct Registered {
    /// The secret, without its seed.
    pub secret: TotpSecret,
    /// Its seed, to be shown once. `None` for a repeat.
    pub seed: Option<Seed>,
}

impl Operation for RegisterSecret {
    const SPEC: Spec = Spec {
        name: "register_totp_secret",
        access: Access::Scope(Scope::SecretsWrite),
        action: Action::SecretRegister,
        effect: Effect::Add,
    };
    type Output = Registered;

    async fn run(self, call: &mut Call<'_>) -> Result<Registered, Failed> {
        let service = call.service;
        let now = call.entry.at.whole_millis();
        let keys = match &self.idempotency_key {
            Some(key) => Some(service.idempotency(call, key, &self.registration)?),
            None => None,
        };
        let Enrolment { metadata, seed } = self.registration.check(service.shared.random.as_ref())?;
        let (vault, account) = (service.vault(), call.caller.account());
        let id = SecretId::new(service.ordered_id(now)?);
        call.entry.secret = Some(id);
        let mut retries = Retries::new(&service.shared.random);
        loop {
            let new = NewSecret { id, account, created_at: now, metadata: &metadata, seed: &seed };
            let mut draft = vault.draft(AuditEntry { at: now, ..call.entry.clone() }).add_secret(&new);
            if let Some(known) = &self.beside {
                // As in an import, the commit raises the version of the account's record. If two calls check and store at
                // once, the second commit is stale, and its call checks again.
                let kept = vault.account(account).await?.ok_or(Refusal::NotFound("account"))?;
                draft = draft.replace(&kept, &kept.value);
                let same = service.same_name(account, &metadata).await?;
                if same.iter().any(|secret| !known.contains(&secret.id)) {
                    call.entry.secret = None;
                    let problem = "and issuer are those of another secret, which was stored at this moment";
                    return Err(Refusal::invalid("label", problem).into());
                }
            }
            if let Some([key, request]) = keys {
                let repeat = Repeat { key, account, request, secret: id, created_at: now };
                match vault.repeat(key).await? {
                    Some(first) if first.created_at >= oldest_repeat(now) => {
                        return call.repeated(&first.value, request).await;
                    }
                    Some(lapsed) => draft = draft.replace(&lapsed, &repeat),
                    None => draft = draft.add(&repeat),
                }
            }
            if draft.commit().await? == Outcome::Done {
                let secret = TotpSecret { id, created_at: now, last_used_at: None, deleted_at: None, metadata };
                return Ok(Registered { secret, seed: Some(seed) });
            }
            if vault.account(account).await?.is_none() {
                return Err(Refusal::NotFound("account").into());
            }
            // Another request with the same key was faster.
            retries.again().await?;
        }
    }
}

impl Call<'_> {
    /// The answer of the first request with the same key, without the seed.
    async fn repeated(&mut self, first: &Repeat, request: [u8; 32]) -> Result<Registered, Failed> {
        if first.request != request {
            self.entry.secret = None;
            return Err(Refusal::invalid("Idempotency-Key", "was used for another request; take a new one").into());
        }
        self.entry.secret = Some(first.secret);
        let kept = self.service.vault().secret(self.caller.account(), first.secret).await?;
        let kept = kept.filter(|kept| kept.deleted_at.is_none()).ok_or(Refusal::NotFound("secret"))?;
        Ok(Registered { secret: kept.value, seed: None })
    }
}

impl Registration {
    /// Checks a registration, and generates a seed if there is none.
    ///
    /// # Errors
    /// `invalid_argument`, which names the field and never quotes it.
    pub(super) fn check(&self, random: &dyn Random) -> Result<Enrolment, Failed> {
        let origins = origins(self.origins.as_deref().unwrap_or_default())?;
        if self.fill_only && origins.is_empty() {
            return Err(Refusal::invalid("origins", FILL_ONLY_WITHOUT).into());
        }
        let usage =
            |single_use| if self.fill_only { SecretUse::FillOnly } else { SecretUse::of_single_use(single_use) };
        if let Some(uri) = &self.uri {
            let read = OtpAuth::parse(uri).map_err(|problem| Refusal::invalid("uri", problem.to_string()))?;
            let OtpAuth { label, issuer, totp, seed, single_use } = read;
            let usage = usage(single_use || self.single_use);
            let metadata = SecretMetadata { label, issuer, totp, usage, origins };
            return Ok(Enrolment { metadata, seed }.without_seed_in_names()?);
        }
        let label =
            self.label.as_deref().ok_or_else(|| Refusal::invalid("label", "is required unless `uri` is given"))?;
        let metadata = SecretMetadata {
            label: shown("label", label)?,
            issuer: self.issuer.as_deref().map(|issuer| shown("issuer", issuer)).transpose()?,
            totp: TotpParameters {
                algorithm: algorithm(self.algorithm.as_deref())?,
                digits: digits(self.digits)?,
                period: period(self.period)?,
            },
            usage: usage(self.single_use),
            origins,
        };
        let seed = match &self.secret {
            Some(text) => Seed::from_base32(text).map_err(|problem| Refusal::invalid("secret", problem.to_string()))?,
            None => Seed::from_bytes(random.bytes(Algorithm::GENERATED_SEED_BYTES)?)
                .map_err(|cause| Failed::Internal(Box::new(cause)))?,
        };
        Ok(Enrolment { metadata, seed }.without_seed_in_names()?)
    }
}

/// The problem of a fill-only secret without origins.
pub(super) const FILL_ONLY_WITHOUT: &str =
    "must name one at least: codes that are typed into pages alone would go nowhere otherwise";

impl Enrolment {
    /// Refuses names that hold the seed: every list shows names.
    ///
    /// # Errors
    /// `invalid_argument`.
    pub(super) fn without_seed_in_names(self) -> Result<Self, Refusal> {
        refuse_seed(&self.seed, &self.metadata.label, self.metadata.issuer.as_ref())?;
        Ok(self)
    }
}

/// The problem of a name that holds the seed.
pub const HOLDS_SEED: &str = "holds the seed itself, and names are shown in lists: give another one";

/// Refuses names that hold the seed: every list shows names.
///
/// # Errors
/// `invalid_argument`.
pub(super) fn refuse_seed(seed: &Seed, label: &ShownText, issuer: Option<&ShownText>) -> Result<(), Refusal> {
    for (field, text) in [("label", Some(label)), ("issuer", issuer)] {
        if text.is_some_and(|text| seed.is_in(text.as_str())) {
            return Err(Refusal::invalid(field, HOLDS_SEED));
        }
    }
    Ok(())
}

impl Service {
    /// Checks a registration without storing it: an import checks every line before it adds one.
    ///
    /// # Errors
    /// `invalid_argument`, which names the field and never quotes it.
    pub fn check_registration(&self, from: &Registration) -> Result<Enrolment, Refusal> {
        from.check(self.shared.random.as_ref()).map_err(|failed| self.refusal_of(failed))
    }

    /// The keyed hashes of an `Idempotency-Key` and of its request.
    fn idempotency(&self, call: &Call<'_>, key: &str, from: &Registration) -> Result<[[u8; 32]; 2], Refusal> {
        if key.is_empty() || key.chars().count() > IDEMPOTENCY_CHARS_MAX {
            let problem = format!("must be 1 to {IDEMPOTENCY_CHARS_MAX} characters");
            return Err(Refusal::invalid("Idempotency-Key", problem));
        }
        // The pattern names every field, so that a new field does not compile until it is hashed too.
        let Registration { uri, label, secret, issuer, algorithm, digits, period, single_use, origins, fill_only } =
            from;
        let number = |value: &Option<i64>| value.map_or([0xFF; 8], i64::to_be_bytes);
        let (digits, period, single_use) = (number(digits), number(period), [u8::from(*single_use)]);
        let origins = origins.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        let mut request: Vec<&[u8]> = vec![
            uri.as_ref().map_or(&[], |text| text.as_bytes()),
            label.as_deref().unwrap_or_default().as_bytes(),
            secret.as_ref().map_or(&[], |text| text.as_bytes()),
            issuer.as_deref().unwrap_or_default().as_bytes(),
            algorithm.as_deref().unwrap_or_default().as_bytes(),
            &digits,
            &period,
            &single_use,
        ];
        // Hashed only if they are given, so that a repeat is recognised across an upgrade too.
        if *fill_only || !origins.is_empty() {
            request.extend([origins.as_bytes(), if *fill_only { b"fill" } else { b"" }]);
        }
        let account = call.caller.account();
        let key = self.vault().fingerprint("idempotency-key", &[account.as_bytes(), key.as_bytes()]);
        Ok([key, self.vault().fingerprint("registration", &request)])
    }
}

/// The earliest time of a registration that still answers repeats.
fn oldest_repeat(now: Timestamp) -> Timestamp {
    now.minus(Duration::from_secs(IDEMPOTENCY_SECONDS.unsigned_abs()))
}

/// Checks a text for display.
pub(super) fn shown(field: &'static str, text: &str) -> Result<ShownText, Refusal> {
    if is_link(text) || holds_link(text) {
        return Err(Refusal::invalid(
            field,
            "has an otpauth:// link, which holds a seed, and names are shown in lists: give a name",
        ));
    }
    ShownText::parse(text).map_err(|problem| Refusal::invalid(field, problem.to_string()))
}

fn algorithm(text: Option<&str>) -> Result<Algorithm, Refusal> {
    accepted("algorithm", text.map_or(Some(Algorithm::default()), |text| text.parse().ok()))
}

fn digits(count: Option<i64>) -> Result<Digits, Refusal> {
    let count = count.map(u64::try_from);
    accepted("digits", count.map_or(Some(Digits::default()), |count| count.ok()?.try_into().ok()))
}

fn period(seconds: Option<i64>) -> Result<Period, Refusal> {
    let seconds = seconds.map(u64::try_from);
    accepted("period", seconds.map_or(Some(Period::default()), |count| count.ok()?.try_into().ok()))
}

/// The value, or a refusal that describes what its type accepts.
fn accepted<T: JsonSchema>(field: &'static str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(|| Refusal::invalid(field, format!("must be {}", words::<T>())))
}
