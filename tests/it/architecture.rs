//! The dependency rule, checked: who may name whom inside `src/`, how big a file may get, and who may look at secrets.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A room (a folder or a file of `src/`) and the rooms it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("clock", &["domain"]),
    ("random", &["domain"]),
    ("store", &["domain"]),
    ("vault", &["domain", "random", "store"]),
    ("operations", &["domain", "clock", "random", "vault"]),
    ("transport", &["domain", "operations"]),
    ("telemetry", &[]),
    ("config", &["domain", "store", "transport"]),
    ("app", &["domain", "clock", "random", "store", "vault", "operations", "transport", "config", "telemetry"]),
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
            let lines = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
            if lines > LINES_MAX {
                long.push(format!("{}: {lines} lines before its tests", file.display()));
            }
        }
    }
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

/// A seed comes out of its seal where a code is made or checked, where a person exports secrets, where the doctor looks, and
/// where a vault of format 1 is moved. A new one is a decision, and belongs into this list.
#[test]
fn seeds_are_opened_where_we_know_it() {
    let openers: Vec<String> = MAY_NAME
        .iter()
        .flat_map(|(room, _)| files_of(room))
        .filter(|file| {
            let text = fs::read_to_string(file).unwrap();
            text.split("#[cfg(test)]").next().unwrap_or_default().contains(".open_seed(")
        })
        .map(|file| file.to_string_lossy().replace('\\', "/"))
        .collect();
    let operations = ["export", "get_code", "verify_code"].map(|name| format!("src/operations/{name}.rs"));
    let vault = ["examine", "format1/mod", "secrets"].map(|name| format!("src/vault/{name}.rs"));
    let known = [operations, vault].concat();
    let mut openers = openers;
    openers.sort();
    assert_eq!(openers, known);
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
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        let code = if line.trim_start().starts_with("//") { "" } else { line };
        if code.trim_end().ends_with("use crate::{") {
            // Indented, it is a test's.
            inside = code.starts_with("use");
            lines.push(String::new());
        } else if inside && code.starts_with('}') {
            inside = false;
            lines.push(String::new());
        } else if inside
            && code.starts_with("    ")
            && !code.starts_with("     ")
            && !code.trim_start().starts_with('}')
        {
            lines.push(format!("crate::{}", code.trim_start()));
        } else {
            lines.push(code.to_owned());
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
