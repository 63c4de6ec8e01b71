//! `/mcp`: Streamable HTTP, for every revision of the protocol, around rmcp's service.
//!
//! rmcp's own checks of `Host` and `Origin` stay on behind the guard's, so that nothing hangs on one of them. Its errors
//! in plain text, which may quote what was sent, become the contract's JSON.

use std::{borrow::Cow, convert::Infallible, sync::Arc};

use axum::{
    body::{Body, HttpBody},
    response::Response,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{ACCEPT, ALLOW, CONTENT_TYPE, ORIGIN},
    request::Parts,
};
use http_body_util::{BodyExt as _, Full};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde::Deserialize;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{
    answer::{Problem, with_json},
    body::{self, Arriving},
    door::Call,
    routes::{Route, Run, Takes},
    sessions::{Opening, Sessions},
    settings::{HttpSettings, Limits},
};
use crate::{
    domain::{audit::Action, limits::BODY_BYTES_MAX},
    service::Refusal,
    transport::{mcp::McpServer, owner::Owner},
};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
/// The method of a message that opens a session.
const INITIALIZE: &str = "initialize";

const fn route(method: Method) -> Route {
    Route {
        method,
        path: "/mcp",
        action: Action::Call,
        takes: Takes::Wait,
        run: Run::Carrier(|call, body| Box::pin(serve(call, body))),
        doc: None,
    }
}

pub(super) static ROUTES: [Route; 3] = [route(Method::POST), route(Method::GET), route(Method::DELETE)];

/// MCP over Streamable HTTP.
pub(super) struct Mcp {
    service: StreamableHttpService<McpServer, Sessions>,
    sessions: Arc<Sessions>,
    /// Requests that are being answered.
    answering: TaskTracker,
    /// Ends every session and stream.
    stop: CancellationToken,
}

impl Mcp {
    pub(super) fn new(server: McpServer, settings: &HttpSettings, hosts: &[String]) -> Self {
        let stop = CancellationToken::new();
        let sessions = Arc::new(Sessions::new(settings.limits));
        let config = StreamableHttpServerConfig::default()
            .with_json_response(true)
            .with_allowed_hosts(hosts)
            .enforce_origin_validation()
            .with_max_request_body_bytes(BODY_BYTES_MAX)
            .with_sse_keep_alive(Some(settings.limits.keep_alive))
            .with_cancellation_token(stop.clone());
        let service = StreamableHttpService::new(move || Ok(server.clone()), Arc::clone(&sessions), config);
        Self { service, sessions, answering: TaskTracker::new(), stop }
    }

    /// Ends every session and stream once what was asked has been answered. A client that does not read its answer, or
    /// does not send the whole of its message, has half of the time that there is at the end.
    pub(super) async fn end(&self, limits: Limits) {
        self.answering.close();
        let _ = tokio::time::timeout(limits.drain / 2, self.answering.wait()).await;
        self.stop.cancel();
    }

    /// The sessions of handshake clients.
    pub(super) const fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Closes idle sessions until the server stops.
    pub(super) async fn keep_tidy(&self, limits: Limits, stop: CancellationToken) {
        let mut rounds = tokio::time::interval(limits.session_idle / 8);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while stop.run_until_cancelled(rounds.tick()).await.is_some() {
            self.sessions.sweep().await;
        }
    }
}

async fn serve(mut call: Call<'_>, body: Arriving) -> Result<Response, Problem> {
    let answering = is_answered(&call.parts).then(|| call.app.mcp.answering.token());
    let bytes = call.arrived(body).await?;
    let Call { app, route, caller, mut parts, .. } = call;
    if let Some(scope) = app.auth.missing_scope(&caller, &parts.headers) {
        return Err(app.service.note_refusal(&caller, route.action, Refusal::MissingScope(scope)).await.into());
    }
    let owner = Owner::of(&caller);
    let sessions = &app.mcp.sessions;
    let session = parts.headers.get(SESSION).map(|id| id.to_str().unwrap_or_default());
    let (mut opening, mut listening) = (None, None);
    if parts.method == Method::POST {
        body::flawless(&bytes).map_err(Problem::Own)?;
        if session.is_none() && opens_session(&bytes) {
            opening = Some(sessions.open(owner).await.map_err(Problem::Own)?);
        }
    } else if parts.method == Method::GET {
        listening = Some(app.streams.open(&caller).map_err(Problem::Own)?);
    }
    let end = session.and_then(|id| sessions.end_of(id, owner));
    let is_delete = parts.method == Method::DELETE;
    if is_delete && session.is_some() && end.is_none() {
        return Err(NO_SESSION);
    }
    parts.extensions = app.auth.carried(caller);
    if let Some(end) = end {
        parts.extensions.insert(end);
    }
    // The guard has let it in, by rules that a list can't express.
    parts.headers.remove(ORIGIN);
    accept_both(&mut parts.headers, &parts.method);
    let request = Request::from_parts(parts, Full::new(bytes));
    // Boxed: it is large, and a call that waits would hold it twice.
    let response = sessions.visited_by(owner, opening.clone(), Box::pin(app.mcp.service.handle(request))).await;
    if is_delete && response.status() == StatusCode::ACCEPTED {
        // It has ended by now; and clients know 200 and 204 alone.
        let mut ended = Response::new(Body::empty());
        *ended.status_mut() = StatusCode::NO_CONTENT;
        return Ok(ended);
    }
    let opening = opening.filter(|_| response.status().is_success());
    let response = readable(response.map(|body| held(body, answering, opening)), app)?;
    Ok(match listening {
        Some(stream) => response.map(|body| stream.carrying(body)),
        None => response,
    })
}

/// Whether a message opens a session. It is read, since JSON can write a name in many ways.
fn opens_session(bytes: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
    }
    serde_json::from_slice::<Message<'_>>(bytes).is_ok_and(|message| message.method == INITIALIZE)
}

/// Whether a request is over once it is answered: every message, and who comes back for the rest of an answer. Other
/// streams have no end of their own.
fn is_answered(parts: &Parts) -> bool {
    // rmcp names the events of an answer `event/request`, those of a session's own stream `event`.
    let rest = |last: &HeaderValue| last.as_bytes().contains(&b'/');
    parts.method == Method::POST || parts.headers.get(LAST_EVENT).is_some_and(rest)
}

/// A body that keeps its request marked as being answered until it has been handed on to the connection or dropped. What it
/// hands on first tells the client the id of the session that it has opened.
fn held<B>(body: B, answering: Option<TaskTrackerToken>, opening: Option<Arc<Opening>>) -> Body
where
    B: HttpBody<Data = Bytes, Error = Infallible> + Send + 'static,
{
    if body.size_hint().exact().is_some() {
        // It is whole: nothing can cut it short.
        if let Some(opening) = &opening {
            opening.told();
        }
        return Body::new(body);
    }
    Body::new(body.map_frame(move |frame| {
        let _held = &answering;
        if let Some(opening) = &opening {
            opening.told();
        }
        frame
    }))
}

const NO_SESSION: Problem = Problem::NoSession("start anew with `initialize`");

/// `Accept: */*`, as `curl` sends it, or none at all: everything is accepted, the two kinds of answer among it.
fn accept_both(headers: &mut HeaderMap, method: &Method) {
    let any = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.trim() == "*/*");
    if method == Method::POST && headers.get(ACCEPT).is_none_or(any) {
        headers.insert(ACCEPT, BOTH);
    }
}

/// rmcp's answer, but for errors in plain text.
fn readable(response: Response, app: &super::door::App) -> Result<Response, Problem> {
    let status = response.status();
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return Ok(response);
    }
    Err(match status {
        StatusCode::NOT_FOUND => NO_SESSION,
        StatusCode::PAYLOAD_TOO_LARGE => Problem::Own(Refusal::TooLarge { what: "the body", limit: "64 KiB" }),
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = response.headers().get(ALLOW).and_then(|allowed| allowed.to_str().ok());
            Problem::Method(allowed.unwrap_or("POST").to_owned())
        }
        StatusCode::NOT_ACCEPTABLE => Problem::Accept,
        // The body's type was looked at before: what rmcp means is that it can't read it.
        StatusCode::UNSUPPORTED_MEDIA_TYPE => return Ok(with_json(StatusCode::BAD_REQUEST, PARSE_ERROR)),
        status if status.is_client_error() => {
            let problem = "is missing, or `MCP-Protocol-Version` names a revision that is not known; start with \
                           `initialize`, or send each request with the 2026-07-28 metadata";
            Problem::Own(Refusal::invalid("Mcp-Session-Id", problem))
        }
        _ => app.service.bug(&Failed).into(),
    })
}

const PARSE_ERROR: &[u8] =
    br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"the body is not a JSON-RPC message"}}"#;

/// rmcp has logged why.
#[derive(Debug, thiserror::Error)]
#[error("the MCP transport failed")]
struct Failed;
