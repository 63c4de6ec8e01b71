//! The provider's public keys: found through its metadata, fetched when needed, kept for an hour.
//!
//! An unknown key id makes us ask again, since providers change their keys; but once in thirty seconds at most, since
//! anybody can make up a key id.

use std::{
    io::Read as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::Uri;
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{Jwk, PublicKeyUse},
};
use rustls::crypto::aws_lc_rs;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig},
};

use super::token::Head;

/// How long keys are used before they are asked for again.
const FRESH: Duration = Duration::from_hours(1);
/// How long after asking nobody asks again.
const REST: Duration = Duration::from_secs(30);
/// How long one question may take.
const WAIT: Duration = Duration::from_secs(5);
/// Bytes of an answer: a set of keys has some thousand.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;
/// Keys that are kept.
const KEYS_MAX: usize = 100;

/// The keys of one provider.
pub(super) struct Keys {
    issuer: String,
    kept: Mutex<Kept>,
    /// Held by the one who asks the provider; the others wait for what it learns.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    keys: Arc<Vec<Key>>,
    learned: Option<Instant>,
    asked: Option<Instant>,
}

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    public: DecodingKey,
}

/// Why the provider's keys could not be learned.
#[derive(Debug, thiserror::Error)]
enum NoKeys {
    #[error("{0}")]
    Fetch(#[from] Box<ureq::Error>),
    #[error("the answer could not be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("the answer is not the JSON that it should be")]
    Form,
    #[error("the metadata is another issuer's")]
    OtherIssuer,
    #[error("`jwks_uri` is not https")]
    InClear,
    #[error("no metadata was found")]
    NoMetadata,
    #[error("the asking task failed")]
    Task,
}

/// What we need of the provider's metadata.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Keys {
    pub(super) fn new(issuer: &str) -> Self {
        Self { issuer: issuer.to_owned(), kept: Mutex::default(), asking: tokio::sync::Mutex::new(()) }
    }

    /// The key that a token names.
    pub(super) async fn find(&self, head: &Head) -> Option<DecodingKey> {
        if let Some(key) = self.kept(head, Freshness::Fresh) {
            return Some(key);
        }
        let _one_asks = self.asking.lock().await;
        // Somebody may have asked while we waited.
        if let Some(key) = self.kept(head, Freshness::Fresh) {
            return Some(key);
        }
        if self.may_ask() {
            match self.ask().await {
                Ok(keys) => {
                    let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                    (kept.keys, kept.learned) = (Arc::new(keys), Some(Instant::now()));
                }
                Err(cause) => tracing::warn!(%cause, "the identity provider's keys could not be read"),
            }
        }
        // A provider that is away for a while must not lock everybody out.
        self.kept(head, Freshness::Any)
    }

    fn kept(&self, head: &Head, wanted: Freshness) -> Option<DecodingKey> {
        let keys = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = kept.learned.is_some_and(|at| at.elapsed() < FRESH);
            (fresh || wanted == Freshness::Any).then(|| Arc::clone(&kept.keys))?
        };
        let fits = |key: &&Key| key.algorithm.is_none_or(|algorithm| algorithm == head.algorithm);
        let named = |key: &&Key| head.key.is_none() || key.id == head.key;
        let mut found =
            keys.iter().filter(fits).filter(named).filter(|key| key.public.family() == head.algorithm.family());
        let key = found.next()?;
        // A token that names no key is checked with the only one there is, or not at all.
        if head.key.is_none() && found.next().is_some() { None } else { Some(key.public.clone()) }
    }

    fn may_ask(&self) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let may = kept.asked.is_none_or(|at| at.elapsed() >= REST);
        if may {
            kept.asked = Some(Instant::now());
        }
        may
    }

    async fn ask(&self) -> Result<Vec<Key>, NoKeys> {
        let issuer = self.issuer.clone();
        tokio::task::spawn_blocking(move || fetch(&issuer)).await.map_err(|_| NoKeys::Task)?
    }
}

/// How old keys may be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Freshness {
    Fresh,
    Any,
}

fn fetch(issuer: &str) -> Result<Vec<Key>, NoKeys> {
    let here = is_loopback(issuer);
    let agent = agent(here);
    let metadata = places(issuer).iter().find_map(|place| get::<Metadata>(&agent, place).ok());
    let metadata = metadata.ok_or(NoKeys::NoMetadata)?;
    if metadata.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') {
        return Err(NoKeys::OtherIssuer);
    }
    let safe = metadata.jwks_uri.starts_with("https://") || (here && is_loopback(&metadata.jwks_uri));
    let set: KeySet = if safe { get(&agent, &metadata.jwks_uri)? } else { return Err(NoKeys::InClear) };
    Ok(set.keys.into_iter().take(KEYS_MAX).filter_map(usable).collect())
}

/// Where a provider's metadata may stand (RFC 8414, `OpenID` Connect Discovery).
fn places(issuer: &str) -> Vec<String> {
    let issuer = issuer.trim_end_matches('/');
    let mut places = vec![format!("{issuer}/.well-known/openid-configuration")];
    let path_at = issuer.find("://").and_then(|scheme| issuer.get(scheme + 3..)?.find('/').map(|at| scheme + 3 + at));
    let (origin, path) = issuer.split_at(path_at.unwrap_or(issuer.len()));
    places.push(format!("{origin}/.well-known/oauth-authorization-server{path}"));
    if !path.is_empty() {
        places.push(format!("{origin}/.well-known/openid-configuration{path}"));
    }
    places
}

fn is_loopback(url: &str) -> bool {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    host.is_some_and(|host| matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]"))
}

/// Short answers over TLS; in clear from this machine alone.
fn agent(here: bool) -> Agent {
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build();
    let config = Agent::config_builder().tls_config(tls).https_only(!here).max_redirects(if here { 0 } else { 3 });
    config.timeout_global(Some(WAIT)).max_response_header_size(16 * 1024).build().new_agent()
}

fn get<T: DeserializeOwned>(agent: &Agent, url: &str) -> Result<T, NoKeys> {
    let mut answer = agent.get(url).header("accept", "application/json").call().map_err(Box::new)?;
    let mut bytes = Vec::new();
    answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).reader().read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(|_| NoKeys::Form)
}

/// A key that signs, of a kind that we know; others are passed over.
fn usable(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithm = match jwk.common.key_algorithm {
        Some(named) => Some(named.to_string().parse().ok()?),
        None => None,
    };
    let public = DecodingKey::from_jwk(&jwk).ok().filter(|key| key.family() != AlgorithmFamily::Hmac)?;
    Some(Key { id: jwk.common.key_id, algorithm, public })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_the_standards_put_it() {
        assert_eq!(
            places("https://id.example/"),
            [
                "https://id.example/.well-known/openid-configuration",
                "https://id.example/.well-known/oauth-authorization-server",
            ]
        );
        assert_eq!(
            places("https://id.example/realms/one"),
            [
                "https://id.example/realms/one/.well-known/openid-configuration",
                "https://id.example/.well-known/oauth-authorization-server/realms/one",
                "https://id.example/.well-known/openid-configuration/realms/one",
            ]
        );
    }

    #[test]
    fn a_shared_secret_or_an_encrypting_key_is_not_for_us() {
        for jwk in [
            r#"{"kty":"oct","k":"AAAA","kid":"a"}"#,
            r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","use":"enc"}"#,
            r#"{"kty":"new"}"#,
            "{}",
        ] {
            assert!(usable(serde_json::from_str(jwk).unwrap()).is_none(), "{jwk}");
        }
    }
}
