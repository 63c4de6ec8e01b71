//! Access tokens, and the tokens of sign-ins: JSON Web Tokens with a valid signature, issuer, audience, times and type
//! (RFC 9068, RFC 8725, `OpenID` Connect Core).

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use crate::domain::{
    scope::{Scope, ScopeSet},
    time::Timestamp,
};

/// Accepted signature algorithms: with a private key, never with a shared secret.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// The allowed difference between the provider's clock and ours, in seconds.
const SKEW: i64 = 30;

/// Why a token is rejected. For the log; it holds nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoLogin {
    #[error("it is no JSON Web Token")]
    NoToken,
    #[error("its algorithm is not accepted")]
    Algorithm,
    #[error("it is of another type")]
    Type,
    #[error("the provider has no such key")]
    UnknownKey,
    #[error("its signature, issuer, audience or subject is wrong")]
    Wrong,
    #[error("it has expired, or is not valid yet")]
    Time,
    #[error("it is for another sign-in or another client")]
    Elsewhere,
}

/// The types of tokens that grant access. Several providers write none.
pub(super) const ACCESS: &[&str] = &["jwt", "at+jwt"];
/// The types of tokens that identify the person who has signed in.
pub(super) const IDENTITY: &[&str] = &["jwt"];

/// The part of a token that is read before its signature is checked: which key to check it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) algorithm: Algorithm,
    pub(super) key: Option<String>,
}

/// The claims of a token.
#[derive(Deserialize)]
pub(super) struct Claims {
    /// The user's id at the provider.
    pub(super) sub: String,
    /// A single issuer; a list could include others.
    iss: String,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    scope: Option<Words>,
    #[serde(default)]
    scp: Option<Words>,
    #[serde(default)]
    aud: Option<Value>,
    #[serde(default)]
    azp: Option<Value>,
    #[serde(default)]
    nonce: Option<Value>,
}

/// Scopes: words in one text, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    List(Vec<String>),
}

impl Head {
    /// Reads the header of a token that must be of one of these types, or name none.
    pub(super) fn of(token: &str, types: &[&str]) -> Result<Self, NoLogin> {
        let header = decode_header(token).map_err(|_| NoLogin::NoToken)?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(NoLogin::Algorithm);
        }
        let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
        let kind = kind.as_deref().map(|kind| kind.strip_prefix("application/").unwrap_or(kind));
        // It must not be another kind of token of the same provider.
        if kind.is_some_and(|kind| !types.contains(&kind)) {
            return Err(NoLogin::Type);
        }
        // We support no extension that is marked as critical.
        if header.crit.is_some() {
            return Err(NoLogin::Type);
        }
        Ok(Self { algorithm: header.alg, key: header.kid })
    }
}

/// Checks a token of this issuer for this audience with the key that its header names.
pub(super) fn check(
    token: &str,
    head: &Head,
    key: &DecodingKey,
    (issuer, audience): (&str, &str),
    now: Timestamp,
) -> Result<Claims, NoLogin> {
    let mut validation = Validation::new(head.algorithm);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    // Times are checked below against our own clock, which tests can move.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    let claims = decode::<Claims>(token, key, &validation).map_err(|_| NoLogin::Wrong)?.claims;
    let (late, early) = (now.seconds().saturating_sub(SKEW), now.seconds().saturating_add(SKEW));
    if seconds(claims.exp) <= late || claims.nbf.is_some_and(|from| seconds(from) > early) {
        return Err(NoLogin::Time);
    }
    if claims.sub.is_empty() || claims.iss != issuer { Err(NoLogin::Wrong) } else { Ok(claims) }
}

/// A `NumericDate`, which may have a fraction.
#[expect(clippy::cast_possible_truncation, reason = "what is out of range becomes the nearest end of it, NaN zero")]
const fn seconds(date: f64) -> i64 {
    date as i64
}

impl Claims {
    /// The token's scopes that are known here, exactly as written. A scope prefixed with a resource's name belongs to
    /// that resource.
    pub(super) fn scopes(&self) -> ScopeSet {
        let words = self.scope.iter().chain(&self.scp).flat_map(Words::each);
        words.filter_map(|word| word.parse::<Scope>().ok()).collect()
    }

    /// Checks that the token is of this sign-in, and made for this client: a token for several audiences must name this
    /// client as its authorized party.
    pub(super) fn of_sign_in(self, client: &str, nonce: &str) -> Result<Self, NoLogin> {
        let names_others = self.aud.as_ref().and_then(Value::as_array).is_some_and(|named| named.len() > 1);
        let is_ours = match &self.azp {
            Some(party) => party == client,
            None => !names_others,
        };
        if is_ours && self.nonce.as_ref().is_some_and(|sent| sent == nonce) {
            Ok(self)
        } else {
            Err(NoLogin::Elsewhere)
        }
    }

    /// When the token expires. The tolerance for clock differences applies only when a call begins.
    pub(super) const fn expires_at(&self) -> Timestamp {
        Timestamp::from_seconds(seconds(self.exp))
    }
}

impl Words {
    fn each(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Text(text) => Box::new(text.split_ascii_whitespace()),
            Self::List(list) => Box::new(list.iter().map(String::as_str)),
        }
    }
}
