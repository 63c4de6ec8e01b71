//! What the writing connection has read, checked, and nobody has changed since.
//!
//! Several processes share a vault, so nothing is remembered on trust: SQLite has a number that is another one as soon
//! as anybody else has committed, and a transaction that finds another number begins with an empty memory. Nobody else
//! can write while it is open, and what is written through it is forgotten or brought up to date. A transaction that
//! does not happen takes its memory with it. Seals stay closed in here.

use std::{cell::OnceCell, collections::HashMap};

use super::secrets::Kept;
use crate::domain::{audit::ChainHead, ids::SecretId, secret::CodeTerms};

/// Secrets that are remembered: less than half a kilobyte each.
const SECRETS: usize = 256;

/// A connection's memory.
#[derive(Default)]
pub(super) struct Memory {
    /// SQLite's number of the contents that this is about.
    version: i64,
    /// The last row of the trail.
    pub(super) tail: Option<ChainHead>,
    /// Live secrets. Boxed: they go in and out for every call.
    secrets: HashMap<SecretId, Box<Known>>,
}

/// A secret's row, and what a decision has found out about it.
pub(super) struct Known {
    pub(super) kept: Kept,
    pub(super) terms: OnceCell<CodeTerms>,
}

impl Memory {
    /// What is left of it if the contents have this number now.
    pub(super) fn kept_at(self, version: i64) -> Self {
        if self.version == version { self } else { Self { version, ..Self::default() } }
    }

    /// Whether somebody else has committed, if the contents have this number now and it is known what they had before.
    pub(super) const fn was_changed(&self, version: i64) -> bool {
        self.version != 0 && self.version != version
    }

    /// Takes a secret out: whoever does so puts it back as it is then.
    pub(super) fn take(&mut self, id: SecretId) -> Option<Box<Known>> {
        self.secrets.remove(&id)
    }

    pub(super) fn put(&mut self, known: Box<Known>) {
        if self.secrets.len() >= SECRETS {
            self.secrets.clear();
        }
        self.secrets.insert(known.kept.secret.id, known);
    }
}

impl From<Kept> for Known {
    fn from(kept: Kept) -> Self {
        Self { kept, terms: OnceCell::new() }
    }
}
