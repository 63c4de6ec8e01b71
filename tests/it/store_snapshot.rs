//! Commits that go on from the snapshot of the one before: what others did is seen all the same, and nobody is kept from
//! anything for long.

use std::{sync::Arc, time::Duration};

use countersign::{
    domain::{audit::Action, ids::SecretId},
    store::{SecretUse, StoreError, Writes},
};
use rusqlite::Connection;

use crate::store_kit::{Folder, NOW, World, check, runtime};

/// Longer than any of this takes.
const LONG: Duration = Duration::from_secs(30);

/// A code that is read again and again: from the third time on, each commit goes on from the one before.
async fn read_often(world: &World, secret: SecretId) {
    for _ in 0..4 {
        assert!(world.give(secret, 1).await);
    }
}

/// Whether somebody keeps the log from being emptied for so long.
fn is_in_use(folder: &Folder, patience: Duration) -> bool {
    let conn = Connection::open(folder.vault()).unwrap();
    conn.busy_timeout(patience).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap()
}

#[test]
fn what_others_did_meanwhile_is_seen() {
    check(async |world| {
        let secret = world.added_secret().await;
        let key = world.added_key(None).await;
        let other = world.elsewhere();
        read_often(world, secret.id).await;

        assert!(other.store().revoke_key(world.account(), key.id, world.entry(Action::KeyRevoke)).await.unwrap());
        assert!(world.store().key(key.id).await.unwrap().unwrap().0.revoked_at.is_some());
        read_often(world, secret.id).await;
        let entry = world.entry_on(Action::SecretDelete, secret.id);
        assert!(other.store().delete_secret(world.account(), secret.id, entry).await.unwrap());
        assert!(!world.give(secret.id, 1).await);
    });
}

#[test]
fn a_use_that_fails_leaves_nothing_open() {
    check(async |world| {
        let secret = world.added_secret().await;
        read_often(world, secret.id).await;
        let request = SecretUse {
            account: world.account(),
            secret: secret.id,
            now: NOW,
            counted: Vec::new(),
            decide: Box::new(|_| panic!("a decision that fails")),
        };

        assert!(matches!(Arc::clone(world.store()).use_secret(request).await, Err(StoreError::Unavailable(_))));

        assert!(!is_in_use(&world.folder, Duration::ZERO));
        assert!(world.give(secret.id, 1).await && world.elsewhere().give(secret.id, 1).await);
    });
}

#[test]
fn a_snapshot_is_kept_between_the_commits_of_a_process_that_is_alone_and_no_longer() {
    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        let secret = world.added_secret().await;
        read_often(&world, secret.id).await;
        // Nothing else runs here meanwhile.
        assert!(is_in_use(&world.folder, Duration::ZERO));

        let folder = Folder::shared(&world.folder.root, Writes::Inline);
        let in_use = tokio::task::spawn_blocking(move || is_in_use(&folder, LONG)).await.unwrap();
        assert!(!in_use, "it lets go of it without another commit");

        read_often(&world, secret.id).await;
        assert!(world.give(secret.id, 2).await);
        assert!(!is_in_use(&world.folder, Duration::ZERO), "a synced commit ends it");
        assert!(world.give(secret.id, 3).await);
        for _ in 0..4 {
            world.state_of(secret.id).await;
        }
        assert!(!is_in_use(&world.folder, Duration::ZERO), "a commit of nothing keeps none");
    });
}

#[test]
fn processes_that_take_turns_keep_no_snapshots() {
    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        let secret = world.added_secret().await;
        let other = world.elsewhere();
        for _ in 0..4 {
            assert!(world.give(secret.id, 1).await && other.give(secret.id, 1).await);
        }

        assert!(!is_in_use(&world.folder, Duration::ZERO));
    });
}

#[test]
fn what_is_erased_while_another_process_keeps_a_snapshot_is_in_no_file() {
    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        let (busy, erased) = (world.added_secret().await, world.added_secret().await);
        let entry = |action| world.entry_on(action, erased.id);
        assert!(world.store().delete_secret(world.account(), erased.id, entry(Action::SecretDelete)).await.unwrap());
        let (account, erase, second) = (world.account(), entry(Action::SecretErase), world.elsewhere());
        read_often(&world, busy.id).await;

        // On a thread of its own, as a process of its own would be.
        let done = tokio::task::spawn_blocking(move || {
            runtime(Writes::Inline).block_on(second.store().erase_secret(account, erased.id, erase)).unwrap()
        });
        assert!(done.await.unwrap());

        let left = std::fs::read(world.folder.vault().with_extension("db-wal")).unwrap();
        assert!(!left.windows(erased.seed.len()).any(|part| part == erased.seed));
    });
}

#[test]
fn the_log_starts_over_under_lasting_load() {
    const FRAME: u64 = 24 + 2048;
    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        let secret = world.added_secret().await;
        let log = || std::fs::metadata(world.folder.vault().with_extension("db-wal")).unwrap().len();
        for _ in 0..5 {
            // A page each.
            for _ in 0..2500 {
                assert!(world.give(secret.id, 1).await);
            }
            // Synced, as the timer's commit is.
            world.added_secret().await;
        }

        assert!(log() < 11_000 * FRAME, "{} pages", log() / FRAME);
    });
}
