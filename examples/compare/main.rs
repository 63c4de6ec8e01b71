//! Countersign beside a no-op server on the same SDK, in one run: `cargo run --release --example compare`.
//!
//! Rounds are interleaved and the best of each server's is compared, since on a shared machine two copies of one server
//! differ by more than half in a single round; the no-op server runs twice in each round to show by how much. Every
//! answer is checked, every code against another implementation of RFC 6238. `--check` fails if a limit is broken,
//! `--rounds N` sets the number of rounds (8), `--only stdio`, `http` or `waiters` measures that part alone.

use std::{env, error::Error, io, process::ExitCode};

mod bench;
#[path = "../common/build.rs"]
mod build;
mod calls;
mod figures;
mod http;
mod one_core;
#[path = "../common/oracle.rs"]
mod oracle;
mod process;
#[path = "../common/say.rs"]
mod say;
mod stdio;
mod waiters;

use bench::Bench;
use figures::Line;
use say::{aside, say};

/// Measures a part and shows its figures.
type Measure = fn(&Bench) -> io::Result<Vec<Line>>;

const PARTS: [(&str, Measure); 3] = [("stdio", stdio::measure), ("http", http::measure), ("waiters", waiters::measure)];

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

/// Returns whether the run succeeds: with `--check`, no limit may be broken.
fn run() -> Result<bool, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let after = |flag: &str| arguments.iter().skip_while(|given| *given != flag).nth(1);
    let rounds: usize = after("--rounds").map_or(Ok(8), |text| text.parse())?;
    let only = after("--only");
    let parts: Vec<Measure> =
        PARTS.into_iter().filter(|(name, _)| only.is_none_or(|only| only == name)).map(|(_, part)| part).collect();
    if parts.is_empty() {
        return Err("--only is followed by stdio, http or waiters".into());
    }
    process::open_many_files()?;
    let bench = Bench::build(rounds)?;
    let mut lines = Vec::new();
    for measure in parts {
        lines.extend(measure(&bench)?);
    }
    let broken = lines.iter().filter(|line| !line.kept()).count();
    say(format_args!("\n{} limits kept, {broken} broken", lines.len() - broken));
    Ok(broken == 0 || !arguments.iter().any(|given| given == "--check"))
}
