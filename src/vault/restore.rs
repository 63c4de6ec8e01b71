//! Puts a backup in the place of a vault. The replaced vault is kept aside. The backup does not know what was done
//! after it, so steps of the next two minutes count as used, and API keys are off until a person enables them.

use std::path::{Path, PathBuf};

use super::{
    KeptKey, Vault, VaultKey, Versioned,
    copy::{Travel, transfer},
    key::KeyCheck,
    open::{VaultRequest, close_steps, forget_known, open_as_it_is, open_as_known, open_copy},
    open_error::{OpenError, at},
};
use crate::{
    domain::{api_key::KeyId, text::Name, time::Timestamp},
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
    close_steps(copy, now()).await?;
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
    let (live, ways) = checked(copy).await.map_err(at(&path))?;
    let (mut revoked_since, mut opens_again_by, mut is_unread) = (Vec::new(), Vec::new(), false);
    match keys_of_replaced(request, random).await {
        Ok((known, known_ways)) => {
            revoked_since = live.into_iter().filter(|key| !known.iter().any(|known| is_same(known, key))).collect();
            let removed = |way: &(VaultKey, KeyCheck)| !known_ways.iter().any(|(_, known)| *known == way.1);
            opens_again_by = ways.into_iter().filter(removed).map(|(key, _)| key).collect();
        }
        Err(OpenError::Store(store::OpenError::NoVault(_))) => {}
        Err(cause) => {
            tracing::info!(%cause, "the vault that is replaced can't be read");
            is_unread = true;
        }
    }
    let revoked_since =
        revoked_since.iter().map(|kept: &Versioned<KeptKey>| (kept.key.id, kept.key.name.clone())).collect();
    let cleared = tokio::task::spawn_blocking(|| incoming.clear_place()).await;
    let cleared = cleared.map_err(|_| at(&path)(given_up()))??;
    close_steps(copy, now()).await?;
    Ok((cleared, Restored { aside: None, revoked_since, is_unread, opens_again_by }))
}

/// The API keys, and the keys that open the vault.
type Keys = (Vec<Versioned<KeptKey>>, Vec<(VaultKey, KeyCheck)>);

/// Checks a backup, and returns its live keys.
async fn checked(copy: &Vault) -> Result<Keys, StoreError> {
    if let Some(what) = copy.examine().await?.problems.into_iter().next() {
        return Err(StoreError::Damaged { what });
    }
    if let Some((_, finding)) = copy.verify(&[]).await?.finding {
        return Err(StoreError::Damaged { what: format!("audit log: {finding}") });
    }
    live_keys(copy).await
}

async fn live_keys(vault: &Vault) -> Result<Keys, StoreError> {
    let mut keys = vault.every_key().await?;
    keys.retain(|kept| kept.key.revoked_at.is_none());
    Ok((keys, vault.vault_keys_with_checks().await?))
}

/// The live keys of the vault that is to be replaced. If there is no such vault, every key of the backup is as it
/// should be.
async fn keys_of_replaced(request: &VaultRequest, random: SharedRandom) -> Result<Keys, OpenError> {
    let store = OpenRequest { make: false, ..request.store.clone() };
    let vault = open_as_it_is(&VaultRequest { store, state_dir: None, ..request.clone() }, random).await?;
    let path = vault.status().store.location.clone();
    let keys = live_keys(&vault).await.map_err(at(&path));
    vault.close().await.map_err(at(&path))?;
    keys
}

fn is_same(known: &Versioned<KeptKey>, key: &Versioned<KeptKey>) -> bool {
    known.key.id == key.key.id
}
