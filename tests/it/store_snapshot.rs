//! Commits that go on from the snapshot of the one before: what others did is seen all the same, and nobody is kept from
//! anything for long.

use std::{
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    time::{Duration, Instant},
};

use countersign::{
    domain::{audit::Action, ids::SecretId},
    store::{InUse, SecretUse, StoreError, Verdict, Writes},
};
use futures::FutureExt as _;
use rusqlite::Connection;

use crate::store_kit::{Folder, NOW, World, check, later, runtime};

/// Longer than any of this takes.
const LONG: Duration = Duration::from_secs(30);

/// A code that is read again and again: from the third time on, each commit goes on from the one before.
async fn read_often(world: &World, secret: SecretId) {
    for _ in 0..4 {
        assert!(world.give(secret, 1).await);
    }
}

/// Somebody who reads the vault, until this is committed or dropped.
fn reading(world: &World) -> Connection {
    let reader = Connection::open(world.folder.vault()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM secret;").unwrap();
    reader
}

/// A sidecar that reads one secret again and again, alone.
fn busy_sidecar(promise: impl AsyncFnOnce(World, SecretId)) {
    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        let secret = world.added_secret().await.id;
        read_often(&world, secret).await;
        promise(world, secret).await;
    });
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
        assert!(matches!(world.fail(secret.id).await, Err(StoreError::Unavailable(_))));

        assert!(!is_in_use(&world.folder, Duration::ZERO));
        assert!(world.give(secret.id, 1).await && world.elsewhere().give(secret.id, 1).await);
    });
}

#[test]
fn a_snapshot_is_kept_between_the_commits_of_a_process_that_is_alone_and_no_longer() {
    busy_sidecar(async |world, secret| {
        // Nothing else runs here meanwhile.
        assert!(is_in_use(&world.folder, Duration::ZERO));

        let folder = Folder::shared(&world.folder.root, Writes::Inline);
        let in_use = tokio::task::spawn_blocking(move || is_in_use(&folder, LONG)).await.unwrap();
        assert!(!in_use, "it lets go of it without another commit");

        read_often(&world, secret).await;
        assert!(world.give(secret, 2).await);
        assert!(!is_in_use(&world.folder, Duration::ZERO), "a synced commit ends it");
        assert!(world.give(secret, 3).await);
        for _ in 0..4 {
            world.state_of(secret).await;
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
            // Each has the machine for a while.
            read_often(&world, secret.id).await;
            read_often(&other, secret.id).await;
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

#[test]
fn what_was_erased_while_somebody_read_is_in_no_file_once_they_have() {
    for writes in [Writes::Inline, Writes::Thread] {
        let world = World::of(Folder::new(writes));
        runtime(writes).block_on(async {
            let erased = world.added_secret().await;
            let everywhere = || {
                let files = [world.folder.vault(), world.folder.vault().with_extension("db-wal")];
                files
                    .map(|file| std::fs::read(file).unwrap().windows(erased.seed.len()).any(|part| part == erased.seed))
            };
            let reader = reading(&world);

            let entry = world.entry_on(Action::SecretErase, erased.id);
            assert!(world.store().erase_secret(world.account(), erased.id, entry).await.unwrap());
            assert_ne!(everywhere(), [false, false], "the log can't be emptied while somebody reads");
            // It stays connected: whoever closes last takes the log away.
            reader.execute_batch("COMMIT").unwrap();
            world.store().close().await.unwrap();

            assert_eq!(everywhere(), [false, false]);
            drop(reader);
        });
    }
}

#[test]
fn the_log_is_emptied_without_another_commit_once_nobody_reads_it() {
    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        let erased = world.added_secret().await;
        let log = world.folder.vault().with_extension("db-wal");
        let reader = reading(&world);
        let entry = world.entry_on(Action::SecretErase, erased.id);
        assert!(world.store().erase_secret(world.account(), erased.id, entry).await.unwrap());
        drop(reader);

        let emptied = async {
            while std::fs::metadata(&log).unwrap().len() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, emptied).await.expect("the log stays as it is");
    });
}

#[test]
fn what_another_process_left_in_the_log_goes_with_the_next_look_for_what_is_due() {
    check(async |world| {
        let erased = world.added_secret().await;
        let reader = reading(world);
        let (entry, other) = (world.entry_on(Action::SecretErase, erased.id), world.elsewhere());
        assert!(other.store().erase_secret(world.account(), erased.id, entry).await.unwrap());
        other.store().close().await.unwrap();
        drop(reader);

        let none = world.entry(Action::SecretErase);
        assert_eq!(world.store().erase_deleted_before(NOW, none).await.unwrap(), 0);

        let file = std::fs::read(world.folder.vault()).unwrap();
        assert!(!file.windows(erased.seed.len()).any(|part| part == erased.seed));
        assert_eq!(std::fs::metadata(world.folder.vault().with_extension("db-wal")).unwrap().len(), 0);
    });
}

#[test]
fn a_commit_that_finds_the_vault_moved_away_lets_go_of_it() {
    busy_sidecar(async |world, _| {
        let elsewhere = Folder::new(Writes::Inline);
        std::fs::rename(world.folder.data(), elsewhere.data()).unwrap();

        // The sync that is due finds it so.
        let folder = Folder::shared(&elsewhere.root, Writes::Inline);
        let in_use = tokio::task::spawn_blocking(move || is_in_use(&folder, LONG)).await.unwrap();
        assert!(!in_use);
    });
}

#[test]
fn what_was_read_again_is_synced_also_while_there_is_always_more_to_do() {
    let world = Arc::new(World::of(Folder::new(Writes::Thread)));
    let secret = runtime(Writes::Thread).block_on(async {
        let secret = world.added_secret().await.id;
        // From now on it is thought to be a repeat.
        assert!(world.give(secret, 1).await);
        secret
    });
    let (send, receive) = channel();
    let more = More { world: Arc::clone(&world), secret, began: Instant::now(), before: synced(&world), end: send };
    // Outside a runtime each use is left to the writer's thread; each queues the next one before it is done.
    more.go_on();

    assert!(receive.recv_timeout(LONG).unwrap(), "nothing was synced meanwhile");
}

/// Uses of a secret from within each other, until something was synced or a second has passed.
#[derive(Clone)]
struct More {
    world: Arc<World>,
    secret: SecretId,
    began: Instant,
    before: i64,
    /// Told whether something was.
    end: Sender<bool>,
}

impl More {
    fn go_on(self) {
        let (world, secret) = (Arc::clone(&self.world), self.secret);
        let entry = world.entry_on(Action::CodeGet, secret);
        let decide = move |_: InUse<'_>| {
            let done = synced(&self.world) > self.before;
            if done || self.began.elapsed() > Duration::from_secs(1) {
                let _ = self.end.send(done);
            } else {
                self.clone().go_on();
            }
            Verdict { state: None, entry: Some(entry.clone()), counted: false, repeats_until: Some(later(30)) }
        };
        let (account, counted) = (world.account(), Vec::new());
        let request = SecretUse { account, secret, now: NOW, counted, decide: Box::new(decide) };
        let _ = Arc::clone(world.store()).use_secret(request).now_or_never();
    }
}

/// How often the trail was synced without anything else to commit.
fn synced(world: &World) -> i64 {
    let conn = Connection::open(world.folder.vault()).unwrap();
    conn.query_row("SELECT synced FROM trail_end WHERE which = 'head'", [], |row| row.get(0)).unwrap()
}
