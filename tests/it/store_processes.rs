//! Several processes on one vault, and processes that are killed. The other processes are this test binary itself, started
//! again for the one test that is their `main`.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use countersign::{
    domain::{
        audit::{Action, AuditFilter, ChainHead},
        ids::SecretId,
    },
    store::{Life, Opened, Page, Writes, open},
};

use crate::store_kit::{Folder, World, request_at, runtime};

/// What a process that was started by a test is told: what to do and where, and its number.
const TASK: &str = "COUNTERSIGN_TEST_TASK";
const ROOT: &str = "COUNTERSIGN_TEST_ROOT";
const NUMBER: &str = "COUNTERSIGN_TEST_NUMBER";

const STARTERS: u64 = 16;
const PROCESSES: u64 = 8;
const OPERATIONS: u64 = 500;
const KILLS: u64 = 200;

#[test]
fn sixteen_starts_at_once_make_one_vault() {
    for round in 0..3 {
        let folder = Folder::new(Writes::Inline);
        let starters: Vec<_> = (0..STARTERS).map(|number| start("open", &folder.root, number)).collect();

        let vaults: BTreeSet<_> = starters.into_iter().map(finished).collect();

        assert_eq!(vaults.len(), 1, "round {round}: {vaults:?}");
        assert_eq!(std::fs::read_dir(folder.keys()).unwrap().count(), 1, "round {round}: one key");
        let world = World::of(folder);
        assert_eq!(runtime(Writes::Inline).block_on(world.verify()), Ok(1), "round {round}");
    }
}

#[test]
fn eight_processes_from_a_cold_start_lose_nothing() {
    let folder = Folder::new(Writes::Inline);
    let processes: Vec<_> = (0..PROCESSES).map(|number| start("mix", &folder.root, number)).collect();

    let rows: u64 = processes.into_iter().map(|process| finished(process).parse::<u64>().unwrap()).sum();

    let world = World::of(folder);
    runtime(Writes::Inline).block_on(async {
        assert_eq!(world.verify().await, Ok(rows + 1));
        assert_eq!(world.store().examine().await.unwrap(), Vec::<String>::new());
        let per_process = OPERATIONS / 10;
        let live = world.store().secrets(world.account(), Life::Live).await.unwrap();
        assert_eq!(live.len() as u64, PROCESSES * per_process);
        let deleted = world.store().secrets(world.account(), Life::Deleted).await.unwrap();
        assert_eq!(deleted.len() as u64, PROCESSES * per_process);
        assert_eq!(world.store().count_seats(world.account(), None).await.unwrap(), PROCESSES * per_process);
    });
}

#[test]
fn whatever_was_acknowledged_survives_a_kill() {
    let folder = Folder::new(Writes::Inline);
    let (mut everything, mut verified) = (Acknowledged::new(), ChainHead { seq: 0, mac: [0; 32] });
    for kill in 0..KILLS {
        let mut process = start("write", &folder.root, kill);
        // A different number of answers each time, so that the kill falls into different moments.
        let mut acknowledged = first_of(&mut process, 3 + kill % 17);
        process.kill().unwrap();
        acknowledged.extend(rest_of(process));

        let opened = folder.open().unwrap();
        runtime(Writes::Inline).block_on(async {
            check_there(&opened, &acknowledged, verified.seq).await;
            verified = verify_from(&opened, verified).await;
            opened.store.close().await.unwrap();
        });
        everything.extend(acknowledged);
    }
    let world = World::of(folder);
    runtime(Writes::Inline).block_on(async {
        check_there(&world.opened, &everything, 0).await;
        assert_eq!(world.verify().await, Ok(verified.seq));
        assert_eq!(world.store().examine().await.unwrap(), Vec::<String>::new());
    });
}

/// The `main` of the processes that the tests above start; without their environment it does nothing.
#[test]
fn the_other_process() {
    let Some(task) = std::env::var_os(TASK) else { return };
    let root = std::env::var_os(ROOT).unwrap();
    let number = std::env::var_os(NUMBER).unwrap().to_str().unwrap().parse().unwrap();
    let root = Path::new(&root);
    let writes = if number % 2 == 0 { Writes::Inline } else { Writes::Thread };
    runtime(writes).block_on(async {
        let opened = open(&request_at(root, writes)).unwrap();
        match task.to_str().unwrap() {
            "open" => say(&opened.status.vault.to_string()),
            "mix" => mix(&world_of(opened, root, number), number).await,
            _ => write(&world_of(opened, root, number)).await,
        }
    });
}

/// Ten kinds of operation in turn; says how many rows they left on the trail.
async fn mix(world: &World, number: u64) {
    let mut rows = 0;
    let (mut kept, mut last) = (Vec::new(), None);
    for operation in 0..OPERATIONS {
        rows += match operation % 10 {
            0 => {
                kept.push(world.added_secret().await.id);
                1
            }
            1 => {
                last = Some(world.added_secret().await.id);
                1
            }
            2 => {
                let entry = world.entry(Action::SecretDelete);
                assert!(world.store().delete_secret(world.account(), last.unwrap(), entry).await.unwrap());
                1
            }
            3 => {
                world.added_seat(&format!("{number}.{operation}@x.org")).await;
                1
            }
            4 => {
                assert!(world.store().secrets(world.account(), Life::Live).await.unwrap().len() >= kept.len());
                0
            }
            5 => {
                let page = Page { offset: 0, limit: Some(10) };
                assert!(!world.store().seats(world.account(), None, page).await.unwrap().sound.is_empty());
                0
            }
            _ => {
                assert!(world.give(*kept.last().unwrap(), operation / 10).await);
                1
            }
        };
    }
    world.store().close().await.unwrap();
    say(&rows.to_string());
}

/// Adds secrets and hands out codes without end, from four callers at once, and says each once it is answered.
async fn write(world: &World) {
    let caller = async || {
        loop {
            let secret = world.added_secret().await.id;
            say(&format!("{secret} 0"));
            for step in 1..4 {
                assert!(world.give(secret, step).await);
                say(&format!("{secret} {step}"));
                assert!(world.give(secret, step).await);
            }
        }
    };
    tokio::join!(caller(), caller(), caller(), caller());
}

/// The world of one of several processes: its ids are its own.
fn world_of(opened: Opened, root: &Path, number: u64) -> World {
    let world = World::around(Folder::shared(root, Writes::Inline), opened);
    world.ids_from((number + 1) << 32);
    world
}

/// Starts this binary again for one task.
fn start(task: &str, root: &Path, number: u64) -> Child {
    let environment = [(TASK, OsString::from(task)), (ROOT, root.into()), (NUMBER, number.to_string().into())];
    Command::new(std::env::current_exe().unwrap())
        .args(["store_processes::the_other_process", "--exact", "--nocapture", "--test-threads=1"])
        .envs(environment)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The test harness has standard output for itself.
fn say(line: &str) {
    // In one piece, so that a kill can't cut a line that was begun.
    std::io::stderr().write_all(format!("> {line}\n").as_bytes()).unwrap();
}

/// What a process said last, once it has ended well.
fn finished(process: Child) -> String {
    let ended = process.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success(), "{said}");
    said.lines().filter_map(|line| line.strip_prefix("> ")).next_back().expect("it must say something").to_owned()
}

/// Secrets that were added (step 0), and steps of them that were given.
type Acknowledged = BTreeSet<(SecretId, u64)>;

/// Reads so many acknowledgements.
fn first_of(process: &mut Child, count: u64) -> Acknowledged {
    // No more than is asked for is taken out of the pipe.
    let mut lines = BufReader::with_capacity(1, process.stderr.as_mut().unwrap()).lines();
    let mut next = || lines.next().expect("the process ended").unwrap();
    std::iter::from_fn(|| Some(acknowledgement(&next()))).flatten().take(usize::try_from(count).unwrap()).collect()
}

/// What was said by the time the kill came.
fn rest_of(process: Child) -> Acknowledged {
    let said = process.wait_with_output().unwrap().stderr;
    String::from_utf8(said).unwrap().lines().filter_map(acknowledgement).collect()
}

fn acknowledgement(line: &str) -> Option<(SecretId, u64)> {
    let (secret, step) = line.strip_prefix("> ")?.split_once(' ')?;
    Some((secret.parse().unwrap(), step.parse().unwrap()))
}

/// Follows the chain from where it was verified before, and checks that the head is in what follows.
async fn verify_from(opened: &Opened, from: ChainHead) -> ChainHead {
    let filter = AuditFilter { after: from.seq, ..AuditFilter::default() };
    let rows = opened.store.trail(filter).await.unwrap();
    let head = opened.store.trail_ends().await.unwrap().1.expect("the head is sound");
    let (mut at, mut headed) = (from, from == head);
    for row in rows {
        let mac = opened.keyring.trail_mac(&at.mac, &row.entry.canonical(at.seq + 1));
        assert_eq!((row.seq, row.mac), (at.seq + 1, mac));
        at = ChainHead { seq: row.seq, mac };
        headed |= at == head;
    }
    assert!(headed, "the head names a row that is there");
    at
}

/// Whether all that was acknowledged is kept, with rows for it after a known one.
async fn check_there(opened: &Opened, acknowledged: &Acknowledged, after: u64) {
    let rows = opened.store.trail(AuditFilter { after, ..AuditFilter::default() }).await.unwrap();
    let given: Acknowledged =
        rows.iter().filter_map(|row| Some((row.entry.secret?, row.entry.step.map_or(0, |step| step.0)))).collect();
    assert!(acknowledged.is_subset(&given), "missing: {:?}", acknowledged.difference(&given).collect::<Vec<_>>());
    for (secret, _) in acknowledged {
        assert!(opened.store.secret(opened.status.default_account, *secret).await.unwrap().is_some());
    }
}
