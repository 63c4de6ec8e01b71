//! Waiting for a code: how many may, how they hear of it, and how a step is given back when they stop.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{Refusal, Service};
use crate::domain::{
    audit::Actor,
    limits::{WAITERS_PER_KEY_MAX, WAITERS_PER_PROCESS_MAX, WAITERS_STDIO_MAX},
    time::Timestamp,
};

/// What hears that a call is still waiting. A call is cancelled by dropping its future.
#[async_trait]
pub trait Patience: Send + Sync {
    /// Called once a second while a call waits.
    async fn waiting(&self, waited: Duration, total: Duration);

    /// Whether anybody listens. If not, a waiter sleeps through.
    fn listens(&self) -> bool {
        true
    }
}

/// Nobody listens.
#[async_trait]
impl Patience for () {
    async fn waiting(&self, _waited: Duration, _total: Duration) {}

    fn listens(&self) -> bool {
        false
    }
}

/// How long those who wait, and steps that are given back, may take to end when a process does.
const SETTLE_MAX: Duration = Duration::from_secs(1);

/// Who waits in this process.
#[derive(Default)]
pub(super) struct Waiters {
    places: Arc<Mutex<HashMap<Actor, usize>>>,
    /// Waiting calls, and the errands they leave behind when they are dropped.
    unfinished: TaskTracker,
    /// Told when the process ends: nobody waits from then on.
    stop: CancellationToken,
}

/// A place among the waiters, given up on drop.
pub(super) struct WaitingPlace {
    places: Arc<Mutex<HashMap<Actor, usize>>>,
    actor: Actor,
    _unfinished: TaskTrackerToken,
}

impl Waiters {
    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.places.lock().map_or(0, |places| places.values().sum())
    }

    /// Takes a place; `None` if all are taken.
    pub(super) fn enter(&self, actor: Actor) -> Option<WaitingPlace> {
        let mut places = self.places.lock().ok()?;
        let most = match actor {
            Actor::Stdio => WAITERS_STDIO_MAX,
            Actor::Person | Actor::Key(_) | Actor::Login | Actor::System | Actor::Unknown => WAITERS_PER_KEY_MAX,
        };
        let all: usize = places.values().sum();
        let mine = places.get(&actor).copied().unwrap_or_default();
        if all >= WAITERS_PER_PROCESS_MAX || mine >= most {
            return None;
        }
        places.insert(actor, mine + 1);
        Some(WaitingPlace { places: Arc::clone(&self.places), actor, _unfinished: self.unfinished.token() })
    }

    /// Does something that a dropped call left to be done, if there is still a runtime to do it.
    pub(super) fn leave_behind(&self, errand: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            self.unfinished.spawn_on(errand, &runtime);
        }
    }

    /// Waits until nobody waits and every errand is done, but not for long.
    pub(super) async fn settle(&self) {
        self.unfinished.close();
        // Who is still waiting then is cut off with the process; its step lapses unused.
        let _ = tokio::time::timeout(SETTLE_MAX, self.unfinished.wait()).await;
    }
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        let Ok(mut places) = self.places.lock() else { return };
        if let Some(mine) = places.get_mut(&self.actor) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                places.remove(&self.actor);
            }
        }
    }
}

impl Service {
    /// Ends every wait, now and from now on: the caller hears that the process ends, and a step it holds is given back.
    /// Returns once nobody waits.
    pub async fn stop_waiting(&self) {
        self.parts.waiters.stop.cancel();
        self.parts.waiters.settle().await;
    }

    /// Waits until a moment of the wall clock, but not longer than it is away now, telling `patience` once a second.
    ///
    /// # Errors
    /// [`Refusal::Stopping`] if the process ends first.
    pub(super) async fn wait_until(&self, moment: Timestamp, patience: &dyn Patience) -> Result<(), Refusal> {
        let stop = &self.parts.waiters.stop;
        stop.run_until_cancelled(self.wait(moment, patience)).await.ok_or(Refusal::Stopping)
    }

    async fn wait(&self, moment: Timestamp, patience: &dyn Patience) {
        let clock = &self.parts.clock;
        let total = clock.now().until(moment);
        if !patience.listens() {
            clock.wait(moment, total).await;
            return;
        }
        // Counted by what was slept: a clock that is set back does not make it longer.
        let mut left = total;
        while !left.is_zero() && clock.now() < moment {
            let nap = left.min(Duration::from_secs(1));
            clock.wait(moment, nap).await;
            left = left.saturating_sub(nap);
            if clock.now() < moment {
                patience.waiting(total.saturating_sub(left), total).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_turned_away_is_not_remembered() {
        let waiters = Waiters::default();
        let places: Vec<_> = (0..WAITERS_PER_PROCESS_MAX).map(|_| waiters.enter(Actor::Stdio)).collect();

        assert!(waiters.enter(Actor::Person).is_none());

        assert_eq!(waiters.count(), WAITERS_PER_PROCESS_MAX);
        assert_eq!(waiters.places.lock().unwrap().len(), 1);
        drop(places);
        assert!(waiters.places.lock().unwrap().is_empty());
    }
}
