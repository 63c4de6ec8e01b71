//! `countersign vault`.

use countersign::store::Kind;

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

#[test]
fn a_sound_vault_is_called_sound() {
    let person = Person::with_alice();

    insta::assert_snapshot!(person.run(&["vault", "doctor"]).ok(), @"sound: 1 secret and 2 rows of the audit log examined");
    insta::assert_snapshot!(person.run(&["vault", "doctor", "--json"]).ok(),
        @r#"{"problems":[],"secrets":1,"trail_rows":2,"erased":0,"status":"OK"}"#);
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
    let expected = format!("secret {id}: it was changed without the vault's key");
    assert_eq!(document.pointer("/problems"), Some(&serde_json::json!([expected])));
    assert_eq!(person.run(&["vault", "doctor"]).status, 1);

    // The seed is still there once the record is as it was.
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
        assert!(found.out.ends_with("not sound: 1 secret and 2 rows of the audit log examined\n"), "{found:?}");
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
    person.run(&["code", "bob"]).ok();
}

#[test]
fn a_vault_that_cant_be_written_is_not_called_damaged() {
    let person = Person::with_alice();
    // What a full disk would refuse, this number can't take.
    person.tamper("UPDATE probe SET probed = 9223372036854775807");

    let found = person.run(&["vault", "doctor"]);

    assert_eq!(found.status, 1);
    assert!(found.out.starts_with("obstacle: ") && found.out.contains("no damage found: 1 secret"), "{}", found.out);
    assert!(!found.err.contains("backup") && found.err.contains("run it again"), "{}", found.err);
}
