//! Who calls: from a request's headers to a principal, checked against the store for every request, so that a revoked
//! key is refused from the next request on.
//!
//! Keys are read from headers alone, never from a URL, and nothing of them is logged.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};

use super::{oauth::OAuth, peers::Peer, sessions::Owner, settings::HttpSettings};
use crate::{
    domain::{
        api_key::PlainKey,
        principal::Principal,
        scope::{Scope, ScopeSet},
        time::Timestamp,
    },
    service::{Offered, Refusal, Service},
    transport::pace::{Pace, SecretPace},
};

const KEY_ID: HeaderName = HeaderName::from_static("sb-api-key-id");
const KEY_SECRET: HeaderName = HeaderName::from_static("sb-api-secret-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whether a caller offered a credential at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Nothing,
    Something,
}

/// Decides who calls.
pub(super) struct Auth {
    behind_proxy: bool,
    failures: Option<Pace<IpAddr>>,
    calls: Option<Pace<Owner>>,
    secrets: Option<SecretPace>,
    oauth: Option<OAuth>,
}

impl Auth {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        Self {
            behind_proxy: settings.behind_proxy,
            failures: settings.auth_failures.map(Pace::new),
            calls: settings.rate_per_key.map(Pace::new),
            secrets: settings.rate_per_secret.map(SecretPace::new),
            oauth: OAuth::of(settings),
        }
    }

    /// The identity provider, if there is one.
    pub(super) const fn oauth(&self) -> Option<&OAuth> {
        self.oauth.as_ref()
    }

    /// Who sends these headers.
    pub(super) async fn caller(
        &self,
        service: &Service,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Result<Principal, Refusal> {
        let source = self.failures.as_ref().zip(self.source(headers, peer));
        if let Some((failures, address)) = &source
            && let Some(after) = failures.held(address, Instant::now())
        {
            return Err(too_often("too many failed authentications from this address", after));
        }
        let caller = match service.authenticate(self.offered(headers, service.now()).await).await {
            Ok(caller) => caller,
            Err(refusal) => {
                if let (Refusal::Unauthenticated, Some((failures, address))) = (&refusal, source) {
                    let _ = failures.take(address, Instant::now());
                }
                return Err(refusal);
            }
        };
        if let Some(pace) = &self.calls {
            let taken = pace.take(Owner::of(&caller), Instant::now());
            taken.map_err(|after| too_often("too many calls with this key", after))?;
        }
        Ok(caller)
    }

    /// How often codes of each secret may be asked for, if that is limited.
    pub(super) const fn secret_pace(&self) -> Option<&SecretPace> {
        self.secrets.as_ref()
    }

    /// Whether these headers hold a credential of any kind.
    pub(super) fn is_tried(headers: &HeaderMap) -> Tried {
        let tried = headers.contains_key(AUTHORIZATION) || headers.contains_key(KEY_ID);
        if tried { Tried::Something } else { Tried::Nothing }
    }

    /// What a refused caller is told to send. With an identity provider, where to find it.
    pub(super) fn challenge(&self, refusal: &Refusal, tried: Tried) -> Option<HeaderValue> {
        let text = match (refusal, &self.oauth) {
            (Refusal::Unauthenticated, oauth) => {
                let metadata = oauth.as_ref().map_or_else(
                    || r#"realm="countersign""#.to_owned(),
                    |oauth| format!(r#"{}, scope="{}""#, oauth.metadata(), spaced(ScopeSet::of_a_new_key())),
                );
                // RFC 6750: a caller that sent nothing is not told of an error.
                let error = match tried {
                    Tried::Something => r#", error="invalid_token""#,
                    Tried::Nothing => "",
                };
                format!("Bearer {metadata}{error}")
            }
            (Refusal::MissingScope(scope), Some(oauth)) => {
                format!(r#"Bearer {}, error="insufficient_scope", scope="{scope}""#, oauth.metadata())
            }
            _ => return None,
        };
        HeaderValue::try_from(text).ok()
    }

    /// What MCP's handler learns of a request: who sent it, and how often codes of a secret may be asked for. No more,
    /// since rmcp keeps it for as long as it keeps the request.
    pub(super) fn carried(&self, caller: Principal) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(caller);
        if let Some(pace) = &self.secrets {
            extensions.insert(pace.clone());
        }
        extensions
    }

    /// The scope that a login lacks for the tool it names in a header, if it lacks one: the authorization pages want a
    /// 403 before the call. The header is safe to go by, since it is held against the body afterwards.
    pub(super) fn missing_scope(&self, caller: &Principal, headers: &HeaderMap) -> Option<Scope> {
        if self.oauth.is_none() || caller.key().is_some() {
            return None;
        }
        let named = headers.get("mcp-name")?.to_str().ok()?;
        let tool = crate::transport::mcp::TOOLS.iter().find(|tool| tool.name == named)?;
        (!caller.may(tool.scope)).then_some(tool.scope)
    }

    async fn offered(&self, headers: &HeaderMap, now: Timestamp) -> Offered {
        if let Some(token) = headers.get(AUTHORIZATION) {
            let bearer = (headers.get_all(AUTHORIZATION).iter().count() == 1).then(|| bearer(token)).flatten();
            return match (bearer, &self.oauth) {
                (Some(token), oauth) => match (PlainKey::from_token(token), oauth) {
                    (Ok(key), _) => Offered::Key(key),
                    (Err(_), Some(oauth)) => oauth.offered(token, now).await,
                    (Err(_), None) => Offered::Junk,
                },
                (None, _) => Offered::Junk,
            };
        }
        match (headers.get(KEY_ID), headers.get(KEY_SECRET)) {
            (None, None) => Offered::Nothing,
            (Some(id), Some(secret)) => match (id.to_str(), secret.to_str()) {
                (Ok(id), Ok(secret)) => PlainKey::from_pair(id, secret).map_or(Offered::Junk, Offered::Key),
                _ => Offered::Junk,
            },
            _ => Offered::Junk,
        }
    }

    /// Whom failed authentications are counted for. A proxy appends the address it saw, so the last one is its word;
    /// those before it are the caller's.
    fn source(&self, headers: &HeaderMap, peer: Option<Peer>) -> Option<IpAddr> {
        let forwarded = || {
            let last = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
            address_in(last.rsplit(',').next()?.trim()).map(Peer)
        };
        let seen = if self.behind_proxy { forwarded().or(peer) } else { peer };
        seen.map(Peer::network)
    }
}

/// An address as proxies write it: alone, or with a port.
fn address_in(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn too_often(what: &'static str, after: Duration) -> Refusal {
    Refusal::RateLimited { what, after }
}

/// Scopes as OAuth writes them.
pub(super) fn spaced(scopes: ScopeSet) -> String {
    scopes.to_string().replace(',', " ")
}

/// The header that a challenge goes into.
pub(super) const CHALLENGE: HeaderName = WWW_AUTHENTICATE;
