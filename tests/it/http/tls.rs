//! TLS: the server uses the certificate in the file, and the next one as soon as the file changes.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use countersign::transport::http::TlsFiles;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::CertificateDer};

use super::kit::{Server, settings, written};

/// Writes a new certificate and key, dated `age` ago, and returns the certificate.
fn renew(folder: &Path, age: Duration) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    put(&folder.join("cert.pem"), &made.cert.pem(), age);
    put(&folder.join("key.pem"), &made.signing_key.serialize_pem(), age);
    made.cert.der().clone()
}

fn put(path: &Path, text: &str, age: Duration) {
    std::fs::write(path, text).unwrap();
    let file = std::fs::File::options().append(true).open(path).unwrap();
    #[expect(clippy::disallowed_methods, reason = "files bear the machine's time")]
    let now = SystemTime::now();
    file.set_modified(now - age).unwrap();
}

/// Requests a path, trusting only one certificate.
fn ask(server: &Server, trusted: &CertificateDer<'static>, path: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(server.address).unwrap());
    stream.write_all(written("GET", path, &[("connection", "close")], None).as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8(answer).unwrap())
}

#[test]
fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let first = renew(folder.path(), Duration::from_mins(3));
    let mut settings = settings();
    settings.listen = "0.0.0.0:0".parse().unwrap();
    settings.tls = Some(TlsFiles { certificates: folder.path().join("cert.pem"), key: folder.path().join("key.pem") });
    let server = Server::with(settings);

    let answer = ask(&server, &first, "/healthz").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("strict-transport-security: max-age=63072000\r\n"));

    let second = renew(folder.path(), Duration::from_mins(2));
    crate::kit::until(|| ask(&server, &second, "/healthz").is_ok());
    assert!(ask(&server, &first, "/healthz").is_err());

    put(&folder.path().join("cert.pem"), "no certificate", Duration::from_mins(1));
    // The files are checked at most once a second: after this time, the broken one was read.
    let seen = std::time::Instant::now();
    while seen.elapsed() < Duration::from_millis(1_200) {
        assert!(ask(&server, &second, "/healthz").is_ok());
    }
    let plain = server.raw_until_closed(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(!plain.starts_with(b"HTTP/"), "nothing is said in clear");
}

#[test]
fn a_certificate_that_does_not_work_stops_the_start_with_its_name() {
    use countersign::transport::http::ServeError;
    let folder = tempfile::tempdir().unwrap();
    renew(folder.path(), Duration::ZERO);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let refused = |cert: &str, key: &str| {
        let mut settings = settings();
        settings.tls = Some(TlsFiles { certificates: folder.path().join(cert), key: folder.path().join(key) });
        let error = Server::refused(&settings);
        assert!(matches!(error, ServeError::Tls(_)), "{error:?}");
        error.to_string()
    };

    assert!(refused("missing.pem", "key.pem").contains("missing.pem"));
    assert!(refused("cert.pem", "missing.pem").contains("missing.pem"));
    assert!(refused("key.pem", "key.pem").contains("key.pem"));
    put(&folder.path().join("other.pem"), &made.signing_key.serialize_pem(), Duration::ZERO);
    let other = refused("cert.pem", "other.pem");
    assert!(other.contains("together") && !other.contains("PRIVATE"), "{other}");
}

#[cfg(unix)]
#[test]
fn a_certificate_file_that_became_a_pipe_keeps_no_handshake_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let first = renew(folder.path(), Duration::from_mins(3));
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let mut settings = settings();
    settings.tls = Some(TlsFiles { certificates: cert.clone(), key: key.clone() });
    let server = Server::with(settings);
    assert!(ask(&server, &first, "/healthz").is_ok());

    for file in [&cert, &key] {
        std::fs::remove_file(file).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, file, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    // The files are checked at most once a second: after this time, the pipes were found.
    let seen = std::time::Instant::now();
    while seen.elapsed() < Duration::from_millis(2_500) {
        let asked = std::time::Instant::now();
        assert!(ask(&server, &first, "/healthz").is_ok());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
    let second = {
        std::fs::remove_file(&cert).unwrap();
        std::fs::remove_file(&key).unwrap();
        renew(folder.path(), Duration::from_mins(1))
    };
    crate::kit::until(|| ask(&server, &second, "/healthz").is_ok());
    let mut settings = super::kit::settings();
    let pipe = folder.path().join("pipe.pem");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    settings.tls = Some(TlsFiles { certificates: pipe, key });
    assert!(Server::refused(&settings).to_string().contains("regular file"));
}
