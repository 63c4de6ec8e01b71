//! OAuth 2.1 as a resource server: accepts access tokens of an existing identity provider, and serves the documents by
//! which clients find where to get one (RFC 9728). As a client, it lets people sign in there to prove who they are.
//!
//! It has no authorization endpoint of its own, passes no token on, and accepts no token without checking issuer,
//! audience, times and signature.

mod ask;
mod keys;
mod sign_in;
mod token;

use std::sync::Arc;

use axum::response::Response;
use http::{Method, StatusCode, Uri};
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{
    answer::{Problem, with_json},
    door::Visit,
    routes::{Answer, Doc, Route, Run, Takes},
    settings::{HttpSettings, OAuthSettings},
};
use crate::{
    domain::{audit::Action, ids::AccountId, scope::Scope, time::Timestamp},
    operations::{Counted, Offered, Pace, output_schema},
};
use keys::Keys;
pub(super) use sign_in::Who;

/// The document's path at the root, and the one for the resource at `/mcp`.
const AT_ROOT: &str = "/.well-known/oauth-protected-resource";
const AT_MCP: &str = "/.well-known/oauth-protected-resource/mcp";

/// An identity provider whose access tokens are accepted.
pub(super) struct OAuth {
    settings: OAuthSettings,
    keys: Keys,
    /// Permits for the codes that are redeemed at once: each takes a thread.
    redeeming: Arc<Semaphore>,
    /// The rate limit on codes redeemed for each link, so that a visitor can't make this server flood the provider.
    redeemed: Pace,
    /// The `resource_metadata="…"` part of challenges.
    challenge: String,
    document: Vec<u8>,
}

/// What a client needs to know to get a token for this server (RFC 9728).
#[derive(Serialize, JsonSchema)]
struct ProtectedResource {
    /// The resource for which to request a token from the provider.
    resource: String,
    /// The provider.
    authorization_servers: [String; 1],
    /// The scopes that a token may have.
    scopes_supported: Vec<&'static str>,
    /// How a token is sent.
    bearer_methods_supported: [&'static str; 1],
    /// What this server is called.
    resource_name: &'static str,
}

const fn route(path: &'static str, id: &'static str) -> Route {
    Route {
        method: Method::GET,
        path,
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Open(|visit| Box::pin(async move { serve(&visit) })),
        doc: Some(Doc {
            id,
            tag: "Operation",
            summary: "How to log in",
            description: "Where an access token for this server comes from (RFC 9728). Needs no key; not found where no \
                          identity provider is set up.",
            scope: None,
            answer: Answer::json("The document.", output_schema::<ProtectedResource>),
            refusals: &[crate::operations::ErrorCode::NotFound],
        }),
    }
}

pub(super) static ROUTES: [Route; 2] = [route(AT_ROOT, "protectedResource"), route(AT_MCP, "protectedResourceMcp")];

fn serve(visit: &Visit<'_>) -> Result<Response, Problem> {
    let oauth = visit.app.auth.oauth().ok_or(Problem::NoRoute)?;
    Ok(with_json(StatusCode::OK, oauth.document.clone()))
}

impl OAuth {
    /// The provider in the settings, if there is one.
    pub(super) fn of(settings: &HttpSettings) -> Option<Self> {
        let oauth = settings.oauth.clone()?;
        let base = settings.public_urls.first().map(ToString::to_string).or_else(|| origin_of(&oauth.audience));
        let document = ProtectedResource {
            resource: oauth.audience.clone(),
            authorization_servers: [oauth.issuer.clone()],
            scopes_supported: Scope::ALL.iter().map(|scope| scope.as_str()).collect(),
            bearer_methods_supported: ["header"],
            resource_name: "Countersign",
        };
        Some(Self {
            keys: Keys::new(&oauth.issuer),
            redeeming: Arc::new(Semaphore::new(sign_in::REDEEMED_AT_ONCE_MAX)),
            redeemed: Pace::new(Counted::SignIns, sign_in::REDEEMED_FOR_A_LINK),
            challenge: format!(r#"resource_metadata="{}{AT_MCP}""#, base.unwrap_or_default()),
            document: serde_json::to_vec(&document).unwrap_or_default(),
            settings: oauth,
        })
    }

    /// The part of a challenge with the URL of the document that names the provider.
    pub(super) fn metadata(&self) -> &str {
        &self.challenge
    }

    /// Fetches the provider's keys and endpoints again.
    pub(super) fn ask_again(&self) {
        self.keys.ask_again();
    }

    /// The credential in an access token: a login, or junk. The cause goes to the log.
    pub(super) async fn offered(&self, token: &str, now: Timestamp) -> Offered {
        match self.login(token, now).await {
            Ok(login) => login,
            Err(cause) => {
                tracing::debug!(%cause, "an access token was refused");
                Offered::Junk
            }
        }
    }

    async fn login(&self, token: &str, now: Timestamp) -> Result<Offered, token::NoLogin> {
        let claims = self.checked(token, token::ACCESS, &self.settings.audience, now).await?;
        let (scopes, expires_at) = (claims.scopes(), claims.expires_at());
        Ok(Offered::Login { account: self.settings.account, scopes, expires_at, subject: claims.sub })
    }

    /// The claims of a token of these types for an audience.
    async fn checked(
        &self,
        token: &str,
        types: &[&str],
        audience: &str,
        now: Timestamp,
    ) -> Result<token::Claims, token::NoLogin> {
        let head = token::Head::of(token, types)?;
        let key = self.keys.find(&head).await.ok_or(token::NoLogin::UnknownKey)?;
        token::check(token, &head, &key, (&self.settings.issuer, audience), now)
    }

    /// The account that logins act in.
    pub(super) const fn account(&self) -> AccountId {
        self.settings.account
    }

    /// Whether people can sign in by their browsers.
    pub(super) const fn signs_in(&self) -> bool {
        self.settings.client.is_some()
    }
}

/// The scheme and authority of a URL.
fn origin_of(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}
