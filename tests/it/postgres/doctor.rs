//! The doctor's report on the server itself: each setting as it is, and after a real change.

use std::{
    fs,
    process::{Command, Stdio},
};

use countersign::vault::Writes;
use serde_json::Value;

use super::{carry_out, fresh, people::Node, proxy::Proxy, server};
use crate::{
    cli::{Person, text_of},
    store::runtime,
};

/// The report on one setting, from JSON.
fn said(person: &Person, url: &str, name: &str) -> (String, Option<String>) {
    let ran = person.at(url, &["vault", "doctor", "--json"]);
    let answer: Value = serde_json::from_str(&ran.out).expect(&ran.err);
    let all = answer["server"].as_array().expect(&ran.out);
    let one = all.iter().find(|one| one["name"] == name).expect(name);
    (text_of(one, "/found").to_owned(), one["concern"].as_str().map(str::to_owned))
}

/// The report on one setting, after a check that the line for people agrees.
fn told(person: &Person, url: &str, name: &str) -> (String, Option<String>) {
    let (found, concern) = said(person, url, name);
    let lines = person.at(url, &["vault", "doctor"]).out;
    let line = lines.lines().find(|line| line.contains(&format!("server: {name}: "))).expect(&lines);
    assert_eq!(line.starts_with("warning: "), concern.is_some(), "{line}");
    (found, concern)
}

fn person() -> (Person, String) {
    let (person, url) = (Person::new(), fresh());
    person.at(&url, &["vault", "create"]).ok();
    (person, url)
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn the_doctor_warns_of_settings_that_lose_what_was_acknowledged() {
    let (person, url) = person();
    let database = url.split(['/', '?']).nth(3).unwrap();
    let (found, concern) = told(&person, &url, "synchronous_commit");
    assert!(
        found.starts_with("on, and no standby") && concern.unwrap().starts_with("the loss of the machine"),
        "{found}"
    );
    for (set, word) in [("off", "a crash of the server"), ("local", "the loss of the server's machine")] {
        carry_out(&url, &format!("ALTER DATABASE {database} SET synchronous_commit = {set}"));
        let (found, concern) = told(&person, &url, "synchronous_commit");
        assert!(found == set && concern.unwrap().starts_with(word), "{found}");
    }
    // The tests' server has fsync off; for these two, the setting of the whole server is changed briefly.
    for (name, first, then) in [("fsync", "off", "on"), ("full_page_writes", "on", "off")] {
        let concerned = |set: &str| {
            let (found, concern) = told(&person, &url, name);
            assert_eq!((found.as_str(), concern.is_some()), (set, set == "off"), "{name}");
        };
        concerned(first);
        set_server(&url, &format!("ALTER SYSTEM SET {name} = {then}"), name, then);
        concerned(then);
        set_server(&url, &format!("ALTER SYSTEM RESET {name}"), name, first);
    }
}

/// Changes a setting of the whole server, and waits until it is in force.
fn set_server(url: &str, sql: &str, name: &str, to: &str) {
    carry_out(url, sql);
    carry_out(url, "SELECT pg_reload_conf()");
    carry_out(url, &format!("DO $$ BEGIN WHILE current_setting('{name}') <> '{to}' LOOP PERFORM 1; END LOOP; END $$"));
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn the_doctor_warns_of_a_role_with_too_many_rights() {
    let (person, url) = (Person::new(), fresh());
    let role = format!("r{}", uuid::Uuid::new_v4().simple());
    carry_out(&url, &format!("CREATE ROLE {role} LOGIN; GRANT CREATE ON SCHEMA public TO {role}"));
    let own = url.replacen("countersign@", &format!("{role}@"), 1);
    person.at(&own, &["vault", "create"]).ok();
    assert_eq!(told(&person, &own, "role"), ("has no rights beyond its databases".to_owned(), None));
    assert_eq!(told(&person, &own, "rights"), ("all that the vault needs".to_owned(), None));

    let (found, concern) = told(&person, &url, "role");
    assert!(found == "may manage the whole server" && concern.unwrap().contains("SUPERUSER"), "{found}");
    carry_out(&url, &format!("REVOKE DELETE, UPDATE ON audit FROM {role}"));
    let (found, concern) = told(&person, &own, "rights");
    let found = found.strip_prefix("all that the vault needs; ");
    assert_eq!((found, concern), (Some("pruning the audit log needs the role that made the vault"), None));
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn the_doctor_says_whether_the_way_to_the_server_is_encrypted() {
    let (person, url) = person();
    assert_eq!(told(&person, &url, "tls"), ("none: the server is on this machine".to_owned(), None));
    runtime(Writes::Thread).block_on(async {
        let proxy = Proxy::start().await;
        // A host name that does not show that it is this machine.
        let far = proxy.address(&url).replacen("127.0.0.1", "127.1", 1) + "?sslmode=disable";
        let (found, concern) = tokio::task::spawn_blocking(move || told(&person, &far, "tls")).await.unwrap();
        assert!(found == "none" && concern.unwrap().contains("sslmode=disable"), "{found}");
    });
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn the_doctor_sees_who_receives_the_servers_log() {
    let (person, url) = person();
    assert_eq!(told(&person, &url, "standbys").0, "none is connected");
    let role = format!("r{}", uuid::Uuid::new_v4().simple());
    let all = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public";
    carry_out(&url, &format!("CREATE ROLE {role} LOGIN; {all} TO {role}"));
    let programs = fs::read_dir("/usr/lib/postgresql").unwrap().map(|entry| entry.unwrap().path()).max().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = server().split_once("host=").unwrap().1.replace("%2F", "/");
    let mut receiving = Command::new(programs.join("bin/pg_receivewal"))
        .args(["-h", &socket, "-U", "countersign", "-D"])
        .arg(folder.path())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    carry_out(
        &url,
        "DO $$ BEGIN WHILE NOT EXISTS (SELECT 1 FROM pg_stat_replication WHERE state = 'streaming') LOOP PERFORM \
         pg_stat_clear_snapshot(); END LOOP; END $$",
    );
    // A role that may only see that a standby exists does not report it as level.
    let own = url.replacen("countersign@", &format!("{role}@"), 1);
    let unseen = "connected; `GRANT pg_read_all_stats` lets this role see how far they are";
    assert_eq!(said(&person, &own, "standbys"), (unseen.to_owned(), None));
    let (found, concern) = said(&person, &url, "standbys");
    receiving.kill().unwrap();
    receiving.wait().unwrap();
    let behind = found.strip_prefix("1 connected, 0 of them synchronous, ").unwrap().split(' ').next().unwrap();
    // Other tests write to the server meanwhile.
    assert_eq!(concern.is_some(), behind.parse::<u64>().unwrap() >= 16 * 1024, "{found}");
}

/// The number of rows.
fn count(url: &str, what: &str) -> i64 {
    super::number(url, &format!("SELECT count(*) FROM {what}"))
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_damaged_vault_is_repaired_on_the_server_while_a_node_serves_it() {
    let (person, url) = person();
    let add = |label: &str| {
        let add = ["--store", &url, "secret", "add", "--label", label, "--stdin", "--json"];
        let added = person.fed("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n", &add);
        text_of(&added.json(), "/totp_secret/id").to_owned()
    };
    let ids = ["ada", "bob"].map(add);
    let key = person.at(&url, &["key", "create", "--name", "ci", "--json"]).json();
    let token = text_of(&key, "/token").to_owned();
    let node = Node::start(&person, &url);
    let code = |id: &str| node.get(&format!("/api/v2/totp/code/{id}"), &token);
    assert_eq!(code(&ids[0])["status"], "OK");
    person.at(&url, &["vault", "backup", "sound.backup"]).ok();
    assert_eq!(person.at(&url, &["vault", "doctor", "--repair"]).ok(), "sound: nothing to repair\n");

    let hex = ids[0].replace('-', "");
    carry_out(
        &url,
        &format!(
            "UPDATE record SET body = 'nonsense' WHERE kind = 4 AND id = decode('{hex}', 'hex'); \
             DELETE FROM record WHERE kind = 5 AND id = decode('{hex}', 'hex'); \
             DELETE FROM record_word; DELETE FROM record_count; \
             UPDATE audit SET body = 'nonsense' WHERE place = (SELECT min(place) + 2 FROM audit)"
        ),
    );
    let (records, heard) = (count(&url, "record"), count(&url, "audit"));
    let found = person.at(&url, &["vault", "doctor"]);
    assert!(found.status == 1 && found.out.contains("not sound"), "{found:?}");
    person.at(&url, &["vault", "doctor", "--repair"]).refused(2);
    assert_eq!((count(&url, "record"), count(&url, "audit")), (records, heard), "nobody agreed to it");

    // Without a backup, the doctor repairs as much as possible.
    let first = person.at(&url, &["vault", "doctor", "--repair", "--yes"]);
    assert!(first.status == 1 && first.out.contains("the vault's tables: built anew"), "{first:?}");
    assert!(first.out.contains("row 3 of the audit log: fenced off"), "{first:?}");
    assert_eq!((code(&ids[1])["status"].as_str(), code(&ids[0])["status"].as_str()), (Some("OK"), Some("ERROR")));
    let repair = ["vault", "doctor", "--repair", "--from", "sound.backup", "--yes", "--json"];
    let second = person.at(&url, &repair).json();
    assert_eq!((&second["status"], &second["left"]), (&serde_json::json!("OK"), &serde_json::json!([])), "{second}");

    person.at(&url, &["vault", "doctor"]).ok();
    person.at(&url, &["audit", "verify"]).ok();
    assert_eq!(count(&url, "writer WHERE epoch = 0"), 0);
    // The node continues with the repaired vault: the backup does not know which steps were given, so those of two
    // minutes count as used.
    assert_eq!(code(&ids[1])["status"], "OK");
    assert_eq!(code(&ids[0])["error"], "busy");
    let found = node.get("/api/v2/totp/secrets?query=ada&limit=5", &token);
    assert_eq!(found["totp_secrets"].as_array().map(Vec::len), Some(1), "{found}");
    // The copy of the damaged vault is kept, and the files of the repair are removed.
    let copy = std::path::PathBuf::from(text_of(&second, "/copy"));
    assert!(copy.is_file(), "{copy:?}");
    let left =
        fs::read_dir(copy.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|name| name.ends_with(".server") || name.ends_with(".repair")).collect();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_repair_on_a_server_that_may_not_be_carried_out_changes_nothing() {
    let (person, url) = person();
    let role = format!("r{}", uuid::Uuid::new_v4().simple());
    let all = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public";
    carry_out(&url, &format!("CREATE ROLE {role} LOGIN; {all} TO {role}; DELETE FROM record_count"));
    carry_out(&url, "UPDATE audit SET body = 'nonsense' WHERE place = (SELECT min(place) FROM audit)");
    let rows = count(&url, "audit");
    let own = url.replacen("countersign@", &format!("{role}@"), 1);
    let repair = ["vault", "doctor", "--repair", "--yes"];

    let refused = person.at(&own, &repair);

    assert!(refused.status == 78 && refused.err.contains("use the role that made the vault"), "{refused:?}");
    // Without its header the vault can't be distinguished from damage.
    carry_out(&url, "UPDATE record SET body = 'nonsense' WHERE kind = 1");
    let refused = person.at(&url, &repair);
    assert!(refused.status == 78 && refused.err.contains("vault restore BACKUP"), "{refused:?}");
    assert_eq!(count(&url, "audit"), rows);
}
