//! Arguments. Optional ones may be left out; unknown ones are refused.
//!
//! The schemas hold only what every host's converter takes (see `schema.rs`), and no lower limit that the empty text, which
//! models fill in where they have nothing to say, would be under. Converters lose limits and defaults that stand in keywords
//! alone, so the words say them as well.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};
use zeroize::Zeroizing;

use super::read::accepts;
use crate::service::{CodeRequest, Refusal, Registration, SeatQuery, SecretQuery};

/// A text that may be a seed or hold one: wiped on drop, without `Debug`, and with an error that never quotes it.
pub struct Sensitive(Zeroizing<String>);

/// What a registration takes.
#[derive(Deserialize, JsonSchema)]
pub struct RegisterInput {
    /// An `otpauth://totp/` URI, as an enrolment QR code holds it. With it, all other fields are ignored.
    #[serde(default)]
    #[schemars(with = "String")]
    pub uri: Option<Sensitive>,
    /// What to call the secret, in at most 256 characters; required without `uri`.
    #[serde(default)]
    #[schemars(with = "String", length(max = 256))]
    pub label: Option<String>,
    /// The seed in base32, as the service shows it (spaces, dashes, lower case and padding are accepted). Leave it out
    /// to have a new one made.
    #[serde(default)]
    #[schemars(with = "String")]
    pub secret: Option<Sensitive>,
    /// The service that issued it, in at most 256 characters.
    #[serde(default)]
    #[schemars(with = "String", length(max = 256))]
    pub issuer: Option<String>,
    /// The hash function: SHA1 (the default), SHA256 or SHA512.
    #[serde(default)]
    #[schemars(with = "String", extend("enum" = ["SHA1", "SHA256", "SHA512"], "default" = "SHA1"))]
    pub algorithm: Option<String>,
    /// Digits of a code: 6 (the default) or 8.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u32", range(min = 6, max = 8), extend("default" = 6))]
    pub digits: Option<i64>,
    /// Seconds that a code lives, 1 to 3600; 30 by default.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u32", range(min = 1, max = 3600), extend("default" = 30))]
    pub period: Option<i64>,
    /// Give each code of this secret to one caller only, whatever a call asks for; false by default.
    #[serde(default)]
    #[schemars(with = "bool", extend("default" = false))]
    pub single_use: Option<bool>,
}

/// What a list of secrets takes.
#[derive(Default, Deserialize, JsonSchema)]
pub struct ListSecretsInput {
    /// Words that must all occur in a secret's issuer and label taken together; at most 256 characters.
    #[serde(default)]
    #[schemars(with = "String", length(max = 256))]
    pub query: Option<String>,
    /// Secrets to return at most, 0 to 1000.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u32", range(min = 0, max = 1000))]
    pub limit: Option<i64>,
    /// Secrets to skip; 0 by default.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u32", range(min = 0), extend("default" = 0))]
    pub offset: Option<i64>,
}

/// What names a secret.
#[derive(Deserialize, JsonSchema)]
pub struct SecretIdInput {
    /// The secret's id (a UUID), as the list of secrets shows it.
    pub secret_id: String,
}

/// What a code takes.
#[derive(Deserialize, JsonSchema)]
pub struct GetCodeInput {
    /// The secret's id (a UUID), as the list of secrets shows it.
    pub secret_id: String,
    /// Seconds that must be left of the code: 0 (the default) to its period, 3600 at most. With fewer, the call waits for
    /// the next code.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u32", range(min = 0, max = 3600))]
    pub min_validity: Option<i64>,
    /// True: this code goes to no other caller. Use it when several agents may log in to the same account. False by
    /// default.
    #[serde(default)]
    #[schemars(with = "bool", extend("default" = false))]
    pub single_use: Option<bool>,
    /// Seconds to wait for a code at most, 0 to 120; 45 by default.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u32", range(min = 0, max = 120), extend("default" = 45))]
    pub max_wait: Option<i64>,
    /// The seat (user) that the code is for: its id or its `auth_subject`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub seat_id: Option<String>,
    /// Why the code is needed, in at most 128 characters, for the audit log. No secrets, codes or addresses.
    #[serde(default)]
    #[schemars(with = "String")]
    pub purpose: Option<String>,
}

/// What a verification takes.
#[derive(Deserialize, JsonSchema)]
pub struct VerifyInput {
    /// The secret's id (a UUID), as the list of secrets shows it.
    pub secret_id: String,
    /// The code that the person typed: 6 or 8 digits.
    #[schemars(with = "String")]
    pub code: Sensitive,
    /// The seat (user) that it is checked for: its id or its `auth_subject`.
    #[serde(default)]
    #[schemars(with = "String")]
    pub seat_id: Option<String>,
}

/// What a list of seats takes.
#[derive(Default, Deserialize, JsonSchema)]
pub struct ListSeatsInput {
    /// Only the seat with exactly this e-mail address.
    #[serde(default)]
    #[schemars(with = "String")]
    pub email: Option<String>,
    /// Seats to return at most, 0 to 1000; all by default.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u32", range(min = 0, max = 1000))]
    pub limit: Option<i64>,
    /// Seats to skip; 0 by default.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u32", range(min = 0), extend("default" = 0))]
    pub offset: Option<i64>,
}

/// What a count of seats takes.
#[derive(Default, Deserialize, JsonSchema)]
pub struct SeatCountInput {
    /// Only the seat with exactly this e-mail address.
    #[serde(default)]
    #[schemars(with = "String")]
    pub email: Option<String>,
}

/// What names a seat.
#[derive(Deserialize, JsonSchema)]
pub struct GetSeatInput {
    /// The seat's id, or the user's id at the identity provider (`auth_subject`).
    pub seat_id: String,
}

/// A whole number, also written as `30.0`: JSON Schema calls that an integer. Out of range is for the domain to say.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    /// The largest whole number that every `f64` below it can hold.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match Option::<serde_json::Number>::deserialize(deserializer)? {
        None => Ok(None),
        Some(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(Some(whole)),
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 2^53")]
            (None, Some(real)) if real.fract() == 0.0 && real.abs() <= EXACT => Ok(Some(real as i64)),
            // Far out of any range: let the domain refuse it by its limits.
            (None, Some(real)) if real.is_infinite() || real.abs() > EXACT => Ok(Some(i64::MAX)),
            _ => Err(D::Error::custom("not a whole number")),
        },
    }
}

impl Sensitive {
    /// The text. Search for `expose` to find everybody who looks.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Sensitive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own message would quote the value.
        String::deserialize(deserializer)
            .map(|text| Self(Zeroizing::new(text)))
            .map_err(|_| D::Error::custom("not a text"))
    }
}

impl RegisterInput {
    /// What the use case takes.
    pub fn into_registration(self, idempotency_key: Option<String>) -> Registration {
        Registration {
            uri: self.uri.map(|text| text.0),
            label: self.label,
            secret: self.secret.map(|text| text.0),
            issuer: self.issuer,
            algorithm: self.algorithm,
            digits: self.digits,
            period: self.period,
            single_use: self.single_use.unwrap_or_default(),
            idempotency_key,
        }
    }
}

/// A count that can't be negative; what is out of range becomes the largest, which the domain refuses by its limits.
fn count32(number: Option<i64>) -> Option<u32> {
    number.map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// An offset, which has no largest value that a limit could refuse.
fn offset(number: Option<i64>) -> Result<u64, Refusal> {
    u64::try_from(number.unwrap_or(0)).map_err(|_| Refusal::invalid("offset", "must be a whole number, 0 or more"))
}

impl GetCodeInput {
    /// What the use case takes.
    pub fn to_request(&self) -> CodeRequest {
        CodeRequest {
            min_validity: count32(self.min_validity),
            single_use: self.single_use.unwrap_or_default(),
            max_wait: count32(self.max_wait),
            seat: self.seat_id.clone(),
            purpose: self.purpose.clone(),
        }
    }
}

impl ListSecretsInput {
    /// What the use case takes.
    ///
    /// # Errors
    /// `invalid_argument` for a negative offset.
    pub fn to_query(&self, default_limit: Option<u32>) -> Result<SecretQuery, Refusal> {
        let limit = count32(self.limit).or(default_limit);
        Ok(SecretQuery { query: self.query.clone(), limit, offset: offset(self.offset)? })
    }
}

impl ListSeatsInput {
    /// What the use case takes.
    ///
    /// # Errors
    /// `invalid_argument` for a negative offset.
    pub fn to_query(&self) -> Result<SeatQuery, Refusal> {
        Ok(SeatQuery { email: self.email.clone(), limit: count32(self.limit), offset: offset(self.offset)? })
    }
}

accepts! {
    RegisterInput {
        "uri": Optional Text "a text: an otpauth://totp/ URI",
        "label": Optional Text "a text of 1 to 256 characters",
        "secret": Optional Text "a text: the seed in base32",
        "issuer": Optional Text "a text of 1 to 256 characters",
        "algorithm": Optional Text "SHA1, SHA256 or SHA512",
        "digits": Optional Whole "6 or 8",
        "period": Optional Whole "a whole number of seconds, 1 to 3600",
        "single_use": Optional Truth "true or false",
    }
    ListSecretsInput {
        "query": Optional Text "a text of at most 256 characters",
        "limit": Optional Whole "a whole number, 0 to 1000",
        "offset": Optional Whole "a whole number, 0 or more",
    }
    SecretIdInput { "secret_id": Required Text "the UUID of a secret" }
    GetCodeInput {
        "secret_id": Required Text "the UUID of a secret",
        "min_validity": Optional Whole "a whole number of seconds, 0 to the secret's period",
        "single_use": Optional Truth "true or false",
        "max_wait": Optional Whole "a whole number of seconds, 0 to 120",
        "seat_id": Optional Text "a text: a seat's UUID or auth_subject",
        "purpose": Optional Text "a text",
    }
    VerifyInput {
        "secret_id": Required Text "the UUID of a secret",
        "code": Required Text "a text of 6 or 8 digits",
        "seat_id": Optional Text "a text: a seat's UUID or auth_subject",
    }
    ListSeatsInput {
        "email": Optional Text "a text: an e-mail address",
        "limit": Optional Whole "a whole number, 0 to 1000",
        "offset": Optional Whole "a whole number, 0 or more",
    }
    SeatCountInput { "email": Optional Text "a text: an e-mail address" }
    GetSeatInput { "seat_id": Required Text "a text: a seat's UUID or auth_subject" }
}
