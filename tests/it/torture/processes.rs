//! Processes killed under load, started at once, and backed up while they work.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use countersign::{
    clock::SystemClock,
    domain::principal::Principal,
    operations::{BackUp, Service},
    random::SystemRandom,
    vault,
};

use super::{Row, Told, check, folder, is_outrun, live_in, runtime, worker};
use crate::{
    sqlite::{Other, files_in, private_dir},
    vault::kit::Folder,
};

pub(super) const PROCESSES: usize = 4;
const STARTERS: usize = 16;
/// Kills and backups of one vault, which grows meanwhile.
const KILLS: usize = 50;
const BACKUPS: usize = 10;

pub(super) fn loaded(root: &Path, row: &mut Row) -> Other {
    let mut process = worker(root);
    process.tell("open");
    process.tell(&format!("load {} {}", row.dice.below(1 << 30), u64::MAX));
    process
}

/// Reads the next line of a process that is not killed.
pub(super) fn hear(process: &mut Other, told: &mut Told) {
    told.take(&process.next().expect("it ended by itself"));
}

#[test]
fn kill_9_of_one_of_four_processes_under_load() {
    let mut row = Row::new("kill -9 of one of 4 processes under load", 10);
    let mut left = row.times;
    while left > 0 {
        let (_own, root) = folder();
        let mut told = Told::default();
        let mut processes: Vec<_> = (0..PROCESSES).map(|_| loaded(&root, &mut row)).collect();
        let kills = left.min(KILLS);
        left -= kills;
        for _ in 0..kills {
            for _ in 0..row.dice.below(12) {
                hear(&mut processes[row.dice.below(PROCESSES)], &mut told);
            }
            let victim = row.dice.below(PROCESSES);
            let next = loaded(&root, &mut row);
            end(std::mem::replace(&mut processes[victim], next), &mut told);
        }
        // The last processes are killed, too, but not counted: fewer than four are running then.
        for process in processes {
            end(process, &mut told);
        }
        if let Err(lost) = runtime().block_on(check(&root, &told)) {
            row.lose(lost);
        }
    }
    row.end();
}

/// Kills a process, and reads the lines that it wrote before.
pub(super) fn end(mut process: Other, told: &mut Told) {
    process.process.kill().unwrap();
    process.process.wait().unwrap();
    while let Some(line) = process.next() {
        told.take(&line);
    }
}

#[test]
fn sixteen_first_starters_at_once() {
    let mut row = Row::new("16 first starters at once", 1);
    for _ in 0..row.times {
        let (_own, root) = folder();
        let mut told = Told::default();
        let mut starters: Vec<_> = (0..STARTERS).map(|_| worker(&root)).collect();
        for (nth, starter) in starters.iter_mut().enumerate() {
            starter.tell("open");
            starter.tell(&format!("add {nth}"));
        }
        for starter in &mut starters {
            let opened = starter.next();
            let mut added = starter.next().unwrap_or_default();
            // The other fifteen may be faster for two seconds.
            while is_outrun(&added) {
                added = starter.ask("add once more");
            }
            match added.strip_prefix("ok ") {
                Some(id) => told.take(&format!("added {id}")),
                None => row.lose(format!("{opened:?}, {added:?}")),
            }
        }
        drop(starters);
        if let Err(lost) = runtime().block_on(check(&root, &told)) {
            row.lose(lost);
        }
        let left: Vec<_> =
            [root.join("data"), root.join("config/keys")].iter().flat_map(|path| files_in(path)).collect();
        let keys = left.iter().filter(|path| path.extension().is_some_and(|ending| ending == "key")).count();
        if keys != 1 || left.iter().any(|path| path.to_string_lossy().contains(".new")) {
            row.lose(format!("more than one vault, or a draft: {left:?}"));
        }
    }
    row.end();
}

#[test]
fn backups_of_a_vault_under_load_restored_and_compared() {
    let mut row = Row::new("backups of a vault under load, restored and compared", 2);
    let mut left = row.times;
    while left > 0 {
        let (_own, root) = folder();
        let mut told = Told::default();
        let mut processes: Vec<_> = (0..2).map(|_| loaded(&root, &mut row)).collect();
        for process in &mut processes {
            hear(process, &mut told);
        }
        let backups = left.min(BACKUPS);
        left -= backups;
        let mut restored = Vec::new();
        runtime().block_on(async {
            let vault = Folder::shared(&root).open().await.unwrap();
            let person = Principal::person(vault.status().default_account);
            let service = Service::new(vault, Arc::new(SystemClock), Arc::new(SystemRandom));
            for nth in 0..backups {
                for _ in 0..row.dice.below(20) {
                    hear(&mut processes[nth % 2], &mut told);
                }
                let (before, to) = (told.clone(), root.join("backup.db"));
                match service.perform(&person, BackUp { to: to.clone(), recipients: Vec::new() }).await {
                    Ok(made) if made.problems.is_empty() => restored.push((before, live_in_restored(&root).await)),
                    Ok(made) => row.lose(format!("{:?}", made.problems)),
                    Err(refusal) => row.lose(refusal.to_string()),
                }
                let _ = fs::remove_file(to);
            }
        });
        for process in processes {
            end(process, &mut told);
        }
        for (before, live) in restored {
            // A secret that was removed at any time may be in the backup or not, except those whose removal was
            // acknowledged before.
            let before = Told { removed: told.removed.clone(), ..before };
            if let Err(lost) = live.and_then(|live| before.compare(&live)) {
                row.lose(lost);
            }
        }
    }
    row.end();
}

/// Restores the backup with the key alone, and returns its secrets.
async fn live_in_restored(root: &Path) -> Result<BTreeSet<String>, String> {
    let elsewhere = Folder::new();
    let keys = elsewhere.root.join("config/keys");
    private_dir(&keys);
    for key in files_in(&root.join("config/keys")) {
        fs::copy(&key, keys.join(key.file_name().unwrap())).unwrap();
    }
    let restored = vault::restore(&elsewhere.request(), &root.join("backup.db"), Arc::new(SystemRandom), || {
        crate::vault::kit::NOW
    })
    .await;
    let (vault, _) = restored.map_err(|error| error.to_string())?;
    let live = live_in(&vault).await;
    vault.close().await.map_err(|error| error.to_string())?;
    live
}
