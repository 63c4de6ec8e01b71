//! A server under test as a child process, over newline-delimited JSON-RPC in plain blocking calls, so that the client
//! adds as little as possible to the figures.

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    calls::Call,
    oracle::unix_now,
    process::{Program, Running},
};

/// How a server is started, and which calls are measured.
#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) program: Program,
    pub(crate) calls: Vec<Call>,
}

/// A running server.
pub(crate) struct Server {
    pub(crate) process: Running,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next_id: u64,
    line: String,
    spawned: Instant,
}

impl Server {
    /// Starts the server, and completes the handshake.
    pub(crate) fn start(program: &Program) -> io::Result<Self> {
        let spawned = Instant::now();
        let mut command = program.command();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let mut process = Running(child);
        let (input, output) = (process.0.stdin.take(), process.0.stdout.take());
        let output = BufReader::with_capacity(1 << 16, output.ok_or_else(|| io::Error::other("no standard output"))?);
        let mut server = Self { process, input, output, next_id: 0, line: String::new(), spawned };
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "compare", "version": "1"}});
        server.send(&format!(r#","method":"initialize","params":{hello}}}"#))?;
        server.receive()?;
        server.write("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n")?;
        Ok(server)
    }

    /// Returns the time from before the start of the process to its first answer.
    pub(crate) fn first_answer(&mut self, call: &mut Call) -> io::Result<Duration> {
        let since = unix_now();
        self.send(&call.rest)?;
        self.read_line()?;
        let took = self.spawned.elapsed();
        call.expect.check(&serde_json::from_str(&self.line)?, since).map(|()| took)
    }

    /// Measures how long each of `count` calls takes, one after the other; each is checked after its time is taken.
    pub(crate) fn one_by_one(&mut self, calls: &mut [Call], count: usize) -> io::Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            for call in calls.iter_mut().take(count - times.len()) {
                let since = unix_now();
                let begun = Instant::now();
                self.send(&call.rest)?;
                self.read_line()?;
                times.push(begun.elapsed());
                call.expect.check(&serde_json::from_str(&self.line)?, since)?;
            }
        }
        Ok(times)
    }

    /// Returns the answers a second with `window` calls in flight; they are checked after the measurement.
    pub(crate) fn pipelined(&mut self, calls: &mut [Call], count: usize, window: usize) -> io::Result<f64> {
        let since = unix_now();
        let first = self.next_id + 1;
        let begun = Instant::now();
        let lines = self.exchange(calls, count, window)?;
        let took = begun.elapsed().as_secs_f64();
        let number = calls.len();
        for (nth, answer) in in_order(&lines, first)?.iter().enumerate() {
            calls.get_mut(nth % number).ok_or(io::ErrorKind::InvalidInput)?.expect.check(answer, since)?;
        }
        Ok(f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took)
    }

    /// Returns the answers to all of these calls, in the order of the calls.
    pub(crate) fn all(&mut self, calls: &mut [Call], window: usize) -> io::Result<Vec<Value>> {
        let first = self.next_id + 1;
        let answers = in_order(&self.exchange(calls, calls.len(), window)?, first)?;
        calls.iter_mut().zip(&answers).try_for_each(|(call, answer)| call.expect.check(answer, unix_now()))?;
        Ok(answers)
    }

    /// Sends `count` calls, repeating `calls` in turn, and reads as many answers.
    fn exchange(&mut self, calls: &[Call], count: usize, window: usize) -> io::Result<Vec<String>> {
        let mut lines: Vec<String> = Vec::with_capacity(count);
        let mut sent = 0;
        while lines.len() < count {
            // Sends half a window at a time: one write carries many requests, and the server always has some left.
            let room = (lines.len() + window).min(count);
            if room - sent >= window.div_ceil(2) || (room == count && sent < count) {
                let mut batch = String::with_capacity(window * 256);
                for call in calls.iter().cycle().skip(sent % calls.len()).take(room - sent) {
                    self.next_id += 1;
                    batch.push_str(&message(self.next_id, &call.rest));
                }
                sent = room;
                self.write(&batch)?;
            }
            self.read_line()?;
            lines.push(std::mem::take(&mut self.line));
        }
        Ok(lines)
    }

    /// Sends a call `count` times, and reads no answer.
    pub(crate) fn begin(&mut self, call: &Call, count: usize) -> io::Result<()> {
        (0..count).try_for_each(|_| self.send(&call.rest))
    }

    /// Fails if any call that was sent before has been answered: sends a ping, whose answer must come next.
    pub(crate) fn owes_all(&mut self) -> io::Result<()> {
        self.send(r#","method":"ping"}"#)?;
        let answer = self.receive()?;
        let is_pong = answer.get("id").and_then(Value::as_u64) == Some(self.next_id);
        if is_pong { Ok(()) } else { Err(io::Error::other(format!("an answer instead of a wait: {answer}"))) }
    }

    /// Closes standard input, and waits for the process to end.
    pub(crate) fn stop(mut self) -> io::Result<()> {
        drop(self.input.take());
        self.process.0.wait().map(drop)
    }

    fn send(&mut self, rest: &str) -> io::Result<()> {
        self.next_id += 1;
        self.write(&message(self.next_id, rest))
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?.write_all(text.as_bytes())
    }

    fn read_line(&mut self) -> io::Result<()> {
        self.line.clear();
        if self.output.read_line(&mut self.line)? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn receive(&mut self) -> io::Result<Value> {
        self.read_line()?;
        Ok(serde_json::from_str(&self.line)?)
    }
}

fn message(id: u64, rest: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id}{rest}\n")
}

/// Orders answers by their calls: they may come in any order, and their ids name the calls.
fn in_order(lines: &[String], first: u64) -> io::Result<Vec<Value>> {
    let mut answers = vec![Value::Null; lines.len()];
    for line in lines {
        let answer: Value = serde_json::from_str(line)?;
        let id = answer.get("id").and_then(Value::as_u64).and_then(|id| id.checked_sub(first));
        let place = id.and_then(|nth| answers.get_mut(usize::try_from(nth).ok()?));
        *place.ok_or_else(|| io::Error::other("an answer to no call"))? = answer;
    }
    Ok(answers)
}
