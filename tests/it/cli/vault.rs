//! `countersign vault`.

use std::time::Duration;

use countersign::{
    clock::{Clock as _, SystemClock},
    domain::time::Timestamp,
    store::Kind,
};

use super::{Person, text_of};
use crate::kit::RFC_SEED;

#[test]
fn the_vault_says_what_it_is() {
    let person = Person::with_alice();

    let status = person.run(&["vault", "status", "--json"]).json();

    assert_eq!(status.pointer("/secrets"), Some(&1.into()));
    assert_eq!(status.pointer("/writable"), Some(&true.into()));
    assert!(text_of(&status, "/key_file").contains(text_of(&status, "/vault_id")));
    assert!(person.run(&["vault", "status"]).ok().contains("writable   yes"));
}

/// A person with a vault of format 1.
fn with_an_old_vault() -> Person {
    let person = Person::new();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (from, to) in [("vault-v1-full.db", "old/vault.db"), ("vault-v1-full.key", "keys/vault.key")] {
        let to = person.home().join(to);
        std::fs::create_dir(to.parent().unwrap()).unwrap();
        std::fs::copy(fixtures.join(from), &to).unwrap();
        #[cfg(unix)]
        for (path, mode) in [(to.parent().unwrap(), 0o700), (to.as_path(), 0o600)] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
    }
    person
}

#[test]
fn an_old_vault_is_moved_to_this_format_with_a_copy_of_which_the_person_is_told() {
    let old = ["--data-dir", "old", "--key-file", "keys/vault.key"];
    let person = with_an_old_vault();
    let run = |command: &[&str]| person.run(&[&old, command].concat());
    let moved = run(&["vault", "migrate", "--json"]).json();
    assert_eq!((&moved["format"], &moved["status"]), (&2.into(), &"OK".into()));
    let copy = text_of(&moved, "/copy");
    assert!(copy.contains("vault.db.format-1-") && std::path::Path::new(copy).exists(), "{copy}");
    assert_eq!(run(&["vault", "migrate", "--json"]).json()["copy"], serde_json::Value::Null);
    assert_eq!(run(&["vault", "migrate"]).ok(), "nothing to do: format 2 is the newest that this version knows\n");

    let person = with_an_old_vault();
    let listed = person.run(&[&old[..], &["secret", "list"]].concat());
    assert!(listed.status == 0 && listed.err.contains("vault.db.format-1-"), "{listed:?}");
    let listed = person.run(&[&old[..], &["secret", "list"]].concat());
    assert!(listed.status == 0 && listed.err.is_empty(), "{listed:?}");
}

#[test]
fn a_sound_vault_is_called_sound() {
    let person = Person::with_alice();

    let told = person.run(&["vault", "doctor"]).ok();
    assert_eq!(told.lines().next(), Some("sound: 1 secret and 2 rows of the audit log examined"), "{told}");
    let mut document = person.run(&["vault", "doctor", "--json"]).json();
    // The protections of a process differ between systems; `confined` tests them.
    assert!(document.as_object_mut().unwrap().remove("process").is_some());
    insta::assert_snapshot!(document,
        @r#"{"audit_rows":2,"erased":0,"log_bytes":0,"problems":[],"secrets":1,"status":"OK"}"#);
}

#[test]
fn the_doctor_says_how_much_stands_in_the_log_alone() {
    let person = Person::with_alice();
    let database = person.database();
    // While this is open, other processes' writes stay in the log.
    let _: i64 = database.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap();
    database.execute_batch("BEGIN; SELECT count(*) FROM record").unwrap();
    person.run(&["code", "alice"]).ok();

    let document = person.run(&["vault", "doctor", "--json"]).json();
    let bytes = document.pointer("/log_bytes").and_then(serde_json::Value::as_u64).unwrap();
    assert!((4096..1_000_000).contains(&bytes), "{bytes}");
    let told = person.run(&["vault", "doctor"]).ok();
    assert!(told.contains("KiB of the newest changes stand in the write-ahead log alone"), "{told}");
}

#[test]
fn a_deletion_that_nobody_made_is_told_of_and_erases_nothing() {
    let person = Person::with_alice();
    let shown = person.run(&["secret", "show", "alice", "--json"]).json();
    let id = text_of(&shown, "/totp_secret/id");
    person.tamper_record(Kind::Secret, 0, "life = 1 - life");

    let found = person.run(&["vault", "doctor", "--json"]);

    let document: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!((found.status, text_of(&document, "/status")), (1, "ERROR"), "{found:?}");
    assert_eq!(document.pointer("/erased"), Some(&0.into()));
    // The record has moved from one list to another, so both numbers are wrong.
    let counts = "the number of records in a list is kept wrong (2)";
    let expected = format!("secret {id}: it was changed without the vault's key");
    assert_eq!(document.pointer("/problems"), Some(&serde_json::json!([counts, expected])));
    assert_eq!(person.run(&["vault", "doctor"]).status, 1);

    // The seed is unchanged after the record was restored.
    person.tamper_record(Kind::Secret, 0, "life = 1 - life");
    person.run(&["vault", "doctor"]).ok();
    person.run(&["code", "alice"]).ok();
}

#[test]
fn the_doctor_examines_a_vault_whose_account_is_damaged() {
    for change in ["sort = 1", "body = CAST('{\"name\":\"root\"}' AS BLOB)"] {
        let person = Person::with_alice();
        person.tamper_record(Kind::Account, 0, change);
        let refused = person.run(&["secret", "list"]).refused(78);
        assert!(refused.contains("vault.db is damaged or no vault: account "), "{refused}");

        let found = person.run(&["vault", "doctor"]);

        assert_eq!(found.status, 1);
        assert!(found.out.starts_with("problem: account "), "{found:?}");
        assert!(found.out.contains("\nnot sound: 1 secret and 2 rows of the audit log examined\n"), "{found:?}");
    }
}

#[test]
fn the_doctor_goes_on_behind_a_row_of_the_trail_that_cant_be_read() {
    let person = Person::with_alice();
    person.tamper("UPDATE audit SET body = zeroblob(4) WHERE place = 2");
    person.tamper_record(Kind::Seed, 0, "body = zeroblob(100)");

    let found = person.run(&["vault", "doctor"]);

    assert_eq!(found.status, 1);
    assert!(found.out.contains("problem: audit log: row 2 was changed"), "{found:?}");
    assert!(found.out.contains("problem: seed of secret "), "{found:?}");
}

#[test]
fn a_damaged_secret_does_not_keep_the_others_from_being_examined_and_is_erased_by_its_id() {
    let person = Person::with_alice();
    let shown = person.run(&["secret", "show", "alice", "--json"]).json();
    let id = text_of(&shown, "/totp_secret/id");
    person.fed(RFC_SEED, &["secret", "add", "--label", "bob", "--stdin"]).ok();
    person.tamper_record(Kind::Secret, 0, "sort = sort + 1");
    person.tamper_record(Kind::Seed, 1, "body = zeroblob(100)");

    let found = person.run(&["vault", "doctor"]);
    assert_eq!(found.status, 1);
    assert!(found.out.contains(&format!("problem: secret {id}: it was changed")), "{found:?}");
    assert!(found.out.contains("problem: seed of secret "), "{found:?}");
    assert!(found.out.contains("not sound: 2 secrets and "), "{found:?}");

    assert_eq!(person.run(&["secret", "rm", id, "--now", "--yes"]).ok(), "erased\n");
    person.run(&["code", "bob"]).refused(1);
    assert_eq!(person.run(&["secret", "rm", "bob", "--now", "--yes"]).ok(), "erased\n");
    person.run(&["vault", "doctor"]).ok();
}

#[test]
fn a_damaged_secret_does_not_hide_the_others() {
    let person = Person::with_alice();
    for label in ["bob", "carol"] {
        person.fed(RFC_SEED, &["secret", "add", "--label", label, "--stdin"]).ok();
    }
    person.tamper_record(Kind::Secret, 0, "sort = sort + 1");
    person.tamper_record(Kind::Secret, 2, "body = zeroblob(99)");

    let listed = person.run(&["secret", "list"]);
    assert_eq!(listed.status, 0);
    assert!(listed.out.contains("bob") && !listed.out.contains("alice") && !listed.out.contains("carol"), "{listed:?}");
    assert!(listed.err.matches("the vault is damaged: secret ").count() == 2, "{listed:?}");
    // A secret that is named by words is found without opening the others.
    let found = person.run(&["code", "bob"]);
    assert_eq!((found.status, found.err.as_str()), (0, ""), "{found:?}");
    // A damaged secret has no name any more, and the error for its name says that there are damaged ones.
    let lost = person.run(&["code", "alice"]);
    assert!(lost.status == 1 && lost.err.contains("damaged ones (2) have no name"), "{lost:?}");
}

#[test]
fn a_vault_that_cant_be_written_is_not_called_damaged() {
    let person = Person::with_alice();
    // The number can't grow further, so a write fails as on a full disk.
    person.tamper("UPDATE probe SET probed = 9223372036854775807");

    let found = person.run(&["vault", "doctor"]);

    assert_eq!(found.status, 1);
    assert!(found.out.starts_with("obstacle: ") && found.out.contains("no damage found: 1 secret"), "{}", found.out);
    assert!(!found.err.contains("backup") && found.err.contains("run it again"), "{}", found.err);
}

/// A person whose vault is a copy from before its only key was revoked, and the copy's bytes.
fn with_an_old_copy() -> (Person, Vec<u8>) {
    let person = Person::with_alice();
    person.run(&["key", "create", "--name", "ci"]).ok();
    let file = text_of(&person.run(&["vault", "status", "--json"]).json(), "/location").to_owned();
    let copy = std::fs::read(&file).unwrap();
    person.run(&["key", "revoke", "ci", "--yes"]).ok();
    std::fs::write(&file, &copy).unwrap();
    (person, copy)
}

#[test]
fn an_older_copy_is_refused_until_a_person_goes_on_with_it() {
    let (person, copy) = with_an_old_copy();
    let refused = person.run(&["secret", "list"]).refused(78);
    assert!(refused.contains("is older than the vault that was last open here: 1 row of its audit log"), "{refused}");
    let rows = " is missing (row 4); it may give codes of steps up to at least ";
    let (_, until) = refused.split_once(rows).unwrap_or_else(|| panic!("{refused}"));
    let until: Timestamp = until.split(' ').next().unwrap().parse().unwrap();
    // A step can be reserved two minutes ahead.
    let ahead = SystemClock.now().until(until);
    assert!((Duration::from_mins(1)..=Duration::from_secs(121)).contains(&ahead), "{refused}");
    assert!(refused.contains("run `countersign vault accept-loss`"), "{refused}");
    assert!(person.run(&["vault", "accept-loss"]).refused(2).contains("--yes"));
    assert_eq!(std::fs::read(person.home().join(".local/share/countersign/vault.db")).unwrap(), copy);

    let accepted = person.run(&["vault", "accept-loss", "--yes"]);
    assert!(
        accepted.err.contains("API keys are off") && accepted.err.contains("Delete again what was deleted"),
        "{accepted:?}"
    );
    assert_eq!(accepted.ok(), "accepted\n");

    person.run(&["vault", "doctor"]).ok();
    let rows = person.run(&["audit", "list", "--action", "vault.accept_loss", "--json"]).json();
    assert_eq!(rows.pointer("/rows").unwrap().as_array().unwrap().len(), 1);
    // The copy does not know that its key was revoked, so the key is off until a person enables it.
    let state = || person.run(&["key", "list"]).ok().split_whitespace().nth(13).map(str::to_owned);
    assert_eq!(state().as_deref(), Some("off"));
    assert_eq!(person.run(&["key", "enable", "ci"]).ok(), "enabled\n");
    assert_eq!(state().as_deref(), Some("active"));
    let refused = person.run(&["key", "enable", "ci"]).refused(1);
    assert!(refused.contains("this key is not off") && !refused.contains("--key"), "{refused}");
    // It is unknown which of the copy's last steps, and of the steps reserved then, were given out.
    let busy = person.run(&["code", "alice", "--max-wait", "60", "--json"]).refused(1);
    let busy: serde_json::Value = serde_json::from_str(&busy).unwrap();
    assert!(text_of(&busy, "/error") == "busy" && busy["retry_after"].as_u64() > Some(60), "{busy}");
}

#[cfg(unix)]
#[test]
fn going_on_with_an_older_copy_is_a_question_on_a_terminal() {
    let (person, _) = with_an_old_copy();
    for (answer, status) in [("n", 1), ("y", 0)] {
        let mut terminal = super::Terminal::sized(100, 24);
        let line = format!("exec {} vault accept-loss", env!("CARGO_BIN_EXE_countersign"));
        let program = terminal.run(person.home(), &line, &[]);
        terminal.read_until("Go on with this copy of the vault?");
        terminal.types(answer);
        let (shown, ended) = terminal.rest_of(program);
        assert_eq!(ended.code(), Some(status), "{shown}");
        assert_eq!(person.run(&["secret", "list"]).status == 0, status == 0, "{shown}");
    }
}

#[cfg(unix)]
#[test]
fn nothing_that_a_copy_of_the_vault_must_not_have_lies_in_its_folder() {
    use std::os::unix::fs::symlink;

    let person = Person::new();
    let folder = person.home().join("kept");
    std::fs::create_dir(&folder).unwrap();
    crate::sqlite::set_mode(&folder, 0o700);
    symlink(&folder, person.home().join("link")).unwrap();
    person.private("kept/pass", "correct horse battery staple\n");
    symlink(folder.join("pass"), person.home().join("linked-pass")).unwrap();
    let state = "the state would lie in the folder of the vault";
    let key = "the key would lie in the folder of the vault";
    for (place, flag, beside, told) in [
        ("--store=sqlite:kept/vault.db", "--state-dir", "kept/state", state),
        ("--store=sqlite:kept/vault.db", "--state-dir", "link/state", state),
        ("--data-dir=kept", "--state-dir", "link/state", state),
        ("--store=sqlite:kept/vault.db", "--key-source", "passphrase:kept/pass", key),
        ("--data-dir=kept", "--key-source", "passphrase:link/pass", key),
        ("--data-dir=kept", "--key-source", "passphrase:linked-pass", key),
        ("--data-dir=kept", "--key-source", "recovery:link/pass", key),
    ] {
        let refused = person.run(&[place, flag, beside, "vault", "create"]).refused(2);
        assert!(refused.contains(told), "{place} {flag} {beside}: {refused}");
    }
    assert!(!folder.join("vault.db").exists());
}

#[test]
fn the_state_is_kept_where_it_is_said_to_be() {
    let person = Person::with_vault();
    let states = |folder: &str| std::fs::read_dir(person.home().join(folder)).map_or(0, Iterator::count);
    assert_eq!(states(".local/state/countersign"), 1);
    person.run(&["--state-dir", "elsewhere", "seat", "add", "--email", "ada@example.com"]).ok();
    let said = person.home().join("said");
    let mut command = person.command(&["seat", "add", "--email", "bob@example.com"]);
    super::finish(command.env("COUNTERSIGN_STATE_DIR", &said), b"").ok();
    assert_eq!([states("elsewhere"), states("said")], [1, 1]);

    let within = ["--data-dir", "v", "--state-dir", "v/state", "vault", "create"];
    assert!(person.run(&within).refused(2).contains("the state would lie in the folder of the vault"));
    let mut command = person.command(&["vault", "status"]);
    let relative = super::finish(command.env("COUNTERSIGN_STATE_DIR", "state"), b"").refused(2);
    assert!(relative.contains("COUNTERSIGN_STATE_DIR is a relative path"), "{relative}");
}

#[cfg(unix)]
#[test]
fn a_vault_of_the_first_format_is_moved_once_and_the_copy_is_named() {
    use std::os::unix::fs::PermissionsExt as _;

    let person = Person::new();
    let fixture = |name: &str| format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    for (from, folder, to) in [("vault-v1-full.db", "v", "vault.db"), ("vault-v1-full.key", "k", "my.key")] {
        let folder = person.home().join(folder);
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(fixture(from), folder.join(to)).unwrap();
        for (path, mode) in [(folder.clone(), 0o700), (folder.join(to), 0o600)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let run = |arguments: &[&str]| person.run(&[&["--data-dir", "v", "--key-file", "k/my.key"], arguments].concat());

    let first = run(&["secret", "list"]);

    let copy = first.err.lines().find_map(|line| line.strip_prefix("A copy of what it was: ")).unwrap().to_owned();
    assert!(first.err.starts_with("Moved the vault to format 2: "), "{first:?}");
    assert_eq!(std::fs::read(copy).unwrap().len(), std::fs::read(fixture("vault-v1-full.db")).unwrap().len());
    assert!(first.ok().contains("ada@example.com"));
    let again = run(&["vault", "status", "--json"]);
    assert_eq!(again.err, "");
    assert_eq!(again.json()["format"], 2);
    run(&["vault", "doctor"]).ok();
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_cant_be_read_is_told_as_that() {
    let person = Person::with_alice();
    for arguments in [vec!["secret", "list"], vec!["vault", "doctor"], vec!["account", "list"]] {
        let refused = person.on_a_failing_disk("read", &arguments).refused(78);
        assert!(refused.contains("the disk can't be read"), "{arguments:?}: {refused}");
        assert!(!refused.contains("damaged") && !refused.contains("no account"), "{arguments:?}: {refused}");
    }
}

#[test]
fn that_the_state_cant_be_written_is_said_once_and_stops_nothing() {
    let person = Person::with_vault();
    let none = person.file("file", "");
    let state = none.join("state");
    let add = ["--state-dir", state.to_str().unwrap(), "seat", "add", "--email", "ada@example.com"];

    let ran = person.run(&add);

    assert_eq!(ran.status, 0, "{ran:?}");
    assert_eq!(ran.err.matches("the state file can't be written").count(), 1, "{ran:?}");
}

/// The names of the files in the vault's folder that look like copies.
fn copies(person: &Person) -> Vec<String> {
    let names = std::fs::read_dir(person.home().join(".local/share/countersign")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("backup") || name.contains(".new") || name.contains(".restore")).collect()
}

#[test]
fn a_backup_of_a_vault_in_use_has_what_stands_in_its_log_and_opens_elsewhere() {
    let person = Person::with_alice();
    let database = person.database();
    // While this is open, other processes' writes stay in the log.
    database.execute_batch("BEGIN; SELECT count(*) FROM record").unwrap();
    person.fed(RFC_SEED, &["secret", "add", "--label", "bob", "--allow-duplicate", "--stdin"]).ok();
    let file = person.home().join("backups.db");

    let made = person.run(&["vault", "backup", "backups.db", "--json"]).json();

    assert_eq!((made.pointer("/secrets"), text_of(&made, "/status")), (Some(&2.into()), "OK"), "{made}");
    let size = std::fs::metadata(&file).unwrap().len();
    assert_eq!(made.pointer("/bytes"), Some(&size.into()));
    #[cfg(unix)]
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions()) & 0o777,
        0o600
    );
    assert_eq!(copies(&person), Vec::<String>::new());

    // On another machine with the backup and the key alone.
    let other = Person::new();
    let data = other.home().join(".local/share/countersign");
    copy_key(&made, &other);
    private_folder(&data);
    std::fs::copy(&file, data.join("vault.db")).unwrap();
    let code = other.run(&["code", "bob"]).ok();
    assert!(code.trim().len() == 6 && code.trim().bytes().all(|digit| digit.is_ascii_digit()), "{code}");
    assert!(other.run(&["vault", "doctor"]).ok().starts_with("sound: 2 secrets"));
    let rows = other.run(&["audit", "list", "--all-accounts", "--action", "vault.backup", "--json"]).json();
    assert_eq!(rows.pointer("/rows").unwrap().as_array().unwrap().len(), 1, "{rows}");
}

fn private_folder(folder: &std::path::Path) {
    std::fs::create_dir_all(folder).unwrap();
    #[cfg(unix)]
    for folder in [folder, folder.parent().unwrap()] {
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    }
}

/// Copies the key that a backup names to a person.
fn copy_key(made: &serde_json::Value, person: &Person) {
    let keys = person.home().join(".config/countersign/keys");
    private_folder(&keys);
    let key = std::path::PathBuf::from(text_of(made, "/key_file"));
    std::fs::copy(&key, keys.join(key.file_name().unwrap())).unwrap();
}

#[test]
fn a_restored_backup_revives_no_key_and_gives_no_step_twice_and_what_it_replaces_is_kept() {
    let person = Person::with_alice();
    for key in ["kept", "stolen"] {
        person.run(&["key", "create", "--name", key]).ok();
    }
    person.run(&["vault", "backup", "b.db"]).ok();
    person.run(&["key", "revoke", "stolen", "--yes"]).ok();
    person.fed(RFC_SEED, &["secret", "add", "--label", "bob", "--allow-duplicate", "--stdin"]).ok();
    assert!(person.run(&["vault", "restore", "b.db"]).refused(2).contains("--yes"));

    let restored = person.run(&["vault", "restore", "b.db", "--yes", "--json"]).json();

    let revoked = restored.pointer("/revoked_since").and_then(serde_json::Value::as_array).unwrap();
    let keys = person.run(&["key", "list", "--json"]).json();
    let key = |name: &str| {
        let keys = keys["keys"].as_array().unwrap();
        keys.iter().find(|key| key["name"] == name).unwrap().clone()
    };
    assert_eq!(revoked, &[key("stolen")["key_id"].clone()]);
    assert!(key("kept")["off_since"].is_string() && key("stolen")["revoked_at"].is_string(), "{keys}");
    assert!(person.run(&["key", "enable", "stolen"]).refused(1).contains("revoked"));
    assert_eq!(person.run(&["secret", "list", "--json"]).json().pointer("/totp_secrets/1"), None);
    let busy = person.run(&["code", "alice", "--max-wait", "1"]).refused(1);
    assert!(
        busy.contains("codes come again a while after a restore or an accepted loss")
            && busy.contains("a code is free in"),
        "{busy}"
    );
    assert!(person.run(&["vault", "doctor"]).ok().starts_with("sound: 1 secret"));
    // Restored once more, the backup still revives no key.
    let again = person.run(&["vault", "restore", "b.db", "--yes", "--json"]).json();
    assert_eq!(again["revoked_since"], restored["revoked_since"]);
    assert!(person.run(&["key", "enable", "stolen"]).refused(1).contains("revoked"));
    // The replaced vault is complete: its write-ahead log is beside it.
    let replaced = std::path::PathBuf::from(text_of(&restored, "/replaced"));
    let again = person.run(&["vault", "restore", replaced.to_str().unwrap(), "--yes"]);
    assert!(again.err.contains("API keys are off"), "{again:?}");
    assert_eq!(person.run(&["secret", "list", "--json"]).json()["totp_secrets"].as_array().unwrap().len(), 2);
    assert_eq!(copies(&person), Vec::<String>::new());
}

#[test]
fn a_key_that_was_off_in_a_backup_and_revoked_since_stays_revoked() {
    let person = Person::with_alice();
    person.run(&["key", "create", "--name", "stolen"]).ok();
    person.run(&["vault", "backup", "a.db"]).ok();
    person.run(&["vault", "restore", "a.db", "--yes"]).ok();
    person.run(&["vault", "backup", "b.db"]).ok();
    person.run(&["key", "enable", "stolen"]).ok();
    person.run(&["key", "revoke", "stolen", "--yes"]).ok();
    person.run(&["vault", "restore", "b.db", "--yes"]).ok();
    assert!(person.run(&["key", "enable", "stolen"]).refused(1).contains("revoked"));
}

#[test]
fn a_restore_names_what_is_lost() {
    let person = Person::with_alice();
    person.run(&["vault", "backup", "b.db"]).ok();
    let first = person.run(&["audit", "list", "--json"]).json()["rows"].as_array().unwrap().len();
    person.fed(RFC_SEED, &["secret", "add", "--label", "bob", "--allow-duplicate", "--stdin"]).ok();
    let last = person.run(&["audit", "list", "--json"]).json()["rows"].as_array().unwrap().len();
    let restored = person.run(&["vault", "restore", "b.db", "--yes", "--json"]).json();
    assert_eq!(restored["lost"]["first"], first + 1, "{restored}");
    assert!(restored["lost"]["last"] == last && restored["lost"]["until"].is_string(), "{restored}");
    person.run(&["vault", "backup", "c.db"]).ok();
    assert!(person.run(&["vault", "restore", "c.db", "--yes"]).ok().find("lost").is_none());
    let told = person.run(&["vault", "restore", "b.db", "--yes"]).ok();
    assert!(told.contains("lost: row") && told.contains(" of the audit log, until "), "{told}");
}

#[test]
fn a_restore_names_what_is_lost_of_a_log_that_went_on_otherwise() {
    let person = Person::with_alice();
    let rows = || person.run(&["audit", "list", "--json"]).json()["rows"].as_array().unwrap().len();
    let add = |label| person.fed(RFC_SEED, &["secret", "add", "--label", label, "--allow-duplicate", "--stdin"]).ok();
    person.run(&["vault", "backup", "a.db"]).ok();
    let both = rows();
    for label in ["b", "c", "d"] {
        add(label);
    }
    person.run(&["vault", "backup", "b.db"]).ok();
    person.run(&["vault", "restore", "a.db", "--yes"]).ok();
    add("e");
    let last = rows();
    let restored = person.run(&["vault", "restore", "b.db", "--yes", "--json"]).json();
    assert_eq!(restored["lost"]["first"], both + 1, "{restored}");
    assert_eq!(restored["lost"]["last"], last, "{restored}");
}

#[test]
fn the_restored_backup_of_another_vault_says_so_and_nothing_of_keys() {
    let (person, other) = (Person::with_alice(), Person::with_alice());
    other.run(&["key", "create", "--name", "ci"]).ok();
    let made = other.run(&["vault", "backup", "b.db", "--json"]).json();
    copy_key(&made, &person);
    let backup = other.home().join("b.db");
    let restored = person.run(&["vault", "restore", backup.to_str().unwrap(), "--yes", "--json"]).json();
    assert_eq!(restored["replaced_other"], true, "{restored}");
    for name in ["revoked_since", "opens_again_by"] {
        assert_eq!(restored[name], serde_json::json!([]), "{name}");
    }
}

#[test]
fn every_command_says_what_to_do_after_a_restore_that_was_killed_between_its_renames() {
    let person = Person::with_alice();
    person.run(&["vault", "backup", "b.db"]).ok();
    let data = person.home().join(".local/share/countersign");
    std::fs::copy(person.home().join("b.db"), data.join("vault.db.restore-2026-01-01T00-00-00Z")).unwrap();
    let aside = data.join("vault.db.replaced-2026-01-01T00-00-00Z");
    std::fs::rename(data.join("vault.db"), &aside).unwrap();
    let commands: [&[&str]; 6] = [
        &["stdio"],
        &["secret", "list"],
        &["secret", "add", "--label", "bob", "--generate"],
        &["vault", "create"],
        &["vault", "doctor"],
        &["vault", "backup", "c.db"],
    ];
    for command in commands {
        let refused = person.run(command).refused(78);
        assert!(
            refused.contains("a restore was interrupted. Run `countersign vault restore BACKUP` again"),
            "{refused}"
        );
        assert!(refused.contains(aside.to_str().unwrap()), "{refused}");
        assert!(!data.join("vault.db").exists(), "{command:?} made one");
    }
    let restored = person.run(&["vault", "restore", "b.db", "--yes", "--json"]).json();
    assert!(std::path::Path::new(text_of(&restored, "/replaced")).exists());
    assert!(person.run(&["secret", "list"]).ok().contains("alice"));
    assert_eq!(copies(&person), Vec::<String>::new());
}

#[test]
fn a_restore_over_a_vault_that_cant_be_read_says_that_revocations_are_not_known() {
    let person = Person::with_alice();
    person.run(&["vault", "backup", "b.db"]).ok();
    let unread = |restored: &serde_json::Value| restored["replaced_unread"] == true;
    assert!(!unread(&person.run(&["vault", "restore", "b.db", "--yes", "--json"]).json()));
    std::fs::write(person.home().join(".local/share/countersign/vault.db"), [0x55; 8192]).unwrap();
    let told = person.run(&["vault", "restore", "b.db", "--yes", "--json"]);
    assert!(told.err.contains("it is not known which keys were revoked"), "{told:?}");
    assert!(unread(&told.json()));
}

#[test]
fn a_backup_is_restored_into_an_empty_home_with_its_key() {
    let person = Person::with_alice();
    let made = person.run(&["vault", "backup", "b.db", "--json"]).json();
    let (other, file) = (Person::new(), person.home().join("b.db"));
    let restore = || other.run(&["vault", "restore", file.to_str().unwrap(), "--yes"]);
    assert!(restore().refused(78).contains("--key-file"));
    assert!(other.run(&["secret", "list"]).refused(78).contains("there is no vault"));
    copy_key(&made, &other);

    let told = restore();

    assert!(told.out.starts_with("restored: ") && !format!("{told:?}").contains("replaced"), "{told:?}");
    assert!(other.run(&["secret", "list"]).ok().contains("alice"));
}

#[test]
fn what_is_no_backup_changes_nothing() {
    let person = Person::with_alice();
    person.run(&["vault", "backup", "b.db"]).ok();
    let whole = std::fs::read(person.home().join("b.db")).unwrap();
    std::fs::write(person.home().join("cut.db"), &whole[..whole.len() / 2]).unwrap();
    let mut flipped = whole;
    let quarter = flipped.len() / 4;
    flipped[quarter..3 * quarter].fill(0x55);
    std::fs::write(person.home().join("flipped.db"), &flipped).unwrap();
    person.file("text.db", "not a database");
    person.file("empty.db", "");
    let vault = person.home().join(".local/share/countersign/vault.db");
    let before = std::fs::read(&vault).unwrap();

    for file in ["cut.db", "flipped.db", "text.db", "empty.db", "nowhere.db", "."] {
        let refused = person.run(&["vault", "restore", file, "--yes"]).refused(78);
        assert!(!refused.contains("panicked"), "{file}: {refused}");
        assert_eq!(std::fs::read(&vault).unwrap(), before, "{file}");
    }
    assert_eq!(copies(&person), Vec::<String>::new());
    person.run(&["code", "alice"]).ok();
}

#[test]
fn a_backup_replaces_nothing_and_a_place_that_cant_be_written_is_named() {
    let person = Person::with_alice();
    let file = person.file("there.db", "mine");

    for (place, why) in [("there.db", "already exists"), ("nowhere/there.db", "No such file"), (".", "already exists")]
    {
        let refused = person.run(&["vault", "backup", place]).refused(1);
        assert!(refused.starts_with("error: no backup was made: ") && refused.contains(why), "{place}: {refused}");
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "mine");
    assert_eq!(copies(&person), Vec::<String>::new());
    // A copy that a killed process left does not prevent another backup.
    std::fs::write(person.home().join(".local/share/countersign/vault.db.backup"), "half").unwrap();
    person.run(&["vault", "backup", "new.db"]).ok();
    assert_eq!(copies(&person), Vec::<String>::new());
    assert!(Person::new().run(&["vault", "backup", "new.db"]).refused(78).contains("there is no vault"));
}

#[test]
fn a_backup_of_a_damaged_vault_says_so() {
    let person = Person::with_alice();
    person.tamper_record(Kind::Seed, 0, "sort = sort + 1");

    let made = person.run(&["vault", "backup", "new.db"]);

    assert_eq!(made.status, 1, "{made:?}");
    assert!(made.out.contains("problem: seed of secret "), "{made:?}");
    assert!(made.err.contains("keep the backups from before") && person.home().join("new.db").exists(), "{made:?}");
}
