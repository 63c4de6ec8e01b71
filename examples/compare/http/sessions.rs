//! The memory of each idle session, beside the SDK's own sessions in the no-op server.
//!
//! The SDK no longer has the transport of `/sse`. Streams of `/sse` are compared with the SDK's sessions that have
//! an open stream.

use std::io;

use serde_json::{Value, json};

use super::{Connection, NO_TOKEN, Request, Server};
use crate::{
    bench::Bench,
    figures::{Better, Line, in_turn, shown},
    process::Program,
    say::say,
};

/// The number of sessions, and of `/sse` streams: the server allows at most 1,024 of each to be open.
const SESSIONS: usize = 1_000;
const STREAMS: usize = 500;
/// A key may open 64 sessions, and 16 streams, so this many keys are needed.
const KEYS: usize = 63;
const ROUNDS: usize = 3;

/// Opens a session with its own key, and returns the connection that it needs, if any.
type Open = fn(&Server, &mut Connection, &str) -> io::Result<Option<Connection>>;

pub(super) fn measure(bench: &Bench) -> io::Result<Vec<Line>> {
    let rounds = bench.rounds.min(ROUNDS);
    say(format_args!(
        "\nHTTP, best of {rounds} rounds; memory for each of {SESSIONS} sessions, or {STREAMS} /sse streams; base: the SDK's sessions"
    ));
    let vault = bench.vault("sessions")?;
    let keys = vault.keys(KEYS)?;
    let (noop, ours) = (bench.noop("http"), vault.server());
    let nobody = [NO_TOKEN.to_owned()];
    let line = |what| Line::new(what, "KiB", Better::Low, 1.2);
    let (mut idle, mut streams, mut sse) = (line("idle session"), line("session with a stream"), line("/sse stream"));
    in_turn(rounds, 3, |which| {
        let (program, keys) = if which == 2 { (&ours, &keys[..]) } else { (&noop, &nobody[..]) };
        idle.push(which, growth(program, keys, SESSIONS, without_stream)?);
        let stream = growth(program, keys, SESSIONS, with_stream)?;
        streams.push(which, stream);
        sse.push(which, if which == 2 { growth(program, keys, STREAMS, over_sse)? } else { stream });
        Ok(())
    })?;
    Ok(shown(vec![idle, streams, sse]))
}

/// By how many KiB a server's memory grows for each of `count` sessions.
fn growth(program: &Program, keys: &[String], count: usize, open: Open) -> io::Result<f64> {
    let server = Server::start(program)?;
    let mut messages = server.connect()?;
    let mut opened = Vec::with_capacity(count + 1);
    let mut keys = keys.iter().cycle();
    // The first session allocates what every server allocates once.
    let mut open_next = || {
        let key = keys.next().ok_or(io::ErrorKind::InvalidInput)?;
        opened.push(open(&server, &mut messages, key)?);
        Ok::<_, io::Error>(())
    };
    open_next()?;
    let before = server.process.settled_memory()?;
    (0..count).try_for_each(|_| open_next())?;
    let after = server.process.settled_memory()?;
    Ok((after - before) / f64::from(u32::try_from(count).unwrap_or(u32::MAX)))
}

/// A session over Streamable HTTP without an open connection.
fn without_stream(_: &Server, messages: &mut Connection, key: &str) -> io::Result<Option<Connection>> {
    open_session(messages, key).map(|_| None)
}

/// A session over Streamable HTTP whose client has a stream open.
fn with_stream(server: &Server, messages: &mut Connection, key: &str) -> io::Result<Option<Connection>> {
    let session = open_session(messages, key)?;
    let mut stream = server.connect()?;
    let headers = [("accept", "text/event-stream"), ("mcp-session-id", session.as_str())];
    stream.send(&Request::new("GET", "/mcp", key, &headers, ""))?;
    stream.head()?.expect(200)?;
    Ok(Some(stream))
}

/// A session over HTTP+SSE.
fn over_sse(server: &Server, messages: &mut Connection, key: &str) -> io::Result<Option<Connection>> {
    let mut stream = server.connect()?;
    stream.send(&Request::new("GET", "/sse", key, &[], ""))?;
    stream.head()?.expect(200)?;
    let endpoint = event(&mut stream, "endpoint")?;
    for message in [hello("2024-11-05"), ready()] {
        messages.ask(&Request::new("POST", &endpoint, key, &[], &message.to_string()))?.head.expect(202)?;
    }
    event(&mut stream, "message")?;
    Ok(Some(stream))
}

/// Completes the handshake over Streamable HTTP, and returns the session's id.
fn open_session(messages: &mut Connection, key: &str) -> io::Result<String> {
    let accept = ("accept", "application/json, text/event-stream");
    let opened = messages.ask(&Request::new("POST", "/mcp", key, &[accept], &hello("2025-11-25").to_string()))?;
    let session = opened.head.expect(200)?.session()?.to_owned();
    let headers = [accept, ("mcp-session-id", session.as_str())];
    messages.ask(&Request::new("POST", "/mcp", key, &headers, &ready().to_string()))?.head.expect(202)?;
    Ok(session)
}

fn hello(revision: &str) -> Value {
    let client = json!({"name": "compare", "version": "1"});
    let params = json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": client});
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params})
}

fn ready() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

/// Reads the data of the next event, which must have this name.
fn event(stream: &mut Connection, name: &str) -> io::Result<String> {
    let mut chunk = Vec::new();
    stream.chunk(&mut chunk)?;
    let text = String::from_utf8_lossy(&chunk);
    let field = |name| text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    let named = field("event:").filter(|named| named == name);
    named.and_then(|_| field("data:")).ok_or_else(|| io::Error::other(format!("another event: {text}")))
}
