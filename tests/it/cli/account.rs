//! `countersign account`.

use countersign::store::Kind;

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
    person.tamper_record(Kind::Account, 1, "sort = sort + 1");

    let listed = person.run(&["account", "list"]);
    insta::assert_snapshot!(redacted(&listed.out), @r"
    NAME  CREATED
    default  AT
    umbrella  AT
    ");
    assert_eq!(listed.status, 0, "{listed:?}");
    assert!(listed.err.contains("the vault is damaged: account ") && !listed.err.contains("acme"), "{listed:?}");
    assert!(person.run(&["vault", "doctor"]).out.contains("problem: account "));

    person.run(&["seat", "list", "--account", "umbrella"]).ok();
    let refused = person.run(&["account", "rm", "acme", "--yes"]).refused(1);
    assert!(refused.contains("the vault is damaged: account ") && !refused.contains("no account"), "{refused}");
    // Working in the damaged account reports the damage; naming another account, which may be the damaged one, does
    // too.
    let refused = person.run(&["seat", "list", "--account", "acme"]).refused(78);
    assert!(refused.contains("vault.db is damaged or no vault: account "), "{refused}");
    person.tamper("DELETE FROM record_name WHERE kind = 2");
    for account in ["acme", "default", "umbrella"] {
        let refused = person.run(&["seat", "list", "--account", account]).refused(78);
        assert!(refused.contains("vault.db is damaged or no vault: account "), "{refused}");
    }
}

#[test]
fn an_account_that_is_not_found_by_its_name_any_more_is_damage_and_not_absent() {
    let person = Person::with_alice();
    person.tamper("DELETE FROM record_name WHERE kind = 2");
    let refused = person.run(&["secret", "list"]).refused(78);
    assert!(refused.contains("vault.db is damaged or no vault: an account is not where it should be"), "{refused}");
    assert!(person.run(&["secret", "list", "--account", "acme"]).refused(1).contains("no account of this name"));

    let person = Person::with_alice();
    person.tamper("DELETE FROM record WHERE kind = 2");
    for account in ["default", "acme"] {
        let refused = person.run(&["secret", "list", "--account", account]).refused(78);
        assert!(refused.contains("an account is not where it should be"), "{refused}");
    }
}

#[test]
fn names_of_accounts_that_differ_only_in_case_are_refused() {
    let person = Person::with_vault();
    person.run(&["account", "add", "Straße"]).ok();
    for name in ["Default", "DEFAULT", "straße", "STRAßE"] {
        let refused = person.run(&["account", "add", name]).refused(1);
        assert!(refused.contains("upper and lower case") && refused.contains("account list"), "{name}: {refused}");
    }
    let same = person.run(&["account", "add", "default"]).refused(1);
    assert!(!same.contains("case"), "{same}");
    assert_eq!(person.run(&["account", "list"]).ok().lines().count(), 3);
}
