//! Connections: accepting them within limits, speaking HTTP/1.1 on each, and letting them finish at the end.
//!
//! Our own loop instead of `axum::serve`, which has no limits and leaves Nagle's algorithm on: an answer in several
//! small pieces, as SSE writes it, would wait 40 ms for each acknowledgement.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Instant};

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
    lanes::{InLane, Lanes},
    peers::{Peer, Peers, Place},
    settings::Limits,
    stream::{Phase, Timed},
    tls::Tls,
};

/// Bytes that a request's head may have, and headers in it.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// How long accepting rests when the system has no more sockets to give.
const REST: std::time::Duration = std::time::Duration::from_millis(100);

/// What every connection is served with.
pub(super) struct Listener {
    pub(super) router: Router,
    pub(super) tls: Option<Tls>,
    pub(super) peers: Arc<Peers>,
    pub(super) limits: Limits,
    pub(super) behind_proxy: bool,
    /// Told to stop: accept no more, finish what runs.
    pub(super) stop: CancellationToken,
}

impl Listener {
    /// Accepts connections until told to stop, then waits for what runs, but not for ever.
    pub(super) async fn run(self, socket: TcpListener, lanes: Lanes) {
        let (limits, stop) = (self.limits, self.stop.clone());
        let shared = Arc::new(self);
        let (tasks, give_up) = (TaskTracker::new(), CancellationToken::new());
        while let Some(accepted) = stop.run_until_cancelled(socket.accept()).await {
            match accepted {
                Ok((stream, address)) => {
                    let (place, lane) = (shared.place(address), lanes.enter());
                    let Some(((place, (lane, in_lane)), stream)) = place.zip(lane).zip(stream.into_std().ok()) else {
                        continue;
                    };
                    let serve = Arc::clone(&shared).serve(stream, address, (place, in_lane));
                    let give_up = give_up.clone();
                    tasks.spawn_on(async move { give_up.run_until_cancelled(serve).await }, lane);
                }
                Err(cause) => {
                    tracing::warn!(%cause, "a connection could not be accepted");
                    tokio::time::sleep(REST).await;
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
        lanes.close().await;
    }

    fn place(&self, address: SocketAddr) -> Option<Place> {
        let peer = Peer(address.ip());
        let place = self.peers.enter(peer, self.behind_proxy || peer.is_loopback());
        if place.is_none() {
            tracing::debug!("a connection beyond the limit was closed");
        }
        place
    }

    async fn serve(self: Arc<Self>, stream: std::net::TcpStream, address: SocketAddr, _place: (Place, InLane)) {
        let stream = match stream.set_nodelay(true).and_then(|()| TcpStream::from_std(stream)) {
            Ok(stream) => stream,
            Err(cause) => {
                tracing::debug!(%cause, "a connection ended before it began");
                return;
            }
        };
        match &self.tls {
            None => self.speak(stream, address).await,
            Some(tls) => {
                let handshake = tls.acceptor(Instant::now()).accept(stream);
                match tokio::time::timeout(self.limits.head_wait, handshake).await {
                    Ok(Ok(stream)) => self.speak(stream, address).await,
                    Ok(Err(cause)) => tracing::debug!(%cause, "a TLS handshake failed"),
                    Err(_) => tracing::debug!("a TLS handshake took too long"),
                }
            }
        }
    }

    /// HTTP/1.1 on one connection.
    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, address: SocketAddr) {
        let phase = Phase::new();
        let stream = Timed::new(stream, phase.clone(), self.limits.head_wait, self.limits.idle);
        let serve = service_fn(move |mut request: Request<Incoming>| {
            phase.busy();
            request.extensions_mut().insert(Peer(address.ip()));
            let (router, phase) = (self.router.clone(), phase.clone());
            async move {
                let response = router.oneshot(request.map(Body::new)).await;
                phase.idle();
                response as Result<Response, Infallible>
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper's timer runs between requests too: it is the idle limit. A slow head is the stream's to end.
            .header_read_timeout(self.limits.idle)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), serve);
        let mut connection = std::pin::pin!(connection);
        let ended = if let Some(ended) = self.stop.run_until_cancelled(connection.as_mut()).await {
            ended
        } else {
            connection.as_mut().graceful_shutdown();
            connection.await
        };
        if let Err(cause) = ended {
            tracing::debug!(%cause, "a connection ended early");
        }
    }
}
