//! What a store remembers between transactions: never longer than it is so.

use std::sync::{Arc, mpsc::channel};

use countersign::{
    domain::{
        audit::Action,
        ids::SecretId,
        secret::CodeTerms,
        totp::{Algorithm, Digits, Period, TotpParameters},
    },
    store::{SealedSecret, SecretUse, StoreError, Verdict, Writes},
};
use rusqlite::Connection;

use crate::store_kit::{Folder, NOW, World, check, runtime};

/// The terms of most secrets.
fn usual() -> CodeTerms {
    let totp = TotpParameters { algorithm: Algorithm::Sha1, digits: Digits::Six, period: Period::default() };
    CodeTerms { totp, single_use: false }
}

/// Which terms a use finds; it leaves some.
async fn terms(world: &World, secret: SecretId) -> Result<Option<CodeTerms>, StoreError> {
    let (send, receive) = channel();
    let request = SecretUse {
        account: world.account(),
        secret,
        now: NOW,
        counted: Vec::new(),
        decide: Box::new(move |seen| {
            send.send(seen.terms.get().copied()).unwrap();
            seen.terms.get_or_init(usual);
            Verdict { state: None, entry: None, counted: false, repeats_until: None }
        }),
    };
    Arc::clone(world.store()).use_secret(request).await?;
    Ok(receive.try_iter().last().unwrap())
}

async fn change(world: &World, secret: &SealedSecret) {
    let new = SealedSecret { version: secret.version + 1, ..secret.clone() };
    let entry = world.entry_on(Action::SecretUpdate, secret.id);
    world.store().change_secret(new, entry).await.unwrap();
}

#[test]
fn terms_are_remembered_until_the_secret_is_changed_here_or_elsewhere() {
    check(async |world| {
        let secret = world.added_secret().await;
        let changed = SealedSecret { version: 2, ..secret.clone() };
        assert_eq!(terms(world, secret.id).await.unwrap(), None);
        assert_eq!(terms(world, secret.id).await.unwrap(), Some(usual()));
        change(world, &secret).await;
        assert_eq!(terms(world, secret.id).await.unwrap(), None);

        let other = world.elsewhere();
        assert_eq!(terms(world, secret.id).await.unwrap(), Some(usual()));
        change(&other, &changed).await;
        assert_eq!(terms(world, secret.id).await.unwrap(), None);
    });
}

#[test]
fn what_another_process_does_is_seen_by_the_next_use() {
    check(async |world| {
        let secret = world.added_secret().await;
        let (other, entry) = (world.elsewhere(), |action| world.entry_on(action, secret.id));
        assert!(world.give(secret.id, 1).await && world.give(secret.id, 1).await);

        assert!(other.give(secret.id, 2).await);
        assert_eq!(world.state_of(secret.id).await.steps, other.state_of(secret.id).await.steps);
        let account = world.account();
        assert!(other.store().delete_secret(account, secret.id, entry(Action::SecretDelete)).await.unwrap());
        assert!(!world.give(secret.id, 3).await);
        assert!(world.store().restore_secret(account, secret.id, NOW, entry(Action::SecretRestore)).await.unwrap());
        assert!(other.give(secret.id, 3).await && world.give(secret.id, 3).await);
        assert!(world.store().erase_secret(account, secret.id, entry(Action::SecretErase)).await.unwrap());
        assert!(!world.give(secret.id, 4).await && !other.give(secret.id, 4).await);
    });
}

#[test]
fn a_use_that_did_not_happen_is_not_remembered() {
    check(async |world| {
        let secret = world.added_secret().await;
        assert!(world.give(secret.id, 1).await);
        let before = world.state_of(secret.id).await;
        assert!(matches!(world.fail(secret.id).await, Err(StoreError::Unavailable(_))));

        assert_eq!(world.state_of(secret.id).await, before);
        assert!(world.give(secret.id, 2).await);
    });
}

#[test]
fn a_row_that_was_changed_without_the_key_is_refused_although_it_was_remembered() {
    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        let secret = world.added_secret().await;
        world.give(secret.id, 1).await;
        assert_eq!(terms(&world, secret.id).await.unwrap(), None);
        let conn = Connection::open(world.folder.vault()).unwrap();
        conn.execute("UPDATE secret SET given = NULL", []).unwrap();

        let refused = terms(&world, secret.id).await;

        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
    });
}
