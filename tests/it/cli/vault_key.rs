//! The ways to hold the vault's key, each in a process of its own: creating, opening, wrong keys, slots.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use countersign::{
    clock::{Clock as _, SystemClock},
    domain::principal::Principal,
    operations::{GetCode, ListSecrets, Service},
    random::SystemRandom,
};
use data_encoding::{BASE64, HEXLOWER};
use serde_json::Value;

use super::{Person, Ran, Terminal, finish, text_of};
use crate::kit::{HandClock, RFC_SEED};

/// The number of wrong keys that are tried with each source.
fn tries() -> u32 {
    if std::env::var_os("COUNTERSIGN_TORTURE").is_some_and(|mode| mode == "full") { 1000 } else { 20 }
}

/// 32 bytes that differ for each number.
fn key(number: u32) -> [u8; 32] {
    let mut bytes = [0xA5; 32];
    bytes[7..11].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A source of a key, as it is passed to a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    File,
    Passphrase,
    Recovery,
    Credential,
    Env,
    Command,
}

impl Way {
    /// Stores a key where the source finds it.
    fn hold(self, person: &Person, number: u32) {
        let private = |name: &str, contents: &[u8]| {
            let path = person.home().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let _ = fs::remove_file(&path);
            fs::write(&path, contents).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        match self {
            Self::File => private("k/my.key", BASE64.encode(&key(number)).as_bytes()),
            Self::Passphrase => private("k/passphrase", format!("correct horse battery {number}\n").as_bytes()),
            Self::Recovery => {
                let words = countersign::vault::RecoveryWords::generate(&Fixed(number)).unwrap();
                private("k/words", words.text().as_bytes());
            }
            // Raw, as `openssl rand 32` makes it.
            Self::Credential => private("run/credentials/vault", &key(number)),
            Self::Env => {}
            Self::Command => {
                private("k/kms.key", HEXLOWER.encode(&key(number)).as_bytes());
                private("kms", b"#!/bin/sh\n[ \"$1\" = unwrap ] && echo asked the service >&2 && exec cat k/kms.key\n");
                fs::set_permissions(person.home().join("kms"), fs::Permissions::from_mode(0o700)).unwrap();
            }
        }
    }

    fn source(self, person: &Person) -> String {
        match self {
            Self::File => "file:k/my.key".to_owned(),
            Self::Passphrase => "passphrase:k/passphrase".to_owned(),
            Self::Recovery => "recovery:k/words".to_owned(),
            Self::Credential => "credential:vault".to_owned(),
            Self::Env => "env:VAULT_KEY".to_owned(),
            Self::Command => format!(r#"command:["{}","unwrap"]"#, person.home().join("kms").display()),
        }
    }

    fn command(self, person: &Person, number: u32, arguments: &[&str]) -> Command {
        let mut command = person.command(arguments);
        command.env("COUNTERSIGN_KEY_SOURCE", self.written(person));
        self.environment(person, number, &mut command);
        command
    }

    /// The source as the value of a variable, with absolute paths.
    fn written(self, person: &Person) -> String {
        self.source(person).replace(":k/", &format!(":{}/k/", person.home().display()))
    }

    fn environment(self, person: &Person, number: u32, command: &mut Command) {
        command.env("CREDENTIALS_DIRECTORY", person.home().join("run/credentials"));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if self == Self::Env {
            command.env("VAULT_KEY", BASE64.encode(&key(number)));
        }
    }

    fn run(self, person: &Person, number: u32, arguments: &[&str]) -> Ran {
        finish(&mut self.command(person, number, arguments), b"")
    }
}

/// A random source that returns the bytes of the key with this number.
struct Fixed(u32);

impl countersign::random::Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), countersign::random::NoRandomness> {
        bytes.copy_from_slice(&key(self.0));
        Ok(())
    }
}

/// The contents of all files in a folder, by path.
fn bytes_under(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// A person whose vault is opened by this source with key number 0.
fn with(way: Way) -> Person {
    let person = Person::new();
    way.hold(&person, 0);
    if way == Way::Recovery {
        person.run(&["vault", "create"]).ok();
        let made = person.run(&["vault", "recovery", "--words-file", "k/new", "--yes", "--json"]).json();
        assert_eq!(made["vault_key"]["source"], "recovery", "{made}");
        fs::rename(person.home().join("k/new"), person.home().join("k/words")).unwrap();
    } else {
        way.run(&person, 0, &["vault", "create"]).ok();
    }
    let mut add = way.command(&person, 0, &["secret", "add", "--label", "alice", "--stdin"]);
    finish(&mut add, RFC_SEED.as_bytes()).ok();
    person
}

/// Checks that a new process opens the vault with this source each time, and that no other key of the source does.
fn opens_and_no_other_key_does(way: Way) {
    let person = with(way);
    let status = way.run(&person, 0, &["vault", "status", "--json"]).json();
    let mut by_flag = person.command(&["--key-source", &way.source(&person), "code", "alice"]);
    way.environment(&person, 0, &mut by_flag);
    assert_eq!(finish(&mut by_flag, b"").ok().trim().len(), 6, "{way:?}");
    let word = way.source(&person).split(':').next().unwrap().to_owned();
    assert_eq!(text_of(&status, "/opened_by"), word);
    assert_eq!(status["key_file"].is_null(), way != Way::File, "{status}");
    let tested = way.run(&person, 0, &["vault", "key", "test"]).ok();
    assert!(tested.starts_with(&format!("opened by {word}, key ")), "{tested}");

    let everything = |person: &Person| {
        let mut all = bytes_under(&person.home().join(".local"));
        let config = person.home().join(".config");
        all.extend(if config.exists() { bytes_under(&config) } else { BTreeMap::new() });
        all
    };
    let before = everything(&person);
    for number in 1..=tries() {
        way.hold(&person, number);
        let arguments: &[&str] =
            if number % 2 == 0 { &["secret", "list"] } else { &["seat", "add", "--email", "a@b.c"] };
        let refused = way.run(&person, number, arguments).refused(78);
        assert!(refused.contains("this key is not the vault's"), "{way:?}: {refused}");
        assert!(refused.contains(&format!("The vault opens by: {}", ways(way))), "{way:?}: {refused}");
        for secret in [BASE64.encode(&key(number)), HEXLOWER.encode(&key(number)), format!("battery {number}")] {
            assert!(!refused.contains(&secret), "{way:?}: {refused}");
        }
    }
    assert_eq!(everything(&person), before, "{way:?}");
    if way != Way::Recovery {
        way.hold(&person, 0);
        way.run(&person, 0, &["vault", "doctor"]).ok();
    }
}

/// The sources that open the vault of [`with`].
const fn ways(way: Way) -> &'static str {
    match way {
        Way::File => "file",
        Way::Passphrase => "passphrase",
        Way::Recovery => "file, recovery",
        Way::Credential => "credential",
        Way::Env => "env",
        Way::Command => "command",
    }
}

#[test]
fn a_vault_opens_by_its_key_file_and_wrong_ones_change_no_byte() {
    opens_and_no_other_key_does(Way::File);
}

#[test]
fn a_vault_opens_by_its_passphrase_and_wrong_ones_change_no_byte() {
    opens_and_no_other_key_does(Way::Passphrase);
}

#[test]
fn a_vault_opens_by_its_recovery_words_and_wrong_ones_change_no_byte() {
    opens_and_no_other_key_does(Way::Recovery);
}

#[test]
fn a_vault_opens_by_a_credential_of_systemd_and_wrong_ones_change_no_byte() {
    opens_and_no_other_key_does(Way::Credential);
}

#[test]
fn a_vault_opens_by_a_variable_and_wrong_ones_change_no_byte() {
    opens_and_no_other_key_does(Way::Env);
}

#[test]
fn a_vault_opens_by_a_command_and_wrong_keys_change_no_byte() {
    opens_and_no_other_key_does(Way::Command);
}

#[test]
fn a_source_that_gives_no_key_says_why_and_is_replaced_by_no_other() {
    let person = Person::with_alice();
    let vault = person.home().join(".local/share/countersign");
    person.file("short", "geheim");
    fs::set_permissions(person.home().join("short"), fs::Permissions::from_mode(0o600)).unwrap();
    person.file("open", "correct horse battery staple");
    fs::set_permissions(person.home().join("open"), fs::Permissions::from_mode(0o644)).unwrap();
    let before = bytes_under(&vault);
    for (source, why) in [
        ("file:nowhere.key", "there is no key file"),
        ("file:short", "does not hold a key"),
        ("passphrase:nowhere", "/nowhere, which the source names"),
        ("recovery:nowhere", "/nowhere, which the source names"),
        ("passphrase:open", "is accessible to other users"),
        ("recovery:short", "a recovery key has 24 words, and these are 1"),
        ("credential:vault", "CREDENTIALS_DIRECTORY is not set"),
        ("env:NOT_THERE", "the variable that --key-source names is not set"),
        (r#"command:["/nowhere/kms"]"#, "the command of the key, /nowhere/kms, can't be started"),
        (r#"command:["/bin/false"]"#, "the command of the key, /bin/false, failed with status 1"),
        (r#"command:["/bin/echo","geheim"]"#, "the command of the key, /bin/echo, printed no key"),
        ("keyring", "can't be reached: no Secret Service answers"),
    ] {
        let refused = person.run(&["--key-source", source, "secret", "list"]).refused(78);
        assert!(refused.contains(why) && !refused.contains("geheim"), "{source}: {refused}");
    }
    let mut malformed = person.command(&["--key-source", "env:VAULT_KEY", "secret", "list"]);
    let refused = finish(malformed.env("VAULT_KEY", "geheim"), b"").refused(78);
    assert!(refused.contains("does not hold a key: 32 bytes") && !refused.contains("geheim"), "{refused}");
    for (length, why) in [(1024, "does not hold a key"), (1025, "can't be removed from the environment")] {
        let mut long = person.command(&["--key-source", "env:VAULT_KEY", "secret", "list"]);
        let refused = finish(long.env("VAULT_KEY", "A".repeat(length)), b"").refused(78);
        assert!(refused.contains(why), "{length}: {refused}");
    }
    assert_eq!(bytes_under(&vault), before);
    for (arguments, why) in [
        (vec!["--key-source", "GEZDGNBVGY3TQOJQ", "secret", "list"], "--key-source must be file:PATH, keyring"),
        (vec!["--key-source", "keyring", "--key-file", "k", "secret", "list"], "name different keys"),
        (vec!["--key-source", "recovery:short", "vault", "create"], "made by `countersign vault recovery`"),
        (vec!["--key-source", "passphrase", "secret", "list"], "use passphrase:FILE"),
        (vec!["vault", "key", "add"], "SOURCE"),
        (vec!["vault", "key", "add", "recovery:short"], "made by `countersign vault recovery`"),
        (vec!["vault", "key", "add", "GEZDGNBVGY3TQOJQ"], "must be file:PATH"),
        (vec!["vault", "recovery"], "use --words-file FILE --yes"),
        (vec!["vault", "recovery", "--yes"], "--words-file"),
    ] {
        let refused = person.run(&arguments).refused(2);
        assert!(refused.contains(why) && !refused.contains("GEZDG"), "{arguments:?}: {refused}");
    }
}

#[test]
fn keys_are_added_listed_and_removed_and_one_always_stays() {
    let person = Person::with_alice();
    Way::Passphrase.hold(&person, 0);
    let add = |source: &str, more: &[&str]| person.run(&[&["vault", "key", "add", source][..], more].concat());

    let added = add("passphrase:k/passphrase", &["--label", "in my head", "--json"]).json();

    assert_eq!((text_of(&added, "/vault_key/source"), &added["vault_key"]["id"]), ("passphrase", &1.into()), "{added}");
    let again = add("passphrase:k/passphrase", &[]).ok();
    assert!(again.contains("id       2"), "the same words with another salt are another key: {again}");
    let file = text_of(&person.run(&["vault", "status", "--json"]).json(), "/key_file").to_owned();
    let there = add(&format!("file:{file}"), &[]).refused(1);
    assert!(there.contains("opens the vault already: it is the key with the id 0"), "{there}");
    let keys = person.run(&["vault", "key", "list", "--json"]).json();
    let facts: Vec<_> =
        keys["vault_keys"].as_array().unwrap().iter().map(|key| (&key["source"], &key["in_use"])).collect();
    let (file_kind, passphrase) = (Value::from("file"), Value::from("passphrase"));
    let (yes, no) = (Value::from(true), Value::from(false));
    assert_eq!(facts, [(&file_kind, &yes), (&passphrase, &no), (&passphrase, &no)]);
    let shown = person.run(&["vault", "key", "list"]).ok();
    assert!(shown.contains("in my head") && !shown.contains("salt"), "{shown}");

    assert!(person.run(&["vault", "key", "remove", "0"]).refused(2).contains("--yes"));
    let refused = person.run(&["vault", "key", "remove", "0", "--yes"]).refused(1);
    assert!(refused.contains("use --force"), "{refused}");
    let by = |arguments: &[&str]| person.run(&[&["--key-source", "passphrase:k/passphrase"][..], arguments].concat());
    by(&["vault", "key", "rm", "0", "--yes"]).ok();
    let closed = person.run(&["secret", "list"]).refused(78);
    assert!(
        closed.contains("this key is not the vault's") && closed.contains("The vault opens by: passphrase"),
        "{closed}"
    );
    by(&["vault", "key", "rm", "1", "--yes", "--force"]).ok();
    assert!(by(&["vault", "key", "rm", "7", "--yes"]).refused(1).contains("no such key of the vault"));
    let last = by(&["vault", "key", "rm", "2", "--yes", "--force"]).refused(1);
    assert!(last.contains("the only key that opens the vault"), "{last}");
    assert_eq!(by(&["code", "alice"]).ok().trim().len(), 6);
    let rows = by(&["audit", "list", "--all-accounts", "--json"]).json();
    let of = |action: &str| {
        let rows =
            rows["rows"].as_array().unwrap().iter().filter(|row| row["action"] == action && row["outcome"] == "ok");
        rows.map(|row| row["purpose"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of("vault.key_remove"), ["vault key 0, file", "vault key 1, passphrase"], "{rows}");
    assert_eq!(of("vault.key_add"), ["vault key 1, passphrase", "vault key 2, passphrase"], "{rows}");
    by(&["audit", "verify"]).ok();
    by(&["vault", "doctor"]).ok();
}

#[test]
fn a_file_that_is_added_is_made_and_sixteen_keys_are_the_most() {
    let person = Person::with_alice();
    for number in 1..16 {
        person.run(&["vault", "key", "add", &format!("file:more/{number}.key")]).ok();
    }
    let mode = fs::metadata(person.home().join("more/1.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(person.run(&["vault", "key", "add", "file:more/16.key"]).refused(1).contains("16 keys already"));
    assert!(
        person
            .run(&["vault", "key", "add", "file:.local/share/countersign/k"])
            .refused(2)
            .contains("in the folder of the vault")
    );
    person.run(&["--key-file", "more/15.key", "code", "alice"]).ok();
}

#[test]
fn processes_that_add_keys_at_once_lose_none_and_one_that_serves_notices_nothing() {
    let person = Person::with_alice();
    let mut host = person.command(&["stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut to, mut from) = (host.stdin.take().unwrap(), BufReader::new(host.stdout.take().unwrap()).lines());
    let mut call = |line: &str| {
        writeln!(to, "{line}").unwrap();
        from.next().unwrap().unwrap()
    };
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    assert!(call(initialize).contains("serverInfo"));

    let adders: Vec<_> = (1..=6)
        .map(|number| {
            let source = format!("file:more/{number}.key");
            let mut command = person.command(&["vault", "key", "add", &source, "--json"]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut ids: Vec<u64> = adders
        .into_iter()
        .map(|adder| {
            let ended = adder.wait_with_output().unwrap();
            assert!(ended.status.success(), "{ended:?}");
            serde_json::from_slice::<Value>(&ended.stdout).unwrap()["vault_key"]["id"].as_u64().unwrap()
        })
        .collect();

    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    for number in 1..=6 {
        person.run(&["--key-file", &format!("more/{number}.key"), "secret", "list"]).ok();
    }
    person.run(&["--key-file", "more/1.key", "vault", "key", "rm", "0", "--yes"]).ok();
    let listed =
        call(r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_totp_secrets","arguments":{}}}"#);
    assert!(listed.contains("alice"), "{listed}");
    let id = listed.split("\\\"id\\\":\\\"").nth(1).unwrap().split('\\').next().unwrap();
    let code = format!(
        r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"get_totp_code","arguments":{{"secret_id":"{id}"}}}}}}"#
    );
    assert!(call(&code).contains("expires_in"));
    drop(to);
    assert!(host.wait().unwrap().success());
}

/// The body of the vault's header.
fn header(person: &Person) -> String {
    let body: Vec<u8> =
        person.database().query_row("SELECT body FROM record WHERE kind = 1", [], |row| row.get(0)).unwrap();
    String::from_utf8(body).unwrap()
}

fn set_header(person: &Person, header: &str) {
    let changed = person.database().execute("UPDATE record SET body = ?1 WHERE kind = 1", [header.as_bytes()]);
    assert_eq!(changed.unwrap(), 1);
}

/// The slots in a header's body.
fn slots_in(header: &str) -> &str {
    header.split("\"slots\":[").nth(1).unwrap().split("],\"root_epoch\"").next().unwrap()
}

#[test]
fn a_header_that_was_changed_without_the_key_opens_nothing() {
    let (person, other) = (with(Way::Passphrase), with(Way::Passphrase));
    let sound = header(&person);
    let (mine, theirs) = (slots_in(&sound), slots_in(&header(&other)).to_owned());
    let changed = |from: &str, to: &str| {
        assert!(sound.contains(from), "{sound}");
        set_header(&person, &sound.replacen(from, to, 1));
        let begun = std::time::Instant::now();
        (Way::Passphrase.run(&person, 0, &["secret", "list"]).refused(78), begun.elapsed())
    };
    for (from, to, why) in [
        (mine, theirs.as_str(), "the vault's header is damaged"),
        (mine, &format!("{mine},{theirs}"), "changed without the vault's key"),
        (mine, "", "this key is not the vault's"),
        (r#""source":"passphrase","#, r#""source":"passphrase","label":"mine","#, "changed without the vault's key"),
        (r#""source":"passphrase""#, r#""source":"file""#, "this key is not the vault's"),
        (r#""source":"passphrase""#, r#""source":"\u001b[2J""#, "this key is not the vault's"),
        (r#""passes":"3""#, r#""passes":"2""#, "this key is not the vault's"),
        (r#""memory_kib":"65536""#, r#""memory_kib":"1024""#, "this key is not the vault's"),
        (r#""salt":""#, r#""salt":"AAAAAAAAAAAAAAAAAAAAAA==","x":""#, "this key is not the vault's"),
    ] {
        let (refused, _) = changed(from, to);
        assert!(refused.contains(why) && !refused.contains('\u{1b}'), "{to}: {refused}");
    }
    for (from, to) in [
        (r#""memory_kib":"65536""#, r#""memory_kib":"1048577""#),
        (r#""passes":"3""#, r#""passes":"4000000000""#),
        (r#""lanes":"1""#, r#""lanes":"17""#),
        (r#""kdf":"argon2id""#, r#""kdf":"scrypt""#),
        (r#""salt":""#, r#""salt":"","x":""#),
    ] {
        let (refused, took) = changed(from, to);
        assert!(refused.contains("asks for work beyond the limits, or can't be read"), "{to}: {refused}");
        assert!(took < std::time::Duration::from_secs(5), "{to} took {took:?}");
    }
    set_header(&person, &sound);
    Way::Passphrase.run(&person, 0, &["code", "alice"]).ok();
}

#[cfg(target_os = "linux")]
#[test]
fn a_key_in_a_variable_does_not_stay_in_the_environment_of_a_process_that_runs() {
    let person = with(Way::Env);
    let line = BASE64.encode(&key(0));
    for arguments in [&["serve", "--listen", "127.0.0.1:0"][..], &["stdio"]] {
        let mut command = Way::Env.command(&person, 0, arguments);
        let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(running.stderr.take().unwrap());
        if arguments.contains(&"stdio") {
            let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
            writeln!(running.stdin.as_mut().unwrap(), "{hello}").unwrap();
            let mut answer = String::new();
            BufReader::new(running.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
            assert!(answer.contains("serverInfo"), "{answer}");
        } else {
            let mut first = String::new();
            said.read_line(&mut first).unwrap();
            assert!(first.starts_with("listening on http://"), "{first}");
        }
        let environment = fs::read(format!("/proc/{}/environ", running.id())).unwrap();
        let words = fs::read(format!("/proc/{}/cmdline", running.id())).unwrap();
        assert_eq!(fs::read_to_string(format!("/proc/{}/comm", running.id())).unwrap(), "countersign\n");
        let environment = String::from_utf8_lossy(&environment);
        assert!(environment.contains("COUNTERSIGN_KEY_SOURCE=env:VAULT_KEY"), "it can be read: {environment}");
        assert!(!environment.contains(&line) && !environment.contains("VAULT_KEY="), "{environment}");
        assert!(!String::from_utf8_lossy(&words).contains(&line));
        running.kill().unwrap();
        running.wait().unwrap();
    }
}

#[test]
fn a_sidecar_asks_nobody_and_names_what_works_without_a_person() {
    let person = with(Way::Passphrase);
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    for source in ["passphrase", "passphrase:-", "recovery"] {
        let ran = person.fed(&format!("{hello}\n"), &["--key-source", source, "stdio"]);
        assert_eq!(ran.status, 78, "{ran:?}");
        for said in [&ran.err, &ran.out] {
            assert!(said.contains("a sidecar can't ask a person") && said.contains("passphrase:FILE"), "{ran:?}");
        }
    }
    let mut works = Way::Passphrase.command(&person, 0, &["stdio"]);
    let ran = finish(&mut works, format!("{hello}\n").as_bytes());
    assert!(ran.out.contains("serverInfo"), "{ran:?}");
}

#[test]
fn a_passphrase_is_typed_twice_for_a_new_vault_and_once_for_an_old_one() {
    let person = Person::new();
    let typed = |command: &str, answers: &[&str]| {
        let mut terminal = Terminal::new();
        let program = terminal.start(&person, &format!("--key-source passphrase {command}"));
        for (prompt, answer) in ["assphrase of the vault (hidden): ", "The same again (hidden): "].iter().zip(answers) {
            terminal.read_until(prompt);
            terminal.types(answer);
        }
        terminal.rest_of(program)
    };
    let right = "correct horse battery";
    let (shown, ended) = typed("vault create", &[right, "correct horse batery"]);
    assert_eq!(ended.code(), Some(1), "{shown}");
    assert!(shown.contains("the two passphrases differ"), "{shown}");
    let (shown, ended) = typed("vault create", &["too short", "too short"]);
    assert_eq!(ended.code(), Some(78), "{shown}");
    assert!(shown.contains("must have at least 12 characters"), "{shown}");
    let (shown, ended) = typed("secret add --label bob --generate", &[right]);
    assert_eq!(ended.code(), Some(78), "only `vault create` makes it: {shown}");
    assert!(shown.contains("there is no vault"), "{shown}");
    let (shown, ended) = typed("vault create", &[right, right]);
    assert_eq!(ended.code(), Some(0), "{shown}");
    let (shown, ended) = typed("seat list", &[right]);
    assert_eq!(ended.code(), Some(0), "{shown}");
    assert!(!shown.contains(right), "{shown}");
    let (shown, ended) = typed("seat list", &["correct horse batery"]);
    assert_eq!(ended.code(), Some(78), "{shown}");
    let piped = person.fed(&format!("{right}\n"), &["--key-source", "passphrase:-", "seat", "list"]);
    piped.ok();
    assert!(!person.home().join(".config").exists(), "no key file was made");
}

#[test]
fn a_recovery_key_is_stored_only_once_its_words_were_typed_back() {
    let person = Person::with_alice();
    let slots = || slots_in(&header(&person)).matches("\"number\":").count();
    let words_in = |shown: &str| {
        let words = crate::operate::words_in(shown);
        words.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    let prompt = "Type the words from the paper (hidden): ";
    let mut terminal = Terminal::new();
    let program = terminal.start(&person, "vault recovery");
    let words = words_in(&terminal.read_until(prompt));
    assert_eq!(words.len(), 24, "{words:?}");
    let mut mistyped = words.clone();
    mistyped[6] = "countersign".to_owned();
    terminal.types(&mistyped.join(" "));
    assert!(terminal.read_until(prompt).contains("Not these words: word 7 is not one that"));
    terminal.types(&words[..23].join(" "));
    assert!(terminal.read_until(prompt).contains("these are 23"));
    terminal.types(&mistyped.join(" "));
    let (shown, ended) = terminal.rest_of(program);
    assert_eq!((ended.code(), slots()), (Some(1), 1), "{shown}");
    assert!(shown.contains("the words above open nothing"), "{shown}");

    let mut terminal = Terminal::new();
    let program = terminal.start(&person, "vault recovery --label safe --qr");
    let shown = terminal.read_until(prompt);
    assert!(shown.matches('█').count() > 100, "{shown}");
    let words = words_in(&shown);
    terminal.types(&words.join(" ").to_uppercase());
    let (shown, ended) = terminal.rest_of(program);
    assert_eq!((ended.code(), slots()), (Some(0), 2), "{shown}");
    assert!(shown.contains("safe"), "{shown}");

    let mut terminal = Terminal::new();
    let program = terminal.start(&person, "--key-source recovery code alice");
    terminal.read_until("The 24 words of the recovery key (hidden): ");
    terminal.types(&words.join("  "));
    let (shown, ended) = terminal.rest_of(program);
    assert_eq!(ended.code(), Some(0), "{shown}");
    assert!(!shown.contains(&words[0..2].join(" ")), "{shown}");
}

#[test]
fn from_a_backup_and_the_recovery_words_alone_codes_come_again_on_another_machine() {
    let lost = Person::with_alice();
    lost.run(&["vault", "recovery", "--words-file", "words.txt", "--yes"]).ok();
    assert!(lost.run(&["vault", "recovery", "--words-file", "words.txt", "--yes"]).refused(1).contains("--words-file"));
    assert_eq!(fs::metadata(lost.home().join("words.txt")).unwrap().permissions().mode() & 0o777, 0o600);
    let passphrase = "correct horse battery staple";
    lost.file("p", passphrase);
    fs::set_permissions(lost.home().join("p"), fs::Permissions::from_mode(0o600)).unwrap();
    lost.run(&["vault", "key", "add", "passphrase:p"]).ok();
    lost.run(&["vault", "backup", "b.db"]).ok();

    for (source, file) in [("recovery:w", "words.txt"), ("passphrase:w", "p")] {
        let person = Person::new();
        let words = fs::read(lost.home().join(file)).unwrap();
        fs::copy(lost.home().join("b.db"), person.home().join("b.db")).unwrap();
        person.file("w", std::str::from_utf8(&words).unwrap());
        fs::set_permissions(person.home().join("w"), fs::Permissions::from_mode(0o600)).unwrap();
        let by = |arguments: &[&str]| person.run(&[&["--key-source", source][..], arguments].concat());

        let without = person.run(&["vault", "restore", "b.db", "--yes"]).refused(78);
        assert!(without.contains("there is no key file") && without.contains("passphrase, recovery"), "{without}");
        by(&["vault", "restore", "b.db", "--yes"]).ok();
        let busy = by(&["code", "alice", "--max-wait", "1"]).refused(1);
        assert!(busy.contains("a code is free in"), "steps may have been given before: {busy}");
        by(&["vault", "key", "add", "file", "--label", "this machine"]).ok();
        by(&["vault", "key", "remove", "0", "--yes"]).ok();

        // From here on no flag is needed, and the lost key file opens nothing.
        assert!(person.run(&["vault", "doctor"]).ok().starts_with("sound: 1 secret"));
        assert!(person.run(&["code", "alice", "--max-wait", "1"]).refused(1).contains("a code is free in"));
        assert_eq!(code_in_three_minutes(&person), 6);
        let keys = person.run(&["vault", "key", "list", "--json"]).json();
        assert_eq!(keys["vault_keys"].as_array().unwrap().len(), 3, "{keys}");
    }
}

/// The number of digits of a code that the vault gives with a clock three minutes ahead, so that the test need not
/// wait.
pub(crate) fn code_in_three_minutes(person: &Person) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let later = SystemClock.now().plus(std::time::Duration::from_mins(3));
        let vault = person.open().await;
        let caller = Principal::person(vault.status().default_account);
        let service = Service::new(vault, HandClock::at_seconds(later.millis() / 1000), Arc::new(SystemRandom));
        let secrets = service.perform(&caller, ListSecrets::default()).await.unwrap().secrets;
        let issued = service.perform(&caller, GetCode::of(secrets[0].id)).await.unwrap();
        service.close().await.unwrap();
        issued.code.digits().len()
    })
}

#[test]
fn a_restore_names_the_keys_that_open_the_vault_again() {
    let person = Person::with_alice();
    Way::Passphrase.hold(&person, 0);
    person.run(&["vault", "key", "add", "passphrase:k/passphrase"]).ok();
    person.run(&["vault", "backup", "b.db"]).ok();
    person.run(&["vault", "key", "remove", "1", "--yes"]).ok();

    let restored = person.run(&["vault", "restore", "b.db", "--yes"]).ok();

    assert!(
        restored.contains("opens again by: key 1 (passphrase), which was removed since; remove it again"),
        "{restored}"
    );
    person.run(&["vault", "key", "remove", "1", "--yes"]).ok();
    let again = person.run(&["vault", "restore", "b.db", "--yes", "--json"]).json();
    assert_eq!(again["opens_again_by"], serde_json::json!([1]));
}

#[test]
fn no_output_at_any_log_level_holds_a_key_or_a_word_of_it() {
    let person = Person::new();
    for way in [Way::File, Way::Passphrase, Way::Credential, Way::Env, Way::Command] {
        way.hold(&person, 1);
    }
    let mut said = String::new();
    let mut run = |way: Way, arguments: &[&str]| {
        let ran = way.run(&person, 1, &[&["--log", "trace"][..], arguments].concat());
        assert_eq!(ran.status, 0, "{way:?} {arguments:?}: {ran:?}");
        said += &(ran.out + &ran.err);
    };
    run(Way::File, &["vault", "create"]);
    for way in [Way::Passphrase, Way::Credential, Way::Env, Way::Command] {
        // The same bytes open the vault from any source, so each source gets its own.
        let number = way as u32 + 10;
        way.hold(&person, number);
        let source = way.source(&person);
        let mut add = Way::File.command(&person, number, &["--log", "trace", "vault", "key", "add", &source, "--json"]);
        way.environment(&person, number, &mut add);
        let ran = finish(&mut add, b"");
        assert_eq!(ran.status, 0, "{way:?}: {ran:?}");
        let opened = way.run(&person, number, &["--log", "trace", "vault", "key", "list", "--json"]);
        let wrong = way.run(&person, number, &["--log", "trace", "secret", "show", "nobody"]);
        for secret in [BASE64.encode(&key(number)), HEXLOWER.encode(&key(number)), format!("horse battery {number}")] {
            for text in [&ran.out, &ran.err, &opened.out, &opened.err, &wrong.err] {
                assert!(!text.contains(&secret), "{way:?}: {text}");
            }
        }
        assert_eq!(opened.status, 0, "{way:?}: {opened:?}");
    }
    run(Way::File, &["vault", "recovery", "--words-file", "words", "--yes"]);
    let words = fs::read_to_string(person.home().join("words")).unwrap();
    let pair = words.split(' ').take(2).collect::<Vec<_>>().join(" ");
    assert!(!said.contains(&BASE64.encode(&key(1))) && !said.contains(&pair), "{said}");
    let mut kept = Vec::new();
    fs::File::open(person.home().join(".local/share/countersign/vault.db")).unwrap().read_to_end(&mut kept).unwrap();
    for secret in [key(1).to_vec(), BASE64.encode(&key(1)).into_bytes(), pair.into_bytes()] {
        assert!(!kept.windows(secret.len()).any(|piece| piece == secret));
    }
}
