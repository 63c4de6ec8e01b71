//! New keys for a vault that is in use: their effect on other processes, and the remains of the old ones.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use countersign::{
    domain::{
        audit::{Action, AuditEntry},
        ids::SecretId,
        seed::Seed,
    },
    random::SystemRandom,
    vault::{self, Life, NewSecret, Outcome, Page, Resealed, Rotation, SlotError, Source, StoreError, VaultRequest},
};
use zeroize::Zeroizing;

use super::kit::{Folder, NOW, SEED, World, metadata};
#[cfg(unix)]
use crate::sqlite::{Other, processes::say};

impl World {
    async fn begin(&self) -> bool {
        self.vault.begin_rotation(self.entry(Action::VaultRotate)).await.unwrap()
    }

    async fn finish(&self) -> Rotation {
        self.vault.finish_rotation(&self.entry(Action::VaultRotated), &mut |_| {}).await.unwrap()
    }

    async fn rotate(&self) -> Rotation {
        assert!(self.begin().await);
        let ended = self.finish().await;
        assert!(ended.finished && ended.left == 0 && ended.problems.is_empty(), "{ended:?}");
        ended
    }

    fn sources(&self) -> [Arc<Source>; 1] {
        [self.folder.request().source]
    }

    async fn replace_root(&self) {
        self.vault.replace_root(&self.sources(), self.entry(Action::VaultRotateRoot)).await.unwrap();
        assert!(self.finish().await.finished);
    }

    /// Checks that the seed and the label of a secret are unchanged.
    async fn opens(&self, id: SecretId) -> Result<(), StoreError> {
        let in_use = self.vault.in_use(self.account(), id, &[], NOW).await?.unwrap();
        assert_eq!(*self.vault.open_seed(&in_use).unwrap().to_base32(), SEED);
        let secret = self.vault.secret(self.account(), id).await?.unwrap();
        assert_eq!(secret.metadata.label.as_str(), "ada");
        Ok(())
    }

    /// Adds a secret as an operation does: repeats the call if something has changed meanwhile. Returns the number of
    /// tries.
    async fn add(&self, id: SecretId) -> Result<u32, StoreError> {
        let (seed, metadata) = (Seed::from_base32(SEED).unwrap(), metadata("Acme", "ada"));
        let new = NewSecret { id, account: self.account(), created_at: NOW, metadata: &metadata, seed: &seed };
        for tried in 1.. {
            let entry = AuditEntry { secret: Some(id), ..self.entry(Action::SecretRegister) };
            if self.vault.draft(entry).add_secret(&new).commit().await? == Outcome::Done {
                return Ok(tried);
            }
            assert!(tried < 1000, "it is stale again and again");
        }
        unreachable!()
    }

    /// The epochs of all seals in the file.
    fn epochs(&self) -> BTreeSet<u32> {
        let conn = rusqlite::Connection::open(self.folder.file()).unwrap();
        let mut bodies = conn.prepare("SELECT body FROM record WHERE kind IN (3, 4)").unwrap();
        let bodies = bodies.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        bodies
            .map(|body| {
                let body: serde_json::Value = serde_json::from_slice(&body.unwrap()).unwrap();
                let sealed = data_encoding::BASE64_NOPAD.decode(body["sealed"].as_str().unwrap().as_bytes()).unwrap();
                u32::from_be_bytes(sealed[1..5].try_into().unwrap())
            })
            .collect()
    }

    fn header(&self) -> String {
        let conn = rusqlite::Connection::open(self.folder.file()).unwrap();
        let body: Vec<u8> = conn.query_row("SELECT body FROM record WHERE kind = 1", [], |row| row.get(0)).unwrap();
        String::from_utf8(body).unwrap()
    }
}

#[tokio::test]
async fn a_rotation_seals_everything_anew_and_removes_the_old_data_key() {
    let world = World::new().await;
    let live = world.secret("Acme", "ada").await;
    let deleted = world.secret("Acme", "ada").await;
    let kept = world.vault.secret(world.account(), deleted).await.unwrap().unwrap();
    let draft = world.vault.draft(world.entry(Action::SecretDelete)).set_deleted(&kept, Some(NOW));
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    let before = world.header();

    assert!(world.begin().await);
    assert_eq!(world.vault.rotation().await.unwrap().left, 4, "those of the deleted one are among them");
    let ended = world.finish().await;

    assert!(ended.finished && ended.left == 0 && ended.problems.is_empty(), "{ended:?}");
    assert_eq!((ended.epoch, ended.root_epoch, ended.records), (2, 1, 4));
    assert_eq!(world.epochs(), BTreeSet::from([2]));
    world.opens(live).await.unwrap();
    let kept = world.vault.secret(world.account(), deleted).await.unwrap().unwrap();
    let draft = world.vault.draft(world.entry(Action::SecretRestore)).set_deleted(&kept, None);
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    world.opens(deleted).await.unwrap();
    world.check_sound().await;
    // The wrapped old data key is in none of the files.
    let header: serde_json::Value = serde_json::from_str(&before).unwrap();
    let wrapped = header["epochs"][0]["wrapped"].as_str().unwrap().as_bytes().to_vec();
    world.vault.close().await.unwrap();
    for file in std::fs::read_dir(world.folder.root.join("data")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(wrapped.len()).any(|bytes| bytes == wrapped));
    }
    let again = World::of(Folder::shared(&world.folder.root)).await;
    again.opens(live).await.unwrap();
    again.vault.close().await.unwrap();
}

#[tokio::test]
async fn a_process_that_had_the_vault_open_goes_on_after_rotations_elsewhere() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let other = world.elsewhere().await;
    other.opens(id).await.unwrap();

    world.rotate().await;
    world.rotate().await;

    other.opens(id).await.unwrap();
    let listed = other.vault.secrets(other.account(), Life::Live, Page::ALL).await.unwrap();
    assert!(listed.damaged.is_empty() && listed.sound.len() == 1, "{listed:?}");
    world.rotate().await;
    // This time a list comes across the new key first, and then an addition.
    let listed = other.vault.secrets(other.account(), Life::Live, Page::ALL).await.unwrap();
    assert!(listed.damaged.is_empty() && listed.sound.len() == 1, "{listed:?}");
    world.rotate().await;
    let added = SecretId::new(other.uuid());
    assert_eq!(other.add(added).await, Ok(2), "the first try would have been sealed under a key that is gone");
    world.opens(added).await.unwrap();
    assert_eq!(world.epochs(), BTreeSet::from([5]));
    other.check_sound().await;
    world.rotate().await;
    other.check_sound().await;
}

#[tokio::test]
async fn a_seal_of_a_key_that_is_gone_is_never_committed() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let other = world.elsewhere().await;
    let kept = other.vault.secret(other.account(), id).await.unwrap().unwrap();
    let (seed, metadata) = (Seed::from_base32(SEED).unwrap(), metadata("Acme", "ada"));
    let (new, account) = (SecretId::new(other.uuid()), other.account());
    let new = NewSecret { id: new, account, created_at: NOW, metadata: &metadata, seed: &seed };
    let adding = other.vault.draft(other.entry(Action::SecretRegister)).add_secret(&new);
    let changing = other.vault.draft(other.entry(Action::SecretUpdate)).change_secret(&kept, &metadata, None);

    assert!(world.begin().await);

    assert_eq!(adding.commit().await, Ok(Outcome::Stale));
    assert_eq!(changing.commit().await, Ok(Outcome::Stale));
    let again = other.vault.draft(other.entry(Action::SecretRegister)).add_secret(&new);
    assert_eq!(again.commit().await, Ok(Outcome::Done), "it is sealed under the new key");
    assert!(world.finish().await.finished);
    assert_eq!(world.epochs(), BTreeSet::from([2]));
    world.check_sound().await;
}

#[tokio::test]
async fn a_code_that_was_decided_on_before_a_rotation_is_the_right_one() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let other = world.elsewhere().await;
    let in_use = other.vault.in_use(other.account(), id, &[], NOW).await.unwrap().unwrap();
    world.rotate().await;
    // Another call of the same process comes across the new key meanwhile.
    other.opens(id).await.unwrap();
    assert_eq!(*other.vault.open_seed(&in_use).unwrap().to_base32(), SEED);
    let draft = other.vault.draft(other.entry(Action::CodeGet)).used(&in_use, Some(&in_use.state));
    assert_eq!(draft.commit().await, Ok(Outcome::Stale), "the secret's record is another one");
}

#[tokio::test]
async fn a_rotation_that_was_begun_and_left_is_finished_by_another_process() {
    let world = World::new().await;
    let ids: Vec<_> = (0..300_u32).map(|_| SecretId::new(world.uuid())).collect();
    for id in &ids {
        world.add(*id).await.unwrap();
    }
    assert!(world.begin().await);
    world.add(SecretId::new(world.uuid())).await.unwrap();
    assert!(!world.begin().await, "it is not begun twice");
    let other = world.elsewhere().await;
    let standing = other.vault.rotation().await.unwrap();
    assert_eq!((standing.finished, standing.left, standing.records, standing.epoch), (false, 600, 602, 2));

    let mut told = Vec::new();
    let entry = other.entry(Action::VaultRotated);
    // Two processes can finish a rotation at the same time.
    let mut tell = |resealed: Resealed| told.push(resealed);
    let (ended, also) = tokio::join!(other.vault.finish_rotation(&entry, &mut tell), world.finish());

    assert!(ended.unwrap().finished && also.finished);
    assert_eq!(told.last(), Some(&Resealed { done: 602, of: 602 }));
    assert!(told.iter().zip(told.iter().skip(1)).all(|(one, next)| next.done - one.done <= 256), "{told:?}");
    assert_eq!(world.epochs(), BTreeSet::from([2]));
    for id in ids {
        other.opens(id).await.unwrap();
    }
    let standing = world.vault.rotation().await.unwrap();
    assert_eq!((standing.finished, standing.left), (true, 0));
    world.check_sound().await;
}

#[tokio::test]
async fn a_record_that_cant_be_sealed_anew_keeps_the_old_data_key() {
    let world = World::new().await;
    let (id, damaged) = (world.secret("Acme", "ada").await, world.secret("Acme", "ada").await);
    let hex = data_encoding::HEXUPPER.encode(damaged.as_bytes());
    world.folder.edit(&format!("UPDATE record SET mac = zeroblob(32) WHERE kind = 4 AND id = X'{hex}'"));
    assert!(world.begin().await);

    let ended = world.finish().await;

    assert!(!ended.finished && ended.left == 1, "{ended:?}");
    assert!(ended.problems[0].contains(&format!("seed of secret {damaged}")), "{ended:?}");
    assert_eq!(world.epochs(), BTreeSet::from([1, 2]), "the damaged one can still be repaired");
    world.opens(id).await.unwrap();
    assert_eq!(world.vault.rotation().await.unwrap().left, 1);
    let draft = world.vault.draft(world.entry(Action::SecretErase)).erase_secret(damaged);
    assert_eq!(draft.commit().await, Ok(Outcome::Done));
    assert!(world.finish().await.finished);
    world.check_sound().await;
}

#[tokio::test]
async fn a_new_root_key_is_met_by_a_process_whose_source_can_be_asked_again() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let other = world.elsewhere().await;

    world.replace_root().await;

    other.opens(id).await.unwrap();
    world.replace_root().await;
    assert_eq!(other.add(SecretId::new(other.uuid())).await, Ok(2));
    let standing = other.vault.rotation().await.unwrap();
    assert_eq!((standing.root_epoch, standing.epoch, standing.finished), (3, 3, true));
    world.rotate().await;
    other.check_sound().await;
    world.check_sound().await;
    let again = world.elsewhere().await;
    again.opens(id).await.unwrap();
}

/// The source of a variable with this value, which no process keeps.
fn variable(value: &[u8]) -> Arc<Source> {
    Arc::new(Source::env("KEY".to_owned(), Some(Zeroizing::new(value.to_vec()))))
}

const VALUE: &[u8] = b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

async fn by_variable(world: &World) -> World {
    let folder = Folder::shared(&world.folder.root);
    let request = VaultRequest { source: variable(VALUE), ..folder.request() };
    let vault = vault::open(&request, Arc::new(SystemRandom)).await.unwrap();
    let opened = World::over(folder, vault);
    opened.begin_numbers_at(1 << 20);
    opened
}

#[tokio::test]
async fn a_process_that_cant_ask_for_its_key_meets_data_keys_and_refuses_a_new_root_key_cleanly() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let key = world.vault.new_key(&variable(VALUE)).await.unwrap();
    world.vault.add_slot(&key, None, world.entry(Action::VaultKeyAdd)).await.unwrap();
    let other = by_variable(&world).await;
    world.rotate().await;
    other.opens(id).await.unwrap();

    let absent = world.vault.replace_root(&world.sources(), world.entry(Action::VaultRotateRoot)).await.unwrap_err();
    assert!(matches!(&absent, SlotError::Absent(slots) if *slots == [(1, "env".to_owned())]), "{absent:?}");
    assert!(absent.to_string().contains("key 1 (env). Give each by --with SOURCE"), "{absent}");
    let foreign = variable(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    let refused = world.vault.replace_root(&[foreign], world.entry(Action::VaultRotateRoot)).await.unwrap_err();
    assert!(matches!(refused, SlotError::Foreign(_)), "{refused:?}");
    assert_eq!(world.vault.rotation().await.unwrap().root_epoch, 1, "nothing was changed");

    let sources = [world.folder.request().source, variable(VALUE)];
    world.vault.replace_root(&sources, world.entry(Action::VaultRotateRoot)).await.unwrap();
    // Until the secret is sealed anew, the old keys give the right code.
    other.opens(id).await.unwrap();
    let refused = other.add(SecretId::new(other.uuid())).await.unwrap_err();
    assert!(
        matches!(&refused, StoreError::Unavailable(what) if what.contains("root key") && what.contains("restart it")),
        "{refused:?}"
    );
    assert!(world.finish().await.finished);
    for refused in [
        other.opens(id).await,
        other.vault.probe().await,
        other.vault.secrets(other.account(), Life::Live, Page::ALL).await.map(drop),
    ] {
        assert!(matches!(&refused, Err(StoreError::Unavailable(what)) if what.contains("restart it")), "{refused:?}");
    }
    // Refusals are still recorded.
    other.vault.record(vec![other.entry(Action::Call)]).await.unwrap();
    world.check_sound().await;
    let again = by_variable(&world).await;
    again.opens(id).await.unwrap();
    again.vault.probe().await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_command_that_gives_another_key_by_then_is_asked_anew_for_each_new_root_key() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let printed = world.folder.root.join("printed");
    let command = || Arc::new(Source::command(vec!["/bin/cat".to_owned(), printed.to_str().unwrap().to_owned()]));
    std::fs::write(&printed, VALUE).unwrap();
    let key = world.vault.new_key(&command()).await.unwrap();
    world.vault.add_slot(&key, None, world.entry(Action::VaultKeyAdd)).await.unwrap();
    let folder = Folder::shared(&world.folder.root);
    let request = VaultRequest { source: command(), ..folder.request() };
    let other = World::over(folder, vault::open(&request, Arc::new(SystemRandom)).await.unwrap());
    for value in [None, Some(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")] {
        if let Some(value) = value {
            std::fs::write(&printed, value).unwrap();
            world.vault.rotate_slot(1, &command(), &world.entry(Action::VaultKeyRotate)).await.unwrap();
        }
        let sources = [world.folder.request().source, command()];
        world.vault.replace_root(&sources, world.entry(Action::VaultRotateRoot)).await.unwrap();
        assert!(world.finish().await.finished);
        other.opens(id).await.unwrap();
    }
}

#[tokio::test]
async fn an_older_header_that_was_put_back_is_refused_by_a_process_that_knew_a_newer_one() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    world.folder.edit("CREATE TABLE kept AS SELECT * FROM record WHERE kind = 1");
    world.rotate().await;
    world.folder.edit("UPDATE record SET (version, body, mac) = (SELECT version, body, mac FROM kept) WHERE kind = 1");
    world.folder.edit("DROP TABLE kept");

    let refused = world.add(SecretId::new(world.uuid())).await.unwrap_err();

    assert!(matches!(&refused, StoreError::Damaged { what } if what.contains("older")), "{refused:?}");
    // A secret that it has read before still opens.
    world.opens(id).await.unwrap();
    assert!(!world.vault.examine().await.unwrap().problems.is_empty());
}

#[tokio::test]
async fn a_backup_made_while_keys_change_opens_and_is_sound() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let other = world.elsewhere().await;
    for nth in 0..3 {
        world.begin().await;
        let to = world.folder.root.join(format!("{nth}.db"));
        let made = other.vault.back_up(&to, Vec::new()).await.unwrap();
        assert_eq!(made.problems, Vec::<String>::new());
        assert!(world.finish().await.finished);
        world.replace_root().await;
        let to = world.folder.root.join(format!("{nth}-root.db"));
        assert_eq!(other.vault.back_up(&to, Vec::new()).await.unwrap().problems, Vec::<String>::new());
    }
    // The first backup has keys that the vault no longer has.
    let request = world.folder.existing();
    world.vault.close().await.unwrap();
    other.vault.close().await.unwrap();
    let restored = vault::restore(&request, &world.folder.root.join("0.db"), Arc::new(SystemRandom), || NOW).await;
    let restored = World::over(Folder::shared(&world.folder.root), restored.unwrap().0);
    restored.opens(id).await.unwrap();
    assert!(restored.finish().await.finished);
    restored.check_sound().await;
}

/// Like a server: many calls of one process, while another one rotates.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_read_and_no_addition_of_a_busy_process_fails_while_keys_are_rotated_elsewhere() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(world.secret("Acme", "ada").await);
    }
    let folder = Folder::shared(&world.folder.root);
    let request = folder.request();
    let request =
        VaultRequest { store: vault::OpenRequest { writes: vault::Writes::Thread, ..request.store }, ..request };
    let vault = vault::open(&request, Arc::new(SystemRandom)).await.unwrap();
    let busy = Arc::new(World::over(folder, vault));
    busy.begin_numbers_at(1 << 20);
    let over = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..6_usize)
        .map(|task| {
            let (busy, over, ids) = (Arc::clone(&busy), Arc::clone(&over), ids.clone());
            tokio::spawn(async move {
                let mut reads = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    busy.opens(ids[(task + reads as usize) % ids.len()]).await.unwrap();
                    reads += 1;
                    if reads.is_multiple_of(32) {
                        let listed = busy.vault.secrets_by_id(busy.account(), &ids).await.unwrap();
                        assert!(listed.damaged.is_empty() && listed.sound.len() == 40, "{:?}", listed.damaged);
                        // The rotating process may be faster for two seconds.
                        while let Err(cause) = busy.add(SecretId::new(busy.uuid())).await {
                            assert!(cause.to_string().contains("other processes were faster"), "{cause}");
                        }
                    }
                }
                reads
            })
        })
        .collect();

    for nth in 0..9 {
        if nth % 3 == 2 {
            world.replace_root().await;
        } else {
            world.rotate().await;
        }
    }

    over.store(true, Ordering::Relaxed);
    for task in tasks {
        assert!(task.await.unwrap() > 0);
    }
    busy.check_sound().await;
    world.check_sound().await;
    assert_eq!(world.vault.rotation().await.unwrap().epoch, 10);
}

/// The task of a process that commits without pause, as fast as it can.
#[cfg(unix)]
pub(crate) const RESTLESS: &str = "restless";

/// The `main` of that process.
#[cfg(unix)]
pub(crate) async fn write_without_rest(root: &std::path::Path) {
    let world = World::of(Folder::shared(root)).await;
    for nth in 0_u64.. {
        let draft = world.vault.draft(world.entry(Action::CodeGet)).soon();
        // The other processes may be faster for two seconds.
        let ended = draft.commit().await;
        assert!(matches!(ended, Ok(Outcome::Done) | Err(StoreError::Unavailable(_))), "{ended:?}");
        if nth.is_multiple_of(100) {
            say("on");
        }
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_ends_beside_writers_that_never_rest() {
    let world = World::new().await;
    let ids: Vec<_> = (0..20_u32).map(|_| SecretId::new(world.uuid())).collect();
    for id in &ids {
        world.add(*id).await.unwrap();
    }
    let writers: Vec<_> = (0..2).map(|_| Other::start(RESTLESS, &world.folder.root, &[])).collect();
    let over = Arc::new(AtomicBool::new(false));
    let (on, are_on) = std::sync::mpsc::channel();
    let heard: Vec<_> = writers
        .into_iter()
        .map(|mut writer| {
            let (over, on) = (Arc::clone(&over), on.clone());
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    writer.next().expect("it ended by itself");
                    let _ = on.send(());
                }
            })
        })
        .collect();
    for _ in 0..2 {
        are_on.recv().unwrap();
    }

    for _ in 0..5 {
        world.rotate().await;
    }
    world.replace_root().await;

    over.store(true, Ordering::Relaxed);
    for writer in heard {
        writer.join().unwrap();
    }
    for id in ids {
        world.opens(id).await.unwrap();
    }
    world.check_sound().await;
}

#[tokio::test]
async fn a_rotation_that_another_process_overtakes_calls_nothing_damaged() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    assert!(world.begin().await);
    let mut root = Some(world.folder.root.clone());
    // Once the labels are sealed anew, another process ends this rotation and makes the next one.
    let mut tell = |_: Resealed| {
        let Some(root) = root.take() else { return };
        let overtaking = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let other = World::of(Folder::shared(&root)).await;
                assert!(other.finish().await.finished);
                other.rotate().await;
                other.vault.close().await.unwrap();
            });
        });
        overtaking.join().unwrap();
    };
    let ended = world.vault.finish_rotation(&world.entry(Action::VaultRotated), &mut tell).await.unwrap();
    assert!(ended.finished && ended.problems.is_empty(), "{ended:?}");
    assert_eq!(world.epochs(), BTreeSet::from([3]));
    world.opens(id).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_source_that_gave_a_wrong_key_is_asked_again_after_five_seconds_and_no_sooner() {
    let world = World::new().await;
    let id = world.secret("Acme", "ada").await;
    let [printed, asked] = ["printed", "asked"].map(|name| world.folder.root.join(name));
    let script = format!("echo >> '{}'; cat '{}'", asked.display(), printed.display());
    let command = || Arc::new(Source::command(["/bin/sh", "-c", &script].map(str::to_owned).to_vec()));
    std::fs::write(&printed, VALUE).unwrap();
    let key = world.vault.new_key(&command()).await.unwrap();
    world.vault.add_slot(&key, None, world.entry(Action::VaultKeyAdd)).await.unwrap();
    let folder = Folder::shared(&world.folder.root);
    let request = VaultRequest { source: command(), ..folder.request() };
    let other = World::over(folder, vault::open(&request, Arc::new(SystemRandom)).await.unwrap());
    let sources = [world.folder.request().source, command()];
    world.vault.replace_root(&sources, world.entry(Action::VaultRotateRoot)).await.unwrap();
    assert!(world.finish().await.finished);
    let times = || std::fs::read(&asked).unwrap().len();

    std::fs::write(&printed, b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap();
    other.opens(id).await.unwrap_err();
    let before = times();
    other.vault.probe().await.unwrap_err();
    assert_eq!(times(), before, "it is not asked again so soon");
    std::fs::write(&printed, VALUE).unwrap();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    other.vault.probe().await.unwrap();
    other.opens(id).await.unwrap();
}
