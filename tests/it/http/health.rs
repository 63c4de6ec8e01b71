//! Readiness, for clients that poll often and wait briefly.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use countersign::{
    clock::Clock as _,
    domain::scope::Scope,
    operations::{ListKeys, Service},
    random::SystemRandom,
    vault::Writes,
};

use super::kit::{Server, settings, token_of, written};
use crate::kit::{Vault, open_for};

/// A server that writes on its own thread, as the real one does.
fn server() -> Server {
    let vault = Vault::new();
    let opened = open_for(vault.dir.path(), vault.clock.now(), Writes::Thread);
    let service = Service::new(opened, vault.clock.clone(), Arc::new(SystemRandom));
    Server::of(vault, service, settings())
}

#[test]
fn while_another_process_writes_a_server_soon_says_that_it_is_not_ready_and_then_that_it_is() {
    let server = server();
    let ready = || server.raw(written("GET", "/readyz", &[], None).as_bytes());
    assert_eq!(ready().status, 200);
    let other = rusqlite::Connection::open(server.vault.dir.path().join("data/vault.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    // The last result is cached briefly.
    crate::kit::until(|| ready().status != 200);
    let asked = Instant::now();
    let refused = ready();

    assert_eq!(refused.refusal(), (503, "unavailable".to_owned()));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    crate::kit::until(|| ready().status != 503);
}

#[test]
fn reads_with_a_key_dont_wait_while_another_process_writes() {
    let server = server();
    let token = server.token();
    let other = rusqlite::Connection::open(server.vault.dir.path().join("data/vault.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    // Well below the two seconds that a commit waits, for all of the requests together.
    let asked = Instant::now();
    for _ in 0..5 {
        assert_eq!(server.get("/api/v2/totp/secrets", &token).status, 200);
    }

    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
}

#[test]
fn a_keys_last_use_is_noted_behind_its_request() {
    let server = server();
    let key = server.key([Scope::SecretsRead]);
    assert_eq!(server.get("/api/v2/totp/secrets", &token_of(&key)).status, 200);
    let noted = || {
        let keys = server.wait(server.vault.service.perform(&server.vault.person, ListKeys)).unwrap();
        keys.sound.iter().any(|kept| kept.id == key.plain.id() && kept.last_used_at.is_some())
    };
    crate::kit::until(noted);
}

#[test]
fn by_a_clock_before_1970_nothing_is_done_and_health_says_why() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    server.vault.clock.set_seconds(-86_400);
    for path in ["/readyz", "/healthz", "/api/v2/totp/secrets", &format!("/api/v2/totp/code/{id}")] {
        let refused = server.get(path, &token);
        assert_eq!(refused.refusal(), (503, "unavailable".to_owned()), "{path}");
        assert!(refused.json()["message"].as_str().unwrap().contains("clock"), "{path}");
    }
    server.vault.clock.set_seconds(1_795_305_600);
    assert_eq!(server.get("/readyz", &token).status, 200);
}

#[test]
fn a_server_tells_its_version_to_this_machine_and_to_callers() {
    let mut behind_proxy = settings();
    behind_proxy.behind_proxy = true;
    let asked = |server: &Server, token: Option<&str>| {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
        server.raw(written("GET", "/version", &headers, None).as_bytes())
    };
    let here = Server::start();
    let told = asked(&here, None).json();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["vault_format"], here.vault.service.vault_format());

    let proxied = Server::with(behind_proxy);
    assert_eq!(asked(&proxied, None).refusal(), (401, "unauthenticated".to_owned()));
    let token = token_of(&proxied.key([Scope::CodesRead]));
    assert_eq!(asked(&proxied, Some(&token)).json()["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_refusal_is_counted_by_the_limit_that_it_was_above() {
    let mut settings = settings();
    settings.rate_per_key = Some(countersign::domain::rate::Rate::per_minute(2));
    let server = Server::with(settings);
    let (token, secret) = (server.token(), server.secret("github"));
    let path = format!("/api/v2/totp/code/{secret}?single_use=true&max_wait=0");
    assert_eq!([0, 1, 2].map(|_| server.get(&path, &token).status), [200, 409, 429]);
    let body = format!("{{\"label\":\"{}\"}}", "x".repeat(70_000));
    assert_eq!(server.post("/api/v2/totp/secrets", &server.token(), &body).status, 413);

    // Heads that no route sees: too long, and of too many headers.
    let long = "x".repeat(70_000);
    for head in [format!("GET / HTTP/1.1\r\nx: {long}\r\n"), format!("GET / HTTP/1.1\r\n{}", "x: y\r\n".repeat(300))] {
        let mut client = server.client();
        client.write(format!("{head}\r\n").as_bytes());
        assert_eq!(client.read().status, 431);
        assert!(client.try_read().is_none(), "it has ended");
    }
    assert_eq!(server.get(&format!("/{}", "x".repeat(3_000)), &token).status, 413);

    let text = String::from_utf8(server.raw(written("GET", "/metrics", &[], None).as_bytes()).body).unwrap();
    for (limit, count) in [("single_use", 1), ("calls", 1), ("body", 1), ("head", 3), ("waiting", 0)] {
        let line = format!("countersign_limit_refusals_total{{limit=\"{limit}\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[test]
fn a_request_keeps_its_place_in_the_callers_trace_on_its_row() {
    let server = Server::start();
    let (token, secret) = (server.token(), server.secret("github"));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00";
    let bearer = format!("Bearer {token}");
    let path = format!("/api/v2/totp/code/{secret}");
    for sent in [trace, "00-JBSWY3DPEHPK3PXP-01"] {
        let headers = [("authorization", &*bearer), ("traceparent", sent)];
        assert_eq!(server.raw(written("GET", &path, &headers, None).as_bytes()).status, 200);
    }
    let rows = server.get("/api/v2/audit?action=code.get", &token).json();
    let traces: Vec<_> = rows["rows"].as_array().unwrap().iter().map(|row| row["traceparent"].clone()).collect();
    assert_eq!(traces, [serde_json::json!(trace), serde_json::Value::Null]);
}
