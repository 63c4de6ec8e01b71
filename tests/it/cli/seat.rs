//! `countersign seat`.

use countersign::store::Kind;

use super::{Person, redacted, text_of};

#[test]
fn a_seat_has_the_mirrored_apis_fields_and_ours_beside_them() {
    let person = Person::new();

    let added = person
        .run(&["seat", "add", "--email", "ada@example.com", "--first-name", "Ada", "--auth-subject", "idp|7", "--json"])
        .json();

    assert_eq!(
        added.pointer("/seat").unwrap().as_object().unwrap().keys().collect::<Vec<_>>(),
        [
            "account",
            "auth_subject",
            "codes_per_hour",
            "created_at",
            "email",
            "first_name",
            "forwarding_number",
            "last_name",
            "seat_id"
        ]
    );
    assert_eq!(text_of(&added, "/seat/auth_subject"), "idp|7");
    assert!(added.pointer("/seat/codes_per_hour").unwrap().is_null());
    let listed = person.run(&["seat", "list", "--json"]).json();
    assert_eq!(listed.pointer("/seats/0"), added.pointer("/seat"));
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
    insta::assert_snapshot!(person.run(&["seat", "update", "ada@example.com"]).refused(2),
        @"error: say what to change: --email, --first-name, --last-name, --forwarding-number, --auth-subject, --codes-per-hour or --pin");
    assert!(person.run(&["seat", "rm", "ada@example.com"]).refused(2).contains("--yes"));
    assert_eq!(person.run(&["seat", "rm", "ada@example.com", "-y"]).ok(), "removed\n");
    assert_eq!(person.run(&["seat", "list", "--json"]).ok(), "{\"seats\":[],\"status\":\"OK\"}\n");
    insta::assert_snapshot!(person.run(&["seat", "show", "ada@example.com"]).refused(1),
        @"error: no such seat; `countersign seat list` shows what exists");
}

#[test]
fn seats_come_from_a_table_or_json() {
    let person = Person::new();
    let csv =
        person.file("people.csv", "email,first_name,auth_subject\nada@example.com,Ada,idp|1\nbob@example.com,,\n");

    assert_eq!(person.run(&["seat", "import", csv.to_str().unwrap()]).ok(), "2 seats added, 0 present\n");

    let json = r#"[{"email": "eve@example.com", "codes_per_hour": 9}]"#;
    assert_eq!(person.fed(json, &["seat", "import", "-", "--json"]).json().pointer("/imported"), Some(&1.into()));
    let listed = person.run(&["seat", "list", "--json"]).json();
    assert_eq!(listed.pointer("/seats").unwrap().as_array().unwrap().len(), 3);
}

#[test]
fn one_wrong_line_adds_nothing() {
    let person = Person::with_vault();
    person.run(&["seat", "add", "--email", "ada@example.com"]).ok();
    let csv =
        "email,forwarding_number\nbob@example.com,+14155550123\nbob@example.com,\nADA@example.com,\neve,\nx@y.z,0800\n";

    insta::assert_snapshot!(person.fed(csv, &["seat", "import", "-"]).refused(1), @r"
    error: nothing was added:
      line 3: its e-mail address or auth_subject exists already
      line 5: `email` must be an e-mail address such as ada@example.com
      line 6: `forwarding_number` must be an E.164 number such as +14155550123
    ");
    let listed = person.run(&["seat", "list", "--json"]).json();
    assert_eq!(listed.pointer("/seats").unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn seats_that_are_there_are_present_and_the_rest_is_added() {
    let person = Person::with_vault();
    person.run(&["seat", "add", "--email", "ada@example.com", "--first-name", "Ada"]).ok();
    person.run(&["seat", "add", "--email", "bob@example.com", "--auth-subject", "idp|2"]).ok();
    let csv = "email,first_name,auth_subject\nADA@example.com,Ada,\nbob@example.com,Bob,idp|2\neve@example.com,Eve,idp|3\n\
               Eve@example.com,Eve,idp|3\n";

    let first = person.fed(csv, &["seat", "import", "-"]);

    assert_eq!(first.out, "1 seat added, 3 present\n");
    insta::assert_snapshot!(first.err, @r"
    present: line 2, ADA@example.com
    present: line 3, bob@example.com, with other fields; `countersign seat update` changes them
    present: line 5, Eve@example.com
    ");
    let again = person.fed(csv, &["seat", "import", "-", "--json"]).json();
    let counts = ["/entries", "/imported", "/present"].map(|count| again.pointer(count).unwrap().as_u64().unwrap());
    assert_eq!(counts, [4, 0, 4]);
    let shown = person.run(&["seat", "show", "bob@example.com", "--json"]).json();
    assert!(shown.pointer("/seat/first_name").unwrap().is_null(), "an import changes no seat");

    // A line whose two fields belong to two seats is refused.
    insta::assert_snapshot!(person.fed("email,auth_subject\nada@example.com,idp|2\n", &["seat", "import", "-"]).refused(1), @r"
    error: nothing was added:
      line 2: its e-mail address or auth_subject exists already
    ");
}

/// An import is one commit, so a process that is killed leaves all of the seats or none.
#[test]
fn an_import_of_seats_is_one_change() {
    let person = Person::with_vault();
    let lines: Vec<String> = (0..500).map(|nth| format!("user{nth}@example.com")).collect();

    assert_eq!(
        person.fed(&format!("email\n{}\n", lines.join("\n")), &["seat", "import", "-"]).ok(),
        "500 seats added, 0 present\n"
    );

    let rows = person.run(&["audit", "list", "--action", "seat.add", "--limit", "1000", "--json"]).json();
    let rows = rows.pointer("/rows").unwrap().as_array().unwrap();
    let times: std::collections::BTreeSet<_> = rows.iter().map(|row| text_of(row, "/at")).collect();
    assert_eq!((rows.len(), times.len()), (500, 1));
}

#[test]
fn a_person_names_a_seat_by_its_address_wherever_one_is_named() {
    let person = Person::with_alice();
    let added = person.run(&["seat", "add", "--email", "ada@example.com", "--json"]).json();
    let (id, email) = (text_of(&added, "/seat/seat_id"), "ada@example.com");

    let code = person.run(&["code", "alice", "--seat", email, "--json"]).json();
    person.fed(text_of(&code, "/code"), &["verify", "alice", "--seat", email, "--stdin"]).ok();
    let key = person.run(&["key", "create", "--name", "ci", "--seat", email, "--json"]).json();
    assert_eq!(text_of(&key, "/seat_id"), id);
    assert_eq!(person.run(&["stdio", "--seat", email]).ok(), "");

    let rows = person.run(&["audit", "list", "--seat", email, "--json"]).json();
    let actions: Vec<_> =
        rows.pointer("/rows").unwrap().as_array().unwrap().iter().map(|row| text_of(row, "/action")).collect();
    assert_eq!(actions, ["seat.add", "code.get", "code.verify"]);
}

#[test]
fn a_removed_seat_is_found_on_the_trail_by_its_id() {
    let person = Person::with_alice();
    let added = person.run(&["seat", "add", "--email", "ada@example.com", "--json"]).json();
    person.run(&["code", "alice", "--seat", "ada@example.com"]).ok();
    person.run(&["seat", "rm", "ada@example.com", "--yes"]).ok();

    insta::assert_snapshot!(person.run(&["audit", "list", "--seat", "ada@example.com"]).refused(1),
        @"error: no seat has this id, auth_subject, e-mail address or name; rows know a seat that was removed by its whole id alone");
    let rows = person.run(&["audit", "list", "--seat", text_of(&added, "/seat/seat_id"), "--json"]).json();
    assert_eq!(rows.pointer("/rows").unwrap().as_array().unwrap().len(), 3);
}

#[test]
fn a_name_of_two_seats_lists_them_and_an_id_goes_first() {
    let person = Person::with_alice();
    let add =
        |email, subject| person.run(&["seat", "add", "--email", email, "--auth-subject", subject, "--json"]).json();
    let (ada, bob) = (add("ada@example.com", "bob@example.com"), add("bob@example.com", "idp|2"));

    for arguments in [
        vec!["seat", "show", "bob@example.com"],
        vec!["seat", "update", "bob@example.com", "--first-name", "Bob"],
        vec!["seat", "rm", "bob@example.com", "--yes"],
        vec!["code", "alice", "--seat", "bob@example.com"],
        vec!["stdio", "--seat", "bob@example.com"],
    ] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(redacted(&person.run(&arguments).refused(1)), @r"
            error: this names 2 seats; use the id of the one you mean:
            ID  ada@example.com  bob@example.com
            ID  bob@example.com  idp|2
            ");
        }
    }
    for seat in [ada, bob] {
        let shown = person.run(&["seat", "show", text_of(&seat, "/seat/seat_id"), "--json"]).json();
        assert_eq!(shown, seat);
    }
}

#[test]
fn an_auth_subject_is_not_another_seats_id() {
    let person = Person::new();
    let ada = person.run(&["seat", "add", "--email", "ada@example.com", "--json"]).json();
    let id = text_of(&ada, "/seat/seat_id").to_uppercase();
    person.run(&["seat", "add", "--email", "bob@example.com"]).ok();

    let refused = person.run(&["seat", "add", "--email", "eve@example.com", "--auth-subject", &id]).refused(2);
    insta::assert_snapshot!(refused, @"error: --auth-subject must not be the id of another seat");
    assert_eq!(person.run(&["seat", "update", "bob@example.com", "--auth-subject", &id]).refused(2), refused);
    let csv = format!("email,auth_subject\neve@example.com,{id}\n");
    insta::assert_snapshot!(person.fed(&csv, &["seat", "import", "-"]).refused(1), @r"
    error: nothing was added:
      line 2: `auth_subject` must not be the id of another seat
    ");

    // A provider's subjects may be UUIDs, and a seat may have its own id as its subject.
    person.run(&["seat", "update", "ada@example.com", "--auth-subject", &id]).ok();
    person.run(&["seat", "update", "bob@example.com", "--auth-subject", "01900000-0000-7000-8000-000000000001"]).ok();
}

#[test]
fn a_field_that_is_named_twice_is_refused_by_entry() {
    let person = Person::with_vault();
    let json = r#"[{"email": "ada@example.com"}, {"email": "bob@example.com", "email": "eve@example.com"}]"#;

    insta::assert_snapshot!(person.fed(json, &["seat", "import", "-"]).refused(1),
        @"error: entry 2: `email` is named twice");
    assert_eq!(person.run(&["seat", "list", "--json"]).ok(), "{\"seats\":[],\"status\":\"OK\"}\n");
}

#[test]
fn a_damaged_seat_does_not_hide_the_others() {
    let person = Person::with_alice();
    let add = |email, subject| {
        let added = person.run(&["seat", "add", "--email", email, "--auth-subject", subject, "--json"]).json();
        text_of(&added, "/seat/seat_id").to_owned()
    };
    let (ada, bob) = (add("ada@example.com", "idp|1"), add("bob@example.com", "idp|2"));
    person.tamper_record(Kind::Seat, 0, "sort = sort + 1");

    let listed = person.run(&["seat", "list"]);
    assert_eq!(listed.status, 0, "{listed:?}");
    assert!(listed.out.contains(&bob) && !listed.out.contains(&ada) && !listed.out.contains("ada@"), "{listed:?}");
    assert!(listed.err.contains(&format!("seat {ada}: it was changed")), "{listed:?}");
    assert!(!listed.err.contains("ada@"), "{listed:?}");
    let doctor = person.run(&["vault", "doctor"]);
    assert_eq!(doctor.status, 1);
    assert!(doctor.out.contains(&format!("problem: seat {ada}: it was")), "{doctor:?}");

    // A request for the damaged seat fails with the damage, not with `not_found`.
    for name in [ada.as_str(), "ada@example.com", "idp|1"] {
        for arguments in [vec!["seat", "show", name], vec!["code", "alice", "--seat", name]] {
            let refused = person.run(&arguments).refused(1);
            assert!(
                refused.contains("the vault is damaged: seat ") && !refused.contains("no such seat"),
                "{arguments:?}: {refused}"
            );
        }
    }
    // An import is all or nothing, and can't know the name of the damaged seat.
    let csv = "email\neve@example.com\nada@example.com\n";
    assert!(person.fed(csv, &["seat", "import", "-"]).refused(1).contains("the vault is damaged: seat "));
    person.run(&["seat", "show", "eve@example.com"]).refused(1);
}

#[test]
fn a_seat_that_is_named_by_words_is_no_refusal() {
    let person = Person::new();
    person.run(&["seat", "add", "--email", "ada@example.com", "--first-name", "Ada", "--last-name", "Lovelace"]).ok();
    assert!(person.run(&["seat", "show", "lovelace"]).ok().contains("ada@example.com"));
    person.run(&["seat", "show", "grace"]).refused(1);
    let rows = person.run(&["audit", "list", "--json"]).json();
    let outcomes: Vec<_> = rows["rows"].as_array().unwrap().iter().map(|row| text_of(row, "/outcome")).collect();
    assert_eq!(outcomes, ["ok", "ok", "not_found"], "making, adding, and the name that nobody has: {rows}");
}

#[test]
fn no_codes_an_hour_are_asked_for_by_leaving_the_limit_out() {
    let person = Person::with_vault();
    let add = |most: &str| person.run(&["seat", "add", "--email", "ada@example.com", "--codes-per-hour", most]);
    assert!(add("0").refused(2).contains("leave it out for no limit"));
    person.file("seats.csv", "email,codes_per_hour\nbob@example.com,0\n");
    assert!(person.run(&["seat", "import", "seats.csv"]).refused(1).contains("leave it out for no limit"));
    add("5").ok();
    let shown = person.run(&["seat", "update", "ada@example.com", "--codes-per-hour", "0", "--json"]).json();
    assert_eq!(shown["seat"]["codes_per_hour"], serde_json::Value::Null, "what is there is removed by 0");
}
