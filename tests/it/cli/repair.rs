//! `countersign vault doctor --repair`.

use countersign::store::Kind;
use serde_json::Value;

use super::{Person, text_of};
use crate::kit::RFC_SEED;

/// A person with two secrets and a backup, whose vault is then damaged: a seed, a row of the audit log, and an index.
fn damaged() -> (Person, String) {
    let person = Person::with_alice();
    person.fed(RFC_SEED, &["secret", "add", "--label", "bob", "--stdin", "--allow-duplicate"]).ok();
    person.run(&["vault", "backup", "countersign.backup"]).ok();
    let shown = person.run(&["secret", "show", "alice", "--json"]).json();
    let id = text_of(&shown, "/totp_secret/id").to_owned();
    person.tamper_record(Kind::Seed, 0, "body = zeroblob(100)");
    person.tamper("UPDATE audit SET body = zeroblob(4) WHERE place = 3; DELETE FROM record_word");
    (person, id)
}

#[test]
fn a_damaged_vault_is_repaired_once_a_person_agrees_and_says_row_by_row_what_was_done() {
    let (person, id) = damaged();
    let found = person.run(&["vault", "doctor"]);
    assert!(found.err.contains("`countersign vault doctor --repair` repairs what can be"), "{found:?}");

    let asked = person.run(&["vault", "doctor", "--repair"]).refused(2);
    assert!(asked.contains("would do: row 3 of the audit log: fenced off") && asked.contains("--yes"), "{asked}");
    assert_eq!(person.run(&["vault", "doctor"]).out, found.out, "nothing was changed");

    let first = person.run(&["vault", "doctor", "--repair", "--yes"]);
    assert_eq!(first.status, 1, "{first:?}");
    assert!(first.out.contains("row 3 of the audit log: fenced off\n"), "{first:?}");
    assert!(first.out.contains(&format!("can't be repaired: seed of secret {id}: ")), "{first:?}");
    assert!(first.out.contains("copy of what it was: ") && first.err.contains("--from BACKUP"), "{first:?}");
    assert!(person.run(&["audit", "verify"]).ok().contains("; damaged and fenced off: rows 3\n"));

    let again = person.run(&["vault", "doctor", "--repair", "--yes"]);
    assert_eq!((again.status, again.out.contains("copy of")), (1, false), "there is nothing more to do: {again:?}");

    let repair = ["vault", "doctor", "--repair", "--from", "countersign.backup", "--yes", "--json"];
    let done = person.run(&repair).json();
    let repaired = done["repaired"].as_array().unwrap();
    let of_secret = repaired.iter().find(|mended| text_of(mended, "/what").contains(&id)).unwrap();
    assert!(text_of(of_secret, "/how").contains("its seed was restored from the backup"), "{done}");
    assert_eq!((&done["left"], text_of(&done, "/status")), (&Value::Array(Vec::new()), "OK"));
    assert_eq!(crate::sqlite::mode_of(std::path::Path::new(text_of(&done, "/copy"))), 0o600);

    person.run(&["vault", "doctor"]).ok();
    assert_eq!(person.run(&["vault", "doctor", "--repair"]).ok(), "sound: nothing to repair\n");
    let nothing = person.run(&repair).json();
    assert_eq!((&nothing["copy"], &nothing["repaired"]), (&Value::Null, &Value::Array(Vec::new())));
    let busy = person.run(&["code", "alice", "--max-wait", "1"]).refused(1);
    assert!(busy.contains("a code is free in"), "steps of two minutes count as used: {busy}");
    person.run(&["code", "bob"]).ok();
    let rows = person.run(&["audit", "list", "--action", "vault.repair", "--json"]).json();
    assert_eq!(rows["rows"].as_array().unwrap().len(), 3, "two repairs, and the secret: {rows}");
    let verified = person.run(&["audit", "verify", "--json"]).json();
    assert_eq!(verified["fenced"], serde_json::json!([{"first": 3, "last": 3}]));
}

#[test]
fn a_seed_whose_secret_is_lost_can_be_removed() {
    let (person, id) = damaged();
    person.tamper(&format!("DELETE FROM record WHERE kind = 3 AND id = X'{}'", id.replace('-', "")));
    person.run(&["vault", "doctor", "--repair", "--yes"]);
    assert_eq!(person.run(&["secret", "rm", &id, "--now", "--yes"]).ok(), "erased\n");
    person.run(&["vault", "doctor"]).ok();
}

#[test]
fn a_vault_that_does_not_open_is_repaired_too_or_the_remedy_is_named() {
    let (person, _) = damaged();
    let file = text_of(&person.run(&["vault", "status", "--json"]).json(), "/location").to_owned();
    let mut bytes = std::fs::read(&file).unwrap();
    // The first page holds the roots by which all other pages are found.
    bytes[..100].fill(0);
    std::fs::write(&file, &bytes).unwrap();
    let refused = person.run(&["vault", "doctor", "--repair", "--from", "countersign.backup", "--yes"]).refused(78);
    assert!(refused.contains("Nothing was changed") && refused.contains("vault restore"), "{refused}");
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    person.run(&["vault", "restore", "countersign.backup", "--yes"]).ok();
    person.run(&["vault", "doctor"]).ok();
}

#[test]
fn flags_of_a_repair_stand_beside_repair_alone() {
    let person = Person::with_vault();
    for flags in [&["--yes"][..], &["--from", "countersign.backup"]] {
        assert!(person.run(&[&["vault", "doctor"], flags].concat()).refused(2).contains("--repair"));
    }
}
