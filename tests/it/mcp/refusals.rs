//! Requests that a sidecar refuses without the handler: each leaves a row in the audit log.

use countersign::{
    domain::{
        audit::{Action, Actor, AuditFilter, Outcome},
        scope::ScopeSet,
    },
    transport::mcp::Reveal,
};
use serde_json::{Value, json};

use super::Wire;
use crate::http::refusals::refused_requests;

/// The refusals in the audit log.
async fn refusals(wire: &Wire) -> Vec<(Actor, Action, Outcome)> {
    let rows = wire.vault.all_rows(AuditFilter::default()).await.into_iter().map(|row| row.entry);
    rows.filter(|row| row.outcome != Outcome::Ok).map(|row| (row.actor, row.action, row.outcome)).collect()
}

fn row(action: Action) -> (Actor, Action, Outcome) {
    (Actor::Stdio, action, Outcome::InvalidArgument)
}

fn meta(version: &str) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

/// Sends each request with these metadata, and checks that it leaves one row.
async fn check_each(wire: &mut Wire, meta: Option<&Value>) {
    let mut expected = Vec::new();
    for (action, mut message) in refused_requests() {
        if let Some(meta) = meta {
            message["params"]["_meta"] = meta.clone();
        }
        wire.send(&message.to_string()).await;
        assert_eq!(wire.receive().await["id"], message["id"], "{message}");
        expected.push(row(action));
        assert_eq!(refusals(wire).await, expected, "{message}");
    }
}

#[tokio::test]
async fn every_request_that_a_sidecar_refuses_leaves_one_row() {
    check_each(&mut Wire::open().await, None).await;
}

#[tokio::test]
async fn every_request_that_a_sidecar_without_a_handshake_refuses_leaves_one_row() {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let listed = wire.request("tools/list", json!({"_meta": meta("2026-07-28")})).await;
    assert!(listed["result"]["tools"].is_array(), "{listed}");
    check_each(&mut wire, Some(&meta("2026-07-28"))).await;
}

#[tokio::test]
async fn what_a_sidecar_refuses_because_of_its_revision_leaves_a_row() {
    let incomplete = json!({"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}});
    let unknown = json!({"_meta": meta("2099-01-01")});
    let (stateless, nothing) = (json!({"_meta": meta("2026-07-28")}), json!({}));
    let (mut fresh, mut greeted) = (Wire::connect(ScopeSet::ALL, Reveal::Once), Wire::open().await);
    let mut inline = Wire::connect(ScopeSet::ALL, Reveal::Once);
    inline.request("tools/list", stateless.clone()).await;
    let cases: [(&mut Wire, Vec<(&str, &Value)>); 3] = [
        (&mut fresh, vec![("tools/list", &nothing), ("tools/list", &unknown), ("server/discover", &nothing)]),
        (&mut greeted, vec![("tools/list", &incomplete), ("tools/call", &unknown), ("ping", &stateless)]),
        (&mut inline, vec![("tools/list", &nothing), ("tools/call", &unknown), ("ping", &stateless)]),
    ];
    for (wire, requests) in cases {
        for ((method, params), rows) in requests.into_iter().zip(1..) {
            let answer = wire.request(method, params.clone()).await;
            assert!(answer["error"].is_object(), "{method} {params}: {answer}");
            assert_eq!(refusals(wire).await, vec![row(Action::Call); rows], "{method} {params}");
        }
    }
}

#[tokio::test]
async fn a_line_that_is_refused_leaves_a_row() {
    let mut wire = Wire::open().await;
    let again = r#"{"jsonrpc":"2.0","id":50,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#;
    for (line, rows) in
        ["{", "[]", r#"{"id":7,"method":"x"}"#, r#"{"jsonrpc":"2.0","id":51,"method":"initialize"}"#, again]
            .into_iter()
            .zip(1..)
    {
        wire.send(line).await;
        assert!(wire.receive().await["error"].is_object(), "{line}");
        assert_eq!(refusals(&wire).await, vec![row(Action::Call); rows], "{line}");
    }
}

#[tokio::test]
async fn what_asks_for_nothing_or_is_served_leaves_no_row() {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let stateless = json!({"_meta": meta("2026-07-28")});
    wire.request("server/discover", stateless.clone()).await;
    wire.request("ping", json!({})).await;
    let hello =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}});
    wire.request("initialize", hello).await;
    for silent in ["", r#"{"jsonrpc":"2.0","method":"notifications/foo"}"#, r#"{"jsonrpc":"2.0","method":"foo/bar"}"#] {
        wire.send(silent).await;
    }
    for (method, params) in [
        ("ping", json!({})),
        ("tools/list", json!({})),
        ("tools/list", stateless.clone()),
        ("server/discover", stateless),
    ] {
        assert!(wire.request(method, params).await["result"].is_object(), "{method}");
    }
    assert_eq!(refusals(&wire).await, []);
}
