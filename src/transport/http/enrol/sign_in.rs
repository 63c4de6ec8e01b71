//! A person proves on a server's page who they are, by signing in at the identity provider in the same browser.
//!
//! The browser keeps one cookie: first the value from which its sign-in is derived, then the ticket of the person who
//! has signed in.

use std::net::IpAddr;

use axum::response::Response;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{COOKIE, LOCATION, SET_COOKIE},
    request::Parts,
};

use super::{CALLBACK, PATH, ServerPage, failed, form::Form, pages, response, token_of};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        limits::ENROLMENT_SECONDS,
    },
    operations::{ErrorCode, SignIn, SignedIn},
    transport::http::{
        answer::{Problem, status_of},
        door::{App, Visit},
        oauth::{OAuth, Who},
        shell::Html,
    },
};

/// The query of a link that requests a sign-in.
const WANTED: &str = "sign-in";
/// The same for a person whom the provider has signed in as somebody else.
const WANTED_AS_OTHER: &str = "sign-in=other";

impl ServerPage {
    /// The redirect URI that is sent to the provider.
    fn callback(&self) -> String {
        format!("{}{CALLBACK}", self.base)
    }

    /// The cookie's name, and the path to which browsers send it. Over TLS, no other server of the same domain can set
    /// it.
    fn cookie(&self) -> (&'static str, String) {
        if self.base.starts_with("https://") {
            return ("__Host-countersign", "/; Secure".to_owned());
        }
        let path = self.base.split_once("://").and_then(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)));
        ("countersign", format!("{}/enroll", path.unwrap_or_default()))
    }

    /// The `Set-Cookie` value with which the browser keeps `value` for `seconds`.
    fn keep(&self, value: &str, seconds: u64) -> Option<HeaderValue> {
        let (name, path) = self.cookie();
        let text = format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax; Max-Age={seconds}");
        HeaderValue::try_from(text).ok()
    }

    /// The value of the browser's cookie. A cookie with two values is ignored: another server may have set one of them.
    pub(super) fn kept<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let (name, _) = self.cookie();
        let texts = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(known, _)| *known == name).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none())
    }
}

/// Redirects the browser to the identity provider, if the link requests a sign-in and the person can sign in there.
pub(super) async fn begin(app: &App, parts: &Parts) -> Result<Option<Response>, Problem> {
    let who = match parts.uri.query() {
        Some(WANTED) => Who::Anybody,
        Some(WANTED_AS_OTHER) => Who::Other,
        _ => return Ok(None),
    };
    let Some(oauth) = app.auth.oauth().filter(|_| parts.method == Method::GET) else { return Ok(None) };
    let token = token_of(&parts.uri);
    let Some(sign_in) = app.service.begin_sign_in(token, app.from(parts)).await? else { return Ok(None) };
    Ok(Some(match oauth.sign_in_page(&sign_in, &app.page.callback(), who).await {
        Ok(page) => away(&page, app.page.keep(&sign_in.kept, ENROLMENT_SECONDS)),
        Err(code) => ended(app, oauth, &sign_in, (Err(code), app.from(parts))).await,
    }))
}

/// Handles the provider's answer, which arrives in the query of the browser's request.
pub(super) async fn callback(visit: Visit<'_>) -> Result<Response, Problem> {
    let Visit { app, parts } = visit;
    let oauth = app.auth.oauth().filter(|oauth| oauth.signs_in()).ok_or(Problem::NoRoute)?;
    let from = app.from(&parts);
    let answer = Form::read(parts.uri.query().unwrap_or_default().as_bytes());
    let begun = app.page.kept(&parts.headers).and_then(|kept| app.service.kept_sign_in(kept));
    let Some(sign_in) = begun.filter(|begun| answer.get("state").is_some_and(|state| begun.is_of(state))) else {
        let row = AuditEntry::by(Actor::Unknown, Action::EnrolProve, app.service.now());
        app.service.record_own(ErrorCode::Unauthenticated, row, from).await;
        return Ok(response(StatusCode::FORBIDDEN, pages::no_sign_in()));
    };
    // The provider is not asked about an enrolment that has ended.
    let who = if app.service.is_enrolment_open(sign_in.id).await? {
        signed_in(app, oauth, &sign_in, &answer).await
    } else {
        Err(ErrorCode::Unauthenticated)
    };
    Ok(ended(app, oauth, &sign_in, (who, from)).await)
}

/// The subject whom the provider has signed in.
async fn signed_in(app: &App, oauth: &OAuth, sign_in: &SignIn, answer: &Form) -> Result<String, ErrorCode> {
    let code = answer.get("code").filter(|_| !answer.has("error"));
    // An issuer that is named twice counts as a wrong one, not as a missing one.
    let issuer = answer.get("iss").or(answer.has("iss").then_some(""));
    oauth.signed_in(sign_in, (code, issuer), &app.page.callback(), &app.service).await
}

/// The answer at the end of a sign-in. It replaces or removes the cookie with which the sign-in began.
async fn ended(
    app: &App,
    oauth: &OAuth,
    sign_in: &SignIn,
    (who, from): (Result<String, ErrorCode>, Option<IpAddr>),
) -> Response {
    let who = who.as_deref().map_err(|code| *code);
    let mut response = match app.service.sign_in(sign_in, (oauth.account(), who), from).await {
        Ok(SignedIn::Proven { token, ticket, left }) => {
            return away(&format!("{}{PATH}{token}", app.page.base), app.page.keep(&ticket, left.as_secs()));
        }
        Ok(SignedIn::Anothers { token }) => response(StatusCode::FORBIDDEN, pages::anothers(Some(&token))),
        Ok(SignedIn::Failed { token }) => {
            let later = who.err().filter(|code| matches!(code, ErrorCode::Unavailable | ErrorCode::RateLimited));
            response(later.map_or(StatusCode::FORBIDDEN, status_of), pages::not_signed_in(&token))
        }
        Ok(SignedIn::Ended(state)) => response(StatusCode::GONE, pages::ended(state)),
        Err(refusal) => failed(&refusal),
    };
    response.headers_mut().extend(app.page.keep("", 0).map(|gone| (SET_COOKIE, gone)));
    response
}

/// Redirects the browser to another URL.
fn away(to: &str, cookie: Option<HeaderValue>) -> Response {
    let Ok(to) = HeaderValue::try_from(to) else {
        return response(StatusCode::SERVICE_UNAVAILABLE, pages::no_sign_in());
    };
    let mut response = response(StatusCode::SEE_OTHER, Html::default());
    response.headers_mut().insert(LOCATION, to);
    response.headers_mut().extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
    response
}
