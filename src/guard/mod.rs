//! The proxy of an agent's browser. It ends TLS for the origins of secrets, replaces decoys by codes in the data that
//! the browser sends there, and codes by decoys in the data that comes back. Everything else passes unchanged.
//!
//! ```text
//! proxy       requests: which are looked into, and their answers
//! upstream    connections to origins
//! body        bodies of any length, piece by piece; `window` finds digits that stand alone in them, and `json` those
//!             that are a number
//! sockets     frames of WebSockets
//! exchange    which code takes a decoy's place
//! authority   certificates for bound hosts
//! ```
//!
//! Never here: a decision who gets a code, or a log line with a path, a header or a body.

mod authority;
mod body;
mod exchange;
mod json;
mod outcomes;
mod proxy;
mod sockets;
mod upstream;
mod window;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{net::TcpListener, task::JoinSet};

pub use self::outcomes::{Certificate, GuardError};
use self::{authority::Authority, exchange::Exchange, proxy::Proxy};
use crate::{
    domain::{origin::Origin, principal::Principal},
    operations::{GuardedOrigins, KeepAuthority, ReadAuthority, Service},
};

/// The pause after the system had no connection to give.
const PAUSE: Duration = Duration::from_millis(100);

/// A guard that listens.
pub struct Guard {
    listener: TcpListener,
    address: SocketAddr,
    proxy: Arc<Proxy>,
}

impl Guard {
    /// Listens for browsers.
    ///
    /// # Errors
    /// [`GuardError`].
    pub async fn listen(
        service: Service,
        caller: Principal,
        address: SocketAddr,
        roots: &[PathBuf],
    ) -> Result<Self, GuardError> {
        if !address.ip().is_loopback() {
            return Err(GuardError::NotLoopback);
        }
        let tls = upstream::connector(roots)?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let exchange = Arc::new(Exchange::new(service, caller));
        Ok(Self { listener, address, proxy: Arc::new(Proxy { exchange, tls }) })
    }

    /// Whether there is a certificate for browsers to trust. Without one, no traffic over TLS is looked into.
    ///
    /// # Errors
    /// [`GuardError`].
    pub async fn has_certificate(&self) -> Result<bool, GuardError> {
        Ok(self.proxy.exchange.perform(ReadAuthority).await?.is_some())
    }

    /// The address that the guard listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves browsers until `end` is ready.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::pin!(end);
        loop {
            tokio::select! {
                biased;
                () = &mut end => return self.proxy.exchange.service.stop_waiting().await,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(Arc::clone(&self.proxy).serve(stream))),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        }
    }
}

/// The certificate of the account's authority, which is made if there is none yet, or if a new one is wanted.
///
/// # Errors
/// [`GuardError`].
pub async fn certificate(service: &Service, caller: &Principal, new: bool) -> Result<Certificate, GuardError> {
    let kept = if new { None } else { service.perform(caller, ReadAuthority).await? };
    if let Some(kept) = kept {
        return Authority::from_bytes(&kept)?.certificate();
    }
    let origins = service.perform(caller, GuardedOrigins).await?;
    let secure: Vec<_> = origins.into_iter().map(|(origin, _)| origin).filter(Origin::is_secure).collect();
    let authority = Authority::make(&secure, service.now())?;
    service.perform(caller, KeepAuthority { authority: authority.to_bytes() }).await?;
    authority.certificate()
}
