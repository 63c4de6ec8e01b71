//! Files of other programs: each fixture is read as `expected.json` says, with codes from another implementation; and a
//! file that is damaged, foreign or hostile is refused with an error that names the place and nothing else.

mod bad_input;
mod by_hand;
mod elsewhere;
mod losses;
mod several;
mod tables;
mod unread;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use countersign::domain::{
    import::{self, Entry, Import, ImportError, Keys, Opened},
    text::ShownText,
    time::Timestamp,
};
use serde::Deserialize;

const FOLDER: &str = "tests/fixtures/import";

/// The expected contents of the fixtures.
#[derive(Deserialize)]
struct Expected {
    /// The time of the codes.
    at: i64,
    files: BTreeMap<String, File>,
}

#[derive(Deserialize)]
struct File {
    format: String,
    /// The format of the encrypted contents, if it is another one.
    inside: Option<String>,
    entries: Vec<ExpectedEntry>,
    passphrase: Option<String>,
    /// The file that opens it together with the passphrase.
    #[serde(rename = "key_file")]
    opens: Option<String>,
    /// The error for a wrong passphrase.
    wrong: Option<String>,
    #[serde(default)]
    missing: Vec<(u32, u32)>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ExpectedEntry {
    Skipped {
        skipped: String,
    },
    Kept {
        issuer: Option<String>,
        label: String,
        algorithm: String,
        digits: u8,
        period: u32,
        code: String,
        notes: Vec<String>,
    },
}

fn expected() -> Expected {
    serde_json::from_str(&fs::read_to_string(Path::new(FOLDER).join("expected.json")).unwrap()).unwrap()
}

fn bytes(name: &str) -> Vec<u8> {
    fs::read(Path::new(FOLDER).join(name)).unwrap()
}

fn opened(name: &str, file: &File) -> Import {
    let named = |problem: ImportError| format!("{name}: {problem}");
    match import::open(&bytes(name)).map_err(named).unwrap() {
        Opened::Read(import) => {
            assert!(file.passphrase.is_none(), "{name} is not encrypted");
            import
        }
        Opened::Locked(locked) => {
            assert_eq!(locked.format().name(), file.format, "{name}");
            // The `age` program has one cost.
            let most = if file.format == "age" { 256 } else { 64 };
            assert!(locked.memory() <= most << 20, "{name}: the tests stay quick");
            let key_file = file.opens.as_deref().map(bytes);
            let open = |passphrase| locked.open(Keys { passphrase: Some(passphrase), key_file: key_file.as_deref() });
            let wrong = open("wrong").map(|_| ()).unwrap_err().to_string();
            assert!(file.wrong.as_ref().is_some_and(|expected| wrong.contains(expected)), "{name}: {wrong}");
            open(file.passphrase.as_ref().unwrap()).map_err(named).unwrap()
        }
    }
}

#[test]
fn every_fixture_is_read_as_what_it_is_and_every_entry_of_it_is_right_or_skipped_for_its_reason() {
    let Expected { at, files } = expected();
    let mut count = 0;

    for (name, file) in &files {
        let import = opened(name, file);

        assert_eq!(import.format.name(), file.inside.as_ref().unwrap_or(&file.format), "{name}");
        assert_eq!(import::missing_parts(&import.parts), file.missing, "{name}");
        let problems = import.entries.iter().filter_map(|entry| entry.read.as_ref().err());
        assert_eq!(import.entries.len(), file.entries.len(), "{name}: {:?}", problems.collect::<Vec<_>>());
        for (entry, expected) in import.entries.iter().zip(&file.entries) {
            check(name, entry, expected, Timestamp::from_seconds(at));
            // An encrypted file is mostly a copy of another one.
            count += usize::from(file.passphrase.is_none());
        }
    }

    // Twenty formats, and every quirk that was found in a real export.
    assert!(count >= 450, "{count} entries of files that are not encrypted were compared");
    let formats: BTreeSet<&str> = files.values().map(|file| file.format.as_str()).collect();
    assert!(formats.len() >= 20, "{formats:?}");
}

#[track_caller]
fn check(name: &str, entry: &Entry, expected: &ExpectedEntry, at: Timestamp) {
    let place = format!("{name}, {}", entry.place);
    match (&entry.read, expected) {
        (Ok(found), ExpectedEntry::Kept { issuer, label, algorithm, digits, period, code, notes }) => {
            let told = (found.issuer.as_ref().map(ShownText::as_str), found.label.as_str());
            assert_eq!(told, (issuer.as_deref(), label.as_str()), "{place}");
            let totp = found.totp;
            let parameters = (totp.algorithm.as_str(), totp.digits.get(), totp.period.seconds());
            assert_eq!(parameters, (algorithm.as_str(), *digits, *period), "{place}");
            assert_eq!(totp.code_at(&found.seed, totp.step_at(at)).digits(), code, "{place}");
            let told: Vec<String> = found.notes.iter().map(ToString::to_string).collect();
            assert_eq!(told.len(), notes.len(), "{place}: {told:?}");
            for (told, note) in told.iter().zip(notes) {
                assert!(told.contains(note.as_str()), "{place}: {told} is not {note}");
            }
        }
        (Err(why), ExpectedEntry::Skipped { skipped }) => {
            assert!(why.to_string().contains(skipped.as_str()), "{place}: {why} is not {skipped}");
        }
        (Ok(_), ExpectedEntry::Skipped { skipped }) => assert_eq!(place, "", "it should be skipped: {skipped}"),
        (Err(why), ExpectedEntry::Kept { .. }) => assert_eq!(place, "", "it was skipped: {why}"),
    }
}

#[test]
fn every_fixture_is_in_the_list() {
    let files = expected().files;
    for entry in fs::read_dir(FOLDER).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_ours = ["expected.json", "make.py", "more_quirks.py", "quirks.py", "programs", "README.md"]
            .contains(&name.as_str());
        let is_key = files.values().any(|file| file.opens.as_ref() == Some(&name));
        assert!(is_ours || is_key || files.contains_key(&name), "{name} is in no test");
    }
}
