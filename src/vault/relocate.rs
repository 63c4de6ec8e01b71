//! Moves a vault to another place: from a file to a server, or back.
//!
//! No process writes to the vault meanwhile. Its records, rows and keys are copied as they are, under no name that
//! opens them, and the copy is examined with the same source of the key. Then the old place is ended, durably and for
//! every process that has it open, and the new one gets its name. So two places never hand out the same steps, and a
//! move that is interrupted either has changed nothing, or is finished by the same command.

use std::path::{Path, PathBuf};

pub use super::copy::{Stage, Travel};
use super::{
    Vault,
    copy::{Cargo, size_of, transfer},
    open::{VaultRequest, open, open_unnamed},
    open_error::{OpenError, at},
};
use crate::{
    domain::{
        audit::{Action, Actor, AuditEntry},
        ids::VaultId,
        time::Timestamp,
    },
    random::SharedRandom,
    store::{self, Filling, OpenRequest},
};

/// The prefix of the mark of a place that a move fills.
const MARK: &str = "move-";

/// A finished move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocated {
    /// The vault's old location.
    pub from: PathBuf,
    /// The vault's new location.
    pub to: PathBuf,
    /// The number of its records.
    pub records: u64,
    /// The number of secrets among them, including deleted ones that can be restored.
    pub secrets: u64,
    /// The number of rows of its audit log.
    pub audit_rows: u64,
}

/// A move that is prepared, but has changed nothing yet.
pub struct Relocation {
    from: PathBuf,
    /// `None`: the old place is ended already, and only the new one's name is missing.
    vault: Option<Vault>,
    into: Filling,
    /// The request that opens the new place.
    request: VaultRequest,
    random: SharedRandom,
    records: u64,
    rows: u64,
}

/// Prepares a move of the request's vault to another address. Checks that the vault opens, and that nothing is at the
/// new place.
///
/// # Errors
/// [`OpenError`].
pub async fn relocation(
    request: &VaultRequest,
    to: &OpenRequest,
    random: SharedRandom,
) -> Result<Relocation, OpenError> {
    let there = OpenRequest { make: false, ..request.store.clone() };
    let here = &VaultRequest { store: there, ..request.clone() };
    let request = VaultRequest { store: OpenRequest { make: false, ..to.clone() }, ..request.clone() };
    let vault = match open(here, random.clone()).await {
        Err(OpenError::Store(store::OpenError::Moved { from, to })) => return begun(request, (from, to), random).await,
        vault => vault?,
    };
    let from = vault.status().store.location.clone();
    let looked = async {
        let into = store::vacant(&request.store, &mark(vault.status().vault)).await?;
        Ok::<_, OpenError>((into, size_of(&vault).await.map_err(at(&from))?))
    };
    match looked.await {
        Ok((into, (records, rows))) => {
            Ok(Relocation { from, vault: Some(vault), into, request, random, records, rows })
        }
        Err(cause) => {
            vault.close().await.map_err(at(&from))?;
            Err(cause)
        }
    }
}

/// Resumes a move whose old place is ended, and whose new one may lack its name.
async fn begun(
    request: VaultRequest,
    (from, to): (PathBuf, String),
    random: SharedRandom,
) -> Result<Relocation, OpenError> {
    match store::unfinished(&request.store, MARK).await? {
        Some(into) if into.location() == Path::new(&to) => {
            Ok(Relocation { from, vault: None, into, request, random, records: 0, rows: 0 })
        }
        Some(_) | None => Err(store::OpenError::Moved { from, to }.into()),
    }
}

/// The mark under which a place is filled.
fn mark(vault: VaultId) -> String {
    format!("{MARK}{vault}")
}

impl Relocation {
    /// The vault's current location.
    pub fn from(&self) -> &Path {
        &self.from
    }

    /// The vault's new location.
    pub fn to(&self) -> &Path {
        self.into.location()
    }

    /// The numbers of records and of rows of the audit log; `None`: they are at the new place already, and an earlier
    /// move is finished.
    pub const fn size(&self) -> Option<(u64, u64)> {
        if self.vault.is_some() { Some((self.records, self.rows)) } else { None }
    }

    /// Closes the vault without moving it.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn leave(self) -> Result<(), OpenError> {
        match self.vault {
            Some(vault) => vault.close().await.map_err(at(&self.from)),
            None => Ok(()),
        }
    }

    /// Carries out the move.
    ///
    /// # Errors
    /// [`OpenError`]: the vault is where it was, unless the error is [`OpenError::Halfway`].
    pub async fn carry_out(self, travel: &Travel, now: Timestamp) -> Result<Relocated, OpenError> {
        let Self { from, vault, mut into, request, random, .. } = self;
        let to = into.location().to_owned();
        let cargo = match vault {
            None => arrived(&mut into, &request, random.clone()).await?,
            Some(vault) => {
                let sent = send(&vault, &mut into, &request, (random.clone(), travel)).await;
                // This also lets other processes write again, if the old place is still the vault.
                let closed = vault.close().await.map_err(at(&from));
                match sent {
                    Ok(cargo) => cargo,
                    Err(cause @ OpenError::Halfway { .. }) => return Err(cause),
                    Err(cause) => {
                        into.abandon().await;
                        closed?;
                        return Err(cause);
                    }
                }
            }
        };
        travel.ends();
        into.publish().await.map_err(|cause| halfway(&to, cause.to_string()))?;
        let (records, secrets) = (cargo.records(), cargo.secrets());
        noted(&request, random, now).await?;
        Ok(Relocated { from, to, records, secrets, audit_rows: cargo.rows })
    }
}

fn halfway(to: &Path, what: String) -> OpenError {
    OpenError::Halfway { to: to.to_owned(), what }
}

/// Copies the vault while no other process writes to it, examines the copy, and ends the old place.
async fn send(
    vault: &Vault,
    into: &mut Filling,
    request: &VaultRequest,
    (random, travel): (SharedRandom, &Travel),
) -> Result<Cargo, OpenError> {
    let place = &vault.status().store.location;
    vault.store().hold().await.map_err(at(place))?;
    // Another process may have changed the keys before the hold.
    vault.header().await.map_err(at(place))?;
    let cargo = transfer(vault, into, request, (random, travel)).await?;
    travel.ends();
    into.keep();
    vault.store().retire(&into.location().display().to_string()).await.map_err(|cause| match cause {
        store::StoreError::Unknown(what) => halfway(into.location(), what),
        cause @ (store::StoreError::Unavailable(_) | store::StoreError::Damaged { .. }) => at(place)(cause),
    })?;
    Ok(cargo)
}

/// Examines a copy that an earlier move made, and returns its numbers.
async fn arrived(into: &mut Filling, request: &VaultRequest, random: SharedRandom) -> Result<Cargo, OpenError> {
    let copied = open_unnamed(request, into.store().await?, random).await?;
    let place = into.location();
    let looked = async {
        let (problems, report) = (copied.examine().await?.problems, copied.verify(&[]).await?);
        let cargo = Cargo::of(&copied, &report).await?;
        let finding = report.finding.map(|(_, finding)| format!("audit log: {finding}"));
        Ok((problems.into_iter().chain(finding).next(), cargo))
    };
    let looked = looked.await.map_err(at(place));
    copied.close().await.map_err(at(place))?;
    let (problem, cargo) = looked?;
    match problem {
        Some(what) => Err(store::OpenError::Damaged { path: place.to_owned(), what }.into()),
        None => Ok(cargo),
    }
}

/// Opens the vault at its new place by its address, and records the move in its audit log.
async fn noted(request: &VaultRequest, random: SharedRandom, now: Timestamp) -> Result<(), OpenError> {
    let vault = open(request, random).await?;
    let place = vault.status().store.location.clone();
    let entry = AuditEntry {
        account: Some(vault.status().default_account),
        ..AuditEntry::by(Actor::Person, Action::VaultMove, now)
    };
    let recorded = vault.record(vec![entry]).await.map_err(at(&place));
    vault.close().await.map_err(at(&place))?;
    recorded
}
