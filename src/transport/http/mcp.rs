//! `/mcp`: Streamable HTTP, for every revision of the protocol, with rmcp's service.
//!
//! rmcp's own checks of `Host` and `Origin` stay enabled behind the guard's, as a second line of defence. Its
//! plain-text errors, which may quote the request, are replaced by the contract's JSON.

use std::{convert::Infallible, sync::Arc};

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
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use rmcp::{
    ErrorData,
    model::{
        CallToolRequestMethod, ClientJsonRpcMessage, ConstString as _, InitializeResultMethod, JsonRpcError,
        ListToolsRequestMethod, PingRequestMethod, ProtocolVersion, RequestId,
    },
    transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService, session::SessionState},
};
use serde_json::Value;
use tokio::task::JoinError;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{
    answer::Problem,
    auth::Auth,
    body::{self, Arriving},
    door::{App, Call},
    enrolment_requests,
    opening::Opening,
    routes::{Route, Run, Takes},
    sessions::Sessions,
    settings::{HttpSettings, Limits},
    shared_sessions::Records,
};
use crate::{
    domain::{audit::Action, limits::BODY_BYTES_MAX},
    operations::{ErrorCode, Refusal, Service},
    transport::{
        mcp::{McpServer, flawed_greeting, is_served},
        owner::Owner,
    },
};

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const REVISION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
/// A message that opens a session contains one of these: its method, or an escape that may be part of it.
const OF_GREETINGS: [&[u8]; 2] = [b"\"initialize\"", b"\\u"];
/// A message that calls a tool contains this, unless it is written with escapes.
pub(super) const TOOL_CALL: &str = CallToolRequestMethod::VALUE;
/// The methods of most requests, all of which are served.
const USUAL: [&str; 3] = [CallToolRequestMethod::VALUE, ListToolsRequestMethod::VALUE, PingRequestMethod::VALUE];

const fn route(method: Method, path: &'static str) -> Route {
    Route {
        method,
        path,
        action: Action::Call,
        takes: Takes::Wait,
        run: Run::Carrier(|call, body| Box::pin(serve(call, body))),
        doc: None,
    }
}

/// People and hosts add a slash to the end of a URL.
pub(super) static ROUTES: [Route; 6] = [
    route(Method::POST, "/mcp"),
    route(Method::GET, "/mcp"),
    route(Method::DELETE, "/mcp"),
    route(Method::POST, "/mcp/"),
    route(Method::GET, "/mcp/"),
    route(Method::DELETE, "/mcp/"),
];

/// MCP over Streamable HTTP.
pub(super) struct Mcp {
    service: StreamableHttpService<McpServer, Sessions>,
    sessions: Arc<Sessions>,
    /// Requests whose answers are not finished.
    answering: TaskTracker,
    /// Ends every session and stream.
    stop: CancellationToken,
}

impl Mcp {
    pub(super) fn new(server: McpServer, settings: &HttpSettings, hosts: &[String], service: &Service) -> Self {
        let stop = CancellationToken::new();
        let sessions = Arc::new(Sessions::new(settings.limits, service));
        let mut config = StreamableHttpServerConfig::default()
            .with_json_response(true)
            .with_allowed_hosts(hosts)
            .enforce_origin_validation()
            .with_max_request_body_bytes(BODY_BYTES_MAX)
            .with_sse_keep_alive(Some(settings.limits.keep_alive))
            .with_cancellation_token(stop.clone());
        config.session_store = sessions.shared.clone().map(|shared| Arc::new(Records(shared)) as _);
        let service = StreamableHttpService::new(move || Ok(server.clone()), Arc::clone(&sessions), config);
        Self { service, sessions, answering: TaskTracker::new(), stop }
    }

    /// Ends every session and stream after pending requests are answered. A client that does not read its answer, or
    /// does not finish its message, is given half of the drain time.
    pub(super) async fn end(&self, limits: Limits) {
        self.answering.close();
        let _ = tokio::time::timeout(limits.drain / 2, self.answering.wait()).await;
        self.stop.cancel();
    }

    /// The sessions of handshake clients.
    pub(super) const fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// Serves a request. A request for a session of which this node has no copy is served in a task of its own: rmcp
    /// can't continue with a copy that was abandoned halfway.
    async fn handle(
        &self,
        owner: Owner,
        elsewhere: Option<(String, SessionState)>,
        opening: Option<Arc<Opening>>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<BoxBody<Bytes, Infallible>>, JoinError> {
        let Some((id, known)) = elsewhere else {
            // Boxed: the future is large, and a waiting call would hold it twice.
            return Ok(self.sessions.visited_by(owner, opening, Box::pin(self.service.handle(request))).await);
        };
        let (service, sessions) = (self.service.clone(), Arc::clone(&self.sessions));
        let copied = tokio::spawn(async move {
            let serve = |end| {
                request.extensions_mut().insert(end);
                service.handle(request)
            };
            sessions.visited_for_copy((&id, owner), known, serve).await
        });
        copied.await
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
        return Err(app.service.record_refusal(&caller, route.action, Refusal::MissingScope(scope)).await.into());
    }
    let (owner, sessions) = (Owner::of(&caller), &app.mcp.sessions);
    let (mut opening, mut listening, mut is_unserved) = (None, None, false);
    let named = parts.headers.get(SESSION).and_then(|id| id.to_str().ok());
    let known = sessions.known(named, owner).await.map_err(Problem::Own)?;
    if parts.method == Method::POST {
        let message = body::flawless(&bytes).map_err(Problem::Own)?;
        let seen = named.filter(|_| known.is_some());
        if let Some(taken) = enrolment_requests::taken(app, &caller, seen, &parts, &message).await {
            return taken;
        }
        is_unserved = is_unserved_request(&message, &bytes);
        if let Some(greeting) = greeting_in(&bytes) {
            let is_alive = |id: &str| known.is_some() || sessions.end_of(id, owner).is_some();
            opening = greeted(sessions, &greeting, &mut parts.headers, owner, is_alive).await?;
        }
    } else if parts.method == Method::GET {
        listening = Some(app.streams.open(&caller).map_err(Problem::Own)?);
    }
    let session = parts.headers.get(SESSION).map(|id| id.to_str().unwrap_or_default());
    let end = session.and_then(|id| sessions.end_of(id, owner));
    let is_delete = parts.method == Method::DELETE;
    if is_delete
        && let Some(id) = session
        && let Some(ended) = end_elsewhere(app, id, known.is_some(), end.is_some()).await?
    {
        return Ok(ended);
    }
    let elsewhere = session.zip(known).filter(|_| end.is_none()).map(|(id, known)| (id.to_owned(), known));
    parts.extensions = Auth::carried(caller, parts.extensions.remove().flatten());
    if let Some(end) = end {
        parts.extensions.insert(end);
    }
    // The guard has accepted the origin, by rules that a list of origins can't express.
    parts.headers.remove(ORIGIN);
    accept_both(&mut parts.headers, &parts.method);
    let request = Request::from_parts(parts, Full::new(bytes));
    let response = app.mcp.handle(owner, elsewhere, opening.clone(), request).await;
    let response = response.map_err(|cause| Problem::Own(app.service.bug(&cause)))?;
    if is_delete && response.status() == StatusCode::ACCEPTED {
        return Ok(ended());
    }
    if let Some(refusal) = opening.as_ref().and_then(|opening| opening.refused()) {
        return Err(Problem::Own(refusal));
    }
    if is_unserved && response.status().is_success() {
        // Within a session the error is an event; without one it is an HTTP error, and the door writes the row.
        app.service.record_own(ErrorCode::InvalidArgument, owner.entry(route.action, app.service.now()), None).await;
    }
    let opening = opening.filter(|_| response.status().is_success());
    let response = readable(response.map(|body| held(body, answering, opening)), app).await?;
    Ok(match listening {
        Some(stream) => response.map(|body| stream.carrying(body)),
        None => response,
    })
}

/// Takes a place for the session that a greeting opens.
async fn greeted(
    sessions: &Arc<Sessions>,
    greeting: &ClientJsonRpcMessage,
    headers: &mut HeaderMap,
    owner: Owner,
    is_alive: impl Fn(&str) -> bool,
) -> Result<Option<Arc<Opening>>, Problem> {
    if let Some((id, error)) = flawed_greeting(greeting) {
        return Err(flawed(error, id));
    }
    welcome(headers, is_alive);
    if headers.contains_key(SESSION) {
        return Ok(None);
    }
    sessions.open(owner).await.map(Some).map_err(Problem::Own)
}

/// Ends a session on the other nodes, if they know it. `None`: rmcp ends it here.
async fn end_elsewhere(app: &App, id: &str, is_known: bool, is_here: bool) -> Result<Option<Response>, Problem> {
    if is_known {
        app.service.end_session(id).await.map_err(Problem::Own)?;
    } else if !is_here {
        return Err(NO_SESSION);
    }
    Ok((!is_here).then(ended))
}

/// The answer to the end of a session. The session has ended by now, and clients know only 200 and 204.
fn ended() -> Response {
    let mut ended = Response::new(Body::empty());
    *ended.status_mut() = StatusCode::NO_CONTENT;
    ended
}

/// The message that opens a session, if the body is one.
fn greeting_in(bytes: &[u8]) -> Option<ClientJsonRpcMessage> {
    // Most messages open no session, and are then parsed only once.
    if !OF_GREETINGS.iter().any(|part| bytes.windows(part.len()).any(|window| window == *part)) {
        return None;
    }
    let message: ClientJsonRpcMessage = serde_json::from_slice(bytes).ok()?;
    let is_greeting = match &message {
        ClientJsonRpcMessage::Request(request) => request.request.method() == InitializeResultMethod::VALUE,
        ClientJsonRpcMessage::Notification(_) | ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => {
            false
        }
    };
    is_greeting.then_some(message)
}

/// Whether a message is a request of a method that this server does not serve. rmcp refuses it without the handler.
fn is_unserved_request(message: &Value, bytes: &[u8]) -> bool {
    // Most requests are served, and are parsed only once.
    let method = message.get("method").and_then(Value::as_str);
    if message.get("id").is_none() || method.is_none_or(|method| USUAL.contains(&method)) {
        return false;
    }
    matches!(serde_json::from_slice(bytes), Ok(ClientJsonRpcMessage::Request(sent)) if !is_served(&sent.request))
}

/// Removes from a greeting's head the id of an ended session, which clients send after a server's restart, and an
/// unknown revision: the message itself negotiates the revision.
fn welcome(headers: &mut HeaderMap, is_alive: impl Fn(&str) -> bool) {
    if !headers.get(SESSION).is_some_and(|id| id.to_str().is_ok_and(is_alive)) {
        headers.remove(SESSION);
    }
    let is_known = |revision: &HeaderValue| {
        ProtocolVersion::KNOWN_VERSIONS.iter().any(|known| known.as_str().as_bytes() == revision.as_bytes())
    };
    if !headers.get(REVISION).is_some_and(is_known) {
        headers.remove(REVISION);
    }
}

fn flawed(error: ErrorData, id: RequestId) -> Problem {
    Problem::Message(serde_json::to_vec(&JsonRpcError::new(Some(id), error)).unwrap_or_default())
}

/// Whether a request has a finite answer: every message, and requests for the rest of an earlier answer. Other streams
/// do not end by themselves.
fn is_answered(parts: &Parts) -> bool {
    // rmcp names the events of an answer `event/request`, those of a session's own stream `event`.
    let rest = |last: &HeaderValue| last.as_bytes().contains(&b'/');
    parts.method == Method::POST || parts.headers.get(LAST_EVENT).is_some_and(rest)
}

/// A body that marks its request as unfinished until the body was passed to the connection or dropped. Its first frame
/// also marks the id of the session that it opened as known to the client.
fn held<B>(body: B, answering: Option<TaskTrackerToken>, opening: Option<Arc<Opening>>) -> Body
where
    B: HttpBody<Data = Bytes, Error = Infallible> + Send + 'static,
{
    if body.size_hint().exact().is_some() {
        // It is complete, so nothing can cut it short.
        if let Some(opening) = &opening {
            opening.is_known();
        }
        return Body::new(body);
    }
    Body::new(body.map_frame(move |frame| {
        let _held = &answering;
        if let Some(opening) = &opening {
            opening.is_known();
        }
        frame
    }))
}

const NO_SESSION: Problem = Problem::NoSession("start anew with `initialize`");

/// A client that accepts events, or anything (`*/*`, as `curl` sends, or no `Accept`), gets both answer types allowed:
/// the other one is a single JSON object, such as an error.
fn accept_both(headers: &mut HeaderMap, method: &Method) {
    let takes_events = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let is_refused =
            parts.any(|part| matches!(part.strip_prefix("q="), Some("0" | "0." | "0.0" | "0.00" | "0.000")));
        matches!(kind.as_str(), "*/*" | "text/*" | "text/event-stream") && !is_refused
    };
    let mut sent = headers.get_all(ACCEPT).iter().peekable();
    let takes = sent.peek().is_none()
        || sent.filter_map(|value| value.to_str().ok()).any(|text| text.split(',').any(takes_events));
    if method == Method::POST && takes {
        headers.insert(ACCEPT, BOTH);
    }
}

/// rmcp's answer, with plain-text errors replaced.
async fn readable(response: Response, app: &App) -> Result<Response, Problem> {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return Ok(response);
    }
    if response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json") {
        let body = axum::body::to_bytes(response.into_body(), ERROR_BYTES_MAX).await;
        return Err(Problem::Mcp(status, body.map_or_else(|_| LONG_ERROR.to_vec(), Into::into)));
    }
    Err(match status {
        StatusCode::NOT_FOUND => NO_SESSION,
        StatusCode::PAYLOAD_TOO_LARGE => Problem::Own(Refusal::TooLarge { what: "the body", limit: "64 KiB" }),
        StatusCode::METHOD_NOT_ALLOWED => {
            let allowed = response.headers().get(ALLOW).and_then(|allowed| allowed.to_str().ok());
            Problem::Method(allowed.unwrap_or("POST").to_owned())
        }
        StatusCode::NOT_ACCEPTABLE => Problem::Accept,
        // The body's type was checked before, so the status means that rmcp can't parse the body.
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::Message(PARSE_ERROR.to_vec()),
        status if status.is_client_error() => {
            let problem = "is missing, or `MCP-Protocol-Version` names a revision that is not known; start with \
                           `initialize`, or send each request with the 2026-07-28 metadata";
            Problem::Own(Refusal::invalid("Mcp-Session-Id", problem))
        }
        // rmcp's sessions end with the server.
        _ if app.mcp.stop.is_cancelled() => Problem::Own(Refusal::Stopping),
        _ => Problem::Own(app.service.bug(&Failed)),
    })
}

/// The most bytes of an error of rmcp, which quotes the message that it refuses.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Replaces a longer error.
const LONG_ERROR: &[u8] = br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"the message is not what its `Mcp-Method` and `Mcp-Name` headers say, or a name in it is too long"}}"#;

const PARSE_ERROR: &[u8] =
    br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"the body is not a JSON-RPC message"}}"#;

/// The error of a failure whose cause rmcp has logged.
#[derive(Debug, thiserror::Error)]
#[error("the MCP transport failed")]
struct Failed;
