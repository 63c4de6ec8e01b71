//! Clients with handshakes on several nodes, behind a balancer without sticky connections.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::people::Node;
use crate::{
    cli::{Person, text_of},
    kit::until,
};

/// The number of concurrent sessions of one owner.
const EACH: usize = 64;

/// A vault on a server, with its nodes.
struct Site {
    person: Person,
    url: String,
}

/// An answer: its status, its session if it has one, and its body.
#[derive(Debug)]
struct Answer {
    status: u16,
    session: Option<String>,
    body: String,
}

impl Site {
    fn new() -> Self {
        let site = Self { person: Person::new(), url: super::fresh() };
        site.run(&["vault", "create"]);
        site
    }

    fn run(&self, arguments: &[&str]) -> String {
        self.person.run(&[&["--store", &self.url], arguments].concat()).ok()
    }

    fn node(&self) -> Node {
        Node::start(&self.person, &self.url)
    }

    fn token(&self, name: &str) -> String {
        let made = self.run(&["key", "create", "--name", name, "--json"]);
        text_of(&serde_json::from_str(&made).unwrap(), "/token").to_owned()
    }

    /// The number of sessions that all nodes know.
    fn sessions(&self) -> i64 {
        super::number(&self.url, "SELECT count(*) FROM record WHERE kind = 17")
    }
}

/// Sends a request over a connection of its own.
fn ask(to: &str, (method, path): (&str, &str), token: &str, more: &str, body: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n{more}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
    let session = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).map(str::to_owned);
    Ok(Answer { status, session, body: body.to_owned() })
}

fn mcp(to: &str, token: &str, session: Option<&str>, message: &Value) -> io::Result<Answer> {
    let more = session.map(|id| format!("mcp-session-id: {id}\r\nmcp-protocol-version: 2025-11-25\r\n"));
    ask(to, ("POST", "/mcp"), token, &more.unwrap_or_default(), &message.to_string())
}

fn end(to: &str, token: &str, session: &str) -> u16 {
    ask(to, ("DELETE", "/mcp"), token, &format!("mcp-session-id: {session}\r\n"), "").unwrap().status
}

fn greeting() -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {"url": {}}}, "clientInfo": {"name": "robot", "version": "1"}}})
}

fn greeted() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/initialized"})
}

fn list() -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"})
}

/// Opens a session.
fn opened(to: &str, token: &str) -> Result<String, Answer> {
    let answer = mcp(to, token, None, &greeting()).unwrap();
    answer.session.clone().ok_or(answer)
}

fn listed(to: &str, token: &str, session: &str) -> u16 {
    let answer = mcp(to, token, Some(session), &list()).unwrap();
    assert_eq!(answer.status == 200, answer.body.contains("get_totp_code"), "{answer:?}");
    answer.status
}

/// A balancer that gives each connection to the next node that accepts it.
struct Balancer {
    address: String,
    nodes: Arc<Mutex<Vec<String>>>,
}

impl Balancer {
    fn over(nodes: &[Node]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let nodes = Arc::new(Mutex::new(nodes.iter().map(|node| node.address().to_owned()).collect::<Vec<_>>()));
        let (known, next) = (Arc::clone(&nodes), AtomicUsize::new(0));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let known = known.lock().unwrap().clone();
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let all = (0..known.len()).map(|nth| &known[(turn + nth) % known.len()]);
                let Some(node) = all.into_iter().find_map(|node| TcpStream::connect(node).ok()) else { continue };
                let (from, to) = (client.try_clone().unwrap(), node.try_clone().unwrap());
                thread::spawn(move || carry(from, to));
                thread::spawn(move || carry(node, client));
            }
        });
        Self { address, nodes }
    }

    fn replace(&self, nth: usize, node: &Node) {
        node.address().clone_into(&mut self.nodes.lock().unwrap()[nth]);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}

#[expect(clippy::disallowed_methods, reason = "a setting of the tests")]
fn wanted(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn sessions_live_on_while_nodes_restart_one_by_one_and_none_is_lost() {
    let (site, count) = (Site::new(), wanted("COUNTERSIGN_TEST_SESSIONS", 100));
    let tokens: Vec<String> = (0..count.div_ceil(EACH)).map(|nth| site.token(&format!("robot-{nth}"))).collect();
    let mut nodes = [site.node(), site.node(), site.node()];
    let balancer = Balancer::over(&nodes);
    let sessions: Vec<(&str, String)> = (0..count)
        .map(|nth| {
            let token = tokens[nth / EACH].as_str();
            let session = opened(&balancer.address, token).unwrap();
            assert_eq!(mcp(&balancer.address, token, Some(&session), &greeted()).unwrap().status, 202);
            (token, session)
        })
        .collect();
    assert_eq!(site.sessions(), i64::try_from(count).unwrap());

    let (over, [answered, lost, again]) = (AtomicBool::new(false), [const { AtomicUsize::new(0) }; 3]);
    thread::scope(|scope| {
        for share in sessions.chunks(count.div_ceil(8)) {
            let (balancer, over, answered, lost, again) = (&balancer, &over, &answered, &lost, &again);
            scope.spawn(move || {
                let mut is_last = false;
                while !is_last {
                    // One more round over all sessions after the last restart.
                    is_last = over.load(Ordering::Relaxed);
                    for (token, session) in share {
                        // A request is lost with the node that has it, and its client repeats it.
                        let answer = loop {
                            match mcp(&balancer.address, token, Some(session), &list()) {
                                Ok(answer) if answer.status == 200 && answer.body.contains("get_totp_code") => {
                                    break true;
                                }
                                Ok(answer) if answer.status == 404 => break false,
                                Ok(Answer { status: 200 | 503, .. }) | Err(_) => again.fetch_add(1, Ordering::Relaxed),
                                Ok(other) => panic!("{other:?}"),
                            };
                        };
                        if answer { answered } else { lost }.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        for (nth, node) in nodes.iter_mut().enumerate() {
            // Every other node is stopped, as in a rolling update; the others are killed.
            if nth % 2 == 0 {
                node.stop();
            }
            *node = site.node();
            balancer.replace(nth, node);
            let before = answered.load(Ordering::Relaxed);
            until(|| answered.load(Ordering::Relaxed) + lost.load(Ordering::Relaxed) > before + count);
        }
        over.store(true, Ordering::Relaxed);
    });

    let [answered, lost, again] = [answered, lost, again].map(AtomicUsize::into_inner);
    println!("clients: {count} sessions, {answered} answers, {again} requests repeated, {lost} lost");
    assert_eq!((lost, site.sessions()), (0, i64::try_from(count).unwrap()));
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_session_is_its_owners_on_every_node_and_ends_on_all_at_once() {
    let site = Site::new();
    let [ada, bob] = ["ada", "bob"].map(|name| site.token(name));
    let (one, two) = (site.node(), site.node());
    let [one, two] = [&one, &two].map(Node::address);
    let session = opened(one, &ada).unwrap();
    assert_eq!(mcp(two, &ada, Some(&session), &greeted()).unwrap().status, 202);

    // Of many concurrent requests, one makes the copy.
    let session = opened(one, &ada).unwrap();
    thread::scope(|scope| {
        for id in 0..8 {
            let (session, token) = (&session, &ada);
            scope.spawn(move || {
                let ping = json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
                let answer = mcp(two, token, Some(session), &ping).unwrap();
                assert!(answer.body.contains(&format!("\"id\":{id},")), "{answer:?}");
            });
        }
    });
    for to in [one, two] {
        assert_eq!(listed(to, &bob, &session), 404);
        assert_eq!(end(to, &bob, &session), 404);
        assert_eq!(listed(to, &ada, "00000000-0000-4000-8000-000000000000"), 404);
    }

    assert_eq!(end(two, &ada, &session), 204);
    for to in [one, two] {
        assert_eq!(listed(to, &ada, &session), 404);
        assert_eq!(end(to, &ada, &session), 404);
    }
    // The node that ends this session has no copy of it.
    let session = opened(one, &ada).unwrap();
    assert_eq!((end(two, &ada, &session), listed(one, &ada, &session), site.sessions()), (204, 404, 1));
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn sessions_are_counted_over_all_nodes_and_those_of_a_revoked_key_end() {
    let site = Site::new();
    let [ada, bob] = ["ada", "bob"].map(|name| site.token(name));
    let nodes = [site.node(), site.node()];
    let to = |nth: usize| nodes[nth % 2].address();
    let sessions: Vec<String> = (0..EACH).map(|nth| opened(to(nth), &ada).unwrap()).collect();
    for nth in 0..2 {
        assert_eq!(opened(to(nth), &ada).unwrap_err().status, 429);
    }
    opened(to(0), &bob).unwrap();
    assert_eq!(end(to(0), &ada, &sessions[1]), 204);
    opened(to(1), &ada).unwrap();
    assert_eq!(site.sessions(), i64::try_from(EACH + 1).unwrap());

    site.run(&["key", "revoke", "ada", "--yes"]);

    assert_eq!(listed(to(0), &ada, &sessions[0]), 401);
    until(|| site.sessions() == 1);
}

/// A stream, and the path for its messages.
struct Stream(BufReader<TcpStream>, String);

impl Stream {
    fn open(to: &str, token: &str) -> Self {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let head = format!(
            "GET /sse HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {token}\r\naccept: text/event-stream\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut stream = Self(BufReader::new(stream), String::new());
        stream.1 = stream.event();
        stream
    }

    /// Reads the data of the next event.
    fn event(&mut self) -> String {
        let lines = std::iter::from_fn(|| {
            let mut line = String::new();
            (self.0.read_line(&mut line).unwrap() != 0).then_some(line)
        });
        let data = lines.into_iter().find_map(|line| line.strip_prefix("data: ").map(|data| data.trim().to_owned()));
        data.expect("the stream goes on")
    }

    /// Reads the next message: some events have none.
    fn message(&mut self) -> Value {
        let mut events = std::iter::from_fn(|| Some(self.event()));
        let message = events.find(|event| !event.is_empty()).unwrap();
        serde_json::from_str(&message).unwrap()
    }

    fn post(&self, to: &str, token: &str, message: &Value) -> u16 {
        ask(to, ("POST", &self.1), token, "", &message.to_string()).unwrap().status
    }

    fn answer(&mut self) -> Value {
        serde_json::from_str(&self.event()).unwrap()
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_message_of_a_stream_may_come_to_another_node() {
    let site = Site::new();
    let [ada, bob] = ["ada", "bob"].map(|name| site.token(name));
    let nodes = [site.node(), site.node()];
    let [one, two] = [0, 1].map(|nth: usize| nodes[nth].address());
    let mut stream = Stream::open(one, &ada);

    assert_eq!(stream.post(two, &ada, &greeting()), 202);
    assert_eq!(stream.answer()["result"]["protocolVersion"], "2025-11-25");
    // A message that comes to the stream's own node shortly afterwards is handled after it.
    assert_eq!((stream.post(two, &ada, &greeted()), stream.post(one, &ada, &list())), (202, 202));
    assert_eq!(stream.answer()["result"]["tools"][0]["name"], "list_totp_secrets");

    let mut median = |node: &str| {
        let mut took: Vec<Duration> = (0..41)
            .map(|id| {
                let begun = Instant::now();
                assert_eq!(stream.post(node, &ada, &json!({"jsonrpc": "2.0", "id": id, "method": "ping"})), 202);
                assert_eq!(stream.answer()["id"], id);
                begun.elapsed()
            })
            .collect();
        took.sort_unstable();
        took[20]
    };
    let (own, others) = (median(one), median(two));
    println!("clients: a message is answered after {own:?} by the stream's node, {others:?} by another (medians)");
    // On a machine with other work, everything takes longer.
    assert!(others <= Duration::from_millis(100) + 10 * own, "{own:?} {others:?}");

    assert_eq!(stream.post(two, &bob, &list()), 404);
    let elsewhere = Stream(BufReader::new(TcpStream::connect(two).unwrap()), "/messages?sessionId=none".to_owned());
    assert_eq!(elsewhere.post(two, &ada, &list()), 404);
    assert_eq!(stream.post(two, &ada, &json!({"jsonrpc": "1.0"})), 400);
    let endpoint = std::mem::take(&mut stream.1);
    drop(stream);
    let gone = Stream(BufReader::new(TcpStream::connect(two).unwrap()), endpoint);
    until(|| gone.post(two, &ada, &list()) == 404);
    assert_eq!(super::number(&site.url, "SELECT count(*) FROM record WHERE kind = 17"), 0);
}

/// A call that makes the client ask its user to add a secret: the stream of its answer, and the question in it.
fn asked(to: &str, token: &str, session: &str) -> (Stream, Value) {
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "enroll_totp_secret"}});
    let body = call.to_string();
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {token}\r\nmcp-session-id: {session}\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
         mcp-protocol-version: 2025-11-25\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut stream = Stream(BufReader::new(stream), String::new());
    let question = stream.message();
    assert_eq!(question["method"], "elicitation/create", "{question}");
    (stream, question)
}

fn said(question: &Value, action: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": action}})
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn what_a_user_refuses_in_the_client_may_come_to_another_node_than_the_call_that_asked() {
    let site = Site::new();
    site.run(&["seat", "add", "--email", "ada@example.com", "--first-name", "Ada", "--last-name", "L"]);
    site.person
        .fed("correcthorse9\n", &["--store", &site.url, "seat", "update", "ada@example.com", "--pin-stdin"])
        .ok();
    let [ada, bob] = ["ada", "bob"].map(|name| {
        let made = site.run(&[
            "key",
            "create",
            "--name",
            name,
            "--seat",
            "ada@example.com",
            "--scope",
            "secrets:write,codes:read",
            "--json",
        ]);
        text_of(&serde_json::from_str(&made).unwrap(), "/token").to_owned()
    });
    let nodes = [site.node(), site.node()];
    let [one, two] = [0, 1].map(|nth: usize| nodes[nth].address());
    let [session, bobs] = [&ada, &bob].map(|token| {
        let session = opened(one, token).unwrap();
        assert_eq!(mcp(one, token, Some(&session), &greeted()).unwrap().status, 202);
        session
    });
    let post =
        |to: &str, token: &str, session: &str, message: &Value| mcp(to, token, Some(session), message).unwrap().status;
    let begun = Instant::now();

    // The second node answers without a copy of the session, then with one.
    for (to, action, status) in
        [(two, "decline", "DECLINED"), (two, "cancel", "CANCELLED"), (one, "decline", "DECLINED")]
    {
        let (mut call, question) = asked(one, &ada, &session);
        // An answer that refuses nothing, or is not this caller's, has no effect.
        let error = json!({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -32601, "message": "no"}});
        assert_eq!(post(two, &ada, &session, &said(&question, "accept")), 202);
        assert_eq!(post(two, &ada, &session, &error), 202);
        assert_eq!(post(two, &bob, &bobs, &said(&question, "decline")), 202);
        assert_eq!(post(two, &bob, &session, &said(&question, "decline")), 404);

        assert_eq!(post(to, &ada, &session, &said(&question, action)), 202);

        assert_eq!(call.message()["result"]["structuredContent"]["status"], status);
        assert_eq!(listed(two, &ada, &session), 200);
    }
    // Each node has its own question, whichever of them gets the answer.
    let ((mut first, of_first), (mut second, of_second)) = (asked(one, &ada, &session), asked(two, &ada, &session));
    assert_ne!(of_first["id"], of_second["id"]);
    assert_eq!(post(two, &ada, &session, &said(&of_first, "decline")), 202);
    assert_eq!(first.message()["result"]["structuredContent"]["status"], "DECLINED");
    assert_eq!(post(one, &ada, &session, &said(&of_second, "cancel")), 202);
    assert_eq!(second.message()["result"]["structuredContent"]["status"], "CANCELLED");
    assert!(begun.elapsed() < Duration::from_secs(40), "a call waited for what was said elsewhere");
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn what_waits_for_a_stream_is_bounded_and_unreadable_in_the_database() {
    let site = Site::new();
    let ada = site.token("ada");
    let nodes = [site.node(), site.node()];
    let [one, two] = [0, 1].map(|nth: usize| nodes[nth].address());
    let stream = Stream::open(one, &ada);
    // The node is stopped, so that it takes no letters.
    nodes[0].signal("STOP");
    let canary = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"canary": "GEZDGNBVGY3TQOJQ"}});

    let statuses: Vec<u16> = (0..34).map(|_| stream.post(two, &ada, &canary)).collect();

    assert_eq!(statuses, [[202; 32].as_slice(), &[429; 2]].concat());
    let sql = "SELECT count(*) FROM record WHERE kind = 18 AND (position('GEZDGNBVGY3TQOJQ'::bytea IN body) > 0 \
               OR position('R0VaREdOQlZHWTNUUU9KU'::bytea IN body) > 0)";
    assert_eq!(super::number(&site.url, sql), 0);
    assert_eq!(super::number(&site.url, "SELECT count(*) FROM record WHERE kind = 18"), 32);
    nodes[0].signal("CONT");
}

impl Node {
    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Stops the node as an operator does.
    fn stop(&mut self) {
        self.signal("TERM");
        self.ended();
    }
}
