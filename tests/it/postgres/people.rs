//! What people see on a server: the command line, from nothing to a code over two processes.

use crate::cli::Person;

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_vault_on_a_server_is_made_when_it_is_asked_for_and_by_nothing_else() {
    let person = Person::new();
    let url = super::fresh();
    let add = ["--store", &url, "secret", "add", "--label", "ada", "--stdin"];

    let refused = person.fed("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n", &add);
    assert!(refused.status == 78 && refused.err.contains("countersign vault create"), "{refused:?}");
    assert!(!refused.err.contains("countersign@"), "{refused:?}");

    person.run(&["--store", &url, "vault", "create"]).ok();
    person.fed("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n", &add).ok();
    let code = person.run(&["--store", &url, "code", "ada", "--json"]).json();
    assert_eq!(code["code"].as_str().unwrap().len(), 6);
    person.run(&["--store", &url, "vault", "doctor"]).ok();
    person.run(&["--store", &url, "audit", "verify"]).ok();
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn what_is_wrong_with_a_server_is_said_with_what_to_do() {
    let person = Person::new();
    for (url, told) in [
        (super::server().replace("/postgres?", "/no_such_one?"), "there is no such database"),
        ("postgres://ada:hunter2@127.0.0.1:1/vault".to_owned(), "127.0.0.1:1"),
        ("postgres://ada:hunter2@db.example/vault?sslmode=prefer".to_owned(), "`sslmode` can be `verify-full`"),
        ("postgres://ada:hunter2@db.example/vault?sslmod=disable".to_owned(), "a parameter that is not known"),
        ("postgres://db.example".to_owned(), "it must name a user, a host and a database"),
    ] {
        let ran = person.run(&["--store", &url, "secret", "list"]);
        assert!(ran.status == 78 && ran.err.contains(told), "{told}: {ran:?}");
        assert!(!ran.err.contains("hunter2"), "{ran:?}");
    }
    let url = super::fresh();
    person.run(&["--store", &url, "vault", "create"]).ok();
    for needs_a_file in [vec!["vault", "backup", "copy.db"], vec!["vault", "restore", "copy.db", "--yes"]] {
        let ran = person.run(&[&["--store", url.as_str()], needs_a_file.as_slice()].concat());
        assert!(ran.status != 0 && ran.err.contains("on a file"), "{ran:?}");
    }
}
