//! Short-lived tokens: made from a key by its holder, with narrower rights, and invalid once the key is.

use std::time::Duration;

use countersign::{
    clock::Clock as _,
    domain::{audit::AuditFilter, limits::TOKENS_MAX, rate::Rate, scope::Scope, time::Timestamp},
    operations::{AddSeat, CreateKey, CreateToken, Offered, RevokeKey, SeatChanges},
};
use serde_json::{Value, json};

use super::{
    kit::{Server, request, settings, token_of, written},
    mcp, sse,
};

const TOKENS: &str = "/v3/auth/tokens";
const SECRETS: &str = "/api/v2/totp/secrets";

fn minted(server: &Server, key: &str, body: &Value) -> (String, String) {
    let answer = server.post(TOKENS, key, &body.to_string());
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let text = |name: &str| answer.json()[name].as_str().unwrap().to_owned();
    (text("token"), text("token_id"))
}

fn later(server: &Server, seconds: i64) {
    server.vault.clock.set_seconds(server.vault.clock.now().seconds() + seconds);
}

#[test]
fn a_token_works_as_its_key_until_it_expires() {
    let server = Server::start();
    let key = server.token();
    // The official clients send no body and no content type.
    let answer = server.raw(written("POST", TOKENS, &[("authorization", &format!("Bearer {key}"))], None).as_bytes());
    let body = answer.json();
    let expires: Timestamp = body["expires_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(server.vault.clock.now().until(expires), Duration::from_mins(15));
    assert_eq!(
        (&body["token_type"], &body["phone_numbers"], &body["status"]),
        (&json!("Bearer"), &json!([]), &json!("OK"))
    );
    assert_eq!(body["scopes"].as_array().unwrap().len(), Scope::ALL.len());
    let token = body["token"].as_str().unwrap();

    assert!(token.starts_with("cst_"));
    let secret = server.secret("github");
    assert_eq!(server.get(SECRETS, token).status, 200);
    assert_eq!(server.get(&format!("/api/v2/totp/code/{secret}"), token).status, 200);
    later(&server, 899);
    assert_eq!(server.get(SECRETS, token).status, 200);
    later(&server, 1);
    assert_eq!(server.get(SECRETS, token).refusal(), (401, "unauthenticated".to_owned()));
}

#[test]
fn only_the_key_itself_makes_and_revokes_its_tokens() {
    let server = Server::start();
    let (key, other) = (server.token(), server.token());
    let (token, id) = minted(&server, &key, &json!({}));
    let (sibling, _) = minted(&server, &key, &json!({}));
    let path = format!("{TOKENS}/{id}");

    assert_eq!(server.post(TOKENS, &token, "{}").refusal(), (403, "permission_denied".to_owned()));
    assert_eq!(server.delete(&path, &token).refusal(), (403, "permission_denied".to_owned()));
    assert_eq!(server.delete(&path, &other).refusal(), (404, "not_found".to_owned()));
    assert_eq!(server.get(SECRETS, &token).status, 200);

    assert_eq!(server.delete(&path, &key).status, 200);
    assert_eq!(server.get(SECRETS, &token).status, 401);
    assert_eq!(server.get(SECRETS, &sibling).status, 200);
    assert_eq!(server.delete(&path, &key).refusal(), (404, "not_found".to_owned()));
    assert_eq!(server.delete(&format!("{TOKENS}/nonsense"), &key).refusal(), (400, "invalid_argument".to_owned()));
}

#[test]
fn a_token_has_what_was_asked_for_and_its_key_has() {
    let server = Server::start();
    let (one, two) = (server.secret("one"), server.secret("two"));
    let key = token_of(&server.key([Scope::CodesRead, Scope::SecretsRead]));
    let code = |token: &str, secret: &_| server.get(&format!("/api/v2/totp/code/{secret}"), token).status;

    let (codes, _) = minted(&server, &key, &json!({"scopes": "codes:read"}));
    assert_eq!((code(&codes, &one), server.get(SECRETS, &codes).status), (200, 403));
    let (of_one, _) = minted(&server, &key, &json!({"secret_ids": [one.to_string()]}));
    assert_eq!((code(&of_one, &one), code(&of_one, &two)), (200, 404));
    let listed = server.get(SECRETS, &of_one).json().to_string();
    assert!(listed.contains(&one.to_string()) && !listed.contains(&two.to_string()), "{listed}");

    for (body, field) in [
        (json!({"scopes": "codes:read,secrets:write"}), "among those of the key: codes:read,secrets:read"),
        (json!({"scopes": "everything"}), "`scopes`"),
        (json!({"secret_ids": []}), "`secret_ids`"),
        (json!({"expires_in_seconds": 0}), "`expires_in_seconds`"),
        (json!({"expires_in_seconds": 86_401}), "`expires_in_seconds`"),
        (json!({"phone_number": "+15551234567"}), "phone_number"),
    ] {
        let answer = server.post(TOKENS, &key, &body.to_string());
        assert_eq!(answer.refusal(), (400, "invalid_argument".to_owned()), "{body}");
        assert!(answer.json()["message"].as_str().unwrap().contains(field), "{body}: {}", answer.json());
    }
    let unknown = json!({"secret_ids": ["01a2008d-7400-7000-8000-000000000000"]}).to_string();
    assert_eq!(server.post(TOKENS, &key, &unknown).refusal().1, "not_found");
}

#[test]
fn what_limits_a_key_limits_its_tokens() {
    let server = Server::start();
    let (own, other) = (server.secret("own"), server.secret("other"));
    let profile = SeatChanges { email: Some("ada@example.com".to_owned()), ..SeatChanges::default() };
    let seat = server.wait(server.vault.service.perform(&server.vault.person, AddSeat { profile })).unwrap();
    let ends = server.vault.clock.now().plus(Duration::from_mins(1));
    let wanted = CreateKey {
        secrets: Some(vec![own]),
        seat: Some(seat.id.to_string()),
        codes_per_hour: Some(1),
        expires_at: Some(ends),
        ..request(Scope::ALL)
    };
    let key = token_of(&server.key_as(&server.vault.person, wanted));
    let code = |token: &str, secret: &_| server.get(&format!("/api/v2/totp/code/{secret}"), token).refusal_or_ok();

    let outside = json!({"secret_ids": [other.to_string()]}).to_string();
    assert_eq!(server.post(TOKENS, &key, &outside).refusal().1, "not_found");
    let answer = server.post(TOKENS, &key, "{}").json();
    assert_eq!(answer["expires_at"].as_str().unwrap().parse::<Timestamp>(), Ok(ends), "it ends with its key");
    let token = answer["token"].as_str().unwrap();
    assert_eq!(code(token, &other), "not_found");
    assert_eq!(code(token, &own), "OK");
    later(&server, 30);
    assert_eq!(code(&key, &own), "rate_limited", "a code of the token is one of the key");
    let rows = server.wait(server.vault.all_rows(AuditFilter { seat: Some(seat.id), ..AuditFilter::default() }));
    assert!(rows.iter().any(|row| row.entry.actor.kind() == "token" && row.entry.secret == Some(own)));
}

#[test]
fn tokens_end_with_their_key() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let (token, _) = minted(&server, &token_of(&key), &json!({}));
    assert_eq!(server.get(SECRETS, &token).status, 200);

    server.wait(server.vault.service.perform(&server.vault.person, RevokeKey { id: key.plain.id() })).unwrap();

    assert_eq!(server.get(SECRETS, &token).status, 401);
}

#[test]
fn a_tokens_rows_in_the_audit_log_name_its_key() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let (token, _) = minted(&server, &token_of(&key), &json!({"scopes": "codes:read"}));
    server.get(&format!("/api/v2/totp/code/{}", server.secret("github")), &token);
    server.get(SECRETS, &token);

    let rows = server.get("/api/v2/audit", &token_of(&key)).json();
    let told: Vec<_> = rows["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["key"] == key.plain.id().to_string())
        .map(|row| format!("{} {} {}", row["actor"], row["action"], row["outcome"]).replace('"', ""))
        .collect();
    for row in ["key token.create ok", "token code.get ok", "token call permission_denied"] {
        assert!(told.iter().any(|told| told == row), "{row}: {told:?}");
    }
    assert!(!rows.to_string().contains("cst_"));
}

#[test]
fn the_tokens_of_a_key_share_a_rate() {
    let mut settings = settings();
    settings.rate_per_key = Some(Rate::per_minute(2));
    let server = Server::with(settings);
    let (key, other) = (server.token(), server.token());
    let tokens = [&key, &key, &other].map(|key| {
        let made = server.wait(
            server
                .vault
                .service
                .authenticate(Offered::Key(countersign::domain::api_key::PlainKey::from_token(key).unwrap())),
        );
        server.wait(server.vault.service.perform(&made.unwrap(), CreateToken::default())).unwrap().plain
    });
    let ask = |token: &str| server.get(SECRETS, token).status;

    assert_eq!([0, 1, 0, 1].map(|nth: usize| ask(tokens[nth].expose())), [200, 200, 429, 429]);
    assert_eq!((ask(tokens[2].expose()), ask(&key)), (200, 200), "others have their own");
}

#[test]
fn a_session_of_the_key_is_not_its_tokens() {
    let server = Server::start();
    let key = server.token();
    let session = mcp::try_open(&server, &key).unwrap();
    let (token, _) = minted(&server, &key, &json!({}));
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});

    assert_eq!(mcp::post(&server, &key, Some(&session), &list).status, 200);
    assert_eq!(mcp::post(&server, &token, Some(&session), &list).status, 404);
    let own = mcp::try_open(&server, &token).unwrap();
    assert_eq!(mcp::post(&server, &token, Some(&own), &list).status, 200);
}

#[test]
fn a_stream_ends_with_the_token_that_opened_it() {
    let mut settings = settings();
    settings.limits.keep_alive = Duration::from_millis(50);
    let server = Server::with(settings);
    let key = server.token();
    let (token, id) = minted(&server, &key, &json!({}));
    let (sibling, _) = minted(&server, &key, &json!({}));
    let (stream, other) = (sse::opened(&server, &token).unwrap(), sse::opened(&server, &sibling).unwrap());

    assert_eq!(server.delete(&format!("{TOKENS}/{id}"), &key).status, 200);

    crate::kit::until(|| sse::streams(&server) == 1);
    drop((stream, other));
}

#[test]
fn a_key_has_as_many_live_tokens_as_it_may_and_expired_ones_make_room() {
    let server = Server::start();
    let key = server.key(Scope::ALL);
    let service = &server.vault.service;
    let caller = server.wait(
        service
            .authenticate(Offered::Key(countersign::domain::api_key::PlainKey::from_token(&token_of(&key)).unwrap())),
    );
    let caller = caller.unwrap();
    server.wait(async {
        for _ in 0..TOKENS_MAX {
            service.perform(&caller, CreateToken::default()).await.unwrap();
        }
    });

    let refused = server.post(TOKENS, &token_of(&key), "{}");
    assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("900"));
    later(&server, 900);
    let (token, _) = minted(&server, &token_of(&key), &json!({}));
    assert_eq!(server.get(SECRETS, &token).status, 200);
}
