//! Why a vault can't be opened.

use std::path::{Path, PathBuf};

use super::{root::UnlockError, slots::Ways, sources::KeyError};
use crate::{
    domain::sensitive::without_seeds,
    random::NoRandomness,
    store::{self, StoreError},
};

/// Why a vault can't be opened. Nothing was changed, except where the error says so. Exit code 78. Paths are shown
/// without parts that look like a seed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An error of the store.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The key is inside the vault's folder, so a copy of that folder would include the key.
    #[error(transparent)]
    KeyBesideVault(KeyError),
    /// The source gives no key.
    #[error("{source}{ways}")]
    NoKey {
        /// The error of the source.
        source: KeyError,
        /// The kinds of sources that open the vault.
        ways: Ways,
    },
    /// The key is not this vault's.
    #[error("{source}; {tried}. Name the right one with --key-source, --key-file or COUNTERSIGN_KEY_FILE{ways}")]
    WrongKey {
        /// A description of the key that was tried.
        tried: String,
        /// Why it does not open the vault.
        source: UnlockError,
        /// The kinds of sources that open the vault.
        ways: Ways,
    },
    /// The vault is older than the one that was last open here.
    #[error(
        "{} is older than the vault that was last open here{}; steps that it would give may have been given, and keys that it \
         accepts may have been revoked. Put the right vault back, or go on with this one: run `countersign vault accept-loss`",
        without_seeds(.path), missing(*.rows)
    )]
    Older {
        /// The vault's location.
        path: PathBuf,
        /// The number of missing rows of its audit log.
        rows: u64,
    },
    /// The vault was copied to another place, and it is unknown whether it has its name there.
    #[error(
        "the vault was copied to {}, but this was interrupted at the last step ({what}): run the same command again, and it is \
         finished, or done again from the beginning",
        without_seeds(.to)
    )]
    Halfway {
        /// The new place.
        to: PathBuf,
        /// The error of the last step.
        what: String,
    },
    /// A backup has the place of the vault, and could not be opened there.
    #[error(
        "the vault was restored, and is {} now{}; its API keys are off. But it could not be opened there to note that as what is \
         known of it: {cause}. See to that; the next command that opens the vault notes it",
        without_seeds(.path), kept_as(.aside.as_deref())
    )]
    RestoredUnopened {
        /// The vault's location.
        path: PathBuf,
        /// The location of the vault that it replaced.
        aside: Option<PathBuf>,
        /// The error of opening it.
        cause: Box<Self>,
    },
    /// The operating system gave no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

fn kept_as(aside: Option<&Path>) -> String {
    aside.map_or_else(String::new, |aside| format!("; what was there before is kept as {}", without_seeds(aside)))
}

fn missing(rows: u64) -> String {
    match rows {
        0 => String::new(),
        1 => ": 1 row of its audit log is missing".to_owned(),
        _ => format!(": {rows} rows of its audit log are missing"),
    }
}

/// The error of a source.
pub(super) fn no_key(source: KeyError, ways: Ways) -> OpenError {
    match source {
        KeyError::BesideVault(_) => OpenError::KeyBesideVault(source),
        KeyError::Folder(cause) => OpenError::Store(cause),
        KeyError::NoRandomness(cause) => OpenError::NoRandomness(cause),
        KeyError::File(_)
        | KeyError::Keyring(_)
        | KeyError::Credential(_)
        | KeyError::Env(_)
        | KeyError::Command { .. }
        | KeyError::NoFile(_)
        | KeyError::Passphrase(_)
        | KeyError::Recovery(_)
        | KeyError::Slot
        | KeyError::Wrong
        | KeyError::NoPerson => OpenError::NoKey { source, ways },
    }
}

/// Adds the store's path to its error.
pub(super) fn at(path: &Path) -> impl FnOnce(StoreError) -> OpenError {
    let path = path.to_owned();
    move |error| {
        OpenError::Store(match error {
            StoreError::Damaged { what } => store::OpenError::Damaged { path, what },
            StoreError::Unavailable(what) => store::OpenError::unusable(path, what),
            StoreError::Unknown(_) => error.into(),
        })
    }
}
