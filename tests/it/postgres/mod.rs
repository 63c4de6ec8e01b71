//! The backend for a server: its properties beyond the contract, and the tests of other rooms, run once more over it.
//!
//! These tests need a server: `tests/postgres/run` starts one, and puts its address into
//! `COUNTERSIGN_TEST_POSTGRES`.

mod backups;
mod clients;
mod clocks;
mod commits;
mod doctor;
mod gathered;
mod moving;
mod nodes;
mod own;
mod people;
mod pooler;
mod primary;
mod proxy;
mod rates;
mod refused;
mod roles;
mod tls;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::Path,
    process::Command,
};

use tokio_postgres::{NoTls, error::SqlState};

/// The variable that makes the tests of other rooms use the server.
const EVERYWHERE: &str = "COUNTERSIGN_TEST_EVERYWHERE";
/// The variable with the query of addresses that lead through a pooler, for the same tests.
const POOLED: &str = "COUNTERSIGN_TEST_POOLED";

/// The server for the tests.
#[expect(clippy::disallowed_methods, reason = "settings of the tests")]
pub(crate) fn server() -> String {
    std::env::var("COUNTERSIGN_TEST_POSTGRES").expect("tests/postgres/run names a server")
}

/// The store of a folder's vault: a file in the folder, or a database of its own if all tests use the server.
#[expect(clippy::disallowed_methods, reason = "settings of the tests")]
pub(crate) fn address_for(folder: &Path) -> String {
    if std::env::var_os(EVERYWHERE).is_none() {
        return "sqlite:".to_owned();
    }
    let mut hash = DefaultHasher::new();
    folder.hash(&mut hash);
    let address = database(&format!("t{:016x}", hash.finish()));
    match std::env::var(POOLED) {
        Ok(query) => format!("{}?{query}", address.split('?').next().unwrap()),
        Err(_) => address,
    }
}

/// Creates an empty database, and returns its address.
pub(crate) fn fresh() -> String {
    database(&format!("t{}", uuid::Uuid::new_v4().simple()))
}

/// Creates a database unless it exists, and returns its address.
fn database(name: &str) -> String {
    let (server, sql) = (server(), format!("CREATE DATABASE {name}"));
    let address = server.replacen("/postgres?", &format!("/{name}?"), 1);
    // The caller may or may not be on a runtime.
    let made = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
            tokio::spawn(connection);
            match client.batch_execute(&sql).await {
                Err(cause) if cause.code() == Some(&SqlState::DUPLICATE_DATABASE) => {}
                made => made.unwrap(),
            }
        });
    });
    made.join().unwrap();
    address
}

/// Executes statements in a database, over their own connection.
pub(crate) fn carry_out(address: &str, sql: &str) {
    let (address, sql) = (address.to_owned(), sql.to_owned());
    let done = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&sql).await.unwrap();
        });
    });
    done.join().unwrap();
}

/// Reads a number from a database, over its own connection.
pub(crate) fn number(address: &str, sql: &str) -> i64 {
    let (address, sql) = (address.to_owned(), sql.to_owned());
    let read = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
            tokio::spawn(connection);
            client.query_one(&sql, &[]).await.unwrap().get(0)
        })
    });
    read.join().unwrap()
}

/// Tests that can't run over a server, with the reason.
const APART: [&str; 6] = [
    // Changes the database file.
    "operations::bounds::a_damaged_account_is_not_said_to_be_none",
    "operations::bounds::what_is_refused_because_a_record_is_damaged_is_on_the_trail",
    // Stop the clock, and the server's answers take time.
    "operations::keys::who_offers_a_wrong_key_and_does_not_wait_for_the_answer_is_in_the_audit_log",
    "operations::waiting::a_search_waits_five_seconds_for_its_turn_at_most_and_with_few_others",
    // Drop a call after a few polls, by which a commit on the caller's thread is made.
    "operations::enrolment::an_enrolment_whose_tries_are_used_up_is_over_although_their_ends_were_lost",
    "operations::single_use::a_caller_gone_while_its_step_is_reserved_leaves_none_reserved",
];

/// Runs other tests over the server, with more variables.
#[expect(clippy::print_stdout, reason = "what those tests print is theirs to say")]
fn everywhere(filter: &str, variables: &[(&str, &str)]) {
    let listed = Command::new(std::env::current_exe().unwrap()).args([filter, "--list"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|name| name.starts_with(filter) && !APART.contains(name));
    let mut program = Command::new(std::env::current_exe().unwrap());
    let ran = program
        .args(["--exact", "--nocapture"])
        .args(names)
        .env(EVERYWHERE, "1")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && !told.contains(" 0 passed"), "{told}");
    println!("{told}");
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn the_contract_of_a_store_holds_on_a_server() {
    everywhere("store::", &[]);
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn the_operations_hold_on_a_server() {
    everywhere("operations::", &[]);
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn no_step_goes_to_two_callers_of_killed_nodes_whose_clocks_differ() {
    everywhere("fleet::no_step", &[]);
}
