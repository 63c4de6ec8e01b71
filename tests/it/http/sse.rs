//! The deprecated HTTP+SSE transport: a stream for answers, a path for requests, and no remains of either at the end.

use std::time::Duration;

use countersign::domain::{
    audit::{Action, AuditFilter},
    scope::Scope,
};
use countersign::operations::RevokeKey;
use serde_json::{Value, json};

use super::kit::{Answer, Client, Server, settings, token_of, written};

/// An open stream.
pub(super) struct Stream {
    client: Client,
    endpoint: String,
    token: String,
}

fn open(server: &Server, token: &str) -> Stream {
    opened(server, token).unwrap()
}

pub(super) fn opened(server: &Server, token: &str) -> Result<Stream, Answer> {
    opened_at(server, "/sse", token)
}

fn opened_at(server: &Server, path: &str, token: &str) -> Result<Stream, Answer> {
    let mut client = server.client();
    client.write(written("GET", path, &[("authorization", &format!("Bearer {token}"))], None).as_bytes());
    let (status, headers) = client.head().unwrap();
    if status != 200 {
        return Err(client.rest(status, headers).unwrap());
    }
    assert!(headers.contains(&("content-type".to_owned(), "text/event-stream".to_owned())), "{headers:?}");
    let (event, endpoint) = event(&mut client).unwrap();
    assert_eq!(event, "endpoint");
    Ok(Stream { client, endpoint, token: token.to_owned() })
}

/// Opens a stream and completes the handshake, or returns the refusal.
pub(super) fn try_open(server: &Server, token: &str) -> Result<Stream, Answer> {
    let mut stream = opened(server, token)?;
    stream.greet(server);
    Ok(stream)
}

/// Reads the next event, and returns its name and its data. Comments that keep the connection alive are skipped.
fn event(client: &mut Client) -> Option<(String, String)> {
    loop {
        let chunk = String::from_utf8(client.chunk()?).unwrap();
        let field =
            |name: &str| chunk.lines().find_map(|line| line.strip_prefix(name).map(|rest| rest.trim().to_owned()));
        if let (Some(event), Some(data)) = (field("event:"), field("data:")) {
            return Some((event, data));
        }
    }
}

impl Stream {
    /// The path for messages.
    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn post(&self, server: &Server, message: &Value) -> Answer {
        server.post(&self.endpoint, &self.token, &message.to_string())
    }

    fn ask(&mut self, server: &Server, method: &str, params: &Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.try_ask(server, &message).unwrap()
    }

    /// The answer on the stream, or the refusal of the message.
    pub(super) fn try_ask(&mut self, server: &Server, message: &Value) -> Result<Value, Answer> {
        let taken = self.post(server, message);
        if taken.status != 202 {
            return Err(taken);
        }
        Ok(serde_json::from_str(&event(&mut self.client).unwrap().1).unwrap())
    }

    fn greet(&mut self, server: &Server) -> Value {
        let client = json!({"name": "tests", "version": "1"});
        let params = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client});
        let answer = self.ask(server, "initialize", &params);
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(self.post(server, &ready).status, 202);
        answer
    }
}

pub(super) fn streams(server: &Server) -> usize {
    let text = String::from_utf8(server.raw(written("GET", "/metrics", &[], None).as_bytes()).body).unwrap();
    text.lines().find_map(|line| line.strip_prefix("countersign_sse_streams ")).unwrap().parse().unwrap()
}

#[test]
fn a_stream_carries_a_session() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    let mut stream = open(&server, &token);

    let hello = stream.greet(&server);
    let code = stream.ask(
        &server,
        "tools/call",
        &json!({"name": "get_totp_code", "arguments": {"secret_id": id.to_string()}}),
    );

    assert_eq!(hello["result"]["protocolVersion"], "2024-11-05");
    assert_eq!(code["result"]["structuredContent"]["status"], "OK");
}

#[test]
fn this_transport_knows_the_handshake_revisions_alone() {
    let server = Server::start();
    let mut stream = open(&server, &server.token());
    let client = json!({"name": "tests", "version": "1"});
    let params = json!({"protocolVersion": "2026-07-28", "capabilities": {}, "clientInfo": client});
    assert_eq!(stream.ask(&server, "initialize", &params)["result"]["protocolVersion"], "2025-11-25");
}

#[test]
fn messages_come_from_whoever_opened_the_stream() {
    let server = Server::start();
    let stream = open(&server, &server.token());
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();

    let foreign = server.post(&stream.endpoint, &server.token(), &list);
    let unknown = server.post("/messages?sessionId=00000000000040008000000000000000", &server.token(), &list);

    assert_eq!(foreign.refusal(), (404, "not_found".to_owned()));
    assert_eq!((foreign.status, &foreign.body), (unknown.status, &unknown.body));
    for path in ["/messages", "/messages?sessionId=", "/messages?session=x", "/messages?sessionId=%20"] {
        assert_eq!(server.post(path, &stream.token, &list).status, 404, "{path}");
    }
    for bad in ["{", "[]", "{\"jsonrpc\":\"1.0\"}"] {
        assert_eq!(server.post(&stream.endpoint, &stream.token, bad).refusal().0, 400, "{bad}");
    }
}

#[test]
fn each_message_is_checked_for_a_valid_key() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let mut stream = open(&server, &token_of(&key));
    stream.greet(&server);
    server.wait(server.vault.service.perform(&server.vault.person, RevokeKey { id: key.plain.id() })).unwrap();
    assert_eq!(stream.post(&server, &json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"})).refusal().0, 401);
}

#[test]
fn a_dropped_stream_leaves_nothing_behind() {
    let server = Server::start();
    let token = server.token();
    let mut open_streams: Vec<_> = (0..8).map(|_| open(&server, &token)).collect();
    for stream in &mut open_streams {
        stream.greet(&server);
    }
    assert_eq!(streams(&server), 8);

    let endpoint = open_streams[0].endpoint.clone();
    let dropped = std::time::Instant::now();
    drop(open_streams);
    crate::kit::until(|| streams(&server) == 0);

    assert!(dropped.elapsed() < Duration::from_secs(1));
    assert_eq!(server.post(&endpoint, &token, "{}").status, 404);
}

#[test]
fn streams_of_a_key_are_bounded_and_show_that_they_live() {
    let mut settings = settings();
    settings.limits.streams_per_key = 2;
    settings.limits.keep_alive = Duration::from_millis(50);
    let server = Server::with(settings);
    let (token, other) = (server.token(), server.token());
    let mut first = open(&server, &token);
    let _second = open(&server, &token);

    let beyond = server.get("/sse", &token);

    assert_eq!(beyond.refusal(), (429, "rate_limited".to_owned()));
    let _others = open(&server, &other);
    assert!(first.client.chunk().unwrap().starts_with(b":"));
}

#[test]
fn a_waiting_call_ends_with_its_stream_and_gives_its_step_back() {
    let server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    let mut stream = open(&server, &token);
    stream.greet(&server);
    let arguments = json!({"secret_id": id.to_string(), "single_use": true});
    let call = |n: u64| json!({"jsonrpc": "2.0", "id": n, "method": "tools/call", "params": {"name": "get_totp_code", "arguments": arguments}});
    assert_eq!(stream.post(&server, &call(1)).status, 202);
    event(&mut stream.client).unwrap();
    assert_eq!(stream.post(&server, &call(2)).status, 202);
    crate::kit::until(|| server.vault.service.tally().waiting != 0);

    drop(stream);
    let released = AuditFilter { action: Some(Action::CodeRelease), ..AuditFilter::default() };
    let rows = || server.wait(server.vault.rows(released.clone()));
    crate::kit::until(|| !rows().is_empty());

    // The next step is free again: a caller gets it at once.
    server.vault.clock.set_seconds(1_795_305_630);
    let code = server.get(&format!("/api/v2/totp/code/{id}?single_use=true&max_wait=0"), &token);
    assert_eq!(code.status, 200, "{code:?}");
}

#[test]
fn streams_end_when_the_server_stops_and_can_be_left_out() {
    let mut server = Server::start();
    let mut stream = open(&server, &server.token());
    stream.greet(&server);
    server.stop();
    assert!(event(&mut stream.client).is_none());

    let mut settings = settings();
    settings.sse = false;
    let server = Server::with(settings);
    let token = server.token();
    assert_eq!(server.get("/sse", &token).refusal().0, 404);
    assert_eq!(server.post("/messages?sessionId=x", &token, "{}").refusal().0, 404);
}

#[test]
fn what_is_under_way_when_the_server_stops_is_answered_before_its_stream_ends() {
    let (mut server, dice) = Server::with_dice();
    let (token, id) = (server.token(), server.secret("a"));
    let mut stream = open(&server, &token);
    stream.greet(&server);
    let params = json!({"name": "get_totp_code", "arguments": {"secret_id": id.to_string(), "single_use": true}});
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params});
    let (mut calling, bearer) = (server.client(), format!("Bearer {token}"));
    let post = written("POST", &stream.endpoint, &[("authorization", &bearer)], Some(&call.to_string()));
    dice.throw(|| calling.write(post.as_bytes()));

    server.tell_to_stop();
    assert!(stream.client.hears_nothing(Duration::from_millis(300)));
    dice.fall();
    server.stop();

    let answer: Value = serde_json::from_str(&event(&mut stream.client).unwrap().1).unwrap();
    assert_eq!(answer["result"]["structuredContent"]["status"], "OK", "{answer}");
    assert!(event(&mut stream.client).is_none());
}

#[test]
fn who_waits_hears_that_the_server_stops() {
    let mut server = Server::start();
    let (token, id) = (server.token(), server.secret("a"));
    server.vault.clock.set_seconds(1_795_305_601);
    let mut stream = open(&server, &token);
    stream.greet(&server);
    let arguments = json!({"secret_id": id.to_string(), "min_validity": 30});
    let params = json!({"name": "get_totp_code", "arguments": arguments});
    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params});
    assert_eq!(stream.post(&server, &call).status, 202);
    crate::kit::until(|| server.vault.service.tally().waiting != 0);

    server.stop();

    let answer: Value = serde_json::from_str(&event(&mut stream.client).unwrap().1).unwrap();
    assert_eq!(answer["result"]["isError"], true);
    assert!(answer.to_string().contains("unavailable"), "{answer}");
    assert!(event(&mut stream.client).is_none());
}

#[test]
fn a_slash_at_the_end_of_the_url_is_the_same_place() {
    let server = Server::start();
    let mut stream = opened_at(&server, "/sse/", &server.token()).unwrap();
    assert!(stream.endpoint.starts_with("/messages?sessionId="), "{}", stream.endpoint);
    assert_eq!(stream.greet(&server)["result"]["protocolVersion"], "2024-11-05");
}

#[test]
fn the_endpoint_has_the_path_that_a_proxy_serves_this_server_under() {
    let mut settings = settings();
    settings.public_urls = vec!["https://example.com/codes/".parse().unwrap()];
    let server = Server::with(settings);
    let mut stream = open(&server, &server.token());
    // The proxy removes its own path.
    let inner = stream.endpoint.strip_prefix("/codes").expect("the proxy's path").to_owned();
    assert!(inner.starts_with("/messages?sessionId="), "{inner}");
    stream.endpoint = inner;
    assert_eq!(stream.greet(&server)["result"]["protocolVersion"], "2024-11-05");
}

#[test]
fn of_several_public_urls_the_endpoint_has_the_path_of_the_one_that_the_client_used() {
    let mut settings = settings();
    settings.public_urls =
        ["https://example.com/codes", "http://localhost:8787/inside"].map(|url| url.parse().unwrap()).into();
    let server = Server::with(settings);
    let stream = open(&server, &server.token());
    assert!(stream.endpoint.starts_with("/inside/messages?sessionId="), "{}", stream.endpoint);
}

#[test]
fn an_initialize_that_lacks_something_is_told_what() {
    let server = Server::start();
    let mut stream = open(&server, &server.token());
    let flat = json!({"protocolVersion": "2024-11-05", "clientName": "g", "clientVersion": "1"});
    let answer = stream.ask(&server, "initialize", &flat);
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("`params.clientInfo`"), "{answer}");
    assert_eq!(stream.greet(&server)["result"]["protocolVersion"], "2024-11-05");
}
