//! What exists for a caller that is limited to given secrets, or bound to a seat.

use countersign::{
    clock::Clock as _,
    domain::{
        api_key::PlainKey,
        audit::{AuditFilter, Outcome},
        ids::{SeatId, SecretId},
        principal::Principal,
        scope::ScopeSet,
        seat::Seat,
    },
    service::{Code, CodeRequest, KeyRequest, Offered, Registration, SeatChanges, SeatQuery},
};

use super::{code, plain};
use crate::kit::{Vault, open_in};

async fn seat(vault: &Vault, email: &str, subject: &str) -> Seat {
    let changes =
        SeatChanges { email: Some(email.to_owned()), auth_subject: Some(subject.to_owned()), ..SeatChanges::default() };
    vault.service.add_seat(&vault.person, &changes).await.unwrap()
}

async fn offered_key(vault: &Vault, seat: Option<SeatId>, secrets: Option<Vec<SecretId>>) -> Offered {
    let request = KeyRequest {
        name: "bounded".to_owned(),
        scopes: ScopeSet::ALL,
        seat: seat.map(|id| id.to_string()),
        secrets,
        codes_per_hour: None,
        expires_at: None,
    };
    let minted = vault.service.create_key(&vault.person, request).await.unwrap();
    Offered::Key(PlainKey::from_token(&minted.plain.expose_token()).unwrap())
}

async fn holder(vault: &Vault, seat: Option<SeatId>, secrets: Option<Vec<SecretId>>) -> Principal {
    vault.service.authenticate(offered_key(vault, seat, secrets).await).await.unwrap()
}

#[tokio::test]
async fn the_trail_of_a_limited_key_holds_rows_on_its_secrets_alone() {
    let vault = Vault::new();
    let (mine, other) = (vault.register("mine").await.secret.id, vault.register("other").await.secret.id);
    let limited = holder(&vault, None, Some(vec![mine])).await;
    for id in [mine, other] {
        code(&vault.service, &vault.person, id, plain()).await.unwrap();
    }
    let seen = async |filter: AuditFilter| {
        let rows = vault.service.read_trail(&limited, filter).await.unwrap();
        rows.into_iter().map(|row| row.entry.secret).collect::<Vec<_>>()
    };

    assert_eq!(seen(AuditFilter::default()).await, [Some(mine), Some(mine)], "its registration and its code");
    assert!(seen(AuditFilter { secret: Some(other), ..AuditFilter::default() }).await.is_empty());
    assert_eq!(seen(AuditFilter { secret: Some(mine), ..AuditFilter::default() }).await.len(), 2);
    let none = holder(&vault, None, Some(Vec::new())).await;
    assert!(vault.service.read_trail(&none, AuditFilter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_trail_of_a_bound_key_holds_rows_for_its_seat_alone() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let (ada, bob) =
        (seat(&vault, "ada@example.com", "idp|ada").await, seat(&vault, "bob@example.com", "idp|bob").await);
    let bound = holder(&vault, Some(ada.id), None).await;
    for seat in [&ada, &bob] {
        let request = CodeRequest { seat: Some(seat.id.to_string()), ..plain() };
        code(&vault.service, &vault.person, id, request).await.unwrap();
    }

    let rows = vault.service.read_trail(&bound, AuditFilter::default()).await.unwrap();
    assert!(!rows.is_empty() && rows.iter().all(|row| row.entry.seat == Some(ada.id)), "{rows:?}");
    let own = AuditFilter { seat: Some(ada.id), ..AuditFilter::default() };
    assert_eq!(vault.service.read_trail(&bound, own).await.unwrap().len(), rows.len());
    let others = AuditFilter { seat: Some(bob.id), ..AuditFilter::default() };
    assert_eq!(vault.service.read_trail(&bound, others).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn to_a_bound_key_there_is_one_seat() {
    let vault = Vault::new();
    let (ada, bob) =
        (seat(&vault, "ada@example.com", "idp|ada").await, seat(&vault, "bob@example.com", "idp|bob").await);
    let bound = holder(&vault, Some(ada.id), None).await;
    let listed = async |query: SeatQuery| vault.service.list_seats(&bound, &query).await.unwrap();
    let with = |email: &str| SeatQuery { email: Some(email.to_owned()), ..SeatQuery::default() };

    assert_eq!(listed(SeatQuery::default()).await, std::slice::from_ref(&ada));
    assert_eq!(listed(with("ada@example.com")).await, std::slice::from_ref(&ada));
    assert!(listed(with("bob@example.com")).await.is_empty());
    assert!(listed(SeatQuery { limit: Some(0), ..SeatQuery::default() }).await.is_empty());
    assert!(listed(SeatQuery { offset: 1, ..SeatQuery::default() }).await.is_empty());
    for (email, count) in [(None, 1), (Some("ada@example.com"), 1), (Some("bob@example.com"), 0), (Some("x"), 0)] {
        assert_eq!(vault.service.count_seats(&bound, email).await.unwrap(), count, "{email:?}");
    }
    for own in [ada.id.to_string(), "idp|ada".to_owned()] {
        assert_eq!(vault.service.get_seat(&bound, &own).await.unwrap(), ada);
    }
    for other in [bob.id.to_string(), "idp|bob".to_owned(), "idp|nobody".to_owned()] {
        let refused = vault.service.get_seat(&bound, &other).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{other}");
    }
    let unbound = holder(&vault, None, None).await;
    assert_eq!(vault.service.list_seats(&unbound, &SeatQuery::default()).await.unwrap().len(), 2);
    assert_eq!(vault.service.get_seat(&unbound, "idp|nobody").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_limited_key_hears_why_it_registers_nothing() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let limited = holder(&vault, None, Some(vec![id])).await;
    let request = Registration { label: Some("B".to_owned()), ..Registration::default() };

    let Err(refused) = vault.service.register_secret(&limited, request).await else { panic!("it was registered") };

    assert_eq!(refused.code(), Code::PermissionDenied);
    let reason = refused.to_string();
    assert!(reason.contains("limited to given secrets") && !reason.contains("scope"), "{reason}");
}

#[tokio::test]
async fn a_damaged_account_is_not_said_to_be_none() {
    let vault = Vault::new();
    let name = async || vault.service.account_name(vault.account).await;
    assert_eq!(name().await.unwrap().as_str(), "default");

    let file = vault.dir.path().join("data/vault.db");
    rusqlite::Connection::open(file).unwrap().execute_batch("UPDATE account SET created_at = 1").unwrap();

    assert_eq!(name().await.unwrap_err().code(), Code::Internal);
    assert!(vault.service.list_accounts(&vault.person).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_refused_because_a_record_is_damaged_is_on_the_trail() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seat = seat(&vault, "ada@example.com", "ada").await.id.to_string();
    let offered = offered_key(&vault, None, None).await;
    let for_seat = CodeRequest { seat: Some(seat), ..plain() };
    let file = rusqlite::Connection::open(vault.dir.path().join("data/vault.db")).unwrap();

    file.execute_batch("UPDATE seat SET created_at = 1; UPDATE api_key SET created_at = 1").unwrap();
    assert_eq!(code(&vault.service, &vault.person, id, for_seat).await.unwrap_err().code(), Code::Internal);
    assert_eq!(vault.service.authenticate(offered).await.unwrap_err().code(), Code::Internal);
    file.execute_batch("UPDATE secret SET created_at = 1").unwrap();
    assert_eq!(code(&vault.service, &vault.person, id, plain()).await.unwrap_err().code(), Code::Internal);
    let tried = vault.service.verify_code(&vault.person, id, "123456", None).await;
    assert_eq!(tried.unwrap_err().code(), Code::Internal);

    let rows = open_in(vault.dir.path(), vault.clock.now()).store.trail(AuditFilter::default()).await.unwrap();
    let refused = rows.iter().filter(|row| row.entry.outcome == Outcome::Internal);
    let actions: Vec<_> = refused.map(|row| row.entry.action.as_str()).collect();
    assert_eq!(actions, ["code.get", "authenticate", "code.get", "code.verify"]);
}
