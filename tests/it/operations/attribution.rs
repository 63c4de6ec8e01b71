//! The attribution of codes: the caller, the person and the purpose; the limit of codes an hour; and the origin of a
//! code.

use countersign::{
    domain::{
        api_key::PlainKey,
        audit::{Action, AuditFilter, ChainHead, Outcome},
        limits::TRACED_ROWS_MAX,
        principal::Principal,
        scope::ScopeSet,
    },
    operations::{
        AddAccount, AddSeat, CountSeats, CreateKey, DeleteSecret, ErrorCode, Finding, GetCode, GetSeat, GetSecret,
        ListSeats, ListSecrets, Offered, Refusal, Registration, RemoveSeat, SeatChanges, Seconds, TraceCode,
        VerifyAudit,
    },
};

use zeroize::Zeroizing;

use super::{code, plain};
use crate::kit::{Vault, registration_of, rows, typed};

const START: i64 = 1_795_305_600;

fn trace(digits: &str) -> TraceCode {
    TraceCode { digits: Zeroizing::new(digits.to_owned()), secret: None }
}

#[tokio::test]
async fn the_trail_says_who_for_whom_and_why() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seat = SeatChanges {
        email: Some("ada@example.com".to_owned()),
        auth_subject: Some("idp|ada".to_owned()),
        ..SeatChanges::default()
    };
    let ada = vault.service.perform(&vault.person, AddSeat { profile: seat }).await.unwrap();
    let request = GetCode {
        seat_id: Some("idp|ada".to_owned()),
        purpose: Some("log in to the billing portal".to_owned()),
        ..plain()
    };
    let digits = code(&vault.service, &vault.person, id, request).await.unwrap();
    code(&vault.service, &vault.person, id, plain()).await.unwrap();

    let filter = AuditFilter { seat: Some(ada.id), action: Some(Action::CodeGet), ..AuditFilter::default() };
    let rows = vault.rows(filter).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].entry.purpose.as_ref().unwrap().as_str(), "log in to the billing portal");

    let traced = vault.service.perform(&vault.person, trace(&digits)).await.unwrap();
    assert_eq!((traced.rows.len(), traced.total), (2, 2));
    assert_eq!(vault.service.perform(&vault.person, trace("000000")).await.unwrap().total, 0);
}

#[tokio::test]
async fn a_code_is_traced_among_the_codes_of_the_callers_account_and_of_a_named_secret() {
    let vault = Vault::new();
    let (first, other) = (vault.register("A").await.secret.id, vault.register("B").await.secret.id);
    let digits = code(&vault.service, &vault.person, first, plain()).await.unwrap();
    let elsewhere = vault.service.perform(&vault.person, AddAccount { name: "other".to_owned() }).await.unwrap();
    let found = async |caller: &Principal, secret| {
        vault.service.perform(caller, TraceCode { secret, ..trace(&digits) }).await.unwrap().total
    };

    assert_eq!(found(&vault.person, Some(first)).await, 1);
    assert_eq!(found(&vault.person, Some(other)).await, 0);
    assert_eq!(found(&Principal::person(elsewhere.id), None).await, 0);
}

#[tokio::test]
async fn of_a_code_that_a_fleet_reads_a_thousand_rows_are_traced_and_all_are_counted() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let digits = code(&vault.service, &vault.person, id, plain()).await.unwrap();
    for _ in 0..TRACED_ROWS_MAX {
        code(&vault.service, &vault.person, id, plain()).await.unwrap();
    }
    let traced = vault.service.perform(&vault.person, trace(&digits)).await.unwrap();
    assert_eq!((traced.rows.len(), traced.total), (TRACED_ROWS_MAX, TRACED_ROWS_MAX as u64 + 1));
}

#[tokio::test]
async fn codes_an_hour_are_limited_over_all_processes() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let request = CreateKey {
        name: "slow".to_owned(),
        scopes: ScopeSet::ALL,
        seat: None,
        secrets: None,
        codes_per_hour: Some(3),
        expires_at: None,
    };
    let minted = vault.service.perform(&vault.person, request).await.unwrap();
    let key = || Offered::Key(PlainKey::from_token(&minted.plain.expose_token()).unwrap());
    let caller = vault.service.authenticate(key()).await.unwrap();
    let elsewhere = vault.another_service();
    code(&vault.service, &caller, id, plain()).await.unwrap();
    code(&elsewhere, &caller, id, plain()).await.unwrap();
    code(&vault.service, &caller, id, plain()).await.unwrap();
    for service in [&vault.service, &elsewhere] {
        assert_eq!(code(service, &caller, id, plain()).await.unwrap_err().code(), ErrorCode::RateLimited);
    }
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
    vault.clock.set_seconds(START + 3660);
    for _ in 0..3 {
        code(&vault.service, &caller, id, plain()).await.unwrap();
    }
    // The daily erasing keeps counts that still apply.
    vault.clock.set_seconds(START + 2 * 3660 - 180);
    vault.service.erase_expired().await.unwrap();
    assert_eq!(code(&vault.service, &caller, id, plain()).await.unwrap_err().code(), ErrorCode::RateLimited);
}

#[tokio::test]
async fn who_has_used_up_its_hour_hears_when_it_may_ask_again() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seat =
        SeatChanges { email: Some("ada@example.com".to_owned()), codes_per_hour: Some(2), ..SeatChanges::default() };
    let ada = vault.service.perform(&vault.person, AddSeat { profile: seat }).await.unwrap();
    let bound = Principal::stdio(vault.account, ScopeSet::ALL, Some(ada.id));
    let ask = async |seconds: i64| {
        vault.clock.set_seconds(START + seconds);
        code(&vault.service, &bound, id, plain()).await
    };
    ask(10).await.unwrap();
    ask(1810).await.unwrap();

    // The code of the first minute counts until an hour after that minute ended.
    let refusal = ask(1830).await.unwrap_err();
    assert_eq!(refusal.retry_after(), Some(3660 - 1830));
    assert_eq!(refusal.to_string(), "the limit of codes an hour for this secret is used up; try again in 1830 s");
    assert_eq!(ask(3659).await.unwrap_err().retry_after(), Some(1));
    ask(3660).await.unwrap();
    assert_eq!(ask(3661).await.unwrap_err().retry_after(), Some(1800 + 3660 - 3661));
}

#[tokio::test]
async fn a_seats_limit_holds_for_whoever_acts_for_it() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seat =
        SeatChanges { email: Some("ada@example.com".to_owned()), codes_per_hour: Some(1), ..SeatChanges::default() };
    let ada = vault.service.perform(&vault.person, AddSeat { profile: seat }).await.unwrap();
    let bound = Principal::stdio(vault.account, ScopeSet::ALL, Some(ada.id));
    code(&vault.service, &bound, id, plain()).await.unwrap();
    let request = GetCode { seat_id: Some(ada.id.to_string()), ..plain() };
    assert_eq!(code(&vault.service, &vault.person, id, request).await.unwrap_err().code(), ErrorCode::RateLimited);
}

#[tokio::test]
async fn a_sidecar_whose_seat_was_removed_does_nothing_any_more() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seat = SeatChanges { email: Some("ada@example.com".to_owned()), ..SeatChanges::default() };
    let ada = vault.service.perform(&vault.person, AddSeat { profile: seat }).await.unwrap();
    let (service, bound) = (&vault.service, Principal::stdio(vault.account, ScopeSet::ALL, Some(ada.id)));
    service.perform(&bound, ListSecrets::default()).await.unwrap();

    vault.another_service().perform(&vault.person, RemoveSeat { seat: ada.id.to_string() }).await.unwrap();

    let registration = || Registration { label: Some("B".to_owned()), ..Registration::default() };
    let refusals = [
        service.perform(&bound, registration_of(registration())).await.map(drop).unwrap_err(),
        service.perform(&bound, DeleteSecret { secret_id: id }).await.unwrap_err(),
        service.perform(&bound, ListSecrets::default()).await.map(drop).unwrap_err(),
        service.perform(&bound, GetSecret { id }).await.map(drop).unwrap_err(),
        code(service, &bound, id, plain()).await.unwrap_err(),
        service.perform(&bound, typed(id, "000000")).await.map(drop).unwrap_err(),
        service.perform(&bound, ListSeats::default()).await.map(drop).unwrap_err(),
        service.perform(&bound, CountSeats::default()).await.map(drop).unwrap_err(),
        service.perform(&bound, GetSeat { seat_id: ada.id.to_string() }).await.map(drop).unwrap_err(),
        rows(service, &bound, AuditFilter::default()).await.map(drop).unwrap_err(),
    ];

    for refusal in &refusals {
        assert_eq!(refusal, &Refusal::SeatRemoved);
        assert_eq!(refusal.code(), ErrorCode::PermissionDenied);
    }
    let about = AuditFilter { seat: Some(ada.id), ..AuditFilter::default() };
    let rows = vault.rows(about).await;
    let denied = rows.iter().filter(|row| row.entry.outcome == Outcome::PermissionDenied).count();
    assert_eq!(denied, refusals.len(), "each is in the audit log, for the seat that was");
    assert_eq!(service.perform(&vault.person, ListSecrets::default()).await.unwrap().total, 1);
}

#[tokio::test]
async fn who_waits_for_a_code_while_its_seat_is_removed_gets_none() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seat = SeatChanges { email: Some("ada@example.com".to_owned()), ..SeatChanges::default() };
    let ada = vault.service.perform(&vault.person, AddSeat { profile: seat }).await.unwrap();
    let bound = Principal::stdio(vault.account, ScopeSet::ALL, Some(ada.id));
    vault.clock.set_seconds(START + 25);
    let request = GetCode { min_validity: Seconds::new(10), ..plain() };
    let service = vault.service.clone();
    let waiting = tokio::spawn(async move { code(&service, &bound, id, request).await });
    let patience = crate::kit::Patience::new();
    while vault.service.tally().waiting == 0 {
        patience.turn().await;
    }

    vault.service.perform(&vault.person, RemoveSeat { seat: ada.id.to_string() }).await.unwrap();
    vault.clock.set_seconds(START + 30);

    assert_eq!(waiting.await.unwrap().unwrap_err(), Refusal::SeatRemoved);
}

#[tokio::test]
async fn an_anchor_finds_a_cut_tail() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
    let head = vault.service.audit_heads().await.unwrap()[0];
    let found = async |anchor| {
        vault.service.perform(&vault.person, VerifyAudit { anchors: vec![anchor] }).await.unwrap().finding
    };

    assert_eq!(found(head).await, None);
    let ahead = ChainHead { seq: head.seq + 1, ..head };
    assert_eq!(found(ahead).await, Some((head.chain, Finding::Cut(head.seq + 1))));
    let other = ChainHead { mac: [7; 32], ..head };
    assert_eq!(found(other).await, Some((head.chain, Finding::Anchor(head.seq))));
}

#[tokio::test]
async fn last_used_times_are_shown() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    assert!(vault.service.perform(&vault.person, GetSecret { id }).await.unwrap().last_used_at.is_none());
    vault.clock.set_seconds(START + 5);
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
    let used = vault.service.perform(&vault.person, GetSecret { id }).await.unwrap().last_used_at.unwrap();
    assert_eq!(used.seconds(), START + 5);
}
