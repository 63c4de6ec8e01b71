//! The additional cost of single use for a call whose step is free.

use std::{io, time::Duration};

use serde_json::json;

use super::Server;
use crate::{
    bench::{Bench, oracle},
    calls::Call,
    figures::{Better, Line, median, shown},
    say::{aside, say},
};

/// The number of calls of each kind in a round, and of kinds: plain, plain again, single-use.
const CALLS: usize = 50;
const KINDS: usize = 3;
/// Long, so that no step ends between two calls.
const PERIOD: u64 = 3600;

/// Every call has its own secret, so that each is the first of its step and commits durably, whatever its kind.
pub(super) fn measure(bench: &Bench) -> io::Result<Vec<Line>> {
    let rounds = bench.rounds;
    say(format_args!("\nstdio, best of {rounds} rounds; base: plain calls; ours: single-use calls of free steps"));
    let vault = bench.vault("single-use")?;
    let ids = vault.register(rounds * CALLS * KINDS, PERIOD)?;
    let oracle = oracle(PERIOD)?;
    let mut server = Server::start(&vault.sidecar())?;
    let mut line = Line::new("median, first of a step", "µs", Better::Low, 1.3);
    for (round, ids) in ids.chunks(CALLS * KINDS).enumerate() {
        aside(format_args!("round {} of {rounds}", round + 1));
        let mut times: [Vec<Duration>; KINDS] = Default::default();
        for (nth, ids) in ids.chunks(KINDS).enumerate() {
            for (turn, id) in ids.iter().enumerate() {
                let which = (nth + turn) % KINDS;
                let call = Call::code(&json!({"secret_id": id, "single_use": which == 2}), &oracle);
                let took = server.one_by_one(&mut [call], 1)?;
                times.get_mut(which).into_iter().for_each(|times| times.extend(&took));
            }
        }
        for (which, times) in times.iter_mut().enumerate() {
            line.push(which, median(times).as_secs_f64() * 1e6);
        }
    }
    server.stop()?;
    Ok(shown(vec![line]))
}
