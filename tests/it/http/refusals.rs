//! Refusals by HTTP itself: each is counted, and is in the audit log if it has a caller.

use std::time::Duration;

use countersign::{
    domain::{
        api_key::KeyId,
        audit::{Action, Actor, AuditFilter, Outcome},
        rate::Rate,
        scope::Scope,
    },
    operations::ErrorCode,
};

use serde_json::{Value, json};

use super::{
    kit::{Client, Server, settings, token_of, written},
    mcp, sse,
};

const SECRETS: &str = "/api/v2/totp/secrets";

/// The refusals in the audit log: their callers, actions and outcomes.
fn refusals(server: &Server) -> Vec<(Actor, Action, Outcome)> {
    let rows = server.wait(server.vault.all_rows(AuditFilter::default()));
    let refused = rows.into_iter().map(|row| row.entry).filter(|entry| entry.outcome != Outcome::Ok);
    refused.map(|entry| (entry.actor, entry.action, entry.outcome)).collect()
}

fn counted(server: &Server, code: ErrorCode) -> u64 {
    let tally = server.vault.service.tally();
    tally.refused.into_iter().find(|(of, _)| *of == code).unwrap().1
}

fn of_key(key: KeyId, action: Action, outcome: Outcome) -> (Actor, Action, Outcome) {
    (Actor::Key(key), action, outcome)
}

#[test]
fn who_asks_for_counters_too_often_is_in_the_audit_log() {
    let mut settings = settings();
    settings.behind_proxy = true;
    settings.rate_per_key = Some(Rate::per_minute(1));
    let server = Server::with(settings);
    let key = server.key([Scope::AuditRead]);
    let token = token_of(&key);

    assert_eq!([server.get("/metrics", &token).status, server.get("/metrics", &token).status], [200, 429]);

    assert_eq!(refusals(&server), [of_key(key.plain.id(), Action::Call, Outcome::RateLimited)]);
    assert_eq!(counted(&server, ErrorCode::RateLimited), 1);
}

#[test]
fn who_has_too_many_connections_is_in_the_audit_log() {
    let mut settings = settings();
    settings.limits.connections_per_key = 1;
    let server = Server::with(settings);
    let key = server.key([Scope::SecretsRead]);
    let ask = |client: &mut Client| {
        client.write(
            written("GET", SECRETS, &[("authorization", &format!("Bearer {}", token_of(&key)))], None).as_bytes(),
        );
        client.read().status
    };
    let (mut first, mut second) = (server.client(), server.client());

    assert_eq!((ask(&mut first), ask(&mut second)), (200, 429));

    assert_eq!(refusals(&server), [of_key(key.plain.id(), Action::Call, Outcome::RateLimited)]);
    assert_eq!(counted(&server, ErrorCode::RateLimited), 1);
}

#[test]
fn what_a_callers_request_lacks_is_in_the_audit_log() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let bearer = format!("Bearer {}", token_of(&key));
    let text = [("authorization", &*bearer), ("content-type", "text/plain")];

    assert_eq!(server.raw(written("POST", SECRETS, &text, Some("{}")).as_bytes()).status, 415);
    assert_eq!(server.raw(written("DELETE", "/mcp", &[text[0], ("mcp-session-id", "x")], None).as_bytes()).status, 404);

    let id = key.plain.id();
    let expected =
        [of_key(id, Action::SecretRegister, Outcome::InvalidArgument), of_key(id, Action::Call, Outcome::NotFound)];
    assert_eq!(refusals(&server), expected);
    assert_eq!([ErrorCode::InvalidArgument, ErrorCode::NotFound].map(|code| counted(&server, code)), [1, 1]);
}

#[test]
fn a_body_that_is_no_json_rpc_leaves_a_row() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let token = token_of(&key);
    let no_greeting = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{}}}"#;
    for (asked, body) in ["{", "[]", r#"{"hello":"376821"}"#, no_greeting].into_iter().zip(1..) {
        assert_eq!(server.post("/mcp", &token, asked).status, 400, "{asked}");
        let row = of_key(key.plain.id(), Action::Call, Outcome::InvalidArgument);
        assert_eq!(refusals(&server), vec![row; body], "{asked}");
        assert_eq!(counted(&server, ErrorCode::InvalidArgument), u64::try_from(body).unwrap());
    }
}

#[test]
fn what_the_protocol_refuses_a_caller_is_in_the_audit_log() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let bearer = format!("Bearer {}", token_of(&key));
    let accepts = "application/json, text/event-stream";
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_seat_count","arguments":{}}}"#;
    let unknown = r#"{"jsonrpc":"2.0","id":1,"method":"nonsense/call","params":{}}"#;
    for ((body, method), rows) in
        [(call, "tools/call"), (call, "tools/list"), (unknown, "nonsense/call")].into_iter().zip(1..)
    {
        let headers = [
            ("authorization", &*bearer),
            ("content-type", "application/json"),
            ("accept", accepts),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
            ("mcp-name", "get_seat_count"),
        ];
        let answer = server.raw(written("POST", "/mcp", &headers, Some(body)).as_bytes());
        assert!([400, 404].contains(&answer.status), "{body}: {}", answer.status);
        assert_eq!(
            refusals(&server),
            vec![of_key(key.plain.id(), Action::Call, Outcome::InvalidArgument); rows],
            "{body}"
        );
    }
}

/// The protocol's library quotes the refused text in an error, which may become longer than a request may be.
#[test]
fn a_long_error_of_the_protocols_is_told_in_json_all_the_same() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let (bearer, other) = (format!("Bearer {}", token_of(&key)), "y".repeat(8000));
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "x".repeat(60_000), "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    let headers = [
        ("authorization", &*bearer),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", &other),
    ];

    let answer = server.raw(written("POST", "/mcp", &headers, Some(&message.to_string())).as_bytes());

    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["code"], -32600);
    assert_eq!(refusals(&server), [of_key(key.plain.id(), Action::Call, Outcome::InvalidArgument)]);
}

#[test]
fn a_foreign_host_or_origin_with_a_right_key_leaves_a_row() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let bearer = format!("Bearer {}", token_of(&key));
    let by_host = format!("GET {SECRETS} HTTP/1.1\r\nHost: evil.example\r\nAuthorization: {bearer}\r\n\r\n");
    let by_origin = written("GET", SECRETS, &[("authorization", &bearer), ("origin", "https://evil.example")], None);

    assert_eq!([by_host, by_origin].map(|request| server.raw(request.as_bytes()).status), [403, 403]);

    let row = of_key(key.plain.id(), Action::Call, Outcome::PermissionDenied);
    assert_eq!(refusals(&server), [row, row]);
    assert_eq!(counted(&server, ErrorCode::PermissionDenied), 2);
}

#[test]
fn an_unknown_path_or_method_with_a_right_key_leaves_a_row_and_with_a_wrong_one_that_of_its_credential() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let (token, wrong) = (token_of(&key), format!("cs_{}", "0".repeat(32)));

    assert_eq!(server.get("/api/v2/nothing", &token).status, 404);
    assert_eq!(server.send("PATCH", SECRETS, &token, None).status, 405);
    assert_eq!(server.get("/api/v2/nothing", &wrong).status, 404);

    let id = key.plain.id();
    let expected = [
        of_key(id, Action::Call, Outcome::NotFound),
        of_key(id, Action::Call, Outcome::InvalidArgument),
        (Actor::Unknown, Action::Authenticate, Outcome::Unauthenticated),
    ];
    assert_eq!(refusals(&server), expected);
}

#[test]
fn what_a_stranger_without_a_credential_asks_in_vain_is_counted_and_leaves_no_row() {
    let server = Server::start();
    let foreign = "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned();
    let requests = [written("GET", "/nothing", &[], None), written("PATCH", SECRETS, &[], None), foreign];

    assert_eq!(requests.map(|request| server.raw(request.as_bytes()).status), [404, 405, 403]);

    assert_eq!(refusals(&server), []);
    assert_eq!(counted(&server, ErrorCode::NotFound), 1);
}

#[test]
fn refusals_that_reach_no_route_get_a_hundred_rows_a_minute() {
    let server = Server::start();
    let token = server.token();
    for _ in 0..120 {
        assert_eq!(server.get("/nothing", &token).status, 404);
    }
    assert_eq!(refusals(&server).len(), 100);
}

#[test]
fn a_request_that_takes_too_long_is_unavailable_counted_and_in_the_audit_log() {
    let mut settings = settings();
    settings.limits.request = Duration::from_millis(500);
    let server = Server::with(settings);
    let key = server.key(Scope::ALL);
    let other = rusqlite::Connection::open(server.vault.dir.path().join("data/vault.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut client = server.client();
    let bearer = format!("Bearer {}", token_of(&key));
    client.write(written("POST", SECRETS, &[("authorization", &bearer)], Some(r#"{"label":"a"}"#)).as_bytes());
    crate::kit::until(|| counted(&server, ErrorCode::Unavailable) != 0);
    // From here on the row can be written.
    other.execute_batch("ROLLBACK").unwrap();

    let answer = client.read();

    assert_eq!(answer.refusal(), (503, "unavailable".to_owned()));
    assert_eq!(answer.json()["outcome"], "unknown", "the writer may still have had it");
    assert_eq!(refusals(&server), [of_key(key.plain.id(), Action::SecretRegister, Outcome::Unavailable)]);
    assert_eq!(counted(&server, ErrorCode::Unavailable), 1);
}

#[test]
fn what_is_refused_because_of_the_clock_is_counted() {
    let server = Server::start();
    let token = server.token();
    server.vault.clock.set_seconds(-86_400);
    assert_eq!(server.get(SECRETS, &token).status, 503);
    assert_eq!(counted(&server, ErrorCode::Unavailable), 1);
}

/// Requests that are refused in any case, with the actions of their rows.
pub(crate) fn refused_requests() -> Vec<(Action, Value)> {
    let unserved = [
        "completion/complete",
        "resources/subscribe",
        "resources/directory/read",
        "logging/setLevel",
        "tasks/get",
        "subscriptions/listen",
        "foo/bar",
        "tools/lists",
    ];
    let unserved = unserved.map(|method| (Action::Call, json!({"method": method, "params": {}})));
    let level = json!({"method": "logging/setLevel", "params": {"level": "debug"}});
    let call = |params: Value| json!({"method": "tools/call", "params": params});
    let calls = [
        (Action::Call, call(json!({"name": "no_such_tool", "arguments": {}}))),
        (Action::Call, call(json!({"name": 7}))),
        (Action::Call, call(json!({}))),
        (Action::Call, json!({"method": "tools/call"})),
        (Action::CodeGet, call(json!({"name": "get_totp_code", "arguments": "{}"}))),
        (Action::CodeGet, call(json!({"name": "get_totp_code", "arguments": [1]}))),
        (Action::CodeGet, call(json!({"name": "get_totp_code", "arguments": {}, "inputResponses": 5}))),
        (Action::CodeGet, call(json!({"name": "get_totp_code", "arguments": {"secret_id": "x"}}))),
    ];
    let all = unserved.into_iter().chain([(Action::Call, level)]).chain(calls);
    let numbered = all.zip(100..).map(|((action, mut message), id)| {
        message["jsonrpc"] = json!("2.0");
        message["id"] = json!(id);
        (action, message)
    });
    numbered.collect()
}

#[test]
fn every_request_that_mcp_refuses_in_a_session_leaves_one_row() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let (token, id) = (token_of(&key), key.plain.id());
    let session = mcp::try_open(&server, &token).unwrap();
    let mut stream = sse::try_open(&server, &token).unwrap();
    let mut expected = Vec::new();
    for (action, message) in refused_requests() {
        let answer = mcp::post(&server, &token, Some(&session), &message);
        assert_eq!(answer.status, 200, "{message}");
        let heard = [mcp::message(&answer), stream.try_ask(&server, &message).unwrap()];
        assert!(heard.iter().all(|said| said["id"] == message["id"]), "{message}: {heard:?}");
        expected.extend([of_key(id, action, Outcome::InvalidArgument); 2]);
        assert_eq!(refusals(&server), expected, "{message}");
    }
    assert_eq!(counted(&server, ErrorCode::InvalidArgument), u64::try_from(expected.len()).unwrap());
}

#[test]
fn what_a_session_does_not_ask_for_leaves_no_row() {
    let server = Server::start();
    let token = server.token();
    let session = mcp::try_open(&server, &token).unwrap();
    let mut stream = sse::try_open(&server, &token).unwrap();
    let said = |method: &str| json!({"jsonrpc": "2.0", "method": method});
    for message in [said("notifications/foo"), said("foo/bar"), json!({"jsonrpc": "2.0", "id": 9, "result": {}})] {
        assert_eq!(mcp::post(&server, &token, Some(&session), &message).status, 202, "{message}");
        assert_eq!(server.post(stream.endpoint(), &token, &message.to_string()).status, 202, "{message}");
    }
    for method in ["ping", "tools/list"] {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method});
        assert_eq!(mcp::post(&server, &token, Some(&session), &message).status, 200, "{method}");
        assert!(stream.try_ask(&server, &message).unwrap()["result"].is_object(), "{method}");
    }
    assert_eq!(refusals(&server), []);
}

#[test]
fn what_a_stream_refuses_before_and_of_its_handshake_leaves_a_row() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let mut stream = sse::try_open(&server, &token_of(&key)).unwrap();
    let mut ungreeted = sse::opened(&server, &token_of(&key)).unwrap();
    let ask =
        |id: i64, method: &str, params: Value| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    let stateless = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}});

    for refused in [
        ungreeted.try_ask(&server, &ask(1, "tools/list", json!({}))),
        ungreeted.try_ask(&server, &ask(2, "initialize", json!({"capabilities": {}}))),
        stream.try_ask(&server, &ask(3, "tools/list", stateless)),
    ] {
        assert!(refused.unwrap()["error"].is_object());
    }

    let row = of_key(key.plain.id(), Action::Call, Outcome::InvalidArgument);
    assert_eq!(refusals(&server), [row; 3]);
}

#[test]
fn every_request_that_mcp_refuses_without_a_session_leaves_one_row() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let bearer = format!("Bearer {}", token_of(&key));
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut rows = 0;
    for (_, mut message) in refused_requests() {
        message["params"]["_meta"] = meta.clone();
        let method = message["method"].as_str().unwrap().to_owned();
        let mut headers = vec![
            ("authorization", &*bearer),
            ("accept", "application/json, text/event-stream"),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", &method),
        ];
        headers.extend(message["params"]["name"].as_str().map(|name| ("mcp-name", name)));
        server.raw(written("POST", "/mcp", &headers, Some(&message.to_string())).as_bytes());
        rows += 1;
        assert_eq!(refusals(&server).len(), rows, "{message}");
    }
}
