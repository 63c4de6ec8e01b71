//! The end of a handshake client's session.

use std::time::{Duration, Instant};

use countersign::{
    domain::{
        audit::{Action, AuditFilter},
        scope::Scope,
    },
    operations::RevokeKey,
};
use serde_json::json;

use super::{
    kit::{Server, settings, token_of, written},
    mcp::{delete, message, post, sessions, try_open},
};

#[test]
fn a_session_that_is_ended_answers_with_nothing_at_all() {
    let server = Server::start();
    let token = server.token();
    let session = try_open(&server, &token).unwrap();

    let ended = delete(&server, &token, &session);

    // Clients know 200 and 204; one of them logs a warning at 202, which means that the session will end later.
    assert_eq!((ended.status, ended.body.len()), (204, 0));
    assert_eq!((ended.header("content-type"), ended.header("content-length")), (None, None));
}

#[test]
fn a_call_that_waits_gives_its_step_back_as_soon_as_its_session_is_ended() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    let session = try_open(&server, &token).unwrap();
    let arguments = json!({"secret_id": id.to_string(), "single_use": true});
    let call = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call",
        "params": {"name": "get_totp_code", "arguments": arguments}});
    let first = message(&post(&server, &token, Some(&session), &call));
    assert_eq!(first["result"]["structuredContent"]["status"], "OK");
    let bearer = format!("Bearer {token}");
    let headers =
        [("authorization", &*bearer), ("accept", "application/json, text/event-stream"), ("mcp-session-id", &session)];
    let mut waiting = server.client();
    waiting.write(written("POST", "/mcp", &headers, Some(&call.to_string())).as_bytes());
    crate::kit::until(|| server.vault.service.tally().waiting != 0);

    let asked = Instant::now();
    delete(&server, &token, &session);
    let released = AuditFilter { action: Some(Action::CodeRelease), ..AuditFilter::default() };
    crate::kit::until(|| !server.wait(server.vault.rows(released.clone())).is_empty());

    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
fn the_sessions_of_a_revoked_key_end_although_nobody_listens_to_them() {
    let mut settings = settings();
    settings.limits.keep_alive = Duration::from_millis(100);
    let server = Server::with(settings);
    let (key, other) = (server.key(Scope::ALL), server.token());
    for _ in 0..2 {
        try_open(&server, &token_of(&key)).unwrap();
    }
    let kept = try_open(&server, &other).unwrap();
    assert_eq!(sessions(&server), 3);

    server.wait(server.vault.service.perform(&server.vault.person, RevokeKey { id: key.plain.id() })).unwrap();

    crate::kit::until(|| sessions(&server) == 1);
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    assert_eq!(post(&server, &other, Some(&kept), &list).status, 200);
}
