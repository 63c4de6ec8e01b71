//! Connects to the primary: each host in turn, with a time limit around everything.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::time::timeout;
use tokio_postgres::NoTls;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    address::{Address, Node, Tls},
    link::{Link, Place},
    reasons,
};

/// The longest time to connect to one host, with encryption and password.
const REACH: Duration = Duration::from_secs(3);

/// Makes connections to the primary of a server.
#[derive(Debug)]
pub(super) struct Connector {
    address: Address,
    /// The host that is tried first: the last good one, or the one after a host that did not answer.
    first: AtomicUsize,
    /// The number of times that links broke or fell silent. Links that were made before the last time are not used any
    /// more.
    generation: Arc<AtomicUsize>,
}

impl Connector {
    pub(super) fn new(address: Address) -> Self {
        Self { address, first: AtomicUsize::new(0), generation: Arc::default() }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// Connects to the first host that is the primary. The error gives the reason for each host.
    pub(super) async fn connect(&self) -> Result<Link, String> {
        let nodes = &self.address.nodes;
        let first = self.first.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        for nth in 0..nodes.len() {
            let number = (first + nth) % nodes.len();
            let Some(node) = nodes.get(number) else { continue };
            // The caller may stop waiting before a host that hangs is given up: the next attempt must not begin with that host.
            self.first.store(number + 1, Ordering::Relaxed);
            let reached = timeout(REACH, self.reach(number, node)).await;
            match reached.unwrap_or_else(|_| Err("it did not answer in time".to_owned())) {
                Ok(link) => {
                    self.first.store(number, Ordering::Relaxed);
                    return Ok(link);
                }
                Err(why) => reasons.push(format!("{}: {why}", node.name)),
            }
        }
        Err(reasons.join("; "))
    }

    /// Makes new connections try another host before the one of a broken link, which may accept connections and not
    /// answer. The other links are replaced too; otherwise each would have to time out by itself. If another link's
    /// failure has done this already, nothing changes.
    pub(super) fn turn_away(&self, link: &Link) {
        link.end_generation();
        let _ = self.first.compare_exchange(link.host, link.host + 1, Ordering::Relaxed, Ordering::Relaxed);
    }

    async fn reach(&self, number: usize, node: &Node) -> Result<Link, String> {
        let config = self.address.config(node)?;
        let place = Place::of(number, self.address.prepares, &self.generation);
        match &node.tls {
            Tls::Off => {
                let (client, connection) =
                    config.connect(NoTls).await.map_err(|cause| reasons::of_connecting(&cause, node))?;
                Ok(Link::new(client, connection, place))
            }
            Tls::Verified(roots) => {
                let tls = MakeRustlsConnect::new(verified(roots.as_deref())?);
                let (client, connection) =
                    config.connect(tls).await.map_err(|cause| reasons::of_connecting(&cause, node))?;
                Ok(Link::new(client, connection, place))
            }
        }
    }
}

/// TLS by these roots, or those that the system trusts.
fn verified(roots: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| "TLS can't be set up".to_owned())?;
    let mut store = RootCertStore::empty();
    if let Some(file) = roots {
        let unread = "the file of `sslrootcert` can't be read as PEM certificates";
        for certificate in CertificateDer::pem_file_iter(file).map_err(|_| unread)? {
            store.add(certificate.map_err(|_| unread)?).map_err(|_| unread)?;
        }
    } else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if store.is_empty() {
        return Err("there is no certificate to trust; name a PEM file with `sslrootcert`".to_owned());
    }
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_attempt_that_is_given_up_at_a_host_that_hangs_is_followed_by_one_at_the_next_host() {
        let [hung, other] =
            [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
        let [first, second] = [&hung, &other].map(|host| host.local_addr().unwrap().port());
        let address = format!("postgres://app@127.0.0.1:{first},127.0.0.1:{second}/vault");
        let connector = Connector::new(Address::read(&address).unwrap());
        tokio::select! {
            _ = connector.connect() => unreachable!("nobody answers"),
            accepted = hung.accept() => drop(accepted.unwrap().0),
            _ = other.accept() => unreachable!("the first host is tried first"),
        }

        tokio::select! {
            biased;
            accepted = other.accept() => drop(accepted.unwrap().0),
            _ = hung.accept() => unreachable!("the host that hangs is tried first again"),
            _ = connector.connect() => unreachable!("nobody answers"),
        }
    }
}
