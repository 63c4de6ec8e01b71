//! Opens the vault of a command or a server, and notes what that made or moved.

use std::{path::PathBuf, sync::Arc};

use super::{
    Fatal, console_of,
    keys::{Asks, source_of},
};
use crate::{
    clock::{Clock as _, SystemClock},
    config::Config,
    random::{SharedRandom, SystemRandom},
    transport::cli::{self, Ending, Sources},
    vault::{self, OpenError, OpenRequest, Source, Vault, VaultRequest, VaultStatus, Writes},
};

/// How to open the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opening {
    /// Create it if it does not exist: for commands that store something.
    OrMade,
    /// Refuse if it does not exist: for commands that read.
    There,
    /// The same, but accept an older copy, as a person asked.
    Outdated,
    /// Put this backup in its place first, as a person asked.
    Restored(PathBuf),
}

/// Opens the vault by the configured source, for a host or a server.
///
/// # Errors
/// [`Fatal`].
pub(super) async fn open(config: &Config, asks: Asks, writes: Writes) -> Result<Vault, Fatal> {
    let source = source_of(config, &config.key_source, asks, &mut console_of(config)).await?;
    let opening = if config.is_on_a_server() { Opening::There } else { Opening::OrMade };
    Ok(open_as(config, source, opening, writes).await?.0)
}

/// Where the configured vault is, and how to open it.
pub(super) fn request(config: &Config, source: Arc<Source>, opening: &Opening, writes: Writes) -> VaultRequest {
    let store = OpenRequest { writes, make: *opening == Opening::OrMade, ..store_of(config) };
    VaultRequest { store, source, state_dir: config.state_dir.clone(), now: SystemClock.now() }
}

/// Where the configured vault is.
pub(super) fn store_of(config: &Config) -> OpenRequest {
    let (url, data_dir) = (config.store.clone(), config.data_dir.clone());
    OpenRequest { url, data_dir, writes: Writes::Inline, make: false }
}

/// Opens the vault, and returns what a restore replaced.
///
/// # Errors
/// [`OpenError`].
pub(super) async fn open_as(
    config: &Config,
    source: Arc<Source>,
    opening: Opening,
    writes: Writes,
) -> Result<(Vault, Option<vault::Restored>), OpenError> {
    let request = request(config, source, &opening, writes);
    let random: SharedRandom = Arc::new(SystemRandom);
    let (vault, restored) = match opening {
        Opening::OrMade | Opening::There => (vault::open(&request, random).await?, None),
        Opening::Outdated => (vault::accept_loss(&request, random).await?, None),
        Opening::Restored(backup) => {
            let (vault, restored) = vault::restore(&request, &backup, random, || SystemClock.now()).await?;
            (vault, Some(restored))
        }
    };
    let VaultStatus { made, moved, store, key_file, opened_by, .. } = vault.status();
    let place = store.location.display();
    if *made {
        console_of(config).note(&format!(
            "Made a vault: {place}\nIts key:      {}\nKeep a backup of both, apart from each other: without the key nobody can open \
             the vault. `countersign vault recovery` makes a second one, on paper.",
            key_file.as_ref().map_or_else(|| format!("from its source ({})", opened_by.as_str()), |file| file.display().to_string())
        ));
    }
    if let Some(copy) = moved {
        console_of(config).note(&format!(
            "Moved the vault to format {}: {place}\nA copy of what it was: {}\nRemove the copy once everything is as it should be.",
            store.format,
            copy.display()
        ));
    }
    Ok((vault, restored))
}

/// Repairs the vault, which may be too damaged to be opened.
///
/// # Errors
/// [`Fatal`].
pub(super) async fn repair(config: &Config, asked: &cli::Repair, sources: &Sources) -> Result<Ending, Fatal> {
    let mut console = console_of(config);
    let attempt = async |act| {
        let request = request(config, Arc::clone(&sources.opens), &Opening::There, Writes::Inline);
        let now = || SystemClock.now();
        let repaired = vault::repair(&request, asked.from.as_deref(), act, Arc::new(SystemRandom), now).await;
        repaired.inspect_err(|_| {
            console_of(config).note(
                "Nothing was changed. A vault that can't be repaired is replaced by a backup: `countersign vault restore BACKUP`.",
            );
        })
    };
    let plan = attempt(vault::Act::Plan).await?;
    if let Some(ending) = cli::ask_to_repair(&mut console, &plan, asked.agreed)? {
        return Ok(ending);
    }
    let done = attempt(vault::Act::Carry).await?;
    Ok(cli::repaired(&mut console, &done)?)
}
