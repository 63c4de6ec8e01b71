//! The provider's metadata and public keys: fetched when needed, and refreshed while they are used.
//!
//! An unknown key id triggers a fetch, since providers change their keys; but only at intervals, since any client can
//! make up a key id. A fetch is a separate task: its caller may be gone before the answer arrives, and other callers
//! need it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch::{Receiver, channel};

use super::{
    ask::{NoAnswer, get, is_safe, places},
    token::Head,
};

/// The age at which keys are refreshed. Until new ones arrive, the old ones stay in use.
const FRESH: Duration = Duration::from_mins(10);
/// How long keys are used if they can't be refreshed: a short outage of the provider must not lock all callers out, and
/// a withdrawn key must not be trusted for ever.
const TRUSTED: Duration = Duration::from_hours(1);
/// The shortest interval between fetches after a success, and after a failure.
const REST: Duration = Duration::from_secs(30);
const REST_FAILED: Duration = Duration::from_secs(5);
/// The most keys that are kept.
const KEYS_MAX: usize = 100;

/// The keys of one provider.
pub(super) struct Keys {
    shared: Arc<Shared>,
}

struct Shared {
    issuer: String,
    kept: Mutex<KeyCache>,
}

#[derive(Default)]
struct KeyCache {
    keys: Vec<Key>,
    endpoints: Option<Arc<Endpoints>>,
    learned: Option<Instant>,
    /// No fetch before this time.
    rests_until: Option<Instant>,
    /// The receiver of the latest fetch, whose sender lives as long as the fetch runs.
    asking: Option<Receiver<()>>,
}

struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    public: DecodingKey,
}

/// The part of the provider's metadata that is needed.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
    #[serde(flatten)]
    endpoints: Endpoints,
}

/// The provider's endpoints for sign-ins, and their options.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Endpoints {
    #[serde(rename = "authorization_endpoint")]
    pub(super) page: String,
    #[serde(rename = "token_endpoint")]
    pub(super) token: String,
    #[serde(rename = "token_endpoint_auth_methods_supported")]
    pub(super) authentication: Vec<String>,
    /// Whether every answer in the browser names the issuer (RFC 9207).
    #[serde(rename = "authorization_response_iss_parameter_supported")]
    pub(super) names_issuer: bool,
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
        self.learned(|kept| kept.find(head)).await
    }

    /// The provider's endpoints for sign-ins.
    pub(super) async fn endpoints(&self) -> Option<Arc<Endpoints>> {
        self.learned(|kept| kept.endpoints.clone().filter(|_| kept.is_trusted())).await
    }

    /// Fetches from the provider again, unless a fetch is running. The cached values stay in use until it ends.
    pub(super) fn ask_again(&self) {
        let mut kept = self.shared.kept();
        if kept.asking.take().is_none_or(|asking| asking.has_changed().is_err()) {
            kept.asking = Some(Shared::ask(Arc::clone(&self.shared)));
        }
    }

    /// A cached value. If it is missing, waits for the running fetch, or for a new one if the interval allows it.
    async fn learned<T>(&self, find: impl Fn(&KeyCache) -> Option<T>) -> Option<T> {
        let (known, asking) = self.look(&find);
        if known.is_some() {
            return known;
        }
        // The wait ends with the task, whatever the result.
        let _ = asking?.changed().await;
        find(&self.shared.kept())
    }

    /// The cached value, and the running fetch if there is one. Starts a fetch if the value is missing or old, and the
    /// interval allows it.
    fn look<T>(&self, find: impl Fn(&KeyCache) -> Option<T>) -> (Option<T>, Option<Receiver<()>>) {
        let mut kept = self.shared.kept();
        let known = find(&kept);
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
    fn kept(&self) -> MutexGuard<'_, KeyCache> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a fetch in a task of its own.
    fn ask(shared: Arc<Self>) -> Receiver<()> {
        let (under_way, asking) = channel(());
        tokio::spawn(async move {
            let asked = Arc::clone(&shared);
            let learned = tokio::task::spawn_blocking(move || fetch(&asked.issuer)).await;
            let learned = learned.map_err(|_| NoAnswer::Task).flatten();
            let (mut kept, now) = (shared.kept(), Instant::now());
            match learned {
                Ok((keys, endpoints)) => {
                    (kept.keys, kept.endpoints, kept.learned) = (keys, Some(Arc::new(endpoints)), Some(now));
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

impl KeyCache {
    fn is_trusted(&self) -> bool {
        self.learned.is_some_and(|at| at.elapsed() < TRUSTED)
    }

    fn find(&self, head: &Head) -> Option<DecodingKey> {
        if !self.is_trusted() {
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

fn fetch(issuer: &str) -> Result<(Vec<Key>, Endpoints), NoAnswer> {
    let metadata = places(issuer).iter().find_map(|place| get::<Metadata>(issuer, place).ok());
    let metadata = metadata.ok_or(NoAnswer::NoMetadata)?;
    if metadata.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') {
        return Err(NoAnswer::OtherIssuer);
    }
    if !is_safe(&metadata.jwks_uri, issuer) {
        return Err(NoAnswer::InClear);
    }
    let set: KeySet = get(issuer, &metadata.jwks_uri)?;
    Ok((set.keys.into_iter().take(KEYS_MAX).filter_map(usable).collect(), metadata.endpoints))
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
            let (known, asking) = keys.look(|kept| kept.find(&head(key)));
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

        let (_, asking) = keys.look(|kept| kept.find(&head("another")));

        assert!(asking.is_none());
        assert!(keys.look(|kept| kept.find(&head("one"))).0.is_some(), "what is known stays in use");
    }
}
