//! The store's contract for the trail, for upkeep, and for several holders of one vault.

use std::{sync::Arc, time::Duration};

use countersign::{
    domain::{
        audit::{Action, Actor, AuditEntry, AuditFilter, ChainHead, Outcome},
        ids::{AccountId, SeatId, SecretId},
        principal::Client,
        text::{Claim, Purpose},
        totp::Step,
    },
    store::{StoreError, Verdict, Writes},
};

use futures::FutureExt as _;

use crate::store_kit::{Folder, World, check, given, later, runtime};

#[test]
fn a_row_keeps_everything_it_was_given() {
    check(async |world| {
        let key = "000000000042".parse().unwrap();
        let full = AuditEntry {
            at: later(1),
            account: Some(AccountId::new(world.id())),
            actor: Actor::Key(key),
            seat: Some(SeatId::new(world.id())),
            action: Action::CodeGet,
            outcome: Outcome::RateLimited,
            secret: Some(SecretId::new(world.id())),
            key: Some("000000000043".parse().unwrap()),
            step: Some(Step(u64::MAX)),
            code_tag: Some([3; 16]),
            purpose: Some(Purpose::of("log in to the bank").unwrap()),
            count: Some(u64::MAX),
            // Cut within white space: what is kept must still be what was hashed.
            client: Client { name: Claim::of(&format!("{} more", "x".repeat(63))), version: Claim::of("1.0") },
        };
        let actors = [Actor::Person, Actor::Stdio, Actor::Login, Actor::System, Actor::Unknown];
        let bare = actors.map(|actor| AuditEntry::by(actor, Action::Call, later(2)));
        let entries: Vec<_> = [full].into_iter().chain(bare).collect();

        world.store().record(entries.clone()).await.unwrap();

        let kept: Vec<_> = world.trail().await.into_iter().skip(1).map(|row| row.entry).collect();
        assert_eq!(kept, entries);
    });
}

#[test]
fn a_filter_shows_what_matches_and_no_more() {
    check(async |world| {
        let (key, other_key) = ("000000000042".parse().unwrap(), "000000000043".parse().unwrap());
        let (account, seat, secret) = (AccountId::new(world.id()), SeatId::new(world.id()), SecretId::new(world.id()));
        let base = AuditEntry::by(Actor::Person, Action::Call, later(10));
        let entries = vec![
            AuditEntry { account: Some(account), ..base.clone() },
            AuditEntry { seat: Some(seat), ..base.clone() },
            AuditEntry { secret: Some(secret), ..base.clone() },
            AuditEntry { actor: Actor::Key(key), at: later(20), ..base.clone() },
            AuditEntry { key: Some(key), action: Action::KeyRevoke, at: later(30), ..base.clone() },
            AuditEntry { actor: Actor::Key(other_key), ..base },
        ];
        world.store().record(entries).await.unwrap();
        let seqs = async |filter: AuditFilter| {
            let rows = world.store().trail(filter).await.unwrap();
            rows.into_iter().map(|row| row.seq).collect::<Vec<_>>()
        };
        let all = AuditFilter::default;

        assert_eq!(seqs(all()).await, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(seqs(AuditFilter { account: Some(account), ..all() }).await, [2]);
        assert_eq!(seqs(AuditFilter { seat: Some(seat), ..all() }).await, [3]);
        assert_eq!(seqs(AuditFilter { secret: Some(secret), ..all() }).await, [4]);
        assert_eq!(seqs(AuditFilter { secrets: Some(vec![SecretId::new(world.id()), secret]), ..all() }).await, [4]);
        assert!(seqs(AuditFilter { secrets: Some(Vec::new()), ..all() }).await.is_empty());
        assert_eq!(seqs(AuditFilter { key: Some(key), ..all() }).await, [5, 6]);
        assert_eq!(seqs(AuditFilter { action: Some(Action::KeyRevoke), ..all() }).await, [6]);
        assert_eq!(seqs(AuditFilter { since: Some(later(20)), ..all() }).await, [5, 6]);
        assert_eq!(seqs(AuditFilter { until: Some(later(20)), after: 1, ..all() }).await, [2, 3, 4, 7]);
        assert_eq!(seqs(AuditFilter { after: 5, ..all() }).await, [6, 7]);
        assert_eq!(seqs(AuditFilter { limit: Some(2), ..all() }).await, [1, 2]);
        assert_eq!(seqs(AuditFilter { limit: Some(2), newest: true, ..all() }).await, [6, 7]);
        assert!(seqs(AuditFilter { limit: Some(0), ..all() }).await.is_empty());
    });
}

#[test]
fn a_pruned_trail_starts_later_and_says_so() {
    check(async |world| {
        let old: Vec<_> = (2..=4).map(|age| AuditEntry { at: later(age), ..world.entry(Action::Call) }).collect();
        world.store().record(old).await.unwrap();
        let note = AuditEntry { at: later(9), ..world.entry(Action::TrailPrune) };
        let prune = async |before| world.store().prune_trail(later(before), note.clone()).await.unwrap();

        assert_eq!(prune(4).await, 3);
        assert_eq!(prune(4).await, 0);

        let rows = world.trail().await;
        assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [4, 5]);
        assert_eq!((rows[1].entry.action, rows[1].entry.count), (Action::TrailPrune, Some(3)));
        let (base, head) = world.store().trail_ends().await.unwrap();
        assert_eq!(base.seq, 3);
        assert_eq!(head, Some(ChainHead { seq: 5, mac: rows[1].mac }));

        assert_eq!(prune(100).await, 2, "even every row");
        assert_eq!(world.trail().await.len(), 1);
    });
}

#[test]
fn a_head_that_lags_behind_is_moved_before_its_row_is_pruned() {
    check(async |world| {
        let secret = world.added_secret().await;
        // Only the first needs a sync; the head names its row until the next one comes.
        for _ in 0..3 {
            world.give(secret.id, 1).await;
        }

        assert_eq!(world.store().prune_trail(later(100), world.entry(Action::TrailPrune)).await.unwrap(), 5);

        let (base, head) = world.store().trail_ends().await.unwrap();
        let note = world.trail().await.pop().unwrap();
        assert_eq!(base.seq, 5);
        assert_eq!(head, Some(ChainHead { seq: 6, mac: note.mac }));
    });
}

#[test]
fn a_row_that_is_younger_than_a_later_one_keeps_both() {
    check(async |world| {
        // A clock that stepped back: the chain is pruned by its order, never with a hole in it.
        let entries = [50, 5, 60].map(|age| AuditEntry { at: later(age), ..world.entry(Action::Call) });
        world.store().record(entries.to_vec()).await.unwrap();

        let pruned = world.store().prune_trail(later(10), world.entry(Action::TrailPrune)).await.unwrap();

        assert_eq!(pruned, 1);
        assert_eq!(world.trail().await.len(), 4);
    });
}

#[test]
fn the_head_is_the_last_row_of_every_durable_write() {
    check(async |world| {
        let secret = world.added_secret().await;
        world.give(secret.id, 1).await;

        let (base, head) = world.store().trail_ends().await.unwrap();

        let last = world.trail().await.pop().unwrap();
        assert_eq!(base, ChainHead { seq: 0, mac: [0; 32] });
        assert_eq!(head, Some(ChainHead { seq: last.seq, mac: last.mac }));
    });
}

#[test]
fn a_closed_store_says_so_and_does_nothing() {
    for writes in [Writes::Inline, Writes::Thread] {
        let folder = Folder::new(writes);
        runtime(writes).block_on(async {
            let world = World::of(folder);
            let secret = world.added_secret().await;
            world.store().check_writable().await.unwrap();
            world.store().close().await.unwrap();

            let read = world.store().secret(world.account(), secret.id).await;
            let write = world.store().record(vec![world.entry(Action::Call)]).await;
            let probe = world.store().check_writable().await;

            assert!(matches!(read, Err(StoreError::Unavailable(_))));
            assert!(matches!(write, Err(StoreError::Unavailable(_))));
            assert!(matches!(probe, Err(StoreError::Unavailable(_))));
            world.store().close().await.unwrap();
            let world = world.reopened().await;
            assert_eq!(world.actions().await, ["vault.create", "secret.register"]);
        });
    }
}

#[test]
fn everything_is_there_after_the_store_was_only_let_go_of() {
    for writes in [Writes::Inline, Writes::Thread] {
        let folder = Folder::new(writes);
        runtime(writes).block_on(async {
            let world = World::of(folder);
            let secret = world.added_secret().await;
            for _ in 0..3 {
                world.give(secret.id, 1).await;
            }

            let world = world.dropped_and_reopened();

            assert_eq!(world.verify().await, Ok(5));
            let (_, head) = world.store().trail_ends().await.unwrap();
            assert_eq!(head.unwrap().seq, 5, "repeats were synced when the store was dropped");
        });
    }
}

#[test]
fn repeats_are_on_the_disk_within_a_quarter_of_a_second() {
    for writes in [Writes::Inline, Writes::Thread] {
        let folder = Folder::new(writes);
        runtime(writes).block_on(async {
            let world = World::of(folder);
            let secret = world.added_secret().await;
            world.give(secret.id, 1).await;
            world.give(secret.id, 1).await;
            let began = std::time::Instant::now();

            // A durable commit moves the head; nothing but the timer makes one here.
            while world.store().trail_ends().await.unwrap().1.unwrap().seq < 4 {
                tokio::task::yield_now().await;
                assert!(began.elapsed() < Duration::from_secs(5), "no sync came");
            }

            assert_eq!(world.verify().await, Ok(4));
        });
    }
}

#[test]
fn a_decision_that_surprises_is_durable_all_the_same() {
    check(async |world| {
        let secret = world.added_secret().await;
        world.give(secret.id, 1).await;
        // Predicted to repeat, but it marks a new step.
        world.give(secret.id, 2).await;

        let (_, head) = world.store().trail_ends().await.unwrap();

        assert_eq!(head.unwrap().seq, 4);
        assert_eq!(world.state_of(secret.id).await.steps.given, Some(Step(2)));
    });
}

#[test]
fn a_decision_that_panics_changes_nothing_and_stops_nobody() {
    check(async |world| {
        let secret = world.added_secret().await;
        let entry = world.entry_on(Action::CodeGet, secret.id);
        let request = countersign::store::SecretUse {
            account: world.account(),
            secret: secret.id,
            now: crate::store_kit::NOW,
            counted: Vec::new(),
            decide: Box::new(|_| panic!("on purpose")),
        };

        let (broken, whole) = tokio::join!(
            Arc::clone(world.store()).use_secret(request),
            world.use_with(secret.id, move |seen| given(seen, Step(7), entry.clone())),
        );

        assert!(matches!(broken, Err(StoreError::Unavailable(_))));
        assert!(whole);
        assert_eq!(world.state_of(secret.id).await.steps.given, Some(Step(7)));
    });
}

#[test]
fn two_holders_of_one_vault_see_each_other_and_share_one_chain() {
    check(async |world| {
        let other = world.folder.open().unwrap().store;
        let secret = world.added_secret().await;
        assert!(other.secret(world.account(), secret.id).await.unwrap().is_some());

        for step in 0..50 {
            world.give(secret.id, step / 10).await;
            other.record(vec![world.entry(Action::Call)]).await.unwrap();
        }
        other.delete_secret(world.account(), secret.id, world.entry(Action::SecretDelete)).await.unwrap();

        let nothing = |_| Verdict { state: None, entry: None, counted: false, repeats_until: None };
        assert!(!world.use_with(secret.id, nothing).await, "deleted there, so gone here, at once");
        assert_eq!(world.verify().await, Ok(103));
        other.close().await.unwrap();
    });
}

#[test]
fn a_caller_who_is_gone_before_its_turn_leaves_nobody_waiting() {
    check(async |world| {
        let record = || world.store().record(vec![world.entry(Action::Call)]);
        let (mut gone, mut waits) = (record(), record());
        let looks = [(&mut gone).now_or_never(), (&mut waits).now_or_never()];
        drop(gone);

        let answered = tokio::time::timeout(Duration::from_secs(10), waits).await;

        assert!(looks.iter().all(Option::is_none), "nothing is answered at the first look");
        answered.expect("it is done all the same").unwrap();
        assert_eq!(world.actions().await, ["vault.create", "call", "call"]);
    });
}
