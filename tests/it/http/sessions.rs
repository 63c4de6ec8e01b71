//! How a session of a handshake client ends.

use std::time::{Duration, Instant};

use countersign::domain::audit::{Action, AuditFilter};
use serde_json::json;

use super::{
    kit::{Server, written},
    mcp::{delete, message, post, try_open},
};

#[test]
fn a_session_that_is_ended_answers_with_nothing_at_all() {
    let server = Server::start();
    let token = server.token();
    let session = try_open(&server, &token).unwrap();

    let ended = delete(&server, &token, &session);

    // Clients know 200 and 204; at 202, which says that it will end sometime, one of them warns.
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
