//! Malformed requests: none is answered with a 5xx, and none ends the server.

use super::kit::{Server, written};

/// The number of requests, unless `COUNTERSIGN_MALFORMED` sets another one, as CI does.
const ORDINARILY: u64 = 5_000;

/// A small random generator with the same numbers every time, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.roll(from.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.roll(most)).map(|_| u8::try_from(self.roll(256)).unwrap()).collect()
    }
}

const METHODS: &[&str] = &[
    "GET",
    "POST",
    "DELETE",
    "PUT",
    "HEAD",
    "OPTIONS",
    "CONNECT",
    "TRACE",
    "get",
    "",
    "G\u{1}T",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
];
const PATHS: &[&str] = &[
    "/",
    "/mcp",
    "/sse",
    "/messages",
    "/messages?sessionId=",
    "/messages?sessionId=x",
    "/api/v2/totp/secrets",
    "/api/v2/totp/secrets/x",
    "/api/v2/totp/code/00000000-0000-0000-0000-000000000000?min_validity=-1",
    "/api/v2/totp/code/%00",
    "/api/v2/seats?limit=99999999999999999999",
    "/api/v2/seats/%E2%80%AE",
    "/api/v2/seats/%",
    "//",
    "/../../etc/passwd",
    "*",
    "http://localhost/healthz",
    "http://evil.example/",
    "localhost:80",
    "",
    "/\u{7f}",
    "/openapi.json?x",
    "/metrics/",
    "/healthz#x",
    "/api/v2/audit?since=x",
];
const HEADERS: &[&str] = &[
    "host: localhost",
    "host: localhost",
    "host: localhost",
    "host: evil",
    "host:",
    "host: [::1",
    "host: \u{ff}",
    "content-length: 5",
    "content-length: -1",
    "content-length: 5, 5",
    "transfer-encoding: chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: x",
    "expect: 100-continue",
    "content-type: application/json",
    "authorization: Bearer",
    "authorization: Bearer cs_aaaaaaaaaaaa_a",
    "authorization: \u{ff}",
    "authorization: Basic eA==",
    "sb-api-key-id: x",
    "sb-api-secret-key: x",
    "origin: null",
    "origin: http://localhost",
    "accept: */*",
    "mcp-session-id: x",
    "mcp-protocol-version: 2026-07-28",
    "mcp-protocol-version: \u{1}",
    "last-event-id: 1",
    "connection: upgrade",
    "upgrade: h2c",
    "x: y\u{0}z",
    " folded",
    "no colon",
    "idempotency-key: \u{ff}",
    "idempotency-key:",
    "cookie: a=b",
];
const BODIES: &[&str] = &[
    "",
    "{",
    "[]",
    "null",
    "{}",
    "\"x\"",
    "{\"label\":1}",
    "{\"label\":null,\"uri\":{}}",
    "5\r\nhello\r\n0\r\n\r\n",
    "zz\r\n",
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}",
    "{\"jsonrpc\":\"1.0\"}",
    "[{\"jsonrpc\":\"2.0\"}]",
    "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"initialize\",\"params\":[]}",
    "{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"initialize\",\"params\":{\"protocolVersion\":7}}",
];

fn count() -> u64 {
    std::env::var_os("COUNTERSIGN_MALFORMED").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(ORDINARILY)
}

/// A request, and whether it is complete: its end is unambiguous, whatever else is wrong.
fn request(dice: &mut Dice, token: &str) -> (Vec<u8>, bool) {
    let mut text = format!("{} {} HTTP/1.1\r\n", dice.pick(METHODS), dice.pick(PATHS));
    if dice.roll(4) > 0 {
        text.push_str("host: localhost\r\n");
    }
    if dice.roll(2) == 0 {
        text = format!("{text}authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    }
    let mut whole = true;
    for _ in 0..dice.roll(6) {
        let header = dice.pick(HEADERS);
        whole &= !header.starts_with("content-length") && !header.starts_with("transfer-encoding");
        text = text + header + "\r\n";
    }
    let body = dice.pick(BODIES);
    if dice.roll(2) == 0 {
        text = format!("{text}content-length: {}\r\n", body.len());
    }
    let mut bytes = (text + "\r\n" + body).into_bytes();
    match dice.roll(8) {
        0 => bytes.truncate(dice.roll(bytes.len().max(1))),
        1 => bytes.extend(dice.bytes(200)),
        2 => {
            let at = dice.roll(bytes.len());
            bytes[at] = u8::try_from(dice.roll(256)).unwrap();
        }
        3 => bytes = dice.bytes(500),
        _ => return (bytes, whole),
    }
    (bytes, false)
}

#[test]
fn a_head_that_cant_be_read_is_refused_and_ends_its_connection() {
    let server = Server::start();
    let many = "x: y\r\n".repeat(100);
    let long = format!("x: {}\r\n", "y".repeat(20_000));
    for (head, status) in [
        ("G\u{1}T / HTTP/1.1\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n", 400),
        ("GET / HTTP/7.0\r\n", 400),
        (&*format!("GET / HTTP/1.1\r\n{many}"), 431),
        (&*format!("GET / HTTP/1.1\r\n{long}"), 431),
    ] {
        for earlier in [0, 1] {
            let mut client = server.client();
            for _ in 0..earlier {
                client.write(written("GET", "/healthz", &[], None).as_bytes());
                assert_eq!(client.read().status, 200);
            }
            client.write(format!("{head}\r\n").as_bytes());
            let answer = client.read();
            assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{head}");
            assert!(client.try_read().is_none(), "it has ended");
        }
    }
}

#[test]
fn where_a_head_or_a_body_ends_in_doubt_the_connection_ends() {
    let server = Server::start();
    let chunked = "transfer-encoding: chunked\r\n";
    for sent in [
        format!("POST /mcp HTTP/1.1\r\nhost: localhost\r\n{chunked}{chunked}\r\n0\r\n\r\n"),
        format!("POST /mcp HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip\r\n{chunked}\r\n0\r\n\r\n"),
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\nhost: localhost\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nhost: localhost\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: y\nauthorization: z\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\n".to_owned(),
        "GET /healthz HTTP/1.1\nhost: localhost\n\n".to_owned(),
    ] {
        // As the first request, after another request, and in one write with another.
        for (earlier, together) in [(false, false), (true, false), (true, true)] {
            let (mut client, good) = (server.client(), written("GET", "/healthz", &[], None));
            match (earlier, together) {
                (true, true) => client.write(format!("{good}{sent}").as_bytes()),
                (true, false) => client.write(good.as_bytes()),
                (false, _) => {}
            }
            if earlier {
                assert_eq!(client.read().status, 200);
            }
            if !together {
                client.write(sent.as_bytes());
            }
            let answer = client.read();
            // The server's own answer, or hyper's, which has no body.
            assert_eq!((answer.status, answer.header("connection")), (400, Some("close")), "{sent:?}");
            assert!(client.try_read().is_none(), "{sent:?}");
        }
    }
    let body =
        written("POST", "/api/v2/totp/secrets", &[("authorization", "Bearer x")], Some("{\n\"label\":\n\"a\"}\n"));
    let mut client = server.client();
    for _ in 0..2 {
        client.write(body.as_bytes());
        assert_eq!(client.read().status, 401, "what stands in a body is its own affair");
    }
}

#[test]
fn a_malformed_request_is_refused_and_nothing_breaks() {
    let mut settings = super::kit::settings();
    settings.auth_failures = None;
    let server = Server::with(settings);
    let token = server.token();
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for nth in 0..count() {
        let (sent, whole) = request(&mut dice, &token);
        let mut client = server.client();
        client.write(&sent);
        if !whole {
            // The server must not wait for the rest of a request that is cut off.
            let _ = client.stream.get_ref().shutdown(std::net::Shutdown::Write);
        }
        let answered = client.head();
        let [json, empty] = [("content-type", "application/json"), ("content-length", "0")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        // A head that can't be parsed is answered before our own code gets it, with a status alone.
        let fits = answered.as_ref().map_or(!whole, |(status, headers)| {
            let says_why = headers.contains(&json) && !headers.contains(&empty);
            *status < 400 || *status < 500 && (says_why || matches!(status, 400 | 431) && headers.contains(&empty))
        });
        assert!(fits, "request {nth}: {answered:?}: {}", String::from_utf8_lossy(&sent));
    }
    assert_eq!(server.raw(written("GET", "/healthz", &[], None).as_bytes()).status, 200);
    let internal = server.vault.service.tally().refused.iter().find(|(code, _)| code.as_str() == "internal").unwrap().1;
    assert_eq!(internal, 0);
}
