//! Streamable HTTP: sessions bound to their owners, calls without a session, and errors in a readable form.

use std::{io::Read as _, time::Duration};

use countersign::{
    domain::{rate::Rate, scope::Scope},
    operations::{CreateKey, RevokeKey},
};
use serde_json::{Value, json};

use super::{
    kit::{Answer, Server, request, settings, token_of, written},
    matrix::call_2026,
};

/// Sends a message of a handshake client, with its session if it has one.
pub(super) fn post(server: &Server, token: &str, session: Option<&str>, message: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("authorization", &*bearer), ("accept", "application/json, text/event-stream")];
    headers.extend(session.map(|id| ("mcp-session-id", id)));
    server.raw(written("POST", "/mcp", &headers, Some(&message.to_string())).as_bytes())
}

fn hello() -> Value {
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
}

fn list() -> Value {
    json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
}

/// Opens a session, as clients of the handshake revisions do.
fn open(server: &Server, token: &str) -> String {
    try_open(server, token).unwrap()
}

/// Opens a session, or returns the refusal.
pub(super) fn try_open(server: &Server, token: &str) -> Result<String, Answer> {
    let answer = post(server, token, None, &hello());
    if answer.status != 200 {
        return Err(answer);
    }
    let id = answer.header("mcp-session-id").unwrap().to_owned();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(post(server, token, Some(&id), &ready).status, 202);
    Ok(id)
}

/// The last JSON-RPC message of an answer that consists of events.
pub(super) fn message(answer: &Answer) -> Value {
    let text = String::from_utf8(answer.body.clone()).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    serde_json::from_str(data.unwrap()).unwrap()
}

pub(super) fn delete(server: &Server, token: &str, session: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    server.raw(written("DELETE", "/mcp", &[("authorization", &bearer), ("mcp-session-id", session)], None).as_bytes())
}

pub(super) fn sessions(server: &Server) -> usize {
    let text = String::from_utf8(server.raw(written("GET", "/metrics", &[], None).as_bytes()).body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("countersign_mcp_sessions "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_session_calls_tools_until_it_is_ended() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    let session = open(&server, &token);

    let tools = message(&post(&server, &token, Some(&session), &list()));
    let call = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call",
        "params": {"name": "get_totp_code", "arguments": {"secret_id": id.to_string()}}});
    let code = message(&post(&server, &token, Some(&session), &call));

    assert_eq!(tools["result"]["tools"].as_array().map(Vec::len), Some(9));
    assert_eq!(code["result"]["structuredContent"]["status"], "OK");
    assert_eq!(sessions(&server), 1);
    assert_eq!(delete(&server, &token, &session).status, 204);
    let gone = post(&server, &token, Some(&session), &list());
    assert_eq!(gone.refusal(), (404, "not_found".to_owned()));
    assert_eq!(gone.json()["message"], "no such session; start anew with `initialize`");
    assert_eq!(sessions(&server), 0);
}

#[test]
fn to_anybody_else_a_session_does_not_exist() {
    let server = Server::start();
    let (mine, other) = (server.token(), server.token());
    let session = open(&server, &mine);
    let unknown = "00000000-0000-4000-8000-000000000000";
    let stream = |token: &str, id: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("accept", "text/event-stream"), ("mcp-session-id", id)];
        server.raw(written("GET", "/mcp", &headers, None).as_bytes())
    };
    let same = |foreign: Answer, unknown: Answer| {
        assert_eq!((foreign.refusal(), foreign.body), ((404, "not_found".to_owned()), unknown.body));
        let names = |headers: &[(String, String)]| headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&foreign.headers), names(&unknown.headers));
    };

    same(post(&server, &other, Some(&session), &list()), post(&server, &other, Some(unknown), &list()));
    same(stream(&other, &session), stream(&other, unknown));
    same(delete(&server, &other, &session), delete(&server, &other, unknown));
    assert_eq!(post(&server, &mine, Some(&session), &list()).status, 200, "it lives on");
}

#[test]
fn a_session_of_a_revoked_key_is_of_no_use() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let session = open(&server, &token_of(&key));
    server.wait(server.vault.service.perform(&server.vault.person, RevokeKey { id: key.plain.id() })).unwrap();
    assert_eq!(post(&server, &token_of(&key), Some(&session), &list()).refusal().0, 401);
}

#[test]
fn a_stream_of_a_revoked_key_ends() {
    let mut settings = settings();
    settings.limits.keep_alive = Duration::from_millis(100);
    let server = Server::with(settings);
    let (key, other) = (server.key(Scope::ALL), server.token());
    let listen = |token: &str| {
        let session = open(&server, token);
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", &*bearer), ("accept", "text/event-stream"), ("mcp-session-id", &session)];
        let (mut streamable, mut sse) = (server.client(), server.client());
        streamable.write(written("GET", "/mcp", &headers, None).as_bytes());
        sse.write(written("GET", "/sse", &headers[..1], None).as_bytes());
        assert_eq!((streamable.head().unwrap().0, sse.head().unwrap().0), (200, 200));
        [streamable, sse]
    };
    let (revoked, mut others) = (listen(&token_of(&key)), listen(&other));

    server.wait(server.vault.service.perform(&server.vault.person, RevokeKey { id: key.plain.id() })).unwrap();

    for mut stream in revoked {
        while stream.chunk().is_some() {}
    }
    for stream in &mut others {
        assert!(stream.chunk().is_some(), "another key's goes on");
    }
}

#[test]
fn sessions_of_a_key_are_bounded_and_idle_ones_end() {
    let mut settings = settings();
    settings.limits.sessions_per_key = 3;
    settings.limits.session_idle = Duration::from_millis(400);
    let server = Server::with(settings);
    let (token, other) = (server.token(), server.token());

    let mine: Vec<String> = (0..3).map(|_| open(&server, &token)).collect();
    let beyond = post(&server, &token, None, &hello());
    let others = open(&server, &other);

    assert_eq!(beyond.refusal(), (429, "rate_limited".to_owned()));
    assert!(beyond.header("retry-after").is_some());
    // A session with an open stream is not idle, however long no message is sent.
    let bearer = format!("Bearer {other}");
    let headers = [("authorization", &*bearer), ("accept", "text/event-stream"), ("mcp-session-id", &others)];
    let mut stream = server.client();
    stream.write(written("GET", "/mcp", &headers, None).as_bytes());
    assert_eq!(stream.head().unwrap().0, 200);
    crate::kit::until(|| sessions(&server) <= 1);
    assert_eq!(post(&server, &token, Some(&mine[0]), &list()).status, 404);
    assert_eq!(post(&server, &other, Some(&others), &list()).status, 200);
    drop(stream);
    crate::kit::until(|| sessions(&server) == 0);
}

#[test]
fn a_call_without_a_session_is_answered_in_json() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    let (headers, body) = call_2026(&token, "get_totp_code", &json!({"secret_id": id.to_string()}));
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();

    let answer = server.raw(written("POST", "/mcp", &headers, Some(&body)).as_bytes());

    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json()["result"]["structuredContent"]["status"], "OK");
    assert_eq!((answer.header("mcp-session-id"), sessions(&server)), (None, 0));
}

#[test]
fn what_is_wrong_is_said_in_json_and_never_quoted() {
    let server = Server::start();
    let token = server.token();
    let canary = "JBSWY3DPEHPK3PXP";
    let bearer = format!("Bearer {token}");
    let send = |method: &str, headers: &[(&str, &str)], body: Option<&str>| {
        let headers: Vec<_> = headers.iter().copied().chain([("authorization", &*bearer)]).collect();
        let answer = server.raw(written(method, "/mcp", &headers, body).as_bytes());
        assert!(!String::from_utf8_lossy(&answer.body).contains(canary), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        answer
    };

    let broken = send("POST", &[], Some(&format!("{{\"{canary}\": ")));
    assert_eq!((broken.status, &broken.json()["error"]["code"]), (400, &json!(-32700)));
    let other = send("POST", &[], Some(&format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"{canary}\"}}")));
    assert_eq!(other.refusal().0, 400);
    assert_eq!(send("POST", &[], Some(&list().to_string())).refusal(), (400, "invalid_argument".to_owned()));
    assert_eq!(send("POST", &[("mcp-protocol-version", canary)], Some(&list().to_string())).status, 400);
    assert_eq!(send("POST", &[("accept", "text/plain")], Some(&list().to_string())).refusal().0, 406);
    assert_eq!(send("GET", &[], None).refusal().0, 406);
    assert_eq!(send("GET", &[("accept", "text/event-stream")], None).refusal().0, 400);
    assert_eq!(send("PUT", &[], None).refusal().0, 405);
    assert_eq!(send("DELETE", &[("mcp-session-id", canary)], None).refusal().0, 404);
    assert_eq!(send("POST", &[("content-type", "text/plain")], Some("{}")).refusal().0, 415);
    assert_eq!(send("POST", &[], Some(&" ".repeat(65_537))).refusal().0, 413);
    let everything = send("POST", &[("accept", "*/*")], Some(&format!("[{}]", list())));
    assert_eq!(everything.status, 400);
}

#[test]
fn a_tool_call_beyond_a_secrets_rate_is_refused_as_a_tool_call() {
    let mut settings = settings();
    settings.rate_per_secret = Some(Rate::per_minute(1));
    let server = Server::with(settings);
    let (token, id) = (server.token(), server.secret("a"));
    let (headers, body) = call_2026(&token, "get_totp_code", &json!({"secret_id": id.to_string()}));
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let call = || server.raw(written("POST", "/mcp", &headers, Some(&body)).as_bytes()).json()["result"].clone();

    assert_eq!(call()["isError"], false);
    let refused = call();
    assert_eq!(refused["isError"], true);
    assert!(refused["content"][0]["text"].as_str().unwrap().contains("rate_limited"));
}

#[test]
fn a_tool_call_beyond_a_keys_rate_is_refused_as_a_tool_call_and_only_calls_count() {
    let mut settings = settings();
    settings.rate_per_key = Some(Rate::per_minute(2));
    let server = Server::with(settings);
    let token = server.token();
    let session = open(&server, &token);
    for _ in 0..5 {
        assert!(message(&post(&server, &token, Some(&session), &list()))["result"]["tools"].is_array());
    }
    let call = || {
        let call = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call",
            "params": {"name": "get_seat_count", "arguments": {}}});
        message(&post(&server, &token, Some(&session), &call))["result"].clone()
    };

    assert_eq!((&call()["isError"], &call()["isError"]), (&json!(false), &json!(false)));
    let refused = call();

    assert_eq!((&refused["isError"], &refused["structuredContent"]), (&json!(true), &Value::Null));
    let body: Value = serde_json::from_str(refused["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!((&body["error"], body["retry_after"].is_u64()), (&json!("rate_limited"), true));
    assert_eq!(server.get("/api/v2/seats/count", &token).refusal().0, 429, "one limit for every way to call");
    let ask = || post(&server, &token, Some(&session), &list()).status;
    assert_eq!(ask(), 200);
    // Ten more are accepted each second, so the number of requests that it takes depends on the machine.
    assert!((0..6000).any(|_| ask() == 429), "what is no call is bounded as well");
}

#[test]
fn a_limited_key_is_not_offered_what_can_not_work_for_it() {
    let server = Server::start();
    let id = server.secret("a");
    let request = CreateKey { secrets: Some(vec![id]), ..request(Scope::ALL) };
    let token = token_of(&server.key_as(&server.vault.person, request));
    let session = open(&server, &token);

    let tools = message(&post(&server, &token, Some(&session), &list()));
    let names: Vec<_> =
        tools["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();

    assert_eq!(names.len(), 7);
    assert!(!names.contains(&"register_totp_secret") && names.contains(&"delete_totp_secret"), "{names:?}");
}

#[test]
fn who_waits_hears_that_the_server_stops() {
    let mut server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    server.vault.clock.set_seconds(1_795_305_601);
    let arguments = json!({"secret_id": id.to_string(), "min_validity": 30});
    let session = open(&server, &token);
    let call = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call",
        "params": {"name": "get_totp_code", "arguments": arguments}});
    let bearer = format!("Bearer {token}");
    let headers =
        [("authorization", &*bearer), ("accept", "application/json, text/event-stream"), ("mcp-session-id", &session)];
    let (mut in_session, mut alone) = (server.client(), server.client());
    in_session.write(written("POST", "/mcp", &headers, Some(&call.to_string())).as_bytes());
    let (headers, body) = call_2026(&token, "get_totp_code", &arguments);
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    alone.write(written("POST", "/mcp", &headers, Some(&body)).as_bytes());
    crate::kit::until(|| server.vault.service.tally().waiting >= 2);

    server.stop();

    for answer in [message(&in_session.read()), alone.read().json()] {
        let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
        assert!(answer["result"]["isError"] == true && text.contains("unavailable"), "{answer}");
    }
}

#[test]
fn who_comes_back_for_the_rest_of_an_answer_hears_that_the_server_stops() {
    let mut server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    server.vault.clock.set_seconds(1_795_305_601);
    let session = open(&server, &token);
    let bearer = format!("Bearer {token}");
    let mut headers = vec![
        ("authorization", &*bearer),
        ("accept", "application/json, text/event-stream"),
        ("mcp-session-id", &*session),
    ];
    let params = json!({"name": "get_totp_code", "arguments": {"secret_id": id.to_string(), "min_validity": 30}});
    let call = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params});
    let mut gone = server.client();
    gone.write(written("POST", "/mcp", &headers, Some(&call.to_string())).as_bytes());
    assert_eq!(gone.head().unwrap().0, 200);
    let first = String::from_utf8(gone.chunk().unwrap()).unwrap();
    let event = first.lines().find_map(|line| line.strip_prefix("id: ")).unwrap();
    crate::kit::until(|| server.vault.service.tally().waiting != 0);
    drop(gone);
    headers.push(("last-event-id", event));
    let mut back = server.client();
    back.write(written("GET", "/mcp", &headers, None).as_bytes());
    let (status, headers) = back.head().unwrap();
    let first = back.chunk().unwrap();

    server.stop();

    let mut body = first;
    while let Some(chunk) = back.chunk() {
        body.extend(chunk);
    }
    let answer = message(&Answer { status, headers, body });
    assert!(answer.to_string().contains("unavailable"), "{answer}");
}

#[test]
fn what_is_under_way_when_the_server_stops_is_answered_before_its_streams_end() {
    let (mut server, dice) = Server::with_dice();
    let (token, id) = (server.token(), server.secret("a"));
    let session = open(&server, &token);
    let bearer = format!("Bearer {token}");
    let headers =
        [("authorization", &*bearer), ("accept", "application/json, text/event-stream"), ("mcp-session-id", &session)];
    let (mut listening, mut calling) = (server.client(), server.client());
    listening.write(written("GET", "/mcp", &headers, None).as_bytes());
    assert_eq!(listening.head().unwrap().0, 200);
    listening.chunk().expect("how soon to come back");
    let arguments = json!({"secret_id": id.to_string(), "single_use": true});
    let call = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call",
        "params": {"name": "get_totp_code", "arguments": arguments}});
    dice.throw(|| calling.write(written("POST", "/mcp", &headers, Some(&call.to_string())).as_bytes()));

    server.tell_to_stop();
    assert!(listening.hears_nothing(Duration::from_millis(300)));
    dice.fall();
    server.stop();

    let answer = message(&calling.read());
    assert_eq!(answer["result"]["structuredContent"]["status"], "OK", "{answer}");
    while listening.chunk().is_some() {}
}

#[test]
fn a_client_that_sends_half_a_message_does_not_keep_streams_from_ending_in_good_order() {
    let mut settings = settings();
    settings.limits.drain = Duration::from_secs(1);
    let mut server = Server::with(settings);
    let token = server.token();
    let session = open(&server, &token);
    let bearer = format!("Bearer {token}");
    let headers =
        [("authorization", &*bearer), ("accept", "application/json, text/event-stream"), ("mcp-session-id", &session)];
    let (mut listening, mut stalled) = (server.client(), server.client());
    listening.write(written("GET", "/mcp", &headers, None).as_bytes());
    assert_eq!(listening.head().unwrap().0, 200);
    let post = written("POST", "/mcp", &headers, Some(&list().to_string()));
    stalled.write(&post.as_bytes()[..post.len() - 1]);

    server.stop();

    let mut rest = Vec::new();
    listening.stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
    assert!(stalled.try_read().is_none());
}

#[test]
fn an_open_stream_ends_when_the_server_stops() {
    let mut server = Server::start();
    let token = server.token();
    let session = open(&server, &token);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer), ("accept", "text/event-stream"), ("mcp-session-id", &session)];
    let mut stream = server.client();
    stream.write(written("GET", "/mcp", &headers, None).as_bytes());
    assert_eq!(stream.head().unwrap().0, 200);

    server.stop();

    while stream.chunk().is_some() {}
    assert!(stream.line().is_none());
}

#[test]
fn an_initialize_with_a_dead_session_or_an_unknown_revision_begins_a_new_one() {
    let server = Server::start();
    let (token, other) = (server.token(), server.token());
    let (live, foreign) = (open(&server, &token), open(&server, &other));
    let ended = open(&server, &token);
    delete(&server, &token, &ended);
    let greet = |headers: &[(&str, &str)]| {
        let bearer = format!("Bearer {token}");
        let both = [("authorization", &*bearer), ("accept", "application/json, text/event-stream")];
        let headers: Vec<_> = both.iter().chain(headers).copied().collect();
        server.raw(written("POST", "/mcp", &headers, Some(&hello().to_string())).as_bytes())
    };

    for headers in [
        [("mcp-session-id", &*ended)],
        [("mcp-session-id", "00000000-0000-4000-8000-000000000000")],
        [("mcp-session-id", &*foreign)],
        [("mcp-session-id", "")],
        [("mcp-protocol-version", "2099-01-01")],
        [("mcp-protocol-version", "x")],
    ] {
        let answer = greet(&headers);
        assert_eq!(answer.status, 200, "{headers:?}: {answer:?}");
        assert_eq!(message(&answer)["result"]["protocolVersion"], "2025-11-25", "{headers:?}");
        let begun = answer.header("mcp-session-id").unwrap();
        assert!(![&*live, &*foreign, &*ended].contains(&begun), "a session of its own: {headers:?}");
        assert_eq!(post(&server, &token, Some(begun), &list()).status, 200);
    }
    assert_eq!(post(&server, &other, Some(&foreign), &list()).status, 200, "it lives on");
    // Every message except a greeting needs a live session.
    assert_eq!(post(&server, &token, Some(&ended), &list()).status, 404);
    assert_eq!(post(&server, &token, Some(&foreign), &list()).status, 404);
}

#[test]
fn sessions_begun_beside_a_dead_one_are_bounded_all_the_same() {
    let mut settings = settings();
    settings.limits.sessions_per_key = 2;
    let server = Server::with(settings);
    let token = server.token();
    let dead = "00000000-0000-4000-8000-000000000000";
    assert_eq!([0; 3].map(|_| post(&server, &token, Some(dead), &hello()).status), [200, 200, 429]);

    // However the method's name is escaped.
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer), ("accept", "*/*")];
    let escaped = hello().to_string().replace("\"initialize\"", "\"\\u0069nitialize\"");
    assert_eq!(server.raw(written("POST", "/mcp", &headers, Some(&escaped)).as_bytes()).status, 429);
}

#[test]
fn an_initialize_that_lacks_something_is_told_what() {
    let server = Server::start();
    let token = server.token();
    let flat = json!({"jsonrpc": "2.0", "id": 7, "method": "initialize",
        "params": {"protocolVersion": "2024-11-05", "clientName": "g", "clientVersion": "1"}});

    for session in [None, Some("00000000-0000-4000-8000-000000000000")] {
        let answer = post(&server, &token, session, &flat);
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/json")), "{answer:?}");
        let error = answer.json();
        assert_eq!((&error["id"], &error["error"]["code"]), (&json!(7), &json!(-32602)), "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("`params.capabilities`") && message.contains("`params.clientInfo`"), "{message}");
    }
    assert_eq!(sessions(&server), 0);
}

#[test]
fn where_each_request_names_its_revision_initialize_is_no_method() {
    let server = Server::start();
    let (headers, body) = call_2026(&server.token(), "get_seat_count", &json!({}));
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers.retain(|(name, _)| *name != "mcp-name");
    headers.iter_mut().filter(|(name, _)| *name == "mcp-method").for_each(|(_, value)| *value = "initialize");
    let body = body.replace("tools/call", "initialize");

    let answer = server.raw(written("POST", "/mcp", &headers, Some(&body)).as_bytes());
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!(-32601)), "{answer:?}");
}

#[test]
fn a_slash_at_the_end_of_the_url_is_the_same_place() {
    let server = Server::start();
    let token = server.token();
    let bearer = format!("Bearer {token}");
    let send = |method: &str, session: Option<&str>, body: Option<String>| {
        let mut headers = vec![("authorization", &*bearer), ("accept", "application/json, text/event-stream")];
        headers.extend(session.map(|id| ("mcp-session-id", id)));
        server.raw(written(method, "/mcp/", &headers, body.as_deref()).as_bytes())
    };
    let begun = send("POST", None, Some(hello().to_string()));
    assert_eq!(begun.status, 200);
    let session = begun.header("mcp-session-id").unwrap();
    let tools = message(&send("POST", Some(session), Some(list().to_string())));
    assert_eq!(tools["result"]["tools"].as_array().map(Vec::len), Some(9));
    assert_eq!(send("DELETE", Some(session), None).status, 204);
    assert_eq!(server.raw(written("POST", "/mcp/", &[], Some("{}")).as_bytes()).refusal().0, 401);
}

#[test]
fn who_takes_events_takes_both_kinds_of_answer() {
    let server = Server::start();
    let token = server.token();
    let bearer = format!("Bearer {token}");
    let greet = |accept: &str| {
        let headers = [("authorization", &*bearer), ("accept", accept)];
        server.raw(written("POST", "/mcp", &headers, Some(&hello().to_string())).as_bytes()).status
    };
    for accept in [
        "text/event-stream",
        "TEXT/Event-Stream; charset=utf-8",
        "text/event-stream;q=0.9",
        "text/*",
        "*/*",
        "application/xml, */*;q=0.1",
        "application/json, text/event-stream",
    ] {
        assert_eq!(greet(accept), 200, "{accept}");
    }
    for accept in ["application/json", "text/plain", "text/event-stream;q=0", "*/*; q=0.0", "text/event-streams"] {
        assert_eq!(greet(accept), 406, "{accept}");
    }
}

#[test]
fn who_sends_no_key_is_told_what_to_set() {
    let server = Server::start();
    let refused = server.raw(written("POST", "/mcp", &[], Some(&hello().to_string())).as_bytes());
    assert_eq!(refused.refusal(), (401, "unauthenticated".to_owned()));
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    for said in ["Authorization: Bearer cs_", "countersign key create", "mcp-remote"] {
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn instructions_name_only_tools_that_the_key_may_call() {
    let server = Server::start();
    let token = token_of(&server.key([Scope::CodesRead]));
    let greeted = message(&post(&server, &token, None, &hello()));
    let instructions = greeted["result"]["instructions"].as_str().unwrap();
    assert!(instructions.contains("get_totp_code") && !instructions.contains("list_totp_secrets"), "{instructions}");
}
