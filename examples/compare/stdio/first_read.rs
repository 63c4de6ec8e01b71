//! The first read of a code in its time step, as agents make it, beside a bare SQLite `INSERT` of as many bytes on the
//! same disk: both wait for the disk once, and the difference is the cost of a call.

use std::{
    io,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use serde_json::json;

use super::Server;
use crate::{
    bench::{Bench, oracle},
    calls::Call,
    figures::{Better, Line, median, percentile, shown},
    oracle::Oracle,
    say::{aside, say},
};

/// In a round: the number of first reads, one after the other; the `INSERT`s alternate with them.
const SINGLE: usize = 100;
/// The number of concurrent callers, and of groups of them in a round.
const CALLERS: usize = 32;
const GROUPS: usize = 8;
/// The number of reads of a round that are made in groups.
const TOGETHER: f64 = 256.0;
/// Long, so that no step ends between a vault's first reads.
const PERIOD: u64 = 3600;
/// Bytes of a row: about the size of a code's audit row and marks.
const ROW_BYTES: u32 = 400;

pub(super) fn measure(bench: &Bench) -> io::Result<Vec<Line>> {
    let rounds = bench.rounds;
    say(format_args!("\nstdio, best of {rounds} rounds; base: a bare INSERT of {ROW_BYTES} bytes, synchronous=FULL"));
    let vault = bench.vault("first-read")?;
    let ids = vault.register(rounds * (SINGLE + CALLERS * GROUPS), PERIOD)?;
    let oracle = oracle(PERIOD)?;
    let bare = Bare::open(&bench.place("bare.db"))?;
    let mut server = Server::start(&vault.sidecar())?;
    let mut middle = Line::new("first read, median", "µs", Better::Low, 1.15);
    let mut slow = Line::reported("first read, 99th per cent", "µs", Better::Low);
    let mut rate = Line::new("first reads, 32 at once", "k/s", Better::High, 0.8);
    for (round, ids) in ids.chunks(SINGLE + CALLERS * GROUPS).enumerate() {
        aside(format_args!("round {} of {rounds}", round + 1));
        let (single, groups) = ids.split_at_checked(SINGLE).ok_or(io::ErrorKind::InvalidInput)?;
        let mut times: [Vec<Duration>; 3] = Default::default();
        for id in single {
            // The measurements alternate, so that changes of the disk's speed affect both alike.
            let read = server.one_by_one(&mut [first_read(id, &oracle)], 1)?;
            for (times, took) in times.iter_mut().zip([vec![bare.insert(1)?], vec![bare.insert(1)?], read]) {
                times.extend(took);
            }
        }
        for (which, times) in times.iter_mut().enumerate() {
            middle.push(which, median(times).as_secs_f64() * 1e6);
            slow.push(which, percentile(times, 99).as_secs_f64() * 1e6);
        }
        for which in 0..3 {
            let took = if which == 2 { together(&mut server, groups, &oracle)? } else { bare.groups()? };
            rate.push(which, TOGETHER / took.as_secs_f64() / 1e3);
        }
    }
    server.stop()?;
    Ok(shown(vec![middle, slow, rate]))
}

fn first_read(id: &str, oracle: &Oracle) -> Call {
    Call::code(&json!({"secret_id": id}), oracle)
}

/// Measures how long first reads of these secrets take, with [`CALLERS`] in flight.
fn together(server: &mut Server, ids: &[String], oracle: &Oracle) -> io::Result<Duration> {
    let mut calls: Vec<Call> = ids.iter().map(|id| first_read(id, oracle)).collect();
    let begun = Instant::now();
    server.all(&mut calls, CALLERS)?;
    Ok(begun.elapsed())
}

/// A database with one table and nothing else.
struct Bare(Connection);

impl Bare {
    fn open(path: &std::path::Path) -> io::Result<Self> {
        let conn = Connection::open(path).map_err(io::Error::other)?;
        let made =
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE row (n INTEGER PRIMARY KEY, body BLOB);";
        conn.execute_batch(made).map_err(io::Error::other)?;
        Ok(Self(conn))
    }

    /// Measures how long it takes to make `rows` rows durable together.
    fn insert(&self, rows: usize) -> io::Result<Duration> {
        let begun = Instant::now();
        let added = || -> rusqlite::Result<()> {
            let transaction = self.0.unchecked_transaction()?;
            for _ in 0..rows {
                let mut insert = transaction.prepare_cached("INSERT INTO row (body) VALUES (zeroblob(?))")?;
                insert.execute([ROW_BYTES])?;
            }
            transaction.commit()
        };
        added().map_err(io::Error::other)?;
        Ok(begun.elapsed())
    }

    fn groups(&self) -> io::Result<Duration> {
        (0..GROUPS).map(|_| self.insert(CALLERS)).sum()
    }
}
