//! Why a vault can't be opened.

use std::path::{Path, PathBuf};

use super::{open::FLOOR, root::UnlockError, slots::Ways, sources::KeyError};
use crate::{
    domain::{sensitive::without_seeds, time::Timestamp},
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
        "{} is older than the vault that was last open here{}; it may give codes of {} a second time, and accept keys that were \
         revoked. Put the right vault back, or go on with this one: run `countersign vault accept-loss`",
        without_seeds(.path), missing(*.ends_with, *.seen), steps_at_stake(*.seen_at)
    )]
    Older {
        /// The vault's location.
        path: PathBuf,
        /// The number of the last row of its audit log.
        ends_with: u64,
        /// The number of the last row that was written here.
        seen: u64,
        /// When that row was written, if that is known.
        seen_at: Option<Timestamp>,
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

fn missing(ends_with: u64, seen: u64) -> String {
    match seen.saturating_sub(ends_with) {
        0 => String::new(),
        1 => format!(": 1 row of its audit log is missing (row {seen})"),
        rows => format!(": {rows} rows of its audit log are missing (rows {} to {seen})", ends_with.saturating_add(1)),
    }
}

/// The steps that may have been given since: a step can be reserved [`FLOOR`] ahead.
fn steps_at_stake(seen_at: Option<Timestamp>) -> String {
    seen_at.map_or_else(
        || "steps that were given since".to_owned(),
        |seen_at| format!("steps up to at least {}", Timestamp::from_seconds(seen_at.plus(FLOOR).seconds())),
    )
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
