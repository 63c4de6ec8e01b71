//! Rules for every route: guard, methods, sizes, rates, headers, health.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use countersign::{
    clock::Clock,
    domain::{
        audit::{Action, AuditFilter, Outcome},
        limits::BODY_BYTES_MAX,
        rate::Rate,
        scope::Scope,
        time::Timestamp,
    },
    random::SystemRandom,
    transport::http::{HttpSettings, ServeError},
};
use serde_json::json;

use super::kit::{Answer, Client, Server, settings, token_of, written};
use crate::kit::Vault;

const SECRETS: &str = "/api/v2/totp/secrets";

#[test]
fn every_answer_carries_the_protecting_headers() {
    let server = Server::start();
    let token = server.token();
    let answers = [
        server.get(SECRETS, &token),
        server.get(SECRETS, "x"),
        server.get("/nowhere", &token),
        server.send("PUT", SECRETS, &token, None),
        server.raw(b"GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n"),
        server.raw(written("GET", "/healthz", &[], None).as_bytes()),
    ];
    for answer in answers {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        for absent in ["server", "strict-transport-security", "access-control-allow-origin", "x-powered-by"] {
            assert_eq!(answer.header(absent), None, "{absent}");
        }
    }
}

#[test]
fn what_is_not_there_and_what_is_not_allowed_is_said_in_the_one_form() {
    let server = Server::start();
    let token = server.token();

    assert_eq!(server.get("/nowhere", &token).refusal(), (404, "not_found".to_owned()));
    assert_eq!(server.get("/", &token).refusal().0, 404);
    assert_eq!(server.get("/api/v2/seats/", &token).refusal().0, 404);
    let put = server.send("PUT", SECRETS, &token, Some("{}"));
    assert_eq!((put.refusal(), put.header("allow")), ((405, "invalid_argument".to_owned()), Some("GET, HEAD, POST")));
    for method in ["OPTIONS", "TRACE", "PATCH", "BREW"] {
        assert_eq!(server.send(method, "/api/v2/seats", &token, None).status, 405, "{method}");
    }
    let head = |path: &str| {
        let mut client = server.client();
        client.write(written("HEAD", path, &[("connection", "close")], None).as_bytes());
        let (status, headers) = client.head().unwrap();
        assert_eq!(client.line(), None, "a head without a body");
        (status, headers.into_iter().find(|(name, _)| name == "content-length").unwrap().1)
    };
    assert_eq!(head("/healthz"), (200, "15".to_owned()));
    assert_eq!(head("/api/v2/seats").0, 401);
    let code = format!("/api/v2/totp/code/{}", server.secret("a"));
    for path in [&*code, "/mcp", "/sse"] {
        assert_eq!(head(path).0, 405, "what hands out things is not asked for its head: {path}");
    }
    assert_eq!(head("/nowhere").0, 404);
    let told = |answer: &Answer| answer.json()["message"].as_str().unwrap().to_owned();
    assert!(told(&server.get("/nowhere", &token)).contains("/mcp"));
    assert!(!told(&server.send("PUT", "/mcp", &token, Some("{}"))).contains("openapi"));
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"] {
        let bearer = format!("Bearer {token}");
        let sent = written("POST", SECRETS, &[("authorization", &bearer), ("content-type", kind)], Some("{}"));
        assert_eq!(server.raw(sent.as_bytes()).refusal(), (415, "invalid_argument".to_owned()), "{kind}");
    }
}

#[test]
fn a_body_may_be_just_so_large_whole_or_in_chunks() {
    let server = Server::start();
    let token = server.token();
    let padded = |size: usize| {
        let frame = r#"{"label":""}"#;
        format!(r#"{{"label":"{}"}}"#, "x".repeat(size - frame.len()))
    };
    let chunked = |body: &str| {
        let head = format!("POST {SECRETS} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n");
        let mut sent = format!("{head}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
        for piece in body.as_bytes().chunks(1000) {
            sent = format!("{sent}{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap());
        }
        server.raw((sent + "0\r\n\r\n").as_bytes()).refusal()
    };
    // A label of this length is refused by its own limit: the body as such was read.
    assert_eq!(server.post(SECRETS, &token, &padded(BODY_BYTES_MAX)).refusal(), (400, "invalid_argument".to_owned()));
    assert_eq!(chunked(&padded(BODY_BYTES_MAX)), (400, "invalid_argument".to_owned()));
    assert_eq!(server.post(SECRETS, &token, &padded(BODY_BYTES_MAX + 1)).refusal(), (413, "too_large".to_owned()));
    assert_eq!(chunked(&padded(BODY_BYTES_MAX + 1)), (413, "too_large".to_owned()));
    let announced = format!(
        "POST {SECRETS} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 99999999999\r\n\r\n"
    );
    assert_eq!(server.raw(announced.as_bytes()).refusal().0, 413);
    let deep = format!(r#"{{"label":{}}}"#, "[".repeat(500) + &"]".repeat(500));
    assert_eq!(server.post(SECRETS, &token, &deep).refusal().0, 400);
    assert_eq!(
        server.get(&format!("/api/v2/seats?email={}", "x".repeat(2100)), &token).refusal(),
        (413, "too_large".to_owned())
    );
}

#[test]
fn a_browser_gets_in_only_from_where_it_may() {
    let mut settings = settings();
    settings.allow_origins = vec!["https://app.example.com".parse().unwrap()];
    settings.public_urls = ["https://a.example", "https://b.example:8443"].map(|url| url.parse().unwrap()).into();
    let server = Server::with(settings);
    let bearer = format!("Bearer {}", server.token());
    let send = |method: &str, headers: &[(&str, &str)]| {
        let headers: Vec<_> = headers.iter().copied().chain([("authorization", &*bearer)]).collect();
        server.raw(written(method, SECRETS, &headers, None).as_bytes())
    };

    let foreign = send("GET", &[("origin", "https://evil.example")]);
    assert_eq!(foreign.refusal(), (403, "permission_denied".to_owned()));
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    assert_eq!(send("GET", &[("sec-fetch-site", "cross-site")]).status, 403);
    for own in ["https://a.example", "https://b.example:8443"] {
        assert_eq!(send("GET", &[("origin", own)]).status, 200, "each URL that this server is known by is its own");
    }

    let allowed = send("GET", &[("origin", "https://app.example.com"), ("sec-fetch-site", "cross-site")]);
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (200, Some("https://app.example.com")));
    assert_eq!(allowed.header("vary"), Some("origin"));
    let asks = ("access-control-request-method", "POST");
    let preflight = send("OPTIONS", &[("origin", "https://app.example.com"), asks]);
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, Some("GET, POST, DELETE")));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("sb-api-secret-key"));
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
    assert_eq!(send("OPTIONS", &[("origin", "https://evil.example"), asks]).status, 403);
}

#[test]
fn health_routes_answer_any_host_and_counters_with_a_key() {
    let server = Server::start();
    let auditor = token_of(&server.key([Scope::AuditRead]));
    for host in ["host: 10.244.0.5:8787\r\n", "host: evil.example\r\n", "host: \r\n", ""] {
        let ask = |path: &str| server.raw(format!("GET {path} HTTP/1.1\r\n{host}\r\n").as_bytes());
        assert_eq!([ask("/healthz").status, ask("/readyz").status], [200, 200], "{host}");
        assert_eq!(ask("/metrics").refusal(), (401, "unauthenticated".to_owned()), "{host}");
        let keyed = format!("GET /metrics HTTP/1.1\r\n{host}authorization: Bearer {auditor}\r\n\r\n");
        assert_eq!(server.raw(keyed.as_bytes()).status, 200, "{host}");
    }
    let twice = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n";
    assert_eq!(server.raw(twice.as_bytes()).refusal().0, 400);
    let page = "GET /healthz HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\n\r\n";
    assert_eq!(server.raw(page.as_bytes()).refusal().0, 403);
}

#[test]
fn counters_are_not_told_through_a_proxy_on_this_machine() {
    let server = Server::start();
    let ask = |headers: &[(&str, &str)]| server.raw(written("GET", "/metrics", headers, None).as_bytes()).status;
    assert_eq!(ask(&[]), 200);
    for header in ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"] {
        assert_eq!(ask(&[(header, "192.0.2.1")]), 401, "{header}");
    }
}

#[test]
fn the_host_is_checked_on_every_route() {
    let server = Server::start();
    for path in ["/", "/mcp", "/sse", "/messages", SECRETS, "/openapi.json"] {
        for host in ["evil.example", "localhost.evil.example:80", "127.0.0.1@evil.example", ""] {
            let answer = server.raw(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").as_bytes());
            assert_eq!(answer.refusal(), (403, "permission_denied".to_owned()), "{path} {host}");
        }
        assert_eq!(server.raw(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).refusal().0, 400, "{path}");
    }
}

#[test]
fn wrong_credentials_are_slowed_down_and_right_ones_are_let_in() {
    let mut settings = settings();
    settings.auth_failures = Some(Rate::per_minute(5));
    let server = Server::with(settings);
    let token = server.token();

    let nothing: Vec<u16> = (0..8).map(|_| server.raw(written("GET", SECRETS, &[], None).as_bytes()).status).collect();
    let statuses: Vec<u16> = (0..8).map(|_| server.get(SECRETS, "cs_wrong").status).collect();
    let held = server.get(SECRETS, "cs_wrong");

    assert_eq!(nothing, [401; 8], "who offers nothing guesses nothing");
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429]);
    assert_eq!(held.refusal(), (429, "rate_limited".to_owned()));
    let wait: u64 = held.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=12).contains(&wait), "{wait}");
    assert_eq!(server.get(SECRETS, &token).status, 200, "one caller with a stale key locks nobody out");
}

#[test]
fn behind_a_proxy_each_address_fails_for_itself() {
    let mut settings = settings();
    settings.auth_failures = Some(Rate::per_minute(1));
    settings.behind_proxy = true;
    let server = Server::with(settings);
    let send = |chain: &str| {
        let headers = [("x-forwarded-for", chain), ("authorization", "Bearer cs_wrong")];
        server.raw(written("GET", SECRETS, &headers, None).as_bytes()).status
    };

    assert_eq!((send("192.0.2.1"), send("192.0.2.1")), (401, 429));
    assert_eq!(send("198.51.100.9, 192.0.2.1"), 429, "what a caller adds in front counts for nothing");
    assert_eq!((send("192.0.2.2:4711"), send("192.0.2.2")), (401, 429));
}

#[test]
fn what_is_said_twice_is_not_believed() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let (id, secret) = (key.plain.id().to_string(), key.plain.expose_secret().to_string());
    let bearer = format!("Bearer {}", token_of(&key));
    let other = format!("Bearer {}", server.token());
    let send = |method: &str, headers: &[(&str, &str)], body: Option<&str>| {
        server.raw(written(method, SECRETS, headers, body).as_bytes()).status
    };
    let (token, other) = (("authorization", &*bearer), ("authorization", &*other));
    let (id, secret) = (("sb-api-key-id", &*id), ("sb-api-secret-key", &*secret));

    assert_eq!((send("GET", &[id, secret], None), send("GET", &[token], None)), (200, 200));
    for twice in
        [&[id, id, secret][..], &[id, secret, secret], &[token, id, secret], &[other, id, secret], &[token, id]]
    {
        assert_eq!(send("GET", twice, None), 401, "{twice:?}");
    }
    assert_eq!(send("GET", &[token, token], None), 401);
    let origin = ("origin", "http://localhost");
    assert_eq!((send("GET", &[token, origin], None), send("GET", &[token, origin, origin], None)), (200, 400));
    let repeat = ("idempotency-key", "a");
    assert_eq!(send("POST", &[token, repeat, repeat], Some(r#"{"label":"a"}"#)), 400);
    assert_eq!(send("POST", &[token], Some(r#"{"label":"a","label":"b"}"#)), 400);
    assert_eq!(send("POST", &[token, repeat], Some(r#"{"label":"a"}"#)), 200);
}

#[test]
fn calls_of_a_key_and_for_a_secret_can_be_limited() {
    let mut settings = settings();
    settings.rate_per_key = Some(Rate::per_minute(6));
    settings.rate_per_secret = Some(Rate::per_minute(2));
    let server = Server::with(settings);
    let (a, b) = (server.token(), server.token());
    let (one, two) = (server.secret("one"), server.secret("two"));
    let code = |token: &str, id| server.get(&format!("/api/v2/totp/code/{id}"), token).status;

    assert_eq!([code(&a, one), code(&a, one), code(&a, one), code(&b, one), code(&a, two)], [200, 200, 429, 429, 200]);
    assert_eq!([code(&a, two), code(&a, two), code(&a, two)], [200, 429, 429]);
    let limited = server.get(SECRETS, &a);
    assert_eq!(limited.refusal(), (429, "rate_limited".to_owned()));
    assert!(limited.header("retry-after").is_some());
    assert_eq!(server.get(SECRETS, &b).status, 200);
}

#[test]
fn a_head_that_trickles_in_does_not_hold_a_connection() {
    let mut settings = settings();
    settings.limits.head_wait = Duration::from_millis(200);
    settings.limits.idle = Duration::from_mins(10);
    let server = Server::with(settings);
    let mut slow = server.client();
    slow.write(b"GET /healthz HTTP/1.1\r\nhost: loc");
    let mut kept = server.client();
    kept.write(written("GET", "/healthz", &[], None).as_bytes());
    assert_eq!(kept.read().status, 200);

    assert!(slow.try_read().is_none(), "closed without an answer");

    // By now the persistent connection has been idle for longer than a head may take.
    kept.write(written("GET", "/healthz", &[], None).as_bytes());
    assert_eq!(kept.read().status, 200);
    kept.write(b"GET");
    assert!(kept.try_read().is_none());
}

#[test]
fn an_idle_connection_is_closed() {
    let mut settings = settings();
    settings.limits.idle = Duration::from_millis(200);
    let server = Server::with(settings);
    let mut client = server.client();
    client.write(written("GET", "/healthz", &[], None).as_bytes());
    assert_eq!(client.read().status, 200);
    assert!(client.try_read().is_none());
}

#[test]
fn a_body_that_does_not_arrive_is_not_waited_for() {
    let mut settings = settings();
    settings.limits.body_wait = Duration::from_millis(200);
    let server = Server::with(settings);
    let bearer = format!("Bearer {}", server.token());
    let whole = written("POST", SECRETS, &[("authorization", &bearer)], Some(r#"{"label":"a"}"#));
    let answer = server.raw(&whole.as_bytes()[..whole.len() - 3]);
    assert_eq!(answer.refusal(), (408, "invalid_argument".to_owned()));
}

#[test]
fn a_body_in_a_coding_that_is_not_understood_is_not_read() {
    let server = Server::start();
    let token = server.token();
    let head = format!("POST {SECRETS} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n");
    let sent = format!("{head}content-type: application/json\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(server.raw(sent.as_bytes()).refusal(), (400, "invalid_argument".to_owned()));
}

#[test]
fn who_waits_hears_that_the_server_stops_and_gives_the_step_back() {
    let mut server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    let bearer = format!("Bearer {token}");
    let mut waiting = server.client();
    server.vault.clock.set_seconds(1_795_305_601);
    assert_eq!(server.get(&format!("/api/v2/totp/code/{id}?single_use=true"), &token).status, 200);
    let path = format!("/api/v2/totp/code/{id}?single_use=true&max_wait=120");
    waiting.write(written("GET", &path, &[("authorization", &bearer)], None).as_bytes());
    crate::kit::until(|| server.vault.service.tally().waiting != 0);
    let idle = server.client();

    server.stop();
    let answer = waiting.read();

    assert_eq!(answer.refusal(), (503, "unavailable".to_owned()));
    assert_eq!((answer.header("retry-after"), answer.header("connection")), (Some("1"), Some("close")));
    drop(idle);
    assert!(std::net::TcpStream::connect(server.address).is_err());
    let released = AuditFilter { action: Some(Action::CodeRelease), ..AuditFilter::default() };
    assert_eq!(server.wait(server.vault.rows(released)).len(), 1);
}

#[test]
fn health_readiness_and_counters_are_told() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    let open = |path: &str| server.raw(written("GET", path, &[], None).as_bytes());
    assert_eq!(server.get(&format!("/api/v2/totp/code/{id}"), &token).status, 200);
    assert_eq!(server.get("/api/v2/seats/nobody", &token).status, 404);

    assert_eq!(open("/healthz").json(), json!({"status": "OK"}));
    assert_eq!(open("/readyz").json(), json!({"status": "OK"}));
    assert_eq!(open("/nowhere").status, 404);
    assert_eq!(server.get(&format!("/api/v2/totp/code/{id}?single_use=true&max_wait=0"), &token).status, 409);
    let counters = String::from_utf8(open("/metrics").body).unwrap();

    for line in [
        r#"countersign_http_requests_total{method="GET",route="/api/v2/totp/code/{secret_id}",status="200"} 1"#,
        r#"countersign_http_requests_total{method="GET",route="/api/v2/seats/{seat_id}",status="404"} 1"#,
        "countersign_codes_issued_total 1",
        r#"countersign_refusals_total{code="not_found"} 2"#,
        r#"countersign_refusals_total{code="busy"} 1"#,
        "countersign_waiting_callers 0",
        "countersign_mcp_sessions 0",
    ] {
        assert!(counters.lines().any(|known| known == line), "{line}\n{counters}");
    }
    assert!(!counters.contains(&id.to_string()));
}

#[test]
fn behind_a_proxy_counters_need_a_key() {
    let mut settings = settings();
    settings.behind_proxy = true;
    let server = Server::with(settings);
    let auditor = token_of(&server.key([Scope::AuditRead]));
    let agent = token_of(&server.key([Scope::CodesRead]));

    assert_eq!(server.raw(written("GET", "/metrics", &[], None).as_bytes()).refusal().0, 401);
    assert_eq!(server.get("/metrics", &agent).refusal().0, 403);
    assert_eq!(server.get("/metrics", &auditor).status, 200);
}

#[test]
fn nothing_is_served_in_clear_beyond_this_machine() {
    let refused = Server::refused(&HttpSettings::listening_on("0.0.0.0:0".parse().unwrap()));
    assert!(matches!(refused, ServeError::InClear(_)));
    let message = refused.to_string();
    assert!(message.contains("--tls-cert") && message.contains("--behind-proxy"));
}

#[test]
fn a_connection_beyond_the_limit_is_closed_and_its_place_is_given_back() {
    let mut settings = settings();
    settings.limits.connections = 2;
    let server = Server::with(settings);
    let bearer = format!("Bearer {}", server.token());
    let is_served = |client: &mut Client| {
        // Writing fails if the server has closed the connection already.
        let request = written("GET", SECRETS, &[("authorization", &bearer)], None);
        let _ = client.stream.get_mut().write_all(request.as_bytes());
        client.try_read().is_some_and(|answer| answer.status == 200)
    };
    let (mut first, mut second) = (server.client(), server.client());
    assert!(is_served(&mut first) && is_served(&mut second));

    assert!(!is_served(&mut server.client()));

    drop(first);
    while !is_served(&mut server.client()) {}
    assert!(is_served(&mut second));
}

#[test]
fn connections_without_a_credential_lock_nobody_out() {
    let mut settings = settings();
    settings.limits.connections = 4;
    let server = Server::with(settings);
    let token = server.token();
    let bearer = format!("Bearer {token}");
    let ask = written("GET", SECRETS, &[("authorization", &bearer)], None);
    let mut regular = server.client();
    regular.write(ask.as_bytes());
    assert_eq!(regular.read().status, 200);

    let mut idle: Vec<Client> = (0..20).map(|_| server.client()).collect();
    for client in idle.iter_mut().rev().take(2) {
        client.write(written("GET", "/healthz", &[], None).as_bytes());
        assert_eq!(client.read().status, 200, "the newest have a place");
    }

    assert_eq!(server.get(SECRETS, &token).status, 200);
    assert!(idle[0].try_read().is_none(), "who was there longest has left");
    regular.write(ask.as_bytes());
    assert_eq!(regular.read().status, 200, "who has shown a right key stays");
}

/// A clock that panics once when the flag is set.
struct Trap(Arc<AtomicBool>);

#[async_trait]
impl Clock for Trap {
    fn now(&self) -> Timestamp {
        assert!(!self.0.swap(false, Ordering::SeqCst), "the seed is JBSWY3DPEHPK3PXP");
        Timestamp::from_seconds(1_795_305_600)
    }

    async fn wait(&self, _moment: Timestamp, _at_most: Duration) {}
}

#[test]
fn a_panic_is_an_internal_error_and_nothing_else() {
    let vault = Vault::new();
    let armed = Arc::new(AtomicBool::new(false));
    let service = vault.service_with(Arc::new(Trap(Arc::clone(&armed))), Arc::new(SystemRandom));
    let server = Server::of(vault, service, settings());
    let token = server.token();
    assert_eq!(server.get(SECRETS, &token).status, 200);

    armed.store(true, Ordering::SeqCst);
    let answer = server.get(SECRETS, &token);

    assert_eq!(answer.refusal(), (500, "internal".to_owned()));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(!message.contains("JBSW") && message.split(' ').any(|word| word.len() == 33), "{message}");
    assert_eq!(server.get(SECRETS, &token).status, 200, "the server goes on");
    let rows = server.wait(server.vault.all_rows(AuditFilter::default()));
    assert_eq!(rows.iter().filter(|row| row.entry.outcome == Outcome::Internal).count(), 1, "it is in the audit log");
}
