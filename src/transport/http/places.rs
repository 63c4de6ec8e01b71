//! Places: a limit of simultaneous items of a kind, in total and for each caller.
//!
//! Checking for a free place and taking it is one step under one lock, so the limit holds for any number of callers at
//! once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::transport::owner::Owner;

/// The places of one kind.
pub(super) struct Places {
    most: usize,
    most_each: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    each: HashMap<Owner, usize>,
}

/// One place, released on drop.
pub(super) struct Place {
    places: Arc<Places>,
    owner: Owner,
}

impl Places {
    pub(super) fn new(most: usize, most_each: usize) -> Arc<Self> {
        Arc::new(Self { most, most_each, taken: Mutex::default() })
    }

    /// Takes a place for a caller; `None` if the total or the caller's share is used up.
    pub(super) fn take(self: &Arc<Self>, owner: Owner) -> Option<Place> {
        let mut taken = self.taken();
        let mine = taken.each.get(&owner).copied().unwrap_or_default();
        if taken.all >= self.most || mine >= self.most_each {
            return None;
        }
        taken.all += 1;
        taken.each.insert(owner, mine + 1);
        Some(Place { places: Arc::clone(self), owner })
    }

    /// The number of places taken.
    pub(super) fn count(&self) -> usize {
        self.taken().all
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The caller that holds it.
    pub(super) const fn owner(&self) -> Owner {
        self.owner
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(mine) = taken.each.get_mut(&self.owner) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                taken.each.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        ids::{AccountId, SeatId},
        principal::Principal,
        scope::ScopeSet,
    };

    fn owner(seat: u128) -> Owner {
        let account = AccountId::new(Uuid::from_u128(1));
        Owner::of(&Principal::stdio(account, ScopeSet::ALL, Some(SeatId::new(Uuid::from_u128(seat)))))
    }

    #[test]
    fn each_caller_gets_its_share_and_all_together_no_more_than_there_are() {
        let places = Places::new(3, 2);

        let mine: Vec<_> = (0..4).filter_map(|_| places.take(owner(1))).collect();
        let others: Vec<_> = (2..9).filter_map(|seat| places.take(owner(seat))).collect();

        assert_eq!((mine.len(), others.len(), places.count()), (2, 1, 3));
        drop((mine, others));
        assert_eq!((places.count(), places.taken().each.len()), (0, 0), "nothing is remembered of who has left");
    }

    #[test]
    fn many_at_once_get_no_more_than_there_are() {
        let places = Places::new(100, 16);
        let begin = std::sync::Barrier::new(8);

        let taken: Vec<Place> = thread::scope(|scope| {
            let takers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        begin.wait();
                        (0..50).filter_map(|_| places.take(owner(1))).collect::<Vec<_>>()
                    })
                })
                .collect();
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
        });

        assert_eq!((taken.len(), places.count()), (16, 16));
    }
}
