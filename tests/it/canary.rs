//! A canary seed goes through every tool, every kind of refusal and the command line of the real program, at log level
//! `trace`. The seed and every code made from it may appear only in the answers meant for them: not in a file, a log
//! line, an error or another answer.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    thread::JoinHandle,
};

use serde_json::{Value, json};

/// 20 recognisable bytes.
const CANARY: &[u8; 20] = b"\xC4\x9E\x01canary\xFFseed\x80\x81\x82\xF0\x0D\xFE";

/// The texts that must not be found: their names, and their bytes.
type Needles = BTreeMap<String, Vec<u8>>;

#[test]
fn a_seed_and_its_codes_stand_in_their_own_answers_and_nowhere_else() {
    let home = tempfile::tempdir().unwrap();
    let mut needles = spellings_of(CANARY);
    let base32 = data_encoding::BASE32_NOPAD.encode(CANARY);

    let mut host = Host::start(home.path());
    let (secret, codes) = right_calls(&mut host, &base32);
    needles.extend(codes.into_iter().map(|code| (format!("the code {code}"), code.into_bytes())));
    wrong_calls(&mut host, &base32, &secret);
    let while_open = everything_under(home.path());
    let (answers, log) = host.end();
    no_session(home.path(), &base32, &needles);
    let printed = command_line(home.path(), &base32, &secret, &mut needles);

    assert!(log.contains("outcome=\"ok\"") && log.contains("a line was refused"), "nothing was logged: {log}");
    absent(&needles, "the log", log.as_bytes());
    for (place, bytes) in while_open.into_iter().chain(everything_under(home.path())).chain(printed) {
        absent(&needles, &place, &bytes);
    }
    for (what, line) in answers {
        absent(&needles, &what, line.as_bytes());
    }
}

/// Calls every tool correctly. Returns the secret's id, and the codes that were given.
fn right_calls(host: &mut Host, base32: &str) -> (String, Vec<String>) {
    let registration = json!({"label": "canary", "secret": base32, "digits": 8, "period": 3600});
    let registered = host.call_for_its_own("register_totp_secret", &registration);
    assert_eq!(registered["totp_secret"]["secret"], *base32);
    let secret = registered["totp_secret"]["id"].as_str().unwrap().to_owned();
    let uri = format!("otpauth://totp/Nest:canary?secret={base32}&digits=8&period=3599&algorithm=SHA256");
    let other = host.call_for_its_own("register_totp_secret", &json!({"uri": uri}));
    let other = other["totp_secret"]["id"].as_str().unwrap().to_owned();
    let mut codes = Vec::new();
    for (id, single_use) in [(&secret, false), (&other, true)] {
        let answer = host.call_for_its_own("get_totp_code", &json!({"secret_id": id, "single_use": single_use}));
        codes.push(answer["code"].as_str().unwrap().to_owned());
    }
    for purpose in [&codes[0], &codes[1]] {
        let purpose = format!("log in with {purpose}");
        host.call_for_its_own("get_totp_code", &json!({"secret_id": secret, "purpose": purpose}));
    }
    host.call("list_totp_secrets", &json!({}));
    host.call("verify_totp_code", &json!({"secret_id": secret, "code": codes[0]}));
    host.call("verify_totp_code", &json!({"secret_id": secret, "code": codes[0]}));
    #[cfg(target_os = "linux")]
    {
        let begun = host.call_for_its_own("enroll_totp_secret", &json!({"label": "by a person"}));
        let link = format!("otpauth://totp/Nest:person?secret={base32}&digits=8&period=3598");
        let pages = crate::http::enrol_local::add_on_page(begun["enrollment_url"].as_str().unwrap(), &link);
        for page in pages {
            assert!(!String::from_utf8(page).unwrap().contains(base32), "a page holds the seed");
        }
        host.call("enroll_totp_secret", &json!({"enrollment_id": begun["enrollment_id"]}));
    }
    host.call("list_seats", &json!({}));
    host.call("get_seat_count", &json!({}));
    host.call("delete_totp_secret", &json!({"secret_id": other}));
    (secret, codes)
}

/// Sends the seed in every place where it does not belong.
fn wrong_calls(host: &mut Host, base32: &str, secret: &str) {
    let uri = format!("otpauth://totp/x?secret={base32}");
    for wrong in [
        json!({"label": base32, "secret": base32, "digits": 7}),
        json!({"label": "x", "secret": base32, "period": base32}),
        json!({"label": "x", "secret": [base32]}),
        json!({"label": "x", "secret": {"secret": base32}}),
        json!({"label": "x", "secret": format!("{base32}!")}),
        json!({"label": "x", "secret": base32, "algorithm": base32}),
        json!({"label": "x\u{202e}", "secret": base32}),
        json!({"secret": base32}),
        json!({"uri": uri.replace("totp", "hotp")}),
        json!({"uri": format!("{uri}&digits={base32}")}),
        json!({"uri": format!("{uri}&secret={base32}AA")}),
        json!({"uri": base32}),
        json!({"uri": 7, "secret": base32}),
        json!({(base32): base32}),
    ] {
        host.refused("register_totp_secret", &wrong);
    }
    for tool in ["get_totp_code", "delete_totp_secret", "verify_totp_code"] {
        host.refused(tool, &json!({"secret_id": base32, "code": base32}));
        host.refused(tool, &json!({"secret_id": secret, (base32): 1}));
        host.refused(tool, &json!({"secret_id": [base32]}));
    }
    host.refused("get_totp_code", &json!({"secret_id": secret, "seat_id": base32}));
    // A purpose never prevents a code; its sensitive parts are masked.
    for purpose in [base32, &uri] {
        host.call_for_its_own("get_totp_code", &json!({"secret_id": secret, "purpose": purpose}));
    }
    for (name, value) in [("min_validity", json!(base32)), ("max_wait", json!(base32)), ("single_use", json!(base32))] {
        host.refused("get_totp_code", &json!({"secret_id": secret, (name): value}));
    }
    host.refused("get_totp_code", &json!({"secret_id": secret, "single_use": true, "max_wait": 0}));
    host.refused("list_totp_secrets", &json!({"limit": base32}));
    host.refused("get_seat", &json!({"seat_id": base32}));
    host.refused("list_seats", &json!({"offset": base32}));
    host.call("get_seat_count", &json!({"email": base32}));
    // Errors of the protocol.
    host.send(&json!({"jsonrpc": "2.0", "id": base32, "method": base32, "params": {"x": base32}}));
    host.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"reason": base32}}));
    host.raw(&format!("{{\"jsonrpc\": \"2.0\", \"{base32}\": \n{base32}\n[\"{base32}\"]\n"));
    host.call("get_seat_count", &json!({}));
}

/// A host that never completes the handshake.
fn no_session(home: &Path, base32: &str, needles: &Needles) {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": base32, "params": {"x": base32}});
    let ended = countersign(home, &["stdio"], &format!("{request}\n"));
    absent(needles, "the log of no session", &ended.stderr);
    absent(needles, "what no session was answered", &ended.stdout);
}

/// Passes the seed to commands, and returns their outputs, which may contain no needle. Codes that they print become
/// needles afterwards.
fn command_line(home: &Path, base32: &str, secret: &str, needles: &mut Needles) -> Vec<(String, Vec<u8>)> {
    let mut printed = Vec::new();
    let mut run = |arguments: &[&str], input: &str| {
        let Output { status, stdout, stderr } = countersign(home, arguments, input);
        let what = arguments.join(" ").replace(base32, "SEED");
        printed.push((format!("the standard error of `{what}`"), stderr));
        (format!("the standard output of `{what}`"), stdout, status.success())
    };
    let (_, code, good) = run(&["code", secret, "--json"], "");
    assert!(good, "a person gets the code");
    let code: Value = serde_json::from_slice(&code).unwrap();
    needles.insert("the code at the command line".to_owned(), code["code"].as_str().unwrap().as_bytes().to_vec());
    let mut others = Vec::new();
    for (arguments, input) in [
        (vec!["secret", "add", "--label", "by hand", "--stdin"], base32),
        (vec!["secret", "add", "--label", "by hand", "--stdin", "--digits", "7"], base32),
        (vec!["secret", "add", "--label", "by hand", "--stdin"], &format!("{base32}!")),
        (vec!["secret", "add", "--uri-file", "-"], &format!("otpauth://totp/x?secret={base32}&digits=9")),
        (vec!["secret", "list"], ""),
        (vec!["secret", "list", "--json"], ""),
        (vec!["secret", "show", secret], ""),
        (vec!["code", base32], ""),
        (vec!["audit", "list"], ""),
        (vec!["audit", "export"], ""),
        (vec!["audit", "verify"], ""),
        (vec!["vault", "doctor"], ""),
    ] {
        let (place, stdout, _) = run(&arguments, input);
        others.push((place, stdout));
    }
    printed.extend(others);
    printed
}

/// The encodings of the seed to search for.
fn spellings_of(seed: &[u8]) -> Needles {
    let base32 = data_encoding::BASE32_NOPAD.encode(seed);
    let hex = data_encoding::HEXLOWER.encode(seed);
    let list = format!("{seed:?}");
    Needles::from([
        ("the seed in upper-case hex".to_owned(), hex.to_uppercase().into_bytes()),
        ("the seed in hex".to_owned(), hex.into_bytes()),
        ("the seed in lower-case base32".to_owned(), base32.to_lowercase().into_bytes()),
        ("half of the seed in base32".to_owned(), base32.as_bytes()[..16].to_vec()),
        ("the other half of it".to_owned(), base32.as_bytes()[16..].to_vec()),
        ("the seed in base64".to_owned(), data_encoding::BASE64_NOPAD.encode(seed).into_bytes()),
        ("the seed as a list of numbers".to_owned(), list.trim_matches(['[', ']']).as_bytes().to_vec()),
        ("half of the seed".to_owned(), seed[..10].to_vec()),
        ("the other half".to_owned(), seed[10..].to_vec()),
    ])
}

fn absent(needles: &Needles, place: &str, bytes: &[u8]) {
    for (name, needle) in needles {
        assert!(!bytes.windows(needle.len()).any(|window| window == needle), "{name} was found in {place}");
    }
}

/// Every file's contents: the database, its log, its index, the key file.
fn everything_under(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_under(&path));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    assert!(!found.is_empty(), "there are files");
    found
}

fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.env_clear().env("HOME", home).env("COUNTERSIGN_DATA_DIR", home.join("data"));
    command.env("COUNTERSIGN_LOG", "trace").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn countersign(home: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = program(home).args(arguments).spawn().unwrap();
    // A command that refuses early may not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// An MCP host with the real sidecar.
struct Host {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    log: JoinHandle<String>,
    calls: u64,
    /// Lines in which no needle may be, with what they answer.
    answers: Vec<(String, String)>,
}

impl Host {
    fn start(home: &Path) -> Self {
        let mut child = program(home).arg("stdio").spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            errors.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut host = Self { child, input, output, log, calls: 0, answers: Vec::new() };
        let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "canary", "version": "1"}});
        host.send(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello}));
        host.answer_to(0);
        host.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        host
    }

    fn raw(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).unwrap();
    }

    fn send(&mut self, message: &Value) {
        self.raw(&format!("{message}\n"));
    }

    /// Returns the line that answers a request. Other lines before it may contain no needle.
    fn answer_to(&mut self, id: u64) -> String {
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the sidecar ended");
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["id"] == id {
                return line;
            }
            // A request is answered under its own id, whatever that is.
            self.answers.push(("an answer without a call".to_owned(), message["error"].to_string()));
        }
    }

    fn ask(&mut self, tool: &str, arguments: &Value) -> (Value, String) {
        self.calls += 1;
        let params = json!({"name": tool, "arguments": arguments});
        self.send(&json!({"jsonrpc": "2.0", "id": self.calls, "method": "tools/call", "params": params}));
        let line = self.answer_to(self.calls);
        (serde_json::from_str::<Value>(&line).unwrap()["result"].take(), line)
    }

    /// Calls a tool whose answer may contain the seed or a code.
    fn call_for_its_own(&mut self, tool: &str, arguments: &Value) -> Value {
        let (mut result, line) = self.ask(tool, arguments);
        assert_eq!(result["isError"], false, "{tool} is answered: {line}");
        result["structuredContent"].take()
    }

    /// Calls a tool whose answer may contain neither the seed nor a code.
    fn call(&mut self, tool: &str, arguments: &Value) {
        let (result, line) = self.ask(tool, arguments);
        assert_ne!(result["isError"], true, "{tool} is answered: {line}");
        self.answers.push((format!("the answer of {tool}"), line));
    }

    fn refused(&mut self, tool: &str, arguments: &Value) {
        let (result, line) = self.ask(tool, arguments);
        assert_eq!(result["isError"], true, "{tool} is refused: {line}");
        self.answers.push((format!("the refusal of {tool}"), line));
    }

    fn end(mut self) -> (Vec<(String, String)>, String) {
        drop(self.input);
        self.child.wait().unwrap();
        (self.answers, self.log.join().unwrap())
    }
}
