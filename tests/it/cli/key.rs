//! `countersign key`.

use countersign::store::Kind;

use super::{Person, redacted, text_of};

#[test]
fn a_key_is_shown_once() {
    let person = Person::with_alice();

    let ran = person.run(&["key", "create", "--name", "ci", "--secret", "alice", "--expires", "90d", "--json"]);
    insta::assert_snapshot!(ran.err, @"The key is shown this once; only a hash of it is kept.");
    let made = ran.json();

    let (id, secret, token) = (text_of(&made, "/key_id"), text_of(&made, "/key_secret"), text_of(&made, "/token"));
    assert_eq!(token, format!("cs_{id}_{secret}"));
    assert_eq!(made.pointer("/scopes"), Some(&serde_json::json!(["codes:read", "secrets:read", "seats:read"])));
    assert_eq!(made.pointer("/secrets").unwrap().as_array().unwrap().len(), 1);
    assert_eq!(text_of(&made, "/name"), "ci");
    for arguments in [vec!["key", "list"], vec!["key", "list", "--json"], vec!["audit", "export"]] {
        assert!(!person.run(&arguments).ok().contains(secret));
    }
}

#[test]
fn keys_are_listed_and_revoked() {
    let person = Person::with_vault();
    let none = person.run(&["key", "list"]);
    insta::assert_snapshot!(none.err, @"No keys yet; `countersign key create --name NAME` makes one.");
    let made = person.run(&["key", "create", "--name", "ci", "--scope", "audit:read,codes:read", "--json"]).json();
    let id = text_of(&made, "/key_id");

    assert_eq!(person.run(&["key", "revoke", id, "--yes"]).ok(), "revoked\n");

    let listed = person.run(&["key", "list"]).ok().replace(id, "KEY");
    insta::assert_snapshot!(redacted(&listed), @r"
    ID  NAME  STATE  SCOPES  SECRETS  SEAT  CODES/HOUR  CREATED  LAST USED  EXPIRES
    KEY  ci  revoked  codes:read,audit:read  all  -  -  AT  -  -
    ");
    assert_eq!(person.run(&["key", "revoke", id, "--yes"]).ok(), "already revoked\n");
    person.run(&["key", "revoke", "abcdefghijkl", "--yes"]).refused(1);
    person.run(&["key", "revoke", "abc"]).refused(1);
}

#[test]
fn a_key_is_revoked_by_its_name_and_one_that_works_goes_first() {
    let person = Person::new();
    let made = |name| text_of(&person.run(&["key", "create", "--name", name, "--json"]).json(), "/key_id").to_owned();
    made("ci");
    assert_eq!(person.run(&["key", "revoke", "CI", "--yes"]).ok(), "revoked\n");
    assert_eq!(person.run(&["key", "revoke", "ci", "--yes"]).ok(), "already revoked\n");

    let again = made("ci");
    assert_eq!(person.run(&["key", "revoke", "ci", "--yes"]).ok(), "revoked\n");
    let keys = person.run(&["key", "list", "--json"]).json();
    assert!(keys.pointer("/keys").unwrap().as_array().unwrap().iter().all(|key| key["revoked_at"].is_string()));

    let (one, two) = (made("build agent"), made("build server"));
    let refused = person.run(&["key", "revoke", "build"]).refused(1);
    assert!(
        refused.starts_with("error: this names 2 keys") && refused.contains(&one) && refused.contains(&two),
        "{refused}"
    );
    assert!(!refused.contains(&again));
}

#[test]
fn a_damaged_key_is_listed_beside_the_others_and_revoked() {
    let person = Person::new();
    let made = |name| text_of(&person.run(&["key", "create", "--name", name, "--json"]).json(), "/key_id").to_owned();
    let (damaged, sound) = (made("ci"), made("laptop"));
    person.tamper(&format!("UPDATE record SET sort = sort + 1 WHERE id = CAST('{damaged}' AS BLOB)"));

    let ran = person.run(&["key", "list"]);
    insta::assert_snapshot!(redacted(&ran.err.replace(&damaged, "KEY")),
        @"1 damaged key, which lets nobody in; `countersign key revoke --damaged` removes it.");
    insta::assert_snapshot!(redacted(&ran.ok().replace(&damaged, "DAMAGED").replace(&sound, "SOUND")), @r"
    ID  NAME  STATE  SCOPES  SECRETS  SEAT  CODES/HOUR  CREATED  LAST USED  EXPIRES
    SOUND  laptop  active  codes:read,secrets:read,seats:read  all  -  -  AT  -  -
    DAMAGED  -  damaged  -  -  -  -  -  -  -
    ");
    let listed = person.run(&["key", "list", "--json"]).json();
    assert_eq!(listed.pointer("/damaged"), Some(&serde_json::json!([damaged])));
    assert_eq!(listed.pointer("/keys").unwrap().as_array().unwrap().len(), 1);
    let doctor = person.run(&["vault", "doctor"]);
    assert_eq!(doctor.status, 1);
    assert!(doctor.out.contains(&format!("problem: key {damaged}: it was")), "{doctor:?}");

    assert_eq!(person.run(&["key", "revoke", &damaged, "--yes"]).ok(), "revoked\n");

    assert_eq!(person.run(&["key", "list", "--json"]).json().pointer("/damaged"), None);
    person.run(&["vault", "doctor"]).ok();
}

#[test]
fn a_key_that_is_called_deleted_without_the_vaults_key_is_listed_as_damaged() {
    let person = Person::new();
    let made = person.run(&["key", "create", "--name", "ci", "--json"]).json();
    person.tamper_record(Kind::ApiKey, 0, "life = 1");

    let listed = person.run(&["key", "list", "--json"]).json();

    assert_eq!(listed["damaged"], serde_json::json!([made["key_id"]]));
}

#[test]
fn damaged_keys_are_removed_together_whatever_became_of_their_ids() {
    let person = Person::new();
    let made = |name| text_of(&person.run(&["key", "create", "--name", name, "--json"]).json(), "/key_id").to_owned();
    let [sound, scopes, id, bytes, account] = ["laptop", "ci", "phone", "tablet", "desk"].map(made);
    let set = |what: &str, key: &str| format!("UPDATE record SET {what} WHERE id = CAST('{key}' AS BLOB);");
    // The key that is moved to another account is counted there.
    let counts = "UPDATE record_count SET n = n - 1 WHERE kind = 8; \
                  INSERT INTO record_count (kind, account, life, n) VALUES (8, zeroblob(16), 0, 1);";
    person.tamper(&format!(
        "{counts} {} {} {} {}",
        set("sort = sort + 1", &scopes),
        set("id = x'657665'", &id),
        set("id = x'FF'", &bytes),
        set("account = zeroblob(16)", &account),
    ));
    let doctor = person.run(&["vault", "doctor"]);
    assert_eq!(doctor.out.matches("problem: key: it was changed").count(), 2, "{doctor:?}");
    insta::assert_snapshot!(person.run(&["key", "list"]).err,
        @"4 damaged keys, which let nobody in; `countersign key revoke --damaged` removes them.");

    assert_eq!(person.run(&["key", "revoke", "--damaged"]).ok(), "4 keys revoked\n");

    let listed = person.run(&["key", "list", "--json"]).json();
    assert_eq!(listed.pointer("/damaged"), None);
    assert_eq!(text_of(&listed, "/keys/0/key_id"), sound);
    person.run(&["vault", "doctor"]).ok();
    let trail = person.run(&["audit", "list", "--action", "key.revoke", "--json"]).json();
    assert_eq!(trail.pointer("/rows").unwrap().as_array().unwrap().len(), 4, "a row for each");
    assert_eq!(person.run(&["key", "revoke", "--damaged", "--json"]).ok(), "{\"revoked\":0,\"status\":\"OK\"}\n");
    for wrong in [vec!["key", "revoke"], vec!["key", "revoke", &sound, "--damaged"]] {
        person.run(&wrong).refused(2);
    }
}

#[test]
fn wrong_wishes_are_refused() {
    let person = Person::with_alice();
    let refused = |arguments: &[&str], status| {
        let all: Vec<&str> = ["key", "create", "--name", "ci"].into_iter().chain(arguments.iter().copied()).collect();
        person.run(&all).refused(status)
    };

    insta::assert_snapshot!(refused(&["--scope", "codes:write"], 2),
        @"error: --scope takes one or more of codes:read, codes:verify, codes:fill, codes:decoy, secrets:read, secrets:write, seats:read, audit:read");
    assert!(refused(&["--expires", "soon"], 2).contains("--expires must be a time"));
    assert!(refused(&["--expires", "2020-01-01"], 2).contains("--expires must lie ahead"));
    for at_once in ["0d", "0s"] {
        assert!(refused(&["--expires", at_once], 2).contains("--expires must lie ahead"));
    }
    assert!(refused(&["--secret", "eve"], 1).contains("no secret has this id"));
    assert!(refused(&["--seat", "eve"], 1).contains("no such seat"));
    assert!(refused(&["--codes-per-hour", "0"], 2).contains("--codes-per-hour must be 1 to 3600"));
}

#[test]
fn without_a_terminal_a_key_is_revoked_with_yes_alone() {
    let person = Person::new();
    person.run(&["key", "create", "--name", "ci"]).ok();
    assert!(person.run(&["key", "revoke", "ci"]).refused(2).contains("--yes"));
    assert_eq!(person.run(&["key", "revoke", "ci", "-y"]).ok(), "revoked\n");
}

#[test]
fn what_removes_something_takes_whole_words() {
    let person = Person::with_alice();
    person.run(&["key", "create", "--name", "laptop office"]).ok();
    person.run(&["seat", "add", "--email", "solo@example.com", "--first-name", "Ada"]).ok();
    for part in [
        &["secret", "rm", "lic", "--yes"][..],
        &["secret", "rm", "git", "--now", "--yes"],
        &["secret", "reset-steps", "git", "--yes"],
        &["key", "revoke", "lap", "--yes"],
        &["seat", "rm", "ol", "--yes"],
    ] {
        person.run(part).refused(1);
    }
    person.run(&["code", "lic"]).ok();
    person.run(&["secret", "reset-steps", "github", "--yes"]).ok();
    person.run(&["secret", "rm", "GitHub", "Alice", "--yes"]).ok();
    person.run(&["key", "revoke", "office", "--yes"]).ok();
    person.run(&["seat", "rm", "ada", "--yes"]).ok();
}
