//! Connections to origins, over TLS or plain.

use std::sync::Arc;

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Mutex,
};
use tokio_rustls::TlsConnector;

use super::{
    authority::bare,
    body::{Body, BoxError},
    outcomes::GuardError,
};

/// The host and port that requests go to, with TLS or without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// A name or an address, in brackets if it is an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) secure: bool,
}

/// A connection to a place, made when it is needed, and again when it has ended.
pub(super) struct Upstream {
    pub(super) place: Place,
    tls: TlsConnector,
    sender: Mutex<Option<SendRequest<Body>>>,
}

/// A request was not answered.
pub(super) struct Unanswered {
    pub(super) cause: BoxError,
    /// Whether the connection had carried another request before: it may have ended at the wrong moment, and the browser may
    /// try again.
    pub(super) reused: bool,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A TLS client that trusts the system's certificates and those in the files `more`.
pub(super) fn connector(more: &[std::path::PathBuf]) -> Result<TlsConnector, GuardError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for file in more {
        let wrong = || GuardError::Roots(file.clone());
        for certificate in CertificateDer::pem_file_iter(file).map_err(|_| wrong())? {
            roots.add(certificate.map_err(|_| wrong())?).map_err(|_| wrong())?;
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| GuardError::Certificates(cause.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl Place {
    /// The place as a request names it, without the default port of its scheme.
    pub(super) fn authority(&self) -> String {
        let implied = if self.secure { 443 } else { 80 };
        if self.port == implied { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Connects without TLS.
    pub(super) async fn reach(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect((bare(&self.host), self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Upstream {
    pub(super) fn new(place: Place, tls: TlsConnector) -> Self {
        Self { place, tls, sender: Mutex::new(None) }
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, Unanswered> {
        let mut kept = self.sender.lock().await;
        if let Some(mut sender) = kept.take()
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(request).await {
                Ok(answer) => {
                    *kept = Some(sender);
                    Ok(answer)
                }
                Err(mut failed) => match failed.take_message() {
                    // No part of the request was sent.
                    Some(request) => self.send_anew(&mut kept, request).await,
                    None => Err(Unanswered { cause: failed.into_error().into(), reused: true }),
                },
            }
        } else {
            self.send_anew(&mut kept, request).await
        }
    }

    async fn send_anew(
        &self,
        kept: &mut Option<SendRequest<Body>>,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let unanswered = |cause| Unanswered { cause, reused: false };
        let mut sender = self.connect().await.map_err(unanswered)?;
        let answer = sender.send_request(request).await.map_err(|cause| unanswered(cause.into()))?;
        *kept = Some(sender);
        Ok(answer)
    }

    async fn connect(&self) -> Result<SendRequest<Body>, BoxError> {
        let stream = self.place.reach().await?;
        let stream: Box<dyn Stream> = if self.place.secure {
            let name = ServerName::try_from(bare(&self.place.host).to_owned())?;
            Box::new(self.tls.connect(name, stream).await?)
        } else {
            Box::new(stream)
        };
        let (sender, connection) =
            http1::Builder::new().preserve_header_case(true).handshake(TokioIo::new(stream)).await?;
        // The task ends when the sender is dropped, and an error reaches the sender.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Ok(sender)
    }
}
