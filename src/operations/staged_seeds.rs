//! Seeds between the two steps of a page: typed by a person, and not added yet. They are in the memory of one process
//! alone, for minutes, and the page refers to them by a random handle.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::register_secret;
use crate::domain::{ids::EnrolmentId, limits::STAGED_SEEDS_MAX, otpauth::Repair};

/// The seeds of this process.
#[derive(Default)]
pub(super) struct StagedSeeds(Mutex<All>);

#[derive(Default)]
struct All {
    seeds: HashMap<EnrolmentId, Staged>,
    /// Whether a task removes them once they expire.
    watched: bool,
}

/// The handle by which the page refers to a seed.
pub(super) type Handle = [u8; 16];

/// A checked seed, and the repaired and doubtful parts of the text that a person typed.
pub(super) struct StagedSeed {
    pub(super) secret: register_secret::Enrolment,
    pub(super) repaired: Vec<Repair>,
}

/// The checked seeds that a person typed or sent: one, or those of a picture, of which they choose one.
struct Staged {
    /// Wiped on drop.
    seeds: Vec<(Handle, StagedSeed)>,
    /// When they expire; not by the wall clock, which may be set back.
    until: Instant,
}

impl StagedSeeds {
    /// Keeps the seeds of an enrolment, and replaces its earlier ones. Returns whether the caller must call
    /// `forget_old` from time to time; `None`: there is no room.
    pub(super) fn put(&self, enrolment: EnrolmentId, seeds: Vec<(Handle, StagedSeed)>, until: Instant) -> Option<bool> {
        let (mut all, now) = (self.lock(), Instant::now());
        all.seeds.retain(|id, staged| staged.until > now && *id != enrolment);
        if all.seeds.len() >= STAGED_SEEDS_MAX {
            return None;
        }
        all.seeds.insert(enrolment, Staged { seeds, until });
        Some(!std::mem::replace(&mut all.watched, true))
    }

    /// Calls `look` with a seed of an enrolment, which may rename it.
    pub(super) fn with<T>(
        &self,
        handle: &Handle,
        enrolment: EnrolmentId,
        look: impl FnOnce(&mut StagedSeed) -> T,
    ) -> Option<T> {
        let mut all = self.lock();
        let staged = all.seeds.get_mut(&enrolment).filter(|staged| staged.until > Instant::now())?;
        let mut seeds = staged.seeds.iter_mut();
        seeds.find(|(known, _)| known == handle).map(|(_, seed)| look(seed))
    }

    /// Removes the seeds of an enrolment that has ended.
    pub(super) fn forget(&self, enrolment: EnrolmentId) {
        self.lock().seeds.remove(&enrolment);
    }

    /// Removes the seeds that have expired. Returns whether there are others; if not, the task that calls this may end.
    pub(super) fn forget_old(&self) -> bool {
        let (mut all, now) = (self.lock(), Instant::now());
        all.seeds.retain(|_, staged| staged.until > now);
        all.watched = !all.seeds.is_empty();
        all.watched
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
