//! The page on which a person answers an enrolment: `/enroll/TOKEN`. Plain forms that work without a script; a server
//! has it among its routes, and a sidecar serves it alone, on loopback, while one of its enrolments is open.
//!
//! Never here: a seed in a page or a URL, a token in a log line, or an answer to somebody who has not proved who they
//! are.

mod form;
mod html;
mod local;
mod pages;
mod peer_user;

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER, X_FRAME_OPTIONS},
    request::Parts,
};

pub use local::LocalPage;

use self::{form::Form, html::Html};
use super::{
    Listening,
    answer::Problem,
    body::Arriving,
    door::Visit,
    routes::{Route, Run, Takes},
    settings::HttpSettings,
};
use crate::{
    domain::{
        audit::Action,
        enrolment::{EnrolmentState, ProofWanted},
        ids::EnrolmentId,
        time::Timestamp,
    },
    operations::{Added, EnrolmentPage, ProofProblem, Proven, Refusal, Service, Typed, Visited, Visitor},
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing but our own style and script, forms to ourselves alone, and no frame around the page.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// Where links begin.
const PATH: &str = "/enroll/";

pub(super) static ROUTES: [Route; 4] = [
    page(Method::GET, "/enroll/{token}", |visit, body| Box::pin(on_server(visit, body))),
    page(Method::POST, "/enroll/{token}", |visit, body| Box::pin(on_server(visit, body))),
    page(Method::GET, "/enroll/style.css", |_, _| Box::pin(async { Ok(asset("text/css; charset=utf-8", STYLE)) })),
    page(Method::GET, "/enroll/page.js", |_, _| {
        Box::pin(async { Ok(asset("text/javascript; charset=utf-8", SCRIPT)) })
    }),
];

type Serve = for<'a> fn(Visit<'a>, Body) -> futures::future::BoxFuture<'a, Result<Response, Problem>>;

const fn page(method: Method, path: &'static str, run: Serve) -> Route {
    Route { method, path, action: Action::Call, takes: Takes::Moment, run: Run::Page(run), doc: None }
}

/// The page among the routes of a server.
pub(super) struct ServerPage {
    base: String,
    signs_in: bool,
}

impl ServerPage {
    pub(super) fn of(settings: &HttpSettings, listening: Listening) -> Self {
        let own = || {
            let (scheme, address) = (listening.scheme(), listening.address);
            if address.ip().is_unspecified() {
                return format!("{scheme}://localhost:{}", address.port());
            }
            format!("{scheme}://{address}")
        };
        let base = settings.public_urls.first().map_or_else(own, ToString::to_string);
        Self { base, signs_in: settings.behind_proxy && settings.user_header.is_some() }
    }
}

#[async_trait::async_trait]
impl EnrolmentPage for ServerPage {
    fn proof(&self) -> ProofWanted {
        ProofWanted::Seat
    }

    fn signs_in(&self) -> bool {
        self.signs_in
    }

    async fn serve(&self, _: &Service, _: EnrolmentId, _: Timestamp) -> Result<String, Refusal> {
        Ok(self.base.clone())
    }
}

async fn on_server(visit: Visit<'_>, body: Body) -> Result<Response, Problem> {
    let Visit { app, parts } = visit;
    let body = read(&parts, body, app.limits.body_wait).await?;
    let signed_in = app.user_header.as_ref().and_then(|name| signed_in(&parts.headers, name));
    Ok(answer(&app.service, &parts, &body, Known { same_user: None, signed_in }).await)
}

/// The body of a form; other requests have none.
async fn read(parts: &Parts, body: Body, wait: std::time::Duration) -> Result<Bytes, Problem> {
    if parts.method != Method::POST {
        return Ok(Bytes::new());
    }
    match Arriving::of(&parts.headers, body, wait).await {
        Arriving::Whole(read) => read,
        Arriving::Coming(coming) => coming.await,
    }
}

/// The user whom a proxy has signed in. A header that occurs twice, or is no text, names nobody: it must not count as
/// missing, which would allow another proof.
fn signed_in(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut sent = headers.get_all(name).iter();
    let first = sent.next()?;
    let only = sent.next().is_none();
    Some(first.to_str().ok().filter(|_| only).unwrap_or_default().trim().to_owned())
}

/// What is known of a visitor besides the request.
struct Known {
    same_user: Option<bool>,
    signed_in: Option<String>,
}

/// Answers a request for the page.
async fn answer(service: &Service, parts: &Parts, body: &[u8], known: Known) -> Response {
    let is_post = parts.method == Method::POST;
    let form = if is_post && form::is_one(&parts.headers) { Form::read(body) } else { Form::default() };
    let visitor = Visitor {
        token: token_of(&parts.uri),
        same_user: known.same_user,
        signed_in: known.signed_in.as_deref(),
        ticket: form.get("ticket"),
        typed: form.get("proof").filter(|_| form.get("step") == Some("prove")),
        // A look ahead by a browser or a bot must not count as the person's.
        looks: parts.method != Method::HEAD && !is_ahead(&parts.headers),
    };
    let visited = match service.visit(visitor).await {
        Ok(visited) => visited,
        Err(refusal) => return failed(&refusal),
    };
    match visited {
        Visited::Unknown => response(StatusCode::NOT_FOUND, pages::unknown()),
        Visited::Ended(state) => response(StatusCode::GONE, pages::ended(state)),
        Visited::Anothers => response(StatusCode::FORBIDDEN, pages::anothers()),
        Visited::NoProof => response(StatusCode::FORBIDDEN, pages::no_proof()),
        Visited::Ask(asked) => {
            let mut response = match asked.problem {
                None if !is_post => response(StatusCode::FORBIDDEN, pages::ask(&asked)),
                Some(ProofProblem::Held(_)) => response(StatusCode::TOO_MANY_REQUESTS, pages::ask(&asked)),
                None | Some(ProofProblem::Wrong(_)) => response(StatusCode::FORBIDDEN, pages::ask(&asked)),
            };
            if let Some(ProofProblem::Held(after)) = asked.problem {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
            }
            response
        }
        Visited::Proven(proven) if !is_post => response(StatusCode::OK, pages::entry(service, &proven, None)),
        Visited::Proven(proven) => step(service, &proven, &form).await,
    }
}

/// One step of a person who has proved who they are.
async fn step(service: &Service, proven: &Proven, form: &Form) -> Response {
    let wanted = form.get("step").unwrap_or_default();
    if wanted == "prove" {
        return response(StatusCode::OK, pages::entry(service, proven, None));
    }
    // Without this, another site or program could send a form for a person whom the connection proves.
    if form.get("ticket") != Some(proven.ticket.as_str()) {
        return response(StatusCode::FORBIDDEN, pages::stale());
    }
    let handle = form.get("entry").unwrap_or_default();
    let field = |name| form.get(name).unwrap_or_default();
    match wanted {
        "look" => {
            let (key, label, issuer) = (field("key"), field("label"), field("issuer"));
            match service.take_typed(proven, &Typed { key, label, issuer }) {
                Ok(handle) => review(service, proven, &handle, None).await,
                Err(Refusal::Invalid { field, problem }) => {
                    let problem = pages::Problem { text: format!("{} {problem}.", named(field)), label, issuer };
                    response(StatusCode::BAD_REQUEST, pages::entry(service, proven, Some(&problem)))
                }
                Err(refusal) => failed(&refusal),
            }
        }
        "code" => review(service, proven, handle, None).await,
        "check" => {
            let right = service.is_code_of_typed(proven, handle, field("code"));
            review(service, proven, handle, right).await
        }
        "add" => match service.add_typed(proven, handle).await {
            Ok(Added::Stored(secret)) => response(StatusCode::OK, pages::added(&secret)),
            Ok(Added::Ended(state)) => response(StatusCode::GONE, pages::ended(state)),
            Ok(Added::Lost) => lost(service, proven),
            Err(refusal) => failed(&refusal),
        },
        "decline" => match service.decline(proven).await {
            Ok(EnrolmentState::Declined) => response(StatusCode::OK, pages::ended(EnrolmentState::Declined)),
            Ok(state) => response(StatusCode::GONE, pages::ended(state)),
            Err(refusal) => failed(&refusal),
        },
        _ => response(StatusCode::OK, pages::entry(service, proven, None)),
    }
}

async fn review(service: &Service, proven: &Proven, handle: &str, right: Option<bool>) -> Response {
    match service.review(proven, handle).await {
        Ok(Some(review)) => response(StatusCode::OK, pages::review(proven, &review, right)),
        Ok(None) => lost(service, proven),
        Err(refusal) => failed(&refusal),
    }
}

fn lost(service: &Service, proven: &Proven) -> Response {
    let text = "What you typed is no longer in memory. Nothing was added: please type it again.".to_owned();
    let problem = pages::Problem { text, label: "", issuer: "" };
    response(StatusCode::CONFLICT, pages::entry(service, proven, Some(&problem)))
}

fn failed(refusal: &Refusal) -> Response {
    let mut response = response(super::answer::status_of(refusal.code()), pages::failed(&refusal.to_string()));
    if let Some(seconds) = refusal.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What the page calls a field.
fn named(field: &str) -> &'static str {
    match field {
        "label" => "The account",
        "issuer" => "The service",
        _ => "The key",
    }
}

/// Whether a browser says that it fetches the page ahead of any person's wish.
fn is_ahead(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName| {
        let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        text.contains("prefetch") || text.contains("preview")
    };
    says(&SEC_PURPOSE) || says(&PURPOSE)
}

fn token_of(uri: &Uri) -> &str {
    // Behind a proxy that serves us under a path, the path may still begin with it.
    uri.path().rsplit_once(PATH).map_or("", |(_, token)| token)
}

fn response(status: StatusCode, page: Html) -> Response {
    let mut response = Response::new(Body::from(page.into_text()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // With `no-referrer`, browsers send the forms of this page with `Origin: null`, which the guard refuses.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

fn asset(media_type: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
