//! First commands on a disk that fails while the vault is created.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use super::{Person, Ran, files_in, finish, found};

/// The faults of `shim.c`: an error once, and a disk that is full from then on.
const ERROR: i32 = 1;
const FULL_FROM_NOW_ON: i32 = 4;

/// Runs a first command whose operation number `at` in the vault's folder fails. Returns whether the command came that
/// far.
fn failing(person: &Person, fault: i32, at: i32, arguments: &[&str]) -> (Ran, bool) {
    let path = person.home().join("control");
    let control = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    control.write_all_at(&[fault.to_ne_bytes(), at.to_ne_bytes()].concat(), 0).unwrap();
    let mut command = person.command(arguments);
    command.env("LD_PRELOAD", crate::sqlite::faults::shim()).env("COUNTERSIGN_FAULT", &path);
    command.env("COUNTERSIGN_DATA", person.home().canonicalize().unwrap().join(".local/share"));
    let ran = finish(&mut command, b"");
    let mut left = [0; 4];
    control.read_exact_at(&mut left, 4).unwrap();
    (ran, i32::from_ne_bytes(left) <= 0)
}

fn keys_in(folder: &Path) -> usize {
    if folder.exists() { files_in(folder).len() } else { 0 }
}

/// Checks, for a fault at each operation, that the command leaves either a vault with its key, or neither.
fn check(fault: i32, arguments: &[&str]) {
    let mut made = 0;
    for at in 1.. {
        let person = Person::new();
        let (ran, met) = failing(&person, fault, at, arguments);
        if !met {
            assert_eq!(ran.status, 0, "{ran:?}");
            break;
        }
        let folder = person.home().join(".config/countersign/keys");
        if found("vault.db", person.home()).is_some() {
            made += 1;
            assert_eq!(keys_in(&folder), 1, "operation {at}: {ran:?}");
            person.run(&["secret", "list"]).ok();
        } else {
            assert_ne!(ran.status, 0, "operation {at}: {ran:?}");
            assert_eq!(keys_in(&folder), 0, "operation {at}: {ran:?}");
            person.run(arguments).ok();
            assert_eq!(keys_in(&folder), 1, "operation {at}: what is made then has its one key");
        }
    }
    assert!(made > 0, "some operations come after the vault is there");
}

#[test]
fn a_vault_that_a_full_disk_prevents_leaves_no_key() {
    check(FULL_FROM_NOW_ON, &["secret", "add", "--label", "a", "--generate"]);
}

#[test]
fn a_vault_that_one_error_of_the_disk_prevents_leaves_no_key() {
    check(ERROR, &["vault", "create"]);
}

#[test]
fn a_named_key_file_stays_because_another_vault_may_have_it_by_then() {
    let person = Person::new();
    let key = person.home().join("my.key");
    let (ran, met) = failing(&person, FULL_FROM_NOW_ON, 12, &["--key-file", key.to_str().unwrap(), "vault", "create"]);
    assert!(met && ran.status != 0 && found("vault.db", person.home()).is_none(), "{ran:?}");
    assert!(key.exists());
    person.run(&["--key-file", key.to_str().unwrap(), "vault", "create"]).ok();
}
