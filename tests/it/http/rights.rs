//! A caller's rights are read when the work begins, not when the head has arrived; and running work ends with them.

use std::time::Duration;

use countersign::{
    domain::{
        audit::{Action, AuditFilter},
        scope::Scope,
    },
    operations::{MintedKey, RevokeKey},
};
use serde_json::json;

use super::{
    kit::{Client, Server, settings, token_of, written},
    matrix::call_2026,
    sse,
};

fn revoke(server: &Server, key: &MintedKey) {
    server.wait(server.vault.service.perform(&server.vault.person, RevokeKey { id: key.plain.id() })).unwrap();
}

/// Writes a request with a token.
type Request<'a> = &'a dyn Fn(&str) -> String;

/// Sends all but the last byte of a request, revokes the key, and sends the last byte.
fn revoked_between(server: &Server, key: &MintedKey, sent: &str) -> Client {
    let (mut client, sent) = (server.client(), sent.as_bytes());
    client.write(&sent[..sent.len() - 1]);
    assert!(client.hears_nothing(Duration::from_millis(200)), "it waits for the rest");
    revoke(server, key);
    client.write(&sent[sent.len() - 1..]);
    client
}

#[test]
fn a_key_that_is_revoked_while_its_body_arrives_gets_nothing() {
    let server = Server::start();
    let id = server.secret("a");
    let routes: [(&str, Request<'_>); 3] = [
        ("registration", &|token| {
            written(
                "POST",
                "/api/v2/totp/secrets",
                &[("authorization", &format!("Bearer {token}"))],
                Some(r#"{"label":"late"}"#),
            )
        }),
        ("verification", &|token| {
            let path = format!("/api/v2/totp/code/{id}/verify");
            written("POST", &path, &[("authorization", &format!("Bearer {token}"))], Some(r#"{"code":"000000"}"#))
        }),
        ("tool", &|token| {
            let (headers, body) = call_2026(token, "get_totp_code", &json!({"secret_id": id.to_string()}));
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            written("POST", "/mcp", &headers, Some(&body))
        }),
    ];
    for (what, request) in routes {
        let key = server.key(Scope::ALL);
        let answer = revoked_between(&server, &key, &request(&token_of(&key))).read();
        assert_eq!(answer.refusal(), (401, "unauthenticated".to_owned()), "{what}");
    }
    let key = server.key(Scope::ALL);
    let stream = sse::try_open(&server, &token_of(&key)).ok().unwrap();
    let bearer = format!("Bearer {}", token_of(&key));
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}).to_string();
    let message = written("POST", stream.endpoint(), &[("authorization", &bearer)], Some(&list));
    assert_eq!(revoked_between(&server, &key, &message).read().refusal().0, 401, "a message for a stream");
    assert_eq!(server.vault.service.tally().codes_issued, 0);
    let secrets = server.get("/api/v2/totp/secrets", &server.token()).json();
    assert_eq!(secrets["totp_secrets"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_body_that_comes_late_is_read_all_the_same() {
    let server = Server::start();
    let bearer = format!("Bearer {}", server.token());
    let sent = written("POST", "/api/v2/totp/secrets", &[("authorization", &bearer)], Some(r#"{"label":"late"}"#));
    let mut client = server.client();
    client.write(&sent.as_bytes()[..sent.len() - 5]);
    assert!(client.hears_nothing(Duration::from_millis(200)));
    client.write(&sent.as_bytes()[sent.len() - 5..]);
    assert_eq!(client.read().status, 200);
}

#[test]
fn who_has_no_right_key_is_told_so_before_the_body_has_arrived() {
    let server = Server::start();
    let sent = written("POST", "/api/v2/totp/secrets", &[("authorization", "Bearer x")], Some(r#"{"label":"late"}"#));
    let mut client = server.client();
    client.write(&sent.as_bytes()[..sent.len() - 5]);
    assert_eq!(client.read().status, 401);
}

#[test]
fn a_call_that_waits_ends_when_its_key_is_revoked_and_gives_its_step_back() {
    let server = Server::start();
    let (key, id) = (server.key(Scope::ALL), server.secret("a"));
    let bearer = format!("Bearer {}", token_of(&key));
    server.vault.clock.set_seconds(1_795_305_601);
    let path = format!("/api/v2/totp/code/{id}?single_use=true&max_wait=120");
    assert_eq!(server.get(&path, &token_of(&key)).status, 200);
    let mut waiting = server.client();
    waiting.write(written("GET", &path, &[("authorization", &bearer)], None).as_bytes());
    crate::kit::until(|| server.vault.service.tally().waiting != 0);

    revoke(&server, &key);
    // The key is checked every three seconds, long before the step begins that the call waits for.
    let looked_at = (1_795_305_605..1_795_305_629).find(|seconds| {
        server.vault.clock.set_seconds(*seconds);
        !waiting.hears_nothing(Duration::from_millis(50))
    });
    assert!(looked_at.is_some());

    assert_eq!(waiting.read().refusal(), (401, "unauthenticated".to_owned()));
    let released = AuditFilter { action: Some(Action::CodeRelease), ..AuditFilter::default() };
    crate::kit::until(|| !server.wait(server.vault.rows(released.clone())).is_empty());
}

#[test]
fn a_message_that_was_kept_back_is_not_carried_out_for_a_key_that_was_revoked_meanwhile() {
    use countersign::{
        domain::api_key::PlainKey,
        operations::{ErrorCode, ListSecrets, Offered},
    };
    let server = Server::with(settings());
    let key = server.key(Scope::ALL);
    let plain = PlainKey::from_token(&token_of(&key)).unwrap();
    let service = &server.vault.service;
    let caller = server.wait(service.authenticate(Offered::Key(plain))).unwrap();
    revoke(&server, &key);
    server.vault.clock.set_seconds(1_795_305_602);

    let refused = server.wait(service.perform(&caller, ListSecrets::default())).unwrap_err();

    assert_eq!(refused.code(), ErrorCode::Unauthenticated);
}
