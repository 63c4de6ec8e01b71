//! Refusals that HTTP decides on by itself: each is counted, and is in the audit log where it is a caller's.

use std::time::Duration;

use countersign::{
    domain::{
        api_key::KeyId,
        audit::{Action, Actor, AuditFilter, Outcome},
        rate::Rate,
        scope::Scope,
    },
    operations::ErrorCode,
};

use super::kit::{Client, Server, settings, token_of, written};

const SECRETS: &str = "/api/v2/totp/secrets";

/// Refusals by caller, as the audit log has them.
fn refusals(server: &Server) -> Vec<(Actor, Action, Outcome)> {
    let rows = server.wait(server.vault.all_rows(AuditFilter::default()));
    let refused = rows.into_iter().map(|row| row.entry).filter(|entry| entry.outcome != Outcome::Ok);
    refused.map(|entry| (entry.actor, entry.action, entry.outcome)).collect()
}

fn counted(server: &Server, code: ErrorCode) -> u64 {
    let tally = server.vault.service.tally();
    tally.refused.into_iter().find(|(of, _)| *of == code).unwrap().1
}

fn of_key(key: KeyId, action: Action, outcome: Outcome) -> (Actor, Action, Outcome) {
    (Actor::Key(key), action, outcome)
}

#[test]
fn who_asks_for_counters_too_often_is_in_the_audit_log() {
    let mut settings = settings();
    settings.behind_proxy = true;
    settings.rate_per_key = Some(Rate::per_minute(1));
    let server = Server::with(settings);
    let key = server.key([Scope::AuditRead]);
    let token = token_of(&key);

    assert_eq!([server.get("/metrics", &token).status, server.get("/metrics", &token).status], [200, 429]);

    assert_eq!(refusals(&server), [of_key(key.plain.id(), Action::Call, Outcome::RateLimited)]);
    assert_eq!(counted(&server, ErrorCode::RateLimited), 1);
}

#[test]
fn who_has_too_many_connections_is_in_the_audit_log() {
    let mut settings = settings();
    settings.limits.connections_per_key = 1;
    let server = Server::with(settings);
    let key = server.key([Scope::SecretsRead]);
    let ask = |client: &mut Client| {
        client.write(
            written("GET", SECRETS, &[("authorization", &format!("Bearer {}", token_of(&key)))], None).as_bytes(),
        );
        client.read().status
    };
    let (mut first, mut second) = (server.client(), server.client());

    assert_eq!((ask(&mut first), ask(&mut second)), (200, 429));

    assert_eq!(refusals(&server), [of_key(key.plain.id(), Action::Call, Outcome::RateLimited)]);
    assert_eq!(counted(&server, ErrorCode::RateLimited), 1);
}

#[test]
fn what_a_callers_request_lacks_is_in_the_audit_log() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let bearer = format!("Bearer {}", token_of(&key));
    let text = [("authorization", &*bearer), ("content-type", "text/plain")];

    assert_eq!(server.raw(written("POST", SECRETS, &text, Some("{}")).as_bytes()).status, 415);
    assert_eq!(server.raw(written("DELETE", "/mcp", &[text[0], ("mcp-session-id", "x")], None).as_bytes()).status, 404);

    let id = key.plain.id();
    let expected =
        [of_key(id, Action::SecretRegister, Outcome::InvalidArgument), of_key(id, Action::Call, Outcome::NotFound)];
    assert_eq!(refusals(&server), expected);
    assert_eq!([ErrorCode::InvalidArgument, ErrorCode::NotFound].map(|code| counted(&server, code)), [1, 1]);
}

#[test]
fn a_request_that_takes_too_long_is_counted_and_in_the_audit_log() {
    let mut settings = settings();
    settings.limits.request = Duration::from_millis(500);
    let server = Server::with(settings);
    let key = server.key(Scope::ALL);
    let other = rusqlite::Connection::open(server.vault.dir.path().join("data/vault.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut client = server.client();
    let bearer = format!("Bearer {}", token_of(&key));
    client.write(written("POST", SECRETS, &[("authorization", &bearer)], Some(r#"{"label":"a"}"#)).as_bytes());
    while counted(&server, ErrorCode::Internal) == 0 {
        std::thread::yield_now();
    }
    // From here on the row can be written.
    other.execute_batch("ROLLBACK").unwrap();

    assert_eq!(client.read().refusal(), (500, "internal".to_owned()));

    assert_eq!(refusals(&server), [of_key(key.plain.id(), Action::SecretRegister, Outcome::Internal)]);
    assert_eq!(counted(&server, ErrorCode::Internal), 1);
}

#[test]
fn what_is_refused_because_of_the_clock_is_counted() {
    let server = Server::start();
    let token = server.token();
    server.vault.clock.set_seconds(-86_400);
    assert_eq!(server.get(SECRETS, &token).status, 503);
    assert_eq!(counted(&server, ErrorCode::Unavailable), 1);
}
