//! The files that the backend accepts, and the data that it leaves in them.

use std::{fs, os::unix::fs::symlink, path::Path};

use countersign::store::{Change, Kind, OpenError, OpenRequest, Opened, Record, Removal, StoreError, Writes, open};

use super::{contents, files_in, is_anywhere, mode_of, private_dir, refusal, set_mode, with_a_secret};
use crate::store::{World, check, commit, done, now, put, putting, read, record, runtime};

#[test]
fn files_and_folders_that_others_can_read_are_refused() {
    for name in ["data", "data/vault.db", "data/vault.db-wal"] {
        let world = with_a_secret();
        let path = world.root.join(name);
        if !path.exists() {
            fs::write(&path, "").unwrap();
            set_mode(&path, 0o600);
        }
        let mode = mode_of(&path);
        set_mode(&path, mode | 0o040);

        let refused = refusal(&world.request());

        let OpenError::LooseMode { path: found, wanted, .. } = &refused else { panic!("{refused}") };
        assert_eq!(found.canonicalize().unwrap(), path.canonicalize().unwrap());
        assert_eq!(*wanted, mode);
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
            fs::rename(vault, vault.with_extension("away")).unwrap();
            fs::create_dir(vault).unwrap();
        }),
    ];
    for (expected, change) in changes {
        let world = with_a_secret();
        change(&world.vault());

        let refused = refusal(&world.request());

        assert!(matches!(refused, OpenError::NotOurs { .. }), "{refused}");
        assert!(refused.to_string().contains(expected), "{refused}");
    }
}

#[test]
fn a_planted_rollback_journal_is_refused_before_it_is_replayed() {
    let world = with_a_secret();
    // A journal in which page 1 was full of zeros.
    let mut journal = vec![0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1];
    journal.extend([0, 0, 2, 0, 0, 0, 8, 0]);
    journal.resize(512, 0);
    journal.extend([0, 0, 0, 1]);
    journal.resize(512 + 4 + 2048 + 4, 0);
    let path = world.data().join("vault.db-journal");
    fs::write(&path, journal).unwrap();
    set_mode(&path, 0o600);
    let before = contents(&world.data());

    let refused = refusal(&world.request());

    assert!(refused.to_string().contains("vault.db-journal is a rollback journal"), "{refused}");
    assert_eq!(contents(&world.data()), before);
    fs::remove_file(path).unwrap();
    runtime(Writes::Inline).block_on(async {
        assert!(read(&world.store().await, Kind::Secret, b"kept").await.is_some());
    });
}

#[test]
fn a_newer_format_and_other_programs_databases_are_refused_untouched() {
    type IsExpected = fn(&OpenError) -> bool;
    let cases: [(&str, IsExpected); 3] = [
        ("PRAGMA user_version = 3", |error| matches!(error, OpenError::Newer { found: 3, known: 2, .. })),
        ("PRAGMA user_version = 0", |error| matches!(error, OpenError::Damaged { .. })),
        ("PRAGMA application_id = 0", |error| matches!(error, OpenError::Damaged { .. })),
    ];
    for (change, is_expected) in cases {
        let world = with_a_secret();
        rusqlite::Connection::open(world.vault()).unwrap().execute_batch(change).unwrap();
        let before = contents(&world.data());

        let refused = refusal(&world.request());

        assert!(is_expected(&refused), "{refused}");
        assert_eq!(contents(&world.data()), before);
    }
}

#[test]
fn what_is_no_vault_is_never_overwritten() {
    for bytes in [b"".as_slice(), b"dear diary", &[0; 8192]] {
        let world = World::new(Writes::Inline);
        private_dir(&world.data());
        fs::write(world.vault(), bytes).unwrap();
        set_mode(&world.vault(), 0o600);

        let refused = refusal(&world.request());

        assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
        assert_eq!(fs::read(world.vault()).unwrap(), bytes);
    }
}

#[test]
fn a_log_whose_database_is_gone_is_not_buried_under_a_new_vault() {
    let world = with_a_secret();
    fs::remove_file(world.vault()).unwrap();
    // The log must not be empty: an empty one has nothing to lose.
    fs::write(world.data().join("vault.db-wal"), b"frames").unwrap();

    let refused = refusal(&world.request());

    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
    assert!(!world.vault().exists());
}

#[test]
fn what_a_killed_start_left_behind_is_cleaned_up() {
    let world = World::new(Writes::Inline);
    private_dir(&world.data());
    for name in ["vault.db.new", "vault.db.new-journal", "vault.db.new-wal"] {
        fs::write(world.data().join(name), b"half a vault").unwrap();
    }

    runtime(Writes::Inline).block_on(async { world.store().await.close().await.unwrap() });

    let names: Vec<_> = files_in(&world.data()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["init.lock", "vault.db"]);
    assert_eq!(mode_of(&world.vault()), 0o600);
}

#[test]
fn a_place_that_is_let_go_of_leaves_no_vault_and_another_may_make_one() {
    let world = World::new(Writes::Inline);
    runtime(Writes::Inline).block_on(async {
        let Opened::Absent(absent) = open(&world.request()).await.unwrap() else { panic!("nothing was made") };
        assert_eq!(absent.location().canonicalize().ok(), None);
        drop(absent);
        assert!(!world.vault().exists());
        world.store().await.close().await.unwrap();
    });
}

#[test]
fn an_address_names_a_file() {
    let world = World::new(Writes::Inline);
    let path = world.root.join("deep/er/my.vault");
    runtime(Writes::Inline).block_on(async {
        for url in [format!("sqlite:{}", path.display()), format!("sqlite://{}", path.display())] {
            let request = OpenRequest { url, ..world.request() };
            match open(&request).await.unwrap() {
                Opened::Absent(absent) => absent.create(crate::store::header()).await.unwrap(),
                Opened::Store(_, facts) => assert_eq!(facts.location, path.canonicalize().unwrap()),
                Opened::Format1(_) => panic!("it was made now"),
            }
        }
    });
    let refused = refusal(&OpenRequest { url: "postgres://db/x".to_owned(), ..world.request() });
    assert!(matches!(refused, OpenError::Address(_)), "it names no user");
    assert!(matches!(refusal(&OpenRequest { url: "vault.db".to_owned(), ..world.request() }), OpenError::NoAddress));
}

#[test]
fn a_store_that_is_only_read_is_left_as_it_was_to_the_byte() {
    let world = with_a_secret();
    let before = contents(&world.data());
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        assert!(read(&store, Kind::Secret, b"kept").await.is_some());
        store.close().await.unwrap();
    });
    assert_eq!(contents(&world.data()), before);
}

#[test]
fn a_log_that_is_not_empty_stays_as_it_is_until_something_is_committed() {
    let world = with_a_secret();
    runtime(Writes::Inline).block_on(async {
        // As after a kill: the log has changes that the database lacks.
        let running = world.store().await;
        done(&running, putting([put(record(Kind::Use, b"in the log"))])).await;
        let killed = World::new(Writes::Inline);
        private_dir(&killed.data());
        for path in files_in(&world.data()).iter().filter(|path| !path.ends_with("vault.db-shm")) {
            fs::copy(path, killed.data().join(path.file_name().unwrap())).unwrap();
        }
        let before = |world: &World| {
            let mut found = contents(&world.data());
            found.retain(|path, _| !path.ends_with("vault.db-shm"));
            found
        };
        let untouched = before(&killed);

        let store = killed.store().await;
        assert!(read(&store, Kind::Use, b"in the log").await.is_some());
        store.close().await.unwrap();

        assert_eq!(before(&killed), untouched);
        let store = killed.store().await;
        done(&store, putting([put(record(Kind::Use, b"more"))])).await;
        store.close().await.unwrap();
        assert!(!killed.data().join("vault.db-wal").exists(), "who wrote takes the log away at the end");
    });
}

#[test]
fn what_was_erased_is_in_no_file() {
    check(async |store, world| {
        let bodies = [b"what is erased".as_slice(), b"what is replaced", b"what is kept"];
        let records =
            [(Kind::Seed, bodies[0]), (Kind::Secret, bodies[1]), (Kind::Use, bodies[2])].map(|(kind, body)| {
                let mut record = record(kind, b"a");
                record.body = body.to_vec();
                record
            });
        done(store, putting(records.clone().map(put))).await;
        assert!(bodies.iter().all(|body| is_anywhere(&world.data(), body)));

        let remove = vec![Removal::One(records[0].key.clone())];
        let replaced = crate::store::after(&records[1], b"new");
        done(store, Change { remove, scrub: true, ..putting([put(replaced)]) }).await;

        assert_eq!(bodies.map(|body| is_anywhere(&world.data(), body)), [false, false, true]);
    });
}

#[test]
fn what_was_erased_while_somebody_read_is_in_no_file_after_the_next_commit() {
    check(async |store, world| {
        let mut gone = record(Kind::Seed, b"a");
        gone.body = b"what is erased".to_vec();
        done(store, putting([put(gone.clone())])).await;
        let reader = rusqlite::Connection::open(world.vault()).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM record;").unwrap();
        let count: i64 = reader.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 2);

        let remove = vec![Removal::One(gone.key.clone())];
        done(store, Change { remove, scrub: true, ..Change::default() }).await;
        assert!(is_anywhere(&world.data(), &gone.body), "a reader still needs it");
        reader.execute_batch("COMMIT").unwrap();
        done(store, putting([put(record(Kind::Use, b"b"))])).await;
        assert!(!is_anywhere(&world.data(), &gone.body));
    });
}

#[test]
fn a_use_of_a_secret_writes_three_small_pages() {
    const FRAME: u64 = 24 + 2048;
    let world = World::new(Writes::Inline);
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        let mut uses = record(Kind::Use, b"use");
        // The filler keeps the records from being on the same page.
        let filler = (0..40_u8).map(|number| put(record(Kind::Count, &[number; 50])));
        done(&store, putting([put(uses.clone())].into_iter().chain(filler))).await;
        let mut head = record(Kind::AuditHead, b"0");
        done(&store, putting([put(head.clone())])).await;
        crate::store::logged(&store, 0, 1).await;
        let log = || fs::metadata(world.data().join("vault.db-wal")).unwrap().len();
        let before = log();
        (uses, head) = (crate::store::after(&uses, b"used"), crate::store::after(&head, b"moved"));
        let mut whole = crate::store::logging(crate::store::tail(0, 1), vec![crate::store::row(0, 2)]);
        whole.changes[0].put = vec![put(uses), put(head)];
        assert_eq!(commit(&store, whole).await, Ok(countersign::store::Committed::Done));
        assert_eq!(log() - before, 3 * FRAME);
    });
}

#[test]
fn files_that_could_not_be_looked_at_once_are_served_again() {
    for writes in [Writes::Inline, Writes::Thread] {
        let runtime = runtime(writes);
        let world = World::new(writes);
        let (data, away) = (world.data(), world.root.join("away"));
        runtime.block_on(async {
            let store = world.store().await;
            done(&store, putting([put(record(Kind::Secret, b"a"))])).await;
            // A link to itself: the system does not report that the files are gone, but that it can't look them up.
            fs::rename(&data, &away).unwrap();
            symlink(&data, &data).unwrap();
            let refused = commit(&store, now(vec![putting([put(record(Kind::Use, b"b"))])])).await.unwrap_err();
            assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
            assert!(!refused.to_string().contains("restart countersign"), "{refused}");
            fs::remove_file(&data).unwrap();
            fs::rename(&away, &data).unwrap();
            done(&store, putting([put(record(Kind::Use, b"b"))])).await;
            assert!(read(&store, Kind::Use, b"b").await.is_some());
        });
    }
}

#[test]
fn a_vault_that_was_moved_away_replaced_or_written_over_is_not_served_any_more() {
    let moved = |data: &Path, away: &Path| fs::rename(data, away).unwrap();
    let copied_back = |data: &Path, away: &Path| {
        fs::rename(data, away).unwrap();
        private_dir(data);
        for file in files_in(away) {
            fs::copy(&file, data.join(file.file_name().unwrap())).unwrap();
        }
    };
    let without_log = |data: &Path, _: &Path| {
        for name in ["vault.db-wal", "vault.db-shm"] {
            fs::remove_file(data.join(name)).unwrap();
        }
    };
    // `cp old.db vault.db`: the same file, with an older and smaller content.
    let written_over = |data: &Path, _: &Path| {
        let vault = data.join("vault.db");
        let old = fs::read(&vault).unwrap()[..8192].to_vec();
        fs::write(vault, old).unwrap();
    };
    let happenings: [fn(&Path, &Path); 4] = [moved, copied_back, without_log, written_over];
    for (writes, happens) in [Writes::Inline, Writes::Thread].into_iter().flat_map(|w| happenings.map(|h| (w, h))) {
        let runtime = runtime(writes);
        let world = World::new(writes);
        let store = runtime.block_on(async {
            let store = world.store().await;
            done(&store, putting([put(record(Kind::Secret, b"a"))])).await;
            done(&store, putting([put(record(Kind::Secret, b"b"))])).await;
            store
        });

        happens(&world.data(), &world.root.join("away"));

        let refused = runtime.block_on(commit(&store, now(vec![putting([put(record(Kind::Use, b"c"))])])));
        let told = |error: StoreError| {
            assert!(error.to_string().contains("moved, removed or replaced"), "{error}");
        };
        told(refused.unwrap_err());
        // Reads check the files once a second.
        let read = || runtime.block_on(store.read(&[]));
        let begun = std::time::Instant::now();
        while read().is_ok() {
            assert!(begun.elapsed() < std::time::Duration::from_secs(10), "it is never noticed");
            std::thread::yield_now();
        }
        told(read().unwrap_err());
        told(runtime.block_on(store.probe()).unwrap_err());
    }
}

/// `cp old.db vault.db`: the same file with the same size, whose newest changes are in the log.
#[test]
fn an_older_copy_of_equal_size_under_a_newer_log_is_neither_served_nor_opened() {
    for writes in [Writes::Inline, Writes::Thread] {
        let runtime = runtime(writes);
        let world = World::new(writes);
        // A replacement rewrites existing pages.
        let replace = async |store: &_, version| {
            let record = Record { version, ..record(Kind::Secret, b"a") };
            done(store, putting([put(record)])).await;
        };
        let (store, other) = runtime.block_on(async {
            let (store, other) = (world.store().await, world.store().await);
            replace(&store, 1).await;
            (store, other)
        });
        let older = fs::read(world.vault()).unwrap();
        runtime.block_on(async {
            replace(&other, 2).await;
            // Copies the log into the file and empties it.
            done(&store, Change { scrub: true, ..putting([put(record(Kind::Use, b"b"))]) }).await;
            replace(&store, 3).await;
        });
        assert_eq!(fs::read(world.vault()).unwrap().len(), older.len());
        assert_ne!(fs::read(world.vault()).unwrap(), older);

        fs::write(world.vault(), older).unwrap();

        // A store that reads checks the files once a second.
        let begun = std::time::Instant::now();
        while runtime.block_on(other.read(&[])).is_ok() {
            assert!(begun.elapsed() < std::time::Duration::from_secs(10), "it is never noticed");
            std::thread::yield_now();
        }
        let later = || now(vec![putting([put(record(Kind::Use, b"c"))])]);
        for store in [&store, &other] {
            let refused = runtime.block_on(commit(store, later())).unwrap_err();
            assert!(refused.to_string().contains("moved, removed or replaced"), "{refused}");
        }
        let left = || (fs::read(world.vault()).unwrap(), fs::read(world.data().join("vault.db-wal")).unwrap());
        let before = left();
        for _ in 0..2 {
            let refused = refusal(&world.request());
            assert!(matches!(refused, OpenError::UnderNewerLog { .. }), "{refused}");
        }
        drop((store, other));
        let refused = refusal(&world.request());
        assert!(matches!(refused, OpenError::UnderNewerLog { .. }), "{refused}");
        assert_eq!(left(), before);
    }
}

/// Pages in SQLite's cache would hide the copy.
#[test]
fn a_copy_from_before_the_log_was_last_copied_is_noticed_by_who_copied_it() {
    for writes in [Writes::Inline, Writes::Thread] {
        let runtime = runtime(writes);
        let world = World::new(writes);
        runtime.block_on(async {
            let store = world.store().await;
            done(&store, putting([put(record(Kind::Secret, b"a"))])).await;
            let older = fs::read(world.vault()).unwrap();
            done(&store, putting([put(record(Kind::Use, b"b"))])).await;
            done(&store, putting([put(record(Kind::Secret, b"c"))])).await;
            fs::write(world.vault(), older).unwrap();

            let refused = commit(&store, now(vec![putting([put(record(Kind::Use, b"d"))])])).await.unwrap_err();
            assert!(refused.to_string().contains("moved, removed or replaced"), "{refused}");
        });
    }
}

#[test]
fn a_log_is_not_copied_into_an_older_copy_by_a_process_that_ends() {
    for (writes, closes) in [(Writes::Inline, true), (Writes::Thread, true), (Writes::Inline, false)] {
        let runtime = runtime(writes);
        let world = World::new(writes);
        let older = runtime.block_on(async {
            let store = world.store().await;
            done(&store, putting([put(record(Kind::Secret, b"a"))])).await;
            let older = fs::read(world.vault()).unwrap();
            for id in [b"b", b"c"] {
                done(&store, putting([put(record(Kind::Secret, id))])).await;
            }
            done(&store, putting([put(record(Kind::Use, b"d"))])).await;
            fs::write(world.vault(), &older).unwrap();
            if closes {
                store.close().await.unwrap();
            }
            older
        });
        assert_eq!(fs::read(world.vault()).unwrap(), older, "{closes}");
        let refused = refusal(&world.request());
        assert!(matches!(refused, OpenError::UnderNewerLog { .. }), "{refused}");
    }
}

/// A copy that lacks only the changes in the log is the vault.
#[test]
fn a_copy_that_the_log_completes_is_opened() {
    let runtime = runtime(Writes::Inline);
    let world = World::new(Writes::Inline);
    runtime.block_on(async {
        let store = world.store().await;
        done(&store, putting([put(record(Kind::Secret, b"a"))])).await;
        let copy = fs::read(world.vault()).unwrap();
        for id in [b"b", b"c"] {
            done(&store, putting([put(record(Kind::Use, id))])).await;
        }
        fs::write(world.vault(), copy).unwrap();
        done(&store, putting([put(record(Kind::Use, b"d"))])).await;
        let again = world.store().await;
        for id in [b"b", b"c", b"d"] {
            assert!(read(&again, Kind::Use, id).await.is_some());
        }
        assert_eq!(again.examine().await.unwrap(), Vec::<String>::new());
    });
}
