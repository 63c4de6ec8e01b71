//! A server or sidecar can write only in its own folders, and its keys stay out of swap. Tested from outside, on a
//! running process.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, Stdio},
};

use serde_json::{Value, json};

use crate::cli::Person;

/// Starts a sidecar, waits until it has answered, and returns it.
fn sidecar(person: &Person, arguments: &[&str]) -> (Child, impl FnMut(u32, &str, Value) -> Value + use<>) {
    let mut command = person.command(&[arguments, &["stdio"]].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut input, mut output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut ask = move |id: u32, method: &str, params: Value| -> Value {
        writeln!(input, "{}", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let client =
        json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}});
    ask(1, "initialize", client);
    (child, ask)
}

/// Whether a running sidecar can create a file in a folder that replaces its state folder.
fn writes_elsewhere(person: &Person, arguments: &[&str]) -> bool {
    let state = person.home().join("state");
    let all = [&["--state-dir", state.to_str().unwrap()], arguments].concat();
    let (mut child, mut ask) = sidecar(person, &all);
    assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "the state file");
    let aside = person.home().join("aside");
    fs::rename(&state, &aside).unwrap();
    fs::create_dir(&state).unwrap();
    let arguments = json!({"name": "register_totp_secret", "arguments": {"label": "ada"}});
    let registered = ask(2, "tools/call", arguments);
    assert_eq!(registered.pointer("/result/isError"), Some(&false.into()), "{registered}");
    // At the end of its input the process ends, and writes its state file.
    drop(ask);
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let written = fs::read_dir(&state).unwrap().count() > 0;
    assert_eq!(said.contains("the state file can't be written"), !written, "{said}");
    fs::remove_dir_all(&aside).unwrap();
    fs::remove_dir_all(&state).unwrap();
    written
}

fn doctor(person: &Person, arguments: &[&str]) -> Value {
    person.run(&[arguments, &["vault", "doctor", "--json"]].concat()).json()["process"].clone()
}

#[test]
fn a_sidecar_can_write_in_its_own_folders_alone_and_the_doctor_says_so() {
    let person = Person::with_vault();
    let told = doctor(&person, &[]);
    // A kernel without Landlock is reported, not ignored.
    assert_eq!(writes_elsewhere(&person, &[]), told["landlock"] == false, "{told}");
    if told["landlock"] == true {
        let only = told["writes_only"].as_array().unwrap();
        assert!(only.iter().all(|folder| Path::new(folder.as_str().unwrap()).starts_with(person.home())), "{told}");
        let said = person.run(&["vault", "doctor"]).ok();
        assert!(said.contains("servers and sidecars can write only in"), "{said}");
    }
}

#[test]
fn a_sidecar_whose_key_comes_from_a_command_is_not_confined_and_the_doctor_says_so() {
    let person = Person::with_vault();
    let key = person.home().join("command.key");
    fs::write(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
    let source = format!(r#"command:["/bin/cat","{}"]"#, key.display());
    person.run(&["vault", "key", "add", &source]).ok();
    let by_command = ["--key-source", source.as_str()];
    assert_eq!(doctor(&person, &by_command)["landlock"], false);
    let said = person.run(&[&by_command[..], &["vault", "doctor"]].concat()).ok();
    assert!(said.contains("Landlock is not applied, since a command gives the key"), "{said}");
    assert!(writes_elsewhere(&person, &by_command));
}

#[test]
fn the_keys_of_a_running_process_are_locked_in_memory_as_far_as_the_system_allows() {
    let person = Person::with_vault();
    let told = doctor(&person, &[]);
    let (mut child, ask) = sidecar(&person, &[]);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
    let kib: u64 = locked.trim().trim_end_matches(" kB").parse().unwrap();
    assert_eq!(kib > 0, told["keys_locked"] == true, "{kib} KiB, {told}");
    assert!(kib < 64, "a few pages, not the whole process: {kib} KiB");
    drop(ask);
    child.wait().unwrap();
}
