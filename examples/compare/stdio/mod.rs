//! Over stdio: a sidecar beside the no-op server, a vault of many secrets beside one of few, and single use.

mod first_read;
mod server;
mod single_use;

use std::{io, time::Duration};

use serde_json::json;

use crate::{
    bench::Bench,
    calls::{Call, Expect},
    figures::{Better, Line, in_turn, median, shown},
    one_core::OneCore,
    say::say,
};
pub(crate) use server::{Contender, Server};

/// In a round: the number of calls one after the other, and of calls with [`WINDOW`] in flight.
const SEQUENTIAL: usize = 4_000;
const PIPELINED: usize = 40_000;
const WINDOW: usize = 32;
/// The number of starts in a round.
const STARTS: usize = 10;
/// The number of secrets whose codes are requested when vaults of different size are compared.
const ASKED: usize = 100;
const MANY: usize = 100_000;

pub(crate) fn measure(bench: &Bench) -> io::Result<Vec<Line>> {
    let rounds = bench.rounds;
    say(format_args!("\nstdio, best of {rounds} rounds; base: a server with one tool that does nothing"));
    let noop = Contender { program: bench.noop("stdio"), calls: vec![Call::new("noop", &json!({}), Expect::Ok)] };
    let mut lines = beside_noop(&noop, &bench.vault("one")?.contender(1, 1)?, rounds)?;

    say(format_args!("\nstdio, best of {rounds} rounds; base: {ASKED} secrets in the account; ours: {MANY}"));
    let (few, many) = (bench.vault("few")?, bench.vault("many")?);
    lines.extend(beside_few(&few.contender(ASKED, ASKED)?, &many.contender(MANY, ASKED)?, rounds)?);
    lines.extend(first_read::measure(bench)?);
    lines.extend(single_use::measure(bench)?);
    Ok(lines)
}

fn beside_noop(noop: &Contender, ours: &Contender, rounds: usize) -> io::Result<Vec<Line>> {
    let mut cold = Line::new("start to first answer", "ms", Better::Low, 4.0);
    let mut resident = Line::at_most("resident memory, idle", "MiB", 14.0);
    let mut private = Line::at_most("private memory, idle", "MiB", 2.0);
    let mut latency = Line::new("re-read on one core", "µs", Better::Low, 3.5);
    let mut rate = Line::new("re-reads, 32 in flight", "k/s", Better::High, 0.4);
    in_turn(rounds, 3, |which| {
        let contender = if which == 2 { ours } else { noop };
        cold.push(which, start_up(contender)?);
        latency.push(which, one_by_one(contender)?);
        rate.push(which, in_flight(contender)?);
        let (resident_now, private_now) = idle_memory(contender)?;
        resident.push(which, resident_now);
        private.push(which, private_now);
        Ok(())
    })?;
    Ok(shown(vec![cold, resident, private, latency, rate]))
}

fn beside_few(few: &Contender, many: &Contender, rounds: usize) -> io::Result<Vec<Line>> {
    let mut latency = Line::new("latency on one core", "µs", Better::Low, 1.2);
    let mut rate = Line::new("rate, 32 in flight", "k/s", Better::High, 1.0 / 1.2);
    in_turn(rounds, 3, |which| {
        let contender = if which == 2 { many } else { few };
        latency.push(which, one_by_one(contender)?);
        rate.push(which, in_flight(contender)?);
        Ok(())
    })?;
    Ok(shown(vec![latency, rate]))
}

/// Milliseconds from the start of the process to its first answer: the median of [`STARTS`] starts.
fn start_up(contender: &Contender) -> io::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mut server = Server::start(&contender.program)?;
        let mut calls = contender.calls.clone();
        let call = calls.first_mut().ok_or(io::ErrorKind::InvalidInput)?;
        times.push(server.first_answer(call)?);
        server.stop()?;
    }
    Ok(median(&mut times).as_secs_f64() * 1e3)
}

/// The median latency in µs of calls one after the other, with client and server on one core.
fn one_by_one(contender: &Contender) -> io::Result<f64> {
    let _bound = OneCore::bind();
    let (mut server, mut calls) = warm(contender)?;
    let mut times = server.one_by_one(&mut calls, SEQUENTIAL)?;
    server.stop()?;
    Ok(median::<Duration>(&mut times).as_secs_f64() * 1e6)
}

/// The memory in MiB of a server that has answered once: resident, and private.
fn idle_memory(contender: &Contender) -> io::Result<(f64, f64)> {
    let mut server = Server::start(&contender.program)?;
    server.one_by_one(&mut contender.calls.clone(), 1)?;
    let memory = (server.process.settled_memory()? / 1024.0, server.process.private_memory()? / 1024.0);
    server.stop()?;
    Ok(memory)
}

/// Thousands of answers a second.
fn in_flight(contender: &Contender) -> io::Result<f64> {
    let (mut server, mut calls) = warm(contender)?;
    server.one_by_one(&mut calls, SEQUENTIAL)?;
    let rate = server.pipelined(&mut calls, PIPELINED, WINDOW)? / 1e3;
    server.stop()?;
    Ok(rate)
}

/// A server that has answered a call for each secret: the first call for one in a time step waits until it is durable,
/// and only the later ones are compared.
fn warm(contender: &Contender) -> io::Result<(Server, Vec<Call>)> {
    let mut server = Server::start(&contender.program)?;
    let mut calls = contender.calls.clone();
    server.one_by_one(&mut calls, ASKED.max(WINDOW))?;
    Ok((server, calls))
}
