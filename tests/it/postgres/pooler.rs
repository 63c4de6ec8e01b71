//! Through `PgBouncer`, which hands out the server's connections by the transaction.

use std::{fs, os::unix::net::UnixStream, process::Child};

use tempfile::TempDir;

use super::{
    POOLED, carry_out, everywhere, fresh,
    own::{free_port, give_away, owners},
    people::Node,
    server,
};
use crate::{
    cli::{Person, text_of},
    kit::{RFC_SEED, until},
};

/// `PgBouncer` before the tests' server.
struct Pooler {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl Pooler {
    fn start(connections: &str) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let (here, socket) = (folder.path().display(), server().split_once("host=").unwrap().1.replace("%2F", "/"));
        fs::write(folder.path().join("users"), "\"countersign\" \"\"\n").unwrap();
        let settings = format!(
            "[databases]\n* = host={socket}\n[pgbouncer]\npool_mode = transaction\nlisten_port = {port}\nunix_socket_dir = {here}\n\
             auth_type = trust\nauth_file = {here}/users\nmax_client_conn = 1000\n{connections}\n"
        );
        fs::write(folder.path().join("settings"), settings).unwrap();
        give_away(folder.path());
        let process = owners(folder.path(), "pgbouncer").arg("settings").spawn().expect("PgBouncer is installed");
        let at = folder.path().join(format!(".s.PGSQL.{port}"));
        until(|| UnixStream::connect(&at).is_ok());
        Self { process, folder, port }
    }

    /// The query of addresses that lead through the pooler.
    fn query(&self) -> String {
        format!("host={}&port={}", self.folder.path().to_str().unwrap().replace('/', "%2F"), self.port)
    }

    /// The address of a database through the pooler.
    fn address(&self, direct: &str) -> String {
        format!("{}?{}", direct.split('?').next().unwrap(), self.query())
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn commits_hold_what_a_store_promises_through_a_pooler() {
    // Each of these tests has its own database.
    let pooler = Pooler::start("default_pool_size = 3\nserver_idle_timeout = 1");
    let query = format!("{}&prepare=never", pooler.query());
    for part in ["store::commits", "store::ending", "store::together"] {
        everywhere(part, &[(POOLED, &query)]);
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn two_nodes_share_a_vault_through_a_pooler() {
    let (pooler, person) = (Pooler::start("default_pool_size = 3"), Person::with_alice());
    let url = format!("{}&prepare=never", pooler.address(&fresh()));
    person.run(&["vault", "move", "--to", &url, "--yes"]).ok();
    let add = [
        "--store",
        &url,
        "secret",
        "add",
        "--label",
        "ada",
        "--period",
        "3600",
        "--stdin",
        "--json",
        "--allow-duplicate",
    ];
    let id = text_of(&person.fed(RFC_SEED, &add).json(), "/totp_secret/id").to_owned();
    let token = text_of(&person.at(&url, &["key", "create", "--name", "ci", "--json"]).json(), "/token").to_owned();
    let nodes = [Node::start(&person, &url), Node::start(&person, &url)];
    let single = format!("/api/v2/totp/code/{id}?single_use=true&max_wait=0");
    assert_eq!(nodes[0].get(&single, &token)["status"], "OK");
    assert_eq!(nodes[1].get(&single, &token)["error"], "busy");
    drop(nodes);
    person.at(&url, &["vault", "backup", "one.backup"]).ok();
    person.at(&url, &["vault", "doctor"]).ok();
    person.at(&url, &["audit", "verify"]).ok();
    let back = format!("sqlite:{}", person.home().join("back/vault.db").display());
    person.at(&url, &["vault", "move", "--to", &back, "--yes"]).ok();
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_pooler_that_loses_statements_is_told_apart_with_what_to_do() {
    let (pooler, person, direct) = (Pooler::start("default_pool_size = 1"), Person::new(), fresh());
    let url = pooler.address(&direct);
    person.at(&direct, &["vault", "create"]).ok();
    // Another process has left its statements in the only connection. A process that ends in the middle of an answer
    // takes that connection with it, so they are left anew for each command.
    let names: Vec<String> = (0..100).map(|number| format!("PREPARE s{number} AS SELECT 1;")).collect();
    let left = format!("DEALLOCATE ALL; {}", names.concat());
    for command in [["secret", "list"].as_slice(), &["vault", "create"], &["serve", "--listen", "127.0.0.1:0"]] {
        carry_out(&url, &left);
        let told = person.at(&url, command).refused(78);
        assert!(told.contains("a pooler") && told.contains("add `prepare=never` to the address"), "{told}");
    }
    person.at(&format!("{url}&prepare=never"), &["vault", "doctor"]).ok();

    // The pooler itself refuses users that it does not know.
    carry_out(&direct, "CREATE ROLE unknown_to_the_pooler LOGIN");
    let told = person.at(&url.replacen("countersign@", "unknown_to_the_pooler@", 1), &["secret", "list"]).refused(78);
    assert!(told.contains("a pooler refuses the connection"), "{told}");
    carry_out(&direct, "DROP ROLE unknown_to_the_pooler");
}
