//! Keys: their rights, their expiry, and that no caller can widen a key's rights.

use std::{sync::Arc, time::Duration};

use countersign::{
    clock::Clock as _,
    domain::{
        api_key::PlainKey,
        audit::{Action, AuditFilter, Outcome},
        scope::{Scope, ScopeSet},
        time::Timestamp,
    },
    operations::{
        AddSeat, CreateKey, CreateToken, DeleteSecret, EnableKey, ErrorCode, ListKeys, ListSecrets, MintedKey, Offered,
        RemoveSeat, RevokeKey, SeatChanges,
    },
    random::SystemRandom,
    vault::{self, OpenRequest, Source, VaultRequest, Writes},
};

use super::{code, plain};
use crate::kit::{Vault, typed};

fn request() -> CreateKey {
    CreateKey {
        name: "agent".to_owned(),
        scopes: ScopeSet::of_a_new_key(),
        seat: None,
        secrets: None,
        codes_per_hour: None,
        expires_at: None,
    }
}

fn again(minted: &MintedKey) -> PlainKey {
    PlainKey::from_token(&minted.plain.expose_token()).unwrap()
}

#[tokio::test]
async fn a_key_does_what_it_was_given_until_it_is_revoked() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let minted = vault.service.perform(&vault.person, request()).await.unwrap();
    let caller = vault.service.authenticate(Offered::Key(again(&minted))).await.unwrap();
    code(&vault.service, &caller, id, plain()).await.unwrap();
    assert_eq!(
        vault.service.perform(&caller, DeleteSecret { secret_id: id }).await.unwrap_err().code(),
        ErrorCode::PermissionDenied
    );
    assert_eq!(vault.service.perform(&caller, ListKeys).await.unwrap_err().code(), ErrorCode::PermissionDenied);

    let elsewhere = vault.another_service();
    vault.service.perform(&vault.person, RevokeKey { id: minted.key.id }).await.unwrap();
    let refusal = elsewhere.authenticate(Offered::Key(again(&minted))).await.unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::Unauthenticated);
}

#[tokio::test]
async fn a_key_is_off_after_an_accepted_loss_until_a_person_enables_it() {
    let vault = Vault::new();
    let minted = vault.service.perform(&vault.person, request()).await.unwrap();
    let revoked = vault.service.perform(&vault.person, request()).await.unwrap();
    vault.service.perform(&vault.person, RevokeKey { id: revoked.key.id }).await.unwrap();
    let running = vault.service.authenticate(Offered::Key(again(&minted))).await.unwrap();
    let token = vault.service.perform(&running, CreateToken::default()).await.unwrap().plain;

    let dir = vault.dir.path();
    let store = OpenRequest {
        url: crate::postgres::address_for(dir),
        data_dir: dir.join("data"),
        writes: Writes::Inline,
        make: false,
    };
    let place = VaultRequest {
        store,
        source: Arc::new(Source::file(None, dir.join("config/keys"))),
        state_dir: Some(dir.join("state")),
        now: vault.clock.now(),
    };
    vault::accept_loss(&place, Arc::new(SystemRandom)).await.unwrap().close().await.unwrap();

    let refusal = vault.service.authenticate(Offered::Key(again(&minted))).await.unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::Unauthenticated);
    assert!(!vault.service.is_key_good(minted.key.id).await.unwrap());
    let by_itself = vault.service.perform(&running, EnableKey { id: minted.key.id }).await.unwrap_err();
    assert_eq!(by_itself.code(), ErrorCode::PermissionDenied);
    vault.service.perform(&vault.person, EnableKey { id: minted.key.id }).await.unwrap();
    vault.service.authenticate(Offered::Key(again(&minted))).await.unwrap();
    let refusal = vault.service.authenticate(Offered::Token(token)).await.unwrap_err();
    assert_eq!(refusal.code(), ErrorCode::Unauthenticated, "the older copy may not know that it was revoked");
    for id in [minted.key.id, revoked.key.id] {
        let refusal = vault.service.perform(&vault.person, EnableKey { id }).await.unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::InvalidArgument);
    }
}

#[tokio::test(start_paused = true)]
async fn who_offers_a_wrong_key_and_does_not_wait_for_the_answer_is_in_the_audit_log() {
    let vault = Vault::new();
    let minted = vault.service.perform(&vault.person, request()).await.unwrap();
    vault.service.perform(&vault.person, RevokeKey { id: minted.key.id }).await.unwrap();

    let asking = vault.service.authenticate(Offered::Key(again(&minted)));
    assert!(tokio::time::timeout(Duration::from_millis(1), asking).await.is_err(), "refused after a pause alone");

    let filter = AuditFilter { action: Some(Action::Authenticate), ..AuditFilter::default() };
    let rows = vault.all_rows(filter).await;
    let rows: Vec<_> = rows.iter().map(|row| (row.entry.outcome, row.entry.key)).collect();
    assert_eq!(rows, [(Outcome::Unauthenticated, Some(minted.key.id))]);
    let tally = vault.service.tally();
    assert!(tally.refused.contains(&(ErrorCode::Unauthenticated, 1)), "{tally:?}");
}

#[tokio::test]
async fn a_key_stops_when_it_expires() {
    let vault = Vault::new();
    let expires_at = Some(countersign::clock::Clock::now(&*vault.clock).plus(Duration::from_mins(1)));
    let minted = vault.service.perform(&vault.person, CreateKey { expires_at, ..request() }).await.unwrap();
    vault.service.authenticate(Offered::Key(again(&minted))).await.unwrap();
    vault.clock.set_seconds(1_795_305_660);
    assert!(vault.service.authenticate(Offered::Key(again(&minted))).await.is_err());
}

#[tokio::test]
async fn a_wrong_secret_for_a_real_key_is_refused_and_on_the_trail() {
    let vault = Vault::new();
    let minted = vault.service.perform(&vault.person, request()).await.unwrap();
    let other = vault.service.perform(&vault.person, request()).await.unwrap();
    assert!(
        PlainKey::from_pair(minted.key.id.as_str(), other.plain.expose_secret()).is_err(),
        "the checksum binds the id"
    );
    assert!(vault.service.authenticate(Offered::Junk).await.is_err());
    let filter = AuditFilter { action: Some(Action::Authenticate), ..AuditFilter::default() };
    assert_eq!(vault.all_rows(filter).await.len(), 1);
}

#[tokio::test]
async fn a_key_limited_to_secrets_sees_no_others() {
    let vault = Vault::new();
    let granted = vault.register("granted").await.secret.id;
    let hidden = vault.register("hidden").await.secret.id;
    let limited = CreateKey { secrets: Some(vec![granted]), scopes: ScopeSet::ALL, ..request() };
    let minted = vault.service.perform(&vault.person, limited).await.unwrap();
    let caller = vault.service.authenticate(Offered::Key(again(&minted))).await.unwrap();
    code(&vault.service, &caller, granted, plain()).await.unwrap();
    assert_eq!(code(&vault.service, &caller, hidden, plain()).await.unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(
        vault.service.perform(&caller, DeleteSecret { secret_id: hidden }).await.unwrap_err().code(),
        ErrorCode::NotFound
    );
    assert_eq!(vault.service.perform(&caller, typed(hidden, "123456")).await.unwrap_err().code(), ErrorCode::NotFound);
    assert_eq!(vault.service.perform(&caller, ListSecrets::default()).await.unwrap().total, 1);
}

#[tokio::test]
async fn a_key_bound_to_a_seat_calls_for_no_other() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seat = |email: &str| SeatChanges { email: Some(email.to_owned()), ..SeatChanges::default() };
    let ada = vault.service.perform(&vault.person, AddSeat { profile: seat("ada@example.com") }).await.unwrap();
    let bob = vault.service.perform(&vault.person, AddSeat { profile: seat("bob@example.com") }).await.unwrap();
    let bound = CreateKey { seat: Some(ada.id.to_string()), ..request() };
    let minted = vault.service.perform(&vault.person, bound).await.unwrap();
    let caller = vault.service.authenticate(Offered::Key(again(&minted))).await.unwrap();
    let naming = |seat: String| countersign::operations::GetCode { seat_id: Some(seat), ..plain() };
    code(&vault.service, &caller, id, naming(ada.id.to_string())).await.unwrap();
    for other in [bob.id.to_string(), "nobody".to_owned()] {
        let refusal = code(&vault.service, &caller, id, naming(other)).await.unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::PermissionDenied);
    }
    vault.service.perform(&vault.person, RemoveSeat { seat: ada.id.to_string() }).await.unwrap();
    assert!(vault.service.authenticate(Offered::Key(again(&minted))).await.is_err(), "its seat is gone");
}

#[tokio::test]
async fn logins_act_for_the_seat_of_their_subject() {
    let vault = Vault::new();
    let seat = SeatChanges {
        email: Some("ada@example.com".to_owned()),
        auth_subject: Some("idp|ada".to_owned()),
        ..SeatChanges::default()
    };
    let ada = vault.service.perform(&vault.person, AddSeat { profile: seat }).await.unwrap();
    let login = |subject: &str| Offered::Login {
        account: vault.account,
        subject: subject.to_owned(),
        scopes: ScopeSet::default().with(Scope::CodesRead),
        expires_at: Timestamp::from_seconds(1_795_305_660),
    };
    let caller = vault.service.authenticate(login("idp|ada")).await.unwrap();
    assert_eq!(caller.seat(), Some(ada.id));
    for other in ["idp|eve", " idp|ada", "idp|ada ", "idp|ada\n", "IDP|ada", "idp|ad", ""] {
        let refusal = vault.service.authenticate(login(other)).await.unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::PermissionDenied, "{other:?} is not exactly a seat's subject");
    }
}

#[tokio::test]
async fn a_key_that_exists_is_refused_no_later_than_one_that_does_not() {
    let vault = Vault::new();
    let minted = vault.service.perform(&vault.person, request()).await.unwrap();
    let other = vault.service.perform(&vault.person, request()).await.unwrap();
    let token = other.plain.expose_token().replace(&other.plain.id().to_string(), &minted.plain.id().to_string());
    assert!(PlainKey::from_token(&token).is_err(), "the checksum covers the id");
    let secret = zeroize::Zeroizing::new([7; 32]);
    let wrong = PlainKey::from_random(&id_bytes(minted.plain.id().as_str()), &secret);
    assert_eq!(wrong.id(), minted.plain.id());
    let unknown = PlainKey::from_random(&[61; 12], &secret);

    for key in [wrong, unknown] {
        let begun = std::time::Instant::now();
        assert!(vault.service.authenticate(Offered::Key(key)).await.is_err());
        assert!(begun.elapsed() >= Duration::from_millis(5), "both take the same time: longer than either needs");
    }
}

/// The bytes of this id.
fn id_bytes(id: &str) -> [u8; 12] {
    let digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let bytes: Vec<u8> = id.chars().map(|c| u8::try_from(digits.find(c).unwrap()).unwrap()).collect();
    bytes.try_into().unwrap()
}
