//! The limits on waiting callers.

use countersign::{
    domain::{
        api_key::{KeyId, PlainKey},
        audit::{Action, AuditFilter, Outcome},
        ids::SecretId,
        limits::{
            LONG_READ_WAIT_SECONDS_MAX, LONG_READS_AT_ONCE, LONG_READS_WAITING_MAX, WAITERS_PER_KEY_MAX,
            WAITERS_PER_PROCESS_MAX,
        },
        principal::Principal,
        scope::ScopeSet,
        time::Timestamp,
    },
    operations::{
        AddSeat, CreateKey, ErrorCode, GetCode, IssuedCode, ListSecrets, Offered, Refusal, RemoveSeat, RevokeKey,
        SeatChanges, Seconds, SecretPage, Text,
    },
};
use futures::{FutureExt as _, future::BoxFuture};
use tokio::task::JoinSet;

use super::{plain, whole};
use crate::kit::Vault;

const START: i64 = 1_795_305_600;

/// Starts `count` calls for a code that comes with the next step; then that step begins.
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
    // Until every call waits or was refused.
    let mut ended = Vec::new();
    while vault.service.tally().waiting + ended.len() < count {
        tokio::task::yield_now().await;
        ended.extend(std::iter::from_fn(|| calls.try_join_next()).map(Result::unwrap));
    }
    vault.clock.set_seconds(START + 30);
    ended.extend(calls.join_all().await);
    ended
}

/// A key and its caller.
async fn key_of(vault: &Vault) -> (KeyId, Principal) {
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
    (minted.plain.id(), vault.service.authenticate(Offered::Key(key)).await.unwrap())
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
    let (_, caller) = key_of(&vault).await;
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

#[tokio::test]
async fn who_waits_for_a_seat_gets_a_code_if_the_seat_is_still_there() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let profile = SeatChanges { email: Some("ada@example.com".to_owned()), ..SeatChanges::default() };
    let seat = vault.service.perform(&vault.person, AddSeat { profile }).await.unwrap().id;
    let host = Principal::stdio(vault.account, ScopeSet::ALL, Some(seat));

    assert!(wait_together(&vault, &host, id, 1).await[0].is_ok());

    vault.clock.set_seconds(START + 55);
    let request = GetCode { min_validity: Seconds::new(10), ..plain() };
    let mut waiting = Box::pin(whole(&vault.service, &host, id, request));
    while vault.service.tally().waiting == 0 {
        assert!((&mut waiting).now_or_never().is_none(), "it waits");
        tokio::task::yield_now().await;
    }
    vault.service.perform(&vault.person, RemoveSeat { seat: seat.to_string() }).await.unwrap();
    vault.clock.set_seconds(START + 60);
    assert_eq!(waiting.await.err(), Some(Refusal::SeatRemoved));
}

type Searching<'a> = BoxFuture<'a, Result<SecretPage, Refusal>>;

/// A search in progress. It opens every name, and lets others run before it is done, so it has a turn or waits for one.
fn searching<'a>(vault: &'a Vault, caller: &'a Principal) -> Searching<'a> {
    let list = ListSecrets { query: Some(Text::new("zzzzz").unwrap()), ..ListSecrets::default() };
    let mut search: Searching<'a> = Box::pin(vault.service.perform(caller, list));
    assert!((&mut search).now_or_never().is_none(), "it has not ended yet");
    search
}

#[tokio::test]
async fn a_search_that_waited_for_its_turn_reads_the_callers_rights_again() {
    let vault = Vault::new();
    vault.register("A").await;
    let (id, caller) = key_of(&vault).await;
    let login_ends = vault.service.now().plus(std::time::Duration::from_mins(1));
    let profile = SeatChanges { email: Some("ada@example.com".to_owned()), ..SeatChanges::default() };
    let seat = vault.service.perform(&vault.person, AddSeat { profile }).await.unwrap();
    let login = Principal::of_login(vault.account, ScopeSet::ALL, seat.id, login_ends);
    let running: Vec<_> =
        (0..LONG_READS_AT_ONCE).flat_map(|_| [searching(&vault, &caller), searching(&vault, &login)]).collect();
    let (by_key, by_login) = (searching(&vault, &caller), searching(&vault, &login));

    vault.service.perform(&vault.person, RevokeKey { id }).await.unwrap();
    vault.clock.set_seconds(START + 61);
    drop(running);

    assert_eq!(by_key.await.map(|page| page.total), Err(Refusal::Unauthenticated));
    assert_eq!(by_login.await.map(|page| page.total), Err(Refusal::Unauthenticated));
}

/// A search that is dropped gives its turn back at once.
#[tokio::test(start_paused = true)]
async fn a_search_waits_five_seconds_for_its_turn_at_most_and_with_few_others() {
    let vault = Vault::new();
    vault.register("A").await;
    let (id, caller) = key_of(&vault).await;
    let running: Vec<_> = (0..LONG_READS_AT_ONCE).map(|_| searching(&vault, &caller)).collect();
    let mut waiting: Vec<_> = (0..LONG_READS_WAITING_MAX).map(|_| searching(&vault, &caller)).collect();

    let list = ListSecrets { query: Some(Text::new("zzzzz").unwrap()), ..ListSecrets::default() };
    let begun = tokio::time::Instant::now();
    let refused = vault.service.perform(&caller, list.clone()).await.unwrap_err();
    assert_eq!((refused.code(), refused.retry_after()), (ErrorCode::RateLimited, Some(LONG_READ_WAIT_SECONDS_MAX)));
    assert!(begun.elapsed().is_zero());
    let (_, other) = key_of(&vault).await;
    assert_eq!(vault.service.perform(&other, list.clone()).await.map(|page| page.stored), Ok(1));
    let late = waiting.pop().unwrap().await.unwrap_err();
    assert_eq!((late.code(), begun.elapsed().as_secs()), (ErrorCode::RateLimited, LONG_READ_WAIT_SECONDS_MAX));
    let rows = vault.rows(AuditFilter { key: Some(id), action: Some(Action::Call), ..AuditFilter::default() }).await;
    assert_eq!(rows.iter().map(|row| row.entry.outcome).collect::<Vec<_>>(), [Outcome::RateLimited; 2]);

    drop((running, waiting));
    assert_eq!(vault.service.perform(&caller, list).await.map(|page| page.stored), Ok(1));
}
