//! `countersign code` and `countersign verify`.

use super::{Person, text_of};

#[test]
fn a_code_in_a_pipe_is_its_digits_alone() {
    let person = Person::with_alice();

    let shown = person.run(&["code", "alice"]).ok();

    // A program gets the digits alone.
    let code = shown.strip_suffix('\n').unwrap();
    assert!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()), "{shown}");
    let document = person.run(&["code", "alice", "--json"]).json();
    assert_eq!(document.as_object().unwrap().keys().collect::<Vec<_>>(), ["code", "expires_in", "status"]);
}

#[test]
fn wrong_wishes_are_refused() {
    let person = Person::with_alice();
    let refused = |arguments: &[&str], status| {
        let all: Vec<&str> = ["code", "alice"].into_iter().chain(arguments.iter().copied()).collect();
        person.run(&all).refused(status)
    };

    insta::assert_snapshot!(refused(&["--min-validity", "31"], 2), @"error: --min-validity must be 0 to 30, this secret's period");
    insta::assert_snapshot!(refused(&["--max-wait", "121"], 2), @"error: --max-wait must be a whole number, 0 to 120");
    insta::assert_snapshot!(refused(&["--seat", "nobody"], 1), @"error: no such seat; list what exists to find its id");
    insta::assert_snapshot!(refused(&["--watch", "--json"], 2),
        @r#"{"status":"ERROR","error":"invalid_argument","message":"--watch goes on and --json is one document; use one of them"}"#);
    assert!(refused(&["--watch", "--single-use"], 2).contains("cannot be used with"));
}

#[test]
fn a_single_use_code_is_given_once() {
    let person = Person::with_alice();
    person.run(&["code", "alice", "--single-use", "--max-wait", "30"]).ok();

    let refused = person.run(&["code", "alice", "--single-use", "--max-wait", "0", "--json"]).refused(1);

    let body: serde_json::Value = serde_json::from_str(&refused).unwrap();
    assert_eq!(text_of(&body, "/error"), "busy");
    assert!((1..=60).contains(&body.pointer("/retry_after").unwrap().as_u64().unwrap()));
}

#[test]
fn a_code_is_right_once_and_the_answer_is_the_status_too() {
    let person = Person::with_alice();
    let code = person.run(&["code", "alice", "--json"]).json();

    let right = person.fed(text_of(&code, "/code"), &["verify", "alice", "--stdin"]);
    assert_eq!((right.status, right.out.as_str()), (0, "valid\n"));
    let again = person.fed(text_of(&code, "/code"), &["verify", "alice", "--stdin", "--json"]);
    assert_eq!((again.status, again.out.as_str()), (1, "{\"status\":\"OK\",\"valid\":false}\n"));

    insta::assert_snapshot!(person.fed("12345", &["verify", "alice", "--stdin"]).refused(2), @"error: the code must be 6 digits");
    let refused = person.run(&["verify", "alice"]).refused(2);
    assert!(refused.contains("--stdin"), "{refused}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_answer_stands_although_the_disk_takes_no_more() {
    let person = Person::new();
    person.fed("JBSWY3DPEHPK3PXP", &["secret", "add", "--label", "slow", "--period", "3600", "--stdin"]).ok();
    person.run(&["code", "slow"]).ok();
    // The write-ahead log stays as long as a process reads an older state.
    let reader = person.database();
    reader.execute_batch("BEGIN; SELECT count(*) FROM record").unwrap();
    person.run(&["code", "slow"]).ok();
    // A repeated code is not durable before the process ends.
    let ran = person.on_a_failing_disk("sync", &["code", "slow"]);

    assert_eq!((ran.status, ran.out.lines().count()), (1, 1), "{}", ran.err);
    assert!(ran.err.contains("what was answered is kept") && !ran.err.contains("nothing was changed"), "{}", ran.err);
}

#[test]
fn who_holds_the_lock_that_a_code_needs_is_named() {
    let person = Person::with_alice();
    let database = person.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refused = person.run(&["code", "alice"]).refused(1);
    database.execute_batch("ROLLBACK").unwrap();
    let holder =
        if cfg!(target_os = "linux") { format!("process {}", std::process::id()) } else { "another process".into() };
    assert!(refused.contains(&format!("right now ({holder} holds the vault's write lock")), "{refused}");
}
