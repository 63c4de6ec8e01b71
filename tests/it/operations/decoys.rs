//! Decoys: digits in the place of a code, and the calls that spend them.

use countersign::{
    domain::{
        api_key::PlainKey,
        audit::{Action, AuditFilter},
        ids::SecretId,
        origin::Origin,
        principal::Principal,
        scope::{Scope, ScopeSet},
        totp::Step,
    },
    operations::{
        CreateKey, Decoy, ErrorCode, GetCode, GuardedOrigins, KeepAuthority, ListDecoys, Offered, ReadAuthority,
        Refusal, SecretChanges, SpendDecoy, UpdateSecret,
    },
};
use zeroize::Zeroizing;

use super::{code, plain};
use crate::kit::Vault;

const START: i64 = 1_795_305_600;
const ORIGIN: &str = "https://login.example.com";

fn origin(text: &str) -> Origin {
    text.parse().unwrap()
}

fn decoy() -> GetCode {
    GetCode { decoy: true, ..plain() }
}

async fn bound(vault: &Vault, origins: &[&str], fill_only: bool) -> SecretId {
    let id = vault.register("A").await.secret.id;
    let origins = Some(origins.iter().map(|origin| (*origin).to_owned()).collect());
    let changes = SecretChanges { origins, fill_only: Some(fill_only), ..SecretChanges::default() };
    vault.service.perform(&vault.person, UpdateSecret { id, changes }).await.unwrap();
    id
}

async fn listed(vault: &Vault, at: &str) -> Vec<Decoy> {
    let bound = vault.service.perform(&vault.person, GuardedOrigins).await.unwrap();
    let secrets = bound.into_iter().map(|(_, secret)| secret).collect();
    vault.service.perform(&vault.person, ListDecoys { origin: origin(at), secrets }).await.unwrap()
}

async fn spend(vault: &Vault, secret_id: SecretId, step: Step, at: &str) -> Result<String, Refusal> {
    let spend = SpendDecoy { secret_id, step, origin: origin(at) };
    vault.service.perform(&vault.person, spend).await.map(|issued| issued.code.digits().to_owned())
}

#[tokio::test]
async fn a_decoy_is_six_digits_takes_no_step_and_is_the_same_within_its_step() {
    let vault = Vault::new();
    let id = bound(&vault, &[ORIGIN], true).await;
    let first = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    assert_eq!(code(&vault.service, &vault.person, id, decoy()).await.unwrap(), first);
    assert!(first.len() == 6 && first.bytes().all(|b| b.is_ascii_digit()), "{first}");
    vault.clock.set_seconds(START + 30);
    assert_ne!(code(&vault.service, &vault.person, id, decoy()).await.unwrap(), first);
    let rows = vault.rows(AuditFilter { action: Some(Action::CodeDecoy), ..AuditFilter::default() }).await;
    assert_eq!(rows.iter().filter(|row| row.entry.step.is_some()).count(), 3);
    let plain = code(&vault.service, &vault.person, id, plain()).await.unwrap_err();
    assert_eq!(plain, Refusal::FillOnly);
}

#[tokio::test]
async fn who_gets_decoys_gets_them_as_often_as_codes_and_never_a_code() {
    let vault = Vault::new();
    let id = bound(&vault, &[ORIGIN], false).await;
    let request = CreateKey {
        name: "robot".to_owned(),
        scopes: ScopeSet::of_a_new_key_without_codes(false, true),
        seat: None,
        secrets: None,
        codes_per_hour: Some(2),
        expires_at: None,
    };
    let minted = vault.service.perform(&vault.person, request).await.unwrap();
    let offered = Offered::Key(PlainKey::from_token(&minted.plain.expose_token()).unwrap());
    let caller = vault.service.authenticate(offered).await.unwrap();
    // The caller gets decoys, whether it requests a decoy or a code.
    let decoys = [code(&vault.service, &caller, id, decoy()).await, code(&vault.service, &caller, id, plain()).await];
    assert_eq!(decoys[0].as_ref().unwrap(), decoys[1].as_ref().unwrap());
    let rows = vault.rows(AuditFilter { action: Some(Action::CodeGet), ..AuditFilter::default() }).await;
    assert!(rows.is_empty(), "{rows:?}");
    assert_eq!(code(&vault.service, &caller, id, decoy()).await.unwrap_err().code(), ErrorCode::RateLimited);
    let fills = Principal::stdio(vault.account, std::iter::once(Scope::CodesFill).collect(), None);
    for asked in [plain(), decoy()] {
        assert_eq!(code(&vault.service, &fills, id, asked).await.unwrap_err(), Refusal::FillOnly);
    }
    let none = Principal::stdio(vault.account, std::iter::once(Scope::SecretsRead).collect(), None);
    let refused = code(&vault.service, &none, id, decoy()).await.unwrap_err();
    assert_eq!(refused, Refusal::MissingScope(Scope::CodesRead));
    let reads = Principal::stdio(vault.account, std::iter::once(Scope::CodesRead).collect(), None);
    code(&vault.service, &reads, id, decoy()).await.unwrap();
}

#[tokio::test]
async fn a_decoy_needs_an_origin() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let refused = code(&vault.service, &vault.person, id, decoy()).await.unwrap_err();
    assert_eq!(refused, Refusal::NoOrigins);
}

#[tokio::test]
async fn a_decoy_works_in_its_step_and_two_more_and_at_its_origins_alone() {
    let vault = Vault::new();
    let id = bound(&vault, &["https://*.example.com"], true).await;
    let digits = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    for (later, works) in [(0, true), (30, true), (89, true), (90, false)] {
        vault.clock.set_seconds(START + later);
        let found = listed(&vault, ORIGIN).await;
        assert_eq!(found.iter().any(|decoy| decoy.digits.digits() == digits), works, "{later}");
    }
    assert!(listed(&vault, "https://login.example.net").await.is_empty());
    let origins = vault.service.perform(&vault.person, GuardedOrigins).await.unwrap();
    assert_eq!(origins, [(origin("https://*.example.com"), id)]);
}

#[tokio::test]
async fn a_decoy_that_nobody_was_given_does_not_work() {
    let vault = Vault::new();
    let id = bound(&vault, &[ORIGIN], true).await;
    assert!(listed(&vault, ORIGIN).await.is_empty());
    let first = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    vault.clock.set_seconds(START + 60);
    let second = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    let found: Vec<String> =
        listed(&vault, ORIGIN).await.iter().map(|decoy| decoy.digits.digits().to_owned()).collect();
    assert_eq!(found, [first, second], "no decoy was handed out in the step between the two");
}

#[tokio::test]
async fn a_spent_decoy_takes_a_step_of_a_secret_whose_codes_nobody_sees() {
    let vault = Vault::new();
    let id = bound(&vault, &[ORIGIN], true).await;
    let digits = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    let step = listed(&vault, ORIGIN).await.into_iter().find(|decoy| decoy.digits.digits() == digits).unwrap().step;
    let real = spend(&vault, id, step, ORIGIN).await.unwrap();
    assert_ne!(real, digits);
    let rows = vault.rows(AuditFilter { action: Some(Action::CodeFill), ..AuditFilter::default() }).await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row.entry.purpose.as_ref().map(ToString::to_string).as_deref(), Some("guard"));

    let elsewhere = spend(&vault, id, step, "https://login.example.net").await.unwrap_err();
    assert_eq!(elsewhere.code(), ErrorCode::WrongOrigin);
    vault.clock.set_seconds(START + 90);
    assert_eq!(spend(&vault, id, step, ORIGIN).await.unwrap_err().code(), ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn the_authority_of_an_account_is_kept_and_replaced() {
    let vault = Vault::new();
    let read = async || vault.service.perform(&vault.person, ReadAuthority).await.unwrap();
    assert!(read().await.is_none());
    for text in [b"one", b"two"] {
        let authority = Zeroizing::new(text.to_vec());
        vault.service.perform(&vault.person, KeepAuthority { authority }).await.unwrap();
        assert_eq!(read().await.unwrap().as_slice(), text);
    }
}
