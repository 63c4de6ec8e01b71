//! Seeds between the two steps of a page: typed by a person, and not added yet. They are in the memory of one process
//! alone, for minutes, and the page knows them by a random handle.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::register_secret;
use crate::domain::{ids::EnrolmentId, limits::STAGED_SEEDS_MAX, time::Timestamp};

/// The seeds of this process.
#[derive(Default)]
pub(super) struct StagedSeeds(Mutex<HashMap<Handle, Staged>>);

/// What the page calls a seed.
pub(super) type Handle = [u8; 16];

/// A seed that a person typed, checked.
struct Staged {
    enrolment: EnrolmentId,
    /// Wiped on drop.
    secret: register_secret::Enrolment,
    until: Timestamp,
}

impl StagedSeeds {
    /// Keeps a seed; it replaces the enrolment's earlier one. `false`: there is no room.
    pub(super) fn put(
        &self,
        handle: Handle,
        enrolment: EnrolmentId,
        secret: register_secret::Enrolment,
        (now, until): (Timestamp, Timestamp),
    ) -> bool {
        let mut seeds = self.lock();
        seeds.retain(|_, staged| staged.until > now && staged.enrolment != enrolment);
        if seeds.len() >= STAGED_SEEDS_MAX {
            return false;
        }
        seeds.insert(handle, Staged { enrolment, secret, until });
        true
    }

    /// Looks at the seed of an enrolment.
    pub(super) fn with<T>(
        &self,
        handle: &Handle,
        enrolment: EnrolmentId,
        look: impl FnOnce(&register_secret::Enrolment) -> T,
    ) -> Option<T> {
        let seeds = self.lock();
        seeds.get(handle).filter(|staged| staged.enrolment == enrolment).map(|staged| look(&staged.secret))
    }

    /// Forgets the seed of an enrolment that has ended.
    pub(super) fn forget(&self, enrolment: EnrolmentId) {
        self.lock().retain(|_, staged| staged.enrolment != enrolment);
    }

    /// Forgets the seeds whose time is over.
    pub(super) fn forget_old(&self, now: Timestamp) {
        self.lock().retain(|_, staged| staged.until > now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Handle, Staged>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
