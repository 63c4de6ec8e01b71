//! Connections: accepts them within limits, speaks HTTP/1.1, and lets them finish when the server stops.
//!
//! It has its own loop instead of `axum::serve`, which has no limits and leaves Nagle's algorithm on: an answer in
//! several small pieces, like an SSE stream, would wait 40 ms for each acknowledgement.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, response::Response};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

use super::{
    peers::{Entry, Peer, Peers, Place},
    settings::Limits,
    stream::{Phase, Timed},
    timeless,
    tls::Tls,
};
use crate::operations::{ErrorCode, Limit, Service};

/// The most bytes and headers of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// How long to pause when the system has no more sockets.
const REST: Duration = Duration::from_millis(100);
/// How long to pause after a connection was asked to close.
const LEAVING: Duration = Duration::from_millis(1);
/// The shortest interval between log lines about missing room: a client that takes all room must not fill the log as well.
const WARNING_PAUSE: Duration = Duration::from_mins(1);

/// Everything needed to serve connections.
pub(super) struct Listener {
    pub(super) service: Service,
    pub(super) router: Router,
    pub(super) tls: Option<Tls>,
    pub(super) peers: Arc<Peers>,
    pub(super) limits: Limits,
    pub(super) behind_proxy: bool,
    /// Cancelled to stop the listener: it accepts no more connections, and finishes running requests.
    pub(super) stop: CancellationToken,
}

/// A connection's address and place.
#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) peer: Peer,
    pub(super) place: Arc<Place>,
    pub(super) ends: Ends,
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends {
    pub(super) theirs: SocketAddr,
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux says whose a socket is"))]
    pub(super) ours: SocketAddr,
}

/// A frequent event that is logged at intervals.
#[derive(Default)]
struct Seldom {
    last_warning: Option<Instant>,
    since: u64,
}

impl Seldom {
    /// The number of events since the last log line, if another one is due.
    fn due(&mut self) -> Option<u64> {
        self.since += 1;
        if self.last_warning.is_some_and(|at| at.elapsed() < WARNING_PAUSE) {
            return None;
        }
        self.last_warning = Some(Instant::now());
        Some(std::mem::take(&mut self.since))
    }
}

impl Listener {
    /// Accepts connections until stopped, then waits for running ones for a limited time.
    pub(super) async fn run(self, socket: TcpListener) {
        let (limits, stop) = (self.limits, self.stop.clone());
        let shared = Arc::new(self);
        let (tasks, give_up) = (TaskTracker::new(), CancellationToken::new());
        let (mut crowded, mut failed) = (Seldom::default(), Seldom::default());
        while let Some(accepted) = stop.run_until_cancelled(socket.accept()).await {
            match accepted {
                Ok((stream, address)) => {
                    let leave = give_up.child_token();
                    let Ok(ours) = stream.local_addr() else { continue };
                    let ends = Ends { theirs: address, ours };
                    let Some(visitor) = shared.visitor(ends, leave.clone(), &mut crowded) else { continue };
                    // Boxed, here and below: each layer around a future would otherwise hold it twice, for as long as
                    // the connection lives.
                    let serve = Box::pin(Arc::clone(&shared).serve(stream, visitor));
                    tasks.spawn(async move { leave.run_until_cancelled(serve).await });
                }
                Err(cause) => {
                    if let Some(times) = failed.due() {
                        tracing::warn!(%cause, times, "connections could not be accepted");
                    }
                    // Most likely the system has no more sockets for this process. A connection that is asked to close
                    // does so soon, and many new ones may be waiting.
                    let rest = if shared.peers.make_room() { LEAVING } else { REST };
                    tokio::time::sleep(rest).await;
                }
            }
        }
        drop(socket);
        tasks.close();
        if tokio::time::timeout(limits.drain, tasks.wait()).await.is_err() {
            tracing::warn!(left = tasks.len(), "some requests did not finish in time and were dropped");
            give_up.cancel();
            tasks.wait().await;
        }
    }

    fn visitor(&self, ends: Ends, leave: CancellationToken, crowded: &mut Seldom) -> Option<Visitor> {
        let peer = Peer(ends.theirs.ip());
        let entry = self.peers.enter(peer, self.behind_proxy || peer.is_loopback(), leave);
        if !matches!(entry, Entry::Free(_))
            && let Some(times) = crowded.due()
        {
            tracing::warn!(
                times,
                "there are too many connections, in all or from one address; those whose last request had no right \
                 credential are closed first"
            );
        }
        match entry {
            Entry::Free(place) | Entry::Instead(place) => Some(Visitor { peer, place: Arc::new(place), ends }),
            Entry::Full => None,
        }
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, visitor: Visitor) {
        if let Err(cause) = stream.set_nodelay(true) {
            tracing::debug!(%cause, "a connection ended before it began");
            return;
        }
        match &self.tls {
            None => self.speak(stream, visitor).await,
            Some(tls) => {
                let handshake = Box::pin(tls.acceptor(Instant::now()).accept(stream));
                match tokio::time::timeout(self.limits.head_wait, handshake).await {
                    Ok(Ok(stream)) => Box::pin(self.speak(stream, visitor)).await,
                    Ok(Err(cause)) => tracing::debug!(%cause, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
            }
        }
    }

    /// Speaks HTTP/1.1 on one connection.
    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, visitor: Visitor) {
        if !timeless::has_date() {
            return timeless::answer(stream, self.limits.head_wait).await;
        }
        let phase = Phase::new();
        let stream = Timed::new(stream, phase.clone(), self.limits.head_wait, self.limits.idle);
        let serve = service_fn(move |mut request: Request<Incoming>| {
            phase.busy();
            request.extensions_mut().insert(visitor.clone());
            let (router, phase) = (self.router.clone(), phase.clone());
            async move {
                let response = router.oneshot(request.map(Body::new)).await;
                phase.idle();
                response as Result<Response, Infallible>
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper's timer also runs between requests, so it is the idle limit. `Timed` ends slow heads.
            .header_read_timeout(self.limits.idle)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), serve);
        let mut connection = Box::pin(connection);
        let ended = tokio::select! {
            biased;
            // Checked first, so that an answer that is ready by now announces that it is the last.
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            ended = connection.as_mut() => ended,
        };
        if let Err(cause) = ended {
            // hyper has answered with 431, so no route counts it.
            if cause.is_parse_too_large() {
                self.service.count_refusal(ErrorCode::TooLarge);
                self.service.count_limit(Limit::Head);
            }
            tracing::debug!(%cause, "a connection ended early");
        }
    }
}
