//! A vault's first moments: built under another name, then given its own, so that there is a whole vault or none.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{
    accounts,
    connection::{self, Patience},
    db::{Db, Tx},
    files::{self, Spot},
    header, schema, trail,
};
use crate::{
    domain::{
        account::{Account, DEFAULT_ACCOUNT},
        audit::{Action, Actor, AuditEntry},
        ids::{AccountId, VaultId},
        text::Name,
        time::Timestamp,
    },
    keyring::{Header, Kek, KeyFileError, Keyring, create_key_file, read_key_file},
    random::{NoRandomness, Random as _, SystemRandom},
    store::{Made, OpenError, OpenRequest, StoreError},
};

/// Makes the vault, unless another process has done so by the time this one holds the lock.
pub(super) fn create(request: &OpenRequest, spot: &Spot) -> Result<Made, OpenError> {
    let lock = spot.lock()?;
    if spot.has_vault()? {
        return Ok(Made::Before);
    }
    spot.refuse_stray_log()?;
    spot.remove_draft()?;
    let vault = VaultId::new(SystemRandom.random_id().map_err(no_randomness)?);
    // The key is on the disk before anything is sealed with it; a crash here leaves a key that opens nothing.
    let kek = new_key(request, spot, vault)?;
    files::create_private(&spot.draft())?;
    build(spot, vault, &kek, request.now)?;
    spot.publish()?;
    drop(lock);
    Ok(Made::Now)
}

/// The key file of a vault. Refused if it lies beside the vault, by whatever way or link, or in our folder for keys and that
/// is not ours alone.
pub(super) fn key_path(request: &OpenRequest, spot: &Spot, vault: VaultId) -> Result<PathBuf, OpenError> {
    let path = request.key_file.clone().unwrap_or_else(|| request.key_dir.join(format!("{vault}.key")));
    let end = path.canonicalize().ok();
    let folders = [path.parent(), end.as_deref().and_then(Path::parent)];
    if folders.into_iter().flatten().any(|folder| spot.is_beside(folder, &request.data_dir)) {
        return Err(OpenError::KeyBesideVault(path));
    }
    if path.parent() == Some(&request.key_dir) {
        files::refuse_shared_keys(&request.key_dir)?;
    }
    Ok(path)
}

fn new_key(request: &OpenRequest, spot: &Spot, vault: VaultId) -> Result<Kek, OpenError> {
    let path = key_path(request, spot, vault)?;
    match read_key_file(&path) {
        Err(KeyFileError::Missing(_)) => {}
        found => return Ok(found?),
    }
    let kek = Kek::generate(&SystemRandom).map_err(no_randomness)?;
    create_key_file(&path, &kek)?;
    // Read back: a disk that lost it must be found out now, not when the vault can't be opened any more.
    Ok(read_key_file(&path)?)
}

fn build(spot: &Spot, vault: VaultId, kek: &Kek, now: Timestamp) -> Result<(), OpenError> {
    let (keyring, header) = Keyring::create(vault, kek, &SystemRandom).map_err(no_randomness)?;
    let account = Account {
        id: AccountId::new(SystemRandom.random_id().map_err(no_randomness)?),
        name: Name::parse(DEFAULT_ACCOUNT).map_err(|error| StoreError::Unavailable(error.to_string()))?,
        created_at: now,
    };
    let conn = connection::connect(&spot.draft(), &Patience::new()).map_err(StoreError::from)?;
    // A code read again rewrites the last page of the trail and no other, so half of SQLite's usual page is half of what is
    // written and summed for it; with a quarter there would be a new page for every sixth row.
    // A killed draft is thrown away, so it needs no journal; it is synced as a whole before it gets its name.
    let fast = "PRAGMA page_size=2048; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA secure_delete=ON; BEGIN IMMEDIATE;";
    conn.execute_batch(fast).map_err(StoreError::from)?;
    fill(&conn, &keyring, &header, &account)?;
    conn.execute_batch("COMMIT; PRAGMA journal_mode=WAL;").map_err(StoreError::from)?;
    conn.close().map_err(|(_, error)| StoreError::from(error))?;
    Ok(())
}

fn fill(conn: &Connection, keyring: &Keyring, header: &Header, account: &Account) -> Result<(), StoreError> {
    schema::create(conn)?;
    let tx = Tx::new(Db::new(conn, keyring));
    header::insert(&tx, header, account.created_at, account.id, schema::FORMAT)?;
    accounts::insert(&tx, account)?;
    trail::begin(&tx)?;
    tx.append(&AuditEntry {
        account: Some(account.id),
        ..AuditEntry::by(Actor::System, Action::VaultCreate, account.created_at)
    })?;
    trail::move_head(&tx)
}

fn no_randomness(error: NoRandomness) -> OpenError {
    OpenError::Store(StoreError::Unavailable(error.to_string()))
}
