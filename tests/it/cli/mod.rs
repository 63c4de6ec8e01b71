//! The command line from outside: the real program in an empty home, its answers, errors and exit statuses.

mod account;
mod audit;
mod code;
mod completions;
#[cfg(unix)]
mod demo;
#[cfg(target_os = "linux")]
mod enrol;
#[cfg(target_os = "linux")]
mod failing_start;
mod fill;
#[cfg(target_os = "linux")]
mod import_child;
mod import_told;
#[cfg(unix)]
mod interrupted;
mod key;
#[cfg(target_os = "linux")]
mod large;
#[cfg(unix)]
mod repair;
mod seat;
mod secret;
mod serve;
mod setup;
mod start;
#[cfg(unix)]
mod terminal;
mod transfer;
mod vault;
#[cfg(unix)]
mod vault_key;
#[cfg(unix)]
mod vault_rotate;

#[cfg(unix)]
pub(crate) use terminal::Terminal;
#[cfg(unix)]
pub(crate) use vault_key::code_in_three_minutes;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use countersign::{
    clock::{Clock as _, SystemClock},
    random::SystemRandom,
    store::Kind,
    vault::{OpenRequest, Source, Vault, VaultRequest, Writes},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::kit::RFC_SEED;

/// A person with an empty home.
pub(crate) struct Person {
    home: TempDir,
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Person {
    pub(crate) fn new() -> Self {
        Self { home: TempDir::new().unwrap() }
    }

    /// A person with an empty vault.
    pub(crate) fn with_vault() -> Self {
        let person = Self::new();
        person.run(&["vault", "create"]).ok();
        person
    }

    /// A person with one secret: the RFC's, called `alice`.
    pub(crate) fn with_alice() -> Self {
        let person = Self::new();
        person.fed(RFC_SEED, &["secret", "add", "--label", "alice", "--issuer", "GitHub", "--stdin"]).ok();
        person
    }

    /// The program, with an environment of nothing but the home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.env_clear().env("HOME", self.home.path()).current_dir(self.home.path()).args(arguments);
        command
    }

    /// Runs a command that gets no input.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.fed("", arguments)
    }

    /// Runs a command with this text on standard input.
    pub(crate) fn fed(&self, input: &str, arguments: &[&str]) -> Ran {
        finish(&mut self.command(arguments), input.as_bytes())
    }

    /// Runs a command whose output can't be written; returns its error.
    #[cfg(target_os = "linux")]
    pub(crate) fn unheard(&self, arguments: &[&str]) -> String {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ran = self.command(arguments).stdout(full).output().unwrap();
        assert_eq!(ran.status.code(), Some(1), "{arguments:?}");
        redacted(&String::from_utf8(ran.stderr).unwrap())
    }

    /// Writes a file into the home.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Writes a file that no other user can read.
    #[cfg(unix)]
    pub(crate) fn private(&self, name: &str, text: &str) {
        crate::sqlite::set_mode(&self.file(name, text), 0o600);
    }

    /// Changes the vault as a program does that may write the file but has no key.
    pub(crate) fn tamper(&self, sql: &str) {
        self.database().execute_batch(sql).unwrap();
    }

    /// The vault, opened here as the program opens it.
    pub(crate) async fn open(&self) -> Vault {
        let place = |folder: &str| self.home().join(folder).join("countersign");
        let store = OpenRequest {
            url: "sqlite:".to_owned(),
            data_dir: place(".local/share"),
            writes: Writes::Inline,
            make: false,
        };
        let request = VaultRequest {
            store,
            source: Arc::new(Source::file(None, place(".config").join("keys"))),
            state_dir: Some(place(".local/state")),
            now: SystemClock.now(),
        };
        countersign::vault::open(&request, Arc::new(SystemRandom)).await.unwrap()
    }

    /// The vault's database, opened without the vault's key.
    pub(crate) fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(found("vault.db", self.home()).unwrap()).unwrap()
    }

    /// Changes the record number `nth` of a kind.
    pub(crate) fn tamper_record(&self, kind: Kind, nth: usize, change: &str) {
        let (kind, records) = (kind.number(), "SELECT n FROM record WHERE kind");
        self.tamper(&format!(
            "UPDATE record SET {change} WHERE n = ({records} = {kind} ORDER BY n LIMIT 1 OFFSET {nth})"
        ));
    }

    /// Runs a command on a failing disk: `sync` fails once, `read` always.
    #[cfg(target_os = "linux")]
    pub(crate) fn on_a_failing_disk(&self, fault: &str, arguments: &[&str]) -> Ran {
        let (mut command, faults) = self.with_faults(arguments);
        std::fs::write(faults.path().join(fault), "").unwrap();
        finish(&mut command, b"")
    }

    /// A command on a disk that fails once the folder contains a file with the fault's name.
    #[cfg(target_os = "linux")]
    pub(crate) fn with_faults(&self, arguments: &[&str]) -> (Command, TempDir) {
        // A server or sidecar can write only in its own folders, and so can the library that makes its disk fail.
        let faults = TempDir::new_in(self.home().join(".local/state/countersign")).unwrap();
        std::fs::create_dir(faults.path().join("disk")).unwrap();
        let vault = found("vault.db", self.home()).unwrap();
        let mut command = self.command(arguments);
        command.env("LD_PRELOAD", crate::sqlite::faults::shim()).env("COUNTERSIGN_FAULTS", faults.path());
        command.env("COUNTERSIGN_DATA", vault.parent().unwrap().canonicalize().unwrap());
        (command, faults)
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }
}

impl Ran {
    /// The answer of a successful command.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.out
    }

    /// The answer of a successful command, as its only JSON document.
    #[track_caller]
    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok()).unwrap()
    }

    /// The error of a command that ended with this status and printed no answer.
    #[track_caller]
    pub(crate) fn refused(self, status: i32) -> String {
        assert_eq!((self.status, self.out.as_str()), (status, ""), "{self:?}");
        self.err
    }
}

/// The path of a file with this name, anywhere in a folder.
fn found(name: &str, folder: &Path) -> Option<PathBuf> {
    let mut inside = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    inside.find_map(|path| if path.is_dir() { found(name, &path) } else { path.ends_with(name).then_some(path) })
}

/// The files in a folder and in its subfolders.
pub(crate) fn files_in(folder: &Path) -> Vec<PathBuf> {
    let inside = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    inside.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command, input: &[u8]) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that does not read its input may end before the input is written.
    let _ = child.stdin.take().unwrap().write_all(input);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
}

/// Removes what differs between runs: ids and times.
pub(crate) fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let cut = |length: usize, fits: fn(&str) -> bool| rest.get(..length).filter(|piece| fits(piece)).map(str::len);
        let id = cut(36, |piece| uuid::Uuid::try_parse(piece).is_ok()).map(|length| (length, "ID"));
        let at =
            || cut(24, |piece| piece.ends_with('Z') && piece.get(10..11) == Some("T")).map(|length| (length, "AT"));
        let (length, instead) = id.or_else(at).unwrap_or((first.len_utf8(), rest.get(..first.len_utf8()).unwrap()));
        shown.push_str(instead);
        rest = rest.get(length..).unwrap();
    }
    // The widths of columns depend on the removed text.
    let narrow =
        |line: &str| line.split("  ").filter(|cell| !cell.is_empty()).map(str::trim).collect::<Vec<_>>().join("  ");
    shown.lines().map(narrow).collect::<Vec<_>>().join("\n")
}

/// The text of a field, by its JSON pointer.
#[track_caller]
pub(crate) fn text_of<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap()
}
