//! `countersign account`.

use super::{Person, redacted};

#[test]
fn an_account_is_added_worked_in_and_removed() {
    let person = Person::with_alice();

    insta::assert_snapshot!(redacted(&person.run(&["account", "add", "acme"]).ok()), @r"
    name  acme
    created  AT
    ");
    person.run(&["account", "add", "acme"]).refused(1);
    assert_eq!(person.run(&["--account", "acme", "secret", "list"]).ok(), "");
    insta::assert_snapshot!(redacted(&person.run(&["account", "list"]).ok()), @r"
    NAME  CREATED
    default  AT
    acme  AT
    ");
    assert!(person.run(&["account", "rm", "acme"]).refused(2).contains("--yes"));
    assert_eq!(person.run(&["account", "rm", "acme", "--yes"]).ok(), "removed\n");
    insta::assert_snapshot!(person.run(&["secret", "list", "--account", "acme"]).refused(1),
        @"error: there is no account of this name; `countersign account list` shows what exists, and `countersign account add` makes one");
    insta::assert_snapshot!(person.run(&["account", "rm", "default", "--yes"]).refused(1),
        @"error: the account `default` can't be removed");
}
