//! Signs a person in by their browser: the authorization code flow with PKCE (RFC 9700, `OpenID` Connect Core). The
//! browser is sent to the provider and brings a code back; the code is redeemed for a token that names the person.

use std::sync::Arc;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{
    OAuth,
    ask::{NoAnswer, is_safe, post},
    keys::Endpoints,
    token,
};
use crate::{
    domain::rate::Rate,
    operations::{ErrorCode, Refusal, Service, SignIn},
    transport::http::settings::OAuthClient,
};

/// The most codes that are redeemed at once.
pub(super) const REDEEMED_AT_ONCE_MAX: usize = 8;
/// The highest rate at which codes are redeemed for one link.
pub(super) const REDEEMED_FOR_A_LINK: Rate = Rate::per_minute(60);

/// The person for whom a sign-in is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport::http) enum Who {
    /// Any person; the provider may remember an earlier sign-in.
    Anybody,
    /// A person whom the provider signed in as somebody else: it asks them to sign in again.
    Other,
}

/// Why a sign-in failed. For the log; it quotes neither the provider nor the browser.
#[derive(Debug, thiserror::Error)]
enum NoSignIn {
    #[error("this server is not a client of it")]
    NoClient,
    #[error("its metadata can't be had, or names no usable `authorization_endpoint` and `token_endpoint`")]
    NoEndpoints,
    #[error("it did not redeem the code: {0}")]
    NoToken(#[from] NoAnswer),
    #[error("the answer names another issuer, or none")]
    OtherIssuer,
    #[error("the person did not sign in")]
    NoCode,
    #[error("{0}")]
    NotCounted(Refusal),
    #[error("its token is refused: {0}")]
    Token(#[from] token::NoLogin),
}

/// The part of the answer to a code that is needed.
#[derive(Deserialize)]
struct Redeemed {
    id_token: String,
}

impl NoSignIn {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NoClient | Self::NoEndpoints | Self::NoToken(_) => ErrorCode::Unavailable,
            Self::NotCounted(refusal) => refusal.code(),
            Self::OtherIssuer | Self::NoCode | Self::Token(_) => ErrorCode::Unauthenticated,
        }
    }

    /// The code for the audit log; the operator's log gets the cause.
    fn logged(self) -> ErrorCode {
        tracing::warn!(cause = %self, "a sign-in at the identity provider failed");
        self.code()
    }
}

impl OAuth {
    /// The provider's page on which a person signs in.
    pub(in crate::transport::http) async fn sign_in_page(
        &self,
        sign_in: &SignIn,
        callback: &str,
        who: Who,
    ) -> Result<String, ErrorCode> {
        self.page(sign_in, callback, who).await.map_err(NoSignIn::logged)
    }

    async fn page(&self, sign_in: &SignIn, callback: &str, who: Who) -> Result<String, NoSignIn> {
        let client = self.settings.client.as_ref().ok_or(NoSignIn::NoClient)?;
        let endpoints = self.usable_endpoints().await?;
        let challenge = BASE64URL_NOPAD.encode(&Sha256::digest(sign_in.verifier.as_bytes()));
        let mut url = endpoints.page.clone();
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str("response_type=code&scope=openid&code_challenge_method=S256");
        for (name, value) in [
            ("client_id", client.id.as_str()),
            ("redirect_uri", callback),
            ("state", &sign_in.state),
            ("nonce", &sign_in.nonce),
            ("code_challenge", &challenge),
        ] {
            url = format!("{url}&{name}={}", escaped(value));
        }
        if who == Who::Other {
            // Otherwise the provider remembers the person, and answers without a question.
            url.push_str("&prompt=login");
        }
        Ok(url)
    }

    async fn usable_endpoints(&self) -> Result<Arc<Endpoints>, NoSignIn> {
        let usable = |url: &str| is_safe(url, &self.settings.issuer) && !url.contains('#');
        let endpoints = self.keys.endpoints().await;
        endpoints.filter(|all| usable(&all.page) && usable(&all.token)).ok_or(NoSignIn::NoEndpoints)
    }

    /// The subject whom the provider has signed in, by the code and the issuer that the browser brings.
    pub(in crate::transport::http) async fn signed_in(
        &self,
        sign_in: &SignIn,
        brought: (Option<&str>, Option<&str>),
        callback: &str,
        service: &Service,
    ) -> Result<String, ErrorCode> {
        self.subject(sign_in, brought, callback, service).await.map_err(NoSignIn::logged)
    }

    async fn subject(
        &self,
        sign_in: &SignIn,
        (code, issuer): (Option<&str>, Option<&str>),
        callback: &str,
        service: &Service,
    ) -> Result<String, NoSignIn> {
        let client = self.settings.client.clone().ok_or(NoSignIn::NoClient)?;
        let endpoints = self.usable_endpoints().await?;
        // RFC 9207: an answer of another provider must not be redeemed at this one.
        match issuer {
            Some(named) if named == self.settings.issuer => {}
            None if !endpoints.names_issuer => {}
            _ => return Err(NoSignIn::OtherIssuer),
        }
        let code = code.ok_or(NoSignIn::NoCode)?.to_owned();
        service.count(&self.redeemed, sign_in.id.as_bytes()).await.map_err(NoSignIn::NotCounted)?;
        let permit = Arc::clone(&self.redeeming).acquire_owned().await.map_err(|_| NoAnswer::Task)?;
        let (issuer, verifier) = (self.settings.issuer.clone(), sign_in.verifier.clone());
        let (client_id, callback) = (client.id.clone(), callback.to_owned());
        let redeemed = tokio::task::spawn_blocking(move || {
            // Held until the provider has answered, even if the browser is gone.
            let _permit = permit;
            redeem(
                &issuer,
                &endpoints,
                &client,
                &[("code", &code), ("code_verifier", &verifier), ("redirect_uri", &callback)],
            )
        });
        let token = redeemed.await.map_err(|_| NoAnswer::Task)??;
        let claims = self.checked(&token, token::IDENTITY, &client_id, service.now()).await?;
        Ok(claims.of_sign_in(&client_id, &sign_in.nonce)?.sub)
    }
}

/// Gets the token for a code. The client authenticates with HTTP Basic, which every provider must support, unless the
/// provider's metadata lists `client_secret_post` and not `client_secret_basic`.
fn redeem(
    issuer: &str,
    endpoints: &Endpoints,
    client: &OAuthClient,
    code: &[(&str, &str)],
) -> Result<String, NoAnswer> {
    let mut fields = vec![("grant_type", "authorization_code")];
    fields.extend(code);
    let knows = |way: &str| endpoints.authentication.iter().any(|known| known == way);
    let by_form = knows("client_secret_post") && !knows("client_secret_basic");
    let secret = client.secret.as_ref().map(|secret| secret.expose());
    let authorization = match &secret {
        Some(secret) if !by_form => {
            let pair = format!("{}:{}", escaped(&client.id), escaped(secret));
            Some(format!("Basic {}", BASE64.encode(pair.as_bytes())))
        }
        Some(secret) => {
            fields.extend([("client_id", client.id.as_str()), ("client_secret", secret.as_str())]);
            None
        }
        None => {
            fields.push(("client_id", client.id.as_str()));
            None
        }
    };
    post::<Redeemed>(issuer, &endpoints.token, authorization.as_deref(), &fields).map(|redeemed| redeemed.id_token)
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
