//! The store's contract, promise by promise. Any backend must keep all of them, and also not keep what it must not.

use countersign::{
    domain::audit::Action,
    store::{Added, Changed, Idempotency, Life, SealedSecret},
};

use crate::store_kit::{NOW, check, later};

#[test]
fn a_new_vault_has_one_account_and_one_row() {
    check(async |world| {
        let accounts = world.store().accounts().await.unwrap();

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
fn a_step_that_was_given_stays_given() {
    check(async |world| {
        let secret = world.added_secret().await;

        for step in [5, 5, 5, 6] {
            assert!(world.give(secret.id, step).await);
        }

        let state = world.state_of(secret.id).await;
        assert_eq!(state.steps.given.unwrap().0, 6);
        assert_eq!(state.last_used_at, Some(NOW));
        assert_eq!(world.actions().await.len(), 6);
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
fn a_change_of_an_older_version_is_stale() {
    check(async |world| {
        let secret = world.added_secret().await;
        let new = SealedSecret { version: 2, metadata: b"new".to_vec(), seed: b"newer".to_vec(), ..secret.clone() };
        let change = async |new: &SealedSecret| {
            world.store().change_secret(new.clone(), world.entry_on(Action::SecretUpdate, new.id)).await.unwrap()
        };

        assert_eq!(change(&new).await, Changed::Yes);
        assert_eq!(change(&new).await, Changed::Stale);

        assert_eq!(world.store().secret(world.account(), secret.id).await.unwrap(), Some(new));
        assert_eq!(world.actions().await, ["vault.create", "secret.register", "secret.update"]);
    });
}
