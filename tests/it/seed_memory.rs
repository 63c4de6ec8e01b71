//! What a registration leaves of a seed in the memory of a sidecar: nothing. The process's memory is searched from outside,
//! as a core dump or another program of the same user would be.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    os::unix::fs::FileExt as _,
    process::{ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use crate::cli::Person;

/// A sidecar's streams.
struct Session {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn ask(&mut self, id: u32, method: &str, params: &Value) -> Value {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        writeln!(self.input, "{request}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

/// How often some bytes stand in what a process has in memory. Nothing, if it lets nobody but root look.
fn found(process: u32, bytes: &[u8]) -> Option<usize> {
    let memory = match File::open(format!("/proc/{process}/mem")) {
        Err(cause) if cause.kind() == ErrorKind::PermissionDenied => return None,
        opened => opened.unwrap(),
    };
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut count = 0;
    for map in maps.lines().filter(|map| map.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw"))) {
        let (from, to) = map.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut held = vec![0; usize::try_from(to - from).unwrap()];
        // A guard page, say, can't be read.
        let read = memory.read_at(&mut held, from).unwrap_or_default();
        count += held[..read].windows(bytes.len()).filter(|window| *window == bytes).count();
    }
    Some(count)
}

/// Registers, and looks for the end of the seed: freed memory is written over at its beginning.
#[track_caller]
fn check(mode: &[&str], arguments: &Value) {
    let person = Person::new();
    let mut command = person.command(&[&["stdio"], mode].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut session = Session { input, output };
    let client = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "looked-for-client", "version": "1"}});
    session.ask(1, "initialize", &client);
    writeln!(session.input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).unwrap();
    let answer = session.ask(2, "tools/call", &json!({"name": "register_totp_secret", "arguments": arguments}));
    let given = arguments.pointer("/uri").or(arguments.pointer("/secret")).and_then(Value::as_str);
    let seed =
        answer.pointer("/result/structuredContent/totp_secret/secret").and_then(Value::as_str).or(given).unwrap();
    let seed = seed.trim_start_matches("otpauth://totp/ada?secret=");
    assert_eq!((seed.len(), answer.pointer("/result/isError")), (32, Some(&false.into())), "{answer}");
    // By its answer the one before has been handed on.
    session.ask(3, "ping", &json!({}));

    let bytes = data_encoding::BASE32.decode(seed.as_bytes()).unwrap();
    let left = [found(child.id(), &seed.as_bytes()[16..]), found(child.id(), &bytes[8..])];
    // What is searched for can be found: the same search sees what is known to be there.
    let known = found(child.id(), b"looked-for-client");
    drop(session);
    child.wait().unwrap();
    assert!(left.into_iter().flatten().all(|count| count == 0), "{left:?}: {arguments}");
    assert_ne!(known, Some(0));
}

#[test]
fn a_registration_leaves_no_copy_of_its_seed_in_memory() {
    const SEED: &str = "KZQXJ7WVYB2MHXNQKZQXJ7WVYB2M4ABC";
    check(&[], &json!({"label": "ada", "secret": SEED}));
    check(&["--reveal", "never"], &json!({"label": "ada", "secret": SEED}));
    check(&[], &json!({"uri": format!("otpauth://totp/ada?secret={SEED}")}));
    check(&[], &json!({"label": "ada"}));
}
