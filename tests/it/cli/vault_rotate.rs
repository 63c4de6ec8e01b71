//! `vault rotate` from outside: new keys while other processes use the vault, and the state after an interruption.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use countersign::domain::audit::{Action, Actor, AuditEntry};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Person, text_of};

/// A sidecar that has opened a vault, and its host.
struct Host {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Host {
    fn of(person: &Person, flags: &[&str]) -> Self {
        let mut command = person.command(&[flags, &["stdio"]].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut host = Self { child, to, from };
        let begun = host.say(
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#,
        );
        assert!(begun.contains("serverInfo"), "{begun}");
        host
    }

    fn say(&mut self, line: &str) -> String {
        writeln!(self.to, "{line}").unwrap();
        let mut said = String::new();
        self.from.read_line(&mut said).unwrap();
        said
    }

    /// The result of a tool, or the text of its error.
    fn call(&mut self, tool: &str, arguments: &str) -> Result<Value, String> {
        let said = self.say(&format!(
            r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
        ));
        let said: Value = serde_json::from_str(&said).unwrap();
        let text = text_of(&said, "/result/content/0/text").to_owned();
        if said["result"]["isError"] == true {
            return Err(text);
        }
        Ok(serde_json::from_str(&text).unwrap())
    }

    fn secret(&mut self) -> String {
        text_of(&self.call("list_totp_secrets", "{}").unwrap(), "/totp_secrets/0/id").to_owned()
    }

    fn code(&mut self, id: &str) -> Result<Value, String> {
        self.call("get_totp_code", &format!(r#"{{"secret_id":"{id}"}}"#))
    }

    fn end(self) {
        let Self { mut child, to, from } = self;
        drop((to, from));
        assert!(child.wait().unwrap().success());
    }
}

/// Begins a rotation and stops, like a process that was killed then.
async fn begin(person: &Person) {
    let vault = person.open().await;
    let entry =
        AuditEntry::by(Actor::Person, Action::VaultRotate, countersign::domain::time::Timestamp::from_seconds(1));
    assert!(vault.begin_rotation(entry).await.unwrap());
    vault.close().await.unwrap();
}

fn actions(person: &Person) -> Vec<String> {
    let rows = person.run(&["audit", "list", "--all-accounts", "--json"]).json();
    let rows = rows["rows"].as_array().unwrap().iter();
    rows.map(|row| format!("{} {}", text_of(row, "/action"), row["purpose"].as_str().unwrap_or("-")))
        .filter(|row| row.starts_with("vault.rot"))
        .collect()
}

#[test]
fn a_person_rotates_the_data_key_and_a_sidecar_goes_on() {
    let person = Person::with_alice();
    let mut host = Host::of(&person, &[]);
    let id = host.secret();
    let expected = host.code(&id).unwrap();

    let rotated = person.run(&["vault", "rotate", "--json"]).json();

    let facts = ["epoch", "root_epoch", "records", "left"].map(|name| rotated[name].as_u64().unwrap());
    assert_eq!((facts, text_of(&rotated, "/status")), ([2, 1, 2, 0], "OK"), "{rotated}");
    let code = host.code(&id).unwrap();
    assert_eq!(text_of(&code, "/code").len(), text_of(&expected, "/code").len());
    host.call("register_totp_secret", r#"{"label":"new"}"#).unwrap();
    assert_eq!(person.run(&["vault", "status", "--json"]).json()["epoch"], 2);
    let again = person.run(&["vault", "rotate"]).ok();
    assert_eq!(again, "rotated: 4 records sealed under data key 3\n");
    host.code(&id).unwrap();
    host.end();
    let both = ["vault.rotate data key 2, root key 1", "vault.rotated data key 2, root key 1"];
    assert_eq!(actions(&person)[..2], both);
    person.run(&["audit", "verify"]).ok();
    person.run(&["vault", "doctor"]).ok();
}

#[tokio::test]
async fn status_and_doctor_name_a_rotation_that_is_not_finished_and_rotate_goes_on_with_it() {
    let person = Person::with_alice();
    begin(&person).await;

    let status = person.run(&["vault", "status"]).ok();
    assert!(
        status.contains("2; 2 of 2 records still need an older data key; `countersign vault rotate` goes on"),
        "{status}"
    );
    let status = person.run(&["vault", "status", "--json"]).json();
    assert_eq!((&status["epoch"], &status["rotation_left"]), (&2.into(), &2.into()));
    let doctor = person.run(&["vault", "doctor"]);
    assert!(doctor.err.contains("A rotation is not finished: 2 of 2 records"), "{doctor:?}");
    assert!(doctor.ok().starts_with("sound: "), "it is no damage");
    assert_eq!(person.run(&["vault", "doctor", "--json"]).json()["rotation_left"], 2);

    let rotated = person.run(&["vault", "rotate"]);
    assert!(rotated.err.contains("Going on with a rotation that was begun before."), "{rotated:?}");
    assert_eq!(rotated.ok(), "rotated: 2 records sealed under data key 2\n");

    let status = person.run(&["vault", "status", "--json"]).json();
    assert_eq!((&status["epoch"], &status["rotation_left"]), (&2.into(), &Value::Null));
    assert!(!person.run(&["vault", "doctor"]).err.contains("rotation"));
    person.run(&["code", "alice"]).ok();
}

#[tokio::test]
async fn a_server_finishes_a_rotation_that_was_left() {
    let person = Person::with_alice();
    begin(&person).await;
    let mut command = person.command(&["--log", "info", "serve", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut said, mut lines) = (String::new(), BufReader::new(child.stderr.take().unwrap()));
    while !said.contains("the rotation of the data key was finished") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "{said}");
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    while lines.read_line(&mut said).unwrap() > 0 {}
    assert!(child.wait().unwrap().success(), "{said}");
    let status = person.run(&["vault", "status", "--json"]).json();
    assert_eq!((&status["epoch"], &status["rotation_left"]), (&2.into(), &Value::Null));
}

#[test]
fn a_new_root_key_needs_every_key_and_a_process_without_its_own_says_that_it_must_be_restarted() {
    let person = Person::with_alice();
    person.private("words", "correct horse battery staple");
    person.run(&["vault", "key", "add", "passphrase:words"]).ok();
    let (mut by_file, mut by_words) =
        (Host::of(&person, &[]), Host::of(&person, &["--key-source", "passphrase:words"]));
    let id = by_file.secret();

    assert!(person.run(&["vault", "rotate", "--root"]).refused(2).contains("--yes"));
    let absent = person.run(&["vault", "rotate", "--root", "--yes"]).refused(1);
    assert!(
        absent.contains(
            "key 1 (passphrase). Give each by --with SOURCE, or remove it first: `countersign vault key remove ID`"
        ),
        "{absent}"
    );
    person.private("other", "correct horse battery stable");
    let foreign = person.run(&["vault", "rotate", "--root", "--with", "passphrase:other", "--yes"]).refused(1);
    assert!(foreign.contains("it does not open the vault: key of the passphrase"), "{foreign}");
    assert_eq!(actions(&person).iter().filter(|row| !row.contains('-')).count(), 0, "nothing was changed");

    let rotated = person.run(&["vault", "rotate", "--root", "--with", "passphrase:words", "--yes"]).ok();

    assert_eq!(rotated, "rotated: 2 records sealed under data key 2, root key 2\n");
    by_file.code(&id).unwrap();
    for refused in [
        by_words.code(&id),
        by_words.call("list_totp_secrets", "{}"),
        by_words.call("register_totp_secret", r#"{"label":"new"}"#),
    ] {
        let refused = refused.unwrap_err();
        assert!(refused.contains("the root key was replaced") && refused.contains("restart it"), "{refused}");
    }
    by_words.end();
    let mut again = Host::of(&person, &["--key-source", "passphrase:words"]);
    again.code(&id).unwrap();
    again.end();
    by_file.end();
    person.run(&["vault", "doctor"]).ok();
}

#[test]
fn a_damaged_record_is_named_and_keeps_the_older_key() {
    let person = Person::with_alice();
    person.fed("JBSWY3DPEHPK3PXP", &["secret", "add", "--label", "bob", "--stdin"]).ok();
    person.tamper_record(countersign::store::Kind::Seed, 0, "mac = zeroblob(32)");

    let ran = person.run(&["vault", "rotate"]);

    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(
        ran.out.contains("problem: seed of secret ") && ran.err.contains("1 record can't be sealed anew"),
        "{ran:?}"
    );
    person.run(&["code", "bob"]).ok();
    let json = person.run(&["vault", "rotate", "--json"]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["left"], text_of(&json, "/status")), (&1.into(), "ERROR"));
    person.run(&["secret", "rm", "alice", "--now", "--yes"]).ok();
    assert_eq!(person.run(&["vault", "rotate"]).ok(), "rotated: 2 records sealed under data key 2\n");
}

fn opens_by(person: &Person, source: &str) -> bool {
    let ran = person.run(&["--key-source", source, "vault", "key", "test"]);
    assert!([0, 78].contains(&ran.status), "{ran:?}");
    ran.status == 0
}

#[test]
fn a_key_file_gets_a_new_key_in_its_place_and_the_old_one_opens_nothing() {
    let person = Person::with_alice();
    let file = text_of(&person.run(&["vault", "status", "--json"]).json(), "/key_file").to_owned();
    let old = std::fs::read_to_string(&file).unwrap();
    let mut host = Host::of(&person, &[]);
    let id = host.secret();
    assert!(person.run(&["vault", "rotate", "--key", "0"]).refused(2).contains("--yes"));

    let rotated = person.run(&["vault", "rotate", "--key", "0", "--yes", "--json"]).json();

    assert_eq!((&rotated["vault_key"]["id"], text_of(&rotated, "/vault_key/source")), (&0.into(), "file"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!((mode & 0o777, std::fs::read_to_string(&file).unwrap() == old), (0o600, false));
    person.private("old", &old);
    assert!(!opens_by(&person, "file:old") && opens_by(&person, "file"));
    assert_eq!(person.run(&["vault", "key", "list", "--json"]).json()["vault_keys"].as_array().unwrap().len(), 1);
    host.code(&id).unwrap();
    // After the root key is replaced, the sidecar opens it with the key that is in the file now.
    person.run(&["vault", "rotate", "--root", "--yes"]).ok();
    host.code(&id).unwrap();
    host.end();
    let rows = person.run(&["audit", "list", "--action", "vault.key_rotate", "--json"]).json();
    let rows: Vec<_> = rows["rows"].as_array().unwrap().iter().map(|row| text_of(row, "/purpose")).collect();
    assert_eq!(rows, ["vault key 1, file", "vault key 0, file"]);
    person.run(&["vault", "doctor"]).ok();
}

#[test]
fn a_key_that_others_keep_is_replaced_by_another_one_in_one_step() {
    let person = Person::with_alice();
    person.private("words", "correct horse battery staple");
    person.private("other", "battery staple correct horse");
    person.run(&["vault", "key", "add", "passphrase:words", "--label", "in my head"]).ok();
    person.run(&["vault", "rotate", "--key", "1", "--to", "passphrase:other", "--yes"]).ok();
    assert!(!opens_by(&person, "passphrase:words") && opens_by(&person, "passphrase:other"));
    // Without `--to`, the new key comes from the source that opens the vault. With another salt the same passphrase is another
    // key, but opens the vault all the same.
    let same = person.run(&["--key-source", "passphrase:other", "vault", "rotate", "--key", "1", "--yes"]).refused(1);
    assert!(same.contains("its source still gives the key that key 1 has"), "{same}");
    assert!(person.run(&["vault", "key", "list"]).ok().contains("in my head"));

    let printed = |name: &str| format!(r#"command:["/bin/cat","{}"]"#, person.home().join(name).display());
    person.private("one", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    person.private("two", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let (one, two) = (printed("one"), printed("two"));
    person.run(&["vault", "key", "add", &one]).ok();
    let same = person.run(&["vault", "rotate", "--key", "2", "--to", &one, "--yes"]).refused(1);
    assert!(same.contains("its source still gives the key that key 2 has"), "{same}");
    person.run(&["vault", "rotate", "--key", "2", "--to", &two, "--yes"]).ok();
    assert!(!opens_by(&person, &one) && opens_by(&person, &two));

    person.run(&["vault", "recovery", "--words-file", "paper", "--yes"]).ok();
    person.run(&["vault", "recovery", "--replace", "3", "--words-file", "new-paper", "--yes"]).ok();
    assert!(!opens_by(&person, "recovery:paper") && opens_by(&person, "recovery:new-paper"));
    let listed = person.run(&["vault", "key", "list"]).ok();
    assert_eq!((listed.lines().count(), listed.contains("on paper")), (5, true), "{listed}");

    let refused = |id: &str, to: &str| person.run(&["vault", "rotate", "--key", id, "--to", to, "--yes"]);
    assert!(refused("7", "file").refused(1).contains("no such key of the vault"));
    assert!(refused("1", "file").refused(1).contains("opens the vault already: it is the key with the id 0"));
    assert!(refused("3", "recovery").refused(2).contains("with --replace ID"));
    person.run(&["vault", "doctor"]).ok();
}
