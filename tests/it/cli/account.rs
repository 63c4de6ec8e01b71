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

#[test]
fn a_damaged_account_does_not_hide_the_others() {
    let person = Person::with_alice();
    for name in ["acme", "umbrella"] {
        person.run(&["account", "add", name]).ok();
    }
    person.tamper("UPDATE account SET created_at = 1 WHERE name = 'acme'");

    let listed = person.run(&["account", "list"]);
    insta::assert_snapshot!(redacted(&listed.out), @r"
    NAME  CREATED
    default  AT
    umbrella  AT
    ");
    assert_eq!(listed.status, 0, "{listed:?}");
    assert!(listed.err.contains("a record of account is damaged: ") && !listed.err.contains("acme"), "{listed:?}");
    assert!(person.run(&["vault", "doctor"]).out.contains("problem: a record of account is damaged: "));

    person.run(&["seat", "list", "--account", "umbrella"]).ok();
    for arguments in [vec!["seat", "list", "--account", "acme"], vec!["account", "rm", "acme", "--yes"]] {
        let refused = person.run(&arguments).refused(1);
        assert!(refused.contains("internal error") && !refused.contains("no account"), "{refused}");
    }
}
