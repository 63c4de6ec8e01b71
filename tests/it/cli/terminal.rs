//! A person at a terminal. The program that sits at it is this test binary, started again for the one test that is its
//! `main`, which takes the terminal for its own and then becomes the command: only so does a command have a terminal.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitStatus},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

use super::Person;

/// What the program at the terminal is to do, separated by spaces.
const COMMAND: &str = "COUNTERSIGN_TEST_COMMAND";

/// Both ends of a terminal: where a person types, and where a program runs.
struct Terminal {
    person: File,
    program: OwnedFd,
}

impl Terminal {
    fn new() -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let program = rustix::fs::open(name.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        Self { person: person.into(), program }
    }

    fn start(&self, person: &Person, command: &str) -> Child {
        let end = || self.program.try_clone().unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args(["cli::terminal::the_program_at_a_terminal", "--exact", "--nocapture", "--test-threads=1"])
            .env_clear()
            .envs([("HOME", person.home().as_os_str()), (COMMAND, command.as_ref())])
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap()
    }

    /// What is shown until a text is there.
    fn read_until(&mut self, text: &str) -> String {
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

    /// Whether what is typed can be seen.
    fn echoes(&self) -> bool {
        tcgetattr(&self.program).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Waits until the program hides what is typed.
    fn wait_for_a_hidden_prompt(&self, program: &mut Child) {
        while self.echoes() {
            assert!(program.try_wait().unwrap().is_none(), "it ended without a question");
            std::thread::yield_now();
        }
    }
}

/// The other process: takes the terminal it was given and becomes the command.
#[test]
fn the_program_at_a_terminal() {
    let Some(command) = std::env::var_os(COMMAND) else { return };
    rustix::process::setsid().unwrap();
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).unwrap();
    let failed = Command::new(env!("CARGO_BIN_EXE_countersign")).args(command.to_str().unwrap().split(' ')).exec();
    panic!("{failed}");
}

#[test]
fn a_hidden_prompt_that_is_interrupted_leaves_the_terminal_as_it_was() {
    let person = Person::with_alice();
    for command in ["secret add --label bob", "verify alice", "audit trace"] {
        // Typed by the person, or sent by somebody else.
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

#[test]
fn a_seed_typed_at_a_hidden_prompt_is_stored() {
    let person = Person::new();
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, "secret add --label bob");
    terminal.wait_for_a_hidden_prompt(&mut program);

    terminal.person.write_all(format!("{}\n", crate::kit::RFC_SEED).as_bytes()).unwrap();

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
