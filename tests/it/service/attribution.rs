//! Who got a code, for whom, why; how many an hour; and whether a code came from us.

use countersign::{
    domain::{
        api_key::PlainKey,
        audit::{Action, AuditFilter, ChainHead},
        principal::Principal,
        scope::ScopeSet,
    },
    service::{Code, CodeRequest, Finding, KeyRequest, Offered, SeatChanges},
};

use super::{code, plain};
use crate::kit::Vault;

const START: i64 = 1_795_305_600;

#[tokio::test]
async fn the_trail_says_who_for_whom_and_why() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seat = SeatChanges {
        email: Some("ada@example.com".to_owned()),
        auth_subject: Some("idp|ada".to_owned()),
        ..SeatChanges::default()
    };
    let ada = vault.service.add_seat(&vault.person, &seat).await.unwrap();
    let request = CodeRequest {
        seat: Some("idp|ada".to_owned()),
        purpose: Some("log in to the billing portal".to_owned()),
        ..plain()
    };
    let digits = code(&vault.service, &vault.person, id, request).await.unwrap();
    code(&vault.service, &vault.person, id, plain()).await.unwrap();

    let filter = AuditFilter { seat: Some(ada.id), action: Some(Action::CodeGet), ..AuditFilter::default() };
    let rows = vault.service.read_trail(&vault.person, filter).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].entry.purpose.as_ref().unwrap().as_str(), "log in to the billing portal");

    let traced = vault.service.trace_code(&vault.person, None, &digits).await.unwrap();
    assert_eq!(traced.len(), 2);
    assert!(vault.service.trace_code(&vault.person, None, "000000").await.unwrap().is_empty());
}

#[tokio::test]
async fn codes_an_hour_are_limited_over_all_processes() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let request = KeyRequest {
        name: "slow".to_owned(),
        scopes: ScopeSet::ALL,
        seat: None,
        secrets: None,
        codes_per_hour: Some(3),
        expires_at: None,
    };
    let minted = vault.service.create_key(&vault.person, request).await.unwrap();
    let key = || Offered::Key(PlainKey::from_token(&minted.plain.expose_token()).unwrap());
    let caller = vault.service.authenticate(key()).await.unwrap();
    let elsewhere = vault.another_service();
    code(&vault.service, &caller, id, plain()).await.unwrap();
    code(&elsewhere, &caller, id, plain()).await.unwrap();
    code(&vault.service, &caller, id, plain()).await.unwrap();
    for service in [&vault.service, &elsewhere] {
        assert_eq!(code(service, &caller, id, plain()).await.unwrap_err().code(), Code::RateLimited);
    }
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
    vault.clock.set_seconds(START + 3660);
    code(&vault.service, &caller, id, plain()).await.unwrap();
}

#[tokio::test]
async fn a_seats_limit_holds_for_whoever_acts_for_it() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let seat =
        SeatChanges { email: Some("ada@example.com".to_owned()), codes_per_hour: Some(1), ..SeatChanges::default() };
    let ada = vault.service.add_seat(&vault.person, &seat).await.unwrap();
    let bound = Principal::stdio(vault.account, ScopeSet::ALL, Some(ada.id));
    code(&vault.service, &bound, id, plain()).await.unwrap();
    let request = CodeRequest { seat: Some(ada.id.to_string()), ..plain() };
    assert_eq!(code(&vault.service, &vault.person, id, request).await.unwrap_err().code(), Code::RateLimited);
}

#[tokio::test]
async fn an_anchor_finds_a_cut_tail() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
    let head = vault.service.trail_head(&vault.person).await.unwrap();
    assert!(vault.service.verify_trail(&vault.person, &[head]).await.unwrap().finding.is_none());

    let ahead = ChainHead { seq: head.seq + 1, mac: head.mac };
    let report = vault.service.verify_trail(&vault.person, &[ahead]).await.unwrap();
    assert_eq!(report.finding, Some(Finding::Cut(head.seq + 1)));
    let other = ChainHead { seq: head.seq, mac: [7; 32] };
    let report = vault.service.verify_trail(&vault.person, &[other]).await.unwrap();
    assert_eq!(report.finding, Some(Finding::Anchor(head.seq)));
}

#[tokio::test]
async fn last_used_times_are_shown() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    assert!(vault.service.get_secret(&vault.person, id).await.unwrap().last_used_at.is_none());
    vault.clock.set_seconds(START + 5);
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
    let used = vault.service.get_secret(&vault.person, id).await.unwrap().last_used_at.unwrap();
    assert_eq!(used.seconds(), START + 5);
}
