//! The provider's public keys: found through its metadata, fetched when needed, and refreshed while they are used.
//!
//! An unknown key id triggers a fetch, since providers change their keys; but only at intervals, since anybody can make
//! up a key id. A fetch is a separate task: its caller may be gone before the answer arrives, and others need it.

use std::{
    io::Read as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use http::Uri;
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{Jwk, KeyOperations, PublicKeyUse},
};
use rustls::crypto::aws_lc_rs;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::sync::watch::{Receiver, channel};
use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig},
};

use super::token::Head;

/// The age at which keys are refreshed. Until new ones arrive, the old ones stay in use.
const FRESH: Duration = Duration::from_mins(10);
/// How long keys are used if they can't be refreshed: a short outage of the provider must not lock everybody out, and a
/// withdrawn key must not be trusted for ever.
const TRUSTED: Duration = Duration::from_hours(1);
/// The shortest interval between fetches after a success, and after a failure.
const REST: Duration = Duration::from_secs(30);
const REST_FAILED: Duration = Duration::from_secs(5);
/// The timeout of one request.
const WAIT: Duration = Duration::from_secs(5);
/// The most bytes of an answer: a set of keys has a few thousand.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;
/// The most keys that are kept.
const KEYS_MAX: usize = 100;

/// The keys of one provider.
pub(super) struct Keys {
    shared: Arc<Shared>,
}

struct Shared {
    issuer: String,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    keys: Vec<Key>,
    learned: Option<Instant>,
    /// No fetch before this time.
    rests_until: Option<Instant>,
    /// Lives as long as a fetch is running.
    asking: Option<Receiver<()>>,
}

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    public: DecodingKey,
}

/// Why the provider's keys could not be fetched.
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

/// The part of the provider's metadata that is needed.
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
        Self { shared: Arc::new(Shared { issuer: issuer.to_owned(), kept: Mutex::default() }) }
    }

    /// The key for a token.
    pub(super) async fn find(&self, head: &Head) -> Option<DecodingKey> {
        let (known, asking) = self.look(head);
        if known.is_some() {
            return known;
        }
        // It ends with the task, whatever the result.
        let _ = asking?.changed().await;
        self.shared.kept().find(head)
    }

    /// The key if it is known, and the running fetch if there is one.
    fn look(&self, head: &Head) -> (Option<DecodingKey>, Option<Receiver<()>>) {
        let mut kept = self.shared.kept();
        let known = kept.find(head);
        kept.asking = kept.asking.take().filter(|asking| asking.has_changed().is_ok());
        let is_fresh = kept.learned.is_some_and(|at| at.elapsed() < FRESH);
        let may_ask = kept.asking.is_none() && kept.rests_until.is_none_or(|until| Instant::now() >= until);
        if may_ask && (known.is_none() || !is_fresh) {
            kept.asking = Some(Shared::ask(Arc::clone(&self.shared)));
        }
        (known, kept.asking.clone())
    }
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a fetch in a task of its own.
    fn ask(shared: Arc<Self>) -> Receiver<()> {
        let (under_way, asking) = channel(());
        tokio::spawn(async move {
            let asked = Arc::clone(&shared);
            let learned = tokio::task::spawn_blocking(move || fetch(&asked.issuer)).await;
            let learned = learned.map_err(|_| NoKeys::Task).flatten();
            let (mut kept, now) = (shared.kept(), Instant::now());
            match learned {
                Ok(keys) => {
                    (kept.keys, kept.learned) = (keys, Some(now));
                    kept.rests_until = Some(now + REST);
                }
                Err(cause) => {
                    kept.rests_until = Some(now + REST_FAILED);
                    tracing::warn!(%cause, "the identity provider's keys could not be read");
                }
            }
            drop((kept, under_way));
        });
        asking
    }
}

impl Kept {
    fn find(&self, head: &Head) -> Option<DecodingKey> {
        if self.learned.is_none_or(|at| at.elapsed() >= TRUSTED) {
            return None;
        }
        let fits = |key: &&Key| key.algorithm.is_none_or(|algorithm| algorithm == head.algorithm);
        let named = |key: &&Key| head.key.is_none() || key.id == head.key;
        let mut found =
            self.keys.iter().filter(fits).filter(named).filter(|key| key.public.family() == head.algorithm.family());
        let key = found.next()?;
        // A token without a key id is checked only if there is a single key.
        if head.key.is_none() && found.next().is_some() { None } else { Some(key.public.clone()) }
    }
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

/// The possible URLs of a provider's metadata (RFC 8414, `OpenID` Connect Discovery).
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

/// An HTTP client for short answers over TLS; unencrypted only from this machine.
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

/// A signing key of a supported kind; `None` for others.
fn usable(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let operations = jwk.common.key_operations.as_ref();
    if operations.is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
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

    /// A key of a provider, with further fields.
    fn jwk(more: &str) -> Value {
        let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
        serde_json::from_str(&format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"{more}}}"#)).unwrap()
    }

    #[test]
    fn a_shared_secret_or_an_encrypting_key_is_not_for_us() {
        for other in [r#"{"kty":"oct","k":"AAAA","kid":"a"}"#, r#"{"kty":"new"}"#, "{}"] {
            assert!(usable(serde_json::from_str(other).unwrap()).is_none(), "{other}");
        }
        for encrypts in [
            r#","use":"enc""#,
            r#","key_ops":["encrypt"]"#,
            r#","key_ops":[]"#,
            r#","use":"sig","key_ops":["deriveKey"]"#,
            r#","alg":"ECDH-ES""#,
        ] {
            assert!(usable(jwk(encrypts)).is_none(), "{encrypts}");
        }
        for signs in ["", r#","use":"sig""#, r#","key_ops":["verify"]"#, r#","use":"sig","key_ops":["sign","verify"]"#]
        {
            assert!(usable(jwk(signs)).is_some(), "{signs}");
        }
    }

    /// Keys of this age, from a provider that can't be reached.
    fn learned(ago: Duration) -> Keys {
        let keys = Keys::new("http://127.0.0.1:9");
        let kept = vec![usable(jwk(r#","kid":"one""#)).unwrap()];
        (keys.shared.kept().keys, keys.shared.kept().learned) = (kept, Instant::now().checked_sub(ago));
        keys
    }

    fn head(key: &str) -> Head {
        Head { algorithm: Algorithm::ES256, key: Some(key.to_owned()) }
    }

    #[tokio::test]
    async fn a_key_that_is_not_seen_again_is_trusted_for_an_hour_and_no_longer() {
        let minute = Duration::from_mins(1);
        assert!(learned(TRUSTED.checked_sub(minute).unwrap()).find(&head("one")).await.is_some());
        assert!(learned(TRUSTED).find(&head("one")).await.is_none());
    }

    #[tokio::test]
    async fn keys_that_are_not_fresh_serve_at_once_while_the_provider_is_asked() {
        let asked = |ago, key| {
            let keys = learned(ago);
            let (known, asking) = keys.look(&head(key));
            (known.is_some(), asking.is_some())
        };
        assert_eq!(asked(Duration::ZERO, "one"), (true, false));
        assert_eq!(asked(FRESH, "one"), (true, true));
        assert_eq!(asked(Duration::ZERO, "another"), (false, true));
        assert_eq!(asked(TRUSTED, "one"), (false, true));
    }

    #[tokio::test]
    async fn after_no_answer_nobody_asks_for_a_moment() {
        let keys = learned(FRESH);
        assert!(keys.find(&head("another")).await.is_none());

        let (_, asking) = keys.look(&head("another"));

        assert!(asking.is_none());
        assert!(keys.look(&head("one")).0.is_some(), "what is known stays in use");
    }
}
