//! Damaged vaults that are repaired: sound records are kept as they are, and damaged ones are fenced off, made anew, or
//! taken from a backup, without giving anything out twice.

use std::{path::PathBuf, sync::Arc, time::Duration};

use countersign::{
    domain::{
        account::Account,
        api_key::KeyId,
        audit::{Action, AuditEntry, AuditFilter, ChainHead},
        ids::{AccountId, SecretId},
        seat::SeatName,
        seed::Seed,
        text::Name,
        time::Timestamp,
        totp::Step,
    },
    random::SystemRandom,
    vault::{
        self, Act, Archived, AuditAsk, Finding, Life, Mended, NewSecret, OpenError, OpenRequest, Outcome, Page,
        Repaired, Source, VaultRequest, repair,
    },
};

use zeroize::Zeroizing;

use super::kit::{Folder, NOW, SEED, World, metadata};

/// The moment of a repair.
const LATER: Timestamp = Timestamp::from_seconds(NOW.seconds() + 3600);

async fn attempt(world: &World, from: Option<&PathBuf>, act: Act) -> Result<Repaired, OpenError> {
    repair(&world.folder.request(), from.map(PathBuf::as_path), act, Arc::new(SystemRandom), || LATER).await
}

/// Repairs a vault, and checks that it is sound afterwards and that nothing is left to do.
async fn repaired(world: &World, from: Option<&PathBuf>) -> Repaired {
    let before = std::fs::read(world.folder.file()).unwrap();
    let plan = attempt(world, from, Act::Plan).await.unwrap();
    assert_eq!(std::fs::read(world.folder.file()).unwrap(), before, "a plan changes nothing");
    let done = attempt(world, from, Act::Carry).await.unwrap();
    assert_eq!((&done.problems, &done.mended, &done.left), (&plan.problems, &plan.mended, &plan.left));
    assert!(done.copy.as_ref().is_some_and(|copy| copy.exists()), "{done:?}");
    assert_eq!(done.left, Vec::<String>::new(), "{done:?}");
    let again = attempt(world, from, Act::Plan).await.unwrap();
    assert_eq!(again, Repaired::default(), "once is enough");
    world.check_sound().await;
    done
}

/// A vault with rows 1 to 12 in its log.
async fn twelve_rows() -> World {
    let world = World::new().await;
    for step in 2..=12 {
        world.row_at(step, NOW.plus(Duration::from_secs(step))).await;
    }
    world
}

async fn backup(world: &World) -> PathBuf {
    let to = world.folder.root.join("backup.db");
    world.vault.back_up(&to, Vec::new()).await.unwrap();
    to
}

async fn fenced(world: &World) -> Vec<(u64, u64)> {
    let report = world.vault.verify(&[]).await.unwrap();
    assert_eq!(report.finding, None);
    report.fenced.iter().map(|(_, first, last)| (*first, *last)).collect()
}

async fn rows(world: &World, newest: bool) -> Vec<u64> {
    let ask = AuditAsk { limit: 100, newest, ..AuditAsk::default() };
    let page = world.vault.audit_page(&AuditFilter::default(), &ask).await.unwrap();
    page.rows.iter().map(|row| row.seq).collect()
}

#[tokio::test]
async fn damaged_rows_are_fenced_off_and_the_audit_log_goes_on_around_them() {
    let body = |row| format!("UPDATE audit SET body = CAST(body || 'x' AS BLOB) WHERE place = {row}");
    let cases = [
        (body(5), (5, 5)),
        ("UPDATE audit SET at = at + 1 WHERE place = 5".to_owned(), (5, 5)),
        // The next row can't be checked without this row's MAC.
        ("UPDATE audit SET mac = zeroblob(32) WHERE place = 5".to_owned(), (5, 6)),
        ("DELETE FROM audit WHERE place = 5".to_owned(), (5, 6)),
        ("DELETE FROM audit WHERE place BETWEEN 5 AND 8".to_owned(), (5, 9)),
        ("DELETE FROM audit WHERE place <= 3".to_owned(), (1, 4)),
        ("DELETE FROM audit WHERE place >= 11".to_owned(), (11, 12)),
        // The last row that is there does not follow, and the head names one after it.
        ("DELETE FROM audit WHERE place IN (10, 12)".to_owned(), (10, 12)),
        (body(12), (12, 12)),
        ("DELETE FROM audit".to_owned(), (1, 12)),
    ];
    for (change, fence) in cases {
        let world = twelve_rows().await;
        let anchors = world.vault.anchor().await.unwrap();
        assert!(world.folder.edit(&change) > 0, "{change}");
        let done = repaired(&world, None).await;
        assert!(done.mended.iter().any(|mended| mended.how == "fenced off"), "{change}: {done:?}");
        assert_eq!(fenced(&world).await, [fence], "{change}");
        // A fence has the place of the last of its rows; after the other rows comes the one about the repair.
        let expected: Vec<u64> = (1..=13).filter(|row| *row < fence.0 || *row >= fence.1).collect();
        assert_eq!(rows(&world, false).await, expected, "{change}");
        assert_eq!(rows(&world, true).await, expected.iter().rev().copied().collect::<Vec<_>>(), "{change}");
        let account = Some(world.account());
        let fences = AuditFilter { account, action: Some(Action::AuditFence), ..AuditFilter::default() };
        let page = world.vault.audit_page(&fences, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
        let told: Vec<_> = page.rows.iter().map(|row| (row.seq, row.entry.count)).collect();
        assert_eq!(told, [(fence.1, Some(fence.1 - fence.0 + 1))], "{change}");
        // Both this process, which had the vault open all the time, and a new one continue.
        world.row_at(50, LATER).await;
        let report = world.vault.verify(&anchors).await.unwrap();
        assert_eq!((report.finding, report.anchors), (None, u64::from(fence.1 < 12)), "{change}");
        world.vault.close().await.unwrap();
        let again = World::of(Folder::shared(&world.folder.root)).await;
        again.row_at(51, LATER).await;
        again.check_sound().await;
    }
}

#[tokio::test]
async fn several_fences_stand_beside_each_other_and_a_damaged_fence_becomes_another() {
    let world = twelve_rows().await;
    world.folder.edit("UPDATE audit SET body = zeroblob(3) WHERE place IN (3, 4, 8)");
    repaired(&world, None).await;
    assert_eq!(fenced(&world).await, [(3, 4), (8, 8)]);
    assert!(world.folder.edit("UPDATE audit SET body = CAST(body || 'x' AS BLOB) WHERE place = 4") > 0);
    assert!(world.vault.verify(&[]).await.unwrap().finding.is_some(), "nobody else can put up a fence");
    repaired(&world, None).await;
    assert_eq!(fenced(&world).await, [(3, 4), (8, 8)]);
    assert!(world.folder.edit("DELETE FROM audit WHERE place = 4") > 0);
    assert_eq!(world.vault.verify(&[]).await.unwrap().finding, Some((0, Finding::Gap(5))));
    repaired(&world, None).await;
    assert_eq!(fenced(&world).await, [(3, 5), (8, 8)]);
    assert!(world.folder.edit("UPDATE audit SET place = 4 WHERE place = 5") > 0);
    assert!(world.vault.verify(&[]).await.unwrap().finding.is_some());
}

#[tokio::test]
async fn a_fence_of_another_place_or_vault_holds_nowhere() {
    let world = twelve_rows().await;
    world.folder.edit("UPDATE audit SET body = zeroblob(3) WHERE place = 5");
    repaired(&world, None).await;
    let columns = "at, mac, account, actor_key, key, seat, secret, action, body";
    world.folder.edit("CREATE TABLE fence AS SELECT * FROM audit WHERE place = 5");
    for place in [4, 6] {
        let world_columns =
            format!("UPDATE audit SET ({columns}) = (SELECT {columns} FROM fence) WHERE place = {place}");
        world.folder.edit(&world_columns);
        assert!(world.vault.verify(&[]).await.unwrap().finding.is_some(), "{place}");
        world.folder.edit("DROP TABLE fence");
        repaired(&world, None).await;
        world.folder.edit("CREATE TABLE fence AS SELECT * FROM audit WHERE place = 5");
    }
}

#[tokio::test]
async fn damaged_ends_of_the_log_are_made_anew() {
    for (change, fence) in [
        ("UPDATE record SET mac = zeroblob(32) WHERE kind = 11", None),
        ("DELETE FROM record WHERE kind = 11", None),
        // The base of the chain is lost, so its first row can't be checked.
        ("UPDATE record SET mac = zeroblob(32) WHERE kind = 12", Some((1, 7))),
        ("DELETE FROM record WHERE kind = 12", Some((1, 7))),
        (
            "INSERT INTO audit SELECT 3, at, mac, account, actor_key, key, seat, secret, action, body FROM audit WHERE place = 8",
            None,
        ),
    ] {
        let world = twelve_rows().await;
        world.vault.prune(NOW.plus(Duration::from_secs(7)), &world.entry(Action::AuditPrune), None).await.unwrap();
        assert!(world.folder.edit(change) > 0, "{change}");
        let done = repaired(&world, None).await;
        assert_eq!(fenced(&world).await, fence.into_iter().collect::<Vec<_>>(), "{change}: {done:?}");
        world.row(77).await;
        world.check_sound().await;
    }
}

#[tokio::test]
async fn a_cut_tail_that_rows_were_written_after_is_told_of_and_the_head_set_anew() {
    let world = twelve_rows().await;
    world.vault.close().await.unwrap();
    world.folder.edit("DELETE FROM audit WHERE place >= 11");
    std::fs::remove_dir_all(world.folder.root.join("state")).unwrap();
    let again = World::of(Folder::shared(&world.folder.root)).await;
    again.row(100).await;
    again.row(101).await;
    let done = repaired(&again, None).await;
    assert!(done.mended.iter().any(|mended| mended.what.contains("where the audit log ends")), "{done:?}");
}

#[tokio::test]
async fn pruning_goes_on_over_a_fence_and_its_archive_verifies() {
    let world = twelve_rows().await;
    world.folder.edit("DELETE FROM audit WHERE place BETWEEN 4 AND 6");
    repaired(&world, None).await;
    assert_eq!(fenced(&world).await, [(4, 7)]);
    let entry = world.entry(Action::AuditPrune);
    let mut kept = Vec::new();
    let mut archive = |what: Archived<'_>| {
        match what {
            Archived::From(head) => kept.push(Err(head)),
            Archived::Row(_, stored) => kept.push(Ok(stored.clone())),
            Archived::Whole => {}
        }
        Ok(())
    };
    // Up to row 3, then up to row 9.
    let third = NOW.plus(Duration::from_millis(3500));
    assert_eq!(
        world.vault.prune(third, &entry, Some(&mut archive)).await.unwrap(),
        7,
        "the fence has the time of row 3"
    );
    assert_eq!(fenced(&world).await, []);
    let ninth = NOW.plus(Duration::from_millis(9500));
    assert_eq!(world.vault.prune(ninth, &entry, Some(&mut archive)).await.unwrap(), 2);
    world.check_sound().await;
    let mut check = world.vault.check_archive();
    for line in kept {
        match line {
            Err(head) => check.from(head).unwrap(),
            Ok(row) => drop(check.row(row).unwrap()),
        }
    }
    let report = check.end().await.unwrap();
    assert_eq!((report.rows, report.finding), (6, None), "rows 1 to 3, the fence, and rows 8 and 9");
    assert_eq!(report.fenced, [(0, 4, 7)]);
}

#[tokio::test]
async fn a_fence_may_stand_for_rows_that_an_interrupted_pruning_archived_before_they_were_damaged() {
    let world = twelve_rows().await;
    let entry = world.entry(Action::AuditPrune);
    let mut kept = Vec::new();
    let keep = |kept: &mut Vec<_>, what: Archived<'_>| match what {
        Archived::From(head) => kept.push(Err(head)),
        Archived::Row(_, stored) => kept.push(Ok(stored.clone())),
        Archived::Whole => {}
    };
    let fifth = NOW.plus(Duration::from_millis(5500));
    let mut full = |what: Archived<'_>| {
        let is_end = matches!(what, Archived::Whole);
        keep(&mut kept, what);
        if is_end { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    };
    world.vault.prune(fifth, &entry, Some(&mut full)).await.unwrap_err();
    let archived = kept.len();
    world.folder.edit("DELETE FROM audit WHERE place BETWEEN 4 AND 6");
    repaired(&world, None).await;
    assert_eq!(fenced(&world).await, [(4, 7)]);
    let mut whole = |what: Archived<'_>| {
        keep(&mut kept, what);
        Ok(())
    };
    world.vault.prune(fifth, &entry, Some(&mut whole)).await.unwrap();
    let begins = kept.iter().filter(|line| line.is_err()).count();
    assert!(begins == 2 && archived > 4, "two runs, the first up to row 4 at least");
    let mut check = world.vault.check_archive();
    for line in kept {
        match line {
            Err(head) => check.from(head).unwrap(),
            Ok(row) => drop(check.row(row).unwrap()),
        }
    }
    let report = check.end().await.unwrap();
    assert_eq!((report.fenced, report.finding), (vec![(0, 4, 7)], None));
}

/// Places are numbers of 40 bits in each chain. One row at the last of them must not make any operation walk to it.
#[tokio::test]
async fn a_row_with_a_number_far_out_costs_no_time_and_uses_no_numbers_up() {
    let far = [1_099_511_627_774_i64, 9_000_000, -5];
    for (place, damage_end) in far.into_iter().flat_map(|place| [(place, false), (place, true)]) {
        let world = twelve_rows().await;
        let columns = "at, mac, account, actor_key, key, seat, secret, action, body";
        let plant = format!("INSERT INTO audit SELECT {place}, {columns} FROM audit WHERE place = 8");
        assert_eq!(world.folder.edit(&plant), 1);
        if damage_end {
            world.folder.edit("UPDATE audit SET body = zeroblob(3) WHERE place = 12");
            world.folder.edit("DELETE FROM record WHERE kind = 11");
        }
        let examined = world.vault.examine().await.unwrap();
        assert!(place > 0 || !examined.problems.is_empty(), "{examined:?}");
        assert!(place < 0 || world.vault.verify(&[]).await.unwrap().finding.is_some());
        let unknown = AuditFilter { secret: Some(SecretId::new(world.uuid())), ..AuditFilter::default() };
        for newest in [false, true] {
            let ask = AuditAsk { limit: 9, newest, ..AuditAsk::default() };
            let page = world.vault.audit_page(&unknown, &ask).await.unwrap();
            assert_eq!((page.rows.len(), page.next), (0, None));
        }
        backup(&world).await;

        let done = repaired(&world, None).await;

        let removed = done.mended.iter().any(|mended| mended.what.contains("far behind its end"));
        assert_eq!(removed, place > 0, "{done:?}");
        assert_eq!(fenced(&world).await, if damage_end { vec![(12, 12)] } else { Vec::new() });
        world.row_at(50, LATER).await;
        assert_eq!(rows(&world, true).await.first(), Some(&14));
        world.check_sound().await;
    }
}

#[tokio::test]
async fn an_older_copy_is_no_damage_that_a_repair_mends() {
    let world = twelve_rows().await;
    world.vault.close().await.unwrap();
    let copy = std::fs::read(world.folder.file()).unwrap();
    let again = World::of(Folder::shared(&world.folder.root)).await;
    again.row(60).await;
    again.vault.close().await.unwrap();
    std::fs::write(world.folder.file(), copy).unwrap();
    world.folder.edit("UPDATE audit SET body = zeroblob(3) WHERE place = 3");
    let before = std::fs::read(world.folder.file()).unwrap();
    for act in [Act::Plan, Act::Carry] {
        let refused = attempt(&world, None, act).await.unwrap_err();
        assert!(matches!(refused, OpenError::Older { ends_with, seen, .. } if seen == ends_with + 1), "{refused}");
    }
    assert_eq!(std::fs::read(world.folder.file()).unwrap(), before);
}

#[tokio::test]
async fn indexes_that_were_damaged_are_made_anew() {
    for change in [
        "DELETE FROM record_word",
        "DELETE FROM record_name",
        "UPDATE record_name SET id = zeroblob(16)",
        "DELETE FROM record_count",
        "UPDATE record_count SET n = -1 WHERE kind = 3",
        "UPDATE record_count SET n = 9223372036854775807 WHERE kind = 3",
        "INSERT INTO record_count VALUES (3, zeroblob(16), 0, 1)",
        "UPDATE audit SET action = 'hidden' WHERE place = 2",
        "UPDATE audit SET secret = NULL WHERE secret IS NOT NULL",
        "DROP INDEX record_list",
        "CREATE TABLE planted (x)",
        "CREATE TRIGGER planted AFTER INSERT ON audit BEGIN SELECT 1; END",
    ] {
        let world = World::new().await;
        let id = world.secret("Acme", "ada").await;
        let seat = world.new_seat("ada@example.com", None);
        let draft = world.vault.draft(world.entry(Action::SeatAdd)).add(&seat);
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
        world.folder.edit(change);
        assert!(!world.vault.examine().await.unwrap().problems.is_empty(), "{change}");
        repaired(&world, None).await;
        let found = world.vault.find_secrets(world.account(), Life::Live, "ada").await.unwrap();
        assert_eq!(found.iter().map(|secret| secret.id).collect::<Vec<_>>(), [id], "{change}");
    }
}

#[tokio::test]
async fn a_log_of_several_segments_is_indexed_anew() {
    let world = World::new().await;
    for chunk in 0..26 {
        let entries =
            (0..100).map(|nth| AuditEntry { step: Some(Step(chunk * 100 + nth)), ..world.entry(Action::CodeGet) });
        world.vault.record(entries.collect()).await.unwrap();
    }
    assert!(world.folder.edit("DELETE FROM audit_index WHERE segment = 1") > 0);
    world.folder.edit("UPDATE audit SET body = zeroblob(9) WHERE place IN (1000, 1024, 1025, 2048)");
    repaired(&world, None).await;
    assert_eq!(fenced(&world).await, [(1000, 1000), (1024, 1025), (2048, 2048)]);
    world.row(9).await;
    world.check_sound().await;
}

/// Damages one of the three records of a secret.
fn damage(world: &World, kind: u8, id: SecretId) {
    let id = id.uuid().simple();
    let changed =
        world.folder.edit(&format!("UPDATE record SET body = zeroblob(50) WHERE kind = {kind} AND id = X'{id}'"));
    assert_eq!(changed, 1);
}

#[tokio::test]
async fn a_damaged_secret_is_restored_from_a_backup_and_gives_no_step_twice() {
    for (kind, lost) in [(3, false), (4, false), (5, false), (3, true), (4, true), (5, true)] {
        let world = World::new().await;
        let (id, other) = (world.secret("Acme", "ada").await, world.secret("Acme", "grace").await);
        let backup = backup(&world).await;
        // A step that is not in the backup.
        let in_use = world.vault.in_use(world.account(), id, &[], NOW).await.unwrap().unwrap();
        let given = in_use.terms().totp.step_at(LATER);
        let mut state = in_use.state.clone();
        (state.steps.given, state.steps.taken) = (Some(given), Some(given));
        let draft = world.vault.draft(world.entry(Action::CodeGet)).used(&in_use, Some(&state));
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
        let untouched = world.vault.in_use(world.account(), other, &[], NOW).await.unwrap().unwrap();
        if lost {
            let id = id.uuid().simple();
            assert_eq!(world.folder.edit(&format!("DELETE FROM record WHERE kind = {kind} AND id = X'{id}'")), 1);
        } else {
            damage(&world, kind, id);
        }

        if kind != 5 {
            let without = attempt(&world, None, Act::Plan).await.unwrap();
            assert!(!without.left.is_empty(), "{kind}: {without:?}");
        }
        let done = repaired(&world, Some(&backup)).await;

        assert!(done.mended.iter().any(|mended| mended.what.contains(&id.to_string())), "{kind}: {done:?}");
        let in_use = world.vault.in_use(world.account(), id, &[], LATER).await.unwrap().unwrap();
        let last = in_use.terms().totp.step_at(LATER.plus(Duration::from_mins(2)));
        assert_eq!(in_use.state.steps.taken, Some(last), "{kind}");
        assert!(!in_use.state.verify.is_unused(last));
        assert_eq!(in_use.secret.metadata.label.to_string(), "ada");
        world.vault.open_seed(&in_use).unwrap();
        let other = world.vault.in_use(world.account(), other, &[], LATER).await.unwrap().unwrap();
        assert_eq!(other.state, untouched.state, "the others' steps are as they were");
        let (account, action) = (Some(world.account()), Some(Action::VaultRepair));
        let filter = AuditFilter { account, secret: Some(id), action, ..AuditFilter::default() };
        let page = world.vault.audit_page(&filter, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
        assert_eq!(page.rows.len(), 1);
    }
}

/// Until then other processes reserve steps; a step that is reserved after it makes the repair fail.
#[tokio::test]
async fn a_repair_closes_steps_from_when_it_has_begun_to_read_the_vault() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    damage(&world, 5, id);
    let draft = world.folder.root.join("data/vault.db.repair");
    let now = || {
        assert!(draft.exists(), "the time is asked before the vault is read");
        LATER
    };

    repair(&world.folder.request(), None, Act::Carry, Arc::new(SystemRandom), now).await.unwrap();

    let in_use = world.vault.in_use(world.account(), id, &[], LATER).await.unwrap().unwrap();
    let last = in_use.terms().totp.step_at(LATER.plus(Duration::from_mins(2)));
    assert_eq!(in_use.state.steps.taken, Some(last));
}

/// Losing a secret is worse than having an erased one again, and the report names it.
#[tokio::test]
async fn what_a_fenced_row_may_have_erased_is_restored_and_named() {
    let world = World::new().await;
    let erased = world.secret("Acme", "erased").await;
    let backup = backup(&world).await;
    let entry = AuditEntry { secret: Some(erased), ..world.entry(Action::SecretErase) };
    let draft = world.vault.draft(entry).erase_secret(erased);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    assert_eq!(world.folder.edit("UPDATE audit SET body = zeroblob(9) WHERE action = 'secret.erase'"), 1);

    let done = repaired(&world, Some(&backup)).await;

    assert!(done.mended.iter().any(|mended| mended.what.contains(&erased.to_string())), "{done:?}");
    let in_use = world.vault.in_use(world.account(), erased, &[], LATER).await.unwrap().unwrap();
    let last = in_use.terms().totp.step_at(LATER.plus(Duration::from_mins(2)));
    assert_eq!(in_use.state.steps.taken, Some(last), "its codes come again in two minutes");
}

#[tokio::test]
async fn what_was_erased_or_deleted_since_the_backup_stays_so() {
    let world = World::new().await;
    let [erased, deleted, damaged] = [
        world.secret("Acme", "erased").await,
        world.secret("Acme", "deleted").await,
        world.secret("Acme", "damaged").await,
    ];
    let backup = backup(&world).await;
    let entry = |action, id| AuditEntry { secret: Some(id), ..world.entry(action) };
    let draft = world.vault.draft(entry(Action::SecretErase, erased)).erase_secret(erased);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let kept = world.vault.secret(world.account(), deleted).await.unwrap().unwrap();
    let draft = world.vault.draft(entry(Action::SecretDelete, deleted)).set_deleted(&kept, Some(NOW));
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    // A refused erasure has erased nothing, and another action on a secret does not undo its deletion.
    let refused = countersign::domain::audit::Outcome::Unavailable;
    let refused = AuditEntry { outcome: refused, ..entry(Action::SecretErase, damaged) };
    world.vault.record(vec![refused, entry(Action::CodeGet, deleted)]).await.unwrap();
    for id in [deleted, damaged] {
        damage(&world, 3, id);
    }

    let done = repaired(&world, Some(&backup)).await;

    assert!(!done.mended.iter().any(|mended| mended.what.contains(&erased.to_string())), "{done:?}");
    assert!(world.vault.secret(world.account(), erased).await.unwrap().is_none());
    let kept = world.vault.secret(world.account(), deleted).await.unwrap().unwrap();
    assert_eq!(kept.deleted_at, Some(NOW));
    assert!(world.vault.secret(world.account(), damaged).await.unwrap().unwrap().deleted_at.is_none());
}

#[tokio::test]
async fn a_seed_that_was_replaced_since_the_backup_is_not_restored() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let backup = backup(&world).await;
    let in_use = world.vault.in_use(world.account(), id, &[], NOW).await.unwrap().unwrap();
    let seed = Seed::from_base32("JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP").unwrap();
    let new = metadata("Acme", "ada");
    let draft = world.vault.draft(world.entry(Action::SecretUpdate));
    let outcome = draft.change_secret(&in_use.secret, &new, Some((&in_use, &seed))).commit().await.unwrap();
    assert_eq!(outcome, Outcome::Done);
    damage(&world, 4, id);

    let done = attempt(&world, Some(&backup), Act::Carry).await.unwrap();

    assert!(!done.left.is_empty() && done.left.iter().all(|left| left.contains(&id.to_string())), "{done:?}");
    assert!(world.vault.in_use(world.account(), id, &[], NOW).await.is_err(), "no code is better than a wrong one");
}

#[tokio::test]
async fn keys_that_are_restored_let_nobody_in_until_a_person_says_so() {
    let world = World::new().await;
    let seat = world.new_seat("ada@example.com", None);
    let ids = ["0123456789AB", "0123456789AC", "0123456789AD"];
    let draft = world.vault.draft(world.entry(Action::SeatAdd)).add(&seat);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    for (nth, id) in ids.into_iter().enumerate() {
        let key = world.new_key(id, (nth == 2).then_some(seat.id));
        let entry = AuditEntry { key: Some(key.key.id), ..world.entry(Action::KeyCreate) };
        assert_eq!(world.vault.draft(entry).add_key(&key).commit().await.unwrap(), Outcome::Done);
    }
    let backup = backup(&world).await;
    let id = |nth: usize| ids[nth].parse::<KeyId>().unwrap();
    let kept = world.vault.key(id(0)).await.unwrap().unwrap();
    let entry = AuditEntry { key: Some(id(0)), ..world.entry(Action::KeyRevoke) };
    assert_eq!(world.vault.draft(entry).revoke_key(&kept, NOW).commit().await.unwrap(), Outcome::Done);
    // One key that was revoked since is damaged, another one is lost, and so is the seat of the third one.
    world.folder.edit("UPDATE record SET mac = zeroblob(32) WHERE kind = 8 AND id = CAST('0123456789AB' AS BLOB)");
    world.folder.edit("DELETE FROM record WHERE kind = 8 AND id = CAST('0123456789AC' AS BLOB)");
    world.folder.edit("DELETE FROM record WHERE kind = 7");

    repaired(&world, Some(&backup)).await;

    let key = async |nth| world.vault.key(id(nth)).await.unwrap().unwrap().value.key;
    assert!(key(0).await.revoked_at.is_some());
    assert!(key(1).await.revoked_at.is_none() && key(1).await.off_since.is_some());
    assert!(key(2).await.revoked_at.is_none() && key(2).await.off_since.is_none(), "it was sound all the time");
    assert_eq!(world.vault.seats(world.account(), Page::ALL).await.unwrap().sound.len(), 1);

    // Without a backup, a key whose seat is gone is revoked.
    world.folder.edit("DELETE FROM record WHERE kind = 7");
    repaired(&world, None).await;
    assert!(key(2).await.revoked_at.is_some());
    let filter = AuditFilter { key: Some(id(2)), action: Some(Action::VaultRepair), ..AuditFilter::default() };
    let page = world.vault.audit_page(&filter, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
    assert_eq!(page.rows.len(), 1, "the log says which key was revoked");
}

#[tokio::test]
async fn a_key_of_a_seat_is_restored_if_its_seat_is_there() {
    let world = World::new().await;
    let (seat, gone) = (world.new_seat("ada@example.com", None), world.new_seat("grace@example.com", None));
    let ids = ["0123456789AB", "0123456789AC"].map(|id| id.parse::<KeyId>().unwrap());
    for (seat, id) in [&seat, &gone].into_iter().zip(ids) {
        let key = world.new_key(id.as_str(), Some(seat.id));
        let entry = AuditEntry { seat: Some(seat.id), key: Some(id), ..world.entry(Action::SeatAdd) };
        assert_eq!(world.vault.draft(entry).add(seat).add_key(&key).commit().await.unwrap(), Outcome::Done);
    }
    let backup = backup(&world).await;
    let kept = world.vault.seat(world.account(), &SeatName::Id(gone.id)).await.unwrap().unwrap();
    let entry = AuditEntry { seat: Some(gone.id), ..world.entry(Action::SeatRemove) };
    assert_eq!(world.vault.remove_seat(&kept, entry).await.unwrap(), Outcome::Done);
    assert_eq!(world.folder.edit("DELETE FROM record WHERE kind IN (7, 8)"), 3);

    repaired(&world, Some(&backup)).await;

    let restored = world.vault.key(ids[0]).await.unwrap().unwrap();
    assert!(restored.key.revoked_at.is_none() && restored.key.off_since.is_some());
    assert!(world.vault.key(ids[1]).await.unwrap().is_none(), "its seat was removed since");
    let seats = world.vault.seats(world.account(), Page::ALL).await.unwrap();
    assert_eq!(seats.sound.iter().map(|kept| &kept.value).collect::<Vec<_>>(), [&seat], "the other one was removed");
    let all = AuditFilter { action: Some(Action::VaultRepair), ..AuditFilter::default() };
    for filter in [AuditFilter { seat: Some(seat.id), ..all.clone() }, AuditFilter { key: Some(ids[0]), ..all }] {
        let page = world.vault.audit_page(&filter, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
        assert_eq!(page.rows.len(), 1, "{filter:?}");
    }
}

#[tokio::test]
async fn an_account_that_has_anything_is_restored_from_a_backup_and_an_empty_one_is_not() {
    let world = World::new().await;
    let [full, empty] = ["full", "empty"].map(|name| {
        let id = AccountId::new(world.uuid());
        Account { id, name: Name::parse(name).unwrap(), created_at: NOW }
    });
    for account in [&full, &empty] {
        let draft = world.vault.draft(world.entry(Action::AccountAdd)).add(account);
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    }
    let (id, seed) = (SecretId::new(world.uuid()), Seed::from_base32(SEED).unwrap());
    let new = NewSecret { id, account: full.id, created_at: NOW, metadata: &metadata("Acme", "ada"), seed: &seed };
    let entry = |action| AuditEntry { account: Some(full.id), secret: Some(id), ..world.entry(action) };
    let draft = world.vault.draft(entry(Action::SecretRegister)).add_secret(&new);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let kept = world.vault.secret(full.id, id).await.unwrap().unwrap();
    let draft = world.vault.draft(entry(Action::SecretDelete)).set_deleted(&kept, Some(NOW));
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let backup = backup(&world).await;
    for account in [&full, &empty] {
        let lost = format!("DELETE FROM record WHERE kind = 2 AND id = X'{}'", account.id.uuid().simple());
        assert_eq!(world.folder.edit(&lost), 1);
    }

    repaired(&world, Some(&backup)).await;

    assert!(world.vault.account(full.id).await.unwrap().is_some_and(|kept| kept.value == full));
    assert!(world.vault.account(empty.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_seat_whose_id_was_damaged_is_restored_and_what_the_log_does_not_know_is_removed() {
    let world = World::new().await;
    let seat = world.new_seat("ada@example.com", None);
    let entry = AuditEntry { seat: Some(seat.id), ..world.entry(Action::SeatAdd) };
    assert_eq!(world.vault.draft(entry).add(&seat).commit().await.unwrap(), Outcome::Done);
    let backup = backup(&world).await;
    assert_eq!(world.folder.edit("UPDATE record SET id = zeroblob(16) WHERE kind = 7"), 1);

    let done = repaired(&world, Some(&backup)).await;

    assert!(done.mended.iter().any(|mended| mended.how.contains("the audit log knows nothing of it")), "{done:?}");
    let seats = world.vault.seats(world.account(), Page::ALL).await.unwrap();
    assert_eq!(seats.sound.iter().map(|kept| &kept.value).collect::<Vec<_>>(), [&seat]);
}

#[tokio::test]
async fn what_can_be_done_without_is_removed_and_the_default_account_is_made_anew() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let key = world.new_key("0123456789AB", None);
    let draft = world.vault.draft(world.entry(Action::KeyCreate)).add_key(&key);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    world.vault.touch_key(key.key.id, world.account(), NOW).await.unwrap();
    // The account, the marks of the steps, and the time of the key's last use.
    assert_eq!(world.folder.edit("UPDATE record SET body = zeroblob(9) WHERE kind IN (2, 5, 9)"), 3);

    let done = repaired(&world, None).await;

    assert_eq!(done.mended.len(), 4, "{done:?}");
    let in_use = world.vault.in_use(world.account(), id, &[], LATER).await.unwrap().unwrap();
    let last = in_use.terms().totp.step_at(LATER.plus(Duration::from_mins(2)));
    assert_eq!(in_use.state.steps.taken, Some(last));
}

#[tokio::test]
async fn a_header_that_is_gone_comes_from_a_backup_alone() {
    for change in [
        "UPDATE record SET body = zeroblob(90) WHERE kind = 1",
        "UPDATE record SET mac = zeroblob(32) WHERE kind = 1",
        "DELETE FROM record WHERE kind = 1",
    ] {
        let world = World::new().await;
        let id = world.secret("Acme", "ada").await;
        let backup = backup(&world).await;
        world.row(9).await;
        // This process knows a newer header than the backup has.
        let keys = world.folder.root.join("config/keys");
        let second = world.vault.new_key(&Source::file(Some(keys.join("second.key")), keys)).await.unwrap();
        world.vault.add_slot(&second, None, world.entry(Action::VaultKeyAdd)).await.unwrap();
        assert_eq!(world.vault.vault_keys().await.unwrap().len(), 2);
        assert_eq!(world.folder.edit(change), 1);
        let before = std::fs::read(world.folder.file()).unwrap();
        let refused = attempt(&world, None, Act::Carry).await.unwrap_err();
        assert!(refused.to_string().contains("header"), "{refused}");
        assert_eq!(std::fs::read(world.folder.file()).unwrap(), before);
        let done = repaired(&world, Some(&backup)).await;
        assert!(done.mended.iter().any(|mended| mended.how.contains("vault key list")), "{done:?}");
        assert!(world.vault.secret(world.account(), id).await.unwrap().is_some());
    }
}

/// Replaces the root key, or rotates the data key.
async fn rotated(world: &World, with_root: bool) {
    if with_root {
        let sources = [world.folder.request().source];
        world.vault.replace_root(&sources, world.entry(Action::VaultRotateRoot)).await.unwrap();
    } else {
        assert!(world.vault.begin_rotation(world.entry(Action::VaultRotate)).await.unwrap());
    }
    let ended = world.vault.finish_rotation(&world.entry(Action::VaultRotated), &mut |_| {}).await.unwrap();
    assert!(ended.finished);
}

#[tokio::test]
async fn a_secret_comes_from_a_backup_that_was_made_before_the_keys_were_replaced() {
    for with_root in [false, true] {
        let world = World::new().await;
        let id = world.secret("Acme", "ada").await;
        let backup = backup(&world).await;
        rotated(&world, with_root).await;
        world.folder.edit("UPDATE record SET mac = zeroblob(32) WHERE kind IN (3, 4)");
        repaired(&world, Some(&backup)).await;
        let in_use = world.vault.in_use(world.account(), id, &[], LATER).await.unwrap().unwrap();
        assert_eq!(*world.vault.open_seed(&in_use).unwrap().to_base32(), SEED);
        assert!(world.vault.rotation().await.unwrap().finished, "nothing is sealed under the old keys");
    }
}

#[tokio::test]
async fn a_header_from_before_the_keys_were_replaced_is_refused_with_what_to_do() {
    for with_root in [false, true] {
        let world = World::new().await;
        world.secret("Acme", "ada").await;
        let backup = backup(&world).await;
        rotated(&world, with_root).await;
        world.folder.edit("UPDATE record SET mac = zeroblob(32) WHERE kind = 1");
        let before = std::fs::read(world.folder.file()).unwrap();
        let refused = attempt(&world, Some(&backup), Act::Carry).await.unwrap_err().to_string();
        assert!(refused.contains("the backup is older than a new data key or root key of the vault"), "{refused}");
        assert!(refused.contains("`countersign vault restore`"), "{refused}");
        assert_eq!(std::fs::read(world.folder.file()).unwrap(), before);
    }
}

/// An attacker who can write the file can put a forged header before the vault's.
#[tokio::test]
async fn a_record_that_only_looks_like_the_header_is_not_taken_for_it() {
    let world = twelve_rows().await;
    let forged = "INSERT INTO record (n, kind, id, version, account, sort, life, mac, body) \
                  SELECT -5, kind, X'01', version + 9, account, sort, life, mac, body FROM record WHERE kind = 1";
    assert_eq!(world.folder.edit(forged), 1);
    world.folder.edit("UPDATE audit SET body = zeroblob(3) WHERE place = 3");
    let done = attempt(&world, None, Act::Carry).await.unwrap();
    assert!(done.mended.iter().any(|mended| mended.how == "fenced off"), "{done:?}");
}

/// One flipped bit can change the kind of a record.
#[tokio::test]
async fn a_record_that_only_looks_like_a_floor_is_removed() {
    let world = twelve_rows().await;
    let floor = countersign::store::Kind::Floor as i64;
    let forged = format!(
        "INSERT INTO record (n, kind, id, version, account, sort, life, mac, body) \
         SELECT 999, {floor}, X'0102', version, account, sort, life, mac, body FROM record WHERE kind = 1"
    );
    assert_eq!(world.folder.edit(&forged), 1);
    let done = attempt(&world, None, Act::Carry).await.unwrap();
    assert!(done.mended.iter().any(|mended| mended.how == "removed: it only looks like a floor"), "{done:?}");
    assert!(done.left.is_empty(), "{done:?}");
    world.check_sound().await;
}

#[tokio::test]
async fn what_another_process_writes_while_a_vault_is_built_anew_is_not_lost() {
    let world = twelve_rows().await;
    let salvage = countersign::store::salvage(&world.folder.request().store, None).unwrap();
    salvage.copy_records(&mut |_| Some(countersign::store::Finders::default())).unwrap();
    world.row(13).await;
    let refused = salvage.take_place().unwrap_err();
    assert!(refused.to_string().contains("another process wrote to it meanwhile"), "{refused}");
    world.check_sound().await;
    assert_eq!(rows(&world, false).await.len(), 13);
}

#[tokio::test]
async fn a_backup_of_another_vault_repairs_nothing() {
    let (world, stranger) = (twelve_rows().await, World::new().await);
    world.folder.edit("UPDATE audit SET body = zeroblob(3) WHERE place = 3");
    let foreign = backup(&stranger).await;
    let refused = attempt(&world, Some(&foreign), Act::Carry).await.unwrap_err();
    assert!(matches!(refused, OpenError::NoKey { .. } | OpenError::WrongKey { .. }), "{refused}");
    let plan = attempt(&world, None, Act::Plan).await.unwrap();
    assert!(!plan.problems.is_empty(), "it is as it was");
}

/// A vault that is built anew has no free pages, and processes that have the file open would take a smaller one for
/// another vault's.
#[tokio::test]
async fn a_repaired_vault_is_no_smaller_than_it_was() {
    let world = World::new().await;
    for chunk in 0..30 {
        let entries =
            (0..100).map(|nth| AuditEntry { step: Some(Step(chunk * 100 + nth)), ..world.entry(Action::CodeGet) });
        world.vault.record(entries.collect()).await.unwrap();
    }
    let other = world.elsewhere().await;
    world.folder.edit("DELETE FROM audit WHERE place BETWEEN 100 AND 2900");
    world.secret("Acme", "ada").await;
    let before = std::fs::metadata(world.folder.file()).unwrap().len();
    repaired(&world, None).await;
    assert!(std::fs::metadata(world.folder.file()).unwrap().len() >= before);
    for world in [&world, &other] {
        world.row(7).await;
        world.check_sound().await;
    }
}

#[tokio::test]
async fn processes_that_have_the_vault_open_go_on_over_a_repair() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let other = world.elsewhere().await;
    other.row(5).await;
    let at = |world: &World| ChainHead { chain: 0, ..futures::executor::block_on(world.vault.anchor()).unwrap()[0] };
    let known = at(&other);
    world.folder.edit(&format!("UPDATE audit SET mac = zeroblob(32) WHERE place = {}", known.seq));
    repaired(&world, None).await;
    for world in [&world, &other] {
        let in_use = world.vault.in_use(world.account(), id, &[], NOW).await.unwrap().unwrap();
        let draft = world.vault.draft(world.entry(Action::CodeGet)).used(&in_use, Some(&in_use.state));
        assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
        world.check_sound().await;
    }
    let copy = OpenRequest { make: false, ..world.folder.request().store };
    vault::open(&VaultRequest { store: copy, ..world.folder.request() }, Arc::new(SystemRandom)).await.unwrap();
}

#[tokio::test]
async fn what_belonged_to_an_account_that_was_removed_since_the_backup_is_not_restored() {
    let world = World::new().await;
    let gone = Account { id: AccountId::new(world.uuid()), name: Name::parse("gone").unwrap(), created_at: NOW };
    let (mut seat, mut key) = (world.new_seat("ada@example.com", None), world.new_key("0123456789AB", None));
    (seat.account, key.key.rights.account) = (gone.id, gone.id);
    let draft = world.vault.draft(world.entry(Action::AccountAdd)).add(&gone);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let draft = world.vault.draft(world.entry(Action::SeatAdd)).add(&seat).add_key(&key);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let backup = backup(&world).await;
    let kept = world.vault.account(gone.id).await.unwrap().unwrap();
    let removed = world.vault.remove_account(&kept, world.entry(Action::AccountRemove)).await.unwrap();
    assert_eq!(removed, Outcome::Done);
    world.folder.edit("DELETE FROM record_count");

    let done = repaired(&world, Some(&backup)).await;

    assert_eq!(done.mended.len(), 1, "only the file was built anew: {done:?}");
}

/// Whether such a record was lost or removed is not known, so it does not come back.
#[tokio::test]
async fn what_is_missing_is_not_restored_from_a_backup_to_which_the_log_does_not_go_back() {
    let world = World::new().await;
    let (erased, damaged) = (world.secret("Acme", "erased").await, world.secret("Acme", "damaged").await);
    let (seat, key) = (world.new_seat("ada@example.com", None), world.new_key("0123456789AB", None));
    let draft = world.vault.draft(world.entry(Action::SeatAdd)).add(&seat).add_key(&key);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let backup = backup(&world).await;
    let entry = AuditEntry { secret: Some(erased), ..world.entry(Action::SecretErase) };
    assert_eq!(world.vault.draft(entry).erase_secret(erased).commit().await.unwrap(), Outcome::Done);
    let kept = world.vault.seat(world.account(), &SeatName::Id(seat.id)).await.unwrap().unwrap();
    let entry = AuditEntry { seat: Some(seat.id), ..world.entry(Action::SeatRemove) };
    assert_eq!(world.vault.remove_seat(&kept, entry).await.unwrap(), Outcome::Done);
    world.vault.prune(NOW.plus(Duration::from_secs(1)), &world.entry(Action::AuditPrune), None).await.unwrap();
    assert_eq!(world.folder.edit("DELETE FROM record WHERE kind = 8"), 1);
    damage(&world, 4, damaged);

    repaired(&world, Some(&backup)).await;

    assert!(world.vault.secret(world.account(), erased).await.unwrap().is_none());
    assert!(world.vault.key(key.key.id).await.unwrap().is_none());
    assert!(world.vault.seats(world.account(), Page::ALL).await.unwrap().sound.is_empty());
    let in_use = world.vault.in_use(world.account(), damaged, &[], LATER).await.unwrap().unwrap();
    assert_eq!(*world.vault.open_seed(&in_use).unwrap().to_base32(), SEED, "its other record is there");
}

#[tokio::test]
async fn nothing_is_removed_as_unknown_where_a_part_of_the_log_is_gone() {
    for is_pruned in [false, true] {
        let world = World::new().await;
        let seat = world.new_seat("ada@example.com", None);
        let entry = AuditEntry { seat: Some(seat.id), ..world.entry(Action::SeatAdd) };
        assert_eq!(world.vault.draft(entry).add(&seat).commit().await.unwrap(), Outcome::Done);
        world.row(9).await;
        if is_pruned {
            let entry = world.entry(Action::AuditPrune);
            world.vault.prune(NOW.plus(Duration::from_secs(1)), &entry, None).await.unwrap();
        } else {
            assert_eq!(world.folder.edit("UPDATE audit SET body = zeroblob(9) WHERE action = 'seat.add'"), 1);
        }
        assert_eq!(world.folder.edit("UPDATE record SET mac = zeroblob(32) WHERE kind = 7"), 1);
        let done = attempt(&world, None, Act::Carry).await.unwrap();
        assert!(done.left.iter().any(|left| left.contains(&seat.id.to_string())), "{is_pruned}: {done:?}");
    }
}

#[tokio::test]
async fn keys_and_accounts_whose_ids_the_log_does_not_know_are_removed() {
    let world = World::new().await;
    let account = Account { id: AccountId::new(world.uuid()), name: Name::parse("other").unwrap(), created_at: NOW };
    let entry = AuditEntry { account: Some(account.id), ..world.entry(Action::AccountAdd) };
    assert_eq!(world.vault.draft(entry).add(&account).commit().await.unwrap(), Outcome::Done);
    let key = world.new_key("0123456789AB", None);
    let entry = AuditEntry { key: Some(key.key.id), ..world.entry(Action::KeyCreate) };
    assert_eq!(world.vault.draft(entry).add_key(&key).commit().await.unwrap(), Outcome::Done);
    assert_eq!(world.folder.edit("UPDATE record SET id = CAST('0123456789AZ' AS BLOB) WHERE kind = 8"), 1);
    let id = account.id.uuid().simple();
    assert_eq!(world.folder.edit(&format!("UPDATE record SET id = zeroblob(16) WHERE kind = 2 AND id = X'{id}'")), 1);

    let done = repaired(&world, None).await;

    let removed = done.mended.iter().filter(|mended| mended.how.contains("the audit log knows nothing of it"));
    assert_eq!(removed.count(), 2, "{done:?}");
}

#[tokio::test]
async fn marks_of_a_secret_that_is_gone_are_removed() {
    let world = World::new().await;
    world.secret("Acme", "ada").await;
    assert_eq!(world.folder.edit("DELETE FROM record WHERE kind IN (3, 4)"), 2);
    let done = repaired(&world, None).await;
    assert!(done.mended.iter().any(|mended| mended.how == "removed: its secret is not there"), "{done:?}");
}

#[test]
fn a_repair_helps_if_it_mends_a_record_or_ends_a_problem() {
    let mended = Mended { what: "a part".to_owned(), how: "mended".to_owned() };
    let problems = vec!["a problem".to_owned()];
    for (count, left, helps) in [(1, problems.clone(), false), (2, problems.clone(), true), (1, Vec::new(), true)] {
        let plan = Repaired { problems: problems.clone(), mended: vec![mended.clone(); count], left, copy: None };
        assert_eq!(plan.helps(), helps, "{plan:?}");
    }
}

/// One key may open several vaults, but the header of another one opens none of this one's records.
#[tokio::test]
async fn a_header_of_another_vault_that_the_same_key_opens_is_not_taken() {
    let value = b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let source = || Arc::new(Source::env("KEY".to_owned(), Some(Zeroizing::new(value.to_vec()))));
    let (world, stranger) = (World::new().await, World::new().await);
    world.secret("Acme", "ada").await;
    for world in [&world, &stranger] {
        let key = world.vault.new_key(&source()).await.unwrap();
        world.vault.add_slot(&key, None, world.entry(Action::VaultKeyAdd)).await.unwrap();
    }
    let foreign = backup(&stranger).await;
    assert_eq!(world.folder.edit("UPDATE record SET mac = zeroblob(32) WHERE kind = 1"), 1);
    let before = std::fs::read(world.folder.file()).unwrap();
    let request = VaultRequest { source: source(), ..world.folder.request() };
    let refused = repair(&request, Some(&foreign), Act::Carry, Arc::new(SystemRandom), || LATER).await.unwrap_err();
    assert!(refused.to_string().contains("header"), "{refused}");
    assert_eq!(std::fs::read(world.folder.file()).unwrap(), before);
}

#[tokio::test]
async fn a_secret_that_was_deleted_before_the_backup_is_restored_as_deleted() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let kept = world.vault.secret(world.account(), id).await.unwrap().unwrap();
    let entry = AuditEntry { secret: Some(id), ..world.entry(Action::SecretDelete) };
    assert_eq!(world.vault.draft(entry).set_deleted(&kept, Some(NOW)).commit().await.unwrap(), Outcome::Done);
    let backup = backup(&world).await;
    damage(&world, 3, id);

    repaired(&world, Some(&backup)).await;

    let kept = world.vault.secret(world.account(), id).await.unwrap().unwrap();
    assert_eq!((kept.deleted_at, kept.metadata.label.as_str()), (Some(NOW), "ada"));
}

#[tokio::test]
async fn damaged_rows_after_the_one_that_the_head_names_are_fenced_off_with_it() {
    let world = World::new().await;
    for step in 2..=12 {
        world.row_at(step, NOW.plus(Duration::from_secs(step))).await;
        if step == 9 {
            world.folder.edit("CREATE TABLE saved AS SELECT * FROM record WHERE kind = 11");
        }
    }
    assert_eq!(world.folder.edit("DELETE FROM record WHERE kind = 11"), 1);
    assert_eq!(world.folder.edit("INSERT INTO record SELECT * FROM saved"), 1);
    world.folder.edit("DROP TABLE saved");
    assert_eq!(world.folder.edit("UPDATE audit SET body = zeroblob(9) WHERE place >= 9"), 4);
    repaired(&world, None).await;
    assert_eq!(fenced(&world).await, [(9, 12)]);
    world.row_at(50, LATER).await;
    world.check_sound().await;
}
