//! Opening the embedded backend: what is refused, that a refusal changes nothing, and what the files look like.
#![cfg(unix)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use countersign::{
    domain::audit::Action,
    keyring::{Kek, create_key_file},
    random::SystemRandom,
    store::{OpenError, OpenRequest, Writes, open},
};
use sha2::{Digest as _, Sha256};

use crate::store_kit::{Folder, World, request_at, runtime};

#[test]
fn a_first_opening_makes_files_that_only_their_owner_can_read() {
    let folder = with_a_secret();
    let world = World::of(folder);

    let modes: Vec<_> = files_under(&world.folder.root)
        .into_iter()
        .map(|path| (fs::metadata(&path).unwrap().permissions().mode() & 0o777, path))
        .collect();

    assert!(modes.len() >= 5, "database, log, index, lock and key: {modes:?}");
    assert!(modes.iter().all(|(mode, _)| *mode == 0o600), "{modes:?}");
    for dir in [world.folder.data(), world.folder.keys()] {
        assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let key = format!("{}.key", world.opened.status.vault);
    assert_eq!(world.opened.status.key_file, world.folder.keys().join(key));
}

#[test]
fn a_wrong_key_changes_no_byte() {
    let folder = with_a_secret();
    let wrong = wrong_key(&folder);
    let before = contents(&folder.data());

    let refused = refusal(&OpenRequest { key_file: Some(wrong), ..folder.request() });

    assert!(matches!(refused, OpenError::WrongKey { .. }), "{refused}");
    assert_eq!(contents(&folder.data()), before);
}

#[test]
fn a_wrong_key_changes_no_byte_of_a_vault_in_use() {
    let world = World::of(with_a_secret());
    world.ids_from(100);
    runtime(Writes::Inline).block_on(world.added_secret());
    let wrong = wrong_key(&world.folder);
    let before = contents(&world.folder.data());
    assert!(before.keys().any(|path| path.to_string_lossy().ends_with("-wal")));

    let refused = refusal(&OpenRequest { key_file: Some(wrong), ..world.folder.request() });

    assert!(matches!(refused, OpenError::WrongKey { .. }), "{refused}");
    assert_eq!(contents(&world.folder.data()), before);
}

#[test]
fn a_wrong_key_changes_no_byte_of_a_vault_whose_process_was_killed() {
    let world = World::of(with_a_secret());
    world.ids_from(100);
    runtime(Writes::Inline).block_on(world.added_secret());
    let killed = copy_of(&world.folder);
    let wrong = wrong_key(&killed);
    let before = contents(&killed.data());

    let refused = refusal(&OpenRequest { key_file: Some(wrong), ..killed.request() });

    assert!(matches!(refused, OpenError::WrongKey { .. }), "{refused}");
    assert_eq!(contents(&killed.data()), before);
    assert_eq!(runtime(Writes::Inline).block_on(World::of(killed).verify()), Ok(3));
}

#[test]
fn a_missing_key_file_is_named_and_changes_nothing() {
    let folder = with_a_secret();
    fs::remove_dir_all(folder.keys()).unwrap();
    let before = contents(&folder.root);

    let refused = refusal(&folder.request());

    assert!(matches!(refused, OpenError::KeyFile(_)), "{refused}");
    assert!(refused.to_string().contains("keys"), "{refused}");
    assert_eq!(contents(&folder.root), before);
}

#[test]
fn a_folder_for_keys_that_others_may_touch_is_refused_and_changes_nothing() {
    let folder = with_a_secret();
    let named = OpenRequest { key_file: Some(key_of(&folder)), ..folder.request() };
    let before = contents(&folder.root);
    for mode in [0o777, 0o755, 0o710, 0o701, 0o720] {
        fs::set_permissions(folder.keys(), fs::Permissions::from_mode(mode)).unwrap();
        for request in [&folder.request(), &named] {
            let refused = refusal(request);
            assert!(matches!(refused, OpenError::LooseMode { wanted: 0o700, .. }), "{mode:o}: {refused}");
            assert!(refused.to_string().contains(&format!("chmod 700 {}", folder.keys().display())), "{refused}");
        }
    }
    assert_eq!(contents(&folder.root), before);
    for mode in [0o700, 0o500] {
        fs::set_permissions(folder.keys(), fs::Permissions::from_mode(mode)).unwrap();
        open(&folder.request()).unwrap();
    }
}

#[test]
fn keys_in_a_folder_that_others_may_write_are_refused_and_nothing_is_changed() {
    let folder = with_a_secret();
    let named = OpenRequest { key_file: Some(key_of(&folder)), ..folder.request() };
    let before = contents(&folder.root);
    let around = folder.keys().parent().unwrap().to_owned();
    for mode in [0o777, 0o775, 0o757, 0o720, 0o702] {
        fs::set_permissions(&around, fs::Permissions::from_mode(mode)).unwrap();
        for request in [&folder.request(), &named] {
            let refused = refusal(request);
            assert!(matches!(refused, OpenError::LooseMode { wanted: 0o700, .. }), "{mode:o}: {refused}");
            assert!(refused.to_string().ends_with(&format!("chmod 700 {}", around.display())), "{refused}");
        }
    }
    assert_eq!(contents(&folder.root), before);
    for mode in [0o755, 0o711, 0o700] {
        fs::set_permissions(&around, fs::Permissions::from_mode(mode)).unwrap();
        open(&folder.request()).unwrap();
    }
}

#[test]
fn a_first_opening_puts_no_key_where_others_may_touch_it() {
    for (around, keys) in [(0o700, Some(0o755)), (0o777, Some(0o700)), (0o775, None)] {
        let folder = Folder::new(Writes::Inline);
        let make = |path: &Path, mode| {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        make(folder.keys().parent().unwrap(), around);
        if let Some(mode) = keys {
            make(&folder.keys(), mode);
        }

        let refused = refusal(&folder.request());

        assert!(matches!(refused, OpenError::LooseMode { wanted: 0o700, .. }), "{refused}");
        assert!(fs::read_dir(folder.keys()).is_ok_and(|mut inside| inside.next().is_none()) || keys.is_none());
        assert!(!folder.vault().exists() && folder.keys().exists() == keys.is_some());
    }
}

#[test]
fn a_key_file_elsewhere_answers_for_itself() {
    let folder = with_a_secret();
    let elsewhere = folder.root.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o755)).unwrap();
    let named = elsewhere.join("my.key");
    fs::copy(key_of(&folder), &named).unwrap();

    open(&OpenRequest { key_file: Some(named), ..folder.request() }).unwrap();
}

#[test]
fn a_key_file_that_was_named_is_used_or_made() {
    let folder = Folder::new(Writes::Inline);
    let named = folder.root.join("elsewhere/my.key");
    let request = OpenRequest { key_file: Some(named.clone()), ..folder.request() };

    open(&request).unwrap();
    let made = fs::read(&named).unwrap();
    fs::remove_dir_all(folder.data()).unwrap();
    let opened = open(&request).unwrap();

    assert_eq!(fs::read(&named).unwrap(), made, "a key that is there is used, not replaced");
    assert_eq!(opened.status.key_file, named);
    assert!(!folder.keys().exists());
}

#[test]
fn a_key_beside_its_vault_is_refused_by_whatever_way() {
    let folder = Folder::new(Writes::Inline);
    private_dir(&folder.data());
    symlink(folder.data(), folder.root.join("link")).unwrap();
    for key in ["data/vault.key", "link/vault.key", "data/deeper/vault.key", "config/../data/vault.key"] {
        private_dir(&folder.root.join("config"));
        let refused = refusal(&OpenRequest { key_file: Some(folder.root.join(key)), ..folder.request() });
        assert!(matches!(refused, OpenError::KeyBesideVault(_)), "{key}: {refused}");
    }
    private_dir(&folder.keys());
    let url = format!("sqlite:{}", folder.keys().join("vault.db").display());
    assert!(matches!(refusal(&OpenRequest { url, ..folder.request() }), OpenError::KeyBesideVault(_)));
    assert_eq!(contents(&folder.data()).keys().filter(|path| path.ends_with("vault.db")).count(), 0);
}

#[test]
fn files_and_folders_that_others_can_read_are_refused() {
    for name in ["data", "data/vault.db", "data/vault.db-wal"] {
        let world = World::of(with_a_secret());
        let path = world.folder.root.join(name);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode | 0o040)).unwrap();

        let refused = refusal(&world.folder.request());

        let OpenError::LooseMode { path: found, wanted, .. } = &refused else { panic!("{refused}") };
        assert_eq!(found.canonicalize().unwrap(), path.canonicalize().unwrap());
        assert_eq!(*wanted, mode & 0o777);
    }
}

#[test]
fn links_and_strange_files_are_refused() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 3] = [
        ("symbolic link", |vault| {
            fs::rename(vault, vault.with_extension("real")).unwrap();
            symlink(vault.with_extension("real"), vault).unwrap();
        }),
        ("second name", |vault| fs::hard_link(vault, vault.with_extension("twin")).unwrap()),
        ("not a plain file", |vault| {
            fs::remove_file(vault).unwrap();
            fs::create_dir(vault).unwrap();
        }),
    ];
    for (expected, change) in changes {
        let folder = with_a_secret();
        change(&folder.vault());
        let before = contents(&folder.data());

        let refused = refusal(&folder.request());

        assert!(matches!(refused, OpenError::NotOurs { .. }), "{refused}");
        assert!(refused.to_string().contains(expected), "{refused}");
        assert_eq!(contents(&folder.data()), before);
    }
}

#[test]
fn a_newer_format_and_other_programs_databases_are_refused_untouched() {
    type IsExpected = fn(&OpenError) -> bool;
    let cases: [(&str, IsExpected); 3] = [
        ("PRAGMA user_version = 2", |error| matches!(error, OpenError::Newer { found: 2, known: 1, .. })),
        ("PRAGMA user_version = 0", |error| matches!(error, OpenError::Damaged { .. })),
        ("PRAGMA application_id = 0", |error| matches!(error, OpenError::Damaged { .. })),
    ];
    for (change, is_expected) in cases {
        let folder = with_a_secret();
        rusqlite::Connection::open(folder.vault()).unwrap().execute_batch(change).unwrap();
        let before = contents(&folder.root);

        let refused = refusal(&folder.request());

        assert!(is_expected(&refused), "{refused}");
        assert_eq!(contents(&folder.root), before);
    }
}

#[test]
fn what_is_no_vault_is_never_overwritten() {
    for bytes in [b"".as_slice(), b"dear diary", &[0; 8192]] {
        let folder = Folder::new(Writes::Inline);
        private_dir(&folder.data());
        fs::write(folder.vault(), bytes).unwrap();
        fs::set_permissions(folder.vault(), fs::Permissions::from_mode(0o600)).unwrap();

        let refused = refusal(&folder.request());

        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
        assert_eq!(fs::read(folder.vault()).unwrap(), bytes);
    }
}

#[test]
fn a_log_whose_database_is_gone_is_not_buried_under_a_new_vault() {
    let world = World::of(with_a_secret());
    let lonely = copy_of(&world.folder);
    fs::remove_file(lonely.vault()).unwrap();

    // The log is empty until something is written; an empty one holds nothing to lose.
    fs::write(lonely.data().join("vault.db-wal"), b"frames").unwrap();
    let refused = refusal(&lonely.request());

    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert!(!lonely.vault().exists());
}

#[test]
fn what_a_killed_start_left_behind_is_cleaned_up() {
    let folder = Folder::new(Writes::Inline);
    private_dir(&folder.data());
    for name in ["vault.db.new", "vault.db.new-journal", "vault.db.new-wal"] {
        fs::write(folder.data().join(name), b"half a vault").unwrap();
    }

    folder.open().unwrap();

    let names: Vec<_> = files_under(&folder.data()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["init.lock", "vault.db"]);
}

#[test]
fn an_address_names_a_file() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("deep/er/my.vault");
    for url in [format!("sqlite:{}", path.display()), format!("sqlite://{}", path.display())] {
        let opened = open(&OpenRequest { url, ..request_at(root.path(), Writes::Inline) }).unwrap();
        assert_eq!(opened.status.location.canonicalize().unwrap(), path.canonicalize().unwrap());
    }

    let refused =
        refusal(&OpenRequest { url: "postgres://db/x".to_owned(), ..request_at(root.path(), Writes::Inline) });
    assert!(matches!(refused, OpenError::Unsupported { scheme } if scheme == "postgres"));
    assert!(!root.path().join("data").exists());
}

#[test]
fn what_was_erased_is_in_no_file() {
    for writes in [Writes::Inline, Writes::Thread] {
        let folder = Folder::new(writes);
        runtime(writes).block_on(async {
            let world = World::of(folder);
            let (gone, kept) = (world.added_secret().await, world.added_secret().await);
            let everywhere = |needle: &[u8]| {
                let files = files_under(&world.folder.data());
                files.iter().any(|path| fs::read(path).unwrap().windows(needle.len()).any(|bytes| bytes == needle))
            };
            assert!(everywhere(&gone.seed));

            let entry = world.entry_on(Action::SecretErase, gone.id);
            world.store().erase_secret(world.account(), gone.id, entry).await.unwrap();

            assert!(!everywhere(&gone.seed), "in no page, and in no frame of the log");
            assert!(!everywhere(&gone.metadata));
            assert!(everywhere(&kept.seed));
        });
    }
}

#[test]
fn reads_that_are_ready_together_share_a_commit_and_one_writes_a_small_page() {
    const FRAME: u64 = 24 + 2048;
    let folder = Folder::new(Writes::Inline);
    runtime(Writes::Inline).block_on(async {
        let world = World::of(folder);
        let secret = world.added_secret().await;
        let log = || fs::metadata(world.folder.data().join("vault.db-wal")).unwrap().len();
        world.give(secret.id, 1).await;

        let before = log();
        world.give(secret.id, 1).await;
        let alone = log() - before;
        futures::future::join_all((0..30).map(|_| world.give(secret.id, 1))).await;
        let together = log() - before - alone;

        assert_eq!(alone, FRAME);
        assert!(together < 10 * FRAME, "30 reads wrote {together} bytes");
        assert_eq!(world.verify().await, Ok(34));
    });
}

#[test]
fn a_vault_of_format_1_opens() {
    let folder = Folder::new(Writes::Inline);
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    private_dir(&folder.data());
    let key = folder.root.join("vault.key");
    for (from, to) in [("vault-v1.db", folder.vault()), ("vault-v1.key", key.clone())] {
        fs::copy(fixtures.join(from), &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
    }

    let opened = open(&OpenRequest { key_file: Some(key), ..folder.request() }).unwrap();

    runtime(Writes::Inline).block_on(async {
        let verified = crate::store_kit::verify(&opened.store, &opened.keyring).await;
        assert_eq!(verified, Ok(crate::store_fixture::ROWS));
        crate::store_fixture::check_whole(&opened).await;
        assert_eq!(opened.store.examine().await.unwrap(), Vec::<String>::new());
    });
}

/// A closed vault with one secret in it.
fn with_a_secret() -> Folder {
    let world = World::of(Folder::new(Writes::Inline));
    runtime(Writes::Inline).block_on(async {
        world.added_secret().await;
        world.store().close().await.unwrap();
    });
    world.folder
}

/// The same files as they are this instant, as after a kill.
fn copy_of(folder: &Folder) -> Folder {
    let copy = Folder::new(folder.writes);
    for dir in ["data", "config", "config/keys"] {
        private_dir(&copy.root.join(dir));
    }
    for path in files_under(&folder.root) {
        let to = copy.root.join(path.strip_prefix(&folder.root).unwrap());
        fs::copy(path, to).unwrap();
    }
    copy
}

/// The vault's own key file.
fn key_of(folder: &Folder) -> PathBuf {
    files_under(&folder.keys()).remove(0)
}

fn wrong_key(folder: &Folder) -> PathBuf {
    let path = folder.root.join("wrong.key");
    create_key_file(&path, &Kek::generate(&SystemRandom).unwrap()).unwrap();
    path
}

fn refusal(request: &OpenRequest) -> OpenError {
    open(request).err().expect("it must be refused")
}

fn private_dir(path: &Path) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

/// Every file under a folder with the hash of its bytes. Of the log's index only that it is there: readers note in it how
/// far they read, and it is made anew from the log when it is lost.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let is_index = |path: &Path| path.to_string_lossy().ends_with("-shm");
    let bytes = |path: &Path| if is_index(path) { Vec::new() } else { fs::read(path).unwrap() };
    let hash = |path: &PathBuf| Sha256::digest(bytes(path)).to_vec();
    files_under(folder).into_iter().map(|path| (path.clone(), hash(&path))).collect()
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_under(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn a_vault_that_was_moved_away_or_replaced_is_not_served_any_more() {
    let moved = |data: &Path, away: &Path| fs::rename(data, away).unwrap();
    let copied_back = |data: &Path, away: &Path| {
        fs::rename(data, away).unwrap();
        fs::create_dir(data).unwrap();
        for file in fs::read_dir(away).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), data.join(file.file_name())).unwrap();
        }
    };
    let without_log = |data: &Path, _: &Path| {
        for name in ["vault.db-wal", "vault.db-shm"] {
            fs::remove_file(data.join(name)).unwrap();
        }
    };
    let happenings: [fn(&Path, &Path); 3] = [moved, copied_back, without_log];
    for (writes, happens) in [Writes::Inline, Writes::Thread].into_iter().flat_map(|w| happenings.map(|h| (w, h))) {
        let runtime = runtime(writes);
        let world = World::of(Folder::new(writes));
        let secret = runtime.block_on(world.added_secret());
        let read = || runtime.block_on(world.opened.store.secret(world.account(), secret.id));
        // Until it was looked at once.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(3) {
            assert!(read().unwrap().is_some());
        }

        happens(&world.folder.data(), &world.folder.root.join("away"));

        // It is noticed within a millisecond.
        let (mut refused, happened) = (read(), Instant::now());
        while refused.is_ok() && happened.elapsed() < Duration::from_secs(10) {
            refused = read();
        }
        let entry = world.entry(Action::SecretDelete);
        let written = runtime.block_on(world.opened.store.delete_secret(world.account(), secret.id, entry));
        for refused in [refused.map(drop), written.map(drop)] {
            let told = refused.unwrap_err().to_string();
            assert!(told.contains("moved, removed or replaced"), "{told}");
        }
    }
}
