//! A thousand callers that wait for a code: their memory, and the processor time of the process.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    bench::{Bench, Vault, oracle},
    calls::Call,
    figures::{Better, Line, in_turn, shown},
    http::{self, NO_TOKEN, Request, tool_call},
    oracle::unix_now,
    process::Program,
    say::{aside, say},
    stdio,
};

/// The number of callers.
const WAITERS: usize = 1_000;
/// A key may have 16 calls that wait, so this many keys are needed.
const KEYS: usize = 63;
/// The period of codes, in seconds: no step may end during a measurement, which takes up to [`ROOM`] seconds.
const PERIOD: u64 = 120;
const ROOM: u64 = 15;
/// How long the processor time of a process is measured.
const WATCHED: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

pub(crate) fn measure(bench: &Bench) -> io::Result<Vec<Line>> {
    let rounds = bench.rounds.min(ROUNDS);
    let vault = bench.vault("waiters")?;
    let ids = vault.register(1, PERIOD)?;
    let id = ids.first().ok_or(io::ErrorKind::NotFound)?;
    let wish = json!({"secret_id": id, "min_validity": PERIOD, "max_wait": PERIOD});
    say(format_args!("\nstdio, best of {rounds} rounds; {WAITERS} calls wait for the next step"));
    let mut lines = over_stdio(&vault, &wish, rounds)?;
    say(format_args!("\nHTTP, best of {rounds} rounds; {WAITERS} calls wait; base: a tool that sleeps"));
    lines.extend(over_http(bench, &vault, &wish, rounds)?);
    Ok(lines)
}

fn over_stdio(vault: &Vault, wish: &Value, rounds: usize) -> io::Result<Vec<Line>> {
    let mut growth = Line::at_most("memory of all", "MiB", 10.0);
    let mut busy = Line::at_most("of one processor", "%", 5.0);
    let oracle = oracle(PERIOD)?;
    let secret = wish.get("secret_id");
    in_turn(rounds, 1, |_| {
        let mut server = stdio::Server::start(&vault.sidecar())?;
        server.one_by_one(&mut [Call::code(&json!({"secret_id": secret}), &oracle)], 1)?;
        let before = server.process.settled_memory()?;
        room_in_step();
        server.begin(&Call::code(wish, &oracle), WAITERS)?;
        let after = server.process.settled_memory()?;
        growth.push(2, (after - before) / 1024.0);
        let (begun, before) = (Instant::now(), server.process.busy()?);
        thread::sleep(WATCHED);
        busy.push(2, (server.process.busy()? - before) / begun.elapsed().as_secs_f64() * 100.0);
        // The server is killed on drop: otherwise it would log a thousand messages about the host that left.
        server.owes_all()
    })?;
    Ok(shown(vec![growth, busy]))
}

fn over_http(bench: &Bench, vault: &Vault, wish: &Value, rounds: usize) -> io::Result<Vec<Line>> {
    let mut line = Line::new("memory of each", "KiB", Better::Low, 1.2);
    let noop = (bench.noop("http"), vec![tool_call(NO_TOKEN, "nap", &json!({}))]);
    let keys = vault.keys(KEYS)?;
    let ours = (vault.server(), keys.iter().map(|key| tool_call(key, "get_totp_code", wish)).collect());
    in_turn(rounds, 3, |which| {
        let (program, calls) = if which == 2 { &ours } else { &noop };
        line.push(which, growth_over_http(program, calls)?);
        Ok(())
    })?;
    Ok(shown(vec![line]))
}

/// By how many KiB a server's memory grows for each call that waits, on its own connection.
fn growth_over_http(program: &Program, calls: &[Request]) -> io::Result<f64> {
    let server = http::Server::start(program)?;
    let mut calls = calls.iter().cycle();
    let mut begin_next = || {
        let mut connection = server.connect()?;
        connection.send(calls.next().ok_or(io::ErrorKind::InvalidInput)?)?;
        Ok::<_, io::Error>(connection)
    };
    room_in_step();
    // The first call allocates what every server allocates once.
    let first = begin_next()?;
    let before = server.process.settled_memory()?;
    let connections = (0..WAITERS).map(|_| begin_next()).collect::<io::Result<Vec<_>>>()?;
    let after = server.process.settled_memory()?;
    connections.iter().chain([&first]).try_for_each(http::Connection::is_silent)?;
    // Killed before any caller disconnects: otherwise it would log a thousand messages about that.
    drop(server);
    Ok((after - before) / f64::from(u32::try_from(WAITERS).unwrap_or(u32::MAX)))
}

/// Waits for the next step if this one ends soon.
fn room_in_step() {
    let left = PERIOD - unix_now() % PERIOD;
    if left <= ROOM {
        aside(format_args!("waiting {left} s for the next step"));
        // One second more: a call right at the start of a step would get its code at once.
        thread::sleep(Duration::from_secs(left + 1));
    }
}
