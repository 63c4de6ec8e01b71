//! A registration leaves no part of a seed in the process's memory. The memory is searched from outside, as a core dump
//! or another program of the same user could be.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
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

/// How often bytes occur in a process's memory. Returns `None` if only root may read it.
pub(crate) fn found(process: u32, bytes: &[u8]) -> Option<usize> {
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
        // Some pages can't be read, for example guard pages.
        let read = memory.read_at(&mut held, from).unwrap_or_default();
        count += held[..read].windows(bytes.len()).filter(|window| *window == bytes).count();
    }
    Some(count)
}

/// Registers a secret, and searches for the end of the seed, because freed memory is overwritten at its beginning.
/// Returns the answer.
#[track_caller]
fn check(mode: &[&str], arguments: &Value, given: Option<&str>) -> Value {
    let person = Person::new();
    let mut command = person.command(&[&["stdio"], mode].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut session = Session { input, output };
    let client = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "looked-for-client", "version": "1"}});
    session.ask(1, "initialize", &client);
    writeln!(session.input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).unwrap();
    let answer = session.ask(2, "tools/call", &json!({"name": "register_totp_secret", "arguments": arguments}));
    let shown = answer.pointer("/result/structuredContent/totp_secret/secret").and_then(Value::as_str);
    let seed = shown.or(given).unwrap();
    // The answer means that the previous one was written.
    session.ask(3, "ping", &json!({}));

    let bytes = data_encoding::BASE32.decode(seed.as_bytes()).unwrap_or_else(|_| seed.as_bytes().to_vec());
    let left = [found(child.id(), &seed.as_bytes()[16..]), found(child.id(), &bytes[8..])];
    // Checks that the search works: it finds a text that is in the memory.
    let known = found(child.id(), b"looked-for-client");
    drop(session);
    child.wait().unwrap();
    assert!(left.into_iter().flatten().all(|count| count == 0), "{left:?}: {arguments}");
    assert_ne!(known, Some(0));
    answer
}

const SEED: &str = "KZQXJ7WVYB2MHXNQKZQXJ7WVYB2M4ABC";

#[test]
fn a_registration_leaves_no_copy_of_its_seed_in_memory() {
    let check = |mode: &[&str], arguments: Value, given| {
        let answer = check(mode, &arguments, given);
        assert_eq!(answer.pointer("/result/isError"), Some(&false.into()), "{answer}");
    };
    check(&[], json!({"label": "ada", "secret": SEED}), Some(SEED));
    check(&["--reveal", "never"], json!({"label": "ada", "secret": SEED}), Some(SEED));
    check(&[], json!({"uri": format!("otpauth://totp/ada?secret={SEED}")}), Some(SEED));
    check(&[], json!({"label": "ada"}), None);
}

#[test]
fn a_code_and_a_verification_leave_no_copy_of_their_seed_in_memory() {
    let person = Person::new();
    person.fed(SEED, &["secret", "add", "--label", "ada", "--stdin"]).ok();
    let id = person.run(&["secret", "show", "ada", "--json"]).json()["totp_secret"]["id"].clone();
    let mut command = person.command(&["stdio"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut session = Session { input, output };
    let client = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "looked-for-client", "version": "1"}});
    session.ask(1, "initialize", &client);
    writeln!(session.input, "{}", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).unwrap();
    let bytes = data_encoding::BASE32.decode(SEED.as_bytes()).unwrap();
    let calls = [
        ("get_totp_code", json!({"secret_id": id})),
        ("get_totp_code", json!({"secret_id": id})),
        ("verify_totp_code", json!({"secret_id": id, "code": "000000"})),
        ("list_totp_secrets", json!({})),
        ("delete_totp_secret", json!({"secret_id": id})),
    ];
    for (number, (name, arguments)) in (2..).zip(calls) {
        let answer = session.ask(number, "tools/call", &json!({"name": name, "arguments": arguments}));
        assert_eq!(answer.pointer("/result/isError"), Some(&false.into()), "{answer}");
        session.ask(100 + number, "ping", &json!({}));
        let left = [found(child.id(), &SEED.as_bytes()[16..]), found(child.id(), &bytes[8..])];
        assert!(left.into_iter().flatten().all(|count| count == 0), "{left:?}: {name}");
    }
    assert_ne!(found(child.id(), b"looked-for-client"), Some(0));
    drop(session);
    child.wait().unwrap();
}

#[test]
fn a_registration_that_is_refused_leaves_no_copy_of_its_seed_in_memory() {
    // Long enough that later writes do not cover it, and longer than the buffers for most lines. A text with escapes,
    // such as arguments sent as text, passes through a buffer of the JSON parser.
    let uri = |label: usize| format!("otpauth://totp/{}?secret={SEED}", "a".repeat(label));
    for arguments in [
        json!(uri(100)),
        json!(uri(6000)),
        json!(json!({"uri": uri(100)}).to_string()),
        json!([uri(100)]),
        json!({"uri": uri(100), "colour": "blue"}),
        json!({"uri": uri(6000), "colour": "blue"}),
        json!({"label": "ada", "colour": uri(100)}),
        json!({"label": "ada", (SEED): 1}),
        json!({"label": "ada", "secret": SEED, "digits": 7}),
        json!({"label": "ada", "secret": SEED, "digits": [7]}),
        json!({"label": "ada", "digits": SEED}),
        json!({"label": "ada", "secret": [SEED]}),
        json!({"label": "ada", "secret": format!("{SEED}1")}),
        json!({"uri": format!("{}&digits=7", uri(100))}),
    ] {
        let answer = check(&[], &arguments, Some(SEED));
        assert_eq!(answer.pointer("/result/isError"), Some(&true.into()), "{answer}");
    }
}

#[test]
fn a_registration_over_http_leaves_no_copy_of_its_seed_in_memory() {
    let person = Person::with_vault();
    let minted = person.run(&["key", "create", "--name", "ada", "--scope", "secrets:write", "--json"]).ok();
    let minted: Value = serde_json::from_str(&minted).unwrap();
    let token = minted["token"].as_str().unwrap();
    let mut command = person.command(&["serve", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = said.next().unwrap().unwrap();
    let address = first.strip_prefix("listening on http://").unwrap();

    let uri = format!("otpauth://totp/{}?secret={SEED}", "a".repeat(100));
    let escaped = serde_json::to_string(&uri).unwrap().replace('/', "\\/");
    for (body, status) in [
        (json!({"label": "ada", "secret": SEED}).to_string(), 200),
        (format!(r#"{{"uri":{escaped}}}"#), 200),
        (format!(r#"{{"uri":{escaped},"digits":"{SEED}","colour":1}}"#), 400),
        (format!(r#"["{SEED}"]"#), 400),
    ] {
        let mut connection = std::net::TcpStream::connect(address).unwrap();
        let head = format!(
            "POST /api/v2/totp/secrets HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all((head + &body).as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    // A connection is freed shortly after its last byte.
    let bytes = data_encoding::BASE32.decode(SEED.as_bytes()).unwrap();
    let left = || [found(child.id(), &SEED.as_bytes()[16..]), found(child.id(), &bytes[8..])];
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while left().into_iter().flatten().any(|count| count > 0) && std::time::Instant::now() < deadline {
        std::thread::yield_now();
    }
    let left = left();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(left.into_iter().flatten().all(|count| count == 0), "{left:?}");
}
