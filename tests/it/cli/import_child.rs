//! Imports read files in a child process: a child that is killed, exceeds its limits, or is interrupted; and the memory
//! of the import itself.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Person, Ran, Terminal, finish};
use crate::seed_memory::found;

/// A person with an empty vault, an encrypted file whose key derivation takes this many MiB and passes, and its
/// passphrase in the file `passphrase`.
fn with_costly_file(mib: u64, passes: u64) -> Person {
    let person = Person::with_vault();
    let fixture = format!("{}/tests/fixtures/import/ente-encrypted.json", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(fixture).unwrap();
    let costly = text
        .replace("\"memLimit\": 8388608", &format!("\"memLimit\": {}", mib << 20))
        .replace("\"opsLimit\": 4", &format!("\"opsLimit\": {passes}"));
    assert_ne!(text, costly);
    person.file("passphrase", "correct horse");
    person.file("costly.json", &costly);
    person
}

const IMPORT: [&str; 5] = ["secret", "import", "costly.json", "--passphrase-file", "passphrase"];

/// Runs the import in a shell that sets a limit first.
fn limited(person: &Person, limit: &str) -> Ran {
    let program = env!("CARGO_BIN_EXE_countersign");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("{limit} && exec {program} {} --yes", IMPORT.join(" ")));
    shell.env_clear().env("HOME", person.home()).current_dir(person.home());
    finish(&mut shell, b"")
}

fn is_empty(person: &Person) -> bool {
    person.run(&["secret", "list"]).ok().is_empty()
}

/// The processes that a process started.
fn children_of(parent: u32) -> Vec<i32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |process: &i32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name before the status may contain any character.
        let mut after = stat.rsplit(") ").next().unwrap_or_default().split(' ');
        after.next().is_some_and(|state| state != "Z") && after.next() == Some(&parent.to_string())
    };
    numbers.filter(is_child).collect()
}

#[test]
fn a_child_that_is_killed_ends_in_an_error_that_names_the_file_and_stores_nothing() {
    let person = with_costly_file(64, 64);
    let mut command = person.command(&IMPORT);
    let mut import = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();

    // The first child only detects the file's format; whichever child is killed, the import ends.
    while import.try_wait().unwrap().is_none() {
        for child in children_of(import.id()) {
            let _ = kill_process(Pid::from_raw(child).unwrap(), Signal::KILL);
        }
    }

    let mut told = String::new();
    import.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(told, "error: costly.json: it can't be read within its limits of 1280 MiB and 120 seconds\n");
    assert_eq!(import.wait().unwrap().code(), Some(1));
    assert!(is_empty(&person));
}

#[test]
fn a_child_over_its_memory_or_time_ends_in_an_error_that_names_the_file_and_stores_nothing() {
    let died = "it can't be read within its limits of 1280 MiB and 120 seconds";
    let no_memory = "there is not enough memory to open it: its key derivation takes 1024 MiB";
    for (mib, passes, limit, why) in [(1024, 1, "ulimit -v 700000", no_memory), (128, 64, "ulimit -t 1", died)] {
        let person = with_costly_file(mib, passes);

        let told = limited(&person, limit).refused(1);

        // There is no progress bar either: standard error is not a terminal.
        assert_eq!(told, format!("error: costly.json: {why}\n"));
        assert!(is_empty(&person), "{limit}");
    }
}

/// An import at a terminal whose child is at work.
fn at_work(person: &Person) -> (Terminal, Child) {
    let mut terminal = Terminal::new();
    let import = terminal.start(person, &IMPORT.join(" "));
    let shown = terminal.read_until("Ctrl-C stops it");
    assert!(shown.contains("] opening costly.json: "), "{shown}");
    (terminal, import)
}

#[test]
fn a_person_sees_that_the_work_goes_on_and_can_stop_it_and_its_child() {
    let person = with_costly_file(128, 64);
    for signal in [None, Some(Signal::INT), Some(Signal::TERM), Some(Signal::HUP)] {
        let (mut terminal, import) = at_work(&person);
        let program = import.id();
        let children = children_of(program);
        assert_eq!(children.len(), 1);

        match signal {
            None => terminal.interrupts(),
            Some(signal) => kill_process(Pid::from_child(&import), signal).unwrap(),
        }

        let (shown, ended) = terminal.rest_of(import);
        assert_eq!(ended.code(), Some(130), "{signal:?} {shown}");
        assert!(shown.ends_with("interrupted; nothing was handed out or changed\n"), "{shown}");
        // The child was killed before its parent ended; the system may need some time to remove it.
        let runs = |child: &i32| {
            let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        let mut looks = 0;
        while children.iter().any(runs) {
            looks += 1;
            assert!(looks < 100_000, "{signal:?}: the child is still there");
            std::thread::yield_now();
        }
    }
    assert!(is_empty(&person));
}

#[test]
fn a_person_can_stop_an_import_at_its_questions() {
    let person = Person::with_vault();
    let fixture = format!("{}/tests/fixtures/import/raivo.json", env!("CARGO_MANIFEST_DIR"));
    let mut terminal = Terminal::new();
    let import = terminal.start(&person, &format!("secret import {fixture}"));
    terminal.read_until("[y/N] ");
    terminal.interrupts();
    assert_eq!(terminal.rest_of(import).1.code(), Some(130));
    assert!(is_empty(&person));

    let person = with_costly_file(512, 1);
    let mut terminal = Terminal::new();
    let import = terminal.start(&person, &IMPORT.join(" "));
    terminal.read_until("Opening costly.json takes 512 MiB of memory. Go on? [y/N] ");
    terminal.interrupts();
    assert_eq!(terminal.rest_of(import).1.code(), Some(130));
}

#[test]
fn a_question_after_a_hidden_prompt_can_be_interrupted() {
    let person = Person::with_alice();
    let mut terminal = Terminal::new();
    let mut adding = terminal.start(&person, "secret add --label alice --issuer GitHub");
    terminal.wait_for_a_hidden_prompt(&mut adding);
    terminal.types("JBSWY3DPEHPK3PXP");
    terminal.read_until("[y/N] ");
    terminal.interrupts();
    assert_eq!(terminal.rest_of(adding).1.code(), Some(130));
}

#[test]
fn ten_thousand_secrets_take_little_memory_beyond_their_file_and_leave_no_seed_in_it() {
    /// KiB beyond the file and the pages of the program's own file: with those of a release build they are 64 MiB.
    const MOST: usize = 48 * 1024;

    let person = Person::with_vault();
    let links: Vec<String> = (0..10_000)
        .map(|n| {
            let seed = data_encoding::BASE32.encode(format!("seed number {n:08}").as_bytes());
            format!("otpauth://totp/Service%20{n}:ada.lovelace{n}@example.com?secret={seed}&issuer=Service%20{n}\n")
        })
        .collect();
    let file = person.file("many.txt", &links.concat());

    let mut command = person.command(&["secret", "import", "many.txt"]);
    let mut import = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(import.stdout.take().unwrap());
    // The pipe is too small for the whole table, so the program still waits here, with all of its work done.
    let mut head = String::new();
    shown.read_line(&mut head).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", import.id())).unwrap();
    let kib = |name: &str| -> usize {
        let mut facts = status.lines();
        facts.find_map(|fact| fact.strip_prefix(name)?.trim().strip_suffix(" kB")?.parse().ok()).unwrap()
    };
    // No part of any seed is left, as text or as bytes; names are.
    let text = data_encoding::BASE32.encode(b"seed number 000")[5..].to_owned();
    for seed in [&b"number 000"[..], text.as_bytes()] {
        assert!(found(import.id(), seed).is_none_or(|count| count == 0), "{:?}", found(import.id(), seed));
    }
    assert_ne!(found(import.id(), b"ada.lovelace"), Some(0));
    let mut rest = String::new();
    shown.read_to_string(&mut rest).unwrap();

    let ended = import.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8(ended.stderr).unwrap(),
        "10000 added, 0 present, 0 skipped: 10000 entries (a list of links).\n"
    );
    assert_eq!(rest.lines().count(), 10_000);
    let beyond = kib("VmHWM:") - kib("RssFile:") - usize::try_from(fs::metadata(file).unwrap().len()).unwrap() / 1024;
    assert!(beyond <= MOST, "{beyond} KiB");
}
