//! The store's contract for secrets and their use, promise by promise. Any backend must keep all of them, and must also
//! not keep what it promised to forget.

use countersign::{
    domain::{
        audit::Action,
        hourly::HourlyCount,
        ids::{AccountId, ReservationId, SecretId},
        steps::{Reservation, StepMarks},
        totp::Step,
        verification::VerifyMarks,
    },
    store::{Added, Changed, Holder, Idempotency, Life, SealedSecret, StoreError, UseState, Verdict},
};

use crate::store_kit::{NOW, World, check, given, later};

#[test]
fn a_new_vault_has_one_account_and_one_row() {
    check(async |world| {
        let accounts = world.store().accounts().await.unwrap().sound;

        assert_eq!(accounts.len(), 1);
        assert_eq!(accounts[0].name.as_str(), "default");
        assert_eq!(accounts[0].id, world.account());
        assert_eq!(world.actions().await, ["vault.create"]);
    });
}

#[test]
fn a_secret_comes_back_as_it_was_added() {
    check(async |world| {
        let secret = world.added_secret().await;

        let kept = world.store().secret(world.account(), secret.id).await.unwrap();

        assert_eq!(kept, Some(secret));
        assert_eq!(world.actions().await, ["vault.create", "secret.register"]);
    });
}

#[test]
fn a_list_is_oldest_first_and_without_seeds() {
    check(async |world| {
        let young = SealedSecret { created_at: later(2), ..world.secret() };
        let old = SealedSecret { created_at: later(1), ..world.secret() };
        let twin = SealedSecret { created_at: later(1), ..world.secret() };
        for secret in [&young, &twin, &old] {
            add(world, secret).await.unwrap();
        }

        let list = world.store().secrets(world.account(), Life::Live).await.unwrap();

        let expected = [old, twin, young].map(|secret| SealedSecret { seed: Vec::new(), ..secret });
        assert_eq!(list, expected);
    });
}

#[test]
fn another_account_s_secret_is_not_there_and_leaves_no_row() {
    check(async |world| {
        let secret = world.added_secret().await;
        let other = AccountId::new(world.id());
        let entry = || world.entry_on(Action::SecretUpdate, secret.id);
        let moved = SealedSecret { account: other, version: 2, ..secret.clone() };
        let store = world.store();

        assert_eq!(store.secret(other, secret.id).await.unwrap(), None);
        assert_eq!(store.secrets(other, Life::Live).await.unwrap(), []);
        assert_eq!(store.change_secret(moved, entry()).await.unwrap(), Changed::NotThere);
        assert!(!store.delete_secret(other, secret.id, entry()).await.unwrap());
        assert!(!store.restore_secret(other, secret.id, NOW, entry()).await.unwrap());
        assert!(!store.erase_secret(other, secret.id, entry()).await.unwrap());
        assert!(!world.use_in(other, secret.id).await);

        assert_eq!(store.secret(world.account(), secret.id).await.unwrap(), Some(secret));
        assert_eq!(world.actions().await, ["vault.create", "secret.register"]);
    });
}

#[test]
fn an_addition_that_fails_leaves_nothing() {
    check(async |world| {
        let secret = world.added_secret().await;
        let twin = SealedSecret { metadata: b"another".to_vec(), ..secret.clone() };
        let stray = SealedSecret { account: AccountId::new(world.id()), ..world.secret() };

        assert!(matches!(add(world, &twin).await, Err(StoreError::Exists(_))));
        assert!(matches!(add(world, &stray).await, Err(StoreError::NoAccount)));

        assert_eq!(world.store().secret(world.account(), secret.id).await.unwrap(), Some(secret));
        assert_eq!(world.store().secret(stray.account, stray.id).await.unwrap(), None);
        assert_eq!(world.actions().await, ["vault.create", "secret.register"]);
    });
}

#[test]
fn a_write_that_fails_hurts_none_of_its_neighbours() {
    check(async |world| {
        let taken = world.added_secret().await;
        let fresh: Vec<_> = (0..20).map(|_| world.secret()).collect();

        let adds = fresh.iter().flat_map(|secret| [secret, &taken]).map(|secret| add(world, secret));
        let ended = futures::future::join_all(adds).await;

        assert_eq!(ended.iter().filter(|ended| ended.is_ok()).count(), 20);
        assert_eq!(world.store().secrets(world.account(), Life::Live).await.unwrap().len(), 21);
        assert_eq!(world.actions().await.len(), 22);
    });
}

#[test]
fn a_registration_that_is_repeated_adds_nothing() {
    check(async |world| {
        let (first, second) = (world.secret(), world.secret());
        let repeat = Idempotency { key: [1; 32], request: [2; 32], since: NOW };
        let other = Idempotency { request: [3; 32], ..repeat };
        let add = async |secret: SealedSecret, repeat| {
            let entry = world.entry_on(Action::SecretRegister, secret.id);
            world.store().add_secret(secret, Some(repeat), entry).await.unwrap()
        };

        assert_eq!(add(first.clone(), repeat).await, Added::New);
        assert_eq!(add(second.clone(), repeat).await, Added::Repeat(first.id));
        assert_eq!(add(second.clone(), other).await, Added::Conflict);
        let late = Idempotency { since: later(1), ..repeat };
        assert_eq!(add(second, late).await, Added::New);

        assert_eq!(world.store().secrets(world.account(), Life::Live).await.unwrap().len(), 2);
        assert_eq!(world.actions().await, ["vault.create", "secret.register", "secret.register"]);
    });
}

#[test]
fn a_repeat_is_answered_although_the_secret_was_erased() {
    check(async |world| {
        let secret = world.secret();
        let repeat = Idempotency { key: [1; 32], request: [2; 32], since: NOW };
        let entry = world.entry_on(Action::SecretRegister, secret.id);
        let store = world.store();
        store.add_secret(secret.clone(), Some(repeat), entry.clone()).await.unwrap();
        store.erase_secret(secret.account, secret.id, entry.clone()).await.unwrap();

        let again = store.add_secret(world.secret(), Some(repeat), entry).await.unwrap();

        assert_eq!(again, Added::Repeat(secret.id));
    });
}

#[test]
fn a_change_of_an_older_version_is_stale() {
    check(async |world| {
        let secret = world.added_secret().await;
        world.give(secret.id, 5).await;
        let new = SealedSecret { version: 2, metadata: b"new".to_vec(), seed: b"newer".to_vec(), ..secret.clone() };
        let change = async |new: &SealedSecret| {
            world.store().change_secret(new.clone(), world.entry_on(Action::SecretUpdate, new.id)).await.unwrap()
        };

        assert_eq!(change(&new).await, Changed::Yes);
        assert_eq!(change(&new).await, Changed::Stale);

        let kept = world.store().secret(world.account(), secret.id).await.unwrap();
        assert_eq!(kept, Some(SealedSecret { last_used_at: Some(NOW), ..new }));
        assert_eq!(world.state_of(secret.id).await.steps.given, Some(Step(5)));
        assert_eq!(world.actions().await, ["vault.create", "secret.register", "code.get", "secret.update"]);
    });
}

#[test]
fn a_deleted_secret_is_gone_for_callers_and_comes_back_with_its_marks() {
    check(async |world| {
        let secret = world.added_secret().await;
        world.give(secret.id, 9).await;
        let state = world.state_of(secret.id).await;
        let (account, store) = (world.account(), world.store());
        let entry = |action| world.entry_on(action, secret.id);

        assert!(store.delete_secret(account, secret.id, entry(Action::SecretDelete)).await.unwrap());

        assert!(!store.delete_secret(account, secret.id, entry(Action::SecretDelete)).await.unwrap());
        assert!(!world.give(secret.id, 10).await);
        assert_eq!(store.secrets(account, Life::Live).await.unwrap(), []);
        let changed = SealedSecret { version: 2, ..secret.clone() };
        assert_eq!(store.change_secret(changed, entry(Action::SecretUpdate)).await.unwrap(), Changed::NotThere);
        let deleted = store.secrets(account, Life::Deleted).await.unwrap();
        assert_eq!(deleted.iter().map(|secret| secret.deleted_at).collect::<Vec<_>>(), [Some(NOW)]);

        assert!(store.restore_secret(account, secret.id, NOW, entry(Action::SecretRestore)).await.unwrap());

        assert!(!store.restore_secret(account, secret.id, NOW, entry(Action::SecretRestore)).await.unwrap());
        assert_eq!(world.state_of(secret.id).await, state);
        assert_eq!(store.secrets(account, Life::Deleted).await.unwrap(), []);
        let rows = ["vault.create", "secret.register", "code.get", "secret.delete", "secret.restore"];
        assert_eq!(world.actions().await, rows);
    });
}

#[test]
fn an_erased_secret_leaves_neither_marks_nor_counts() {
    check(async |world| {
        let secret = world.added_secret().await;
        let holder = Holder::Key("000000000042".parse().unwrap());
        count_one(world, secret.id, holder).await;
        let entry = world.entry_on(Action::SecretErase, secret.id);

        assert!(world.store().erase_secret(world.account(), secret.id, entry.clone()).await.unwrap());

        assert!(!world.store().erase_secret(world.account(), secret.id, entry).await.unwrap());
        assert_eq!(world.store().secret(world.account(), secret.id).await.unwrap(), None);
        add(world, &secret).await.unwrap();
        assert_eq!(world.state_of(secret.id).await, UseState::default());
        assert_eq!(counts_at(world, secret.id, holder, 0).await, [0]);
    });
}

#[test]
fn only_what_was_deleted_long_ago_is_erased_in_time() {
    check(async |world| {
        let secrets = [world.added_secret().await, world.added_secret().await, world.added_secret().await];
        let store = world.store();
        for (secret, at) in secrets.iter().zip([later(1), later(2)]) {
            let entry = countersign::domain::audit::AuditEntry { at, ..world.entry(Action::SecretDelete) };
            store.delete_secret(world.account(), secret.id, entry).await.unwrap();
        }

        assert_eq!(store.erase_deleted_before(later(2), world.entry(Action::SecretErase)).await.unwrap(), 1);

        assert_eq!(store.secret(world.account(), secrets[0].id).await.unwrap(), None);
        assert_eq!(store.secrets(world.account(), Life::Deleted).await.unwrap()[0].id, secrets[1].id);
        assert_eq!(store.secrets(world.account(), Life::Live).await.unwrap()[0].id, secrets[2].id);
        let last = world.trail().await.pop().unwrap().entry;
        assert_eq!((last.action, last.secret), (Action::SecretErase, Some(secrets[0].id)));
    });
}

#[test]
fn a_decision_is_made_from_what_is_kept_and_kept_whole() {
    check(async |world| {
        let secret = world.added_secret().await;
        let reservation = |step| Reservation { step: Step(step), id: ReservationId::new(world.id()) };
        let state = UseState {
            steps: StepMarks {
                given: Some(Step(u64::MAX)),
                taken: Some(Step(0)),
                waiting: vec![reservation(3), reservation(u64::MAX)],
            },
            verify: VerifyMarks { accepted: Some(Step(7)), wrong: u32::MAX, held_until: Some(later(900)) },
            last_used_at: Some(later(3)),
        };
        let (new, entry) = (state.clone(), world.entry_on(Action::CodeReserve, secret.id));

        let expected = secret.clone();
        let found = world.use_with(secret.id, move |seen| {
            assert_eq!((&seen.secret, &seen.state), (&expected, &UseState::default()));
            let (state, entry) = (Some(new.clone()), Some(entry.clone()));
            Verdict { state, entry, counted: false, repeats_until: None }
        });

        assert!(found.await);
        assert_eq!(world.state_of(secret.id).await, state);
        let kept = world.store().secret(world.account(), secret.id).await.unwrap().unwrap();
        assert_eq!(kept.last_used_at, Some(later(3)));
        assert_eq!(world.actions().await, ["vault.create", "secret.register", "code.reserve"]);
    });
}

#[test]
fn a_use_of_what_is_not_there_decides_nothing_and_writes_nothing() {
    check(async |world| {
        let found = world.use_with(SecretId::new(world.id()), |_| panic!("there is nothing to decide on")).await;

        assert!(!found);
        assert_eq!(world.actions().await, ["vault.create"]);
    });
}

#[test]
fn a_step_that_was_given_stays_given() {
    check(async |world| {
        let secret = world.added_secret().await;

        for step in [5, 5, 5, 6] {
            assert!(world.give(secret.id, step).await);
        }

        assert_eq!(world.state_of(secret.id).await.steps.given, Some(Step(6)));
        assert_eq!(world.actions().await.len(), 6);
    });
}

#[test]
fn callers_at_the_same_time_decide_one_after_another() {
    check(async |world| {
        let secret = world.added_secret().await;
        let (send, receive) = std::sync::mpsc::channel();

        let takes = (0..100).map(|caller| {
            let (send, entry) = (send.clone(), world.entry_on(Action::CodeReserve, secret.id));
            world.use_with(secret.id, move |seen| {
                let mut state = seen.state;
                let next = Step(state.steps.taken.map_or(1, |taken| taken.0 + 1));
                state.steps.taken = Some(next);
                send.send((caller, next.0)).unwrap();
                Verdict { state: Some(state), entry: Some(entry.clone()), counted: false, repeats_until: None }
            })
        });
        futures::future::join_all(takes).await;

        // A decision may be made again; the last one of each caller is what happened.
        let decided: std::collections::BTreeMap<_, _> = receive.try_iter().collect();
        let mut steps: Vec<_> = decided.into_values().collect();
        steps.sort_unstable();
        assert_eq!(steps, (1..=100).collect::<Vec<_>>());
        assert_eq!(world.state_of(secret.id).await.steps.taken, Some(Step(100)));
    });
}

#[test]
fn codes_are_counted_for_each_holder_over_the_last_hour() {
    check(async |world| {
        let (secret, other) = (world.added_secret().await, world.added_secret().await);
        let key = Holder::Key("000000000042".parse().unwrap());
        let seat = Holder::Seat(world.added_seat("ada@example.com").await.id);
        count_one(world, secret.id, key).await;
        count_one(world, secret.id, key).await;
        count_one(world, secret.id, seat).await;

        assert_eq!(counts_at(world, secret.id, key, 0).await, [2]);
        assert_eq!(counts_at(world, secret.id, seat, 0).await, [1]);
        assert_eq!(counts_at(world, other.id, key, 0).await, [0]);
        assert_eq!(counts_at(world, secret.id, key, 3599).await, [2], "within the hour");
        assert_eq!(counts_at(world, secret.id, key, 3660).await, [0], "an hour and a minute later");
    });
}

#[test]
fn counts_say_in_which_minute_codes_were_given() {
    check(async |world| {
        let secret = world.added_secret().await;
        let key = Holder::Key("000000000042".parse().unwrap());
        for seconds in [61, 0, 119, 200] {
            let entry = world.entry_on(Action::CodeGet, secret.id);
            world.use_for(secret.id, vec![key], later(seconds), move |seen| given(seen, Step(1), entry.clone())).await;
        }

        let minute = NOW.seconds() / 60;
        let expected = HourlyCount::of(vec![(minute, 1), (minute + 1, 2), (minute + 3, 1)]);
        assert_eq!(given_at(world, secret.id, key, 300).await, [expected]);
    });
}

/// Adds a secret with a row for it.
async fn add(world: &World, secret: &SealedSecret) -> Result<Added, StoreError> {
    world.store().add_secret(secret.clone(), None, world.entry_on(Action::SecretRegister, secret.id)).await
}

/// One code given, counted for a holder.
async fn count_one(world: &World, secret: SecretId, holder: Holder) {
    let entry = world.entry_on(Action::CodeGet, secret);
    let found = world.use_for(secret, vec![holder], NOW, move |seen| given(seen, Step(1), entry.clone())).await;
    assert!(found);
}

/// What is counted for a holder so many seconds later; this itself is not.
async fn counts_at(world: &World, secret: SecretId, holder: Holder, seconds: u64) -> Vec<u64> {
    given_at(world, secret, holder, seconds).await.iter().map(HourlyCount::total).collect()
}

/// The same, minute by minute.
async fn given_at(world: &World, secret: SecretId, holder: Holder, seconds: u64) -> Vec<HourlyCount> {
    let (send, receive) = std::sync::mpsc::channel();
    let look = world.use_for(secret, vec![holder], later(seconds), move |seen| {
        send.send(seen.counts).unwrap();
        Verdict { state: None, entry: None, counted: false, repeats_until: None }
    });
    assert!(look.await);
    receive.try_iter().last().unwrap()
}
