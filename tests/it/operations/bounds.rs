//! The view of a caller that is limited to some secrets, or bound to a seat.

use countersign::{
    domain::{
        api_key::PlainKey,
        audit::{AuditFilter, Outcome},
        ids::{SeatId, SecretId},
        principal::Principal,
        scope::ScopeSet,
        seat::Seat,
    },
    operations::{
        AddSeat, Count, CountSeats, CreateKey, ErrorCode, GetCode, GetSeat, ListAccounts, ListSeats, Offered,
        Registration, SeatChanges,
    },
    store::Kind,
};

use super::{code, plain};
use crate::kit::{Vault, registration_of, rows, typed};

async fn seat(vault: &Vault, email: &str, subject: &str) -> Seat {
    let changes =
        SeatChanges { email: Some(email.to_owned()), auth_subject: Some(subject.to_owned()), ..SeatChanges::default() };
    vault.service.perform(&vault.person, AddSeat { profile: changes }).await.unwrap()
}

async fn offered_key(vault: &Vault, seat: Option<SeatId>, secrets: Option<Vec<SecretId>>) -> Offered {
    let request = CreateKey {
        name: "bounded".to_owned(),
        scopes: ScopeSet::ALL,
        seat: seat.map(|id| id.to_string()),
        secrets,
        codes_per_hour: None,
        expires_at: None,
    };
    let minted = vault.service.perform(&vault.person, request).await.unwrap();
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
        let rows = rows(&vault.service, &limited, filter).await.unwrap();
        rows.into_iter().map(|row| row.entry.secret).collect::<Vec<_>>()
    };

    assert_eq!(seen(AuditFilter::default()).await, [Some(mine), Some(mine)], "its registration and its code");
    assert!(seen(AuditFilter { secret: Some(other), ..AuditFilter::default() }).await.is_empty());
    assert_eq!(seen(AuditFilter { secret: Some(mine), ..AuditFilter::default() }).await.len(), 2);
    let none = holder(&vault, None, Some(Vec::new())).await;
    assert!(rows(&vault.service, &none, AuditFilter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_trail_of_a_bound_key_holds_rows_for_its_seat_alone() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let (ada, bob) =
        (seat(&vault, "ada@example.com", "idp|ada").await, seat(&vault, "bob@example.com", "idp|bob").await);
    let bound = holder(&vault, Some(ada.id), None).await;
    for seat in [&ada, &bob] {
        let request = GetCode { seat_id: Some(seat.id.to_string()), ..plain() };
        code(&vault.service, &vault.person, id, request).await.unwrap();
    }

    let seen = rows(&vault.service, &bound, AuditFilter::default()).await.unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|row| row.entry.seat == Some(ada.id)), "{seen:?}");
    let own = AuditFilter { seat: Some(ada.id), ..AuditFilter::default() };
    assert_eq!(rows(&vault.service, &bound, own).await.unwrap().len(), seen.len());
    let others = AuditFilter { seat: Some(bob.id), ..AuditFilter::default() };
    assert_eq!(rows(&vault.service, &bound, others).await.unwrap_err().code(), ErrorCode::PermissionDenied);
}

#[tokio::test]
async fn to_a_bound_key_there_is_one_seat() {
    let vault = Vault::new();
    let (ada, bob) =
        (seat(&vault, "ada@example.com", "idp|ada").await, seat(&vault, "bob@example.com", "idp|bob").await);
    let bound = holder(&vault, Some(ada.id), None).await;
    let listed = async |query: ListSeats| vault.service.perform(&bound, query).await.unwrap().seats;
    let with = |email: &str| ListSeats { email: Some(email.to_owned()), ..ListSeats::default() };

    assert_eq!(listed(ListSeats::default()).await, std::slice::from_ref(&ada));
    assert_eq!(listed(with("ada@example.com")).await, std::slice::from_ref(&ada));
    assert!(listed(with("bob@example.com")).await.is_empty());
    assert!(listed(ListSeats { limit: Count::new(0), ..ListSeats::default() }).await.is_empty());
    assert!(listed(ListSeats { offset: 1, ..ListSeats::default() }).await.is_empty());
    for (email, count) in [(None, 1), (Some("ada@example.com"), 1), (Some("bob@example.com"), 0), (Some("x"), 0)] {
        assert_eq!(
            vault.service.perform(&bound, CountSeats { email: email.map(str::to_owned) }).await.unwrap(),
            count,
            "{email:?}"
        );
    }
    for own in [ada.id.to_string(), "idp|ada".to_owned()] {
        assert_eq!(vault.service.perform(&bound, GetSeat { seat_id: own.clone() }).await.unwrap().0, ada);
    }
    for other in [bob.id.to_string(), "idp|bob".to_owned(), "idp|nobody".to_owned()] {
        let refused = vault.service.perform(&bound, GetSeat { seat_id: other.clone() }).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::PermissionDenied, "{other}");
    }
    let unbound = holder(&vault, None, None).await;
    assert_eq!(vault.service.perform(&unbound, ListSeats::default()).await.unwrap().seats.len(), 2);
    assert_eq!(
        vault.service.perform(&unbound, GetSeat { seat_id: "idp|nobody".to_owned() }).await.unwrap_err().code(),
        ErrorCode::NotFound
    );
}

#[tokio::test]
async fn a_limited_key_hears_why_it_registers_nothing() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let limited = holder(&vault, None, Some(vec![id])).await;
    let request = Registration { label: Some("B".to_owned()), ..Registration::default() };

    let Err(refused) = vault.service.perform(&limited, registration_of(request)).await else {
        panic!("it was registered")
    };

    assert_eq!(refused.code(), ErrorCode::PermissionDenied);
    let reason = refused.to_string();
    assert!(reason.contains("limited to given secrets") && !reason.contains("scope"), "{reason}");
}

/// Changes the bodies of all records of a kind, without the vault's key.
fn damage(vault: &Vault, kind: Kind) {
    let file = rusqlite::Connection::open(vault.dir.path().join("data/vault.db")).unwrap();
    let changed =
        file.execute("UPDATE record SET body = CAST(body || ' ' AS BLOB) WHERE kind = ?", [kind as u8]).unwrap();
    assert!(changed > 0);
}

#[tokio::test]
async fn a_damaged_account_is_not_said_to_be_none() {
    let vault = Vault::new();
    let seats = async || vault.service.perform(&vault.person, ListSeats::default()).await;
    assert_eq!(seats().await.unwrap().account.name.as_str(), "default");

    damage(&vault, Kind::Account);

    assert_eq!(seats().await.unwrap_err().code(), ErrorCode::Internal);
    assert!(vault.service.perform(&vault.person, ListAccounts).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_refused_because_a_record_is_damaged_is_on_the_trail() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seat = seat(&vault, "ada@example.com", "ada").await.id.to_string();
    let offered = offered_key(&vault, None, None).await;
    let for_seat = GetCode { seat_id: Some(seat), ..plain() };

    damage(&vault, Kind::Seat);
    damage(&vault, Kind::ApiKey);
    assert_eq!(code(&vault.service, &vault.person, id, for_seat).await.unwrap_err().code(), ErrorCode::Internal);
    assert_eq!(vault.service.authenticate(offered).await.unwrap_err().code(), ErrorCode::Internal);
    damage(&vault, Kind::Secret);
    assert_eq!(code(&vault.service, &vault.person, id, plain()).await.unwrap_err().code(), ErrorCode::Internal);
    let tried = vault.service.perform(&vault.person, typed(id, "123456")).await;
    assert_eq!(tried.unwrap_err().code(), ErrorCode::Internal);

    let rows = vault.all_rows(AuditFilter::default()).await;
    let refused = rows.iter().filter(|row| row.entry.outcome == Outcome::Internal);
    let actions: Vec<_> = refused.map(|row| row.entry.action.as_str()).collect();
    assert_eq!(actions, ["code.get", "authenticate", "code.get", "code.verify"]);
}
