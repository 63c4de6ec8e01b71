//! Repairs a damaged vault: it is built anew from everything in it that is sound, examined, and only then put into the
//! place of the old content. A file with the old content is kept.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Vault,
    examine::sound,
    ledger::{self, base_of, genesis, head_of},
    mend::{Backup, Mending, unread_version},
    open::{VaultRequest, open_as_it_is, open_copy},
    open_error::{OpenError, at},
    records::{AuditHead, shown},
    repair_server,
    state::{Older, StateFile},
    walk::Walk,
};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        time::Timestamp,
    },
    random::SharedRandom,
    store::{self, Copied, Finders, Kind, OpenRequest, RecordKey, Salvage, StoreError},
};

/// Whether a repair is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// No: the repair is only planned and reported.
    Plan,
    /// Yes.
    Carry,
}

/// One thing that was repaired, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The damaged part, in words without contents.
    pub what: String,
    /// What was done with it.
    pub how: String,
}

/// The result of a repair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// The problems before the repair; empty: the vault is sound, and nothing was done.
    pub problems: Vec<String>,
    /// The repairs that were done, or would be; empty: the vault is sound.
    pub mended: Vec<Mended>,
    /// The problems that are left.
    pub left: Vec<String>,
    /// The file with the vault's old content.
    pub copy: Option<PathBuf>,
}

/// The name of what is built anew, in a report.
pub(super) const FILE: &str = "the vault's file";

/// The report on a header that was restored from the backup.
const HEADER_RESTORED: &str = "restored from the backup: keys that were removed since open the vault again; see `countersign \
    vault key list`, and restart every countersign that has the vault open";

/// The error for a backup whose header can't take the place of the vault's.
const OLDER_KEYS: &str = "its header; and the backup is older than a new data key or root key of the vault, so its header opens \
    nothing that was stored since. Give a newer backup, or put this one in the vault's place: `countersign vault restore`";

impl Repaired {
    /// Whether the repair improves anything.
    pub fn helps(&self) -> bool {
        self.mended.len() > 1 || self.problems.iter().any(|problem| !self.left.contains(problem))
    }
}

/// Repairs a vault, with a backup of it if one is given. Secrets and keys come from the backup where the vault's own
/// are damaged or lost: steps up to two minutes from now then count as used, keys are off until a person enables them,
/// and secrets and keys that were erased or revoked since, according to the audit log, stay so. `now` is called once
/// the vault is being read: until then other processes may reserve steps, and after that a commit of theirs makes the
/// repair fail.
///
/// # Errors
/// [`OpenError`]: the header can't be read, the key is not there, or another process wrote meanwhile. The vault is as it
/// was.
pub async fn repair(
    request: &VaultRequest,
    backup: Option<&Path>,
    act: Act,
    random: SharedRandom,
    now: impl Fn() -> Timestamp,
) -> Result<Repaired, OpenError> {
    let store = OpenRequest { make: false, ..request.store.clone() };
    let state_dir = request.state_dir.as_deref();
    let request = &VaultRequest { store, state_dir: None, ..request.clone() };
    let problems = problems_of(request, state_dir, random.clone()).await?;
    if problems.is_empty() {
        return Ok(Repaired::default());
    }
    let wanted = RepairRequest { backup, act, state_dir };
    let done = if store::folder_of(&request.store).is_some() {
        built(request, &wanted, random, now).await?
    } else {
        repair_server::built(request, &wanted, random, now).await?
    };
    Ok(Repaired { problems, ..done })
}

/// How a vault is to be repaired.
pub(super) struct RepairRequest<'a> {
    backup: Option<&'a Path>,
    pub(super) act: Act,
    pub(super) state_dir: Option<&'a Path>,
}

/// Builds the vault in a file anew, and returns what that repaired.
pub(super) async fn built(
    request: &VaultRequest,
    wanted: &RepairRequest<'_>,
    random: SharedRandom,
    now: impl Fn() -> Timestamp,
) -> Result<Repaired, OpenError> {
    let incoming = match wanted.backup {
        Some(file) => Some(store::incoming(&request.store, file, request.now).await?),
        None => None,
    };
    let salvage = store::salvage(&request.store, incoming.as_ref())?;
    let (place, now) = (salvage.location().to_owned(), now());
    let source = match &incoming {
        Some(incoming) => Some(Backup::of(open_at(request, incoming.path(), random.clone()).await?).await),
        None => None,
    };
    let source = source.transpose().map_err(at(&place))?;
    let (vault, is_own) = opened(request, &salvage, source.as_ref(), random, now).await?;
    let state = StateFile::new(wanted.state_dir, Arc::clone(&vault.core.keyring));
    let mended = mended(&vault, &salvage, &state, source.as_ref(), now).await.map_err(at(&place));
    let checked = checked(&vault).await.map_err(at(&place));
    vault.close().await.map_err(at(&place))?;
    if let Some(source) = source {
        source.close().await.map_err(at(&place))?;
    }
    let mut mended = mended?.map_err(|older| older.at(place.clone()))?;
    let left = checked?;
    if !is_own {
        mended.push(Mended { what: "the vault's header".to_owned(), how: HEADER_RESTORED.to_owned() });
    }
    if wanted.act == Act::Plan {
        return Ok(Repaired { mended, left, ..Repaired::default() });
    }
    let time = now.to_string().replace([':', '.'], "-");
    let copy = salvage.copy_files(&format!(".before-repair-{time}"))?;
    salvage.take_place().inspect_err(|cause| {
        if !matches!(cause, store::OpenError::Store(StoreError::Unknown(_))) {
            // The vault is unchanged, so its copy is not needed. A copy that can't be removed is sealed like the vault.
            let _ = fs::remove_file(&copy);
        }
    })?;
    Ok(Repaired { mended, left, copy: Some(copy), ..Repaired::default() })
}

/// Opens the vault that is built, with the header of the backup if its own is damaged. Also returns whether the header
/// is its own.
async fn opened(
    request: &VaultRequest,
    salvage: &Salvage,
    source: Option<&Backup>,
    random: SharedRandom,
    now: Timestamp,
) -> Result<(Vault, bool), OpenError> {
    let (cause, source) = match (open_at(request, salvage.path(), random.clone()).await, source) {
        (Err(cause @ OpenError::Store(store::OpenError::Damaged { .. })), Some(source)) => (cause, source),
        (opened, _) => return Ok((opened?, true)),
    };
    let place = salvage.location();
    let Some(header) = source.header().await.map_err(at(place))? else { return Err(cause) };
    salvage.put(&header, Finders::default()).map_err(at(place))?;
    let vault = open_at(request, salvage.path(), random).await?;
    let (mut fits, mut is_older) = (false, false);
    salvage.each_record(&mut |record| {
        fits |= record.key.kind != Kind::Header && sound(vault.keyring(), record).is_ok();
        is_older |= vault.keyring().lacks_key_of(record);
    });
    if is_older {
        vault.close().await.map_err(at(place))?;
        return Err(store::OpenError::Damaged { path: place.to_owned(), what: OLDER_KEYS.to_owned() }.into());
    }
    // A header of another vault opens nothing here.
    if fits {
        // Processes that knew a newer header would take this one for an older one that was put back.
        let header = vault.header().await.map_err(at(place))?;
        let record = vault.keyring().record(&header.value, unread_version(now));
        salvage.put(&record, Finders::default()).map_err(at(place))?;
        return Ok((vault, false));
    }
    vault.close().await.map_err(at(place))?;
    Err(cause)
}

async fn open_at(request: &VaultRequest, path: &Path, random: SharedRandom) -> Result<Vault, OpenError> {
    open_copy(&VaultRequest { store: request.store.at_file(path)?, ..request.clone() }, random).await
}

/// The problems of a vault, which may not even open. A sound vault that is an older copy is refused, as when it is
/// opened.
pub(super) async fn problems_of(
    request: &VaultRequest,
    state_dir: Option<&Path>,
    random: SharedRandom,
) -> Result<Vec<String>, OpenError> {
    let vault = match open_as_it_is(request, random).await {
        Err(OpenError::Store(cause @ store::OpenError::Damaged { .. })) => return Ok(vec![cause.to_string()]),
        opened => opened?,
    };
    let place = vault.status().store.location.clone();
    let (problems, state) = (checked(&vault).await, StateFile::new(state_dir, Arc::clone(&vault.core.keyring)));
    let older = state.check(vault.store()).await;
    vault.close().await.map_err(at(&place))?;
    let problems = problems.map_err(at(&place))?;
    match older.map_err(at(&place))? {
        Some(older) if problems.is_empty() => Err(older.at(place)),
        _ => Ok(problems),
    }
}

/// The problems of an open vault.
async fn checked(vault: &Vault) -> Result<Vec<String>, StoreError> {
    let mut problems = match vault.examine().await {
        Err(StoreError::Damaged { what }) => vec![what],
        examined => examined?.problems,
    };
    match vault.verify(&[]).await {
        Err(StoreError::Damaged { what }) => problems.push(format!("audit log: {what}")),
        report => problems.extend(report?.finding.map(|(_, finding)| format!("audit log: {finding}"))),
    }
    Ok(problems)
}

/// Fills a new vault, and returns what that repaired. [`Older`] if the vault is an older copy: that is not damage, so
/// nothing is repaired.
async fn mended(
    vault: &Vault,
    salvage: &Salvage,
    state: &StateFile,
    source: Option<&Backup>,
    now: Timestamp,
) -> Result<Result<Vec<Mended>, Older>, StoreError> {
    let keyring = vault.keyring();
    let records = salvage.copy_records(&mut |record| sound(keyring, record).ok())?;
    let rows =
        salvage.copy_audit(&mut |record| ledger::read(record.clone()).ok().map(|row| ledger::terms_of(&row.entry)))?;
    // Rows without an account would be in no account's list.
    let account = Some(vault.status().default_account);
    let entry = AuditEntry { account, ..AuditEntry::by(Actor::Person, Action::AuditFence, now) };
    let mut mended = vec![rebuilt(&records, &rows)];
    let mut chains = vault.chains().await?;
    // A vault always has the first chain.
    chains.push(0);
    chains.sort_unstable();
    chains.dedup();
    for chain in chains {
        mend_chain(vault, salvage, (chain, rows.rows), &entry, &mut mended).await?;
    }
    if let Some(older) = state.check(vault.store()).await? {
        return Ok(Err(older));
    }
    salvage.index_audit()?;
    let mut mending = Mending::new(vault, salvage, source, records.unsound, now);
    mending.everything().await?;
    mended.extend(mending.done);
    let count = u64::try_from(mended.len()).ok();
    vault.record(vec![AuditEntry { action: Action::VaultRepair, count, ..entry }]).await?;
    Ok(Ok(mended))
}

fn rebuilt(records: &Copied, rows: &Copied) -> Mended {
    let lost = if records.lost || rows.lost { "; some pages could not be read" } else { "" };
    let how = format!(
        "built anew, with all indexes, from {} records and {} rows of the audit log{lost}",
        records.rows, rows.rows
    );
    Mended { what: FILE.to_owned(), how }
}

/// Fences off the damaged rows in a chain of the audit log, and records where the chain ends now. `rows`: the most rows
/// that the chain can have.
async fn mend_chain(
    vault: &Vault,
    salvage: &Salvage,
    (chain, rows): (u32, u64),
    entry: &AuditEntry,
    mended: &mut Vec<Mended>,
) -> Result<(), StoreError> {
    let (store, keyring) = (vault.store(), vault.keyring());
    let base = match base_of(store, keyring, chain).await {
        Err(StoreError::Damaged { .. }) => {
            let key = RecordKey::new(Kind::AuditBase, chain.to_be_bytes());
            salvage.remove(&key)?;
            mended
                .push(Mended { what: shown(&key), how: "removed: what the first rows follow is not known".to_owned() });
            genesis(chain)
        }
        base => base?,
    };
    let noted = head_of(store, keyring, chain).await?;
    let (head, version) = noted.map_or((None, 0), |(AuditHead(head), version)| (Some(head), version));
    let mut walk = Walk::of(base, head.filter(|head| head.seq >= base.seq), rows);
    salvage.each_row(chain, &mut |record| walk.see(vault, record))?;
    walk.end(entry.at);
    if walk.below > 0 {
        salvage.replace_rows(chain, (0, base.seq), None)?;
        let what = format!("{} rows of the audit log among those that were pruned", walk.below);
        mended.push(Mended { what, how: "removed: this vault did not write them there".to_owned() });
    }
    for (before, upto, time) in &walk.fences {
        let row = keyring.fence(before, upto, *time, entry);
        let from = before.head().seq.saturating_add(1);
        salvage.replace_rows(chain, (from, upto.seq), Some(&row))?;
        mended.push(Mended { what: rows_from(from, upto.seq), how: "fenced off".to_owned() });
    }
    let end = walk.end.head();
    if walk.beyond > 0 {
        salvage.replace_rows(chain, (end.seq.saturating_add(1), u64::MAX), None)?;
        let what = format!("{} rows of the audit log with numbers far behind its end", walk.beyond);
        mended.push(Mended { what, how: "removed: this vault did not write them there".to_owned() });
    }
    if walk.head != Some(end) || walk.is_fork || !walk.fences.is_empty() {
        if walk.head.is_none() || walk.is_fork {
            let how = format!("set to row {}, the last sound one", end.seq);
            mended.push(Mended { what: "the record of where the audit log ends".to_owned(), how });
        }
        let record = keyring.record(&AuditHead(end), version.saturating_add(1));
        salvage.put(&record, Finders::default())?;
    }
    Ok(())
}

fn rows_from(from: u64, upto: u64) -> String {
    if from == upto {
        format!("row {from} of the audit log")
    } else {
        format!("rows {from} to {upto} of the audit log")
    }
}
