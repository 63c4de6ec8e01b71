//! Asks the identity provider, which may be slow and may send anything: every answer is bounded in size and time, is
//! expected to be JSON of one form, and is never quoted.

use std::{io::Read as _, time::Duration};

use http::{Uri, header::AUTHORIZATION};
use serde::de::DeserializeOwned;
use ureq::{Agent, Body};

use crate::fetch;

/// The timeout of one request.
const WAIT: Duration = Duration::from_secs(5);
/// The most bytes of an answer: a set of keys has a few thousand.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

/// Why there is no usable answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
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

/// The possible URLs of a provider's metadata (RFC 8414, `OpenID` Connect Discovery).
pub(super) fn places(issuer: &str) -> Vec<String> {
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

/// Whether a URL in a provider's metadata uses TLS, or is on this machine like the issuer itself.
pub(super) fn is_safe(url: &str, issuer: &str) -> bool {
    let scheme = url.parse::<Uri>().ok().and_then(|uri| uri.scheme_str().map(str::to_owned));
    match scheme.as_deref() {
        Some("https") => true,
        Some("http") => is_loopback(issuer) && is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &str) -> bool {
    let host = url.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    host.is_some_and(|host| matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]"))
}

/// An HTTP client for short answers over TLS; unencrypted only from this machine.
fn agent(issuer: &str, redirects: u32) -> Agent {
    let here = is_loopback(issuer);
    fetch::agent(here, if here { 0 } else { redirects }, WAIT)
}

/// Fetches a document.
pub(super) fn get<T: DeserializeOwned>(issuer: &str, url: &str) -> Result<T, NoAnswer> {
    read(agent(issuer, 3).get(url).header("accept", "application/json").call().map_err(Box::new)?)
}

/// Sends a form, without following redirects: it holds secrets.
pub(super) fn post<T: DeserializeOwned>(
    issuer: &str,
    url: &str,
    authorization: Option<&str>,
    fields: &[(&str, &str)],
) -> Result<T, NoAnswer> {
    let mut request = agent(issuer, 0).post(url).header("accept", "application/json");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    read(request.send_form(fields.iter().copied()).map_err(Box::new)?)
}

fn read<T: DeserializeOwned>(mut answer: http::Response<Body>) -> Result<T, NoAnswer> {
    let mut bytes = Vec::new();
    answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).reader().read_to_end(&mut bytes)?;
    serde_json::from_slice(&bytes).map_err(|_| NoAnswer::Form)
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
    fn a_providers_urls_are_reached_by_tls_or_stand_here_like_itself() {
        assert!(is_safe("https://elsewhere.example/keys", "https://id.example"));
        assert!(is_safe("http://localhost:9/token", "http://127.0.0.1:9"));
        for (url, issuer) in [
            ("http://id.example/keys", "https://id.example"),
            ("http://127.0.0.1:9/keys", "https://id.example"),
            ("http://id.example/keys", "http://127.0.0.1:9"),
            ("javascript:alert(1)", "http://127.0.0.1:9"),
            ("https://id.example/a b", "https://id.example"),
            ("https://id.example/\r\nset-cookie: x", "https://id.example"),
            ("//127.0.0.1:9/keys", "http://127.0.0.1:9"),
            ("", "http://127.0.0.1:9"),
        ] {
            assert!(!is_safe(url, issuer), "{url} of {issuer}");
        }
    }
}
