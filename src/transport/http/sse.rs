//! `/sse` and `/messages`: the HTTP+SSE transport of 2024-11-05, which rmcp no longer has, as a thin layer: a stream
//! for answers, and an endpoint to which messages are posted.
//!
//! A stream's id is unguessable, but not a credential: messages must come from the stream's owner.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::response::{
    IntoResponse as _, Response, Sse as Events,
    sse::{Event, KeepAlive},
};
use futures::{SinkExt as _, Stream, StreamExt as _, future::ready, stream};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header::HOST, request::Parts};
use rmcp::{
    ServiceExt as _,
    model::{ClientJsonRpcMessage, GetExtensions as _, ServerJsonRpcMessage},
};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard, PollSendError, PollSender};

use super::{
    answer::Problem,
    auth::Auth,
    body::{self, Arriving},
    door::Call,
    guard::host_of,
    routes::{Route, Run, Takes},
    settings::{BaseUrl, HttpSettings, Limits},
    streams,
};
use crate::{
    domain::{
        audit::Action,
        session::{NodeId, SessionTag},
    },
    operations::{Limit, Refusal, Service},
    transport::{
        mcp::{McpServer, flawed_greeting},
        owner::Owner,
    },
};

/// Messages that may wait in each direction of a session. tokio reserves room for all of them at once, so messages,
/// which take several hundred bytes, are boxed.
const QUEUE: usize = 32;
/// How long a stream may stay open without a handshake.
const HANDSHAKE: Duration = Duration::from_mins(1);
/// Stops proxies from buffering events.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) const NO_STREAM: Problem = Problem::NoSession("open a stream at `/sse`");

const fn stream(path: &'static str) -> Route {
    Route {
        method: Method::GET,
        path,
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Carrier(|call, _| Box::pin(open(call))),
        doc: None,
    }
}

/// People and hosts add a slash to the end of a URL.
pub(super) static ROUTES: [Route; 3] = [
    stream("/sse"),
    stream("/sse/"),
    Route {
        method: Method::POST,
        path: "/messages",
        action: Action::Call,
        takes: Takes::Moment,
        run: Run::Carrier(|call, body| Box::pin(post(call, body))),
        doc: None,
    },
];

/// MCP over HTTP+SSE.
pub(super) struct Sse {
    server: McpServer,
    pub(super) limits: Limits,
    /// The addresses that clients use: a proxy may serve this server under a path of its own.
    public_urls: Vec<BaseUrl>,
    streams: Arc<Streams>,
    pub(super) service: Service,
    /// The id of this node among the others, if there may be any.
    pub(super) node: Option<NodeId>,
    /// Held while messages are queued, so that they stay in order.
    pub(super) queueing: tokio::sync::Mutex<()>,
    /// Whether no more streams may be opened. Written and read under the lock of `streams`.
    ended: AtomicBool,
}

/// An incoming message.
pub(super) type Posted = Box<ClientJsonRpcMessage>;
/// An outgoing message, already serialised.
type Written = String;

/// The open streams.
#[derive(Default)]
struct Streams(Mutex<HashMap<String, OpenStream>>);

struct OpenStream {
    owner: Owner,
    messages: Sender<Posted>,
    stop: CancellationToken,
    /// The tag by which letters name it.
    tag: SessionTag,
    /// Whether other nodes know it.
    is_known: bool,
}

/// Ends a session however its stream ends: closed by the client or the server, or never finished.
struct Cleanup {
    streams: Arc<Streams>,
    id: String,
    /// The service that ends the session for other nodes, if there may be any.
    shared: Option<Service>,
    _open: streams::OpenStream,
    _stop: DropGuard,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.streams.lock().remove(&self.id);
        if let Some(service) = &self.shared {
            service.end_session_later(self.id.clone());
        }
    }
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, OpenStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sse {
    pub(super) fn new(server: &McpServer, settings: &HttpSettings, service: &Service) -> Self {
        // This transport ended before the revision without a handshake.
        let server = server.for_handshakes();
        let (limits, public_urls) = (settings.limits, settings.public_urls.clone());
        let id = *uuid::Uuid::new_v4().as_bytes();
        let node =
            service.has_other_nodes().then(|| std::array::from_fn(|nth| id.get(nth).copied().unwrap_or_default()));
        let (service, streams, queueing) = (service.clone(), Arc::default(), tokio::sync::Mutex::default());
        Self { server, limits, public_urls, streams, service, node, queueing, ended: AtomicBool::new(false) }
    }

    /// The endpoint for a session's messages, as the client that sent these headers sees it. It is not relative to `/sse`,
    /// since some clients resolve it against the origin.
    fn endpoint(&self, headers: &HeaderMap, session: &str) -> String {
        let host = headers.get(HOST).and_then(|host| host_of(host.to_str().ok()?));
        let named = self.public_urls.iter().find(|url| host.is_some_and(|host| host.eq_ignore_ascii_case(url.host())));
        let prefix = named.or(self.public_urls.first()).map_or("", BaseUrl::path);
        format!("{prefix}/messages?sessionId={session}")
    }

    /// The number of open streams.
    pub(super) fn streams(&self) -> usize {
        self.streams.lock().len()
    }

    /// Accepts no more messages: each session answers those that it has, and ends with its stream.
    pub(super) fn end(&self) {
        let mut streams = self.streams.lock();
        self.ended.store(true, Ordering::Relaxed);
        streams.clear();
    }

    /// The queue of a stream of this owner.
    fn messages_of(&self, id: &str, owner: Owner) -> Option<Sender<Posted>> {
        self.streams.lock().get(id).filter(|stream| stream.owner == owner).map(|stream| stream.messages.clone())
    }

    /// The stream that letters name by this tag: its id and its queue.
    pub(super) fn stream_of(&self, tag: &SessionTag) -> Option<(String, Sender<Posted>)> {
        let streams = self.streams.lock();
        let (id, stream) = streams.iter().find(|(_, stream)| stream.tag == *tag)?;
        Some((id.clone(), stream.messages.clone()))
    }

    /// The streams that other nodes know.
    pub(super) fn known(&self) -> Vec<String> {
        self.streams.lock().iter().filter(|(_, stream)| stream.is_known).map(|(id, _)| id.clone()).collect()
    }

    /// Ends a stream.
    pub(super) fn end_stream(&self, id: &str) {
        self.streams.lock().get(id).into_iter().for_each(|stream| stream.stop.cancel());
    }

    fn enter(&self, call: &Call<'_>) -> Result<(Cleanup, CancellationToken, Receiver<Posted>), Refusal> {
        let (owner, open) = (Owner::of(&call.caller), call.app.streams.open(&call.caller)?);
        let id = uuid::Uuid::new_v4().simple().to_string();
        let tag = self.service.session_tag(&id);
        let (messages, received) = channel(QUEUE);
        let mut streams = self.streams.lock();
        if self.ended.load(Ordering::Relaxed) {
            return Err(Refusal::Stopping);
        }
        let stop = open.stop();
        streams.insert(id.clone(), OpenStream { owner, messages, stop: stop.clone(), tag, is_known: false });
        let (streams, shared) = (Arc::clone(&self.streams), self.node.map(|_| self.service.clone()));
        let cleanup = Cleanup { streams, id, shared, _open: open, _stop: stop.clone().drop_guard() };
        Ok((cleanup, stop, received))
    }

    /// Runs the session behind a stream. The stream ends after it has delivered all of the session's answers; when it
    /// is dropped, `stop` ends the session.
    fn run(&self, received: Receiver<Posted>, stop: &CancellationToken) -> Receiver<Written> {
        let (answers, sent) = channel(QUEUE);
        // A token of its own: rmcp cancels it when the session has ended, while the stream may still have answers to
        // deliver.
        let (server, ending) = (self.server.clone(), stop.child_token());
        tokio::spawn(async move {
            let (refusals, recorder, mut requests) = (answers.clone(), server.clone(), server.requests());
            let messages = ReceiverStream::new(received).filter_map(move |message| {
                let (refusals, recorder, flaw) = (refusals.clone(), recorder.clone(), flawed_greeting(&message));
                let is_refused = flaw.is_some() || requests.is_refused(&message);
                async move {
                    if is_refused && let ClientJsonRpcMessage::Request(request) = &*message {
                        recorder.record_refused(Some(request.request.extensions())).await;
                    }
                    let Some((id, error)) = flaw else { return Some(*message) };
                    // A stream that is gone ends the session by itself.
                    let _ = refusals.send(written(&ServerJsonRpcMessage::error(error, Some(id)))).await;
                    None
                }
            });
            let answers = PollSender::new(answers).with(|message| ready(Ok::<_, PollSendError<_>>(written(&message))));
            let carrier = (answers, Box::pin(messages));
            let handshake = tokio::time::timeout(HANDSHAKE, server.serve_with_ct(carrier, ending)).await;
            // Don't log the cause of a failed handshake: it may quote the client.
            if let Ok(Ok(session)) = handshake {
                let _ = session.waiting().await;
            }
        });
        sent
    }
}

async fn open(call: Call<'_>) -> Result<Response, Problem> {
    let sse = &call.app.sse;
    let (cleanup, stop, received) = sse.enter(&call).map_err(Problem::Own)?;
    if let Some(node) = sse.node {
        let owner = Owner::of(&call.caller).of_session();
        sse.service.keep_stream(&cleanup.id, &owner, node).await.map_err(Problem::Own)?;
        sse.streams.lock().get_mut(&cleanup.id).into_iter().for_each(|stream| stream.is_known = true);
    }
    let sent = sse.run(received, &stop);
    let endpoint = sse.endpoint(&call.parts.headers, &cleanup.id);
    let events = Events::new(events(endpoint, cleanup, sent, stop));
    let mut response = events.keep_alive(KeepAlive::new().interval(sse.limits.keep_alive)).into_response();
    response.headers_mut().insert(UNBUFFERED, HeaderValue::from_static("no"));
    Ok(response)
}

/// The events of a stream: the endpoint, and then every answer.
fn events(
    endpoint: String,
    cleanup: Cleanup,
    sent: Receiver<Written>,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let endpoint = Event::default().event("endpoint").data(endpoint);
    let answers = ReceiverStream::new(sent).map(move |text| {
        let _ends_with_the_stream = &cleanup;
        Event::default().event("message").data(text)
    });
    let events = stream::once(async { endpoint }).chain(answers).map(Ok);
    Box::pin(events.take_until(stop.cancelled_owned()))
}

fn written(message: &ServerJsonRpcMessage) -> Written {
    serde_json::to_string(message).unwrap_or_default()
}

/// The id of the stream that a request names.
fn named(parts: &Parts) -> String {
    parts.uri.query().and_then(|query| query.strip_prefix("sessionId=")).unwrap_or_default().to_owned()
}

async fn post(mut call: Call<'_>, body: Arriving) -> Result<Response, Problem> {
    let (sse, id, owner) = (&call.app.sse, named(&call.parts), Owner::of(&call.caller));
    let is_here = sse.messages_of(&id, owner).is_some();
    if !is_here && sse.node.is_none() {
        return Err(NO_STREAM);
    }
    let bytes = call.arrived(body).await?;
    let Call { caller, mut parts, .. } = call;
    let pace = parts.extensions.remove().flatten();
    if !is_here {
        return sse.send_on(&id, &caller, &bytes, pace).await;
    }
    let message = read(&bytes, parts, Auth::carried(caller, pace))?;
    let _in_order = sse.queueing.lock().await;
    // A message that arrived at another node before this one is queued first.
    sse.collect().await.map_err(Problem::Own)?;
    match sse.messages_of(&id, owner).ok_or(NO_STREAM)?.try_send(message) {
        Ok(()) => Ok(accepted()),
        Err(TrySendError::Full(_)) => {
            Err(Problem::Own(Refusal::RateLimited { limit: Limit::SessionMessages, after: Duration::from_secs(1) }))
        }
        Err(TrySendError::Closed(_)) => Err(NO_STREAM),
    }
}

pub(super) fn accepted() -> Response {
    (StatusCode::ACCEPTED, "Accepted").into_response()
}

/// Parses a message, and adds the head of its request for the handler.
pub(super) fn read(bytes: &[u8], mut parts: Parts, carried: Extensions) -> Result<Posted, Problem> {
    body::flawless(bytes).map_err(Problem::Own)?;
    let unread = |_| Problem::Own(Refusal::invalid("body", "must be a JSON-RPC message"));
    let mut message: ClientJsonRpcMessage = serde_json::from_slice(bytes).map_err(unread)?;
    parts.extensions = carried;
    match &mut message {
        ClientJsonRpcMessage::Request(request) => drop(request.request.extensions_mut().insert(parts)),
        ClientJsonRpcMessage::Notification(notification) => {
            drop(notification.notification.extensions_mut().insert(parts));
        }
        ClientJsonRpcMessage::Response(_) | ClientJsonRpcMessage::Error(_) => {}
    }
    Ok(Box::new(message))
}
