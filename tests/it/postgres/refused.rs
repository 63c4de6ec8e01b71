//! An operator's mistakes about a server: each is refused with the reason and the remedy and status 78, and nothing is
//! written.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{
    carry_out, fresh,
    own::{Own, free_port, programs},
};
use crate::{
    cli::{Person, Ran, files_in},
    kit::RFC_SEED,
};

/// Everything in a database except the rows by which a process sees that the server is the primary.
fn contents(url: &str) -> String {
    let dumped = Command::new(programs().join("pg_dump"))
        .args(["--exclude-table-data=heartbeat", "--restrict-key=1", "--dbname", url])
        .output()
        .unwrap();
    assert!(dumped.status.success(), "{dumped:?}");
    String::from_utf8(dumped.stdout).unwrap()
}

/// The files in a person's home.
fn home(person: &Person) -> BTreeMap<PathBuf, Vec<u8>> {
    files_in(person.home()).into_iter().map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// Runs commands that read, write and serve, and checks that each is refused and changes nothing.
#[track_caller]
fn refused(person: &Person, url: &str, flags: &[&str], database: Option<&str>, told: &[&str]) {
    let before = (home(person), database.map(contents));
    let start = [&["--store", url], flags].concat();
    let all = |command: &[&'static str]| [&start, command].concat();
    let add = all(&["secret", "add", "--label", "eve", "--stdin"]);
    let serve = all(&["serve", "--listen", "127.0.0.1:0"]);
    let ran: [Ran; 4] = [
        person.run(&all(&["secret", "list"])),
        person.fed(RFC_SEED, &add),
        person.run(&serve),
        person.run(&all(&["stdio"])),
    ];
    for ran in ran {
        assert_eq!(ran.status, 78, "{told:?}: {ran:?}");
        for words in told {
            assert!(ran.err.contains(words), "{words}: {ran:?}");
        }
    }
    assert_eq!((home(person), database.map(contents)), before, "{told:?}");
}

/// A person with a vault on the server, and its address.
fn owner() -> (Person, String) {
    let (person, url) = (Person::new(), fresh());
    person.at(&url, &["vault", "create"]).ok();
    person.fed(RFC_SEED, &["--store", &url, "secret", "add", "--label", "ada", "--stdin"]).ok();
    (person, url)
}

/// Creates a role, and returns the vault's address with it.
fn role(url: &str) -> (String, String) {
    let role = format!("r{}", uuid::Uuid::new_v4().simple());
    carry_out(url, &format!("CREATE ROLE {role} LOGIN"));
    (url.replacen("countersign@", &format!("{role}@"), 1), role)
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_vault_does_not_open_by_another_key_nor_to_a_person_of_another_vault() {
    let (person, url) = owner();
    person.private("other.key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
    refused(&person, &url, &["--key-file", "other.key"], Some(&url), &["not the vault's", "--key-file"]);
    let (stranger, _) = owner();
    refused(&stranger, &url, &[], Some(&url), &["there is no key file", "name it with --key-file"]);
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn an_older_copy_and_a_newer_format_are_not_opened() {
    let (person, url) = owner();
    let (before, database) = (contents(&url), url.split(['/', '?']).nth(3).unwrap());
    person.at(&url, &["secret", "update", "ada", "--label", "ida"]).ok();
    carry_out(&fresh(), &format!("DROP DATABASE {database}"));
    carry_out(&fresh(), &format!("CREATE DATABASE {database}"));
    let mut restore =
        Command::new("psql").args(["-q", &url]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    restore.stdin.take().unwrap().write_all(before.as_bytes()).unwrap();
    assert!(restore.wait().unwrap().success());
    refused(&person, &url, &[], Some(&url), &["is older than the vault that was last open here", "vault accept-loss"]);

    carry_out(&url, "UPDATE vault SET format = 3");
    refused(
        &person,
        &url,
        &[],
        Some(&url),
        &["has format 3, newer than this version's 2", "use the newer countersign"],
    );
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_server_that_can_only_be_read_is_refused() {
    let (person, url) = owner();
    let database = url.split(['/', '?']).nth(3).unwrap();
    let told = ["does not allow writes", "name the primary, or all hosts of the cluster"];
    carry_out(&url, &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"));
    refused(&person, &url, &[], Some(&url), &told);

    let (own, person) = (Own::start(""), Person::new());
    let url = own.inside("postgres");
    person.at(&url, &["vault", "create"]).ok();
    own.stand_by();
    refused(&person, &url, &[], Some(&url), &told);
    assert!(person.at(&url, &["vault", "create"]).refused(78).contains(told[1]));
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_role_that_lacks_a_right_is_refused_before_anything_is_done() {
    let (person, url) = owner();
    let (own, role) = role(&url);
    // A vault that the role may not see is not reported as absent.
    refused(&person, &own, &[], Some(&url), &["its role lacks a right on the vault's tables", "docs/operate.md"]);
    carry_out(&url, &format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"));
    refused(
        &person,
        &own,
        &[],
        Some(&url),
        &["its role lacks DELETE on pace, DELETE on record, ", "INSERT on audit", "grant it"],
    );
    let most = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public";
    carry_out(&url, &format!("{most} TO {role}; REVOKE UPDATE ON heartbeat FROM {role}"));
    refused(&person, &own, &[], Some(&url), &["its role lacks UPDATE on heartbeat; grant it"]);

    let empty = fresh();
    let before = home(&person);
    let poor = empty.replacen("countersign@", &format!("{role}@"), 1);
    let told = person.at(&poor, &["vault", "create"]).refused(78);
    assert!(told.contains("to make them, on the schema; let the role own the database"), "{told}");
    assert_eq!(home(&person), before);
    refused(&person, &empty, &[], Some(&empty), &["there is no vault in", "See that the address is right"]);
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_server_warns_at_its_start_of_what_can_lose_or_give_away_the_vault() {
    let (person, url) = owner();
    let mut serve = person.command(&["--store", &url, "serve", "--listen", "127.0.0.1:0"]);
    let mut process = serve.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    for line in BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap) {
        told += &line;
        if line.starts_with("listening on") {
            break;
        }
    }
    process.kill().unwrap();
    process.wait().unwrap();
    for warned in
        ["role: may manage the whole server", "synchronous_commit: on, and no standby is in synchronous_standby_names"]
    {
        assert!(told.contains(&format!("the store's server: {warned}")), "{told}");
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn an_address_that_is_mistyped_makes_no_vault() {
    let (person, url) = owner();
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let page = web.local_addr().unwrap().port();
    // A server with another protocol, which answers in its own way.
    std::thread::spawn(move || {
        for client in web.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 64]);
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n");
        }
    });
    let see = "see that host and port are right and that the server runs";
    let of_form = "it is not of the form postgres://USER@HOST:PORT/DATABASE";
    for (mistyped, told) in [
        (format!("postgres://ada@127.0.0.1:{}/vault", free_port()), ["onnection refused", see]),
        ("postgres://ada@no-such-host.invalid/vault".to_owned(), ["no-such-host.invalid:5432", see]),
        (format!("postgres://ada@127.0.0.1:{page}/vault"), [see, see]),
        (format!("postgres://ada@127.0.0.1:{page}/vault?sslmode=verify-full"), ["does not support TLS", "`ssl = on`"]),
        (url.replacen("/t", "/no_such_", 1), ["there is no such database", "make it with `createdb`"]),
        (url.replacen("countersign@", "no_such_one@", 1), ["does not let this user in", "see the user in the address"]),
        (fresh(), ["there is no vault in", "See that the address is right"]),
        ("postgres:/countersign@db.example/vault".to_owned(), [of_form, of_form]),
        ("postgres://ada@db.example:port/vault".to_owned(), [of_form, of_form]),
    ] {
        refused(&person, &mistyped, &[], None, &told);
    }
}
