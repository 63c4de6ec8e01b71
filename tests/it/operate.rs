//! Follows docs/operate.md as a person at a terminal: every command of its `console` blocks, from top to bottom, with
//! the answers to its questions. From "The lost machine" on, the person is at another machine, with the backup, the
//! words from the paper, and nothing else.

use std::{collections::BTreeMap, ffi::OsStr, fs, path::Path};

use crate::{
    cli::{Person, Terminal, code_in_three_minutes},
    kit::RFC_SEED,
};

const GUIDE: &str = include_str!("../../docs/operate.md");
const PASSPHRASE: &str = "correct horse battery staple";
/// The one command that takes the two minutes after a restore.
const WAITS: &str = "countersign code github --max-wait 120";

/// A command, and the lines that the guide shows below it.
struct Step {
    lost: bool,
    command: &'static str,
    shown: Vec<&'static str>,
}

fn steps() -> Vec<Step> {
    let (mut steps, mut inside, mut lost): (Vec<Step>, _, _) = (Vec::new(), false, false);
    for line in GUIDE.lines() {
        lost = lost && !line.starts_with("### ") || line == "### The lost machine";
        // A block in a list is indented.
        let line = if line.trim_start().starts_with("```") { line.trim_start() } else { line };
        let line = ["   ", "  "].iter().find_map(|indent| line.strip_prefix(indent)).unwrap_or(line);
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            steps.push(Step { lost, command, shown: Vec::new() });
        } else if inside {
            steps.last_mut().unwrap().shown.push(line);
        }
    }
    steps
}

#[test]
fn a_person_who_lost_the_machine_gets_codes_again_by_the_guide() {
    let (first, second) = (Person::new(), Person::new());
    first.fed(RFC_SEED, &["secret", "add", "--label", "ada@example.com", "--issuer", "GitHub", "--stdin"]).ok();
    first.run(&["key", "create", "--name", "ci"]).ok();
    let tools = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_countersign"), tools.path().join("countersign")).unwrap();
    let mut words = String::new();
    let mut count = 0;
    for step in steps() {
        let person = if step.lost { &second } else { &first };
        if step.lost && !person.home().join("countersign.backup").exists() {
            fs::copy(first.home().join("countersign.backup"), person.home().join("countersign.backup")).unwrap();
        }
        if step.command == WAITS {
            // The test does not wait for two minutes; the answer says that the steps of that time count as used.
            let busy = person.run(&["code", "github", "--max-wait", "1"]).refused(1);
            assert!(busy.contains("a code is free in"), "{busy}");
            assert_eq!(code_in_three_minutes(person), 6);
        } else {
            let told = carry_out(&step, person.home(), tools.path(), &mut words);
            let mut rest = told.as_str();
            for line in &step.shown {
                let line = &line.split_whitespace().collect::<Vec<_>>().join(" ");
                let at = rest
                    .find(line.as_str())
                    .unwrap_or_else(|| panic!("{}: `{line}` is not shown\n{told}", step.command));
                rest = &rest[at + line.len()..];
            }
            assert!(!told.contains(PASSPHRASE), "{told}");
        }
        count += 1;
    }
    assert!(count >= 10, "{count} commands were tried");
    let revoked = second.run(&["key", "list", "--json"]).json();
    assert!(revoked["keys"][0]["off_since"].is_string(), "{revoked}");
}

/// Types a command, and answers each question that the guide shows.
fn carry_out(step: &Step, home: &Path, tools: &Path, words: &mut String) -> String {
    let mut terminal = Terminal::sized(120, 60);
    let path = std::env::join_paths([tools, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let program = terminal.run(
        home,
        &format!("exec {}", step.command),
        &[("PATH", OsStr::new(&path)), ("NO_COLOR", OsStr::new("1"))],
    );
    let mut told = String::new();
    for question in step.shown.iter().filter(|line| line.ends_with("(hidden):") || line.ends_with('?')) {
        // The output that was read may reach beyond the text, so each question is recognised by its end alone.
        if question.ends_with('?') {
            told += &terminal.read_until("[y/N] ");
            terminal.types("y");
            continue;
        }
        told += &terminal.read_until(question);
        if question.contains("words") {
            if words.is_empty() {
                *words = words_in(&told);
            }
            terminal.types(words);
        } else {
            terminal.types(PASSPHRASE);
        }
    }
    let (rest, ended) = terminal.rest_of(program);
    told += &rest;
    assert!(ended.success(), "{}\n{told}", step.command);
    // The widths of columns depend on the width of a date.
    told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect::<String>()
}

/// The words of a recovery key, in the order of their numbers.
pub(crate) fn words_in(shown: &str) -> String {
    let mut words = BTreeMap::new();
    let mut pieces = shown.split_whitespace();
    while let Some(piece) = pieces.next() {
        if let Some(number) = piece.strip_suffix('.').and_then(|number| number.parse::<u32>().ok()) {
            words.insert(number, pieces.next().unwrap_or_default());
        }
    }
    words.into_values().collect::<Vec<_>>().join(" ")
}
