//! A server as a process: what it logs, and what it is told by signals.

#![cfg(unix)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Person;

#[test]
fn a_server_that_logs_json_writes_nothing_else_and_reads_its_certificate_again_when_told() {
    let person = Person::with_alice();
    let (certificate, key) = (person.home().join("cert.pem"), person.home().join("key.pem"));
    let renew = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        fs::write(&certificate, made.cert.pem()).unwrap();
    };
    renew();
    let [certificate_name, key_name] = [&certificate, &key].map(|file| file.to_str().unwrap());
    let arguments = ["--tls-cert", certificate_name, "--tls-key", key_name, "--log-format", "json"];
    let mut command = person.command(&[&["serve", "--listen", "127.0.0.1:0"], &arguments[..]].concat());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut until = |text: &str| loop {
        let line: Value = serde_json::from_str(&lines.next().expect("a line").unwrap()).expect("JSON");
        assert!(line["level"].is_string() && line["timestamp"].is_string() && line["target"].is_string(), "{line}");
        if line["message"].as_str().unwrap().contains(text) {
            return line;
        }
    };
    let process = Pid::from_child(&child);

    assert_eq!(until("listening on https://127.0.0.1:")["level"], "INFO");
    until("countersign key create");
    // Its handshakes have not looked at the files: only the signal makes it read them.
    renew();
    kill_process(process, Signal::HUP).unwrap();
    until("the TLS certificate was read anew");
    fs::write(&certificate, "broken").unwrap();
    kill_process(process, Signal::HUP).unwrap();
    assert_eq!(until("the new TLS certificate does not work; the old one stays")["level"], "ERROR");

    kill_process(process, Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_server_that_logs_json_and_cant_start_says_so_in_json() {
    let person = Person::with_alice();
    let refused = person.run(&["--data-dir", "/proc/x", "serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    assert_ne!(refused.status, 0);
    for line in refused.err.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(line["message"].is_string(), "{line}");
    }
    assert!(refused.err.contains("\"ERROR\""), "{refused:?}");
}
