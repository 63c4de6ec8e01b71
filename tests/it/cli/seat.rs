//! `countersign seat`.

use super::{Person, redacted, text_of};

#[test]
fn a_seat_is_kept_as_the_mirrored_api_shows_it() {
    let person = Person::new();

    let added = person
        .run(&["seat", "add", "--email", "ada@example.com", "--first-name", "Ada", "--auth-subject", "idp|7", "--json"])
        .json();

    assert_eq!(
        added.pointer("/seat").unwrap().as_object().unwrap().keys().collect::<Vec<_>>(),
        ["account", "created_at", "email", "first_name", "forwarding_number", "last_name", "seat_id"]
    );
    let id = text_of(&added, "/seat/seat_id");
    for name in [id, "idp|7", "ada@example.com"] {
        assert_eq!(person.run(&["seat", "show", name, "--json"]).json(), added);
    }
    insta::assert_snapshot!(redacted(&person.run(&["seat", "list"]).ok()), @r"
    ID  EMAIL  NAME  AUTH SUBJECT  CREATED
    ID  ada@example.com  Ada  idp|7  AT
    ");
}

#[test]
fn a_seat_is_changed_and_removed() {
    let person = Person::new();
    person.run(&["seat", "add", "--email", "ada@example.com", "--first-name", "Ada"]).ok();

    person.run(&["seat", "update", "ada@example.com", "--first-name", "", "--codes-per-hour", "5"]).ok();

    insta::assert_snapshot!(redacted(&person.run(&["seat", "show", "ada@example.com"]).ok()), @r"
    seat_id  ID
    account  default
    email  ada@example.com
    first name  -
    last name  -
    forwarding number  -
    auth subject  -
    codes per hour  5
    created  AT
    ");
    assert!(person.run(&["seat", "rm", "ada@example.com"]).refused(2).contains("--yes"));
    assert_eq!(person.run(&["seat", "rm", "ada@example.com", "-y"]).ok(), "removed\n");
    assert_eq!(person.run(&["seat", "list", "--json"]).ok(), "{\"seats\":[],\"status\":\"OK\"}\n");
    insta::assert_snapshot!(person.run(&["seat", "show", "ada@example.com"]).refused(1),
        @"error: no such seat; list what exists to find its id");
}

#[test]
fn seats_come_from_a_table_or_json() {
    let person = Person::new();
    let csv =
        person.file("people.csv", "email,first_name,auth_subject\nada@example.com,Ada,idp|1\nbob@example.com,,\n");

    assert_eq!(person.run(&["seat", "import", csv.to_str().unwrap()]).ok(), "2 seats added\n");

    let json = r#"[{"email": "eve@example.com", "codes_per_hour": 9}]"#;
    assert_eq!(person.fed(json, &["seat", "import", "-", "--json"]).json().pointer("/imported"), Some(&1.into()));
    let listed = person.run(&["seat", "list", "--json"]).json();
    assert_eq!(listed.pointer("/seats").unwrap().as_array().unwrap().len(), 3);
}

#[test]
fn one_wrong_line_adds_nothing() {
    let person = Person::new();
    person.run(&["seat", "add", "--email", "ada@example.com"]).ok();
    let csv =
        "email,forwarding_number\nbob@example.com,+14155550123\nADA@example.com,\nbob@example.com,\neve,\nx@y.z,0800\n";

    insta::assert_snapshot!(person.fed(csv, &["seat", "import", "-"]).refused(1), @r"
    error: nothing was added:
      line 3: its e-mail address or auth_subject exists already
      line 4: its e-mail address or auth_subject exists already
      line 5: `email` must be an e-mail address such as ada@example.com
      line 6: `forwarding_number` must be an E.164 number such as +14155550123
    ");
    let listed = person.run(&["seat", "list", "--json"]).json();
    assert_eq!(listed.pointer("/seats").unwrap().as_array().unwrap().len(), 1);
}
