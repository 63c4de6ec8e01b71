//! Repairs a vault on a server: it is copied as it is to a file of this machine, repaired there as any file is, and
//! takes the place of the old content in one transaction of the server. No process writes meanwhile, and readers see
//! either the old content or the new.

use std::fs;

use super::{
    copy::{Travel, copy_as_it_is},
    open::{VaultRequest, open_as_it_is, open_copy, over_own_copy},
    open_error::{OpenError, at},
    repair::{self, Act, Mended, RepairRequest, Repaired, problems_of},
};
use crate::{
    domain::time::Timestamp,
    random::SharedRandom,
    store::{self, Filling, Snapshot, StoreError},
};

/// Builds the vault anew, and returns what that repaired. The header must be sound: without it sound records can't be
/// told from damaged ones.
pub(super) async fn built(
    request: &VaultRequest,
    wanted: &RepairRequest<'_>,
    random: SharedRandom,
    now: impl Fn() -> Timestamp,
) -> Result<Repaired, OpenError> {
    let into = match wanted.act {
        Act::Plan => None,
        Act::Carry => Some(store::replacing(&request.store).await?),
    };
    let copied = copied(request, random.clone()).await;
    let (file, into) = match (copied, into) {
        (Ok(file), into) => (file, into),
        (Err(cause), into) => return Err(given_up(into, cause).await),
    };
    let here = VaultRequest { store: request.store.at_file(file.path())?, ..request.clone() };
    let done = match repair::built(&here, wanted, random.clone(), now).await {
        Ok(done) => done,
        Err(cause) => return Err(given_up(into, cause).await),
    };
    let mut done = Repaired { mended: renamed(done.mended), ..done };
    let Some(into) = into else { return Ok(done) };
    if let Err(cause) = replaced(&here, into, random.clone()).await {
        if let Some(copy) = done.copy.filter(|_| !is_unknown(&cause)) {
            // The vault is unchanged, so its copy is not needed. A copy that can't be removed is sealed like the vault.
            let _ = fs::remove_file(copy);
        }
        return Err(cause);
    }
    done.left = problems_of(request, wanted.state_dir, random).await?;
    Ok(done)
}

/// Copies the vault to a file, with all its damage.
async fn copied(request: &VaultRequest, random: SharedRandom) -> Result<Snapshot, OpenError> {
    let vault = open_as_it_is(request, random).await?;
    let place = vault.status().store.location.clone();
    let copied = async {
        let still = over_own_copy(&vault, request.store.clone(), store::still(&request.store).await?).await?;
        let mut into = store::workpiece(&request.store).await?;
        let copied = copy_as_it_is(&still, &mut into, &Travel::default()).await;
        still.close().await.map_err(at(&place))?;
        copied?;
        let (file, facts) = into.store().await?;
        file.close().await.map_err(at(&facts.location))?;
        Ok(into.into_unlocked()?)
    };
    let copied = copied.await;
    vault.close().await.map_err(at(&place))?;
    copied
}

/// Puts the vault that was built into the place of the old content.
async fn replaced(built: &VaultRequest, mut into: Filling, random: SharedRandom) -> Result<(), OpenError> {
    let vault = open_copy(built, random).await?;
    let place = vault.status().store.location.clone();
    let copied = copy_as_it_is(&vault, &mut into, &Travel::default()).await;
    let closed = vault.close().await.map_err(at(&place));
    match copied {
        Ok(_) => into.publish().await?,
        Err(cause) => return Err(given_up(Some(into), cause.into()).await),
    }
    closed
}

/// Lets other processes write again, and returns the error.
async fn given_up(into: Option<Filling>, cause: OpenError) -> OpenError {
    if let Some(into) = into {
        into.abandon().await;
    }
    cause
}

const fn is_unknown(cause: &OpenError) -> bool {
    matches!(cause, OpenError::Store(store::OpenError::Store(StoreError::Unknown(_))))
}

/// Names the vault's tables in a report instead of its file.
fn renamed(mended: Vec<Mended>) -> Vec<Mended> {
    let named = |one: Mended| {
        if one.what == repair::FILE { Mended { what: "the vault's tables".to_owned(), ..one } } else { one }
    };
    mended.into_iter().map(named).collect()
}
