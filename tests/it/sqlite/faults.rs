//! Disk faults, made by a library that is loaded before the C library in another process (`shim.c`).

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use countersign::store::{Kind, Writes};
use tempfile::TempDir;

use super::{Other, World, done, mode_of, put, putting, record, refusal, runtime, set_mode};
use crate::store::read;

/// The library, built once.
pub(crate) fn shim() -> &'static Path {
    static SHIM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SHIM.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sqlite/shim.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).args([&path, &source]).args(["-ldl", "-lpthread"]);
        assert!(compiler.status().unwrap().success());
        (folder, path)
    });
    path
}

/// A process whose disk fails on command.
struct Failing {
    world: World,
    faults: TempDir,
    process: Other,
}

impl Failing {
    /// A process with a store that exists and is synced.
    fn new() -> Self {
        let world = World::new(Writes::Inline);
        runtime(Writes::Inline).block_on(async {
            let store = world.store().await;
            done(&store, putting((0..200_u8).map(|number| put(record(Kind::Secret, &[number]))))).await;
            store.close().await.unwrap();
        });
        let faults = tempfile::tempdir().unwrap();
        fs::create_dir(faults.path().join("disk")).unwrap();
        fs::copy(world.vault(), faults.path().join("disk/vault.db")).unwrap();
        let environment = [
            ("LD_PRELOAD", OsString::from(shim())),
            ("COUNTERSIGN_FAULTS", faults.path().into()),
            ("COUNTERSIGN_DATA", world.data().canonicalize().unwrap().into()),
        ];
        let process = Other::start("obey", &world.root, &environment);
        Self { world, faults, process }
    }

    fn opened() -> Self {
        let mut failing = Self::new();
        assert_eq!(failing.process.ask("open"), "opened");
        failing
    }

    fn fail(&self, what: &str) {
        fs::write(self.faults.path().join(what), "").unwrap();
    }

    fn mend(&self, what: &str) {
        fs::remove_file(self.faults.path().join(what)).unwrap();
    }

    fn is_failing(&self, what: &str) -> bool {
        self.faults.path().join(what).exists()
    }

    fn ask(&mut self, what: &str) -> String {
        self.process.ask(what)
    }

    /// Cuts the power, and returns a world with the files that are on the disk.
    fn cut(self) -> World {
        let world = World::new(Writes::Inline);
        super::private_dir(&world.data());
        for path in super::files_in(&self.faults.path().join("disk")) {
            let to = world.data().join(path.file_name().unwrap());
            fs::copy(path, &to).unwrap();
            set_mode(&to, 0o600);
        }
        world
    }
}

/// Which of the records with these numbers exist, in a sound store.
fn kept(world: &World, numbers: impl IntoIterator<Item = u64>) -> Vec<u64> {
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        let mut found = Vec::new();
        for number in numbers {
            if read(&store, Kind::Use, number.to_string().as_bytes()).await.is_some() {
                found.push(number);
            }
        }
        assert_eq!(store.examine().await.unwrap(), Vec::<String>::new());
        found
    })
}

#[test]
fn the_cut_of_the_tests_loses_what_was_not_synced_and_nothing_else() {
    let mut failing = Failing::opened();
    for number in 1..=3 {
        assert_eq!(failing.ask(&format!("now {number}")), "Done");
    }
    assert_eq!(failing.ask("soon 4"), "Done");
    assert_eq!(kept(&failing.cut(), 1..=4), [1, 2, 3]);
}

#[test]
fn a_commit_does_not_wait_for_the_times_of_the_log_to_reach_the_disk() {
    let mut failing = Failing::opened();
    failing.fail("fsync");
    assert_eq!(failing.ask("now 1"), "Done");
    assert_eq!(kept(&failing.cut(), 1..=1), [1]);
}

#[test]
fn what_was_committed_soon_survives_a_power_cut_after_a_sync_or_a_commit_now() {
    let mut failing = Failing::opened();
    for (asked, answered) in
        [("soon 1", "Done"), ("soon 2", "Done"), ("sync", "done"), ("soon 3", "Done"), ("now 4", "Done")]
    {
        assert_eq!(failing.ask(asked), answered);
    }
    assert_eq!(kept(&failing.cut(), 1..=4), [1, 2, 3, 4]);
}

#[test]
fn after_a_failed_sync_nothing_that_is_acknowledged_is_lost_in_a_power_cut() {
    for failing_call in ["sync", "now 9"] {
        let mut failing = Failing::opened();
        assert_eq!(failing.ask("now 1"), "Done");
        for number in 2..=8 {
            assert_eq!(failing.ask(&format!("soon {number}")), "Done");
        }
        failing.fail("sync");

        let told = failing.ask(failing_call);

        assert!(told.starts_with("the vault could not make a change durable, so it may or may not be kept"), "{told}");
        for number in 10..=15 {
            assert_eq!(failing.ask(&format!("now {number}")), "Done");
        }
        let found = kept(&failing.cut(), 1..=15);
        assert!((10..=15).chain([1]).all(|number| found.contains(&number)), "{failing_call}: {found:?}");
    }
}

#[test]
fn nothing_is_acknowledged_while_syncs_go_on_failing() {
    let mut failing = Failing::opened();
    for number in 1..=5 {
        failing.fail("sync");
        let told = failing.ask(&format!("now {number}"));
        assert!(
            told.starts_with("the vault can't be reached or written")
                && told.contains("the disk did not confirm a write"),
            "{told}"
        );
    }
    assert_eq!(failing.ask("now 6"), "Done");
    assert!(kept(&failing.cut(), 1..=6).contains(&6));
}

#[test]
fn a_full_disk_refuses_a_commit_and_serves_again_when_there_is_room() {
    let mut failing = Failing::opened();
    assert_eq!(failing.ask("now 1"), "Done");
    failing.fail("write");
    for number in 2..=4 {
        let told = failing.ask(&format!("now {number}"));
        assert_eq!(told, "the vault can't be reached or written: the disk is full");
    }
    assert_eq!(failing.ask("read 1"), "true");
    assert_eq!(failing.ask("read 2"), "false");
    failing.mend("write");
    assert_eq!(failing.ask("now 5"), "Done");
    assert_eq!(failing.ask("close"), "done");
    assert_eq!(kept(&failing.world, 1..=5), [1, 5]);
}

#[test]
fn a_disk_that_can_t_be_read_is_told_as_that_and_not_as_damage() {
    let mut failing = Failing::new();
    failing.fail("read");
    let told = failing.ask("open");
    assert!(told.contains("vault.db can't be read or written: the disk can't be read ("), "{told}");
    failing.mend("read");
    assert_eq!(failing.ask("open"), "opened");
    assert_eq!(failing.ask("now 1"), "Done");
    failing.fail("read");
    let told = failing.ask("examine");
    assert!(told.starts_with("the vault can't be reached or written: the disk can't be read ("), "{told}");
    failing.mend("read");
    assert_eq!(failing.ask("read 1"), "true");
    assert_eq!(failing.ask("examine"), "[]");
}

#[test]
fn one_read_that_fails_is_no_damage_to_an_examination() {
    let mut failing = Failing::new();
    assert_eq!(failing.ask("open"), "opened");
    assert_eq!(failing.ask("now 1"), "Done");
    failing.fail("one-read");
    assert_eq!(failing.ask("examine"), "[]");
    assert!(!failing.is_failing("one-read"), "a read failed");
}

#[test]
fn one_failed_opening_does_not_make_a_process_read_only() {
    let mut failing = Failing::new();
    failing.fail("open");
    let told = failing.ask("open");
    assert!(told.contains("it can't be opened for writing"), "{told}");
    assert_eq!(failing.ask("open"), "opened");
    failing.fail("open");
    let told = failing.ask("now 1");
    assert!(told.contains("it can't be opened for writing"), "{told}");
    assert_eq!(failing.ask("now 1"), "Done");
    assert_eq!(failing.ask("read 1"), "true");
}

#[test]
fn files_that_can_t_be_written_are_named_and_taken_again_once_they_can() {
    let world = super::with_a_secret();
    set_mode(&world.vault(), 0o400);
    let told = refusal(&world.request()).to_string();
    assert!(told.contains("its mode forbids to write it") && told.contains("chmod 600"), "{told}");
    assert_eq!(super::files_in(&world.data()).len(), 2, "no log was made that would stay read-only");
    set_mode(&world.vault(), 0o600);

    // Another version may have left the files in this mode.
    for ending in ["-wal", "-shm"] {
        let path = world.data().join(format!("vault.db{ending}"));
        fs::write(&path, "").unwrap();
        set_mode(&path, 0o400);
    }
    runtime(Writes::Inline).block_on(async {
        let store = world.store().await;
        done(&store, putting([put(record(Kind::Secret, b"new"))])).await;
        for ending in ["-wal", "-shm"] {
            assert_eq!(mode_of(&world.data().join(format!("vault.db{ending}"))), 0o600);
        }
    });
}

#[test]
fn a_registration_does_not_stay_in_the_log_alone() {
    let mut failing = Failing::opened();
    assert_eq!(failing.ask("now 1"), "Done");
    // The vault without its log, as after an error in the log's first bit.
    let world = World::new(Writes::Inline);
    super::private_dir(&world.data());
    runtime(Writes::Inline).block_on(async {
        let store = failing.world.store().await;
        done(&store, putting([put(record(Kind::Secret, b"registered"))])).await;
        fs::copy(failing.world.vault(), world.vault()).unwrap();
        set_mode(&world.vault(), 0o600);
        let without_log = world.store().await;
        assert!(read(&without_log, Kind::Secret, b"registered").await.is_some());
    });
}

#[test]
fn a_vault_whose_last_sync_fails_is_closed_all_the_same() {
    let (own, faults) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = own.path().canonicalize().unwrap();
    fs::create_dir(faults.path().join("disk")).unwrap();
    let environment = [
        ("LD_PRELOAD", OsString::from(shim())),
        ("COUNTERSIGN_FAULTS", faults.path().into()),
        ("COUNTERSIGN_DATA", root.join("data").into()),
    ];
    let mut process = Other::start(crate::torture::WORKER, &root, &environment);
    assert_eq!(process.ask("open"), "ok");
    assert!(process.ask("add ada").starts_with("ok"));
    let is_open = |process: &Other| {
        let files = fs::read_dir(format!("/proc/{}/fd", process.process.id())).unwrap();
        let mut targets = files.filter_map(|file| fs::read_link(file.unwrap().path()).ok());
        targets.any(|target| target.starts_with(root.join("data")))
    };
    assert!(is_open(&process));
    fs::write(faults.path().join("sync"), "").unwrap();

    let told = process.ask("close");

    assert!(told.starts_with("no the vault did not confirm that this is durable"), "{told}");
    assert!(!is_open(&process));
}
