//! The command line on a server: from an empty database to a code over two processes.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
};

use crate::{
    cli::{Person, text_of},
    http::kit::written,
};

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
}

/// A server in its own process, and its address.
pub(super) struct Node(Child, String);

impl Node {
    pub(super) fn start(person: &Person, url: &str) -> Self {
        Self::with(person, url, &[])
    }

    /// Starts a node with these additional flags.
    pub(super) fn with(person: &Person, url: &str, flags: &[&str]) -> Self {
        let mut command = person.command(&["--store", url, "serve", "--listen", "127.0.0.1:0"]);
        command.args(flags);
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map(Result::unwrap);
        let address = said.find_map(|line| line.strip_prefix("listening on http://").map(str::to_owned)).unwrap();
        Self(process, address)
    }

    /// The address on which it listens.
    pub(super) fn address(&self) -> &str {
        &self.1
    }

    /// The id of its process.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end, which must be in order.
    pub(super) fn ended(&mut self) {
        assert!(self.0.wait().unwrap().success());
    }

    /// The body of an answer.
    pub(super) fn get(&self, path: &str, token: &str) -> serde_json::Value {
        serde_json::from_str(&self.answer("GET", path, &bearer(token), None).unwrap().1).unwrap()
    }

    /// The status and the body of an answer, if one comes.
    pub(super) fn answer(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Option<&str>,
    ) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.1).ok()?;
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let headers: Vec<_> = headers.chain([("connection", "close")]).collect();
        let sent = written(method, path, &headers, body);
        stream.write_all(sent.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

/// The header of a key.
pub(super) fn bearer(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn any_node_answers_and_what_holds_on_one_holds_on_all() {
    let person = Person::new();
    let url = super::fresh();
    person.run(&["--store", &url, "vault", "create"]).ok();
    // The period is an hour, so that all calls fall into one step.
    let add = ["--store", &url, "secret", "add", "--label", "ada", "--period", "3600", "--stdin", "--json"];
    let id = text_of(&person.fed("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n", &add).json(), "/totp_secret/id").to_owned();
    let key = person.run(&["--store", &url, "key", "create", "--name", "ci", "--json"]).json();
    let token = text_of(&key, "/token").to_owned();
    let nodes = [Node::start(&person, &url), Node::start(&person, &url)];
    let code = |node: &Node, query: &str| node.get(&format!("/api/v2/totp/code/{id}{query}"), &token);

    let single = "?single_use=true&max_wait=0";
    assert_eq!(code(&nodes[0], single)["status"], "OK");
    assert_eq!(code(&nodes[1], single)["error"], "busy", "its step was used over the other node");
    assert_eq!(code(&nodes[1], "")["error"], "busy", "a single-use code is given to nobody else");

    person.run(&["--store", &url, "key", "revoke", "ci", "--yes"]).ok();
    for node in &nodes {
        assert_eq!(node.get("/api/v2/totp/secrets", &token)["error"], "unauthenticated");
    }
    person.run(&["--store", &url, "audit", "verify"]).ok();
}
