//! A person interrupts a command at a question, or while it waits, after typing at a hidden prompt.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rustix::process::{Pid, Signal, kill_process};

use super::{Person, Terminal};
use crate::kit::RFC_SEED;

const PASSPHRASE: &str = "correct horse battery";
const ASKED: &str = "assphrase of the vault (hidden): ";

/// A person with two secrets in a vault whose passphrase is typed for each command.
fn with_passphrase() -> Person {
    let person = Person::new();
    person.file("p", PASSPHRASE);
    fs::set_permissions(person.home().join("p"), fs::Permissions::from_mode(0o600)).unwrap();
    let by = |arguments: &[&str]| person.fed(RFC_SEED, &[&["--key-source", "passphrase:p"], arguments].concat());
    by(&["vault", "create"]).ok();
    for label in ["alice", "alison"] {
        by(&["secret", "add", "--label", label, "--stdin"]).ok();
    }
    by(&["seat", "add", "--email", "ada@example.com"]).ok();
    by(&["key", "create", "--name", "ci"]).ok();
    by(&["account", "add", "other"]).ok();
    person
}

#[test]
fn every_question_and_every_wait_after_a_hidden_prompt_can_be_interrupted() {
    let person = with_passphrase();
    for (command, until) in [
        ("secret rm alice", "[y/N] "),
        ("secret rm alice --now", "[y/N] "),
        ("secret show ali", "Which one? "),
        ("secret show alice --qr", "[y/N] "),
        ("secret export --plain --output plain.txt", "[y/N] "),
        ("secret enroll --no-open", "It shows the words"),
        ("code alice --watch", "\u{1b}[K"),
        ("code", "\u{1b}[J"),
        ("seat rm ada@example.com", "[y/N] "),
        ("key revoke ci", "[y/N] "),
        ("account rm other", "[y/N] "),
        ("audit prune --before 2020-01-01", "[y/N] "),
        ("serve --listen 127.0.0.1:0", "listening on "),
    ] {
        let mut terminal = Terminal::new();
        let program = terminal.start(&person, &format!("--key-source passphrase {command}"));
        terminal.read_until(ASKED);
        terminal.types(PASSPHRASE);
        let shown = terminal.read_until(until);

        terminal.interrupts();

        let (rest, ended) = terminal.rest_of(program);
        let in_order = ["code", "serve --listen 127.0.0.1:0"].contains(&command);
        assert_eq!(ended.code(), Some(if in_order { 0 } else { 130 }), "{command}: {shown}{rest}");
    }
    let listed = person.run(&["--key-source", "passphrase:p", "secret", "list", "--json"]).json();
    assert_eq!(listed.pointer("/totp_secrets").unwrap().as_array().unwrap().len(), 2, "nothing was removed");
    assert!(!person.home().join("plain.txt").exists());
}

#[test]
fn an_encrypted_export_that_is_interrupted_leaves_no_file() {
    let person = Person::with_alice();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut terminal = Terminal::new();
        let program = terminal.start(&person, "secret export --output out.age");
        for prompt in ["Passphrase for the export (hidden): ", "The same again (hidden): "] {
            terminal.read_until(prompt);
            terminal.types(PASSPHRASE);
        }
        // The key derivation is running.
        terminal.read_until("Ctrl-C stops it");

        kill_process(Pid::from_child(&program), signal).unwrap();

        let (shown, ended) = terminal.rest_of(program);
        assert_eq!(ended.code(), Some(130), "{shown}");
        assert!(!person.home().join("out.age").exists(), "{signal:?}");
        assert!(shown.contains("interrupted; nothing was handed out or changed"), "{shown}");
    }
    // The message and the audit log agree.
    let rows = person.run(&["audit", "list", "--action", "secret.export", "--json"]).json();
    assert_eq!(rows.pointer("/rows"), Some(&serde_json::json!([])), "no secret was read");
}
