//! HTTP: Streamable HTTP and SSE for MCP, and the REST mirror.
//!
//! A request passes `listener` (connections, TLS, deadlines), `guard` (is it meant for this server), the table in
//! `routes`, and `auth` (authentication), all called from `door`; `rest`, `mcp` and `sse` turn it into a call of the
//! service.
//!
//! Every caller has a checked credential, no key appears in a URL or a log line, and every answer has the protective
//! headers.

mod answer;
mod auth;
mod body;
mod call;
mod door;
mod enrol;
mod enrolment_requests;
mod guard;
mod head;
mod health;
mod hooks;
mod letters;
mod listener;
mod listing;
mod mcp;
mod metrics;
mod oauth;
mod openapi;
mod opening;
mod peers;
mod places;
mod query;
mod rest;
mod routes;
mod sessions;
mod settings;
mod shared_sessions;
mod shell;
mod sse;
mod stream;
mod streams;
mod timeless;
mod tls;

use std::{fmt, io, net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Notify,
};
use tokio_util::sync::CancellationToken;

pub use enrol::LocalPage;
pub use settings::{
    BaseUrl, ClientSecret, HookSettings, HttpSettings, Limits, NotABaseUrl, OAuthClient, OAuthSettings, Origin,
    TlsFiles,
};
pub use tls::TlsError;

use crate::{
    operations::Service,
    transport::mcp::{McpServer, Reveal},
};

/// Why a server did not start. Nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The connection would be unencrypted and readable by others.
    #[error(
        "{0} is not a loopback address, and keys and codes would cross the network in clear. Give --tls-cert and \
         --tls-key, or --behind-proxy if a proxy in front ends TLS, or listen on 127.0.0.1"
    )]
    InClear(SocketAddr),
    /// The certificate or key can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The socket that was handed over can't be used.
    #[error("the socket that systemd hands over can't be used: {0}")]
    Handed(io::Error),
    /// The server can't listen on the address.
    #[error("can't listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
}

/// Connections that wait to be accepted. With fewer, clients that connect and close by the thousand delay every other
/// client's next connection by a second.
const BACKLOG: u32 = 4096;

/// The address on which a server will listen: it is bound, and its certificate is loaded. A server takes it before it
/// opens its vault, so that a server that can't serve creates no vault.
pub struct Place {
    socket: TcpListener,
    tls: Option<tls::Tls>,
}

/// Signals to a running server.
#[derive(Debug, Clone, Default)]
pub struct Orders {
    /// Cancelled when the server must stop.
    pub stop: CancellationToken,
    /// Notified when the server must read its certificate again, and fetch its identity provider's keys.
    pub reload: Arc<Notify>,
}

/// The address on which a server listens. Displayed as `listening on http://127.0.0.1:8787`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// The address, with the assigned port.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Listening {
    /// The scheme of its URLs.
    pub const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listening on {}://{}", self.scheme(), self.address)
    }
}

/// Serves until stopped, then finishes running requests. Callers that wait for a code get an error at once: another
/// server, or this one after its restart, gives them a code no later.
///
/// `announce` is called once connections are accepted.
///
/// # Errors
/// [`ServeError`], before anything was served.
pub async fn serve(
    service: Service,
    mut settings: HttpSettings,
    place: Place,
    orders: Orders,
    announce: impl FnOnce(Listening),
) -> Result<(), ServeError> {
    let (Place { socket, tls }, Orders { stop, reload }) = (place, orders);
    let address = socket.local_addr().map_err(|source| ServeError::Bind { address: settings.listen, source })?;
    // A socket that was handed over decides where it listens.
    settings.listen = address;
    let is_tls = tls.is_some();
    let server = McpServer::for_requests(service.clone(), Reveal::Once);
    if let Some(rate) = settings.rate_per_secret {
        service.limit_uses(rate);
    }
    if !timeless::has_date() {
        tracing::error!("{}", crate::operations::Refusal::Clock);
    }
    let page = Arc::new(enrol::ServerPage::of(&settings, Listening { address, tls: is_tls }));
    service.offer_enrolments(page.clone());
    let app = Arc::new(door::App::new(service, &server, &settings, page));
    let winding_down = tokio::spawn(wind_down(Arc::clone(&app), stop.clone()));
    let reloading = tokio::spawn(reload_when_told(reload, tls.clone(), Arc::clone(&app)));
    let tidying = tokio::spawn({
        let (app, stop) = (Arc::clone(&app), stop.child_token());
        async move {
            let keep_tidy = app.mcp.keep_tidy(app.limits, stop.clone());
            let follow = shared_sessions::follow_other_nodes(&app, stop.clone());
            tokio::join!(keep_tidy, follow, letters::deliver_letters(&app, stop.clone()), app.end_revoked(stop))
        }
    });
    let listener = listener::Listener {
        service: app.service.clone(),
        router: door::router(Arc::clone(&app), routes::all(settings.sse)),
        tls,
        peers: Arc::clone(&app.peers),
        limits: settings.limits,
        behind_proxy: settings.behind_proxy,
        stop,
    };
    announce(Listening { address, tls: is_tls });
    listener.run(socket).await;
    // Calls that were dropped may still give back their steps.
    app.service.stop_waiting().await;
    tidying.abort();
    reloading.abort();
    winding_down.abort();
    Ok(())
}

impl Place {
    /// Loads the certificate, if one is configured, and listens. Connections wait until [`serve`] answers them.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn take(settings: &HttpSettings) -> Result<Self, ServeError> {
        let handed = handed_socket()?;
        let address = match &handed {
            Some(socket) => socket.local_addr().map_err(ServeError::Handed)?,
            None => settings.listen,
        };
        if !address.ip().is_loopback() && settings.tls.is_none() && !settings.behind_proxy {
            return Err(ServeError::InClear(address));
        }
        let tls = settings.tls.clone().map(tls::Tls::load).transpose()?;
        let socket = match handed {
            Some(socket) => TcpListener::from_std(socket).map_err(ServeError::Handed)?,
            None => bound(address).map_err(|source| ServeError::Bind { address, source })?,
        };
        Ok(Self { socket, tls })
    }
}

/// The socket that systemd has passed to this process, if systemd starts it on the first connection.
fn handed_socket() -> Result<Option<std::net::TcpListener>, ServeError> {
    let mut handed = listenfd::ListenFd::from_env();
    if handed.len() > 1 {
        let problem = "there is more than one; name one socket in the unit";
        return Err(ServeError::Handed(io::Error::new(io::ErrorKind::InvalidInput, problem)));
    }
    if handed.len() == 0 {
        return Ok(None);
    }
    let socket = handed.take_tcp_listener(0).map_err(ServeError::Handed)?;
    socket.iter().try_for_each(|socket| socket.set_nonblocking(true)).map_err(ServeError::Handed)?;
    Ok(socket)
}

/// A listening socket.
fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As the standard library does: on other systems it would let two programs listen on one port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // Only a listening socket keeps other programs from the address.
    socket.listen(BACKLOG)
}

async fn reload_when_told(reload: Arc<Notify>, tls: Option<tls::Tls>, app: Arc<door::App>) {
    loop {
        reload.notified().await;
        tls.iter().for_each(tls::Tls::read_again);
        app.auth.oauth().into_iter().for_each(oauth::OAuth::ask_again);
    }
}

/// Ends the calls and streams that would not end by themselves: first the waiting calls, which get an error, then the
/// streams, once they have delivered it.
async fn wind_down(app: Arc<door::App>, stop: CancellationToken) {
    stop.cancelled().await;
    app.service.stop_waiting().await;
    app.sse.end();
    app.mcp.end(app.limits).await;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{net::TcpStream, time::Duration};

    use super::*;

    #[tokio::test]
    async fn many_connections_wait_to_be_accepted_without_a_delay() {
        let socket = bound("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let waiting: Vec<_> =
            (0..500).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(900))).collect();
        assert!(waiting.iter().all(Result::is_ok));
    }
}
