//! Skyvern's webhook: a request with a valid signature gets a code of a secret of the account, and nothing else.

use std::sync::Arc;

use countersign::{
    clock::Clock as _,
    domain::audit::{Action, AuditFilter, Outcome},
    operations::{SecretChanges, UpdateSecret},
    transport::http::{ClientSecret, HookSettings, HttpSettings},
};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::kit::{Answer, Server, settings, written};
use crate::kit::Vault;

const KEY: &str = "test-api-key";
const BODY: &str = r#"{"task_id":"tsk_1","workflow_run_id":"wr_1"}"#;

fn served() -> Server {
    let vault = Vault::new();
    let (service, key) = (vault.service.clone(), Arc::new(ClientSecret::new(KEY.to_owned().into())));
    let hook = Some(HookSettings { account: vault.account, key });
    Server::of(vault, service, HttpSettings { hook, ..settings() })
}

/// A request in Skyvern's format, `ahead` seconds from the server's time.
fn asked(server: &Server, secret: &str, key: &str, ahead: i64) -> Answer {
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap().chain_update(BODY);
    let signature = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
    let at = (server.vault.clock.now().seconds() + ahead).to_string();
    let headers = [("x-skyvern-timestamp", at.as_str()), ("x-skyvern-signature", signature.as_str())];
    server.raw(written("POST", &format!("/hooks/skyvern/{secret}"), &headers, Some(BODY)).as_bytes())
}

#[test]
fn who_signs_gets_a_code_that_nobody_else_gets() {
    let server = served();
    let secret = server.secret("alice").to_string();
    let first = asked(&server, &secret, KEY, 0);
    assert_eq!(first.status, 200);
    let code = first.json()["verification_code"].as_str().unwrap().to_owned();
    assert!(code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()), "{code}");

    let filter = AuditFilter { action: Some(Action::CodeGet), ..AuditFilter::default() };
    let rows = server.wait(server.vault.rows(filter));
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row.entry.actor.kind(), "hook");
    assert_eq!(row.entry.purpose.as_ref().unwrap().as_str(), "skyvern task tsk_1 run wr_1");

    // The next code comes with the next step; until then Skyvern has to repeat its request.
    let clock = server.vault.clock.clone();
    let (now, hand) = (clock.now().seconds(), clock.clone());
    let later = std::thread::spawn(move || hand.set_seconds(now + 30));
    let second = asked(&server, &secret, KEY, 0).json()["verification_code"].as_str().unwrap().to_owned();
    later.join().unwrap();
    assert_ne!(second, code);
}

#[test]
fn who_does_not_sign_gets_nothing() {
    let server = served();
    let secret = server.secret("alice").to_string();
    for (key, ahead) in [("another-key", 0), (KEY, 301), (KEY, -301)] {
        let refused = asked(&server, &secret, key, ahead);
        assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("unauthenticated")), "{key} {ahead}");
    }
    let rows = server
        .wait(server.vault.all_rows(AuditFilter { action: Some(Action::Authenticate), ..AuditFilter::default() }));
    assert_eq!(rows.iter().filter(|row| row.entry.outcome == Outcome::Unauthenticated).count(), 3);
    // A server without a key has no such route.
    let without = Server::start();
    let secret = without.secret("alice").to_string();
    assert_eq!(asked(&without, &secret, KEY, 0).status, 404);
}

#[test]
fn a_hook_reaches_no_secret_that_is_for_pages_alone_and_none_that_is_not_there() {
    let server = served();
    let id = server.secret("alice");
    let changes = SecretChanges {
        fill_only: Some(true),
        origins: Some(vec!["https://login.example.com".to_owned()]),
        ..SecretChanges::default()
    };
    server.wait(server.vault.service.perform(&server.vault.person, UpdateSecret { id, changes })).unwrap();
    let refused = asked(&server, &id.to_string(), KEY, 0);
    assert_eq!((refused.status, refused.json()["error"].as_str()), (403, Some("permission_denied")));
    let missing = asked(&server, "01a2008d-7400-7000-8000-000000000000", KEY, 0);
    assert_eq!((missing.status, missing.json()["error"].as_str()), (404, Some("not_found")));
    let wrong = asked(&server, "alice", KEY, 0);
    assert_eq!((wrong.status, wrong.json()["error"].as_str()), (400, Some("invalid_argument")));
}
