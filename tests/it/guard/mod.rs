//! The guard from outside: the real program between a client that trusts its certificate and a site with another
//! certificate.

mod decoys;
mod site;

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use serde_json::Value;

use self::site::{Site, body_of, head_of, message_of};
use crate::{
    cli::Person,
    kit::{RFC_SEED, until},
};

const MASK: [u8; 4] = [9, 8, 7, 6];

/// The guard of a person whose secret is bound to a site.
struct Guarded {
    person: Person,
    site: Site,
    child: Child,
    address: String,
    /// The log after the guard's address.
    log: Arc<Mutex<String>>,
    /// The authority that the client trusts.
    authority: CertificateDer<'static>,
}

type Client = BufReader<StreamOwned<ClientConnection, TcpStream>>;

impl Guarded {
    fn start() -> Self {
        Self::start_with(RFC_SEED)
    }

    fn start_with(seed: &str) -> Self {
        let (person, site) = (Person::new(), Site::start());
        let add = ["secret", "add", "--label", "alice", "--stdin", "--fill-only", "--period", "3600", "--origin"];
        person.fed(seed, &[&add[..], &[&site.origin()]].concat()).ok();
        let shown: Value = serde_json::from_str(&person.run(&["guard", "ca", "--json"]).ok()).unwrap();
        let authority = CertificateDer::from_pem_slice(shown["certificate"].as_str().unwrap().as_bytes()).unwrap();
        let pem = BASE64.encode(&site.certificate);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
        let roots = person.file("site.pem", &pem);
        let mut command = person.command(&["guard", "--listen", "127.0.0.1:0", "--ca", roots.to_str().unwrap()]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        told.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("guarding on http://").unwrap().to_owned();
        let log = Arc::new(Mutex::new(String::new()));
        let noted = Arc::clone(&log);
        thread::spawn(move || {
            for line in told.lines().map_while(Result::ok) {
                *noted.lock().unwrap() += &line;
            }
        });
        Self { person, site, child, address, log, authority }
    }

    /// A decoy, which is valid for some time.
    fn decoy(&self) -> String {
        self.person.run(&["code", "alice", "--decoy"]).ok().trim().to_owned()
    }

    /// A tunnel to a port of this machine.
    fn tunnel(&self, port: u16) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        write!(stream, "CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend_from_slice(&byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
        stream
    }

    /// A client in a tunnel, which trusts only one certificate.
    fn client(&self, port: u16, trusted: &CertificateDer<'static>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(trusted.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
        let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        BufReader::new(StreamOwned::new(connection, self.tunnel(port)))
    }

    /// A client that is connected to the site through the guard.
    fn browser(&self) -> Client {
        self.client(self.site.port, &self.authority)
    }

    /// Whether the guard terminates TLS for a port of this machine.
    fn looks_into(&self, port: u16) -> bool {
        let mut client = self.client(port, &self.authority);
        let sent = client.get_mut().write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        sent.is_ok() && head_of(&mut client).is_some()
    }

    /// A browser's connection to the site that became a WebSocket.
    fn socket(&self) -> Client {
        let mut browser = self.browser();
        let head = "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        browser.get_mut().write_all(head.as_bytes()).unwrap();
        let agreed = head_of(&mut browser).unwrap();
        assert!(agreed.starts_with("HTTP/1.1 101"), "{agreed}");
        assert!(!self.site.last().head.to_lowercase().contains("sec-websocket-extensions"));
        browser
    }

    /// The audit rows of the codes that were sent.
    fn spent(&self) -> Vec<Value> {
        let told = self.person.run(&["audit", "list", "--json", "--action", "code.fill"]).ok();
        let told: Value = serde_json::from_str(&told).unwrap();
        told["rows"].as_array().or_else(|| told["audit"].as_array()).cloned().unwrap_or_default()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Posts a body; returns the head and the body of the answer.
fn post(client: &mut Client, kind: &str, body: &str) -> (String, String) {
    let length = body.len();
    let head = format!(
        "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nAccept-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"
    );
    client.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
    answer(client)
}

fn answer(client: &mut Client) -> (String, String) {
    let head = head_of(client).unwrap();
    let body = body_of(client, &head).unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn a_decoy_is_a_code_at_its_origin_in_every_kind_of_body_and_a_decoy_again_on_the_way_back() {
    let guarded = Guarded::start_with(&decoys::seed(false));
    let decoy = guarded.decoy();
    let mut browser = guarded.browser();
    let multipart = format!("--x\r\nContent-Disposition: form-data; name=\"code\"\r\n\r\n{decoy}\r\n--x--\r\n");
    let bodies = [
        ("application/x-www-form-urlencoded", format!("user=alice&code={decoy}")),
        ("application/json", format!("{{\"code\":\"{decoy}\",\"n\":[{decoy}, 1{decoy}]}}")),
        ("multipart/form-data; boundary=x", multipart),
        ("text/plain", decoy.clone()),
    ];
    let mut codes = BTreeSet::new();
    for (kind, body) in bodies {
        let (head, echo) = post(&mut browser, kind, &body);
        assert!(head.starts_with("HTTP/1.1 200"), "{head} {echo}");
        assert_eq!(echo, body, "what is echoed shows the decoy");
        let seen = guarded.site.last();
        assert!(seen.head.contains("Accept-Encoding: identity\r\n"), "{}", seen.head);
        assert_eq!(seen.bytes, body.len());
        let (before, after) = body.split_once(&decoy).unwrap();
        let code = seen.end.strip_prefix(before).unwrap()[..6].to_owned();
        assert_ne!(code, decoy);
        let numbers = [decoy.as_str(), &code].map(|digits| format!("[{digits}"));
        assert_eq!(seen.end, format!("{before}{code}{}", after.replace(&numbers[0], &numbers[1])));
        codes.insert(code);
    }
    assert_eq!(codes.len(), 1, "one decoy is one code");
    assert_eq!(guarded.spent().len(), 1);
    let code = codes.pop_first().unwrap();
    let (head, _) = post(&mut browser, "text/plain", &decoy);
    assert!(head.contains(&format!("X-Echo: {decoy}")) && !head.contains(&code), "{head}");
    let audit = guarded.person.run(&["audit", "list", "--json"]).ok();
    assert!(!audit.contains(&code) && !audit.contains(&decoy));
}

#[test]
fn other_sites_are_carried_untouched_with_their_own_certificates() {
    let guarded = Guarded::start();
    let other = Site::start();
    let decoy = guarded.decoy();
    let begun = Instant::now();
    let mut client = guarded.client(other.port, &other.certificate);
    let (_, echo) = post(&mut client, "text/plain", &decoy);
    assert_eq!((echo, other.last().end), (decoy.clone(), decoy));
    assert!(other.last().head.contains("Accept-Encoding: gzip"));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(guarded.spent().is_empty());

    // A plain request without a tunnel is refused.
    let mut plain = TcpStream::connect(&guarded.address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut told = String::new();
    plain.read_to_string(&mut told).unwrap();
    assert!(told.starts_with("HTTP/1.1 400"), "{told}");
}

#[test]
fn a_body_of_any_length_is_carried_without_being_held() {
    let guarded = Guarded::start();
    let decoy = guarded.decoy();
    let mut browser = guarded.browser();
    let (chunk, chunks) = (vec![b'x'; 64 * 1024], 800);
    let stream = browser.get_mut();
    stream.write_all(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    for _ in 0..chunks {
        write!(stream, "{:x}\r\n", chunk.len()).unwrap();
        stream.write_all(&chunk).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    let (first, second) = decoy.split_at(3);
    write!(stream, "3\r\n{first}\r\n3\r\n{second}\r\n0\r\n\r\n").unwrap();
    answer(&mut browser);
    let seen = guarded.site.last();
    assert_eq!(seen.bytes, chunk.len() * chunks + 6);
    assert!(!seen.end.ends_with(&decoy));
    let status = std::fs::read_to_string(format!("/proc/{}/status", guarded.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 100 * 1024, "the guard took {peak} kB");
}

#[test]
fn messages_of_a_websocket_carry_codes_too() {
    let guarded = Guarded::start();
    let decoy = guarded.decoy();
    let mut browser = guarded.socket();
    for text in [format!("code {decoy}."), decoy.clone(), "hello 1234567".to_owned()] {
        browser.get_mut().write_all(&message(&text)).unwrap();
        let echo = String::from_utf8(message_of(&mut browser).unwrap()).unwrap();
        assert_eq!(echo, text, "what comes back shows the decoy");
    }
    browser.get_mut().write_all(&message(&format!("bye {decoy}"))).unwrap();
    let text = format!("bye {decoy}");
    assert_eq!(message_of(&mut browser).unwrap()[2..], *text.as_bytes(), "so does the reason of a close");
    let sent = guarded.site.seen.lock().unwrap().iter().filter(|seen| seen.end.contains(&decoy)).count();
    assert_eq!(sent, 0);
    assert_eq!(guarded.spent().len(), 1);
}

#[test]
fn a_websocket_whose_decoy_gets_no_code_is_closed_at_once_with_the_reason() {
    let guarded = Guarded::start();
    let (one, other) = (guarded.decoy(), guarded.decoy());
    let mut browser = guarded.socket();
    browser.get_mut().write_all(&message(&one)).unwrap();
    assert_eq!(message_of(&mut browser).unwrap(), one.as_bytes());
    let begun = Instant::now();
    browser.get_mut().write_all(&message(&other)).unwrap();
    let told = message_of(&mut browser).unwrap();
    // The period is an hour, so the next code comes too late, unless the hour ends now.
    let is_closed = told.starts_with(&1013_u16.to_be_bytes()) && told.ends_with(b"no code for the decoy");
    assert!(is_closed && begun.elapsed() < Duration::from_secs(5) || told == other.as_bytes(), "{told:?}");
}

/// A message of a browser.
fn message(text: &str) -> Vec<u8> {
    [vec![0x81, 0x80 | u8::try_from(text.len()).unwrap()], MASK.to_vec(), masked(text.as_bytes())].concat()
}

fn masked(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

#[test]
fn an_origin_that_is_bound_later_is_tunnelled_until_the_certificate_covers_it() {
    let person = Person::new();
    let add = ["secret", "add", "--label", "alice", "--stdin", "--origin", "https://login.example.com"];
    assert!(person.run(&["guard", "ca"]).err.contains("vault"), "no vault is made for it");
    person.fed(RFC_SEED, &add).ok();
    let first = person.run(&["guard", "ca", "--json"]).ok();
    assert_eq!(first, person.run(&["guard", "ca", "--json"]).ok(), "it is made once");
    person.run(&["secret", "update", "alice", "--origin", "https://login.example.net"]).ok();
    assert_eq!(first, person.run(&["guard", "ca", "--json"]).ok());
    let second: Value = serde_json::from_str(&person.run(&["guard", "ca", "--new", "--json"]).ok()).unwrap();
    assert_eq!(second["hosts"].to_string(), r#"["login.example.net"]"#);
    let text = person.run(&["guard", "ca", "--output", "guard.pem"]).ok();
    assert_eq!(text.trim(), second["spki_sha256"].as_str().unwrap());
    let pem = std::fs::read_to_string(person.home().join("guard.pem")).unwrap();
    assert_eq!(pem, second["certificate"].as_str().unwrap());
    let refused = person.run(&["guard", "--listen", "0.0.0.0:0"]);
    assert_eq!(refused.status, 2, "{refused:?}");
    assert!(refused.err.contains("loopback"), "{refused:?}");
}

#[test]
fn an_answer_shows_the_decoy_wherever_it_says_the_code() {
    let guarded = Guarded::start();
    let decoy = guarded.decoy();
    let mut browser = guarded.browser();
    let head = "POST /odd HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nContent-Length: 6\r\n\r\n";
    browser.get_mut().write_all(format!("{head}{decoy}").as_bytes()).unwrap();
    let mut told = head_of(&mut browser).unwrap();
    while !told.ends_with("\r\n0\r\n") {
        assert_ne!(browser.read_line(&mut told).unwrap(), 0, "{told}");
    }
    told += &head_of(&mut browser).unwrap();
    let code = guarded.site.last().end;
    assert_ne!(code, decoy);
    assert!(!told.contains(&code), "{told}");
    assert_eq!(told.matches(&decoy).count(), 2, "in the body and after it: {told}");
}

#[test]
fn a_request_in_a_tunnel_goes_to_the_site_of_the_tunnel_whatever_it_says_of_it() {
    let guarded = Guarded::start();
    let mut browser = guarded.browser();
    for (target, hosts) in [
        ("/", "Host: other.example\r\n"),
        ("/", "Host: localhost\r\nHost: other.example\r\n"),
        ("https://other.example/", "Host: other.example\r\n"),
    ] {
        browser.get_mut().write_all(format!("GET {target} HTTP/1.1\r\n{hosts}\r\n").as_bytes()).unwrap();
        answer(&mut browser);
        let head = guarded.site.last().head;
        let named: Vec<&str> = head.lines().filter(|line| line.to_lowercase().starts_with("host:")).collect();
        assert_eq!(named, [format!("Host: localhost:{}", guarded.site.port)], "{head}");
        assert!(head.starts_with("GET / "), "{head}");
    }
}

#[test]
fn an_origin_that_comes_or_goes_while_the_guard_runs_is_known_two_seconds_later() {
    let guarded = Guarded::start();
    let other = Site::start();
    let first = guarded.site.origin();
    let update = |origins: &[&str]| {
        let origins = origins.iter().flat_map(|origin| ["--origin", origin]);
        let words: Vec<&str> = ["secret", "update", "alice"].into_iter().chain(origins).collect();
        guarded.person.run(&words).ok();
    };
    assert!(guarded.looks_into(guarded.site.port) && !guarded.looks_into(other.port));
    update(&[&first, &other.origin()]);
    until(|| guarded.looks_into(other.port));
    assert!(guarded.looks_into(guarded.site.port));
    update(&[&other.origin()]);
    until(|| !guarded.looks_into(guarded.site.port));
    assert!(guarded.looks_into(other.port));

    // The certificate is only for `localhost`.
    let by_address = format!("https://127.0.0.1:{}", other.port);
    update(&[&by_address]);
    until(|| {
        let mut stream = TcpStream::connect(&guarded.address).unwrap();
        write!(stream, "CONNECT 127.0.0.1:{} HTTP/1.1\r\n\r\n", other.port).unwrap();
        assert!(head_of(&mut BufReader::new(stream)).unwrap().starts_with("HTTP/1.1 200"), "it is carried");
        let log = guarded.log.lock().unwrap();
        log.contains(&by_address) && log.contains("guard ca --new")
    });
}

#[test]
fn a_guard_that_no_browser_trusts_yet_says_so() {
    let person = Person::with_alice();
    let mut command = person.command(&["guard", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let told = BufReader::new(child.stderr.take().unwrap());
    let lines = told.lines().map_while(Result::ok);
    assert!(lines.take(20).any(|line| line.contains("run `countersign guard ca` first")));
    child.kill().unwrap();
    child.wait().unwrap();
}
