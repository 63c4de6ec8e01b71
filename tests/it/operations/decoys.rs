//! Decoys: digits in the place of a code, and the calls that spend them.

use std::{collections::BTreeSet, time::Duration};

use countersign::{
    domain::{
        api_key::PlainKey,
        audit::{Action, AuditFilter, AuditRow},
        ids::SecretId,
        origin::Origin,
        principal::Principal,
        scope::{Scope, ScopeSet},
        totp::Step,
    },
    operations::{
        CreateKey, Decoy, ErrorCode, GetCode, GuardedOrigins, KeepAuthority, ListDecoys, Offered, ReadAuthority,
        Refusal, RevokeKey, SecretChanges, SpendDecoy, UpdateSecret,
    },
};
use futures::FutureExt as _;
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

/// The decoy that works at its origin and has these digits.
async fn of_digits(vault: &Vault, digits: &str) -> Decoy {
    listed(vault, ORIGIN).await.into_iter().find(|decoy| decoy.digits.digits() == digits).unwrap()
}

async fn spend(vault: &Vault, decoy: &Decoy, at: &str) -> Result<(String, Step), Refusal> {
    let Decoy { secret: secret_id, step, nth, .. } = *decoy;
    let spend = SpendDecoy { secret_id, step, nth, origin: origin(at) };
    vault.service.perform(&vault.person, spend).await.map(|issued| (issued.code.digits().to_owned(), issued.step))
}

async fn fills(vault: &Vault) -> Vec<AuditRow> {
    vault.rows(AuditFilter { action: Some(Action::CodeFill), ..AuditFilter::default() }).await
}

#[tokio::test]
async fn a_decoy_is_six_digits_takes_no_step_and_is_handed_out_once() {
    let vault = Vault::new();
    let id = bound(&vault, &[ORIGIN], true).await;
    let first = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    let second = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    vault.clock.set_seconds(START + 30);
    let third = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    let handed = [first, second, third];
    for digits in &handed {
        assert!(digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_digit()), "{digits}");
    }
    assert_eq!(handed.iter().collect::<BTreeSet<_>>().len(), 3, "{handed:?}");
    let found: Vec<String> =
        listed(&vault, ORIGIN).await.iter().map(|decoy| decoy.digits.digits().to_owned()).collect();
    assert_eq!(found, handed);
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
    assert_ne!(decoys[0].as_ref().unwrap(), decoys[1].as_ref().unwrap());
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
    let handed = of_digits(&vault, &digits).await;
    assert_ne!(spend(&vault, &handed, ORIGIN).await.unwrap().0, digits);
    let rows = fills(&vault).await;
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row.entry.purpose.as_ref().map(ToString::to_string).as_deref(), Some("guard"));

    let elsewhere = spend(&vault, &handed, "https://login.example.net").await.unwrap_err();
    assert_eq!(elsewhere.code(), ErrorCode::WrongOrigin);
    let another = Decoy { nth: 1, ..of_digits(&vault, &digits).await };
    let refused = spend(&vault, &another, ORIGIN).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidArgument, "nobody was given this one");
    vault.clock.set_seconds(START + 90);
    assert_eq!(spend(&vault, &handed, ORIGIN).await.unwrap_err().code(), ErrorCode::InvalidArgument);
}

#[tokio::test]
async fn the_decoys_of_one_step_are_spent_for_codes_of_their_own_and_their_rows_name_the_callers() {
    let vault = Vault::new();
    let id = bound(&vault, &[ORIGIN], true).await;
    let mut handed = Vec::new();
    for name in ["one", "other"] {
        let caller = with_a_key(&vault, name).await;
        let digits = code(&vault.service, &caller, id, decoy()).await.unwrap();
        handed.push((of_digits(&vault, &digits).await, caller.key()));
    }
    let [(one, of_one), (other, of_other)] = &handed[..] else { panic!("two keys") };
    assert_ne!(one.digits.digits(), other.digits.digits());

    let (code_of_other, step) = spend(&vault, other, ORIGIN).await.unwrap();
    let mut waiting = Box::pin(spend(&vault, one, ORIGIN));
    assert!((&mut waiting).now_or_never().is_none(), "the code of this step is spent");
    vault.clock.set_seconds(START + 30);
    let (code_of_one, later) = waiting.await.unwrap();
    assert_eq!(later, Step(step.0 + 1));
    assert_ne!(code_of_one, code_of_other);
    let rows = fills(&vault).await;
    let keys: BTreeSet<_> = rows.iter().map(|row| row.entry.key).collect();
    assert_eq!((rows.len(), keys), (2, BTreeSet::from([*of_one, *of_other])));
}

/// A caller with a key of its own, for decoys.
async fn with_a_key(vault: &Vault, name: &str) -> Principal {
    let request = CreateKey {
        name: name.to_owned(),
        scopes: ScopeSet::of_a_new_key_without_codes(false, true),
        seat: None,
        secrets: None,
        codes_per_hour: None,
        expires_at: None,
    };
    let minted = vault.service.perform(&vault.person, request).await.unwrap();
    let offered = Offered::Key(PlainKey::from_token(&minted.plain.expose_token()).unwrap());
    vault.service.authenticate(offered).await.unwrap()
}

async fn bind(vault: &Vault, id: SecretId, to: &str) {
    let changes = SecretChanges { origins: Some(vec![to.to_owned()]), ..SecretChanges::default() };
    vault.service.perform(&vault.person, UpdateSecret { id, changes }).await.unwrap();
}

#[tokio::test]
async fn a_decoy_is_spent_once_whichever_process_does() {
    let vault = Vault::new();
    let id = bound(&vault, &[ORIGIN], true).await;
    let digits = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    let other = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    let handed = of_digits(&vault, &digits).await;
    let (_, step) = spend(&vault, &handed, ORIGIN).await.unwrap();
    // Another guard, or this one started again, knows only what the vault has.
    let refused = spend(&vault, &handed, ORIGIN).await.unwrap_err();
    assert!(matches!(refused, Refusal::Invalid { field: "step", .. }), "{refused:?}");
    vault.clock.set_seconds(START + 30);
    let refused = spend(&vault, &handed, ORIGIN).await.unwrap_err();
    assert!(matches!(refused, Refusal::Invalid { field: "step", .. }), "{refused:?}");
    assert_eq!(spend(&vault, &of_digits(&vault, &other).await, ORIGIN).await.unwrap().1, Step(step.0 + 1));
}

#[tokio::test]
async fn the_decoy_of_a_key_that_was_revoked_is_no_longer_spent_also_if_its_call_waits() {
    let vault = Vault::new();
    let id = bound(&vault, &[ORIGIN], true).await;
    let stolen = with_a_key(&vault, "stolen").await;
    let mut handed = Vec::new();
    for caller in [&vault.person, &stolen, &stolen] {
        let digits = code(&vault.service, caller, id, decoy()).await.unwrap();
        handed.push(of_digits(&vault, &digits).await);
    }
    let (_, step) = spend(&vault, &handed[0], ORIGIN).await.unwrap();
    let mut waiting = Box::pin(spend(&vault, &handed[1], ORIGIN));
    assert!((&mut waiting).now_or_never().is_none());
    vault.service.perform(&vault.person, RevokeKey { id: stolen.key().unwrap() }).await.unwrap();
    assert_eq!(spend(&vault, &handed[2], ORIGIN).await.unwrap_err(), Refusal::Unauthenticated);
    vault.clock.set_seconds(START + 30);
    assert_eq!(waiting.await.unwrap_err(), Refusal::Unauthenticated);
    // Its step was given back.
    let digits = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    assert_eq!(spend(&vault, &of_digits(&vault, &digits).await, ORIGIN).await.unwrap().1, Step(step.0 + 1));
}

#[tokio::test]
async fn an_origin_that_is_taken_away_while_a_call_waits_gets_no_code() {
    let vault = Vault::new();
    let id = bound(&vault, &[ORIGIN], true).await;
    let mut handed = Vec::new();
    for _ in 0..2 {
        let digits = code(&vault.service, &vault.person, id, decoy()).await.unwrap();
        handed.push(of_digits(&vault, &digits).await);
    }
    let (_, step) = spend(&vault, &handed[0], ORIGIN).await.unwrap();
    let mut waiting = Box::pin(spend(&vault, &handed[1], ORIGIN));
    assert!((&mut waiting).now_or_never().is_none());
    bind(&vault, id, "https://login.example.net").await;
    vault.clock.set_seconds(START + 30);
    assert_eq!(waiting.await.unwrap_err().code(), ErrorCode::WrongOrigin);
    bind(&vault, id, ORIGIN).await;
    assert_eq!(spend(&vault, &handed[1], ORIGIN).await.unwrap().1, Step(step.0 + 1), "the step was given back");
}

#[tokio::test]
async fn no_more_decoys_work_at_a_time_than_the_use_record_has_room_for() {
    let vault = Vault::new();
    let id = bound(&vault, &[ORIGIN], true).await;
    let mut all = BTreeSet::new();
    for _ in 0..32 {
        assert!(all.insert(code(&vault.service, &vault.person, id, decoy()).await.unwrap()), "{all:?}");
    }
    let full = code(&vault.service, &vault.person, id, decoy()).await.unwrap_err();
    assert!(matches!(full, Refusal::Busy { after, .. } if after == Duration::from_secs(90)), "{full:?}");
    assert_eq!(listed(&vault, ORIGIN).await.len(), 32);
    vault.clock.set_seconds(START + 90);
    code(&vault.service, &vault.person, id, decoy()).await.unwrap();
    assert_eq!(listed(&vault, ORIGIN).await.len(), 1);
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
