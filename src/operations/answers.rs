//! Shapes that several answers share, as the mirrored API defines them. The answer of a single operation is in its own
//! file.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::{
    account::Account,
    seat,
    secret::{self, SecretMetadata},
    seed::Seed,
    token::PlainToken,
    totp::Code,
};

/// The `status` of every successful answer.
pub const OK: &str = "OK";

/// A stored secret. The seed stands in the answer to its registration alone.
#[derive(Serialize, JsonSchema)]
pub struct TotpSecret {
    /// Its id (a UUID): what other calls take as `secret_id`.
    pub id: String,
    /// `SHA1`, `SHA256` or `SHA512`.
    #[schemars(extend("enum" = ["SHA1", "SHA256", "SHA512"]))]
    pub algorithm: &'static str,
    /// When it was registered: RFC 3339, UTC, milliseconds.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// Digits of its codes: 6 or 8.
    #[schemars(range(min = 6, max = 8))]
    pub digits: u8,
    /// The service that issued it.
    pub issuer: Option<String>,
    /// What people call it.
    pub label: String,
    /// The web origins of its login pages; absent if none are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub origins: Vec<String>,
    /// Seconds that a code lives.
    #[schemars(range(min = 1, max = 3600))]
    pub period: u32,
    /// The seed in base32. Only in the answer to a registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub secret: Option<Revealed>,
    /// True if every code of it goes to one caller only; absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub single_use: bool,
    /// True if its codes are typed into pages and shown to nobody; absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub fill_only: bool,
    /// When a new code of it was last handed out; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_used_at: Option<String>,
}

/// A seed, a code or a token that is shown once. No `Debug`.
#[derive(Serialize, zeroize::ZeroizeOnDrop)]
#[serde(transparent)]
pub struct Revealed(String);

/// A seat: a person in the account.
#[derive(Serialize, JsonSchema)]
pub struct Seat {
    /// Its id (a UUID).
    pub seat_id: String,
    /// The name of its account.
    pub account: String,
    /// When it was made: RFC 3339, UTC, milliseconds.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// E-mail address.
    pub email: String,
    /// Given name.
    pub first_name: Option<String>,
    /// Family name.
    pub last_name: Option<String>,
    /// Where calls are forwarded to (E.164).
    pub forwarding_number: Option<String>,
}

impl JsonSchema for Revealed {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Revealed".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

impl Revealed {
    /// The text. Search for `Revealed` to find every place that reveals a seed, a code or a token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&Seed> for Revealed {
    fn from(seed: &Seed) -> Self {
        Self(seed.to_base32().as_str().to_owned())
    }
}

impl From<&PlainToken> for Revealed {
    fn from(token: &PlainToken) -> Self {
        Self(token.expose().to_owned())
    }
}

impl From<&Code> for Revealed {
    fn from(code: &Code) -> Self {
        Self(code.digits().to_owned())
    }
}

impl From<&secret::TotpSecret> for TotpSecret {
    fn from(from: &secret::TotpSecret) -> Self {
        // The patterns name every field, so that a new one does not compile until it is shown or left out here.
        // `deleted_at` is for people.
        let secret::TotpSecret { id, metadata, created_at, last_used_at, deleted_at: _ } = from;
        let SecretMetadata { label, issuer, totp, usage, origins } = metadata;
        Self {
            id: id.to_string(),
            algorithm: totp.algorithm.as_str(),
            created_at: created_at.to_string(),
            digits: totp.digits.get(),
            issuer: issuer.as_ref().map(ToString::to_string),
            label: label.to_string(),
            origins: origins.iter().map(ToString::to_string).collect(),
            period: totp.period.seconds(),
            secret: None,
            single_use: usage.single_use(),
            fill_only: *usage == secret::SecretUse::FillOnly,
            last_used_at: last_used_at.map(|at| at.to_string()),
        }
    }
}

impl Seat {
    /// Makes the answer's seat from a seat of this account.
    pub fn of(from: &seat::Seat, account: &Account) -> Self {
        let profile = &from.profile;
        Self {
            seat_id: from.id.to_string(),
            account: account.name.to_string(),
            created_at: from.created_at.to_string(),
            email: profile.email.to_string(),
            first_name: profile.first_name.as_ref().map(ToString::to_string),
            last_name: profile.last_name.as_ref().map(ToString::to_string),
            forwarding_number: profile.forwarding_number.as_ref().map(ToString::to_string),
        }
    }
}
