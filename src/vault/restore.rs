//! Puts a backup in the place of a vault. The replaced vault is kept aside. The backup does not know what was done
//! after it, so steps of the next two minutes count as used, and API keys are off until a person enables them.

use std::path::{Path, PathBuf};

use super::{
    KeptKey, Vault, VaultKey, Versioned,
    copy::{Travel, transfer},
    key::KeyCheck,
    ledger::{end_of, is_kept, row_from},
    open::{VaultRequest, close_steps, forget_known, open_as_it_is, open_as_known, open_copy},
    open_error::{OpenError, at},
};
use crate::{
    domain::{api_key::KeyId, audit::ChainHead, ids::VaultId, text::Name, time::Timestamp},
    random::SharedRandom,
    store::{self, Cleared, Incoming, OpenRequest, Placed, StoreError},
};

/// The result of a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Where the replaced vault is kept; `None`: there was none.
    pub aside: Option<PathBuf>,
    /// API keys of the backup that the replaced vault had revoked or removed, if that could be read.
    pub revoked_since: Vec<(KeyId, Name)>,
    /// Whether the replaced vault could not be read, so that it is unknown which keys it had revoked or removed.
    pub is_unread: bool,
    /// The rows of the audit log that the replaced vault had and the backup does not: the first and the last number, and
    /// the time of the last.
    pub lost: Option<(u64, u64, Timestamp)>,
    /// Whether the replaced vault was another one, so that nothing can be said of what was done since the backup.
    pub is_other: bool,
    /// Keys that open the backup and did not open the replaced vault, if that could be read: they had been removed.
    pub opens_again_by: Vec<VaultKey>,
}

/// Restores a vault from a backup, and opens it. The backup's key must be there. `now` is called once the old vault is
/// out of the way: until then other processes may reserve steps from it.
///
/// # Errors
/// [`OpenError`]: the backup can't be read, is damaged, or its key is not there; then the vault is as it was.
/// [`OpenError::RestoredUnopened`]: the backup is in its place.
pub async fn restore(
    request: &VaultRequest,
    backup: &Path,
    random: SharedRandom,
    now: impl Fn() -> Timestamp,
) -> Result<(Vault, Restored), OpenError> {
    let incoming = store::incoming(&request.store, backup, request.now).await?;
    let path = incoming.path().to_owned();
    let store = request.store.at_file(&path)?;
    let copy = open_copy(&VaultRequest { store, state_dir: None, ..request.clone() }, random.clone()).await?;
    if store::folder_of(&request.store).is_none() {
        let arrived = send(request, &copy, random.clone(), now).await;
        copy.close().await.map_err(at(&path))?;
        arrived?;
        return Ok((open_as_known(request, random).await?, Restored::default()));
    }
    let prepared = prepared(request, incoming, &copy, random.clone(), now).await;
    let closed = copy.close().await.map_err(at(&path));
    let (cleared, restored) = prepared?;
    closed?;
    // After a crash, whichever of the two vaults has the name opens: a person has decided which it is to be.
    forget_known(&copy, request)?;
    let placed = tokio::task::spawn_blocking(|| cleared.take_place()).await;
    let Placed { file, aside, synced } = placed.map_err(|_| at(&path)(given_up()))??;
    let opened = match synced {
        Ok(()) => open_as_known(request, random).await,
        Err(cause) => Err(cause.into()),
    };
    match opened {
        Ok(vault) => Ok((vault, Restored { aside, ..restored })),
        Err(cause) => Err(OpenError::RestoredUnopened { path: file, aside, cause: Box::new(cause) }),
    }
}

/// Copies a backup to a server where no vault is yet. Nothing opens it before it is complete and examined.
async fn send(
    request: &VaultRequest,
    copy: &Vault,
    random: SharedRandom,
    now: impl Fn() -> Timestamp,
) -> Result<(), OpenError> {
    let mut into = store::vacant(&request.store, &format!("restore-{}", copy.status().vault)).await?;
    close_steps(copy, now(), &[]).await?;
    match transfer(copy, &mut into, request, (random, &Travel::default())).await {
        Ok(_) => Ok(into.publish().await?),
        Err(cause) => {
            into.abandon().await;
            Err(cause)
        }
    }
}

fn given_up() -> StoreError {
    StoreError::Unavailable("it was given up".to_owned())
}

/// Clears the place for a checked copy, and only then closes the copy's steps: so the vault that has the name is always
/// one from which other processes reserve no steps, or one in which those steps count as used.
async fn prepared(
    request: &VaultRequest,
    incoming: Incoming,
    copy: &Vault,
    random: SharedRandom,
    now: impl Fn() -> Timestamp,
) -> Result<(Cleared, Restored), OpenError> {
    let path = incoming.path().to_owned();
    let Known { keys: mut live, ways, .. } = checked(copy).await.map_err(at(&path))?;
    live.retain(|kept| kept.key.revoked_at.is_none());
    let (mut restored, mut again) = (Restored::default(), Vec::new());
    match known_to_replaced(request, random, copy).await {
        Ok((replaced, _)) if replaced.vault != copy.status().vault => restored.is_other = true,
        Ok((replaced, lost)) => {
            restored.lost = lost;
            let found = |key: &Key| replaced.keys.iter().find(|known| known.key.id == key.key.id);
            live.retain(|key| found(key).is_none_or(|known| known.key.revoked_at.is_some()));
            again = live.iter().filter_map(|key| Some((key.key.id, found(key)?.key.revoked_at?))).collect();
            restored.revoked_since = live.iter().map(|kept| (kept.key.id, kept.key.name.clone())).collect();
            let removed = |way: &(VaultKey, KeyCheck)| !replaced.ways.iter().any(|(_, known)| *known == way.1);
            restored.opens_again_by = ways.into_iter().filter(removed).map(|(key, _)| key).collect();
        }
        Err(OpenError::Store(store::OpenError::NoVault(_))) => {}
        Err(cause) => {
            tracing::info!(%cause, "the vault that is replaced can't be read");
            restored.is_unread = true;
        }
    }
    let cleared = tokio::task::spawn_blocking(|| incoming.clear_place()).await;
    let cleared = cleared.map_err(|_| at(&path)(given_up()))??;
    // A key that was revoked stays so, whatever is restored after this.
    close_steps(copy, now(), &again).await?;
    Ok((cleared, restored))
}

type Key = Versioned<KeptKey>;

/// What a vault knows that a restore compares.
struct Known {
    vault: VaultId,
    keys: Vec<Key>,
    /// The keys that open the vault.
    ways: Vec<(VaultKey, KeyCheck)>,
}

/// The first and the last number of rows, and the time of the last.
type Rows = (u64, u64, Timestamp);

/// Checks a backup.
async fn checked(copy: &Vault) -> Result<Known, StoreError> {
    if let Some(what) = copy.examine().await?.problems.into_iter().next() {
        return Err(StoreError::Damaged { what });
    }
    if let Some((_, finding)) = copy.verify(&[]).await?.finding {
        return Err(StoreError::Damaged { what: format!("audit log: {finding}") });
    }
    known_to(copy).await
}

async fn known_to(vault: &Vault) -> Result<Known, StoreError> {
    Ok(Known {
        vault: vault.status().vault,
        keys: vault.every_key().await?,
        ways: vault.vault_keys_with_checks().await?,
    })
}

/// The rows of the audit log that a vault has and a copy of it does not: those after the last one that both have. A vault
/// in a file has one chain.
async fn lost_rows(vault: &Vault, copy: &Vault) -> Result<Option<Rows>, StoreError> {
    let end = end_of(vault.store(), vault.keyring(), 0).await?;
    let in_copy = async |head: &ChainHead| is_kept(copy.store(), copy.keyring(), head).await;
    if in_copy(&end.head()).await? {
        return Ok(None);
    }
    let (mut both, mut last) = (0, end.tail.seq.saturating_sub(1));
    while both < last {
        let middle = last - (last - both) / 2;
        let row = row_from(vault.store(), 0, middle).await?;
        let head = row.map(|row| ChainHead { chain: 0, seq: row.seq, mac: row.mac });
        // A fence stands for the rows before it, too.
        match head.filter(|head| head.seq <= last) {
            Some(head) if in_copy(&head).await? => both = head.seq,
            _ => last = middle - 1,
        }
    }
    Ok(Some((both.saturating_add(1), end.tail.seq, end.at)))
}

/// Reads the vault that is to be replaced. If there is no such vault, every key of the backup is as it should be.
async fn known_to_replaced(
    request: &VaultRequest,
    random: SharedRandom,
    copy: &Vault,
) -> Result<(Known, Option<Rows>), OpenError> {
    let store = OpenRequest { make: false, ..request.store.clone() };
    let vault = open_as_it_is(&VaultRequest { store, state_dir: None, ..request.clone() }, random).await?;
    let path = vault.status().store.location.clone();
    let known = async { Ok((known_to(&vault).await?, lost_rows(&vault, copy).await?)) }.await.map_err(at(&path));
    vault.close().await.map_err(at(&path))?;
    known
}
