//! Runs the commands of README and of the pages that continue it, from top to bottom, in an empty home, and compares
//! the output's shape, without digits.
//!
//! A line of a `console` block that begins with `$ ` runs at a terminal; the lines below it must appear, in this order.
//! A block of `sh` runs as one script. Commands that need a network, a long compilation or another project's program do
//! not run: the list is [`ELSEWHERE`], and their syntax is checked. `curl` and `python3` are needed only with
//! `COUNTERSIGN_README=full`, which `.ci/run` sets; without it those blocks are listed on standard error.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{cli::Terminal, kit::RFC_SEED};

/// Commands that are not run here: `cargo test` itself does the work of the first one, the others need another
/// program's server.
const ELSEWHERE: [&str; 5] = ["cargo ", "pip ", "claude ", "sudo ", "npm "];
/// The server's address in README.
const ADDRESS: &str = "127.0.0.1:8787";
/// The pages, in the order in which a newcomer reads them.
const PAGES: [(&str, &str); 4] = [
    ("README.md", include_str!("../../README.md")),
    ("docs/faq.md", include_str!("../../docs/faq.md")),
    ("docs/api.md", include_str!("../../docs/api.md")),
    ("docs/performance.md", include_str!("../../docs/performance.md")),
];
const QR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qr-one.png");
/// The export that README imports.
const EXPORT: &str = "tests/fixtures/import/apple.csv";

/// A fenced block.
struct Block {
    page: &'static str,
    line: usize,
    kind: String,
    text: String,
}

/// A newcomer who follows README.
struct Newcomer {
    home: TempDir,
    tools: PathBuf,
    full: bool,
    /// A running server, and its address.
    server: Option<(Child, String)>,
    /// The last code that was shown.
    code: String,
}

#[test]
fn the_readmes_commands_work_from_top_to_bottom() {
    let mut newcomer = Newcomer::new();
    let mut ran = 0;
    for block in blocks() {
        let place = format!("{}:{}", block.page, block.line);
        if !newcomer.full
            && ["curl ", "python"].iter().any(|needs| block.text.contains(needs) || block.kind.contains(needs))
        {
            eprintln!("{place}: needs curl or python3; `COUNTERSIGN_README=full` runs it, as `.ci/run` does");
            continue;
        }
        match block.kind.as_str() {
            "json" => {
                drop(serde_json::from_str::<serde_json::Value>(&block.text).unwrap_or_else(|e| panic!("{place}: {e}")));
            }
            "python" => newcomer.check_python(&block.text, &place),
            "console" => newcomer.follow(&block.text, &place),
            "sh" if block.text.lines().all(is_elsewhere) => check_shell(&block.text, &place),
            "sh" => newcomer.script(&block.text, &place),
            "text" => continue,
            other => panic!("{place}: a block of `{other}`, which nobody tries"),
        }
        ran += 1;
    }
    assert!(ran > 8, "{ran} blocks were tried");
}

#[test]
fn the_readmes_configuration_is_the_file_to_paste() {
    let pasted = include_str!("../../mcp.json");
    assert!(blocks().iter().any(|block| block.text.trim() == pasted.trim()));
}

#[test]
fn a_link_leads_to_a_page_or_a_heading_that_is_there() {
    let mut links = 0;
    for (page, text) in PAGES {
        let folder = Path::new(page).parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(file);
            let there = fs::read(&target).unwrap_or_else(|_| panic!("{page} links to {link}"));
            if let Some(heading) = heading {
                let headings = String::from_utf8(there).unwrap().lines().filter_map(slug).collect::<Vec<_>>();
                assert!(headings.iter().any(|known| known == heading), "{page} links to {link}: {headings:?}");
            }
            links += 1;
        }
    }
    assert!(links > 15, "{links} links");
}

/// The anchor of a heading.
fn slug(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim().to_lowercase();
    Some(title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-')).collect::<String>().replace(' ', "-"))
}

impl Newcomer {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        fs::copy(QR, home.path().join("screenshot.png")).unwrap();
        fs::copy(EXPORT, home.path().join("passwords.csv")).unwrap();
        let tools = home.path().join(".tools");
        fs::create_dir(&tools).unwrap();
        symlink(env!("CARGO_BIN_EXE_countersign"), tools.join("countersign")).unwrap();
        let full = std::env::var_os("COUNTERSIGN_README").is_some_and(|value| value == "full");
        if full {
            // An error as the answer fails the command, as a person would see.
            let curl = tools.join("curl");
            let real = which("curl").expect("curl is needed for COUNTERSIGN_README=full");
            let script = format!("#!/bin/sh\nexec {} --fail-with-body --silent --show-error \"$@\"\n", real.display());
            fs::write(&curl, script).unwrap();
            fs::set_permissions(&curl, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::write(home.path().join(".variables"), "").unwrap();
        Self { home, tools, full, server: None, code: String::new() }
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    fn path(&self) -> std::ffi::OsString {
        let before = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(self.tools.clone()).chain(std::env::split_paths(&before));
        std::env::join_paths(all).unwrap()
    }

    /// The line with the variables that earlier lines assigned, and the server's real address.
    fn prepared(&self, line: &str) -> String {
        let address = self.server.as_ref().map_or(ADDRESS, |(_, address)| address);
        let line = line.replace(ADDRESS, address);
        format!("set -ea; . ./.variables; {line}\nexport -p > .variables")
    }

    /// Types the commands of a block, and compares the output.
    fn follow(&mut self, text: &str, place: &str) {
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let command = line.strip_prefix("$ ").expect(place);
            let mut shown = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
                shown.push(line);
            }
            let place = format!("{place}: {command}");
            if is_elsewhere(command) {
                check_shell(command, &place);
            } else if command.starts_with("countersign serve") {
                let listening = self.serve(command, &place);
                has_shape(&listening, &shown, &place);
            } else {
                let told = self.type_in(command, &shown, &place);
                has_shape(&told, &shown, &place);
            }
        }
    }

    /// Runs one command at a terminal, and answers its hidden question if the README shows one.
    fn type_in(&mut self, command: &str, shown: &[&str], place: &str) -> String {
        let mut terminal = Terminal::sized(120, 40);
        let path = self.path();
        let mut program = terminal.run(self.home(), &self.prepared(command), &[("PATH", path.as_os_str())]);
        if shown.iter().any(|line| line.ends_with("(hidden):")) {
            terminal.wait_for_a_hidden_prompt(&mut program);
            let answer = if command.contains("trace") { self.code.clone() } else { RFC_SEED.to_owned() };
            terminal.types(&answer);
        }
        let (told, ended) = terminal.until_it_ends(program);
        assert!(ended.success(), "{place}\n{told}");
        if let Some((code, _)) = plain(&told).split_once("  ").filter(|_| command.starts_with("countersign code")) {
            code.clone_into(&mut self.code);
        }
        told
    }

    /// Starts a new server in place of the previous one, on any free port.
    fn serve(&mut self, command: &str, place: &str) -> String {
        self.stop();
        let line = command.split('#').next().unwrap().trim();
        let mut server = Command::new("sh")
            .args(["-c", &format!("exec {line} --listen 127.0.0.1:0")])
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", self.path())
            .current_dir(self.home())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(server.stderr.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        let address = first.trim_end().strip_prefix("listening on http://").expect(place);
        let address = address.to_owned();
        // Further output is discarded, so that it does not block the server.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        self.server = Some((server, address));
        first
    }

    fn stop(&mut self) {
        if let Some((mut server, _)) = self.server.take() {
            kill_process(Pid::from_child(&server), Signal::TERM).unwrap();
            assert!(server.wait().unwrap().success());
        }
    }

    /// Runs a block as one script, which ends at the first command that fails.
    fn script(&mut self, text: &str, place: &str) {
        let ran = Command::new("sh")
            .args(["-c", &self.prepared(text)])
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", self.path())
            .current_dir(self.home())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(ran.status.success(), "{place}\n{}\n{}", told(&ran.stdout), told(&ran.stderr));
    }

    fn check_python(&self, text: &str, place: &str) {
        let file = self.home().join("example.py");
        fs::write(&file, text).unwrap();
        let ran = Command::new("python3").args([OsStr::new("-m"), OsStr::new("py_compile"), file.as_os_str()]).output();
        let ran = ran.expect("python3 is needed for COUNTERSIGN_README=full");
        assert!(ran.status.success(), "{place}: {ran:?}");
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some((mut server, _)) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

fn blocks() -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    let lines =
        PAGES.iter().flat_map(|(page, text)| text.lines().zip(1..).map(move |(line, number)| (*page, line, number)));
    for (page, line, number) in lines {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(kind) => {
                inside = true;
                found.push(Block { page, line: number, kind: kind.to_owned(), text: String::new() });
            }
            None if inside => {
                let block = found.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    found
}

fn is_elsewhere(line: &str) -> bool {
    ELSEWHERE.iter().any(|program| line.starts_with(program))
}

fn check_shell(text: &str, place: &str) {
    let mut shell = Command::new("sh").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "{place}");
}

/// Checks that every line that README shows was printed, in this order.
#[track_caller]
fn has_shape(told: &str, shown: &[&str], place: &str) {
    let mut lines = told.lines().map(shape);
    for line in shown {
        assert!(lines.any(|told| told == shape(line)), "{place}: nothing like `{line}` is shown:\n{told}");
    }
}

/// A line with its numbers and colours removed.
fn shape(line: &str) -> String {
    let mut shown = String::new();
    for c in plain(line.trim()).chars() {
        match c {
            c if !c.is_ascii_digit() => shown.push(c),
            _ if shown.ends_with('#') => {}
            _ => shown.push('#'),
        }
    }
    shown
}

/// A text without terminal escapes.
fn plain(text: &str) -> String {
    let mut escaped = false;
    let shows = |c: &char| {
        let told = escaped || matches!(c, '\u{1b}' | '\r');
        escaped = *c == '\u{1b}' || escaped && !c.is_ascii_alphabetic();
        !told
    };
    text.chars().filter(shows).collect()
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
