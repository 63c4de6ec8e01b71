//! The protocol itself, with each known pitfall of the SDK.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use countersign::{
    domain::{
        limits::LINE_BYTES_MAX,
        principal::Principal,
        scope::{Scope, ScopeSet},
    },
    transport::mcp::{McpServer, Reveal, stdio},
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use super::Wire;
use crate::kit::{RFC_SEED, Vault, alone_at_once};

#[tokio::test]
async fn every_handshake_revision_is_spoken() {
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut wire = Wire::open_with(ScopeSet::ALL, Reveal::Once, revision).await;
        let registered = wire.ok("register_totp_secret", json!({"label": "A", "secret": RFC_SEED})).await;
        let id = &registered["totp_secret"]["id"];
        let code = wire.ok("get_totp_code", json!({"secret_id": id})).await;
        assert_eq!(code["status"], "OK", "{revision}");
        for tool in ["get_seat_count", "list_totp_secrets", "get_seat"] {
            let result = wire.call(tool, json!({})).await;
            assert!(result.get("resultType").is_none(), "a field that {revision} does not have: {result}");
        }
    }
}

#[tokio::test]
async fn a_call_may_be_of_another_revision_than_its_session() {
    let mut wire = Wire::open().await;
    let call = |version: &str, name: &str| {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
            name: {},
        });
        json!({"_meta": meta, "name": "get_seat_count", "arguments": {}})
    };
    let needed = "io.modelcontextprotocol/clientCapabilities";

    let answer = wire.request("tools/call", call("2026-07-28", needed)).await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    let answer = wire.request("tools/call", call("2026-07-28", "x")).await;
    assert_eq!(answer["error"]["code"], -32602, "what the revision requires is missing: {answer}");
    let answer = wire.request("tools/call", call("1999-01-01", needed)).await;
    assert!(answer["error"]["data"]["supported"].to_string().contains("2026-07-28"), "{answer}");
    assert_eq!(wire.ok("get_seat_count", json!({})).await["count"], 0);
}

#[tokio::test]
async fn the_stateless_revision_is_spoken() {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let found = wire.request("server/discover", json!({"_meta": meta})).await;
    assert!(found["result"]["supportedVersions"].to_string().contains("2026-07-28"), "{found}");

    let list = wire.request("tools/list", json!({"_meta": meta})).await;
    assert_eq!(list["result"]["cacheScope"], "private", "{list}");
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 9);
    let call = json!({"_meta": meta, "name": "get_seat_count", "arguments": {}});
    let answer = wire.request("tools/call", call).await;
    assert_eq!(answer["result"]["structuredContent"]["count"], 0, "{answer}");
    let call = json!({"_meta": meta, "name": "get_seat_count", "arguments": []});
    let answer = wire.request("tools/call", call).await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
}

#[tokio::test]
async fn a_session_begins_once() {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let hello = |revision: &str| json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let count = || json!({"name": "get_seat_count", "arguments": {}});

    let mut wire = Wire::open().await;
    let again = wire.request("initialize", hello("2026-07-28")).await;
    assert_eq!(again["error"]["code"], -32600, "{again}");
    let answer = wire.request("tools/call", count()).await;
    assert!(answer["result"].get("resultType").is_none(), "the session's revision has changed: {answer}");

    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    wire.request("server/discover", json!({"_meta": meta})).await;
    assert!(wire.request("tools/list", json!({"_meta": meta})).await.get("result").is_some());
    let late = wire.request("initialize", hello("2025-11-25")).await;
    assert_eq!(late["error"]["code"], -32600, "{late}");
    for (method, params) in [("tools/list", json!({})), ("tools/call", count())] {
        let answer = wire.request(method, params).await;
        assert_eq!(answer["error"]["code"], -32602, "{method}: {answer}");
    }

    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    wire.request("server/discover", json!({"_meta": meta})).await;
    assert_eq!(wire.request("initialize", hello("2025-11-25")).await["result"]["protocolVersion"], "2025-11-25");
    assert_eq!(wire.ok("get_seat_count", json!({})).await["count"], 0);
}

#[tokio::test]
async fn a_model_is_told_how_to_log_in() {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let hello =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let answer = wire.request("initialize", hello).await;
    let result = &answer["result"];
    assert_eq!(result["serverInfo"]["name"], "countersign");
    for word in ["expires_in", "min_validity", "stale", "Never ask a person for the seed"] {
        assert!(result["instructions"].as_str().unwrap().contains(word), "{word}");
    }
}

#[tokio::test]
async fn a_notification_before_the_first_request_ends_nothing() {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    wire.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#).await;
    let hello =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    assert!(wire.request("initialize", hello).await["result"].is_object());
}

#[tokio::test]
async fn what_is_no_request_ends_nothing_before_the_session_is_open() {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let unknown = json!({
        "io.modelcontextprotocol/protocolVersion": "2099-01-01",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    for (method, params) in [
        ("ping", json!({"_meta": meta})),
        ("server/discover", json!({"_meta": meta})),
        ("tools/list", json!({})),
        ("tools/call", json!({"name": "get_seat_count", "_meta": unknown})),
    ] {
        let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
        wire.request(method, params).await;
        for line in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"x"}}"#,
        ] {
            wire.send(line).await;
        }
        let hello =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        assert!(wire.request("initialize", hello).await["result"].is_object(), "{method}");
    }
}

#[tokio::test]
async fn a_request_of_a_session_without_a_handshake_can_be_cancelled() {
    let mut wire = Wire::connect(ScopeSet::ALL, Reveal::Once);
    let id = wire.vault.register("A").await.secret.id.to_string();
    wire.vault.clock.set_seconds(1_795_305_625);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": "get_totp_code", "arguments": {"secret_id": id, "min_validity": 10}, "_meta": meta});
    wire.send(&json!({"jsonrpc": "2.0", "id": 500, "method": "tools/call", "params": params}).to_string()).await;
    wire.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":500}}"#).await;
    wire.send(&json!({"jsonrpc": "2.0", "id": 500, "method": "tools/list", "params": {"_meta": meta}}).to_string())
        .await;
    let answer = wire.receive().await;
    assert!(answer.get("error").is_none(), "{answer}");
}

#[tokio::test]
async fn a_line_beyond_the_limit_is_refused_and_the_session_goes_on() {
    let mut wire = Wire::open().await;
    let frame =
        r#"{"jsonrpc":"2.0","id":99,"method":"tools/call","params":{"name":"get_seat","arguments":{"seat_id":""}}}"#;
    let padded =
        |bytes: usize| frame.replace(r#""seat_id":"""#, &format!(r#""seat_id":"{}""#, "x".repeat(bytes - frame.len())));

    for ending in ["", "\r"] {
        wire.send(&(padded(LINE_BYTES_MAX) + ending)).await;
        let at_the_limit = wire.receive().await;
        assert_eq!(at_the_limit["id"], 99);
    }

    wire.send(&padded(LINE_BYTES_MAX + 1)).await;
    let beyond = wire.receive().await;
    assert_eq!(beyond["error"]["code"], -32600, "{beyond}");
    assert_eq!(wire.ok("get_seat_count", json!({})).await["count"], 0);
}

#[tokio::test]
async fn whoever_waits_for_an_answer_gets_one() {
    let mut wire = Wire::open().await;
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    for (line, code, id) in [
        (
            r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"x","arguments":{"a":"\ud83d"}}}"#,
            -32700,
            json!(5),
        ),
        (&format!(r#"{{"jsonrpc":"2.0","method":"x","params":{{"a":{deep}}},"id":"six"}}"#), -32700, json!("six")),
        (r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#, -32600, json!(7)),
        (
            r#"{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"get_seat","arguments":{"seat_id":"a","seat_id":"b"}}}"#,
            -32600,
            json!(8),
        ),
        ("hello", -32700, Value::Null),
        ("[]", -32600, Value::Null),
    ] {
        wire.send(line).await;
        let answer = wire.receive().await;
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{line}: {answer}");
    }
}

#[tokio::test]
async fn a_call_of_the_wrong_form_is_told_what_is_wrong_with_it() {
    let mut wire = Wire::open().await;
    let hint = "`arguments` must be a JSON object, not a text that holds one";
    let plain = "`arguments` must be a JSON object";
    for (arguments, expected) in [(json!("{}"), hint), (json!([]), plain), (json!(7), plain), (json!(true), plain)] {
        let result = wire.call("get_seat_count", arguments.clone()).await;
        assert!(result.get("resultType").is_none(), "a field that this revision does not have: {result}");
        let refused = wire.refused("get_seat_count", arguments).await;
        assert_eq!((&refused["error"], &refused["message"]), (&json!("invalid_argument"), &json!(expected)));
    }
    for params in [
        json!({"name": "get_seat_count", "requestState": 7}),
        json!({"name": "get_seat_count", "arguments": {}, "inputResponses": 7}),
    ] {
        let answer = wire.request("tools/call", params).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("beside `name`"), "{answer}");
    }
    for params in [json!({"name": 5}), json!({}), json!({"arguments": {}})] {
        let answer = wire.request("tools/call", params).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("`params.name`"), "{answer}");
    }
}

/// Two callers request a single-use code of one secret: one gets it, one waits. Then the server ends.
async fn ended_while_one_waits(stopped: bool) {
    let mut wire = Wire::open().await;
    let id = wire.vault.register("A").await.secret.id;
    for call in [71, 72] {
        let arguments = json!({"secret_id": id.to_string(), "single_use": true, "max_wait": 120});
        let params = json!({"name": "get_totp_code", "arguments": arguments});
        wire.send(&json!({"jsonrpc": "2.0", "id": call, "method": "tools/call", "params": params}).to_string()).await;
    }
    let patience = crate::kit::Patience::new();
    while wire.vault.service.tally().waiting < 1 {
        patience.turn().await;
    }
    if stopped {
        wire.stop.cancel();
    } else {
        wire.hang_up().await;
    }

    let answers = wire.last_words().await;

    let mut ids: Vec<i64> = answers.iter().filter_map(|answer| answer["id"].as_i64()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [71, 72], "{answers:?}");
    let sorry = answers.iter().filter(|answer| answer["result"]["isError"] == true);
    assert!(
        sorry.clone().all(|answer| answer.to_string().contains("unavailable")) && sorry.count() == 1,
        "{answers:?}"
    );
    // The step that was reserved is free again.
    let elsewhere = wire.vault.another_service();
    let busy = elsewhere.perform(&wire.vault.person, alone_at_once(id)).await.err().unwrap();
    assert!(busy.retry_after().is_some_and(|after| (30..40).contains(&after)), "{busy}");
}

#[tokio::test]
async fn a_host_that_closes_its_end_is_answered_in_full() {
    ended_while_one_waits(false).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_end_answers_in_full() {
    ended_while_one_waits(true).await;
}

/// Counts the writes that reach it.
struct Counted<W>(W, Arc<AtomicUsize>);

impl<W: AsyncWrite + Unpin> AsyncWrite for Counted<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn answers_that_are_ready_together_leave_in_one_write_and_in_order() {
    let vault = Vault::new();
    let caller = Principal::stdio(vault.account, ScopeSet::ALL, None);
    let server = McpServer::for_caller(vault.service.clone(), caller, Reveal::Once);
    let (mut host, theirs) = tokio::io::duplex(1 << 20);
    let (input, output) = tokio::io::split(theirs);
    let writes = Arc::new(AtomicUsize::new(0));
    let output = Counted(output, Arc::clone(&writes));
    tokio::spawn(stdio::serve_on(server, input, output, CancellationToken::new()));
    let client = json!({"name": "t", "version": "1"});
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let request = |id: u64, method: &str, params: &Value| {
        format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
    };
    host.write_all(request(0, "initialize", &hello).as_bytes()).await.unwrap();
    let mut lines = BufReader::new(host).lines();
    lines.next_line().await.unwrap();
    let before = writes.load(Ordering::Relaxed);

    let many = (1..=20).map(|id| request(id, "ping", &json!({}))).collect::<String>();
    lines.get_mut().get_mut().write_all(many.as_bytes()).await.unwrap();
    let mut ids = Vec::new();
    for _ in 1..=20 {
        let answer: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        ids.push(answer["id"].as_u64().unwrap());
    }

    assert_eq!(ids, (1..=20).collect::<Vec<_>>());
    assert_eq!(writes.load(Ordering::Relaxed) - before, 1);
}

#[tokio::test]
async fn a_host_that_does_not_read_is_not_read_from() {
    let vault = Vault::new();
    let server = McpServer::for_caller(
        vault.service.clone(),
        Principal::stdio(vault.account, ScopeSet::ALL, None),
        Reveal::Once,
    );
    let (mut host, theirs) = tokio::io::duplex(64 * 1024);
    let (input, output) = tokio::io::split(theirs);
    let stop = CancellationToken::new();
    let session = tokio::spawn(stdio::serve_on(server, input, output, stop.clone()));
    let hello =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello});
    host.write_all(format!("{hello}\n").as_bytes()).await.unwrap();
    let list = |id: i64| format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": "tools/list"}));
    let mut ids = 1..;
    let mut lists = || ids.by_ref().take(1000).map(list).collect::<String>();

    // Each list is answered with about 12 KiB: without a limit, more than 200 MiB of answers.
    let mut taken = 0;
    while taken < 200 && tokio::time::timeout(Duration::from_secs(2), host.write_all(lists().as_bytes())).await.is_ok()
    {
        taken += 12;
    }

    assert!(taken < 60, "everything was read although nothing was");
    stop.cancel();
    session.await.unwrap().unwrap();
}

#[tokio::test]
async fn broken_messages_end_nothing() {
    let mut wire = Wire::open().await;
    for line in ["", "{", "[]", "null", "\"x\"", "{\"jsonrpc\":\"2.0\"}", "\u{0}", "[{\"jsonrpc\":\"2.0\"}]"] {
        wire.send(line).await;
    }
    assert_eq!(wire.ok("get_seat_count", json!({})).await["count"], 0);
}

#[tokio::test]
async fn a_blank_line_is_no_message() {
    let mut wire = Wire::open().await;
    for blank in ["", "\r", " ", " \t \t\r"] {
        wire.send(blank).await;
        wire.send(r#"{"jsonrpc":"2.0","id":99,"method":"ping"}"#).await;
        assert_eq!(wire.receive().await, json!({"jsonrpc": "2.0", "id": 99, "result": {}}), "{blank:?}");
    }
}

#[tokio::test]
async fn an_unknown_tool_is_a_protocol_error_that_repeats_nothing() {
    let mut wire = Wire::open().await;
    let answer = wire.request("tools/call", json!({"name": RFC_SEED, "arguments": {}})).await;
    assert_eq!(answer["error"]["code"], -32602);
    assert!(!answer.to_string().contains(RFC_SEED));
}

#[tokio::test]
async fn tools_outside_the_scopes_are_neither_listed_nor_callable() {
    let scopes = ScopeSet::default().with(Scope::SecretsRead);
    let mut wire = Wire::open_with(scopes, Reveal::Once, "2025-11-25").await;
    let list = wire.request("tools/list", json!({})).await;
    let names: Vec<&Value> = list["result"]["tools"].as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["list_totp_secrets"]);
    let refused = wire.refused("get_totp_code", json!({"secret_id": uuid::Uuid::nil().to_string()})).await;
    assert_eq!(refused["error"], "permission_denied");
    assert!(refused["message"].as_str().unwrap().contains("codes:read"));
    // The form of the arguments makes no difference.
    let misread = wire.refused("get_totp_code", json!("{}")).await;
    assert_eq!(misread, refused);
}

#[tokio::test]
async fn a_seed_is_revealed_once_or_never() {
    let mut wire = Wire::open().await;
    let registered = wire.ok("register_totp_secret", json!({"label": "A", "secret": RFC_SEED})).await;
    assert_eq!(registered["totp_secret"]["secret"], RFC_SEED);
    let list = wire.ok("list_totp_secrets", json!({})).await;
    assert!(!list.to_string().contains(RFC_SEED));
    assert!(list["totp_secrets"][0].get("secret").is_none());

    let mut wire = Wire::open_with(ScopeSet::ALL, Reveal::Never, "2025-11-25").await;
    let registered = wire.ok("register_totp_secret", json!({"label": "A", "secret": RFC_SEED})).await;
    assert!(registered["totp_secret"].get("secret").is_none());
}

#[tokio::test]
async fn all_eight_tools_work() {
    let mut wire = Wire::open().await;
    let uri = format!("otpauth://totp/Acme:ada?secret={RFC_SEED}&issuer=Acme&digits=8&algorithm=SHA1");
    let secret = wire.ok("register_totp_secret", json!({"uri": uri})).await["totp_secret"].clone();
    assert_eq!((&secret["issuer"], &secret["label"], &secret["digits"]), (&json!("Acme"), &json!("ada"), &json!(8)));

    wire.vault.clock.set_seconds(1_111_111_109);
    let code = wire.ok("get_totp_code", json!({"secret_id": secret["id"]})).await;
    assert_eq!(code, json!({"code": "07081804", "expires_in": 1, "status": "OK"}));
    let verified = wire.ok("verify_totp_code", json!({"secret_id": secret["id"], "code": "07081804"})).await;
    assert_eq!(verified, json!({"status": "OK", "valid": true}));
    let again = wire.ok("verify_totp_code", json!({"secret_id": secret["id"], "code": "07081804"})).await;
    assert_eq!(again["valid"], false);

    let list = wire.ok("list_totp_secrets", json!({"query": "ACME"})).await;
    assert_eq!((&list["total"], &list["totp_secrets"][0]["id"]), (&json!(1), &secret["id"]));
    assert_eq!(wire.ok("list_seats", json!({})).await["seats"], json!([]));
    assert_eq!(wire.ok("get_seat_count", json!({})).await, json!({"count": 0}));
    assert_eq!(wire.refused("get_seat", json!({"seat_id": "nobody"})).await["error"], "not_found");
    assert_eq!(wire.ok("delete_totp_secret", json!({"secret_id": secret["id"]})).await, json!({"status": "OK"}));
    assert_eq!(wire.refused("get_totp_code", json!({"secret_id": secret["id"]})).await["error"], "not_found");
}

#[tokio::test]
async fn a_waiting_call_tells_its_client_and_ends_when_cancelled() {
    let mut wire = Wire::open().await;
    let start = 1_795_305_600;
    let id = wire.ok("register_totp_secret", json!({"label": "A"})).await["totp_secret"]["id"].clone();
    wire.vault.clock.set_seconds(start + 25);
    let call = json!({"jsonrpc": "2.0", "id": 500, "method": "tools/call", "params": {
        "name": "get_totp_code", "arguments": {"secret_id": id, "single_use": true, "min_validity": 10},
        "_meta": {"progressToken": "p"}}});
    wire.send(&call.to_string()).await;
    wire.ok("get_seat_count", json!({})).await;
    wire.vault.clock.set_seconds(start + 26);
    let progress = wire.receive().await;
    assert_eq!(progress["method"], "notifications/progress", "{progress}");

    wire.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":500}}"#).await;
    wire.ok("get_seat_count", json!({})).await;
    wire.vault.clock.set_seconds(start + 30);
    // The step that was held is free again: the next single-use call gets it at once.
    let code = wire.ok("get_totp_code", json!({"secret_id": id, "single_use": true, "max_wait": 0})).await;
    assert_eq!(code["expires_in"], 30);
}

#[tokio::test]
async fn an_id_names_one_request_until_that_is_answered_or_cancelled() {
    let mut wire = Wire::open().await;
    let start = 1_795_305_600;
    let secret = wire.ok("register_totp_secret", json!({"label": "A"})).await["totp_secret"]["id"].clone();
    wire.vault.clock.set_seconds(start + 25);
    let line = |id: &Value, params: Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
    };
    let waits = json!({"name": "get_totp_code", "arguments": {"secret_id": secret, "min_validity": 10}});
    let count = json!({"name": "get_seat_count", "arguments": {}});
    for id in [json!(500), json!("500")] {
        wire.send(&line(&id, waits.clone())).await;
        for _ in 0..2 {
            wire.send(&line(&id, count.clone())).await;
            let twice = wire.receive().await;
            assert_eq!((&twice["id"], &twice["error"]["code"]), (&id, &json!(-32600)), "{twice}");
            let said = twice["error"]["message"].as_str().unwrap();
            assert!(said.contains("`id`") && said.contains("not answered yet"), "{said}");
        }
    }

    // The first requests continue.
    wire.vault.clock.set_seconds(start + 30);
    for _ in 0..2 {
        let answer = wire.receive().await;
        assert_eq!(answer["result"]["structuredContent"]["expires_in"], 30, "{answer}");
    }
    wire.send(&line(&json!(500), count.clone())).await;
    assert_eq!(wire.receive().await["result"]["structuredContent"]["count"], 0);

    wire.vault.clock.set_seconds(start + 55);
    wire.send(&line(&json!(600), waits)).await;
    wire.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":600}}"#).await;
    wire.ok("get_seat_count", json!({})).await;
    wire.send(&line(&json!(600), count)).await;
    assert_eq!(wire.receive().await["result"]["structuredContent"]["count"], 0);
}
