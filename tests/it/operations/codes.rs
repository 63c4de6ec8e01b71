//! Plain and fresh codes.

use countersign::{
    domain::{
        audit::{Action, AuditFilter, Outcome},
        ids::SecretId,
        principal::Principal,
        scope::ScopeSet,
        totp::Step,
    },
    operations::{
        AddAccount, DeleteSecret, EraseSecret, Erased, ErrorCode, GetCode, Refusal, RestoreSecret, Seconds, VerifyAudit,
    },
};
use futures::FutureExt as _;

use super::{code, plain, single_use, whole};
use crate::kit::Vault;

const START: i64 = 1_795_305_600;

#[tokio::test]
async fn the_codes_are_those_of_the_rfc() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    // RFC 6238, appendix B: the last six digits of 94287082, 07081804, 89005924 and 65353130.
    for (seconds, wanted) in
        [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (20_000_000_000, "353130")]
    {
        vault.clock.set_seconds(seconds);
        assert_eq!(code(&vault.service, &vault.person, id, plain()).await.unwrap(), wanted);
    }
}

#[tokio::test]
async fn expires_in_counts_down_to_one() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    for (second, left) in [(0, 30), (1, 29), (29, 1), (30, 30)] {
        vault.clock.set_seconds(START + second);
        assert_eq!(whole(&vault.service, &vault.person, id, plain()).await.unwrap().expires_in, left);
    }
}

#[tokio::test]
async fn a_plain_call_never_waits_and_never_refuses_whatever_the_clock_does() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    for second in [0, 29, 3600, -3600, 0, 86_400 * 365, -START + 50, 0] {
        vault.clock.set_seconds(START + second);
        code(&vault.service, &vault.person, id, plain()).await.unwrap();
    }
}

#[tokio::test]
async fn a_fresh_code_is_waited_for() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    vault.clock.set_seconds(START + 21);
    let request = GetCode { min_validity: Seconds::new(10), ..plain() };
    let (service, person) = (vault.service.clone(), vault.person.clone());
    let waiting = tokio::spawn(async move { whole(&service, &person, id, request).await });
    // Nine seconds are left: too few. The call ends when the next step begins, and not before.
    vault.clock.set_seconds(START + 29);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    vault.clock.set_seconds(START + 30);
    assert_eq!(waiting.await.unwrap().unwrap().expires_in, 30);

    vault.clock.set_seconds(START + 50);
    let request = GetCode { min_validity: Seconds::new(10), ..plain() };
    assert_eq!(whole(&vault.service, &vault.person, id, request).await.unwrap().expires_in, 10);
}

#[tokio::test]
async fn who_would_not_wait_long_enough_hears_when() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    vault.clock.set_seconds(START + 21);
    let request = GetCode { min_validity: Seconds::new(30), max_wait: Seconds::new(5), ..plain() };
    let refusal = code(&vault.service, &vault.person, id, request).await.unwrap_err();
    assert_eq!((refusal.code(), refusal.retry_after()), (ErrorCode::Busy, Some(9)));
    assert_eq!(
        refusal.to_string(),
        "the current code has less than `min_validity` left, and no other comes within `max_wait`; a code is free in 9 s"
    );
    let request = GetCode { min_validity: Seconds::new(31), ..plain() };
    let refusal = code(&vault.service, &vault.person, id, request).await.unwrap_err();
    assert!(refusal.to_string().starts_with("`min_validity`"), "{refusal}");
}

#[tokio::test]
async fn unknown_foreign_deleted_and_ungranted_secrets_look_alike() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let other = vault.service.perform(&vault.person, AddAccount { name: "other".to_owned() }).await.unwrap();
    let stranger = Principal::stdio(other.id, ScopeSet::ALL, None);
    let unknown = SecretId::new(uuid::Uuid::from_u128(7));
    let foreign = code(&vault.service, &stranger, id, plain()).await.unwrap_err();
    let missing = code(&vault.service, &vault.person, unknown, plain()).await.unwrap_err();
    vault.service.perform(&vault.person, DeleteSecret { secret_id: id }).await.unwrap();
    let deleted = code(&vault.service, &vault.person, id, plain()).await.unwrap_err();
    assert_eq!((foreign.to_string(), missing.to_string()), (deleted.to_string(), deleted.to_string()));
    assert_eq!(deleted.code(), ErrorCode::NotFound);

    vault.service.perform(&vault.person, RestoreSecret { id }).await.unwrap();
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
    let neighbour = Principal::person(other.id);
    let refused = vault.service.perform(&neighbour, EraseSecret { id }).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotFound);
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
    vault.service.perform(&vault.person, EraseSecret { id }).await.unwrap();
    assert!(vault.service.perform(&vault.person, RestoreSecret { id }).await.is_err());
}

#[tokio::test]
async fn a_deleted_secret_is_brought_back_within_seven_days_and_not_later() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let (delete, week) =
        (async || vault.service.perform(&vault.person, DeleteSecret { secret_id: id }).await, 7 * 86_400);
    delete().await.unwrap();
    vault.clock.set_seconds(START + week);
    vault.service.perform(&vault.person, RestoreSecret { id }).await.unwrap();
    delete().await.unwrap();
    vault.clock.set_seconds(START + 2 * week + 1);

    let refusal = vault.service.perform(&vault.person, RestoreSecret { id }).await.unwrap_err();

    assert_eq!(refusal.code(), ErrorCode::NotFound);
    // Nothing is erased by a clock that was just set days ahead: it has to agree with the audit log for an hour.
    let held_back = Erased { secrets: 0, clock_unsettled: true };
    assert_eq!(vault.service.erase_expired().await.unwrap(), held_back);
    vault.clock.set_seconds(START + 2 * week + 3700);
    let erased = Erased { secrets: 1, clock_unsettled: false };
    assert_eq!(vault.service.erase_expired().await.unwrap(), erased, "what can't be brought back is erased");
}

#[tokio::test]
async fn every_code_given_or_refused_is_on_the_trail() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
    code(&vault.service, &vault.person, id, plain()).await.unwrap();
    let narrow = Principal::stdio(vault.account, ScopeSet::default(), None);
    code(&vault.service, &narrow, id, plain()).await.unwrap_err();

    let filter = AuditFilter { action: Some(Action::CodeGet), ..AuditFilter::default() };
    let rows = vault.rows(filter).await;
    let seen: Vec<_> = rows.iter().map(|row| row.entry.outcome).collect();
    assert_eq!(seen, [Outcome::Ok, Outcome::Ok, Outcome::PermissionDenied]);
    assert!(rows[0].entry.step == rows[1].entry.step && rows[0].entry.step.is_some());
    assert!(vault.service.perform(&vault.person, VerifyAudit::default()).await.unwrap().finding.is_none());
}

#[tokio::test]
async fn refusals_beyond_a_hundred_a_minute_become_one_row() {
    let vault = Vault::new();
    let unknown = SecretId::new(uuid::Uuid::from_u128(7));
    for _ in 0..150 {
        code(&vault.service, &vault.person, unknown, plain()).await.unwrap_err();
    }
    vault.clock.set_seconds(START + 60);
    code(&vault.service, &vault.person, unknown, plain()).await.unwrap_err();
    let rows = vault.rows(AuditFilter::default()).await;
    let refused: Vec<_> = rows.iter().filter(|row| row.entry.outcome != Outcome::Ok).collect();
    assert_eq!(refused.len(), 102);
    assert_eq!(refused.iter().filter_map(|row| row.entry.count).collect::<Vec<_>>(), [50]);
}

#[tokio::test]
async fn refusals_beyond_a_hundred_in_the_last_minute_are_counted_before_a_process_ends() {
    let vault = Vault::new();
    let unknown = SecretId::new(uuid::Uuid::from_u128(7));
    let ending = vault.another_service();
    for _ in 0..103 {
        code(&ending, &vault.person, unknown, plain()).await.unwrap_err();
    }
    ending.close().await.unwrap();
    let rows = vault.rows(AuditFilter::default()).await;
    assert_eq!(rows.iter().filter_map(|row| row.entry.count).collect::<Vec<_>>(), [3]);
}

/// The answer to a call whose row is committed `seconds` after the call, five seconds before its step ends.
async fn answered_after(seconds: i64, request: GetCode) -> Result<(u32, Step), Refusal> {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    vault.clock.set_seconds(START + 25);
    let mut call = Box::pin(whole(&vault.service, &vault.person, id, request));
    assert!((&mut call).now_or_never().is_none(), "it waits for its turn");
    vault.clock.set_seconds(START + 25 + seconds);
    call.await.map(|code| (code.expires_in, code.step))
}

#[tokio::test]
async fn a_code_is_as_old_as_it_is_when_it_leaves() {
    let step = |number: u64| Step(u64::try_from(START).unwrap() / 30 + number);
    for request in [plain(), single_use()] {
        assert_eq!(answered_after(0, request.clone()).await.unwrap(), (5, step(0)));
        assert_eq!(answered_after(4, request.clone()).await.unwrap(), (1, step(0)));
        assert_eq!(answered_after(5, request.clone()).await.unwrap(), (30, step(1)), "it was dead on arrival");
        assert_eq!(answered_after(7, request.clone()).await.unwrap(), (28, step(1)));
        assert_eq!(answered_after(-10, request).await.unwrap(), (5, step(0)), "a clock that was set back");
    }
    let fresh = GetCode { min_validity: Seconds::new(5), max_wait: Seconds::new(0), ..plain() };
    assert_eq!(answered_after(1, fresh.clone()).await.unwrap(), (4, step(0)), "nobody can be quicker than the disk");
    assert_eq!(answered_after(2, fresh).await.unwrap_err().code(), ErrorCode::Busy);
}
