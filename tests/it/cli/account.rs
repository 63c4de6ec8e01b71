//! `countersign account`.

use super::{Person, redacted};
use crate::kit::RFC_SEED;

#[test]
fn an_account_with_secrets_stays_and_says_what_to_do() {
    let person = Person::new();
    person.run(&["account", "add", "acme"]).ok();
    let there = |arguments: &[&str]| {
        let all: Vec<&str> = ["--account", "acme"].into_iter().chain(arguments.iter().copied()).collect();
        person.fed(RFC_SEED, &all)
    };
    there(&["secret", "add", "--label", "alice", "--stdin"]).ok();

    let live = person.run(&["account", "rm", "acme", "--yes"]).refused(1);
    insta::assert_snapshot!(live,
        @"error: the account has secrets, or deleted ones that can still be restored; `secret list` and `secret list --deleted` with `--account` show them, and `secret rm ID --now` erases one for good");
    there(&["secret", "rm", "alice", "--yes"]).ok();
    assert_eq!(person.run(&["account", "rm", "acme", "--yes"]).refused(1), live);
    there(&["secret", "restore", "alice"]).ok();

    there(&["secret", "rm", "alice", "--yes", "--now"]).ok();
    assert_eq!(person.run(&["account", "rm", "acme", "--yes"]).ok(), "removed\n");
}

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
