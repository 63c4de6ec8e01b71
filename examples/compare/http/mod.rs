//! Over HTTP: codes over `/mcp` and over REST beside a tool that does nothing, and the memory of idle sessions.

mod connection;
mod server;
mod sessions;

use std::{
    io,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    bench::{Bench, oracle},
    calls::Expect,
    figures::{Better, Line, in_turn, median, shown},
    oracle::unix_now,
    process::Program,
    say::say,
};
pub(crate) use connection::{Connection, Request};
pub(crate) use server::Server;

/// The number of persistent connections. Each has its own key, and requests codes of its own secret.
const CONNECTIONS: usize = 32;
/// In a round: the number of calls one after the other on one connection, and of calls on each of all connections at
/// once.
const SEQUENTIAL: usize = 2_000;
const EACH: usize = 500;
/// The token for a server that needs none.
pub(crate) const NO_TOKEN: &str = "none";

/// A server, and the request of each connection.
struct Contender {
    program: Program,
    asked: Vec<Asked>,
}

/// A request, and what its answer must contain.
#[derive(Clone)]
struct Asked {
    request: Request,
    expect: Expect,
}

/// A call of a tool without a session, which is answered with JSON.
pub(crate) fn tool_call(token: &str, tool: &str, arguments: &Value) -> Request {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "compare", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let headers = [
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", tool),
    ];
    Request::new("POST", "/mcp", token, &headers, &body.to_string())
}

pub(crate) fn measure(bench: &Bench) -> io::Result<Vec<Line>> {
    let rounds = bench.rounds;
    say(format_args!("\nHTTP, best of {rounds} rounds; base: a tool that does nothing over /mcp"));
    let mut lines = beside_noop(&contenders(bench)?, rounds)?;
    lines.extend(sessions::measure(bench)?);
    Ok(lines)
}

/// The no-op server, and our server over `/mcp` and over REST.
fn contenders(bench: &Bench) -> io::Result<[Contender; 3]> {
    let vault = bench.vault("http")?;
    let ids = vault.register(CONNECTIONS, 30)?;
    let tokens = vault.keys(CONNECTIONS)?;
    let oracle = oracle(30)?;
    let noop = Asked { request: tool_call(NO_TOKEN, "noop", &json!({})), expect: Expect::Ok };
    let mcp = |(token, id): (&String, &String)| {
        let request = tool_call(token, "get_totp_code", &json!({"secret_id": id}));
        Asked { request, expect: Expect::code(&oracle) }
    };
    let rest = |(token, id): (&String, &String)| {
        let request = Request::new("GET", &format!("/api/v2/totp/code/{id}"), token, &[], "");
        Asked { request, expect: Expect::Code("/code", Box::new(oracle.clone())) }
    };
    let callers = || tokens.iter().zip(&ids);
    Ok([
        Contender { program: bench.noop("http"), asked: vec![noop; CONNECTIONS] },
        Contender { program: vault.server(), asked: callers().map(mcp).collect() },
        Contender { program: vault.server(), asked: callers().map(rest).collect() },
    ])
}

fn beside_noop([noop, mcp, rest]: &[Contender; 3], rounds: usize) -> io::Result<Vec<Line>> {
    let latency = |what| Line::new(what, "µs", Better::Low, 2.5);
    let rate = |what| Line::new(what, "k/s", Better::High, 0.4);
    let mut mcp_lines = [latency("latency, /mcp"), rate("rate, 32 connections")];
    let mut rest_lines = [latency("latency, REST"), rate("rate, 32 connections")];
    in_turn(rounds, 4, |which| {
        let values = work(match which {
            2 => mcp,
            3 => rest,
            _ => noop,
        })?;
        if which != 3 {
            mcp_lines.iter_mut().zip(values).for_each(|(line, value)| line.push(which, value));
        }
        if which != 2 {
            rest_lines.iter_mut().zip(values).for_each(|(line, value)| line.push(which, value));
        }
        Ok(())
    })?;
    Ok(shown(mcp_lines.into_iter().chain(rest_lines).collect()))
}

/// The median latency in µs, and thousands of answers a second.
fn work(contender: &Contender) -> io::Result<[f64; 2]> {
    let server = Server::start(&contender.program)?;
    let mut asked = contender.asked.clone();
    let mut connections = asked.iter().map(|_| server.connect()).collect::<io::Result<Vec<_>>>()?;
    // The first call for a secret in a time step waits until it is durable; only the later ones are compared.
    at_once(&mut connections, &mut asked, 2)?;
    let (Some(first), Some(asked_first)) = (connections.first_mut(), asked.first_mut()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let mut times = one_by_one(first, asked_first, SEQUENTIAL)?;
    let took = at_once(&mut connections, &mut asked, EACH)?;
    let answers = u32::try_from(EACH * CONNECTIONS).unwrap_or(u32::MAX);
    Ok([median(&mut times).as_secs_f64() * 1e6, f64::from(answers) / took.as_secs_f64() / 1e3])
}

/// Measures how long each of `count` calls takes, one after the other.
fn one_by_one(connection: &mut Connection, asked: &mut Asked, count: usize) -> io::Result<Vec<Duration>> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let since = unix_now();
        let begun = Instant::now();
        let answer = connection.ask(&asked.request)?;
        times.push(begun.elapsed());
        answer.head.expect(200)?;
        asked.expect.check(&serde_json::from_slice(&answer.body)?, since)?;
    }
    Ok(times)
}

/// Measures how long `each` calls on every connection take, with one in flight on each at any moment. The answers are
/// checked after the measurement.
fn at_once(connections: &mut [Connection], asked: &mut [Asked], each: usize) -> io::Result<Duration> {
    let mut answers = Vec::with_capacity(connections.len() * each);
    let since = unix_now();
    let begun = Instant::now();
    for (connection, asked) in connections.iter_mut().zip(&*asked) {
        connection.send(&asked.request)?;
    }
    for left in (0..each).rev() {
        for (connection, asked) in connections.iter_mut().zip(&*asked) {
            answers.push(connection.receive()?);
            if left > 0 {
                connection.send(&asked.request)?;
            }
        }
    }
    let took = begun.elapsed();
    let number = asked.len();
    for (nth, answer) in answers.iter().enumerate() {
        let asked = asked.get_mut(nth % number).ok_or(io::ErrorKind::InvalidInput)?;
        answer.head.expect(200)?;
        asked.expect.check(&serde_json::from_slice(&answer.body)?, since)?;
    }
    Ok(took)
}
