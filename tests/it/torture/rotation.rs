//! Keys rotated under load, while processes are killed.

use std::path::Path;

use countersign::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        ids::SecretId,
        seed::Seed,
    },
    vault::{NewSecret, Outcome},
};
use uuid::Uuid;

use super::{
    Row, Told, check, folder, is_outrun,
    processes::{PROCESSES, end, hear, loaded},
    runtime, worker,
};
use crate::{
    sqlite::{Other, files_in},
    vault::kit::{Folder, NOW, metadata},
};

/// The most rotations in a run.
const WHOLE: usize = 200;
/// The number of rotations of one vault.
const ROTATIONS: usize = 10;
/// The most processes that are killed in one rotation.
const KILLS: usize = 4;
/// Secrets that exist from the start, so that sealing them anew takes several commits.
const SECRETS: u128 = 400;

#[test]
fn rotations_under_load_with_kills() {
    let mut row = Row::new("rotations under load with kills", 1);
    row.times = row.times.min(WHOLE);
    let (mut left, mut killed) = (row.times, 0);
    while left > 0 {
        let (_own, root) = folder();
        let mut told = Told::default();
        runtime().block_on(fill(&root, &mut told));
        let mut processes: Vec<_> = (0..PROCESSES).map(|_| loaded(&root, &mut row)).collect();
        let rotations = left.min(ROTATIONS);
        left -= rotations;
        for _ in 0..rotations {
            // A data key and a key that opens the vault are rotated equally often, the root key less often.
            let what = ["data", "key", "data", "key", "root"][row.dice.below(5)];
            killed += rotate(&root, what, &mut row, (&mut processes, &mut told));
            let victim = row.dice.below(PROCESSES);
            for _ in 0..row.dice.below(4) {
                hear(&mut processes[victim], &mut told);
            }
            let next = loaded(&root, &mut row);
            end(std::mem::replace(&mut processes[victim], next), &mut told);
            // Each process reports a line after the rotation, so none has ended by itself.
            for process in &mut processes {
                hear(process, &mut told);
            }
        }
        for process in processes {
            end(process, &mut told);
        }
        if let Err(lost) = runtime().block_on(check(&root, &told)) {
            row.lose(lost);
        }
        if let Err(lost) = runtime().block_on(is_finished(&root)) {
            row.lose(lost);
        }
    }
    println!("torture: {}: {killed} processes that rotated were killed", row.name);
    row.end();
}

/// Rotates a key with processes that are killed at some moment, until one is left to finish. Returns the number of
/// kills.
fn rotate(root: &Path, what: &str, row: &mut Row, (processes, told): (&mut [Other], &mut Told)) -> usize {
    let mut killed = 0;
    loop {
        let mut process = worker(root);
        process.tell("open");
        process.tell(&format!("rotate {what}"));
        let is_victim = killed < KILLS && !row.dice.one_in(3);
        // The first line reports that the vault is open.
        let heard = if is_victim { 1 + row.dice.below(6) } else { usize::MAX };
        let mut said = Vec::new();
        while said.len() < heard {
            let Some(line) = process.next() else { break };
            let is_last = line.starts_with("ok rotated") || line.starts_with("no ");
            said.push(line);
            if is_last {
                break;
            }
        }
        if is_victim {
            // The moment depends on the work of the others.
            for _ in 0..row.dice.below(6) {
                hear(&mut processes[row.dice.below(PROCESSES)], told);
            }
            process.process.kill().unwrap();
            process.process.wait().unwrap();
            said.extend(std::iter::from_fn(|| process.next()));
            killed += 1;
        }
        match said.last() {
            Some(last) if last.starts_with("ok rotated") => return killed,
            // The next process continues the rotation.
            Some(last) if last.starts_with("no ") && !is_outrun(last) => {
                row.lose(last);
                return killed;
            }
            last if !is_victim && last.is_none_or(|last| !last.starts_with("no ")) => {
                row.lose(format!("it ended by itself: {said:?}"));
                return killed;
            }
            _ => {}
        }
    }
}

/// Adds the secrets that exist from the start.
async fn fill(root: &Path, told: &mut Told) {
    let vault = Folder::shared(root).open().await.unwrap();
    let account = vault.status().default_account;
    let (data, mut draft) = (metadata("Acme", "ada"), vault.silent_draft());
    for nth in 0..SECRETS {
        let id = SecretId::new(Uuid::from_u128((nth + 1) << 64));
        let seed = Seed::from_base32(&data_encoding::BASE32.encode(&(nth + 1).to_be_bytes()).replace('=', "")).unwrap();
        let new = NewSecret { id, account, created_at: NOW, metadata: &data, seed: &seed };
        draft = draft.add_secret(&new);
        told.take(&format!("added {id}"));
    }
    assert_eq!(draft.commit().await.unwrap(), Outcome::Done);
    vault.close().await.unwrap();
}

/// Checks that a last rotation leaves one data key, one key file and one key that opens the vault.
async fn is_finished(root: &Path) -> Result<(), String> {
    let vault = Folder::shared(root).open().await.map_err(|error| error.to_string())?;
    let entry = AuditEntry::by(Actor::Person, Action::VaultRotate, NOW);
    vault.begin_rotation(entry.clone()).await.map_err(|error| error.to_string())?;
    let ended = vault.finish_rotation(&entry, &mut |_| {}).await.map_err(|error| error.to_string())?;
    let keys = vault.vault_keys().await.map_err(|error| error.to_string())?;
    let files = files_in(&root.join("config/keys"));
    vault.close().await.map_err(|error| error.to_string())?;
    let is_finished = ended.finished && ended.left == 0 && ended.keys.is_empty();
    if is_finished && keys.len() == 1 && files.len() == 1 {
        return Ok(());
    }
    Err(format!("{ended:?}, {keys:?}, {files:?}"))
}
