//! Older copies of a vault, which the state file reveals.

use std::{path::Path, sync::Arc, time::Duration};

use countersign::{
    domain::{
        audit::{Action, AuditFilter},
        ids::SecretId,
        time::Timestamp,
        totp::Step,
    },
    random::SystemRandom,
    vault::{self, Act, AuditAsk, Life, OpenError, Outcome, Page, StoreError, Vault, VaultRequest, repair},
};

use super::kit::{Folder, NOW, World};

/// Replaces the vault's file.
fn put(world: &World, copy: &Path) {
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(world.folder.root.join(format!("data/vault.db{end}")));
    }
    std::fs::copy(copy, world.folder.file()).unwrap();
}

/// A closed vault, and a copy that was made before a secret was added.
async fn outdated() -> (World, std::path::PathBuf) {
    let world = World::new().await;
    world.row(1).await;
    world.vault.close().await.unwrap();
    let copy = world.folder.root.join("copy.db");
    std::fs::copy(world.folder.file(), &copy).unwrap();
    let again = World::of(Folder::shared(&world.folder.root)).await;
    again.secret("Acme", "ada").await;
    again.vault.close().await.unwrap();
    (world, copy)
}

#[tokio::test]
async fn an_older_copy_is_refused_and_a_person_can_go_on_with_it() {
    let (world, copy) = outdated().await;
    put(&world, &copy);
    let before = std::fs::read(world.folder.file()).unwrap();
    let refused = world.folder.open().await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Older { ends_with, seen, .. } if seen == ends_with + 1), "{refused}");
    assert!(refused.to_string().contains("countersign vault accept-loss"), "{refused}");
    let repaired = repair(&world.folder.request(), None, Act::Carry, Arc::new(SystemRandom), || NOW).await;
    assert!(matches!(repaired, Err(OpenError::Older { ends_with, seen, .. }) if seen == ends_with + 1), "{repaired:?}");
    assert_eq!(std::fs::read(world.folder.file()).unwrap(), before);

    let vault = vault::accept_loss(&world.folder.request(), Arc::new(SystemRandom)).await.unwrap();
    let filter = AuditFilter { action: Some(Action::VaultAcceptLoss), ..AuditFilter::default() };
    let page = vault.audit_page(&filter, &AuditAsk { limit: 9, ..AuditAsk::default() }).await.unwrap();
    assert_eq!(page.rows.iter().map(|row| row.entry.account).collect::<Vec<_>>(), [Some(world.account())]);
    vault.close().await.unwrap();
    world.folder.open().await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn after_an_accepted_loss_the_steps_of_two_minutes_count_as_used() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let (on, mut revoked) = (world.new_key("0123456789AB", None), world.new_key("0123456789AC", None));
    revoked.key.revoked_at = Some(NOW);
    let draft = world.vault.draft(world.entry(Action::KeyCreate)).add_key(&on).add_key(&revoked);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    world.vault.close().await.unwrap();
    let off_since = async |vault: &Vault| -> Vec<Option<Timestamp>> {
        let keys = vault.keys(world.account()).await.unwrap().sound;
        keys.iter().map(|kept| kept.key.off_since).collect()
    };
    let vault = vault::accept_loss(&world.folder.request(), Arc::new(SystemRandom)).await.unwrap();
    assert_eq!(off_since(&vault).await, [Some(NOW), None]);
    let in_use = vault.in_use(world.account(), id, &[], NOW).await.unwrap().unwrap();
    let last = in_use.terms().totp.step_at(NOW.plus(Duration::from_mins(2)));
    assert_eq!(in_use.state.steps.taken, Some(last));
    assert!(!in_use.state.verify.is_unused(last) && in_use.state.verify.is_unused(Step(last.0 + 1)));
    // A second loss, later, counts from its own time.
    vault.close().await.unwrap();
    let later = NOW.plus(Duration::from_hours(1));
    let request = VaultRequest { now: later, ..world.folder.request() };
    let vault = vault::accept_loss(&request, Arc::new(SystemRandom)).await.unwrap();
    let in_use = vault.in_use(world.account(), id, &[], later).await.unwrap().unwrap();
    assert!(in_use.state.steps.taken > Some(last));
    assert_eq!(off_since(&vault).await, [Some(NOW), None], "it was off already");
    vault.close().await.unwrap();
}

/// Until then other processes serve from the old vault, and reserve steps.
#[tokio::test]
async fn a_restore_closes_steps_from_when_the_old_vault_is_out_of_the_way() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let backup = world.folder.root.join("backup.db");
    world.vault.back_up(&backup, Vec::new()).await.unwrap();
    let later = NOW.plus(Duration::from_hours(1));
    let now = || {
        let files = std::fs::read_dir(world.folder.root.join("data")).unwrap();
        let names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().any(|name| name.starts_with("vault.db.replaced-")), "{names:?}");
        later
    };

    let (vault, restored) =
        vault::restore(&world.folder.existing(), &backup, Arc::new(SystemRandom), now).await.unwrap();

    assert!(restored.aside.is_some_and(|aside| aside.exists()));
    let in_use = vault.in_use(world.account(), id, &[], later).await.unwrap().unwrap();
    let last = in_use.terms().totp.step_at(later.plus(Duration::from_mins(2)));
    assert_eq!(in_use.state.steps.taken, Some(last));
    vault.close().await.unwrap();
}

#[tokio::test]
async fn a_restore_that_fails_after_it_has_happened_says_that_it_has() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let backup = world.folder.root.join("backup.db");
    world.vault.back_up(&backup, Vec::new()).await.unwrap();
    world.vault.close().await.unwrap();
    let request = world.folder.existing();
    let keys = world.folder.root.join("config/keys");
    let hidden = world.folder.root.join("hidden");
    let now = || {
        std::fs::rename(&keys, &hidden).unwrap();
        NOW
    };

    let failed = vault::restore(&request, &backup, Arc::new(SystemRandom), now).await.map(|_| ()).unwrap_err();

    let OpenError::RestoredUnopened { aside: Some(aside), .. } = &failed else { panic!("{failed}") };
    let told = failed.to_string();
    assert!(aside.exists() && told.starts_with("the vault was restored") && told.contains("replaced-"), "{told}");
    std::fs::rename(&hidden, &keys).unwrap();
    let again = World::of(Folder::shared(&world.folder.root)).await;
    assert!(again.vault.secret(again.account(), id).await.unwrap().is_some());
    again.check_sound().await;
}

fn names(world: &World) -> Vec<String> {
    let files = std::fs::read_dir(world.folder.root.join("data")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("replaced") || name.contains("restore")).collect()
}

/// The file with the vault's name is the old vault, or one in which the steps count as used.
#[tokio::test]
async fn a_restore_that_ends_in_the_middle_leaves_the_old_vault() {
    let world = World::new().await;
    let backup = world.folder.root.join("backup.db");
    world.vault.back_up(&backup, Vec::new()).await.unwrap();
    let id = world.secret("Acme", "ada").await;
    let restore = |now: fn() -> Timestamp| {
        let (request, backup) = (world.folder.existing(), backup.clone());
        tokio::spawn(async move { vault::restore(&request, &backup, Arc::new(SystemRandom), now).await.map(|_| ()) })
    };
    assert!(restore(|| panic!("it is killed here")).await.is_err());
    assert_eq!(names(&world), Vec::<String>::new());
    let other = World::of(Folder::shared(&world.folder.root)).await;
    assert!(other.vault.secret(other.account(), id).await.unwrap().is_some());

    // A file prevents the last rename.
    let aside = format!("data/vault.db.replaced-{}-shm", NOW.to_string().replace(':', "-"));
    std::fs::write(world.folder.root.join(&aside), "").unwrap();
    let refused = restore(|| NOW).await.unwrap().unwrap_err();
    assert!(refused.to_string().contains("is there already"), "{refused}");
    assert_eq!(names(&world).len(), 1);
    let again = World::of(Folder::shared(&world.folder.root)).await;
    assert!(again.vault.secret(again.account(), id).await.unwrap().is_some());
    again.check_sound().await;
}

/// A vault with a change in its log, in the state of a restore that is killed between its renames, before or after that
/// of the log.
async fn half_restored(log_too: bool) -> (World, std::path::PathBuf, SecretId) {
    let world = World::new().await;
    let backup = world.folder.root.join("backup.db");
    world.vault.back_up(&backup, Vec::new()).await.unwrap();
    let id = world.secret("Acme", "ada").await;
    let data = world.folder.root.join("data");
    assert!(std::fs::metadata(data.join("vault.db-wal")).unwrap().len() > 0);
    std::fs::copy(&backup, data.join("vault.db.restore-2026-01-01T00-00-00Z")).unwrap();
    for ending in ["", "-wal", "-shm"].iter().take(if log_too { 3 } else { 1 }) {
        let aside = data.join(format!("vault.db.replaced-2026-01-01T00-00-00Z{ending}"));
        std::fs::rename(data.join(format!("vault.db{ending}")), aside).unwrap();
    }
    (world, backup, id)
}

#[tokio::test]
async fn after_a_crash_between_its_renames_a_restore_keeps_the_old_vault_with_its_log() {
    for log_too in [false, true] {
        let (world, backup, id) = half_restored(log_too).await;

        let restored = vault::restore(&world.folder.existing(), &backup, Arc::new(SystemRandom), || NOW).await;

        let (vault, restored) = restored.unwrap();
        assert!(vault.secret(world.account(), id).await.unwrap().is_none());
        vault.close().await.unwrap();
        let aside = restored.aside.unwrap();
        assert_eq!(names(&world).len(), 3, "{:?}", names(&world));
        for ending in ["", "-wal", "-shm"] {
            let (from, to) =
                (format!("{}{ending}", aside.display()), format!("{}{ending}", world.folder.file().display()));
            std::fs::rename(from, to).unwrap();
        }
        std::fs::remove_dir_all(world.folder.root.join("state")).unwrap();
        let old = World::of(Folder::shared(&world.folder.root)).await;
        assert!(old.vault.secret(old.account(), id).await.unwrap().is_some(), "what stood in the log is there");
    }
}

#[tokio::test]
async fn a_vault_that_a_killed_restore_moved_aside_is_named_with_what_to_do_and_none_is_made() {
    for log_too in [false, true] {
        let (world, _backup, id) = half_restored(log_too).await;
        let before = names(&world);
        for request in [world.folder.request(), world.folder.existing()] {
            let refused = vault::open(&request, Arc::new(SystemRandom)).await.map(drop).unwrap_err().to_string();
            assert!(refused.contains("vault.db is not there: a restore was interrupted"), "{refused}");
            assert!(refused.contains("Run `countersign vault restore BACKUP` again"), "{refused}");
            assert_eq!(names(&world), before);
            assert!(!world.folder.file().exists());
        }
        let refused = world.folder.open().await.map(drop).unwrap_err().to_string();
        let (_, renames) = refused.split_once("; or go on with that one: rename ").unwrap();
        for rename in renames.split(", and then ") {
            let (from, to) = rename.split_once(" to ").unwrap();
            std::fs::rename(from, to).unwrap();
        }
        let old = World::of(Folder::shared(&world.folder.root)).await;
        assert!(old.vault.secret(old.account(), id).await.unwrap().is_some(), "what stood in the log is there");
        old.check_sound().await;
    }
}

/// A log without its database would be taken for the restored vault's.
#[tokio::test]
async fn a_log_without_its_database_is_moved_aside_by_a_restore() {
    let (world, backup, _) = half_restored(false).await;
    std::fs::remove_file(world.folder.root.join("data/vault.db.replaced-2026-01-01T00-00-00Z")).unwrap();

    let restored = vault::restore(&world.folder.existing(), &backup, Arc::new(SystemRandom), || NOW).await;

    let (vault, restored) = restored.unwrap();
    assert_eq!(restored.aside, None);
    let restored = World::over(Folder::shared(&world.folder.root), vault);
    restored.check_sound().await;
    assert_eq!(restored.vault.secrets(restored.account(), Life::Live, Page::ALL).await.unwrap().sound.len(), 0);
    assert!(names(&world).iter().any(|name| name.ends_with("-wal")), "{:?}", names(&world));
}

#[tokio::test]
async fn a_copy_with_as_many_but_other_rows_is_refused_too() {
    let (world, copy) = outdated().await;
    put(&world, &copy);
    std::fs::rename(world.folder.root.join("state"), world.folder.root.join("aside")).unwrap();
    let elsewhere = World::of(Folder::shared(&world.folder.root)).await;
    for step in 10..20 {
        elsewhere.row(step).await;
    }
    elsewhere.vault.close().await.unwrap();
    std::fs::remove_dir_all(world.folder.root.join("state")).unwrap();
    std::fs::rename(world.folder.root.join("aside"), world.folder.root.join("state")).unwrap();
    let refused = world.folder.open().await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Older { ends_with, seen, .. } if seen <= ends_with), "{refused}");
    assert!(refused.to_string().contains("that was last open here; it may"), "no number of rows: {refused}");
}

#[tokio::test]
async fn a_loss_that_could_not_be_accepted_is_still_a_loss() {
    let (world, copy) = outdated().await;
    put(&world, &copy);
    std::fs::rename(world.folder.root.join("state"), world.folder.root.join("aside")).unwrap();
    let elsewhere = World::of(Folder::shared(&world.folder.root)).await;
    for step in 10..20 {
        elsewhere.row(step).await;
    }
    elsewhere.vault.close().await.unwrap();
    std::fs::remove_dir_all(world.folder.root.join("state")).unwrap();
    std::fs::rename(world.folder.root.join("aside"), world.folder.root.join("state")).unwrap();
    // A damaged floor prevents the write.
    let floor = "INSERT INTO record (kind, id, version, account, sort, life, mac, body) \
                 VALUES (15, X'', 1, X'', 0, 0, zeroblob(32), X'7B7D')";
    assert_eq!(world.folder.edit(floor), 1);
    let refused = vault::accept_loss(&world.folder.request(), Arc::new(SystemRandom)).await.map(|_| ()).unwrap_err();
    assert!(!matches!(refused, OpenError::Older { .. }), "{refused}");
    let refused = world.folder.open().await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Older { .. }), "{refused}");
}

#[tokio::test]
async fn a_process_whose_vault_is_replaced_by_an_older_copy_writes_nothing_more() {
    let (world, copy) = outdated().await;
    let running = World::of(Folder::shared(&world.folder.root)).await;
    running.row(50).await;
    // The file gets the copy's contents, as if the copy had been written over it.
    {
        let conn = rusqlite::Connection::open(world.folder.file()).unwrap();
        conn.execute("ATTACH ? AS copy", [copy.to_str().unwrap()]).unwrap();
        let whole = "BEGIN; DELETE FROM record; INSERT INTO record SELECT * FROM copy.record; \
                     DELETE FROM audit; INSERT INTO audit SELECT * FROM copy.audit; COMMIT";
        conn.execute_batch(whole).unwrap();
    }
    let refused = running.vault.record(vec![running.entry(Action::Call)]).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert!(refused.to_string().contains("older copy"), "{refused}");
}

#[tokio::test]
async fn an_older_copy_that_ends_where_a_running_process_was_is_not_written_to() {
    let world = World::new().await;
    world.row(1).await;
    let copy = world.folder.root.join("copy.db");
    let conn = rusqlite::Connection::open(world.folder.file()).unwrap();
    conn.execute("VACUUM INTO ?", [copy.to_str().unwrap()]).unwrap();
    // Another process writes, and the first one has not read since.
    let other = World::of(Folder::shared(&world.folder.root)).await;
    other.secret("Acme", "ada").await;
    other.vault.close().await.unwrap();
    conn.execute("ATTACH ? AS copy", [copy.to_str().unwrap()]).unwrap();
    let whole = "BEGIN; DELETE FROM record; INSERT INTO record SELECT * FROM copy.record; \
                 DELETE FROM audit; INSERT INTO audit SELECT * FROM copy.audit; COMMIT";
    conn.execute_batch(whole).unwrap();

    for _ in 0..2 {
        let refused = world.vault.record(vec![world.entry(Action::Call)]).await.unwrap_err();
        assert!(refused.to_string().contains("older copy"), "{refused}");
    }
}

#[tokio::test]
async fn codes_that_are_read_again_do_not_let_an_older_copy_outgrow_what_is_known() {
    let world = World::new().await;
    world.row(1).await;
    let copy = world.folder.root.join("copy.db");
    let conn = rusqlite::Connection::open(world.folder.file()).unwrap();
    conn.execute("VACUUM INTO ?", [copy.to_str().unwrap()]).unwrap();
    let other = World::of(Folder::shared(&world.folder.root)).await;
    other.secret("Acme", "ada").await;
    other.row(2).await;
    other.vault.close().await.unwrap();
    let state = std::fs::read_dir(world.folder.root.join("state")).unwrap().next().unwrap().unwrap().path();
    let known = std::fs::read(&state).unwrap();
    conn.execute("ATTACH ? AS copy", [copy.to_str().unwrap()]).unwrap();
    let whole = "BEGIN; DELETE FROM record; INSERT INTO record SELECT * FROM copy.record; \
                 DELETE FROM audit; INSERT INTO audit SELECT * FROM copy.audit; COMMIT";
    conn.execute_batch(whole).unwrap();

    // More rows than the other process wrote. They may be accepted in the first second.
    for _ in 0..8 {
        let _ = world.vault.draft(world.entry(Action::CodeGet)).soon().commit().await;
    }

    let refused = world.vault.record(vec![world.entry(Action::Call)]).await.unwrap_err();
    assert!(refused.to_string().contains("older copy"), "{refused}");
    let refused = world.vault.close().await.unwrap_err();
    assert!(refused.to_string().contains("older copy"), "{refused}");
    assert_eq!(std::fs::read(&state).unwrap(), known, "what is known is kept");
}

#[tokio::test]
async fn a_newer_vault_than_was_known_is_opened_and_so_is_one_without_a_state_file() {
    let (world, _copy) = outdated().await;
    let state = world.folder.root.join("state");
    let file = std::fs::read_dir(&state).unwrap().next().unwrap().unwrap().path();
    let known = std::fs::read(&file).unwrap();
    let again = World::of(Folder::shared(&world.folder.root)).await;
    again.row(9).await;
    again.vault.close().await.unwrap();
    assert_ne!(std::fs::read(&file).unwrap(), known, "it is written at the end");
    std::fs::write(&file, &known).unwrap();
    world.folder.open().await.unwrap().close().await.unwrap();
    for damaged in ["", "{}", "not ours"] {
        std::fs::write(&file, damaged).unwrap();
        world.folder.open().await.unwrap().close().await.unwrap();
    }
    std::fs::remove_dir_all(&state).unwrap();
    world.folder.open().await.unwrap().close().await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn what_the_machine_knows_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let world = World::new().await;
    world.vault.close().await.unwrap();
    let state = world.folder.root.join("state");
    let file = std::fs::read_dir(&state).unwrap().next().unwrap().unwrap().path();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&state), mode(&file)), (0o700, 0o600));
}
