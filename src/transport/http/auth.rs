//! Makes a principal from a request's headers. The store is checked for every request, so a revoked key is refused from
//! the next request on.
//!
//! Keys are read only from headers, never from a URL, and are never logged.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
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
        token::PlainToken,
    },
    operations::{Counted, Entry, Offered, Pace, Refusal, Service},
    transport::{owner::Owner, pace::CallPace},
};

const KEY_ID: HeaderName = HeaderName::from_static("sb-api-key-id");
const KEY_SECRET: HeaderName = HeaderName::from_static("sb-api-secret-key");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The fewest MCP messages allowed for a key, however few calls it may make: greetings and lists need messages too.
const MESSAGES_FLOOR: Rate = Rate::per_minute(600);

/// Whether a request has any credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    Nothing,
    Something,
}

/// Whether a request counts as a call or as an MCP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counts {
    Call,
    /// An MCP message; whether it seems to call a tool.
    Message {
        calls: bool,
    },
}

/// A caller whose request was counted.
pub(super) struct Authenticated {
    pub(super) caller: Principal,
    /// Whether the request is within the caller's limit.
    pub(super) counted: Result<(), Refusal>,
    /// The limit of the calls that the request makes.
    pub(super) pace: Option<CallPace>,
}

/// A header occurs twice, or is not text.
struct Ambiguous;

/// Authenticates requests.
pub(super) struct Auth {
    behind_proxy: bool,
    failures: Option<Pace>,
    calls: Option<Arc<Pace>>,
    /// The limit on MCP messages of any kind, at least ten for each call: tools count their calls themselves.
    messages: Option<Pace>,
    oauth: Option<OAuth>,
}

impl Auth {
    pub(super) fn new(settings: &HttpSettings) -> Self {
        Self {
            behind_proxy: settings.behind_proxy,
            failures: settings.auth_failures.map(|rate| Pace::new(Counted::Failures, rate)),
            calls: settings.rate_per_key.map(|rate| Arc::new(Pace::new(Counted::Calls, rate))),
            messages: settings.rate_per_key.map(|rate| Pace::new(Counted::Messages, messages_of(rate))),
            oauth: OAuth::of(settings),
        }
    }

    /// The identity provider, if there is one.
    pub(super) const fn oauth(&self) -> Option<&OAuth> {
        self.oauth.as_ref()
    }

    /// Authenticates a request by its headers.
    ///
    /// A valid credential is accepted even from an address that has sent too many wrong ones: callers on one machine or
    /// behind one proxy share an address, and one of them with a stale key must not lock the others out.
    pub(super) async fn caller(
        &self,
        service: &Service,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Result<Principal, Problem> {
        let offered = self.offered(headers, service.now()).await;
        self.authenticated(service, offered, self.source(headers, peer)).await
    }

    /// Authenticates a request and counts it. If the store counts, both queries run at the same time, so a limit costs
    /// no round trip of its own.
    pub(super) async fn counted_caller(
        &self,
        service: &Service,
        headers: &HeaderMap,
        peer: Option<Peer>,
        counts: Counts,
    ) -> Result<Authenticated, Problem> {
        let offered = self.offered(headers, service.now()).await;
        let mark = if self.calls.is_some() { service.mark_of(&offered).await } else { None };
        let own = match counts {
            Counts::Call => self.calls.as_deref(),
            Counts::Message { .. } => self.messages.as_ref(),
        };
        let calls = self.calls.as_deref().filter(|_| counts == Counts::Message { calls: true });
        let over_nodes = async |pace: Option<&Pace>| {
            let (pace, mark) = pace.zip(mark)?;
            service.count_over_nodes(pace, &mark).await
        };
        let (caller, counted, ahead) = futures::join!(
            self.authenticated(service, offered, self.source(headers, peer)),
            over_nodes(own),
            over_nodes(calls),
        );
        let caller = caller?;
        let here = || own.zip(mark).map_or(Ok(()), |(pace, mark)| service.count_here(pace, &mark));
        let counted = counted.unwrap_or_else(here);
        let pace = self.calls.as_ref().zip(mark).map(|(pace, mark)| CallPace::new(pace, mark, ahead));
        Ok(Authenticated { caller, counted, pace })
    }

    async fn authenticated(
        &self,
        service: &Service,
        offered: Offered,
        from: Option<IpAddr>,
    ) -> Result<Principal, Problem> {
        // A request without a credential is not a guess.
        let guesses = !matches!(offered, Offered::Nothing);
        let refusal = match service.authenticate_from(offered, from).await {
            Ok(caller) => return Ok(caller),
            Err(refusal) => refusal,
        };
        let source = self.failures.as_ref().zip(from);
        if let (Refusal::Unauthenticated, true, Some((failures, address))) = (&refusal, guesses, source) {
            let address = match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            service.count(failures, &address.octets()).await.map_err(Problem::Own)?;
        }
        Err(refusal.into())
    }

    /// The caller of a request that is refused for other reasons than its credential, so that the audit log names it. A
    /// wrong credential leaves the row of a failed authentication, and none at all leaves no row.
    pub(super) async fn caller_of_refused(
        &self,
        service: &Service,
        headers: &HeaderMap,
        peer: Option<Peer>,
    ) -> Option<Owner> {
        // While the clock is wrong, no row is written.
        if matches!(Self::is_tried(headers), Tried::Nothing) || service.check_clock().is_err() {
            return None;
        }
        // Boxed, so that other requests don't reserve room for it.
        let caller = Box::pin(self.caller(service, headers, peer)).await.ok()?;
        Some(Owner::of(&caller))
    }

    /// Whether the headers contain a credential of any kind.
    pub(super) fn is_tried(headers: &HeaderMap) -> Tried {
        let tried = [AUTHORIZATION, KEY_ID, KEY_SECRET].iter().any(|name| headers.contains_key(name));
        if tried { Tried::Something } else { Tried::Nothing }
    }

    /// The `WWW-Authenticate` value for a refused caller; with an identity provider, it contains the URL of the
    /// document that names the provider.
    pub(super) fn challenge(&self, refusal: &Refusal, tried: Tried) -> Option<HeaderValue> {
        let text = match (refusal, &self.oauth) {
            (Refusal::Unauthenticated, oauth) => {
                let metadata = oauth.as_ref().map_or_else(
                    || r#"realm="countersign""#.to_owned(),
                    |oauth| format!(r#"{}, scope="{}""#, oauth.metadata(), spaced(ScopeSet::of_a_new_key())),
                );
                // RFC 6750: no error is reported to a caller that sent no credential.
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

    /// The extensions for MCP's handler: the caller, and its rate limit. Keep them small, since rmcp stores them as
    /// long as the request.
    pub(super) fn carried(caller: Principal, pace: Option<CallPace>) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(caller);
        if let Some(pace) = pace {
            extensions.insert(pace);
        }
        extensions
    }

    /// The scope that a login lacks for the tool named in a header, if it lacks one: MCP's authorization specification
    /// requires a 403 before the call. The header can be trusted, since it is later compared with the body.
    pub(super) fn missing_scope(&self, caller: &Principal, headers: &HeaderMap) -> Option<Scope> {
        if self.oauth.is_none() || caller.key().is_some() {
            return None;
        }
        let named = headers.get("mcp-name")?.to_str().ok()?;
        Entry::tool(named)?.scope().filter(|scope| !caller.may(*scope))
    }

    /// The credential in the headers. Two credentials, or the same header twice, are rejected: a proxy in front and
    /// this server might each use a different one.
    async fn offered(&self, headers: &HeaderMap, now: Timestamp) -> Offered {
        let (Ok(token), Ok(id), Ok(secret)) =
            (only(headers, AUTHORIZATION), only(headers, KEY_ID), only(headers, KEY_SECRET))
        else {
            return Offered::Junk;
        };
        match (token, id, secret) {
            (None, None, None) => Offered::Nothing,
            (Some(value), None, None) => {
                let Some(token) = bearer(value) else { return Offered::Junk };
                match (PlainKey::from_token(token), PlainToken::from_text(token), &self.oauth) {
                    (Ok(key), ..) => Offered::Key(key),
                    (_, Ok(token), _) => Offered::Token(token),
                    (Err(_), Err(_), Some(oauth)) => oauth.offered(token, now).await,
                    (Err(_), Err(_), None) => Offered::Junk,
                }
            }
            (None, Some(id), Some(secret)) => PlainKey::from_pair(id, secret).map_or(Offered::Junk, Offered::Key),
            _ => Offered::Junk,
        }
    }

    /// The address for which failed authentications are counted. A proxy appends the address that it saw, so only the
    /// last one is trustworthy; those before it come from the caller.
    pub(super) fn source(&self, headers: &HeaderMap, peer: Option<Peer>) -> Option<IpAddr> {
        let forwarded = || {
            let last = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
            address_in(last.rsplit(',').next()?.trim()).map(Peer)
        };
        let seen = if self.behind_proxy { forwarded().or(peer) } else { peer };
        seen.map(Peer::network)
    }
}

/// An address as proxies write it: with or without a port.
fn address_in(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// The only header of this name, if it exists.
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

/// The rate of MCP messages for a rate of calls.
fn messages_of(calls: Rate) -> Rate {
    let tenfold = calls.tenfold();
    if tenfold.interval() < MESSAGES_FLOOR.interval() { tenfold } else { MESSAGES_FLOOR }
}

/// Scopes in OAuth's notation.
pub(super) fn spaced(scopes: ScopeSet) -> String {
    scopes.to_string().replace(',', " ")
}

/// The header for a challenge.
pub(super) const CHALLENGE: HeaderName = WWW_AUTHENTICATE;
