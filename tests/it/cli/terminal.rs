//! A person at a terminal. The program at the terminal is this test binary, started again for the test that is its
//! `main`: it makes the terminal its controlling terminal and then becomes a shell with the command. A command has a
//! terminal only this way.

use std::{
    ffi::OsStr,
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::Path,
    process::{Child, Command, ExitStatus},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize},
};

use super::Person;
use crate::kit::RFC_SEED;

/// The command line for the shell at the terminal.
const COMMAND: &str = "COUNTERSIGN_TEST_COMMAND";
/// A mark that comes before the command's output.
const BEGUN: &str = "=== begun";

/// Both ends of a terminal: the person's, and the program's.
pub(crate) struct Terminal {
    person: File,
    program: OwnedFd,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self::sized(100, 50)
    }

    /// A terminal of `columns` columns and `lines` lines.
    pub(crate) fn sized(columns: u16, lines: u16) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let program = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(&program, Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        Self { person: person.into(), program }
    }

    pub(super) fn start(&self, person: &Person, command: &str) -> Child {
        self.run(person.home(), &format!("exec {} {command}", env!("CARGO_BIN_EXE_countersign")), &[])
    }

    /// Runs a shell command line, with an environment of nothing but the home, the search path and `variables`.
    pub(crate) fn run(&self, home: &Path, line: &str, variables: &[(&str, &OsStr)]) -> Child {
        let end = || self.program.try_clone().unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["cli::terminal::the_program_at_a_terminal", "--exact", "--nocapture", "--test-threads=1"])
            .env_clear()
            .envs([("HOME", home.as_os_str()), (COMMAND, line.as_ref())])
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(variables.iter().copied())
            .current_dir(home)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap()
    }

    /// Types a line.
    pub(crate) fn types(&mut self, line: &str) {
        self.person.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Interrupts the program with Ctrl-C.
    pub(crate) fn interrupts(&mut self) {
        self.person.write_all(b"\x03").unwrap();
    }

    /// Returns the output of a command until it ends, and its exit status.
    pub(crate) fn until_it_ends(self, child: Child) -> (String, ExitStatus) {
        let (shown, ended) = self.rest_of(child);
        let (_, shown) = shown.split_once(&format!("{BEGUN}\n")).unwrap();
        (shown.to_owned(), ended)
    }

    /// Returns the rest of the output after a part of it was read, and the exit status.
    pub(crate) fn rest_of(self, mut child: Child) -> (String, ExitStatus) {
        let Self { mut person, program } = self;
        drop(program);
        let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
        // When the last program closes the terminal, reading it returns an error.
        while let Ok(read) = person.read(&mut piece)
            && read > 0
        {
            shown.extend_from_slice(&piece[..read]);
        }
        (String::from_utf8_lossy(&shown).replace("\r\n", "\n"), child.wait().unwrap())
    }

    /// Reads the output up to a text.
    pub(crate) fn read_until(&mut self, text: &str) -> String {
        let mut shown = Vec::new();
        loop {
            let so_far = String::from_utf8_lossy(&shown).into_owned();
            if so_far.contains(text) {
                return so_far;
            }
            let mut piece = [0; 1024];
            let read = self.person.read(&mut piece).unwrap();
            shown.extend_from_slice(&piece[..read]);
        }
    }

    /// Whether the terminal echoes input.
    fn echoes(&self) -> bool {
        tcgetattr(&self.program).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Waits until the program turns the echo off.
    pub(crate) fn wait_for_a_hidden_prompt(&self, program: &mut Child) {
        crate::kit::until(|| {
            assert!(program.try_wait().unwrap().is_none(), "it ended without a question");
            !self.echoes()
        });
    }
}

/// The other process: takes its terminal as the controlling one, and becomes the command.
#[test]
fn the_program_at_a_terminal() {
    let Some(command) = std::env::var_os(COMMAND) else { return };
    rustix::process::setsid().unwrap();
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\n{BEGUN}").unwrap();
    out.flush().unwrap();
    let failed = Command::new("sh").arg("-c").arg(command).env_remove(COMMAND).exec();
    panic!("{failed}");
}

#[test]
fn a_hidden_prompt_that_is_interrupted_leaves_the_terminal_as_it_was() {
    let person = Person::with_alice();
    for command in ["secret add --label bob", "verify alice", "audit trace"] {
        // Typed by the person, or sent by another process.
        for signal in [None, Some(Signal::INT), Some(Signal::TERM), Some(Signal::HUP)] {
            let mut terminal = Terminal::new();
            let mut program = terminal.start(&person, command);
            terminal.wait_for_a_hidden_prompt(&mut program);

            match signal {
                None => terminal.person.write_all(b"\x03").unwrap(),
                Some(signal) => kill_process(Pid::from_child(&program), signal).unwrap(),
            }

            let ended: ExitStatus = program.wait().unwrap();
            assert_eq!((ended.code(), ended.signal()), (Some(130), None), "{command}, {signal:?}");
            assert!(terminal.echoes(), "{command}, {signal:?}");
        }
    }
    let listed = person.run(&["secret", "list", "--json"]).json();
    assert_eq!(listed.pointer("/totp_secrets").unwrap().as_array().unwrap().len(), 1, "nothing was stored");
}

/// A person can press Ctrl-C before the command has read the line that Enter ended.
#[test]
fn an_interruption_that_comes_with_the_enter_of_a_hidden_prompt_is_not_lost_and_leaves_nothing_behind() {
    for (command, typed) in [
        ("secret add --label bob", RFC_SEED),
        ("verify alice", "123456"),
        ("audit trace", "123456"),
        ("seat update ada@example.com --pin", "correcthorse9"),
        ("secret export --output out.age", "correct horse battery"),
    ] {
        let person = if command.starts_with("secret add") { Person::new() } else { Person::with_alice() };
        let is_new = command.starts_with("secret add");
        if !is_new {
            person.run(&["seat", "add", "--email", "ada@example.com"]).ok();
        }
        let rows = || person.run(&["audit", "list", "--json"]).ok();
        let before = if is_new { String::new() } else { rows() };
        let mut terminal = Terminal::new();
        let mut program = terminal.start(&person, command);
        terminal.wait_for_a_hidden_prompt(&mut program);

        terminal.person.write_all(format!("{typed}\n\x03").as_bytes()).unwrap();

        let ended = program.wait().unwrap();
        assert_eq!((ended.code(), ended.signal()), (Some(130), None), "{command}");
        assert!(terminal.echoes(), "{command}");
        assert!(!person.run(&["secret", "list"]).out.contains("bob"), "{command}");
        assert!(is_new || rows() == before, "{command}: it leaves a row");
        assert!(!person.home().join("out.age").exists());
    }
}

/// Keys that would otherwise stop the process, or end it with a core dump, are ordinary input.
#[test]
fn a_hidden_prompt_can_not_be_stopped_and_left_hidden() {
    let person = Person::with_alice();
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, "secret add --label bob");
    terminal.wait_for_a_hidden_prompt(&mut program);

    terminal.person.write_all(b"\x1a\x1c\x19\n").unwrap();

    let ended = program.wait().unwrap();
    assert_eq!((ended.code(), ended.signal()), (Some(2), None), "they are no seed");
    assert!(terminal.echoes());
}

#[test]
fn a_seed_typed_at_a_hidden_prompt_is_stored() {
    let person = Person::new();
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, "secret add --label bob");
    terminal.wait_for_a_hidden_prompt(&mut program);

    terminal.person.write_all(format!("{RFC_SEED}\n").as_bytes()).unwrap();

    assert_eq!(program.wait().unwrap().code(), Some(0));
    assert!(terminal.echoes());
    person.run(&["code", "bob"]).ok();
}

#[test]
fn the_first_key_and_a_hosts_configuration_stand_under_their_headings() {
    let person = Person::new();
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, "serve --listen 127.0.0.1:0");

    let shown = terminal.read_until("\"mcpServers\"");

    kill_process(Pid::from_child(&program), Signal::TERM).unwrap();
    program.wait().unwrap();
    let at = ["This vault had no key", "key_secret", "For a host's configuration:", "\"mcpServers\""]
        .map(|text| shown.find(text).unwrap_or_default());
    assert!(at.is_sorted() && !at.contains(&0), "{shown}");
}

#[test]
fn one_of_several_codes_in_a_picture_is_chosen_on_a_terminal() {
    let person = Person::with_vault();
    let mut terminal = Terminal::sized(80, 24);
    let picture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qr-two.png");
    let program = terminal.start(&person, &format!("secret add --qr {picture}"));
    let asked = terminal.read_until("Which one? [1-2] ");
    assert!(asked.contains("The picture holds 2 links:") && asked.contains("bob@example.com"), "{asked}");
    terminal.types("2");
    let (shown, ended) = terminal.rest_of(program);
    assert!(ended.success() && shown.contains("bob@example.com") && !shown.contains("alice"), "{shown}");
}

/// A person with several secrets of similar names.
fn with_several() -> Person {
    let person = Person::with_alice();
    for (label, issuer) in [("alice", "GitLab"), ("alice@a-company-with-a-very-long-name.example", "Acme")] {
        let add = ["secret", "add", "--label", label, "--issuer", issuer, "--allow-duplicate", "--stdin"];
        person.fed(RFC_SEED, &add).ok();
    }
    person
}

#[test]
fn an_ambiguous_name_is_a_choice_on_a_terminal() {
    let person = with_several();
    let mut terminal = Terminal::sized(80, 24);
    let program = terminal.start(&person, "secret show alice");
    let asked = terminal.read_until("Which one? [1-2] ");
    assert!(asked.contains("This names 2 secrets:") && asked.contains("1  ") && asked.contains("GitLab"), "{asked}");
    terminal.types("2");
    let (shown, ended) = terminal.rest_of(program);
    assert!(ended.success() && shown.contains("GitLab"), "{shown}");

    for wrong in ["", "0", "3", "x"] {
        let mut terminal = Terminal::sized(80, 24);
        let program = terminal.start(&person, "secret show alice");
        terminal.read_until("Which one? [1-2] ");
        terminal.types(wrong);
        let (shown, ended) = terminal.rest_of(program);
        assert!(ended.code() == Some(1) && shown.contains("nothing was chosen"), "{shown}");
    }
}

#[test]
fn a_table_never_wraps_in_a_narrow_terminal() {
    let person = with_several();
    person.run(&["code", "GitLab", "--purpose", "a purpose that takes more room than a narrow terminal has"]).ok();
    person.run(&["seat", "add", "--email", "ada@example.com", "--first-name", "Ada", "--last-name", "Lovelace"]).ok();
    person.run(&["key", "create", "--name", "a rather long name of a key"]).ok();
    for columns in [40, 80] {
        for command in ["secret list", "audit list", "seat list", "key list", "account list"] {
            let terminal = Terminal::sized(columns, 24);
            let program = terminal.start(&person, &format!("--color never {command}"));
            let (shown, ended) = terminal.until_it_ends(program);
            assert!(ended.success() && shown.lines().count() >= 2, "{command}: {shown}");
            for line in shown.lines() {
                assert!(line.chars().count() <= usize::from(columns), "{columns} {command}: {line:?}");
            }
        }
    }
    // The short id in the list names the secret.
    let terminal = Terminal::sized(80, 24);
    let program = terminal.start(&person, "--color never secret list");
    let (shown, _) = terminal.until_it_ends(program);
    let short = shown.lines().find(|line| line.contains("GitLab")).unwrap().split(' ').next().unwrap().to_owned();
    assert!((4..8).contains(&short.len()), "{shown}");
    assert!(person.run(&["secret", "show", &short]).ok().contains("GitLab"));
}

#[test]
fn a_watched_code_stays_on_one_line_of_twenty_columns() {
    let person = Person::with_alice();
    let mut terminal = Terminal::sized(20, 24);
    let mut program = terminal.start(&person, "code alice --watch");
    // The line is drawn, and redrawn.
    let mut shown = terminal.read_until(BEGUN);
    while shown.matches("\u{1b}[K").count() < 2 {
        shown.push_str(&terminal.read_until("\u{1b}[K"));
    }
    // Tests that a shell runs in the background ignore SIGINT, and the program inherits that. Nothing ignores SIGTERM.
    kill_process(Pid::from_child(&program), Signal::TERM).unwrap();
    program.wait().unwrap();
    let drawn = shown.split(BEGUN).nth(1).unwrap();
    for frame in drawn.split('\r').filter(|frame| frame.contains("\u{1b}[K")) {
        let plain =
            frame.replace("\u{1b}[32m", "").replace("\u{1b}[31m", "").replace("\u{1b}[0m", "").replace("\u{1b}[K", "");
        assert!(plain.chars().count() < 20 && !plain.contains('\n'), "{plain:?}");
    }
}

#[test]
fn without_a_name_a_terminal_shows_all_codes_and_a_single_use_one_is_not_taken() {
    let person = with_several();
    person.run(&["secret", "update", "GitLab", "--single-use"]).ok();
    let mut terminal = Terminal::sized(60, 24);
    let mut program = terminal.start(&person, "code");
    let shown = terminal.read_until("\u{1b}[J");
    kill_process(Pid::from_child(&program), Signal::INT).unwrap();
    assert_eq!(program.wait().unwrap().code(), Some(0));
    assert!(shown.contains("CODE") && shown.contains("single-use") && shown.contains("Acme"), "{shown}");
    let rows = person.run(&["audit", "list", "--action", "code.get", "--json"]).json();
    assert_eq!(rows.pointer("/rows").unwrap().as_array().unwrap().len(), 2, "one for each code that was shown");
    // Without a terminal a program must name a secret.
    assert!(person.run(&["code"]).refused(2).contains("name the secret"));
}

#[test]
fn a_copied_code_is_not_printed_and_the_terminal_is_told_it() {
    let person = Person::with_alice();
    let terminal = Terminal::new();
    // This search path has no program of a desktop.
    let line = format!("PATH=/nowhere; exec {} code alice --copy", env!("CARGO_BIN_EXE_countersign"));
    let program = terminal.run(person.home(), &line, &[]);
    let (shown, ended) = terminal.until_it_ends(program);
    assert!(ended.success(), "{shown}");
    let (_, rest) = shown.split_once("\u{1b}]52;c;").unwrap();
    let (copied, told) = rest.split_once('\u{7}').unwrap();
    assert!(!copied.is_empty() && told.contains("Copied the code to the terminal"), "{shown}");
    let mut nobody = person.command(&["code", "alice", "--copy"]);
    let refused = super::finish(nobody.env("PATH", "/nowhere"), b"").refused(1);
    assert!(refused.contains("there is no clipboard here"), "{refused}");
}

#[test]
fn a_code_that_goes_to_one_caller_is_not_lost_for_want_of_a_clipboard() {
    let person = Person::with_alice();
    let mut alone = person.command(&["code", "alice", "--copy", "--single-use", "--min-validity", "0"]);
    let shown = super::finish(alone.env("PATH", "/nowhere"), b"");
    assert!(shown.err.contains("there is no clipboard here"), "{shown:?}");
    assert_eq!(shown.ok().trim().len(), 6);
}

#[test]
fn a_single_use_secret_is_not_watched() {
    let person = Person::with_alice();
    person.run(&["secret", "update", "alice", "--single-use"]).ok();
    let refused = person.run(&["code", "alice", "--watch"]).refused(2);
    assert!(refused.contains("--watch") && refused.contains("single-use"), "{refused}");
    let codes = person.run(&["audit", "list", "--action", "code.get", "--json"]).json();
    assert_eq!(codes.pointer("/rows").unwrap().as_array().unwrap().len(), 0);
}

#[test]
fn a_key_is_revoked_after_a_question() {
    let person = Person::with_alice();
    person.run(&["key", "create", "--name", "ci"]).ok();
    for (answer, state) in [("n", "active"), ("y", "revoked")] {
        let mut terminal = Terminal::new();
        let program = terminal.start(&person, "key revoke ci");
        terminal.read_until("Revoke the key \"ci\"");
        terminal.types(answer);
        terminal.rest_of(program);
        assert!(person.run(&["key", "list"]).ok().contains(state), "{answer}");
    }
}

#[test]
fn a_secret_that_is_there_is_doubled_after_a_question() {
    let person = Person::with_alice();
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, "secret add --label alice --issuer GitHub");
    terminal.wait_for_a_hidden_prompt(&mut program);
    terminal.types(RFC_SEED);
    terminal.read_until("is there already. Have another of this issuer and label? [y/N] ");
    terminal.types("y");
    let (shown, ended) = terminal.rest_of(program);
    assert!(ended.success(), "{shown}");
    let listed = person.run(&["secret", "list", "--json"]).json();
    assert_eq!(listed.pointer("/totp_secrets").unwrap().as_array().unwrap().len(), 2);
}

#[test]
fn an_import_shows_what_it_would_do_and_asks() {
    let person = Person::with_vault();
    let fixture = |name: &str| format!("{}/tests/fixtures/import/{name}", env!("CARGO_MANIFEST_DIR"));
    for (answer, stored) in [("n", 0), ("y", 2)] {
        let mut terminal = Terminal::new();
        let child = terminal.start(&person, &format!("secret import {}", fixture("raivo.json")));
        let asked = terminal.read_until("[y/N] ");
        assert!(asked.contains("add: ada (GitHub)"), "{asked}");
        assert!(asked.contains("entry 3 (GitHub: ada): skipped: counter-based"), "{asked}");
        assert!(asked.contains("2 would be added, 0 present, 1 skipped: 3 entries (Raivo)."), "{asked}");
        terminal.types(answer);
        let (told, _) = terminal.rest_of(child);
        assert_eq!(told.contains("2 added, 0 present, 1 skipped: 3 entries (Raivo)."), stored == 2, "{told}");
        let listed = person.run(&["secret", "list", "--json"]).json();
        assert_eq!(listed.pointer("/totp_secrets").unwrap().as_array().unwrap().len(), stored);
    }

    let mut terminal = Terminal::new();
    let file = fixture("proton-authenticator-encrypted.json");
    let mut child = terminal.start(&person, &format!("secret import {file} --yes"));
    for (typed, told) in [("wrong", "That did not open it."), ("correct horse ünïcode", "3 entries")] {
        terminal.wait_for_a_hidden_prompt(&mut child);
        terminal.types(typed);
        terminal.read_until(told);
    }
    terminal.rest_of(child);
}

#[test]
fn an_export_asks_for_a_passphrase_twice_or_whether_it_may_be_plain() {
    let person = Person::with_alice();
    let at_prompts = |typed: &[&str]| {
        let mut terminal = Terminal::new();
        let mut child = terminal.start(&person, "secret export --output secrets.age");
        for typed in typed {
            terminal.wait_for_a_hidden_prompt(&mut child);
            terminal.types(typed);
        }
        terminal.rest_of(child)
    };
    let (told, ended) = at_prompts(&["correct horse", "correct house"]);
    assert!(told.contains("the two passphrases differ") && !ended.success(), "{told}");
    for short in ["", "correct"] {
        let (told, ended) = at_prompts(&[short]);
        assert!(told.contains("must have at least 12 characters") && !ended.success(), "{told}");
    }
    assert!(!person.home().join("secrets.age").exists());
    let (told, ended) = at_prompts(&["correct horse", "correct horse"]);
    assert!(told.contains("1 secret exported encrypted") && ended.success(), "{told}");
    let other = Person::new();
    other.file("passphrase", "correct horse\n");
    let file = person.home().join("secrets.age");
    other.run(&["secret", "import", file.to_str().unwrap(), "--passphrase-file", "passphrase"]).ok();
    assert_eq!(
        other.run(&["secret", "export", "--plain", "--yes"]).ok(),
        person.run(&["secret", "export", "--plain", "--yes"]).ok()
    );

    for (answer, written) in [("n", false), ("y", true)] {
        let mut terminal = Terminal::new();
        let child = terminal.start(&person, "secret export --plain --output plain.txt");
        terminal.read_until("Write the seeds unencrypted?");
        terminal.types(answer);
        terminal.rest_of(child);
        assert_eq!(person.home().join("plain.txt").exists(), written);
    }
}

#[test]
fn a_seed_is_shown_as_a_qr_code_after_a_question_and_the_audit_log_says_so() {
    let person = Person::with_alice();
    let exports = || {
        person.run(&["audit", "list", "--action", "secret.export", "--json"]).json()["rows"].as_array().unwrap().len()
    };
    for (answer, shown) in [("n", 0), ("y", 1)] {
        let mut terminal = Terminal::new();
        let child = terminal.start(&person, "secret show alice --qr");
        terminal.read_until("Show the seed on this screen?");
        terminal.types(answer);
        let (told, _) = terminal.rest_of(child);
        assert_eq!((told.contains('█'), exports()), (shown == 1, shown), "{told}");
        assert!(!told.contains(RFC_SEED));
    }
    let refused = person.run(&["secret", "show", "alice", "--qr", "--yes"]).refused(2);
    assert!(refused.contains("to a person at a terminal"), "{refused}");
    assert_eq!(exports(), 1);
}

#[test]
fn a_qr_code_that_the_terminal_would_cut_is_not_shown_and_the_size_that_it_needs_is_told() {
    let person = Person::with_alice();
    let shown = |columns, lines| {
        let terminal = Terminal::sized(columns, lines);
        let child = terminal.start(&person, "secret show alice --qr --yes");
        terminal.rest_of(child)
    };
    let (told, status) = shown(80, 24);
    assert!(!told.contains('█') && !status.success(), "{told}");
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, needs) = told.split_once("has 80 columns and 24 lines, and the QR code needs ").expect(&told);
    let mut needs = needs.split(|letter: char| !letter.is_ascii_digit()).filter_map(|word| word.parse().ok());
    let (columns, lines): (u16, u16) = (needs.next().unwrap(), needs.next().unwrap());

    for (columns, lines, fits) in [(columns, lines, true), (columns - 1, lines, false), (columns, lines - 1, false)] {
        let (told, status) = shown(columns, lines);
        assert_eq!((told.contains('█'), status.success()), (fits, fits), "{columns} x {lines}: {told}");
    }
}

#[test]
fn a_sidecar_that_a_person_starts_says_what_it_waits_for() {
    let person = Person::with_alice();
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, "stdio");
    let shown = terminal.read_until("Ctrl-C ends it");
    kill_process(Pid::from_child(&program), Signal::INT).unwrap();
    program.wait().unwrap();
    assert!(shown.contains("Waiting for an MCP host on standard input"), "{shown}");
}
