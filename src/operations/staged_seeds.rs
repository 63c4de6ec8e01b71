//! Seeds between the two steps of a page: typed by a person, and not added yet. They are in the memory of one process
//! alone, for minutes, and the page knows them by a random handle.

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
    /// Whether a task looks after them.
    watched: bool,
}

/// What the page calls a seed.
pub(super) type Handle = [u8; 16];

/// A checked seed, and what was repaired or is doubtful in what a person typed.
pub(super) struct StagedSeed {
    pub(super) secret: register_secret::Enrolment,
    pub(super) repaired: Vec<Repair>,
}

/// What a person typed or sent, checked: one seed, or those of a picture, of which they choose one.
struct Staged {
    /// Wiped on drop.
    seeds: Vec<(Handle, StagedSeed)>,
    /// Not of the wall clock, which may be set back.
    until: Instant,
}

impl StagedSeeds {
    /// Keeps the seeds of an enrolment in the place of its earlier ones. Returns whether the caller must call
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

    /// Looks at a seed of an enrolment, or gives it other names.
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

    /// Forgets the seeds of an enrolment that has ended.
    pub(super) fn forget(&self, enrolment: EnrolmentId) {
        self.lock().seeds.remove(&enrolment);
    }

    /// Forgets the seeds whose time is over. Returns whether there are others; if not, nobody needs to look after them.
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
