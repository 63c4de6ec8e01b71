//! Requests through the guard: those to a bound origin are looked into, all others pass unchanged.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, uri::PathAndQuery};
use hyper::{Request, Response, body::Incoming, ext::ReasonPhrase, server::conn::http1, service::service_fn, upgrade};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio::{
    io::{AsyncRead, AsyncWrite, copy_bidirectional},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{
    authority::Authority,
    body::{Body, Trouble, empty, replaced, text, untouched},
    exchange::{Exchange, Replacing},
    outcomes::GuardError,
    sockets::relay,
    upstream::{Place, Unanswered, Upstream},
};
use crate::{domain::origin::Origin, operations::ReadAuthority};

/// How long a connection may take to send a request's head, and to begin the next request. After that, browsers open
/// another connection.
const HEAD_WITHIN: Duration = Duration::from_mins(1);

/// The state that all connections of browsers share.
pub(super) struct Proxy {
    pub(super) exchange: Arc<Exchange>,
    pub(super) tls: TlsConnector,
}

/// The connection to the browser ends without an answer, as the one to the origin has: a browser then tries again.
#[derive(Debug, thiserror::Error)]
#[error("the origin ended the connection")]
struct OriginEnded;

/// A place that requests of one connection go to, and its origin if codes may go there.
struct Route {
    upstream: Upstream,
    origin: Option<Origin>,
}

impl Proxy {
    /// Serves a connection of a browser.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| {
            let proxy = Arc::clone(&self);
            async move { Ok::<_, Infallible>(proxy.answer(request).await.unwrap_or_else(|problem| problem)) }
        });
        // An error is the browser's end of the connection.
        let _ = server().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Response<Body>> {
        let uri = request.uri();
        let host = uri.host().map(str::to_ascii_lowercase);
        match (request.method() == Method::CONNECT, uri.scheme_str(), host) {
            (true, _, Some(host)) => {
                let port = uri.port_u16().ok_or_else(|| problem(StatusCode::BAD_REQUEST, "the port is missing"))?;
                self.connect(Place { host, port, secure: true }, request).await
            }
            (false, Some("http"), Some(host)) => {
                let place = Place { host, port: uri.port_u16().unwrap_or(80), secure: false };
                let origin = self.bound(&place).await?;
                let route = Route { upstream: Upstream::new(place, self.tls.clone()), origin };
                self.forward(&route, request).await.map_err(|OriginEnded| bad_gateway("the connection ended"))
            }
            _ => Err(problem(StatusCode::BAD_REQUEST, "this is a proxy; name it to a browser by --proxy-server")),
        }
    }

    /// The origin of a place, if codes may go there.
    async fn bound(&self, place: &Place) -> Result<Option<Origin>, Response<Body>> {
        let Some(origin) = origin_of(place) else { return Ok(None) };
        let bound = self.exchange.is_bound(&origin).await.map_err(|refusal| bad_gateway(&refusal.to_string()))?;
        Ok(bound.then_some(origin))
    }

    /// Opens a tunnel, or, to a bound origin, ends it in the guard.
    async fn connect(
        self: Arc<Self>,
        place: Place,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Response<Body>> {
        if let Some(origin) = self.bound(&place).await? {
            match self.acceptor(&place.host).await {
                Ok(Some(acceptor)) => {
                    tokio::spawn(async move {
                        if let Ok(stream) = upgrade::on(request).await
                            && let Ok(stream) = acceptor.accept(TokioIo::new(stream)).await
                        {
                            self.serve_bound(place, origin, stream).await;
                        }
                    });
                    return Ok(Response::new(empty()));
                }
                Ok(None) => tracing::warn!(
                    %origin,
                    "the guard's certificate does not cover this origin, so decoys stay as they are there; `countersign guard \
                     ca --new` makes one that does, which the browser has to be told"
                ),
                Err(cause) => return Err(bad_gateway(&cause.to_string())),
            }
        }
        // A page that is loaded from this machine may open a WebSocket without TLS by a tunnel.
        let plain = Place { secure: false, ..place.clone() };
        if let Some(origin) = self.bound(&plain).await? {
            tokio::spawn(async move {
                if let Ok(stream) = upgrade::on(request).await {
                    self.serve_bound(plain, origin, TokioIo::new(stream)).await;
                }
            });
            return Ok(Response::new(empty()));
        }
        let mut far = place.reach().await.map_err(|cause| bad_gateway(&cause.to_string()))?;
        tokio::spawn(async move {
            if let Ok(stream) = upgrade::on(request).await {
                let _ = copy_bidirectional(&mut TokioIo::new(stream), &mut far).await;
            }
        });
        Ok(Response::new(empty()))
    }

    /// The TLS acceptor with a certificate for a host. `None`: there is no authority, or it may not sign for the host.
    async fn acceptor(&self, host: &str) -> Result<Option<TlsAcceptor>, GuardError> {
        let Some(authority) = self.exchange.perform(ReadAuthority).await? else { return Ok(None) };
        let authority = Authority::from_bytes(&authority)?;
        if !authority.covers(host) {
            return Ok(None);
        }
        let identity = authority.identity(host, self.exchange.service.now())?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(identity.chain, identity.key))
            .map_err(|cause| GuardError::Certificates(cause.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(TlsAcceptor::from(Arc::new(config))))
    }

    /// Serves the requests in a tunnel to a bound origin.
    async fn serve_bound<S>(self: Arc<Self>, place: Place, origin: Origin, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let route = Arc::new(Route { upstream: Upstream::new(place, self.tls.clone()), origin: Some(origin) });
        let service = service_fn(|request| {
            let (proxy, route) = (Arc::clone(&self), Arc::clone(&route));
            async move { proxy.forward(&route, request).await }
        });
        let _ = server().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    }

    /// Sends a request on, and its answer back.
    async fn forward(&self, route: &Route, mut request: Request<Incoming>) -> Result<Response<Body>, OriginEnded> {
        let is_socket = has(request.headers(), &header::UPGRADE, "websocket");
        let browser = is_socket.then(|| upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        parts.uri = path_of(&parts.uri);
        parts.version = Version::HTTP_11;
        own_words(&mut parts.headers, is_socket);
        // A request names its site a second time, in `Host`, and a server of several sites goes by that name. The code
        // must not go to another site there.
        if let Ok(host) = HeaderValue::try_from(route.upstream.place.authority()) {
            parts.headers.insert(header::HOST, host);
        }
        let trouble = Trouble::default();
        let body = if let Some(origin) = &route.origin {
            // Without the header any encoding would be welcome (RFC 9110, section 12.5.3).
            parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
            parts.headers.remove(header::SEC_WEBSOCKET_EXTENSIONS);
            replaced(body, self.out(origin), Arc::clone(&trouble))
        } else {
            untouched(body)
        };
        let answer = match route.upstream.send(Request::from_parts(parts, body)).await {
            Ok(answer) => answer,
            Err(Unanswered { cause, reused }) => {
                return match trouble.get() {
                    Some(refusal) => Ok(bad_gateway(refusal)),
                    None if reused => Err(OriginEnded),
                    None => Ok(bad_gateway(&chain(cause.as_ref()))),
                };
            }
        };
        Ok(self.back(route, browser, answer).await)
    }

    /// The answer as the browser gets it. Encoded bodies are looked into as well: a body may be plain whatever its
    /// header says, and an encoded one does not hold, by chance, digits that stand alone and are a code.
    async fn back(
        &self,
        route: &Route,
        browser: Option<upgrade::OnUpgrade>,
        mut answer: Response<Incoming>,
    ) -> Response<Body> {
        // The reason phrase of the status could hold a code. HTTP/2 does not even have one.
        answer.extensions_mut().remove::<ReasonPhrase>();
        let mut back = route.origin.as_ref().map(|origin| Replacing::back(Arc::clone(&self.exchange), origin.clone()));
        if let Some(back) = &mut back {
            back.in_fields(answer.headers_mut()).await;
        }
        if let Some(browser) = browser
            && answer.status() == StatusCode::SWITCHING_PROTOCOLS
        {
            let far = upgrade::on(&mut answer);
            self.join(route, browser, far);
            return answer.map(|_| empty());
        }
        answer.map(|body| match back {
            Some(back) => replaced(body, back, Trouble::default()),
            None => untouched(body),
        })
    }

    /// Carries a WebSocket once both sides have agreed to it.
    fn join(&self, route: &Route, browser: upgrade::OnUpgrade, far: upgrade::OnUpgrade) {
        let back = |origin: &Origin| Replacing::back(Arc::clone(&self.exchange), origin.clone());
        let replacing = route.origin.as_ref().map(|origin| (self.out(origin), back(origin)));
        tokio::spawn(async move {
            let (Ok(browser), Ok(far)) = tokio::join!(browser, far) else { return };
            let (mut browser, mut far) = (TokioIo::new(browser), TokioIo::new(far));
            match replacing {
                Some((out, back)) => relay(browser, far, out, back).await,
                None => drop(copy_bidirectional(&mut browser, &mut far).await),
            }
        });
    }

    fn out(&self, origin: &Origin) -> Replacing {
        Replacing::out(Arc::clone(&self.exchange), origin.clone())
    }
}

/// The HTTP server for a browser's connection.
fn server() -> http1::Builder {
    let mut server = http1::Builder::new();
    server.preserve_header_case(true).auto_date_header(false).timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    server
}

/// The origin of a place. `None`: no secret can have it.
fn origin_of(place: &Place) -> Option<Origin> {
    let scheme = if place.secure { "https" } else { "http" };
    format!("{scheme}://{}", place.authority()).parse().ok()
}

/// The path and query of an address, as a request to an origin names them.
fn path_of(uri: &Uri) -> Uri {
    Uri::from(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
}

/// Removes the headers that are meant for the proxy alone, and an upgrade that the guard does not know.
fn own_words(headers: &mut HeaderMap, is_socket: bool) {
    headers.remove(HeaderName::from_static("proxy-connection"));
    headers.remove(header::PROXY_AUTHORIZATION);
    if !is_socket && headers.remove(header::UPGRADE).is_some() {
        headers.remove(header::CONNECTION);
    }
}

fn has(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.eq_ignore_ascii_case(word))
}

fn problem(status: StatusCode, words: &str) -> Response<Body> {
    let mut answer = Response::new(text(format!("countersign guard: {words}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn bad_gateway(words: &str) -> Response<Body> {
    problem(StatusCode::BAD_GATEWAY, words)
}

/// An error and its causes, on one line.
fn chain(cause: &(dyn std::error::Error + 'static)) -> String {
    let all: Vec<String> =
        std::iter::successors(Some(cause), |cause| cause.source()).map(ToString::to_string).collect();
    all.join(": ")
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        time::Instant,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_no_head_arrives_is_ended() {
        for sent in [&b""[..], b"GET / HTTP/1.1\r\nHost: a", b"GET / HTTP/1.1\r\n\r\n"] {
            let (mut browser, stream) = tokio::io::duplex(1024);
            let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(empty())));
            let begun = Instant::now();
            let served = tokio::spawn(server().serve_connection(TokioIo::new(stream), service));
            browser.write_all(sent).await.unwrap();
            browser.read_to_end(&mut Vec::new()).await.unwrap();
            let _ = served.await.unwrap();
            let took = begun.elapsed();
            assert!((HEAD_WITHIN..HEAD_WITHIN * 2).contains(&took), "{took:?}");
        }
    }
}
