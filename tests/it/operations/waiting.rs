//! How many callers may wait.

use countersign::{
    domain::{
        api_key::PlainKey,
        audit::{AuditFilter, Outcome},
        ids::SecretId,
        limits::{WAITERS_PER_KEY_MAX, WAITERS_PER_PROCESS_MAX},
        principal::Principal,
        scope::ScopeSet,
        time::Timestamp,
    },
    operations::{CreateKey, ErrorCode, GetCode, IssuedCode, Offered, Refusal, Seconds},
};
use tokio::task::JoinSet;

use super::{plain, whole};
use crate::kit::Vault;

const START: i64 = 1_795_305_600;

/// So many callers ask for a code that comes with the next step; then that step begins.
async fn wait_together(
    vault: &Vault,
    caller: &Principal,
    id: SecretId,
    count: usize,
) -> Vec<Result<IssuedCode, Refusal>> {
    vault.clock.set_seconds(START + 25);
    let mut calls = JoinSet::new();
    for _ in 0..count {
        let (service, caller) = (vault.service.clone(), caller.clone());
        let request = GetCode { min_validity: Seconds::new(10), ..plain() };
        calls.spawn(async move { whole(&service, &caller, id, request).await });
    }
    // Until everybody waits or was turned away.
    let mut ended = Vec::new();
    while vault.service.tally().waiting + ended.len() < count {
        tokio::task::yield_now().await;
        ended.extend(std::iter::from_fn(|| calls.try_join_next()).map(Result::unwrap));
    }
    vault.clock.set_seconds(START + 30);
    ended.extend(calls.join_all().await);
    ended
}

fn turned_away(results: &[Result<IssuedCode, Refusal>]) -> usize {
    results.iter().filter(|result| result.as_ref().is_err_and(|refusal| refusal.code() == ErrorCode::Busy)).count()
}

#[tokio::test]
async fn a_sidecars_caller_may_take_every_place_and_no_more() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let host = Principal::stdio(vault.account, ScopeSet::ALL, None);
    let results = wait_together(&vault, &host, id, WAITERS_PER_PROCESS_MAX).await;
    assert_eq!((results.len(), turned_away(&results)), (WAITERS_PER_PROCESS_MAX, 0));
    let results = wait_together(&vault, &host, id, WAITERS_PER_PROCESS_MAX + 1).await;
    assert_eq!(turned_away(&results), 1);
}

#[tokio::test]
async fn a_key_may_take_sixteen_places() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let request = CreateKey {
        name: "agent".to_owned(),
        scopes: ScopeSet::ALL,
        seat: None,
        secrets: None,
        codes_per_hour: None,
        expires_at: None,
    };
    let minted = vault.service.perform(&vault.person, request).await.unwrap();
    let key = PlainKey::from_token(&minted.plain.expose_token()).unwrap();
    let caller = vault.service.authenticate(Offered::Key(key)).await.unwrap();
    let results = wait_together(&vault, &caller, id, WAITERS_PER_KEY_MAX).await;
    assert_eq!(turned_away(&results), 0);
    let results = wait_together(&vault, &caller, id, WAITERS_PER_KEY_MAX + 1).await;
    assert_eq!(turned_away(&results), 1);
}

#[tokio::test]
async fn a_refusal_after_a_wait_bears_its_own_time() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    vault.clock.set_seconds(START + 25);
    let (service, person) = (vault.service.clone(), vault.person.clone());
    let request = GetCode { min_validity: Seconds::new(10), ..plain() };
    let waiting = tokio::spawn(async move { whole(&service, &person, id, request).await });
    let patience = crate::kit::Patience::new();
    while vault.service.tally().waiting == 0 {
        patience.turn().await;
    }
    vault.clock.set_seconds(START + 28);
    vault.service.stop_waiting().await;

    assert_eq!(waiting.await.unwrap().err().unwrap().code(), ErrorCode::Unavailable);
    let filter = AuditFilter { secret: Some(id), ..AuditFilter::default() };
    let rows = vault.all_rows(filter).await;
    let refused = rows.iter().find(|row| row.entry.outcome == Outcome::Unavailable).unwrap();
    assert_eq!(refused.entry.at, Timestamp::from_micros((START + 28) * 1_000_000));
}
