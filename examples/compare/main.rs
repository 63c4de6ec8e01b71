//! Countersign beside a no-op server on the same SDK, in one run: `cargo run --release --example compare`.
//!
//! Rounds are interleaved and the best of each server's is compared, since on a shared machine two copies of one server
//! differ by more than half in a single round; the no-op server runs twice in each round to show by how much. Every
//! answer is checked, every code against another implementation of RFC 6238. `--check` fails if a limit is broken,
//! `--rounds N` sets the number of rounds (8).

use std::{env, error::Error, io, path::Path, process::ExitCode, time::Duration};

use serde_json::{Value, json};

#[path = "../common/build.rs"]
mod build;
mod figures;
#[path = "../common/oracle.rs"]
mod oracle;
#[path = "../common/say.rs"]
mod say;
mod server;

use build::{Target, build};
use figures::{Better, HEADS, Line, median};
use oracle::Oracle;
use say::{aside, say};
use server::{Call, Contender, Expect, Server};

/// Calls one after the other in a round, and calls of which [`WINDOW`] are in flight.
const SEQUENTIAL: usize = 4_000;
const PIPELINED: usize = 40_000;
const WINDOW: usize = 32;
/// Starts in a round.
const STARTS: usize = 10;
/// Secrets that are asked for codes when vaults of different size are compared.
const ASKED: usize = 100;
const MANY: usize = 100_000;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(cause) => {
            aside(format_args!("compare: {cause}"));
            ExitCode::FAILURE
        }
    }
}

/// `true`: nothing that was asked for is broken.
fn run() -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let after = |flag: &str| arguments.iter().skip_while(|given| *given != flag).nth(1);
    let rounds: usize = after("--rounds").map_or(Ok(8), |text| text.parse())?;
    let home = tempfile::tempdir()?;
    aside("building…");
    // Apart from each other, as a user would: together, the one would be linked with what only the other asks for.
    let folder = build(&[Target::Countersign])?;
    build(&[Target::Example("noop_server")])?;

    say(format_args!("stdio, best of {rounds} rounds; base: a server with one tool that does nothing"));
    let noop = Contender {
        program: folder.join("examples/noop_server"),
        environment: Vec::new(),
        calls: vec![Call::new("noop", &json!({}), Expect::Ok)],
    };
    let mut ours = countersign(&folder, home.path(), "one");
    fill(&mut ours, 1, 1)?;
    let mut lines = beside_noop(&noop, &ours, rounds)?;

    say(format_args!("\nstdio, best of {rounds} rounds; base: {ASKED} secrets in the account; ours: {MANY}"));
    let (mut few, mut many) = (countersign(&folder, home.path(), "few"), countersign(&folder, home.path(), "many"));
    fill(&mut few, ASKED, ASKED)?;
    fill(&mut many, MANY, ASKED)?;
    lines.extend(beside_few(&few, &many, rounds)?);

    let broken = lines.iter().filter(|line| !line.kept()).count();
    say(format_args!("\n{} limits kept, {broken} broken", lines.len() - broken));
    Ok(broken == 0 || !arguments.iter().any(|given| given == "--check"))
}

/// The real program with a vault and a home of its own.
fn countersign(folder: &Path, home: &Path, name: &str) -> Contender {
    let home = home.join(name);
    let environment = vec![("HOME", home.clone().into()), ("COUNTERSIGN_DATA_DIR", home.join("data").into())];
    Contender { program: folder.join("countersign"), environment, calls: Vec::new() }
}

/// Registers `count` secrets; codes will be asked of `asked` of them, spread evenly.
fn fill(contender: &mut Contender, count: usize, asked: usize) -> io::Result<()> {
    let seed = data_encoding::BASE32_NOPAD.decode(b"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").map_err(io::Error::other)?;
    let oracle = Oracle::new(&seed, 30);
    let mut server = Server::start(contender)?;
    let registration = |nth: usize| {
        let arguments = json!({"label": format!("agent-{nth}@example.com"), "issuer": "Example", "secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"});
        Call::new("register_totp_secret", &arguments, Expect::Pointer("/result/structuredContent/totp_secret/id"))
    };
    let mut registrations: Vec<Call> = (0..count).map(registration).collect();
    let answers = server.all(&mut registrations, WINDOW)?;
    for answer in answers.iter().step_by(count / asked) {
        let id = answer.pointer("/result/structuredContent/totp_secret/id").and_then(Value::as_str).unwrap_or_default();
        contender.calls.push(Call::new(
            "get_totp_code",
            &json!({"secret_id": id}),
            Expect::CodeOf(Box::new(oracle.clone())),
        ));
    }
    server.stop()
}

fn beside_noop(noop: &Contender, ours: &Contender, rounds: usize) -> io::Result<Vec<Line>> {
    let mut cold = Line::new("start to first answer", "ms", Better::Low, 3.0);
    let mut memory = Line::new("resident memory", "MiB", Better::Low, 1.5);
    let mut latency = Line::new("latency, one by one", "µs", Better::Low, 2.0);
    let mut rate = Line::new("rate, 32 in flight", "k/s", Better::High, 0.6);
    for round in 0..rounds {
        aside(format_args!("round {} of {rounds}", round + 1));
        for turn in 0..3 {
            // Each goes first, second and third in turn.
            let which = (round + turn) % 3;
            let contender = if which == 2 { ours } else { noop };
            let values = [start_up(contender)?].into_iter().chain(work(contender)?);
            for (line, value) in [&mut cold, &mut memory, &mut latency, &mut rate].into_iter().zip(values) {
                match which {
                    0 => line.base.push(value),
                    1 => line.twin.push(value),
                    _ => line.ours.push(value),
                }
            }
        }
    }
    Ok(shown(vec![cold, memory, latency, rate]))
}

fn beside_few(few: &Contender, many: &Contender, rounds: usize) -> io::Result<Vec<Line>> {
    let mut latency = Line::new("latency, one by one", "µs", Better::Low, 1.2);
    let mut rate = Line::new("rate, 32 in flight", "k/s", Better::High, 1.0 / 1.2);
    for round in 0..rounds {
        aside(format_args!("round {} of {rounds}", round + 1));
        for turn in 0..3 {
            let which = (round + turn) % 3;
            let [_, latency_now, rate_now] = work(if which == 2 { many } else { few })?;
            for (line, value) in [(&mut latency, latency_now), (&mut rate, rate_now)] {
                match which {
                    0 => line.base.push(value),
                    1 => line.twin.push(value),
                    _ => line.ours.push(value),
                }
            }
        }
    }
    Ok(shown(vec![latency, rate]))
}

fn shown(lines: Vec<Line>) -> Vec<Line> {
    say(HEADS);
    lines.iter().for_each(say);
    lines
}

/// Milliseconds from the start of the process to its first answer: the median of a few.
fn start_up(contender: &Contender) -> io::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mut server = Server::start(contender)?;
        let mut calls = contender.calls.clone();
        let call = calls.first_mut().ok_or(io::ErrorKind::InvalidInput)?;
        times.push(server.first_answer(call)?);
        server.stop()?;
    }
    Ok(median(&mut times).as_secs_f64() * 1e3)
}

/// Memory in MiB after the work, median latency in µs, thousands of answers a second.
fn work(contender: &Contender) -> io::Result<[f64; 3]> {
    let mut server = Server::start(contender)?;
    let mut calls = contender.calls.clone();
    // The first call for a secret in a time step is made durable; what is compared is the others.
    server.one_by_one(&mut calls, ASKED.max(WINDOW))?;
    let mut times = server.one_by_one(&mut calls, SEQUENTIAL)?;
    let rate = server.pipelined(&mut calls, PIPELINED, WINDOW)? / 1e3;
    let memory = server.memory()?;
    server.stop()?;
    Ok([memory, median::<Duration>(&mut times).as_secs_f64() * 1e6, rate])
}
