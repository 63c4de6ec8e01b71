//! Erases deleted secrets, by a clock that can be trusted, and sweeps records that no longer count.

use std::time::Duration;

use countersign::{
    domain::{
        audit::{Action, AuditEntry, AuditFilter, Outcome as Ended},
        ids::SecretId,
        time::Timestamp,
    },
    vault::{AuditAsk, Erased, Outcome, Repeat},
};

use super::kit::{NOW, World};

const HELD_BACK: Erased = Erased { secrets: 0, clock_unsettled: true };
const ERASED: Erased = Erased { secrets: 1, clock_unsettled: false };

fn later(hours: u64) -> Timestamp {
    NOW.plus(Duration::from_hours(hours))
}

/// Marks a secret as deleted at a time; `None` restores it.
async fn deleted_at(world: &World, id: SecretId, at: Option<Timestamp>) {
    let kept = world.vault.secret(world.account(), id).await.unwrap().unwrap();
    let action = if at.is_some() { Action::SecretDelete } else { Action::SecretRestore };
    let entry = AuditEntry { at: at.unwrap_or(NOW), ..world.entry(action) };
    assert_eq!(world.vault.draft(entry).set_deleted(&kept, at).commit().await.unwrap(), Outcome::Done);
}

/// How often erasing was held back, by the audit log.
async fn held_back(world: &World) -> usize {
    let filter = AuditFilter { action: Some(Action::SecretErase), ..AuditFilter::default() };
    let page = world.vault.audit_page(&filter, &AuditAsk { limit: 99, ..AuditAsk::default() }).await.unwrap();
    page.rows.iter().filter(|row| row.entry.outcome == Ended::Unavailable).count()
}

#[tokio::test]
async fn in_a_quiet_vault_what_is_due_is_erased_an_hour_after_the_first_try() {
    for hours in [1, 24, 7 * 24] {
        let world = World::new().await;
        let id = world.secret("Acme", "ada").await;
        deleted_at(&world, id, Some(NOW)).await;
        let due = 8 * 24;
        assert_eq!(erased_at(&world, later(due)).await, HELD_BACK);
        world.row_at(1, later(due)).await;
        assert_eq!(erased_at(&world, later(due)).await, HELD_BACK);
        assert_eq!(held_back(&world).await, 1, "it is written down once");
        assert_eq!(erased_at(&world, later(due + hours)).await, ERASED, "{hours} hours later");
        let erased = AuditFilter { secret: Some(id), action: Some(Action::SecretErase), ..AuditFilter::default() };
        let told = world.vault.audit_page(&erased, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap().rows;
        assert_eq!(told.iter().map(|row| row.entry.account).collect::<Vec<_>>(), [Some(world.account())]);
        world.check_sound().await;
    }
}

#[tokio::test]
async fn nothing_is_written_down_where_nothing_is_due() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    deleted_at(&world, id, Some(NOW)).await;
    for days in [6, 7] {
        assert_eq!(erased_at(&world, later(days * 24)).await, Erased::default(), "{days} days later");
    }
    assert_eq!(held_back(&world).await, 0);
}

#[tokio::test]
async fn what_was_deleted_at_the_very_moment_stays_and_each_row_names_its_account() {
    let world = World::new().await;
    let (due, not_yet) = (world.secret("Acme", "ada").await, world.secret("Acme", "grace").await);
    deleted_at(&world, due, Some(NOW)).await;
    deleted_at(&world, not_yet, Some(later(1))).await;
    let at = later(7 * 24 + 1);
    world.row_at(1, at.minus(Duration::from_hours(2))).await;
    let entry = AuditEntry { account: None, at, ..world.entry(Action::SecretErase) };
    let erased = world.vault.erase_deleted(later(1), &entry).await.unwrap();
    assert_eq!(erased, ERASED);
    assert!(world.vault.secret(world.account(), not_yet).await.unwrap().is_some());
    let told = AuditFilter { action: Some(Action::SecretErase), ..AuditFilter::default() };
    let page = world.vault.audit_page(&told, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
    let told: Vec<_> = page.rows.iter().map(|row| (row.entry.account, row.entry.secret)).collect();
    assert_eq!(told, [(Some(world.account()), Some(due))]);
}

#[tokio::test]
async fn an_earlier_try_of_a_clock_that_was_ahead_is_no_witness() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    deleted_at(&world, id, Some(NOW)).await;
    assert_eq!(erased_at(&world, later(30 * 24)).await, HELD_BACK);
    // The clock is right again. What it showed before does not count, and the next try is the first one.
    assert_eq!(erased_at(&world, later(8 * 24)).await, HELD_BACK);
    assert_eq!(held_back(&world).await, 2);
    assert_eq!(erased_at(&world, later(8 * 24 + 1)).await, ERASED);
}

#[tokio::test]
async fn an_old_try_does_not_let_one_start_with_a_clock_that_is_ahead_erase_what_was_deleted_since() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    deleted_at(&world, id, Some(NOW)).await;
    assert_eq!(erased_at(&world, later(8 * 24)).await, HELD_BACK);
    deleted_at(&world, id, None).await;
    deleted_at(&world, id, Some(later(30 * 24))).await;
    // The clock is nine days ahead, once; later the time has really passed.
    assert_eq!(erased_at(&world, later(39 * 24)).await, HELD_BACK);
    assert_eq!(erased_at(&world, later(30 * 24)).await, Erased::default());
    assert!(world.vault.secret(world.account(), id).await.unwrap().is_some());
    assert_eq!(erased_at(&world, later(40 * 24)).await, ERASED);
}

#[tokio::test]
async fn every_registration_that_no_longer_counts_is_swept_and_not_a_thousand_a_day() {
    let world = World::new().await;
    let repeat = |nth: u16, created_at| {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&nth.to_be_bytes());
        Repeat { key, account: world.account(), request: [0; 32], secret: SecretId::new(world.uuid()), created_at }
    };
    let draft = (0..2500).fold(world.vault.silent_draft(), |draft, nth| draft.add(&repeat(nth, NOW)));
    assert_eq!(draft.add(&repeat(2500, later(24))).commit().await.unwrap(), Outcome::Done);
    world.row_at(1, later(25)).await;
    assert_eq!(erased_at(&world, later(27)).await, Erased::default());
    assert!(world.vault.repeat(repeat(2500, NOW).key).await.unwrap().is_some());
    for nth in [0, 999, 1000, 2499] {
        assert!(world.vault.repeat(repeat(nth, NOW).key).await.unwrap().is_none(), "{nth}");
    }
    world.check_sound().await;
}

/// Erases secrets that were deleted seven days before a time, as decided at that time.
async fn erased_at(world: &World, at: Timestamp) -> Erased {
    let entry = AuditEntry { at, ..world.entry(Action::SecretErase) };
    world.vault.erase_deleted(at.minus(Duration::from_hours(7 * 24)), &entry).await.unwrap()
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_erases_nothing_until_it_has_been_right_for_a_while() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let kept = world.vault.secret(world.account(), id).await.unwrap().unwrap();
    let draft = world.vault.draft(world.entry(Action::SecretDelete)).set_deleted(&kept, Some(NOW));
    draft.commit().await.unwrap();
    // One start has a clock that is nine days ahead, and codes are given meanwhile.
    assert_eq!(erased_at(&world, later(9 * 24)).await, HELD_BACK);
    world.row_at(1, later(9 * 24)).await;
    assert_eq!(erased_at(&world, later(9 * 24)).await, HELD_BACK);

    // More than nine days have passed, and the clock has been right for two hours.
    world.row_at(2, later(10 * 24)).await;
    assert_eq!(erased_at(&world, later(10 * 24 + 2)).await, ERASED);
    assert!(world.vault.secret(world.account(), id).await.unwrap().is_none());
    world.check_sound().await;
}

#[tokio::test]
async fn what_was_not_due_at_the_moment_of_the_first_try_waits_for_another() {
    let world = World::new().await;
    let (due, not_yet) = (world.secret("Acme", "ada").await, world.secret("Acme", "grace").await);
    deleted_at(&world, due, Some(NOW)).await;
    deleted_at(&world, not_yet, Some(later(24))).await;
    assert_eq!(erased_at(&world, later(8 * 24)).await, HELD_BACK);
    assert_eq!(erased_at(&world, later(10 * 24)).await, Erased { secrets: 1, clock_unsettled: true });
    assert!(world.vault.secret(world.account(), not_yet).await.unwrap().is_some());
}
