//! `countersign secret enroll`, and the PIN of a seat.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use super::{Person, terminal::Terminal, text_of};
use crate::{http::enrol_local::add_on_page, kit::RFC_SEED};

/// The host of a sidecar.
struct Host {
    sidecar: Child,
    input: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Host {
    fn start(person: &Person) -> Self {
        let mut command = person.command(&["stdio"]);
        let mut sidecar = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (sidecar.stdin.take().unwrap(), sidecar.stdout.take().unwrap());
        Self { sidecar, input, lines: BufReader::new(output).lines() }
    }

    /// Calls the tool without a session, and returns its answer.
    fn enroll(&mut self, arguments: &Value) -> Value {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "robot", "version": "7"},
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let params = json!({"_meta": meta, "name": "enroll_totp_secret", "arguments": arguments});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        writeln!(self.input, "{call}").unwrap();
        let answer: Value = serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap();
        answer.pointer("/result/structuredContent").expect("the tool answers").clone()
    }

    fn end(mut self) {
        drop(self.input);
        self.sidecar.wait().unwrap();
    }
}

#[test]
fn an_agents_request_is_finished_on_a_terminal() {
    let person = Person::with_vault();
    let mut host = Host::start(&person);
    let begun = host.enroll(&json!({"label": "ada", "issuer": "Acme"}));
    let id = text_of(&begun, "/enrollment_id").to_owned();
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, &format!("secret enroll {id}"));
    terminal.wait_for_a_hidden_prompt(&mut program);
    terminal.types(RFC_SEED);
    let mut shown = terminal.read_until("[y/N]");
    terminal.types("y");
    let (rest, ended) = terminal.rest_of(program);
    shown += &rest;

    assert_eq!(ended.code(), Some(0), "{shown}");
    for said in ["Asked by robot", text_of(&begun, "/words"), "Acme, ada: SHA1, 6 digits", "Its current code"] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    assert!(!shown.contains(RFC_SEED));
    let outcome = host.enroll(&json!({"enrollment_id": id}));
    assert_eq!((text_of(&outcome, "/status"), text_of(&outcome, "/totp_secret/label")), ("OK", "ada"));
    let again = person.run(&["secret", "enroll", &id]);
    assert!(again.status == 1 && again.err.contains("already"), "{again:?}");
    host.end();
}

#[test]
fn a_request_without_a_name_asks_its_person_for_one() {
    let person = Person::with_vault();
    let mut host = Host::start(&person);
    let begun = host.enroll(&json!({}));
    let id = text_of(&begun, "/enrollment_id").to_owned();
    assert!(text_of(&begun, "/note").contains(&format!("`countersign secret enroll {id}`")), "{begun}");
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, &format!("secret enroll {id}"));
    terminal.wait_for_a_hidden_prompt(&mut program);
    terminal.types(RFC_SEED);
    terminal.read_until("Label, such as the account's name: ");
    terminal.types("ada");
    terminal.read_until("[y/N]");
    terminal.types("y");
    let (_, ended) = terminal.rest_of(program);

    assert_eq!(ended.code(), Some(0));
    let outcome = host.enroll(&json!({"enrollment_id": id}));
    assert_eq!((text_of(&outcome, "/status"), text_of(&outcome, "/totp_secret/label")), ("OK", "ada"));
    host.end();
}

#[cfg(unix)]
#[test]
fn an_interrupted_request_of_a_person_is_cancelled_and_takes_no_place() {
    use rustix::process::{Pid, Signal, kill_process};

    let person = Person::with_vault();
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = person.command(&["secret", "enroll", "--no-open"]);
        let mut program = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut notes = BufReader::new(program.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(notes.any(|line| line.contains("ssh -L ")), "it says how to reach the page");

        kill_process(Pid::from_child(&program), signal).unwrap();

        assert_eq!(program.wait().unwrap().code(), Some(130));
    }
    let rows = person.run(&["audit", "list", "--json"]).json();
    let cancelled = |row: &&Value| row["action"] == "enrol.cancel";
    assert_eq!(rows["rows"].as_array().unwrap().iter().filter(cancelled).count(), 2, "{rows}");
}

#[test]
fn a_person_adds_a_secret_on_a_page_without_an_agent() {
    let person = Person::new();
    let mut command = person.command(&["secret", "enroll", "--label", "ada", "--no-open", "--json"]);
    let mut program = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut notes = BufReader::new(program.stderr.take().unwrap()).lines().map_while(Result::ok);
    let url = notes.find_map(|line| Some(line.split_once("http://")?.1.to_owned())).unwrap();

    add_on_page(&format!("http://{url}"), &format!("otpauth://totp/ada?secret={RFC_SEED}"));

    let output = program.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(!String::from_utf8(output.stdout).unwrap().contains(RFC_SEED));
    person.run(&["code", "ada"]).ok();
}

#[test]
fn the_phrase_of_an_open_request_is_printed_and_of_no_other() {
    let person = Person::with_vault();
    let mut host = Host::start(&person);
    let begun = host.enroll(&json!({}));
    let id = text_of(&begun, "/enrollment_id");

    let phrase = person.run(&["secret", "enroll", "--phrase", id, "--json"]).json();

    assert_eq!(text_of(&phrase, "/phrase").split('-').count(), 4);
    assert_eq!(text_of(&phrase, "/words"), text_of(&begun, "/words"));
    let unknown = person.run(&["secret", "enroll", "--phrase", "01a2008d-7400-7000-8000-000000000000"]);
    assert!(unknown.status == 1 && unknown.err.contains("no such open enrolment"), "{unknown:?}");
    let typed = person.run(&["secret", "enroll", "--phrase", RFC_SEED]);
    assert!(typed.status == 2 && !typed.err.contains(RFC_SEED), "{typed:?}");
    host.end();
}

#[test]
fn a_seat_gets_a_pin_that_is_no_run_and_loses_it() {
    let person = Person::new();
    person.run(&["seat", "add", "--email", "ada@example.com"]).ok();
    for bad in ["12345", "123456", "000000", "49 20 39"] {
        let refused = person.fed(bad, &["seat", "update", "ada@example.com", "--pin-stdin"]);
        assert!(refused.status == 2 && !refused.err.contains(bad), "{bad}: {refused:?}");
    }
    // The PIN has letters, because the audit log's times can contain any six digits.
    person.fed("correcthorse9\n", &["seat", "update", "ada@example.com", "--pin-stdin"]).ok();
    person.run(&["vault", "doctor"]).ok();
    person.run(&["seat", "update", "ada@example.com", "--no-pin", "--first-name", "Ada"]).ok();
    let nothing = person.run(&["seat", "update", "ada@example.com"]);
    assert!(nothing.status == 2 && nothing.err.contains("--pin"), "{nothing:?}");
    let listed = person.run(&["audit", "list", "--json"]).ok();
    assert!(!listed.contains("correcthorse9"));
}

#[test]
fn a_pin_is_typed_twice_on_a_terminal() {
    let person = Person::new();
    person.run(&["seat", "add", "--email", "ada@example.com"]).ok();
    for (second, code) in [("correcthorse8", 1), ("correcthorse9", 0)] {
        let mut terminal = Terminal::new();
        let program = terminal.start(&person, "seat update ada@example.com --pin");
        terminal.read_until("New PIN");
        terminal.types("correcthorse9");
        terminal.read_until("The same again");
        terminal.types(second);
        let (shown, ended) = terminal.rest_of(program);
        assert_eq!(ended.code(), Some(code), "{shown}");
        assert!(!shown.contains("horse"), "{shown}");
    }
}
