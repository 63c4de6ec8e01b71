//! `countersign vault`.

use super::{Person, text_of};

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

    insta::assert_snapshot!(person.run(&["vault", "doctor"]).ok(), @"sound: 1 secrets and 2 rows of the trail examined");
    insta::assert_snapshot!(person.run(&["vault", "doctor", "--json"]).ok(),
        @r#"{"problems":[],"secrets":1,"trail_rows":2,"erased":0,"status":"OK"}"#);
}
