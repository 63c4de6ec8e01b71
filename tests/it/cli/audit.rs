//! `countersign audit`.

use countersign::{
    clock::{Clock as _, SystemClock},
    domain::{
        audit::{Action, Actor, AuditEntry},
        totp::Step,
    },
};
use serde_json::Value;

use super::{Person, redacted, text_of};

#[test]
fn the_audit_log_is_listed_newest_last() {
    let person = Person::with_alice();
    person.run(&["code", "alice", "--purpose", "nightly backup"]).ok();

    insta::assert_snapshot!(redacted(&person.run(&["audit", "list", "--limit", "2"]).ok()), @r"
    SEQ  AT  ACTION  OUTCOME  ACTOR  SECRET  SEAT  CLIENT  PURPOSE
    2  AT  secret.register  ok  cli  alice (GitHub)  -  -  -
    3  AT  code.get  ok  cli  alice (GitHub)  -  -  nightly backup
    ");
}

#[test]
fn the_table_says_what_its_ids_are_called() {
    let person = Person::with_alice();
    let seed = crate::kit::RFC_SEED;
    for _ in 0..2 {
        person.fed(seed, &["secret", "add", "--label", "bob", "--allow-duplicate", "--stdin"]).ok();
    }
    person.fed(seed, &["secret", "add", "--label", "gone", "--stdin"]).ok();
    person.run(&["secret", "rm", "gone", "--now", "--yes"]).ok();
    person.run(&["seat", "add", "--email", "ada@example.com"]).ok();
    person.run(&["key", "create", "--name", "ci", "--seat", "ada@example.com"]).ok();
    person.run(&["code", "alice", "--seat", "ada@example.com"]).ok();
    person.run(&["secret", "rm", "alice", "--yes"]).ok();

    insta::assert_snapshot!(redacted(&person.run(&["audit", "list"]).ok()), @r"
    SEQ  AT  ACTION  OUTCOME  ACTOR  SECRET  SEAT  CLIENT  PURPOSE
    1  AT  vault.create  ok  system  -  -  -  -
    2  AT  secret.register  ok  cli  alice (GitHub)  -  -  -
    3  AT  secret.register  ok  cli  bob ID  -  -  -
    4  AT  secret.register  ok  cli  bob ID  -  -  -
    5  AT  secret.register  ok  cli  ID  -  -  -
    6  AT  secret.erase  ok  cli  ID  -  -  -
    7  AT  seat.add  ok  cli  -  ada@example.com  -  -
    8  AT  key.create  ok  cli on key ci  -  -  -  -
    9  AT  code.get  ok  cli  alice (GitHub)  ada@example.com  -  -
    10  AT  secret.delete  ok  cli  alice (GitHub)  -  -  -
    ");
    let rows = person.run(&["audit", "list", "--json"]).ok();
    assert!(!["alice", "ada@", "\"ci\""].iter().any(|name| rows.contains(name)), "{rows}");
}

#[test]
fn a_name_that_finds_nothing_leaves_a_row() {
    let person = Person::with_alice();
    for named in [&["code", "nobody"][..], &["secret", "rm", "nobody", "--yes"], &["key", "revoke", "nobody"]] {
        person.run(named).refused(1);
    }
    person.run(&["seat", "show", "nobody@example.com"]).refused(1);

    let rows = person.run(&["audit", "list", "--json"]).json();
    let outcomes = rows.pointer("/rows").unwrap().as_array().unwrap().iter().skip(2);
    let outcomes: Vec<_> = outcomes.map(|row| (text_of(row, "/action"), text_of(row, "/outcome"))).collect();
    assert_eq!(outcomes, [("call", "not_found"); 4]);
}

#[test]
fn what_a_command_refuses_once_the_vault_is_open_leaves_one_row() {
    let person = Person::with_alice();
    let seed = crate::kit::RFC_SEED;
    let rows = || {
        let rows = person.run(&["audit", "list", "--json"]).json();
        let rows = rows.pointer("/rows").unwrap().as_array().unwrap().clone();
        rows.iter().map(|row| text_of(row, "/outcome").to_owned()).collect::<Vec<_>>()
    };
    let before = rows().len();
    for (input, refused) in [
        (seed, &["secret", "add", "--label", "\u{202e}", "--stdin"][..]),
        ("not base32 1", &["secret", "add", "--label", "a", "--stdin"]),
        (seed, &["secret", "add", "--label", "a", "--digits", "7", "--stdin"]),
        ("otpauth://totp/a?secret=", &["secret", "add", "--uri-file", "-"]),
        (seed, &["secret", "add", "--label", "alice", "--issuer", "GitHub", "--stdin"]),
        ("email\nnone\n", &["seat", "import", "-"]),
        ("", &["key", "create", "--name", "a", "--expires", "nope"]),
    ] {
        assert!([1, 2].contains(&person.fed(input, refused).status), "{refused:?}");
    }
    assert_eq!(rows()[before..], vec!["invalid_argument"; 7]);
}

#[test]
fn a_key_is_named_by_its_id_or_its_name() {
    let person = Person::new();
    let made = |name| text_of(&person.run(&["key", "create", "--name", name, "--json"]).json(), "/key_id").to_owned();
    let (ci, _) = (made("ci"), made("laptopoffice"));
    let found = |key: &str| {
        let listed = person.run(&["audit", "list", "--key", key, "--json"]).json();
        listed.pointer("/rows").unwrap().as_array().unwrap().len()
    };

    assert_eq!([found(&ci), found("ci"), found("laptopoffice"), found("000000000000")], [1, 1, 1, 0]);
    insta::assert_snapshot!(person.run(&["audit", "list", "--key", "nobody"]).refused(1),
        @"error: no key has this id or name; `countersign key list` shows what exists");
    let again = made("ci");
    let refused = person.run(&["audit", "list", "--key", "ci"]).refused(1);
    insta::assert_snapshot!(redacted(&refused.replace(&ci, "FIRST").replace(&again, "SECOND")), @r"
    error: this names 2 keys; use the id of the one you mean:
    FIRST  ci  AT
    SECOND  ci  AT
    ");
    made(&ci);
    assert_eq!(found(&ci), 1, "an id means that key, whatever others are called");
}

#[test]
fn rows_are_found_by_what_they_are_about() {
    let person = Person::with_alice();
    let seat = person.run(&["seat", "add", "--email", "ada@example.com", "--json"]).json();
    person.run(&["code", "alice", "--seat", text_of(&seat, "/seat/seat_id")]).ok();
    person.run(&["code", "alice"]).ok();
    let made = person.run(&["key", "create", "--name", "ci", "--json"]).json();
    let count = |arguments: &[&str]| {
        let all: Vec<&str> = ["audit", "list", "--json"].into_iter().chain(arguments.iter().copied()).collect();
        person.run(&all).json().pointer("/rows").unwrap().as_array().unwrap().len()
    };

    assert_eq!(count(&["--action", "code.get"]), 2);
    assert_eq!(count(&["--action", "code.get", "--seat", "ada@example.com"]), 1);
    assert_eq!(count(&["--secret", "alice"]), 3);
    assert_eq!(count(&["--key", text_of(&made, "/key_id")]), 1);
    assert_eq!(count(&["--since", "1h"]), count(&[]));
    assert_eq!(count(&["--until", "1h"]), 0);
    assert_eq!(count(&["--until", "2020-01-01", "--all-accounts"]), 0);
    let refused = person.run(&["audit", "list", "--action", "code.gett"]).refused(2);
    assert!(refused.contains("code.get, code.reserve"), "{refused}");
}

#[test]
fn an_export_is_a_document_a_line() {
    let person = Person::with_alice();

    let exported = person.run(&["audit", "export", "--all-accounts"]).ok();

    let rows: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().map(|row| text_of(row, "/action")).collect::<Vec<_>>(), ["vault.create", "secret.register"]);
    let document = person.run(&["audit", "export", "--all-accounts", "--json"]).json();
    assert_eq!(document.pointer("/rows").unwrap(), &Value::Array(rows));
}

#[test]
fn a_cut_tail_is_found_by_an_anchor() {
    let person = Person::with_alice();
    let anchors = person.home().join("anchors");
    let path = anchors.to_str().unwrap();
    person.run(&["audit", "head", "--append", path]).ok();
    person.run(&["code", "alice"]).ok();
    person.run(&["audit", "head", "--append", path]).ok();

    let lines = std::fs::read_to_string(&anchors).unwrap();
    assert_eq!(lines.lines().count(), 2);
    let printed = person.run(&["audit", "head"]).json();
    let kept: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&printed["seq"], &printed["mac"]), (&kept["seq"], &kept["mac"]));
    insta::assert_snapshot!(person.run(&["audit", "verify", "--anchors", path]).ok(), @"sound: 3 rows, 1 to 3, 2 anchors");

    assert_eq!(person.run(&["audit", "verify", "--anchors", path, "--json"]).json()["anchors"], 2);
    assert_eq!(person.run(&["audit", "verify", "--json"]).json()["anchors"], 0);

    // The same numbers with other hashes: the audit log was rewritten.
    let other = Person::with_alice();
    other.run(&["code", "alice"]).ok();
    let found = other.run(&["audit", "verify", "--anchors", path]);
    assert_eq!(found.status, 1);
    assert_eq!(
        found.out,
        "not sound: row 2 is not the one that the given anchor vouches for (sound before it: 1 row, 1 to 1)\n"
    );

    // Fewer rows than the anchor counts: the tail was cut off.
    let shorter = Person::with_vault();
    let last = person.file("last", lines.lines().last().unwrap());
    let found = shorter.run(&["audit", "verify", "--anchors", last.to_str().unwrap(), "--json"]);
    let document: Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!((found.status, document.pointer("/valid")), (1, Some(&false.into())));
    assert!(text_of(&document, "/finding").contains("its tail was cut off"));

    insta::assert_snapshot!(person.fed("{\"seq\":1}\n", &["audit", "verify", "--anchors", "-"]).refused(1),
        @"error: line 1 of the anchors is no anchor");
}

#[test]
fn a_code_is_traced_to_the_row_that_gave_it_out() {
    let person = Person::with_alice();
    let code = person.run(&["code", "alice", "--json"]).json();

    let found = person.fed(text_of(&code, "/code"), &["audit", "trace", "--stdin", "--json"]).json();
    assert_eq!(found.pointer("/from_us"), Some(&true.into()));
    assert_eq!(text_of(&found, "/rows/0/action"), "code.get");

    let strange = person.fed("12345678", &["audit", "trace", "--stdin", "--secret", "alice"]);
    assert_eq!((strange.status, strange.out.as_str()), (1, ""));
    assert_eq!(strange.err, "This code was not given out here.\n");
    assert!(person.run(&["audit", "trace"]).refused(2).contains("--stdin"));
}

#[test]
fn what_is_no_code_is_not_called_strange_but_refused() {
    let person = Person::with_alice();
    for typed in ["hello", "", "376821  15", "12345", "376821 15", "1234567"] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(person.fed(typed, &["audit", "trace", "--stdin"]).refused(2),
                @"error: the code must be 6 or 8 digits");
        }
    }
    // Apps show a code with a space in its middle.
    assert_eq!(person.fed("123 456", &["audit", "trace", "--stdin"]).status, 1);
}

#[test]
fn young_rows_are_not_pruned() {
    let person = Person::with_alice();

    insta::assert_snapshot!(person.run(&["audit", "prune", "--before", "1d", "--yes"]).refused(2),
        @"error: --before must lie 365 days back at least");
    assert_eq!(person.run(&["audit", "prune", "--before", "400d", "--yes"]).ok(), "0 rows removed\n");
    assert!(person.run(&["audit", "prune", "--before", "400d"]).refused(2).contains("--yes"));
}

#[test]
fn a_row_that_cant_be_read_is_the_first_bad_one() {
    let person = Person::with_alice();
    for _ in 0..5 {
        person.run(&["code", "alice"]).ok();
    }
    person.tamper("UPDATE audit SET body = x'7A7A' WHERE place = 5");

    let found = person.run(&["audit", "verify"]);
    assert_eq!(found.status, 1);
    assert!(format!("{found:?}").contains("row 5 was changed"), "{found:?}");
}

#[test]
fn a_list_has_as_many_rows_as_a_page_may_have() {
    let person = Person::with_alice();
    person.run(&["audit", "list", "--limit", "1000"]).ok();
    assert_eq!(person.run(&["audit", "list", "--limit", "0", "--json"]).json()["rows"], serde_json::json!([]));

    insta::assert_snapshot!(person.run(&["audit", "list", "--limit", "1001"]).refused(2),
        @"error: --limit must be 0 to 1000; `countersign audit export` has every row");
}

#[tokio::test]
async fn an_export_and_a_list_go_over_many_pages() {
    let person = Person::with_vault();
    let vault = person.open().await;
    let account = Some(vault.status().default_account);
    for batch in 0..5_u64 {
        let row = |nth| AuditEntry {
            account,
            step: Some(Step(batch * 700 + nth)),
            ..AuditEntry::by(Actor::Person, Action::CodeGet, SystemClock.now())
        };
        vault.record((0..700).map(row).collect()).await.unwrap();
    }
    vault.close().await.unwrap();

    let lines = person.run(&["audit", "export", "--action", "code.get"]).ok();
    let steps = |rows: &[Value]| rows.iter().map(|row| row["step"].as_u64().unwrap()).collect::<Vec<_>>();
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(steps(&rows), (0..3500).collect::<Vec<_>>());
    let document = person.run(&["audit", "export", "--action", "code.get", "--json"]).json();
    assert_eq!(document, serde_json::json!({"rows": rows, "status": "OK"}));

    let newest = person.run(&["audit", "list", "--limit", "1000", "--json"]).json();
    assert_eq!(person.run(&["audit", "export"]).ok().lines().count(), 3501);
    assert_eq!(steps(newest["rows"].as_array().unwrap()), (2500..3500).collect::<Vec<_>>());
    // The only row of its kind is several pages behind the newest ones.
    let oldest = person.run(&["audit", "list", "--all-accounts", "--action", "vault.create", "--json"]).json();
    assert_eq!((oldest["rows"].as_array().unwrap().len(), &oldest["rows"][0]["seq"]), (1, &1.into()));
}

#[test]
fn an_anchor_from_before_there_were_chains_still_vouches() {
    let person = Person::with_alice();
    let anchor = person.run(&["audit", "head"]).json();
    assert_eq!(anchor["chain"], 0);
    let old = serde_json::json!({"seq": anchor["seq"], "mac": anchor["mac"], "at": anchor["at"]}).to_string();

    let found = person.fed(&old, &["audit", "verify", "--anchors", "-", "--json"]).json();

    assert_eq!((&found["valid"], &found["anchors"], &found["anchors_compared"]), (&true.into(), &1.into(), &1.into()));
    assert_eq!((&found["head"]["chain"], &found["head"]["seq"]), (&0.into(), &anchor["seq"]));
}

#[cfg(target_os = "linux")]
#[test]
fn a_head_names_only_rows_that_a_power_cut_leaves_whoever_wrote_them() {
    let person = Person::with_alice();
    let database = person.database();
    // While this is open, other processes' writes stay in the log.
    database.execute_batch("BEGIN; SELECT count(*) FROM record").unwrap();
    person.run(&["code", "alice"]).ok();

    let refused = person.on_a_failing_disk("sync", &["audit", "head"]);

    assert!(refused.status == 1 && refused.out.is_empty(), "{refused:?}");
    assert!(person.run(&["audit", "head"]).ok().contains("\"seq\":3"));
    // A command that committed nothing has nothing to sync.
    assert_eq!(person.on_a_failing_disk("sync", &["secret", "list"]).status, 0);
}
