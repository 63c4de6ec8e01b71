//! A vault that is moved from a file to a server and back: everything arrives, the old vault is closed, and an
//! interrupted move has changed nothing or is finished by the same command.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
};

use serde_json::Value;
use tokio_postgres::{Client, NoTls};

use super::{carry_out, fresh, people::Node, server};
use crate::{
    cli::{Person, Ran, text_of},
    kit::RFC_SEED,
    store::runtime,
};
use countersign::vault::Writes;

impl Person {
    pub(super) fn at(&self, url: &str, arguments: &[&str]) -> Ran {
        self.run(&[&["--store", url], arguments].concat())
    }

    fn vault_file(&self) -> PathBuf {
        self.home().join(".local/share/countersign/vault.db")
    }

    /// The contents of all lists of the vault at an address.
    pub(super) fn everything(&self, url: &str) -> Vec<Value> {
        let lists: [&[&str]; 6] = [
            &["secret", "list", "--json"],
            &["secret", "list", "--deleted", "--json"],
            &["seat", "list", "--json"],
            &["key", "list", "--json"],
            &["account", "list", "--json"],
            &["vault", "key", "list", "--json"],
        ];
        lists.iter().map(|list| self.at(url, list).json()).collect()
    }
}

/// A person with data of every kind.
pub(super) fn with_everything() -> Person {
    let person = Person::with_alice();
    for label in ["bob", "carol"] {
        person.fed(RFC_SEED, &["secret", "add", "--label", label, "--stdin", "--allow-duplicate"]).ok();
    }
    person.run(&["secret", "rm", "carol", "--yes"]).ok();
    person.run(&["seat", "add", "--email", "ada@example.com", "--codes-per-hour", "40"]).ok();
    person.run(&["key", "create", "--name", "ci"]).ok();
    person.run(&["account", "add", "other"]).ok();
    person.run(&["code", "alice"]).ok();
    person.run(&["code", "bob", "--seat", "ada@example.com"]).ok();
    person.run(&["vault", "rotate"]).ok();
    person
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_vault_goes_to_a_server_and_back_with_everything_in_it() {
    let person = with_everything();
    let (url, file) = (fresh(), format!("sqlite:{}", person.home().join("back/vault.db").display()));
    let before = person.everything("sqlite:");
    person.run(&["audit", "head", "--append", "anchors.jsonl"]).ok();
    let rows = person.run(&["audit", "verify", "--json"]).json()["rows"].as_u64().unwrap();

    let moved = person.run(&["vault", "move", "--to", &url, "--yes", "--json"]).json();

    assert_eq!((moved["secrets"].as_u64(), moved["audit_rows"].as_u64()), (Some(3), Some(rows)));
    assert!(text_of(&moved, "/to").starts_with("postgres://") && !text_of(&moved, "/to").contains("countersign@"));
    let over = person.run(&["code", "alice"]).refused(78);
    assert!(over.contains("was moved to postgres://") && over.contains("--store"), "{over}");
    for makes_or_reads in [vec!["vault", "create"], vec!["secret", "list"], vec!["vault", "doctor"], vec!["stdio"]] {
        assert_eq!(person.run(&makes_or_reads).status, 78, "{makes_or_reads:?}");
    }
    assert_eq!(person.everything(&url), before);
    assert_sound(&person, &url);
    // A step that was used in the file is used on the server; a second process has its own chain.
    assert_eq!(person.at(&url, &["code", "alice", "--json"]).json()["code"].as_str().unwrap().len(), 6);
    let node = Node::start(&person, &url);
    person.at(&url, &["secret", "update", "bob", "--label", "bert"]).ok();
    drop(node);
    let before = person.everything(&url);

    person.at(&url, &["vault", "move", "--to", &file, "--yes"]).ok();

    let over = person.at(&url, &["secret", "list"]).refused(78);
    assert!(over.contains("was moved to") && over.contains("back/vault.db"), "{over}");
    assert_eq!(person.everything(&file), before);
    assert_sound(&person, &file);
    let logged = person.at(&file, &["audit", "list", "--action", "vault.move", "--json"]).json();
    assert_eq!(logged["rows"].as_array().or(logged["audit_rows"].as_array()).map_or(0, Vec::len), 2, "{logged}");
    person.fed(RFC_SEED, &["--store", &file, "secret", "add", "--label", "dora", "--stdin", "--allow-duplicate"]).ok();
    assert_sound(&person, &file);
}

fn assert_sound(person: &Person, url: &str) {
    person.at(url, &["vault", "doctor"]).ok();
    let mut verify = vec!["audit", "verify", "--json"];
    if person.home().join("anchors.jsonl").exists() {
        verify.extend(["--anchors", "anchors.jsonl"]);
    }
    let verified = person.at(url, &verify);
    assert_eq!(verified.json()["status"], "OK");
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn what_can_t_be_moved_is_said_with_what_to_do_and_nothing_is_written() {
    let (person, taken, strange, poor) = (Person::with_alice(), fresh(), fresh(), fresh());
    Person::new().at(&taken, &["vault", "create"]).ok();
    carry_out(&strange, "CREATE TABLE vault (name text)");
    let role = format!("r{}", uuid::Uuid::new_v4().simple());
    carry_out(&poor, &format!("CREATE ROLE {role} LOGIN"));
    let poor = poor.replacen("countersign@", &format!("{role}@"), 1);
    person.private("other.key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    let before = fs::read(person.vault_file()).unwrap();
    let (file, missing) = (person.vault_file(), server().replace("/postgres?", "/no_such_one?"));
    let same = format!("sqlite:{}", file.display());

    for (to, told) in [
        (taken.as_str(), "there is something in postgres://"),
        (&strange, "there is something in postgres://"),
        (&poor, "its role lacks a right"),
        (&missing, "there is no such database"),
        ("postgres://ada:hunter2@127.0.0.1:1/vault", "127.0.0.1:1"),
        (&same, "there is something in"),
        ("sqlite:", "there is something in"),
    ] {
        let refused = person.run(&["vault", "move", "--to", to, "--yes"]).refused(78);
        assert!(refused.contains(told) && !refused.contains("hunter2"), "{to}: {refused}");
    }
    let to = fresh();
    let wrong = person.run(&["--key-file", "other.key", "vault", "move", "--to", &to, "--yes"]).refused(78);
    assert!(wrong.contains("not the vault's"), "{wrong}");
    assert!(person.run(&["vault", "move", "--to", "elsewhere", "--yes"]).refused(2).contains("sqlite:"));
    assert!(person.run(&["vault", "move", "--to", &to]).refused(2).contains("--yes"));
    let keys = person.home().join(".config/countersign/keys/vault.db");
    let beside = person.run(&["vault", "move", "--to", &format!("sqlite:{}", keys.display()), "--yes"]).refused(78);
    assert!(beside.contains("keep the key elsewhere"), "{beside}");
    assert!(!keys.exists());

    assert_eq!(fs::read(person.vault_file()).unwrap(), before);
    person.run(&["code", "alice"]).ok();
    // No refused move left anything that prevents another one.
    person.run(&["vault", "move", "--to", &to, "--yes"]).ok();
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_damaged_vault_is_not_moved() {
    let (person, to) = (Person::with_alice(), fresh());
    person.tamper_record(countersign::store::Kind::Seed, 0, "body = zeroblob(100)");

    let refused = person.run(&["vault", "move", "--to", &to, "--yes"]).refused(78);

    assert!(refused.contains("seed of secret"), "{refused}");
    assert_eq!(person.run(&["vault", "doctor"]).status, 1, "it is where it was");
    assert!(person.at(&to, &["secret", "list"]).refused(78).contains("there is no vault"));
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_server_that_has_the_old_place_open_gives_nothing_from_it_any_more() {
    let person = Person::with_alice();
    let key = person.run(&["key", "create", "--name", "ci", "--json"]).json();
    let token = text_of(&key, "/token").to_owned();
    let (url, file) = (fresh(), format!("sqlite:{}", person.home().join("back/vault.db").display()));
    let id = person.run(&["secret", "show", "alice", "--json"]).json();
    let id = text_of(&id, "/totp_secret/id").to_owned();
    for (from, to) in [("sqlite:", url.as_str()), (&url, &file)] {
        let node = Node::start(&person, from);
        assert_eq!(node.get("/api/v2/totp/secrets", &token)["status"], "OK");

        person.at(from, &["vault", "move", "--to", to, "--yes"]).ok();

        for path in ["/api/v2/totp/secrets".to_owned(), format!("/api/v2/totp/code/{id}")] {
            assert_eq!(node.get(&path, &token)["error"], "unavailable", "{path}");
        }
        assert_eq!(node.get("/readyz", &token)["error"], "unavailable");
    }
    let node = Node::start(&person, &file);
    assert_eq!(node.get("/api/v2/totp/secrets", &token)["status"], "OK");
}

/// A running move.
struct Moving(Child);

impl Moving {
    fn start(person: &Person, from: &str, to: &str) -> Self {
        let mut command = person.command(&["--store", from, "vault", "move", "--to", to, "--yes"]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Whether a connection to this database waits for a lock.
const WAITS: &str = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until a statement returns a row.
async fn until(client: &Client, sql: &str) {
    let patience = crate::kit::Patience::new();
    while client.query(sql, &[]).await.map_or(true, |rows| rows.is_empty()) {
        patience.turn().await;
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_move_that_is_killed_while_it_copies_has_changed_nothing() {
    let (person, url) = (with_everything(), fresh());
    let before = person.everything("sqlite:");
    runtime(Writes::Thread).block_on(async {
        let other = client(&url).await;
        // A move that creates a table of this name waits for this transaction.
        other.batch_execute("BEGIN; CREATE TABLE vault (one int)").await.unwrap();
        let moving = Moving::start(&person, "sqlite:", &url);
        let watching = client(&url).await;
        until(&watching, WAITS).await;
        moving.kill();
        other.batch_execute("ROLLBACK").await.unwrap();
    });
    assert_eq!(person.everything("sqlite:"), before);
    assert!(person.at(&url, &["secret", "list"]).refused(78).contains("there is no vault"));
    person.run(&["vault", "move", "--to", &url, "--yes"]).ok();
    assert_eq!(person.everything(&url), before);
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_move_that_is_killed_while_it_examines_leaves_no_vault_and_begins_anew() {
    let (person, url) = (with_everything(), fresh());
    let before = person.everything("sqlite:");
    runtime(Writes::Thread).block_on(async {
        let other = client(&url).await;
        let moving = Moving::start(&person, "sqlite:", &url);
        // As soon as the tables exist, their records can't be read.
        let patience = crate::kit::Patience::new();
        while other.batch_execute("BEGIN; LOCK TABLE record IN ACCESS EXCLUSIVE MODE").await.is_err() {
            other.batch_execute("ROLLBACK").await.unwrap();
            patience.turn().await;
        }
        let watching = client(&url).await;
        until(&watching, WAITS).await;
        moving.kill();
        other.batch_execute("ROLLBACK").await.unwrap();
    });
    assert_eq!(person.everything("sqlite:"), before, "the vault is where it was");
    for command in [vec!["secret", "list"], vec!["vault", "create"]] {
        let refused = person.at(&url, &command).refused(78);
        assert!(refused.contains("Run that again"), "{refused}");
    }
    // Another vault does not replace the remains of this one.
    let other = Person::with_alice();
    assert!(other.run(&["vault", "move", "--to", &url, "--yes"]).refused(78).contains("was left by"));
    person.run(&["vault", "move", "--to", &url, "--yes"]).ok();
    assert_eq!(person.everything(&url), before);
    assert_sound(&person, &url);
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_move_that_is_killed_before_the_last_step_is_finished_by_the_same_command() {
    let (person, url) = (with_everything(), fresh());
    let before = person.everything("sqlite:");
    runtime(Writes::Thread).block_on(async {
        let other = client(&url).await;
        let moving = Moving::start(&person, "sqlite:", &url);
        until(&other, "SELECT 1 FROM vault").await;
        other.batch_execute("BEGIN; SELECT one FROM vault FOR UPDATE").await.unwrap();
        let watching = client(&url).await;
        let publishes = format!("{WAITS} AND query LIKE 'UPDATE vault%'");
        until(&watching, &publishes).await;
        moving.kill();
        // The server would carry out the statement that it has received.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'UPDATE vault%'";
        watching.query(end, &[]).await.unwrap();
        other.batch_execute("ROLLBACK").await.unwrap();
    });
    // The two vaults never open at the same time.
    assert!(person.run(&["secret", "list"]).refused(78).contains("was moved to"));
    assert!(person.at(&url, &["secret", "list"]).refused(78).contains("Run that again"));
    let elsewhere = fresh();
    assert!(person.run(&["vault", "move", "--to", &elsewhere, "--yes"]).refused(78).contains("was moved to"));

    // A copy that was damaged meanwhile does not become the vault.
    let change = |body: &str| {
        let sql = format!("UPDATE audit SET body = {body} WHERE place = (SELECT min(place) FROM audit)");
        runtime(Writes::Thread).block_on(async { client(&url).await.batch_execute(&sql).await.unwrap() });
    };
    change("body || '\\x00'");
    let refused = person.run(&["vault", "move", "--to", &url, "--yes"]).refused(78);
    assert!(refused.contains("audit log"), "{refused}");
    change("substring(body FROM 1 FOR length(body) - 1)");

    person.run(&["vault", "move", "--to", &url, "--yes"]).ok();

    assert_eq!(person.everything(&url), before);
    assert_sound(&person, &url);
    assert!(person.run(&["vault", "move", "--to", &url, "--yes"]).refused(78).contains("was moved to"));
}
