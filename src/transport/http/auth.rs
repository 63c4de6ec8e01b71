//! Who calls: from a request's headers to a principal, checked against the store for every request, so that a revoked
//! key is refused from the next request on.
//!
//! Keys are read from headers alone, never from a URL, and nothing of them is logged.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};

use super::{answer::Problem, oauth::OAuth, peers::Peer, settings::HttpSettings};
use crate::{
    domain::{
        api_key::PlainKey,
        principal::Principal,
        rate::Rate,
        scope::{Scope, ScopeSet},
        time::Timestamp,
    },
    operations::{Entry, Offered, Pace, Refusal, Service},
    transport::pace::CallPace,
};

const KEY_ID: HeaderName = HeaderName::from_static("sb-api-key-id");
const KEY_SECRET: HeaderName = HeaderName::from_static("sb-api-secret-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// MCP messages that a key may send however few calls it may make: greetings and lists should not use those up.
const MESSAGES_FLOOR: Rate = Rate::per_minute(600);

/// Whether a caller offered a credential at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Nothing,
    Something,
}

/// A header that stands there twice, or is no text.
struct Ambiguous;

/// Decides who calls.
pub(super) struct Auth {
    behind_proxy: bool,
    failures: Option<Pace<IpAddr>>,
    calls: Option<CallPace>,
    /// MCP messages of any kind, ten for each call: tools count their calls themselves.
    messages: Option<CallPace>,
    oauth: Option<OAuth>,
}

impl Auth {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        Self {
            behind_proxy: settings.behind_proxy,
            failures: settings.auth_failures.map(Pace::new),
            calls: settings.rate_per_key.map(CallPace::new),
            messages: settings.rate_per_key.map(|rate| CallPace::new(messages_of(rate))),
            oauth: OAuth::of(settings),
        }
    }

    /// The identity provider, if there is one.
    pub(super) const fn oauth(&self) -> Option<&OAuth> {
        self.oauth.as_ref()
    }

    /// Who sends these headers.
    ///
    /// A right credential is let in even from an address that has offered too many wrong ones: callers on one machine or
    /// behind one proxy share an address, and one of them with a stale key must not lock the others out.
    pub(super) async fn caller(
        &self,
        service: &Service,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Result<Principal, Problem> {
        let offered = self.offered(headers, service.now()).await;
        // Who offers nothing guesses nothing.
        let guesses = !matches!(offered, Offered::Nothing);
        let from = self.source(headers, peer);
        let refusal = match service.authenticate_from(offered, from).await {
            Ok(caller) => return Ok(caller),
            Err(refusal) => refusal,
        };
        let source = self.failures.as_ref().zip(from);
        if let (Refusal::Unauthenticated, true, Some((failures, address))) = (&refusal, guesses, source) {
            let counted = failures.take(address, Instant::now());
            let what = "too many failed authentications from this address";
            counted.map_err(|after| Problem::Own(Refusal::RateLimited { what, after }))?;
        }
        Err(refusal.into())
    }

    /// Counts a call of a caller.
    pub(super) fn count_call(&self, caller: &Principal) -> Result<(), Refusal> {
        self.calls.as_ref().map_or(Ok(()), |pace| pace.count(caller))
    }

    /// Counts an MCP message of a caller.
    pub(super) fn count_message(&self, caller: &Principal) -> Result<(), Refusal> {
        self.messages.as_ref().map_or(Ok(()), |pace| pace.count(caller))
    }

    /// Whether these headers hold a credential of any kind.
    pub(super) fn is_tried(headers: &HeaderMap) -> Tried {
        let tried = [AUTHORIZATION, KEY_ID, KEY_SECRET].iter().any(|name| headers.contains_key(name));
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

    /// What MCP's handler learns of a request: who sent it, and how often that key may call. No more, since rmcp keeps it for
    /// as long as it keeps the request.
    pub(super) fn carried(&self, caller: Principal) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(caller);
        if let Some(pace) = &self.calls {
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
        Entry::tool(named)?.scope().filter(|scope| !caller.may(*scope))
    }

    /// What these headers offer. Two credentials, or two of one header, are none: a proxy in front and this server might
    /// each go by another of them.
    async fn offered(&self, headers: &HeaderMap, now: Timestamp) -> Offered {
        let (Ok(token), Ok(id), Ok(secret)) =
            (only(headers, AUTHORIZATION), only(headers, KEY_ID), only(headers, KEY_SECRET))
        else {
            return Offered::Junk;
        };
        match (token, id, secret) {
            (None, None, None) => Offered::Nothing,
            (Some(token), None, None) => match (bearer(token).map(PlainKey::from_token), bearer(token), &self.oauth) {
                (Some(Ok(key)), ..) => Offered::Key(key),
                (Some(Err(_)), Some(token), Some(oauth)) => oauth.offered(token, now).await,
                _ => Offered::Junk,
            },
            (None, Some(id), Some(secret)) => PlainKey::from_pair(id, secret).map_or(Offered::Junk, Offered::Key),
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

/// The one header of this name, if there is one.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Ambiguous> {
    let mut sent = headers.get_all(name).iter();
    match (sent.next().map(HeaderValue::to_str), sent.next()) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        _ => Err(Ambiguous),
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// How many MCP messages go with so many calls.
fn messages_of(calls: Rate) -> Rate {
    let tenfold = calls.tenfold();
    if tenfold.interval() < MESSAGES_FLOOR.interval() { tenfold } else { MESSAGES_FLOOR }
}

/// Scopes as OAuth writes them.
pub(super) fn spaced(scopes: ScopeSet) -> String {
    scopes.to_string().replace(',', " ")
}

/// The header that a challenge goes into.
pub(super) const CHALLENGE: HeaderName = WWW_AUTHENTICATE;
