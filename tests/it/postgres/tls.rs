//! TLS to the test's own server: a valid setup is used, and a wrong one is refused with the remedy.

use std::{fs, net::Ipv4Addr, sync::Arc};

use countersign::vault::Writes;
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{carry_out, own::Own};
use crate::{
    cli::{Person, files_in},
    store::runtime,
};

/// The client's message before TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// A certificate authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: Certificate,
}

impl Authority {
    fn new() -> Self {
        let (mut params, key) = (CertificateParams::new([]).unwrap(), KeyPair::generate().unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        Self { issuer: Issuer::new(params, key), root }
    }

    /// A certificate and its key.
    fn sign(&self, names: &[&str], has_expired: bool) -> (Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (mut params, key) = (CertificateParams::new(names).unwrap(), KeyPair::generate().unwrap());
        if has_expired {
            (params.not_before, params.not_after) =
                (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
        }
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// Installs a certificate on a server.
fn certify(own: &Own, (certificate, key): &(Certificate, KeyPair)) {
    fs::write(own.data().join("server.crt"), certificate.pem()).unwrap();
    let file = own.data().join("server.key");
    fs::write(&file, key.serialize_pem()).unwrap();
    crate::sqlite::set_mode(&file, 0o600);
    own.again("ssl = on");
}

/// A server that accepts one role, only with its password and over TLS, and that role's empty database.
fn server() -> Own {
    let own = Own::start("hostssl all ada 127.0.0.1/32 scram-sha-256");
    for sql in ["CREATE ROLE ada LOGIN PASSWORD 'open sesame'", "CREATE DATABASE vault OWNER ada"] {
        carry_out(&own.inside("postgres"), sql);
    }
    own
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn tls_is_verified_and_what_is_wrong_with_it_is_said_with_what_to_do() {
    let (own, person) = (server(), Person::new());
    let (ours, other) = (Authority::new(), Authority::new());
    let [root, foreign] = [("root.pem", &ours), ("foreign.pem", &other)]
        .map(|(name, authority)| person.file(name, &authority.root.pem()).to_str().unwrap().to_owned());
    let (absent, empty) = (person.home().join("absent.pem"), person.file("empty.pem", ""));
    person.private("pgpass", "*:*:vault:ada:open sesame\n");
    person.private("wrong", "*:*:vault:ada:open barley\n");
    let near = |query: &str| {
        let file = person.home().join("pgpass");
        format!("postgres://ada@127.0.0.1:{}/vault?passfile={}{query}", own.port, file.display())
    };
    let verified = near(&format!("&sslmode=verify-full&sslrootcert={root}"));
    let refused = |url: &str, reason: &str, remedy: &str| {
        let before = files_in(person.home());
        let told = person.at(url, &["vault", "create"]).refused(78);
        assert!(told.contains(reason) && told.contains(remedy), "{reason}: {told}");
        assert!(!told.contains("sesame") && !told.contains("barley"), "{told}");
        assert_eq!(files_in(person.home()), before, "{reason}");
    };

    refused(&verified, "does not support TLS", "`ssl = on`");

    certify(&own, &ours.sign(&["db.example"], false));
    refused(&verified, "for another name", "name the host as its certificate does");
    certify(&own, &ours.sign(&NAMES, true));
    refused(&verified, "has expired", "renew it");

    certify(&own, &ours.sign(&NAMES, false));
    let unknown = "an authority that is not trusted here";
    refused(&near("&sslmode=verify-full"), unknown, "`sslrootcert`");
    refused(&near("&sslmode=require"), unknown, "`sslrootcert`");
    refused(&near(&format!("&sslrootcert={foreign}")), unknown, "`sslrootcert`");
    refused(&near(&format!("&sslrootcert={}", absent.display())), "can't be read", "`sslrootcert`");
    refused(&near(&format!("&sslrootcert={}", empty.display())), "no certificate to trust", "`sslrootcert`");
    for unverified in ["verify-ca", "prefer", "allow"] {
        refused(&near(&format!("&sslmode={unverified}")), "`sslmode` can be `verify-full`", "`require`");
    }
    refused(&near("&sslmode=disable"), "without TLS", "leave `sslmode=disable` out");
    refused(&verified.replace("/pgpass", "/wrong"), "the user or the password", "`passfile`");
    carry_out(
        &own.inside("vault"),
        "DO $$ BEGIN ASSERT (SELECT count(*) FROM pg_tables WHERE schemaname = 'public') = 0; END $$",
    );

    person.at(&verified, &["vault", "create"]).ok();
    // An address that names a root requires TLS, also on this machine.
    let by_root = near(&format!("&sslrootcert={root}"));
    for url in
        [&verified, &verified.replace("verify-full", "require"), &by_root, &by_root.replace("127.0.0.1", "localhost")]
    {
        assert!(person.at(url, &["vault", "doctor"]).ok().contains("server: tls: verified TLS"), "{url}");
    }
}

/// A relay that terminates TLS with a certificate that the client trusts, and connects to the server over TLS.
async fn relay(port: u16, certificate: &(Certificate, KeyPair), root: &CertificateDer<'static>) -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(certificate.1.serialize_der()).unwrap();
    let accepts =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let accepts = accepts.with_no_client_auth().with_single_cert(vec![certificate.0.der().clone()], key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let asks = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let asks = TlsConnector::from(Arc::new(asks.with_root_certificates(roots).with_no_client_auth()));
    let accepts = TlsAcceptor::from(Arc::new(accepts));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let here = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        client.read_exact(&mut [0; 8]).await.unwrap();
        client.write_all(b"S").await.unwrap();
        server.write_all(&SSL_REQUEST).await.unwrap();
        server.read_exact(&mut [0]).await.unwrap();
        let mut client = accepts.accept(client).await.unwrap();
        let mut server = asks.connect("localhost".try_into().unwrap(), server).await.unwrap();
        let _ = copy_bidirectional(&mut client, &mut server).await;
    });
    here
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_password_is_bound_to_the_servers_own_certificate() {
    let (own, person, authority) = (server(), Person::new(), Authority::new());
    certify(&own, &authority.sign(&NAMES, false));
    let root = person.file("root.pem", &authority.root.pem());
    person.private("pgpass", "*:*:vault:ada:open sesame\n");
    let at = |port: u16| {
        let (file, root) = (person.home().join("pgpass"), root.display());
        format!("postgres://ada@127.0.0.1:{port}/vault?sslrootcert={root}&passfile={}", file.display())
    };
    person.at(&at(own.port), &["vault", "create"]).ok();

    let told = runtime(Writes::Thread).block_on(async {
        let here = relay(own.port, &authority.sign(&NAMES, false), authority.root.der()).await;
        let (url, person) = (at(here), &person);
        tokio::task::block_in_place(|| person.at(&url, &["secret", "list"]).refused(78))
    });
    assert!(told.contains("does not let this user in") && told.contains("nothing on the way ends TLS"), "{told}");
}
