//! Checks the dependency rule: which room may name which inside `src/`, how long a file may be, and which files may
//! open seeds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use countersign::operations::TABLE;

/// A room (a folder or a file of `src/`) and the rooms it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("random", &["domain"]),
    ("store", &["domain"]),
    ("vault", &["domain", "random", "store"]),
    ("browser", &["domain", "random", "fetch"]),
    ("operations", &["domain", "clock", "random", "vault", "browser"]),
    ("picture", &["domain"]),
    ("child", &["domain", "picture"]),
    ("hosts", &[]),
    ("guard", &["domain", "operations"]),
    ("fetch", &[]),
    ("transport", &["domain", "operations", "picture", "child", "hosts", "guard", "fetch"]),
    ("otlp", &["domain", "operations", "fetch"]),
    ("telemetry", &[]),
    ("config", &["domain", "hosts", "telemetry", "transport"]),
    ("fuzzing", &["domain", "picture", "transport", "vault"]),
    (
        "app",
        &[
            "domain",
            "clock",
            "random",
            "store",
            "vault",
            "operations",
            "child",
            "hosts",
            "transport",
            "otlp",
            "config",
            "telemetry",
        ],
    ),
];

const LINES_MAX: usize = 400;

#[test]
fn rooms_name_only_the_rooms_below_them() {
    let mut broken = Vec::new();
    for (room, allowed) in MAY_NAME {
        for file in files_of(room) {
            for (line, number) in code_lines(&file).iter().zip(1..) {
                if line.contains("super::super::") {
                    broken.push(format!("{}:{number}: climbs out", file.display()));
                }
                for other in rooms_named(line).iter().filter(|other| *other != room) {
                    if !allowed.contains(&other.as_str()) {
                        broken.push(format!("{}:{number}: names `{other}`", file.display()));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn backends_are_named_by_the_stores_door_alone() {
    for (room, _) in MAY_NAME.iter().filter(|(room, _)| *room != "store") {
        for file in files_of(room) {
            let named =
                code_lines(&file).iter().any(|line| line.contains("rusqlite") || line.contains("store::sqlite"));
            assert!(!named, "{} names a backend", file.display());
        }
    }
}

#[test]
fn every_room_has_a_rule() {
    let map = fs::read_to_string("src/lib.rs").unwrap();
    let mut rooms = 0;
    for declared in map.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let room = declared.trim_end_matches(';');
        assert!(MAY_NAME.iter().any(|(known, _)| *known == room), "`{room}` has no rule");
        rooms += 1;
    }
    assert!(rooms >= 7, "lib.rs declares its rooms as `pub mod`");
}

#[test]
fn no_file_outgrows_its_room() {
    let mut long = Vec::new();
    for (room, _) in MAY_NAME {
        for file in files_of(room) {
            let text = fs::read_to_string(&file).unwrap();
            let lines = without_tests(&text).lines().count();
            if lines > LINES_MAX {
                long.push(format!("{}: {lines} lines before its tests", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

/// Seeds are opened where a code is made or checked, where a person exports a seed or renames its secret, where the
/// doctor examines it, and where an old vault is migrated. Adding a place is a deliberate decision.
#[test]
fn seeds_are_opened_where_we_know_it() {
    let known = [
        "src/operations/decoys.rs",
        "src/operations/export.rs",
        "src/operations/issue.rs",
        "src/operations/manage_secret.rs",
        "src/operations/verify_code.rs",
        "src/vault/examine.rs",
        "src/vault/format1/mod.rs",
        "src/vault/mend_secrets.rs",
        "src/vault/secrets.rs",
    ];
    assert_eq!(files_with(&[".open_seed("]), known);
}

#[test]
fn a_caller_is_who_was_authenticated_or_whoever_started_the_process() {
    let made = [
        "Principal::person(",
        "Principal::stdio(",
        "Principal::of_key(",
        "Principal::of_hook(",
        "Principal::of_login(",
    ];
    let known = ["src/app/completions.rs", "src/app/host.rs", "src/app/mod.rs", "src/operations/authenticate.rs"];
    assert_eq!(files_with(&made), known);
}

#[test]
fn the_door_writes_the_rows_of_refusals_and_no_operation_does() {
    let writers = ["src/operations/audit_refusals.rs", "src/operations/authenticate.rs", "src/operations/door.rs"];
    assert_eq!(files_with(&["self.refuse(", "service.refuse(", ".refuse_from("]), writers);
}

#[test]
fn one_file_asks_for_the_time_one_for_randomness_and_one_reads_the_environment() {
    // hyper reads the system's clock before it writes a date, and panics if that is before 1970.
    assert_eq!(files_with(&["SystemTime::now("]), ["src/clock.rs", "src/transport/http/timeless.rs"]);
    assert_eq!(files_with(&["getrandom::"]), ["src/random.rs"]);
    assert_eq!(files_with(&["env::var"]), ["src/config/places.rs"]);
}

#[test]
fn a_backend_has_twenty_methods_at_most_and_is_handed_no_function() {
    let contract = fs::read_to_string("src/store/mod.rs").unwrap();
    let (_, body) = contract.split_once("pub trait Store: ").unwrap();
    let (body, _) = body.split_once("\n}\n").unwrap();
    let methods: Vec<&str> = body.lines().filter(|line| line.contains(" fn ")).collect();
    assert!((1..=20).contains(&methods.len()), "{methods:#?}");
    for function in ["Fn(", "FnOnce(", "FnMut(", "dyn "] {
        assert!(!methods.iter().any(|method| method.contains(function)), "{methods:#?}");
    }
}

#[test]
fn an_operation_of_the_api_is_declared_in_one_file() {
    for entry in &TABLE {
        let mut files = files_with(&[&format!("\"{}\"", entry.spec.name)]);
        // The instructions for models name tools, in sentences that the table can't generate; the demo is a client.
        let speak_of_tools = ["src/transport/mcp/tools.rs", "src/transport/cli/demo.rs"];
        files.retain(|file| !speak_of_tools.contains(&file.as_str()));
        let [file] = files.as_slice() else { panic!("{} is declared in {files:?}", entry.spec.name) };
        let routes = files_with(&[&format!("\"{}\"", entry.api.path)]);
        assert!(routes.contains(file) && routes.iter().all(|file| file.starts_with("src/operations/")), "{routes:?}");
    }
}

#[test]
fn the_map_names_files_that_are_there() {
    let map = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let there: Vec<String> = MAY_NAME.iter().flat_map(|(room, _)| files_of(room)).map(|file| shown(&file)).collect();
    let named = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "rs") && !name.contains(' '));
    let mut count = 0;
    for name in named {
        let is_there = there.iter().any(|file| file.ends_with(&format!("/{name}")) || file == name);
        assert!(is_there || Path::new(name).exists(), "ARCHITECTURE.md names {name}, which is not there");
        count += 1;
    }
    assert!(count > 10, "{count} files are named");
    for (room, _) in MAY_NAME {
        let room = [format!("`{room}/"), format!("`{room}.rs`")];
        assert!(room.iter().any(|room| map.contains(room.as_str())), "ARCHITECTURE.md leaves out {room:?}");
    }
}

/// The files of `src` that contain any of these texts before their tests.
fn files_with(texts: &[&str]) -> Vec<String> {
    let all = MAY_NAME.iter().flat_map(|(room, _)| files_of(room));
    let mut found: Vec<String> = all
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            let code = without_tests(&text);
            texts.iter().any(|text| code.contains(text)) && !file.ends_with("tests.rs")
        })
        .map(|file| shown(&file))
        .collect();
    found.sort();
    found
}

fn shown(file: &Path) -> String {
    file.to_string_lossy().replace('\\', "/")
}

fn rooms_named(line: &str) -> Vec<String> {
    let ident = |rest: &str| -> String { rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let named = |rest: &str| match rest.strip_prefix('{') {
        // `use crate::{domain, store::Page};` on one line.
        Some(list) => list.split('}').next().unwrap_or_default().split(", ").map(ident).collect(),
        None => vec![ident(rest)],
    };
    line.split("crate::").skip(1).flat_map(named).collect()
}

fn code_lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    // `use crate::{ domain::…, store::… }` over several lines names rooms without `crate::` before each.
    let mut inside: Option<String> = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        let code = if line.trim_start().starts_with("//") { "" } else { line };
        let indent = || code.chars().take_while(|c| *c == ' ').collect::<String>();
        match &inside {
            None if code.trim_end().ends_with("use crate::{") => {
                inside = Some(indent());
                lines.push(String::new());
            }
            Some(around) if code.starts_with(&format!("{around}}}")) => {
                inside = None;
                lines.push(String::new());
            }
            Some(around) if indent().len() == around.len() + 4 && !code.trim_start().starts_with('}') => {
                lines.push(format!("crate::{}", code.trim_start()));
            }
            None | Some(_) => lines.push(code.to_owned()),
        }
    }
    lines
}

fn files_of(room: &str) -> Vec<PathBuf> {
    let file = Path::new("src").join(room).with_extension("rs");
    if file.exists() {
        return vec![file];
    }
    let mut found = Vec::new();
    let mut folders = vec![Path::new("src").join(room)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// A file's text up to its module of tests.
fn without_tests(text: &str) -> &str {
    text.split("mod tests {").next().unwrap_or_default()
}
