//! The page on which a person answers an enrolment: `/enroll/TOKEN`. Plain forms that work without a script; a server
//! has it among its routes, and a sidecar serves it alone, on loopback, while one of its enrolments is open.
//!
//! No page or URL contains a seed, no log line contains a token, and no page shows the enrolment to a visitor who has
//! not proved who they are.

mod form;
mod local;
mod pages;
mod parts;
mod peer_user;
mod picture;
mod review;
mod sign_in;

use std::{net::IpAddr, time::Duration};

use axum::{body::Body, response::Response};
use futures::future::{BoxFuture, ready};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header::RETRY_AFTER, request::Parts};
use subtle::ConstantTimeEq as _;

pub use local::LocalPage;
pub(super) use picture::Pictures;

use self::{
    form::{Form, Sent, is_ahead},
    pages::Problem as EntryProblem,
    picture::Picture,
    review::Feedback,
};
use super::{
    Listening,
    answer::{Problem, status_of},
    door::Visit,
    routes::{Route, Run, Takes},
    settings::HttpSettings,
    shell::{self, PERMISSIONS_POLICY, asset, response},
};
use crate::{
    domain::{
        audit::Action,
        enrolment::{EnrolmentState, ProofWanted},
        ids::{AccountId, EnrolmentId},
    },
    operations::{Added, EnrolmentPage, ErrorCode, ProofProblem, Proven, Refusal, Service, Typed, Visited, Visitor},
};

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// The page that asks for the key may use the camera; a frame in it may not.
const CAMERA: HeaderValue =
    HeaderValue::from_static("camera=(self), microphone=(), geolocation=(), display-capture=()");

/// How many times as long as another body a picture may take to arrive.
const PICTURE_WAITS: u32 = 4;

/// The path with which the links of enrolments begin.
const PATH: &str = "/enroll/";
/// The path to which an identity provider redirects browsers.
pub(super) const CALLBACK: &str = "/enroll/callback";

pub(super) static ROUTES: [Route; 7] = [
    page(Method::GET, "/enroll/{token}", Takes::Moment, |visit, body| Box::pin(on_server(visit, body))),
    // Besides the time it takes to arrive, a picture waits for its turn to be read.
    page(Method::POST, "/enroll/{token}", Takes::Wait, |visit, body| Box::pin(on_server(visit, body))),
    page(Method::GET, CALLBACK, Takes::Moment, |visit, _| Box::pin(sign_in::callback(visit))),
    page(Method::GET, "/enroll/style.css", Takes::Moment, |visit, _| on_file(&visit)),
    page(Method::GET, "/enroll/page.js", Takes::Moment, |visit, _| on_file(&visit)),
    page(Method::GET, "/enroll/enrol.js", Takes::Moment, |visit, _| on_file(&visit)),
    page(Method::GET, "/enroll/qr.js", Takes::Moment, |visit, _| on_file(&visit)),
];

type Serve = for<'a> fn(Visit<'a>, Body) -> BoxFuture<'a, Result<Response, Problem>>;

const fn page(method: Method, path: &'static str, takes: Takes, run: Serve) -> Route {
    Route { method, path, action: Action::EnrolProve, takes, run: Run::Page(run), doc: None }
}

/// A file of the page.
fn file(path: &str) -> Option<Response> {
    Some(match path {
        "/enroll/style.css" => asset("text/css; charset=utf-8", shell::STYLE),
        "/enroll/page.js" => asset(JAVASCRIPT, shell::SCRIPT),
        "/enroll/enrol.js" => asset(JAVASCRIPT, include_str!("enrol.js")),
        // Only for browsers that have no reader of QR codes of their own.
        "/enroll/qr.js" => asset(JAVASCRIPT, include_str!("qr.js")),
        _ => return None,
    })
}

/// The page among the routes of a server.
pub(super) struct ServerPage {
    /// The server's URL, without a trailing slash.
    base: String,
    signs_in: bool,
    provider: Option<AccountId>,
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
        let provider = settings.oauth.as_ref().filter(|oauth| oauth.client.is_some()).map(|oauth| oauth.account);
        Self { base, signs_in: settings.behind_proxy && settings.user_header.is_some(), provider }
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

    fn provider(&self) -> Option<AccountId> {
        self.provider
    }

    async fn serve(&self, _: &Service, _: EnrolmentId) -> Result<String, Refusal> {
        Ok(self.base.clone())
    }
}

async fn on_server(visit: Visit<'_>, body: Body) -> Result<Response, Problem> {
    let Visit { app, parts } = visit;
    let sent = Sent::of(&parts, body, app.limits.body_wait).await?;
    let signed_in = app.user_header.as_ref().and_then(|name| signed_in(&parts.headers, name));
    if let Some(away) = sign_in::begin(app, &parts).await? {
        return Ok(away);
    }
    let from = app.from(&parts);
    let ticket = app.page.kept(&parts.headers).map(str::to_owned);
    let site = Site { service: &app.service, pictures: &app.pictures, wait: app.limits.body_wait };
    Ok(site.answer(&parts, sent, VisitorFacts { same_user: None, signed_in, ticket, from }).await)
}

fn on_file(visit: &Visit<'_>) -> BoxFuture<'static, Result<Response, Problem>> {
    Box::pin(ready(file(visit.parts.uri.path()).ok_or(Problem::NoRoute)))
}

/// The service and the settings with which the page is served.
struct Site<'a> {
    service: &'a Service,
    pictures: &'a Pictures,
    /// How long a body may take to arrive.
    wait: Duration,
}

/// The user whom a proxy has signed in. A header that occurs twice, or is not text, gives an empty name: it must not
/// count as missing, which would allow another proof.
fn signed_in(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut sent = headers.get_all(name).iter();
    let first = sent.next()?;
    let only = sent.next().is_none();
    Some(first.to_str().ok().filter(|_| only).unwrap_or_default().trim().to_owned())
}

/// Facts about a visitor besides the link and the form.
struct VisitorFacts {
    same_user: Option<bool>,
    signed_in: Option<String>,
    /// The ticket that the browser has kept in a cookie since its person signed in.
    ticket: Option<String>,
    /// The visitor's address; `None` in a sidecar, whose visitors are all on its machine.
    from: Option<IpAddr>,
}

impl Site<'_> {
    /// Answers a request for the page.
    async fn answer(&self, parts: &Parts, mut sent: Sent, known: VisitorFacts) -> Response {
        let response = self.visited(parts, &mut sent, known).await;
        if let Some(unread) = sent.picture {
            unread.skip(self.wait).await;
        }
        response
    }

    async fn visited(&self, parts: &Parts, sent: &mut Sent, known: VisitorFacts) -> Response {
        let (is_post, form) = (parts.method == Method::POST, &sent.form);
        let visitor = Visitor {
            token: token_of(&parts.uri),
            same_user: known.same_user,
            signed_in: known.signed_in.as_deref(),
            ticket: form.get("ticket").or(known.ticket.as_deref()),
            typed: form.get("proof").filter(|_| form.get("step") == Some("prove")),
            // A prefetch by a browser or a bot must not count as a visit by the person.
            looks: parts.method != Method::HEAD && !is_ahead(&parts.headers),
            from: known.from,
        };
        let visited = match self.service.visit(visitor).await {
            Ok(visited) => visited,
            Err(refusal) => return failed(&refusal),
        };
        match visited {
            Visited::Unknown => response(StatusCode::NOT_FOUND, pages::unknown()),
            Visited::Ended(state) => response(StatusCode::GONE, pages::ended(state)),
            Visited::Anothers => response(StatusCode::FORBIDDEN, pages::anothers(None)),
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
            Visited::Proven(proven) if !is_post => self.entry(&proven, StatusCode::OK, None),
            Visited::Proven(proven) => self.step(&proven, &sent.form, &mut sent.picture).await,
        }
    }

    /// One step of a person who has proved who they are.
    async fn step(&self, proven: &Proven, form: &Form, picture: &mut Option<Picture>) -> Response {
        let wanted = form.get("step").unwrap_or_default();
        if wanted == "prove" {
            return self.entry(proven, StatusCode::OK, None);
        }
        // Without this, another site or program could send a form for a person whose connection is the proof.
        if !bool::from(form.get("ticket").unwrap_or_default().as_bytes().ct_eq(proven.ticket.as_bytes())) {
            self.service.note_forged(proven).await;
            return response(StatusCode::FORBIDDEN, pages::stale());
        }
        let handle = form.get("entry").unwrap_or_default();
        let field = |name| form.get(name).unwrap_or_default();
        match wanted {
            "look" => {
                let (label, issuer) = (Some(field("label")), Some(field("issuer")));
                self.look(proven, &Typed { key: field("key"), label, issuer }).await
            }
            "picture" => self.look_at(proven, picture.take()).await,
            "code" | "check" | "add" => self.reviewed(proven, form, (wanted, handle)).await,
            "decline" => match self.service.decline(proven).await {
                Ok(EnrolmentState::Declined) => response(StatusCode::OK, pages::ended(EnrolmentState::Declined)),
                Ok(state) => response(StatusCode::GONE, pages::ended(state)),
                Err(refusal) => failed(&refusal),
            },
            _ => self.entry(proven, StatusCode::OK, None),
        }
    }

    /// Handles a step from the review page, on which the person may have changed the names.
    async fn reviewed(&self, proven: &Proven, form: &Form, (wanted, handle): (&str, &str)) -> Response {
        let mut is_renamed = false;
        if let (Some(label), Some(issuer)) = (form.get("label"), form.get("issuer")) {
            match self.service.rename_typed(proven, handle, (label, issuer)).await {
                // The names that the page shows decide: its script may have sent the new names before, for a new code.
                Ok(renamed) => {
                    is_renamed = match (form.get("shown-label"), form.get("shown-issuer")) {
                        (Some(shown), Some(by)) => (shown, by) != (label.trim(), issuer.trim()),
                        _ => renamed == Some(true),
                    }
                }
                Err(Refusal::Invalid { field, problem }) => {
                    let text = format!("{} {problem}.", named(field));
                    let [label, issuer] = pages::not_seeds(field, &problem, [label, issuer]);
                    let feedback = Feedback::Names(EntryProblem { text: &text, label, issuer });
                    return self.review(proven, handle, feedback).await;
                }
                Err(refusal) => return failed(&refusal),
            }
        }
        let (code, nothing) = (form.get("code").unwrap_or_default().trim(), Feedback::Nothing);
        let right = if code.is_empty() { None } else { self.service.is_code_of_typed(proven, handle, code) };
        let is_added = wanted == "add" && right != Some(false);
        if is_added && !(is_renamed && self.warns(proven, handle).await) {
            return self.add(proven, handle).await;
        }
        // Enter in the field of the code presses the first button of the form, too.
        let feedback = if is_added { nothing } else { right.map_or(nothing, Feedback::Code) };
        self.review(proven, handle, feedback).await
    }

    /// Whether the new names need a warning that the person has not seen.
    async fn warns(&self, proven: &Proven, handle: &str) -> bool {
        let review = self.service.review(proven, handle).await.ok().flatten();
        review.is_some_and(|review| !review.same_name.is_empty() || review.other_wanted.is_some())
    }

    async fn add(&self, proven: &Proven, handle: &str) -> Response {
        match self.service.add_typed(proven, handle).await {
            Ok(Added::Stored(secret)) => response(StatusCode::OK, pages::added(&secret)),
            Ok(Added::Ended(state)) => response(StatusCode::GONE, pages::ended(state)),
            Ok(Added::Lost) => self.lost(proven),
            Err(refusal) => failed(&refusal),
        }
    }

    /// Shows a typed secret for review, if it can be added.
    async fn look(&self, proven: &Proven, typed: &Typed<'_>) -> Response {
        match self.service.take_typed(proven, typed).await {
            Ok(handle) => self.review(proven, &handle, Feedback::Nothing).await,
            Err(Refusal::Invalid { field, problem }) => {
                let text = format!("{} {problem}.", named(field));
                let [label, issuer] =
                    pages::not_seeds(field, &problem, [typed.label, typed.issuer].map(Option::unwrap_or_default));
                let problem = EntryProblem { text: &text, label, issuer };
                self.entry(proven, StatusCode::BAD_REQUEST, Some(&problem))
            }
            Err(refusal) => failed(&refusal),
        }
    }

    /// Shows the secrets in the picture that a person sent: one for review, or several to choose from.
    async fn look_at(&self, proven: &Proven, picture: Option<Picture>) -> Response {
        let links = match picture {
            Some(picture) => self.pictures.links(picture, proven.who(), self.wait * PICTURE_WAITS).await,
            None => Err(picture::NoLink::NoFile),
        };
        match links.as_deref() {
            Ok([link]) => self.look(proven, &Typed { key: link, label: None, issuer: None }).await,
            Ok(several) => match self.service.take_links(proven, several).await {
                Ok(choices) => response(StatusCode::OK, pages::choose(proven, &choices)),
                Err(refusal) => failed(&refusal),
            },
            Err(cause) => {
                let text = sentence(&cause.to_string());
                let problem = EntryProblem { text: &text, label: "", issuer: "" };
                let mut response = self.entry(proven, status_of(cause.code()), Some(&problem));
                if cause.code() == ErrorCode::Busy {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
                }
                response
            }
        }
    }

    async fn review(&self, proven: &Proven, handle: &str, feedback: Feedback<'_>) -> Response {
        let status = if matches!(feedback, Feedback::Names(_)) { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        match self.service.review(proven, handle).await {
            Ok(Some(review)) => response(status, review::page(proven, &review, feedback)),
            Ok(None) => self.lost(proven),
            Err(refusal) => failed(&refusal),
        }
    }

    fn lost(&self, proven: &Proven) -> Response {
        let text = "What you entered is no longer in memory. Nothing was added: please enter it again.";
        let problem = EntryProblem { text, label: "", issuer: "" };
        self.entry(proven, StatusCode::CONFLICT, Some(&problem))
    }

    fn entry(&self, proven: &Proven, status: StatusCode, problem: Option<&EntryProblem<'_>>) -> Response {
        let mut response = response(status, pages::entry(self.service, proven, problem));
        response.headers_mut().insert(PERMISSIONS_POLICY, CAMERA);
        response
    }
}

fn failed(refusal: &Refusal) -> Response {
    let mut response = response(status_of(refusal.code()), pages::failed(&refusal.to_string()));
    if let Some(seconds) = refusal.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An error's text as a sentence.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// The page's name for a field.
fn named(field: &str) -> &'static str {
    match field {
        "label" => "The account",
        "issuer" => "The service",
        _ => "The key",
    }
}

fn token_of(uri: &Uri) -> &str {
    // A proxy that serves this server under a path may leave that path in front.
    uri.path().rsplit_once(PATH).map_or("", |(_, token)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_page_leave_room_for_its_text_in_100_kib() {
        let files = [shell::STYLE, shell::SCRIPT, include_str!("enrol.js"), include_str!("qr.js")];
        let bytes: usize = files.iter().map(|file| file.len()).sum();
        assert!(bytes < 90 * 1024, "{bytes}");
        for file in files {
            assert!(!file.contains("eval(") && !file.contains("new Function") && !file.contains("WebAssembly"));
        }
    }

    #[test]
    fn an_error_becomes_a_sentence() {
        assert_eq!(sentence("no QR code was found; cut it out"), "No QR code was found; cut it out.");
        assert_eq!(sentence(""), ".");
    }
}
