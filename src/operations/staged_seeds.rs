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
pub(super) struct StagedSeeds(Mutex<HashMap<EnrolmentId, Staged>>);

/// What the page calls a seed.
pub(super) type Handle = [u8; 16];

/// What a person typed or sent, checked: one seed, or those of a picture, of which they choose one.
struct Staged {
    /// Wiped on drop.
    seeds: Vec<(Handle, register_secret::Enrolment)>,
    until: Timestamp,
}

impl StagedSeeds {
    /// Keeps the seeds of an enrolment in the place of its earlier ones. `false`: there is no room.
    pub(super) fn put(
        &self,
        enrolment: EnrolmentId,
        seeds: Vec<(Handle, register_secret::Enrolment)>,
        (now, until): (Timestamp, Timestamp),
    ) -> bool {
        let mut all = self.lock();
        all.retain(|id, staged| staged.until > now && *id != enrolment);
        if all.len() >= STAGED_SEEDS_MAX {
            return false;
        }
        all.insert(enrolment, Staged { seeds, until });
        true
    }

    /// Looks at a seed of an enrolment, or gives it other names.
    pub(super) fn with<T>(
        &self,
        handle: &Handle,
        enrolment: EnrolmentId,
        look: impl FnOnce(&mut register_secret::Enrolment) -> T,
    ) -> Option<T> {
        let mut all = self.lock();
        let mut seeds = all.get_mut(&enrolment)?.seeds.iter_mut();
        seeds.find(|(known, _)| known == handle).map(|(_, secret)| look(secret))
    }

    /// Forgets the seeds of an enrolment that has ended.
    pub(super) fn forget(&self, enrolment: EnrolmentId) {
        self.lock().remove(&enrolment);
    }

    /// Forgets the seeds whose time is over.
    pub(super) fn forget_old(&self, now: Timestamp) {
        self.lock().retain(|_, staged| staged.until > now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EnrolmentId, Staged>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
