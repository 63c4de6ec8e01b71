//! Answers: JSON bodies, one format for every error, and the headers of every answer.

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
};

use super::guard::Turned;
use crate::{
    operations::{ErrorCode, Limit, Refusal},
    transport::ErrorBody,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Problem {
    /// A refusal by the service, which has counted it.
    Refused(Refusal),
    /// A refusal by this transport, without the service.
    Own(Refusal),
    /// The guard refused it.
    Turned(Turned),
    /// No such route.
    NoRoute,
    /// The caller has no such session. The text describes how to begin one.
    NoSession(&'static str),
    /// The body took too long to arrive.
    SlowBody,
    /// The route exists with these methods only.
    Method(String),
    /// The body is not JSON.
    MediaType,
    /// `Accept` allows neither of MCP's two answer types.
    Accept,
    /// The body is not a message of MCP, or an `initialize` lacks a part. This is the error in JSON-RPC's format.
    Message(Vec<u8>),
    /// rmcp refused the request, with this status and error.
    Mcp(StatusCode, Vec<u8>),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Turned> for Problem {
    fn from(turned: Turned) -> Self {
        Self::Turned(turned)
    }
}

/// The status of each refusal. The match is total, so a new code does not compile without a status.
pub(super) const fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorCode::NotFound => StatusCode::NOT_FOUND,
        ErrorCode::Busy | ErrorCode::WrongOrigin => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Problem {
    /// The limit that the request exceeded, if the transport's own refusal is for one.
    pub(super) const fn limit(&self) -> Option<Limit> {
        if let Self::Own(refusal) = self {
            refusal.limit()
        } else if matches!(self, Self::Turned(Turned::LongUri | Turned::LongCallback)) {
            Some(Limit::Head)
        } else {
            None
        }
    }

    /// The error code, if the service has not counted it yet.
    pub(super) const fn uncounted(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(_) => None,
            Self::Own(refusal) => Some(refusal.code()),
            Self::Turned(turned) => Some(words(*turned).1),
            Self::NoRoute | Self::NoSession(_) => Some(ErrorCode::NotFound),
            Self::SlowBody | Self::Method(_) | Self::MediaType | Self::Accept | Self::Message(_) | Self::Mcp(..) => {
                Some(ErrorCode::InvalidArgument)
            }
        }
    }

    /// The response for the caller.
    pub(super) fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) | Self::Own(refusal) => refused(&refusal),
            Self::Turned(turned) => {
                let (status, code, message) = words(turned);
                let mut response = error(status, code, message.to_owned(), None);
                if turned == Turned::Coding {
                    // It is unclear where the body ends and the next request begins.
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
            Self::NoRoute => error(
                StatusCode::NOT_FOUND,
                ErrorCode::NotFound,
                "no such route; /openapi.json lists those of REST, and MCP is at /mcp".to_owned(),
                None,
            ),
            Self::NoSession(begin) => {
                error(StatusCode::NOT_FOUND, ErrorCode::NotFound, format!("no such session; {begin}"), None)
            }
            Self::SlowBody => error(
                StatusCode::REQUEST_TIMEOUT,
                ErrorCode::InvalidArgument,
                "the body took too long to arrive".to_owned(),
                None,
            ),
            Self::Method(allowed) => {
                let message = format!("this route takes {allowed}");
                let mut response = error(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::InvalidArgument, message, None);
                if let Ok(allowed) = HeaderValue::try_from(allowed) {
                    response.headers_mut().insert(ALLOW, allowed);
                }
                response
            }
            Self::Message(body) => with_json(StatusCode::BAD_REQUEST, body),
            Self::Mcp(status, body) => with_json(status, body),
            Self::Accept => error(
                StatusCode::NOT_ACCEPTABLE,
                ErrorCode::InvalidArgument,
                "MCP needs `Accept: application/json, text/event-stream`".to_owned(),
                None,
            ),
            Self::MediaType => error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ErrorCode::InvalidArgument,
                "the body must be JSON; send `Content-Type: application/json`".to_owned(),
                None,
            ),
        }
    }
}

/// The status, code and message of the guard's refusals.
const fn words(turned: Turned) -> (StatusCode, ErrorCode, &'static str) {
    match turned {
        Turned::NoHost => (StatusCode::BAD_REQUEST, ErrorCode::InvalidArgument, "send exactly one `Host` header"),
        Turned::ManyOrigins => {
            (StatusCode::BAD_REQUEST, ErrorCode::InvalidArgument, "send one `Origin` header at most")
        }
        Turned::ForeignHost => (
            StatusCode::FORBIDDEN,
            ErrorCode::PermissionDenied,
            "the `Host` header does not name this server; if it should, the person who runs it starts it with \
             `--public-url`",
        ),
        Turned::ForeignOrigin => (
            StatusCode::FORBIDDEN,
            ErrorCode::PermissionDenied,
            "web pages of this `Origin` may not call this server; the person who runs it can allow one with \
             `--allow-origin`",
        ),
        Turned::CrossSite => (
            StatusCode::FORBIDDEN,
            ErrorCode::PermissionDenied,
            "another web site may not make a browser call this server",
        ),
        Turned::Coding => (
            StatusCode::BAD_REQUEST,
            ErrorCode::InvalidArgument,
            "send the body as it is: the only `Transfer-Encoding` that is understood is `chunked`",
        ),
        Turned::LongUri => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, "the URI is larger than 2 KiB"),
        Turned::LongCallback => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TooLarge, "the URI is larger than 8 KiB"),
    }
}

/// A refusal as a REST response.
fn refused(refusal: &Refusal) -> Response {
    with_error(status_of(refusal.code()), &ErrorBody::from(refusal))
}

fn error(status: StatusCode, code: ErrorCode, message: String, retry_after: Option<u64>) -> Response {
    with_error(status, &ErrorBody::of(code, message, retry_after))
}

fn with_error(status: StatusCode, body: &ErrorBody) -> Response {
    let mut response = with_json(status, serde_json::to_vec(body).unwrap_or_default());
    if let Some(seconds) = body.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The body of every error.
pub(super) fn error_body(code: ErrorCode, message: String, retry_after: Option<u64>) -> Vec<u8> {
    serde_json::to_vec(&ErrorBody::of(code, message, retry_after)).unwrap_or_default()
}

/// A response of JSON bytes.
pub(super) fn with_json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// Adds the headers of every answer: no caching unless the answer allows it itself, no type sniffing, no embedding in
/// pages.
pub(super) fn protect(headers: &mut HeaderMap, hsts: bool) {
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A page with forms sets a policy of its own: with `no-referrer`, browsers send its forms with `Origin: null`.
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    headers.insert(CORP, HeaderValue::from_static("same-origin"));
    if hsts {
        let always = HeaderValue::from_static("max-age=63072000");
        headers.insert(http::header::STRICT_TRANSPORT_SECURITY, always);
    }
}
