//! Callers that try to exceed their limits of sessions, streams, connections and rates: with escapes, concurrently, and
//! without waiting for an answer.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use countersign::{
    domain::{rate::Rate, scope::Scope},
    operations::{AddAccount, CreateKey, RevokeKey},
};
use serde_json::{Value, json};

use super::{
    kit::{Answer, Client, Server, request, settings, token_of, written},
    matrix::call_2026,
    mcp::post,
};

const SECRETS: &str = "/api/v2/totp/secrets";
/// A request that opens a session, with escapes that hide its method from a search in its bytes.
const ESCAPED: &str = r#"{"jsonrpc":"2.0","id":1,"m\u0065thod":"\u0069nitialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"tests","version":"1"}}}"#;
const THREADS: usize = 8;
const ATTEMPTS: usize = 10_000;

fn gauge(server: &Server, name: &str) -> usize {
    let text = String::from_utf8(server.raw(written("GET", "/metrics", &[], None).as_bytes()).body).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap().parse().unwrap()
}

fn opening(token: &str) -> Vec<u8> {
    let headers = [("authorization", &*format!("Bearer {token}")), ("accept", "application/json, text/event-stream")];
    written("POST", "/mcp", &headers, Some(ESCAPED)).into_bytes()
}

/// Opens a stream of either transport, or returns the refusal.
fn listening(server: &Server, path: &str, token: &str, session: &str) -> Result<Client, Answer> {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer), ("accept", "text/event-stream"), ("mcp-session-id", session)];
    let mut client = server.client();
    client.write(written("GET", path, &headers, None).as_bytes());
    let (status, headers) = client.head().unwrap();
    if status == 200 { Ok(client) } else { Err(client.rest(status, headers).unwrap()) }
}

#[test]
fn sessions_are_counted_however_their_opening_is_written() {
    let mut settings = settings();
    settings.limits.sessions_per_key = 3;
    let server = Server::with(settings);
    let (token, other) = (server.token(), server.token());
    let open = |token: &str| server.raw(&opening(token));

    let opened: Vec<u16> = (0..6).map(|_| open(&token).status).collect();

    assert_eq!(opened, [200, 200, 200, 429, 429, 429]);
    assert_eq!(open(&token).refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(gauge(&server, "countersign_mcp_sessions"), 3);
    assert_eq!(open(&other).status, 200);
}

#[test]
fn no_more_sessions_are_opened_at_once_than_a_key_may_have() {
    let mut settings = settings();
    settings.limits.sessions_per_key = 3;
    let server = Server::with(settings);
    let token = server.token();
    let begin = Barrier::new(24);

    let opened = thread::scope(|scope| {
        let all: Vec<_> = (0..24)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = server.client();
                    begin.wait();
                    client.write(&opening(&token));
                    client.read().status
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|status| *status == 200).count()
    });

    assert_eq!((opened, gauge(&server, "countersign_mcp_sessions")), (3, 3));
}

/// Sends a request and closes the connection while the request is served: it follows another request on the connection,
/// whose answer shows that the server has come that far.
pub(super) fn abort(server: &Server, request: &[u8]) {
    let (mut client, first) = (server.client(), written("GET", "/healthz", &[], None));
    client.write(&[first.as_bytes(), request].concat());
    assert_eq!(client.read().status, 200);
}

/// One thread's share of the attempts, in turn: with the answer read, with the connection closed at once or during the
/// request, and with a request that is cut off.
fn attempt(server: &Server, token: &str, nth: usize) {
    let message = opening(token);
    let mut kept = server.client();
    for number in nth..nth + ATTEMPTS / THREADS {
        match number % 4 {
            0 => {
                kept.write(&message);
                assert!(matches!(kept.read().status, 200 | 429));
            }
            1 => server.client().write(&message),
            2 => abort(server, &message),
            _ => server.client().write(&message[..message.len() - 9]),
        }
    }
}

#[test]
fn ten_thousand_escaped_concurrent_and_aborted_attempts_leave_gauges_and_other_callers_as_they_were() {
    let mut settings = settings();
    settings.limits.session_idle = Duration::from_millis(400);
    let server = Server::with(settings);
    let (token, other) = (server.token(), server.token());
    let (done, most) = (AtomicBool::new(false), AtomicUsize::new(0));

    let slowest = thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !done.load(Ordering::SeqCst) {
                most.fetch_max(gauge(&server, "countersign_mcp_sessions"), Ordering::SeqCst);
                let asked = Instant::now();
                assert_eq!(server.get(SECRETS, &other).status, 200);
                slowest = slowest.max(asked.elapsed());
            }
            slowest
        });
        let attempts: Vec<_> = (0..THREADS)
            .map(|nth| {
                scope.spawn({
                    let (server, token) = (&server, &token);
                    move || attempt(server, token, nth)
                })
            })
            .collect();
        for one in attempts {
            one.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        watching.join().unwrap()
    });

    assert!((1..=64).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    assert!(slowest < Duration::from_secs(5), "another caller waited for {slowest:?}");
    for (name, before) in [
        ("countersign_mcp_sessions", 0),
        ("countersign_mcp_streams", 0),
        ("countersign_waiting_callers", 0),
        ("countersign_http_connections", 1),
    ] {
        crate::kit::until(|| gauge(&server, name) == before);
    }
}

#[test]
fn streams_of_a_key_are_counted_over_both_transports() {
    let mut settings = settings();
    settings.limits.streams_per_key = 2;
    let server = Server::with(settings);
    let (token, other) = (server.token(), server.token());
    let session = |token: &str| server.raw(&opening(token)).header("mcp-session-id").unwrap().to_owned();
    let (mine, others) = (session(&token), session(&other));

    let first = listening(&server, "/mcp", &token, &mine).ok().unwrap();
    let _second = listening(&server, "/sse", &token, &mine).ok().unwrap();

    assert_eq!(gauge(&server, "countersign_mcp_streams"), 2);
    for path in ["/mcp", "/sse"] {
        let beyond = listening(&server, path, &token, &mine).err().unwrap();
        assert_eq!(beyond.refusal(), (429, "rate_limited".to_owned()), "{path}");
        assert!(listening(&server, path, &other, &others).is_ok(), "another key has its own share of {path}");
    }
    drop(first);
    crate::kit::until(|| listening(&server, "/sse", &token, &mine).is_ok());
}

#[test]
fn a_key_has_a_share_of_the_connections() {
    let mut settings = settings();
    settings.limits.connections_per_key = 2;
    let server = Server::with(settings);
    let (token, other) = (server.token(), server.token());
    let ask = |client: &mut Client, token: &str| {
        client.write(written("GET", SECRETS, &[("authorization", &format!("Bearer {token}"))], None).as_bytes());
        client.read()
    };
    let mut clients: Vec<_> = (0..3).map(|_| server.client()).collect();

    let statuses: Vec<_> = clients.iter_mut().map(|client| ask(client, &token).status).collect();

    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(ask(&mut clients[2], &token).refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(ask(&mut clients[2], &other).status, 200);
    clients.remove(0);
    crate::kit::until(|| ask(&mut clients[1], &token).status == 200);
}

#[test]
fn behind_a_proxy_a_key_has_a_share_of_what_is_at_work_and_not_of_the_proxys_connections() {
    let mut settings = settings();
    settings.limits.connections_per_key = 1;
    settings.behind_proxy = true;
    let server = Server::with(settings);
    let (token, id) = (server.token(), server.secret("a"));
    let bearer = format!("Bearer {token}");
    let ask = |path: &str| {
        let mut client = server.client();
        client.write(written("GET", path, &[("authorization", &bearer)], None).as_bytes());
        client
    };
    let mut idle: Vec<_> = (0..3).map(|_| ask(SECRETS)).collect();
    // The answers are read in turn: the test does not depend on whether the requests overlap.
    let statuses: Vec<_> = idle.iter_mut().map(|client| client.read().status).collect();
    assert!(statuses.contains(&200), "{statuses:?}");
    let mut regular = idle.remove(0);
    regular.write(written("GET", SECRETS, &[("authorization", &bearer)], None).as_bytes());
    assert_eq!(regular.read().status, 200);

    server.vault.clock.set_seconds(1_795_305_601);
    let waiting = ask(&format!("/api/v2/totp/code/{id}?min_validity=30"));
    crate::kit::until(|| server.vault.service.tally().waiting != 0);

    assert_eq!(server.get(SECRETS, &token).refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(server.get(SECRETS, &server.token()).status, 200);
    drop(waiting);
    crate::kit::until(|| server.get(SECRETS, &token).status == 200);
}

#[test]
fn connections_of_a_revoked_key_make_room() {
    let mut settings = settings();
    settings.limits.connections = 2;
    let server = Server::with(settings);
    let (key, other) = (server.key(Scope::ALL), server.token());
    let asking = |path: &str, token: &str| written("GET", path, &[("authorization", &format!("Bearer {token}"))], None);
    let mut held: Vec<_> = (0..2).map(|_| server.client()).collect();
    for client in &mut held {
        client.write(asking(SECRETS, &token_of(&key)).as_bytes());
        assert_eq!(client.read().status, 200);
    }

    server.wait(server.vault.service.perform(&server.vault.person, RevokeKey { id: key.plain.id() })).unwrap();
    // One request shows the revoked key again, the other shows no key.
    held[0].write(asking(SECRETS, &token_of(&key)).as_bytes());
    held[1].write(written("GET", "/healthz", &[], None).as_bytes());
    assert_eq!([held[0].read().status, held[1].read().status], [401, 200]);

    let mut others: Vec<_> = (0..2).map(|_| server.client()).collect();
    for client in &mut others {
        client.write(asking(SECRETS, &other).as_bytes());
        assert_eq!(client.read().status, 200);
    }
    assert!(held.iter_mut().all(|client| client.try_read().is_none()), "both have left");
}

/// Requests a code, and has a code checked, over REST and as a tool. Returns the code of each refusal, or `ok`.
fn tries(server: &Server, token: &str, id: &str) -> [String; 4] {
    let of = |body: &Value| body["error"].as_str().unwrap_or("ok").to_owned();
    let tool = |name: &str, arguments: &Value| {
        let (headers, body) = call_2026(token, name, arguments);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = server.raw(written("POST", "/mcp", &headers, Some(&body)).as_bytes()).json();
        of(&serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap())
    };
    [
        of(&server.get(&format!("/api/v2/totp/code/{id}"), token).json()),
        of(&server.post(&format!("/api/v2/totp/code/{id}/verify"), token, r#"{"code":"000000"}"#).json()),
        tool("get_totp_code", &json!({"secret_id": id})),
        tool("verify_totp_code", &json!({"secret_id": id, "code": "000000"})),
    ]
}

#[test]
fn a_foreign_key_uses_up_nothing_of_a_secrets_rate_and_does_not_learn_that_it_exists() {
    let mut settings = settings();
    settings.rate_per_secret = Some(Rate::per_minute(4));
    let server = Server::with(settings);
    let (victims, id, mine) = (server.token(), server.secret("a").to_string(), server.secret("b"));
    let limited = CreateKey { secrets: Some(vec![mine]), ..request(Scope::ALL) };
    let limited = token_of(&server.key_as(&server.vault.person, limited));
    let scopeless = token_of(&server.key([Scope::SeatsRead]));
    let account = server
        .wait(server.vault.service.perform(&server.vault.person, AddAccount { name: "other".to_owned() }))
        .unwrap();
    let stranger = countersign::domain::principal::Principal::person(account.id);
    let foreign = token_of(&server.key_as(&stranger, request(Scope::ALL)));
    let unknown = "01900000-0000-7000-8000-000000000000";

    for _ in 0..3 {
        assert_eq!(tries(&server, &limited, &id), ["not_found"; 4].map(str::to_owned));
        assert_eq!(tries(&server, &foreign, &id), ["not_found"; 4].map(str::to_owned));
        assert_eq!(tries(&server, &foreign, unknown), ["not_found"; 4].map(str::to_owned));
        assert_eq!(tries(&server, &scopeless, &id), ["permission_denied"; 4].map(str::to_owned));
    }

    assert_eq!(tries(&server, &victims, &id), ["ok"; 4].map(str::to_owned), "its own rate is whole");
    assert_eq!(tries(&server, &victims, &id), ["rate_limited"; 4].map(str::to_owned));
}

#[test]
fn a_session_that_is_ended_by_a_client_that_does_not_wait_is_gone() {
    let server = Server::start();
    let token = server.token();
    let bearer = format!("Bearer {token}");
    for _ in 0..50 {
        let session = server.raw(&opening(&token)).header("mcp-session-id").unwrap().to_owned();
        let headers = [("authorization", &*bearer), ("mcp-session-id", &*session)];
        abort(&server, written("DELETE", "/mcp", &headers, None).as_bytes());
        let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
        while post(&server, &token, Some(&session), &list).status != 404 {
            abort(&server, written("DELETE", "/mcp", &headers, None).as_bytes());
        }
    }
    crate::kit::until(|| gauge(&server, "countersign_mcp_sessions") == 0);
}
