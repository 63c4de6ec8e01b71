//! Notices that another program wrote over the database while it is open, as `cp old.db vault.db` does. SQLite would not: it goes
//! on with the pages in its caches and in the log, and mixes them with those of the other file.
//!
//! With a write-ahead log, only a checkpoint writes to the database, and it says so in the log's index before it writes its
//! first page and after its last one. So a database that was written while those numbers are the same, and say that no
//! checkpoint is unfinished, was written by somebody else. (A checkpoint between the two looks hides it: they are a second apart, or
//! two durable commits.)

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use super::{files::Spot, open_file::OpenFile};
use crate::store::StoreError;

/// How long what the index says is relied on while the database was not written.
const KNOWN_FOR: Duration = Duration::from_secs(1);
/// Bytes of the index that are read: SQLite's `WalIndexHdr`, twice, and `WalCkptInfo`.
pub(super) const INDEX_BYTES: usize = 136;

/// When the database was last written, and what explains that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    time: Option<SystemTime>,
    copied: Copied,
    at: Instant,
}

/// How much of which log is copied into the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Copied {
    /// The log's salts, which change when it starts over.
    salts: [u8; 8],
    /// Its frames that are in the database, and those that a checkpoint began to copy.
    done: [u8; 4],
    begun: [u8; 4],
}

impl Written {
    /// Whether this must be looked at again, with the database written at a time.
    pub(super) fn is_due(known: Option<&Self>, time: Option<SystemTime>) -> bool {
        known.is_none_or(|known| known.time != time || known.at.elapsed() >= KNOWN_FOR)
    }

    /// Notes what a commit of this process has changed: one may begin the log anew, which would explain a later write.
    pub(super) fn note(known: &mut Option<Self>, file: &OpenFile) {
        if known.is_some_and(|known| Copied::of(file) != Some(known.copied)) {
            *known = Self::look(None, file).ok().flatten();
        }
    }

    /// Looks at the database.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: another program wrote over it.
    pub(super) fn look(known: Option<Self>, file: &OpenFile) -> Result<Option<Self>, StoreError> {
        // In this order: what the index says was copied by the first line is written by the second one.
        let Some(copied) = Copied::of(file) else { return Ok(None) };
        let time = modified(file.spot());
        if known.is_none_or(|known| known.copied != copied || known.time == time) {
            return Ok(Some(Self { time, copied, at: Instant::now() }));
        }
        if copied.done == copied.begun && Copied::of(file) == Some(copied) {
            return Err(file.lose());
        }
        // A checkpoint is at work, or was killed: the next commit looks again.
        Ok(known)
    }
}

impl Copied {
    fn of(file: &OpenFile) -> Option<Self> {
        let index = file.index()?;
        Some(Self { salts: part(&index, 32)?, done: part(&index, 96)?, begun: part(&index, 128)? })
    }
}

fn part<const N: usize>(index: &[u8; INDEX_BYTES], at: usize) -> Option<[u8; N]> {
    index.get(at..at + N)?.try_into().ok()
}

/// When the database was last written.
fn modified(spot: &Spot) -> Option<SystemTime> {
    fs::symlink_metadata(spot.file()).and_then(|facts| facts.modified()).ok()
}
