//! Torture: processes killed, power cut, disks failing, files damaged, many times over. Each row of the table in
//! `SECURITY.md` but the last, fuzzing, is one test, named after it.
//!
//! `COUNTERSIGN_TORTURE=N` runs each of them N times as often as plain `cargo test` does; with 1000 every row reaches its full
//! number. `COUNTERSIGN_TORTURE_SEED` repeats a run. `.ci/long` runs them all.
#![expect(clippy::print_stdout, reason = "each row prints what it did")]

mod damage;
mod disk;
#[cfg(unix)]
mod keys;
mod power;
mod processes;
mod restore;
mod rotation;

use std::{
    collections::BTreeSet,
    fs::File,
    hash::{BuildHasher as _, DefaultHasher, Hasher as _, RandomState},
    io::{BufRead as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use countersign::{
    clock::SystemClock,
    domain::{ids::SecretId, principal::Principal, seed::Seed, totp::TotpParameters},
    operations::{
        AddSeat, DeleteSecret, ErrorCode, GetCode, ListSecrets, Refusal, Registration, RotateDataKey, RotateRootKey,
        RotateVaultKey, SeatChanges, Service,
    },
    random::SystemRandom,
    vault::{Life, Page, StoreError, Vault},
};
use tokio::runtime::Runtime;

use crate::{
    fleet::Dice,
    kit::registration_of,
    sqlite::{Other, processes::say},
    vault::kit::Folder,
};

/// The task of a process that works on a vault.
pub(crate) const WORKER: &str = "torture";

/// The file to which a worker appends its acknowledgements, between the writes that reach the disk (`shim.c`).
const WRITES: &str = "COUNTERSIGN_WRITES";

/// One row of the table while it runs.
struct Row {
    name: &'static str,
    times: usize,
    lost: Vec<String>,
    dice: Dice,
}

impl Row {
    fn new(name: &'static str, once: usize) -> Self {
        let set = |name| std::env::var_os(name).map(|text| text.to_str().unwrap().parse::<u64>().unwrap());
        let factor = usize::try_from(set("COUNTERSIGN_TORTURE").unwrap_or(1)).unwrap();
        // Without `COUNTERSIGN_TORTURE` the seed is the same for all who test a change; with it the seed is random.
        let of_name = || {
            let mut hash = DefaultHasher::new();
            hash.write(name.as_bytes());
            hash.finish()
        };
        let any = || RandomState::new().build_hasher().finish();
        let drawn = if set("COUNTERSIGN_TORTURE").is_some() { any() } else { of_name() };
        let seed = set("COUNTERSIGN_TORTURE_SEED").unwrap_or(drawn >> 1);
        println!("torture: {name}: COUNTERSIGN_TORTURE={factor} COUNTERSIGN_TORTURE_SEED={seed}");
        Self { name, times: once * factor, lost: Vec::new(), dice: Dice(seed) }
    }

    /// Records a violated guarantee.
    fn lose(&mut self, what: impl Into<String>) {
        let what = what.into();
        println!("torture: {}: LOST {what}", self.name);
        self.lost.push(what);
    }

    fn end(self) {
        println!("torture: {}: {} times, {} lost", self.name, self.times, self.lost.len());
        assert_eq!(self.lost, Vec::<String>::new());
    }
}

/// Whether an order was refused because other processes were faster, or held the lock, for two seconds.
fn is_outrun(told: &str) -> bool {
    told.starts_with("no the vault can't be reached or written")
        && (told.contains("other processes were faster") || told.contains("holds the vault's write lock"))
}

/// The acknowledgements that processes on one vault have received.
#[derive(Debug, Default, Clone)]
struct Told {
    added: BTreeSet<String>,
    /// Secrets that are removed, or perhaps removed.
    removed: BTreeSet<String>,
    /// Secrets whose removal was acknowledged.
    gone: BTreeSet<String>,
}

impl Told {
    fn take(&mut self, line: &str) {
        let (what, id) = line.split_once(' ').unwrap_or((line, ""));
        let _ = match what {
            "added" => self.added.insert(id.to_owned()),
            "removing" => self.removed.insert(id.to_owned()),
            "removed" => self.gone.insert(id.to_owned()),
            _ => false,
        };
    }

    /// Returns an error with the added secrets that are missing, and the removed ones that are back.
    fn compare(&self, live: &BTreeSet<String>) -> Result<(), String> {
        let lost: Vec<_> = self.added.difference(&self.removed).filter(|id| !live.contains(*id)).collect();
        let back: Vec<_> = self.gone.intersection(live).collect();
        if lost.is_empty() && back.is_empty() { Ok(()) } else { Err(format!("lost {lost:?}, back {back:?}")) }
    }
}

/// The secrets of a vault, or an error if anything in it is not sound.
async fn live_in(vault: &Vault) -> Result<BTreeSet<String>, String> {
    let said = |error: StoreError| error.to_string();
    let listed = vault.secrets(vault.status().default_account, Life::Live, Page::ALL).await.map_err(said)?;
    let problems = vault.examine().await.map_err(said)?.problems;
    let finding = vault.verify(&[]).await.map_err(said)?.finding;
    if problems.is_empty() && finding.is_none() && listed.damaged.is_empty() {
        return Ok(listed.sound.iter().map(|secret| secret.id.to_string()).collect());
    }
    Err(format!("damaged {:?}, doctor {problems:?}, audit log {finding:?}", listed.damaged))
}

/// Opens the vault in a folder, with its key and state, and compares it with the acknowledgements.
async fn check(root: &Path, told: &Told) -> Result<(), String> {
    let vault = Folder::shared(root).open().await.map_err(|error| error.to_string())?;
    let live = live_in(&vault).await;
    vault.close().await.map_err(|error| error.to_string())?;
    told.compare(&live?)
}

fn runtime() -> Runtime {
    crate::store::runtime(countersign::store::Writes::Inline)
}

/// A folder without links in its path.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().canonicalize().unwrap();
    (folder, path)
}

/// A process that works on the vault in a folder.
fn worker(root: &Path) -> Other {
    Other::start(WORKER, root, &[])
}

/// The vault that a worker has open.
struct Work {
    service: Service,
    person: Principal,
    own: Vec<(SecretId, Seed)>,
}

/// The `main` of a worker: carries out orders, line by line.
pub(crate) async fn work(root: &Path) {
    let mut work = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (what, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if what == "open" {
            if let Some(Work { service, .. }) = work.take() {
                // A failure to close it is reported by another order.
                let _ = service.close().await;
            }
            match open(&root.join(rest)).await {
                Ok(opened) => {
                    work = Some(opened);
                    tell("ok");
                }
                Err(told) => tell(&format!("no {told}")),
            }
            continue;
        }
        if what == "restore" {
            tell(&restore::carry_out(root).await.map_or_else(|told| format!("no {told}"), |()| "ok".to_owned()));
            continue;
        }
        let work = work.as_mut().unwrap();
        match what {
            "load" => load(work, root, rest).await,
            "partly" => partly(work, root).await,
            _ => tell(&work.done(root, what, rest).await.unwrap_or_else(|refusal| format!("no {refusal}"))),
        }
    }
}

async fn open(root: &Path) -> Result<Work, String> {
    let vault = Folder::shared(root).open().await.map_err(|error| error.to_string())?;
    let person = Principal::person(vault.status().default_account);
    let service = Service::new(vault, Arc::new(SystemClock), Arc::new(SystemRandom));
    Ok(Work { service, person, own: Vec::new() })
}

impl Work {
    /// Carries out one order; the answer begins with `ok`.
    async fn done(&mut self, root: &Path, what: &str, rest: &str) -> Result<String, Refusal> {
        let (service, person) = (&self.service, &self.person);
        Ok(match what {
            "add" => {
                let registration = Registration { label: Some(rest.to_owned()), ..Registration::default() };
                let registered = service.perform(person, registration_of(registration)).await?;
                let id = registered.secret.id;
                self.own.push((id, registered.seed.unwrap()));
                format!("ok {id}")
            }
            "code" => {
                let Some((id, seed)) = self.own.last() else { return Ok("ok".to_owned()) };
                let issued = service.perform(person, GetCode::of(*id)).await?;
                let right = TotpParameters::default().code_at(seed, issued.step);
                assert_eq!(issued.code.digits(), right.digits(), "a wrong code");
                "ok".to_owned()
            }
            "remove" => {
                let secret_id: SecretId = rest.parse().unwrap();
                match service.perform(person, DeleteSecret { secret_id }).await {
                    // The secret was removed by the try whose outcome was unknown.
                    Err(refusal) if refusal.code() == ErrorCode::NotFound => {}
                    ended => ended?,
                }
                self.own.retain(|(id, _)| *id != secret_id);
                "ok".to_owned()
            }
            "seat" => {
                let changes = SeatChanges { email: Some(rest.to_owned()), ..SeatChanges::default() };
                match service.perform(person, AddSeat { profile: changes }).await {
                    Err(refusal) if refusal.code() == ErrorCode::InvalidArgument => {}
                    ended => drop(ended?),
                }
                "ok".to_owned()
            }
            "rotate" => {
                let source = || Folder::shared(root).request().source;
                match rest {
                    "data" => tell(&format!("begun {}", service.perform(person, RotateDataKey).await?)),
                    "root" => {
                        service.perform(person, RotateRootKey { sources: vec![source()] }).await?;
                        tell("begun");
                    }
                    _ => {
                        service.perform(person, RotateVaultKey { id: 0, source: source() }).await?;
                        return Ok("ok rotated".to_owned());
                    }
                }
                let mut progress = |resealed| tell(&format!("{resealed:?}"));
                let ended = service.finish_rotation(Some(person), &mut progress).await?;
                if ended.finished { "ok rotated".to_owned() } else { format!("no {ended:?}") }
            }
            "list" => format!("ok {}", service.perform(person, ListSecrets::default()).await?.stored),
            "close" => {
                service.close().await?;
                "ok".to_owned()
            }
            _ => unreachable!("{what}"),
        })
    }
}

/// Makes calls of every kind, as many as ordered, and reports each after it was acknowledged.
async fn load(work: &mut Work, root: &Path, orders: &str) {
    let (seed, count) = orders.split_once(' ').unwrap();
    let mut dice = Dice(seed.parse().unwrap());
    for nth in 0..count.parse::<u64>().unwrap() {
        let ended = match dice.below(8) {
            0..=3 => work.done(root, "add", &format!("{seed} {nth}")).await.map(|added| added.replace("ok", "added")),
            4 if !work.own.is_empty() => {
                let id = work.own[dice.below(work.own.len())].0.to_string();
                tell(&format!("removing {id}"));
                work.done(root, "remove", &id).await.map(|_| format!("removed {id}"))
            }
            5 => work.done(root, "seat", &format!("{seed}-{nth}@example.com")).await,
            _ => work.done(root, "code", "").await,
        };
        match ended {
            Ok(line) => tell(&line),
            // Another process has been writing for two seconds.
            Err(refusal) => {
                let said = refusal.to_string();
                assert!(refusal.code() == ErrorCode::Unavailable && !said.contains("root key"), "{said}");
            }
        }
    }
    tell("ended");
}

/// Registers secrets while another connection keeps its newest rows from being copied out of the log.
async fn partly(work: &mut Work, root: &Path) {
    let connect = || rusqlite::Connection::open(root.join("data/vault.db")).unwrap();
    let (reader, copies) = (connect(), connect());
    for nth in 0..3 {
        reader.execute_batch("BEGIN; SELECT * FROM sqlite_schema").unwrap();
        for half in ["read", "unread"] {
            let added = work.done(root, "add", &format!("{half} {nth}")).await.unwrap();
            tell(&added.replace("ok", "added"));
        }
        copies.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
        reader.execute_batch("ROLLBACK").unwrap();
    }
    tell("ended");
}

/// Reports a line to the test, and to the log of the disk's writes if there is one.
fn tell(line: &str) {
    if let Some(path) = std::env::var_os(WRITES) {
        let mut log = File::options().append(true).open(path).unwrap();
        log.lock().unwrap();
        log.write_all(format!("A {line}\n").as_bytes()).unwrap();
    }
    say(line);
}
