//! Calls that wait for a code: how many may wait, how they are notified, and the work that a dropped call leaves
//! behind.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::runtime::Handle;
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

use super::{Failed, Refusal, Service};
use crate::domain::{
    audit::Actor,
    ids::{AccountId, SeatId},
    limits::{WAITERS_PER_KEY_MAX, WAITERS_PER_PROCESS_MAX, WAITERS_STDIO_MAX},
    principal::Principal,
    time::Timestamp,
};

/// Receives notifications while a call waits. A call is cancelled by dropping its future.
#[async_trait]
pub trait Patience: Send + Sync {
    /// Called at least once a second while a call waits.
    async fn waiting(&self, waited: Duration, total: Duration);

    /// Whether notifications are wanted. If not, a waiting call wakes less often.
    fn listens(&self) -> bool {
        true
    }
}

/// No notifications.
#[async_trait]
impl Patience for () {
    async fn waiting(&self, _waited: Duration, _total: Duration) {}

    fn listens(&self) -> bool {
        false
    }
}

/// How long waiting calls and the return of steps may take when the process ends.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);

/// The longest nap of a watch. Clients that extend their timeout with progress need it once a second.
const NAP_MAX: Duration = Duration::from_secs(1);

/// How often a waiting call's rights are checked.
const CHECKED_EVERY: Duration = Duration::from_secs(3);

/// The holder of a share of the places. Logins are distinguished by their seats, because they have no key.
pub(super) type Whose = (AccountId, Actor, Option<SeatId>);

pub(super) const fn whose(caller: &Principal) -> Whose {
    (caller.account(), caller.actor(), caller.seat())
}

/// The waiting calls of this process.
#[derive(Default)]
pub(super) struct Waiters {
    places: Arc<Mutex<HashMap<Whose, usize>>>,
    /// Waiting calls, and the tasks that dropped calls leave behind.
    unfinished: TaskTracker,
    /// Cancelled when the process ends; from then on no call waits.
    stop: CancellationToken,
}

/// A place among the waiters, given up on drop.
pub(super) struct WaitingPlace {
    places: Arc<Mutex<HashMap<Whose, usize>>>,
    whose: Whose,
    _unfinished: TaskTrackerToken,
}

impl Waiters {
    /// The number of waiting calls.
    pub(super) fn count(&self) -> usize {
        self.places.lock().map_or(0, |places| places.values().sum())
    }

    /// Takes a place; `None` if all are taken.
    pub(super) fn enter(&self, caller: &Principal) -> Option<WaitingPlace> {
        let whose = whose(caller);
        let mut places = self.places.lock().ok()?;
        let most = match caller.actor() {
            Actor::Stdio | Actor::Person => WAITERS_STDIO_MAX,
            Actor::Key(_)
            | Actor::Token(_)
            | Actor::Login
            | Actor::Hook
            | Actor::Page
            | Actor::System
            | Actor::Unknown => WAITERS_PER_KEY_MAX,
        };
        let all: usize = places.values().sum();
        let mine = places.get(&whose).copied().unwrap_or_default();
        if all >= WAITERS_PER_PROCESS_MAX || mine >= most {
            return None;
        }
        places.insert(whose, mine + 1);
        Some(WaitingPlace { places: Arc::clone(&self.places), whose, _unfinished: self.unfinished.token() })
    }

    /// Runs a task that a dropped call leaves behind, if there is still a runtime.
    pub(super) fn leave_behind(&self, errand: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = Handle::try_current() {
            self.unfinished.spawn_on(errand, &runtime);
        }
    }

    /// Waits, for a limited time, until no call waits and every task has finished.
    pub(super) async fn drained(&self) {
        self.unfinished.close();
        // Calls that are still waiting end with the process; their steps expire unused.
        let _ = tokio::time::timeout(DRAINED_WITHIN, self.unfinished.wait()).await;
    }
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        let Ok(mut places) = self.places.lock() else { return };
        if let Some(mine) = places.get_mut(&self.whose) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                places.remove(&self.whose);
            }
        }
    }
}

/// A wait in naps, after each of which the caller checks for a result.
pub(super) struct Watch {
    total: Duration,
    left: Duration,
    nap: Duration,
    unchecked: Duration,
}

impl Watch {
    /// The first nap; each one is twice as long as the one before, up to [`NAP_MAX`].
    const FIRST_NAP: Duration = Duration::from_millis(250);

    /// A wait of at most this long.
    pub(super) const fn of(total: Duration) -> Self {
        Self { total, left: total, nap: Self::FIRST_NAP, unchecked: Duration::ZERO }
    }

    /// Whether its time is over.
    pub(super) const fn is_over(&self) -> bool {
        self.left.is_zero()
    }
}

impl Service {
    /// One nap of a watch, which `woken` ends early. Notifies `patience`, and ends with the caller's rights.
    ///
    /// # Errors
    /// Why the caller may no longer call, or [`Refusal::Stopping`] if the process ends first.
    pub(super) async fn nap(
        &self,
        caller: &Principal,
        watch: &mut Watch,
        patience: &dyn Patience,
        woken: impl Future<Output = ()> + Send,
    ) -> Result<(), Failed> {
        let clock = &self.shared.clock;
        let (begun, nap) = (clock.now(), watch.nap.min(watch.left));
        let slept = async {
            tokio::select! {
                () = clock.wait(begun.plus(nap), nap) => nap,
                () = woken => begun.until(clock.now()).min(nap),
            }
        };
        let slept = self.shared.waiters.stop.run_until_cancelled(slept).await.ok_or(Refusal::Stopping)?;
        watch.left = watch.left.saturating_sub(slept);
        watch.unchecked += slept;
        watch.nap = (watch.nap * 2).min(NAP_MAX);
        if watch.unchecked >= CHECKED_EVERY || watch.is_over() {
            watch.unchecked = Duration::ZERO;
            match self.still_valid(caller).await {
                // If the vault can't be read, keep waiting.
                Ok(()) | Err(Failed::Store(_)) => {}
                ended => return ended,
            }
        }
        if patience.listens() {
            patience.waiting(watch.total.saturating_sub(watch.left), watch.total).await;
        }
        Ok(())
    }

    /// Waits for something that other calls release, for at most `within` if that is given; `None`: it was not released
    /// in time. After a wait, the caller's rights are checked again, since they may have ended meanwhile.
    ///
    /// # Errors
    /// Why the caller may no longer call.
    pub(super) async fn wait_for<T>(
        &self,
        caller: &Principal,
        within: Option<Duration>,
        what: impl Future<Output = T> + Send,
    ) -> Result<Option<T>, Failed> {
        let mut what = pin!(what);
        if let Some(free) = what.as_mut().now_or_never() {
            return Ok(Some(free));
        }
        let free = match within {
            Some(within) => tokio::time::timeout(within, what).await.ok(),
            None => Some(what.await),
        };
        self.still_valid(caller).await?;
        Ok(free)
    }

    /// Ends every wait, now and in future: the caller gets [`Refusal::Stopping`], and a step that it holds is given
    /// back. Returns once no call waits.
    pub async fn stop_waiting(&self) {
        self.shared.waiters.stop.cancel();
        self.shared.waiters.drained().await;
    }

    /// Waits until a time of the wall clock, but no longer than its distance now, and notifies `patience` once a
    /// second. The wait ends with the caller's rights.
    ///
    /// # Errors
    /// Why the caller may no longer call, or [`Refusal::Stopping`] if the process ends first.
    pub(super) async fn wait_until(
        &self,
        caller: &Principal,
        moment: Timestamp,
        patience: &dyn Patience,
    ) -> Result<(), Failed> {
        let stop = &self.shared.waiters.stop;
        let waited = stop.run_until_cancelled(self.wait(caller, moment, patience)).await;
        waited.unwrap_or(Err(Refusal::Stopping.into()))
    }

    async fn wait(&self, caller: &Principal, moment: Timestamp, patience: &dyn Patience) -> Result<(), Failed> {
        let clock = &self.shared.clock;
        let total = clock.now().until(moment);
        let until = caller.expires_at().map_or(moment, |end| end.min(moment));
        let nap_max = if patience.listens() { Duration::from_secs(1) } else { CHECKED_EVERY };
        // Measure the wait by the time slept, so that a clock that is set back does not prolong it.
        let (mut left, mut unchecked) = (total, Duration::ZERO);
        while !left.is_zero() && clock.now() < until {
            let nap = left.min(nap_max);
            clock.wait(until, nap).await;
            left = left.saturating_sub(nap);
            unchecked += nap;
            if clock.now() >= until {
                break;
            }
            if unchecked >= CHECKED_EVERY {
                unchecked = Duration::ZERO;
                match self.still_valid(caller).await {
                    // If the vault can't be read, keep waiting.
                    Ok(()) | Err(Failed::Store(_)) => {}
                    ended => return ended,
                }
            }
            if patience.listens() {
                patience.waiting(total.saturating_sub(left), total).await;
            }
        }
        self.still_valid(caller).await
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::scope::ScopeSet;

    fn account() -> AccountId {
        AccountId::new(Uuid::from_u128(1))
    }

    fn login(seat: u128) -> Principal {
        let seat = SeatId::new(Uuid::from_u128(seat));
        Principal::of_login(account(), ScopeSet::ALL, seat, Timestamp::from_seconds(60))
    }

    #[test]
    fn logins_for_different_seats_have_shares_of_their_own() {
        let waiters = Waiters::default();

        let (first, second) = (login(1), login(2));
        let taken = |caller: &Principal| -> Vec<_> { (0..99).map_while(|_| waiters.enter(caller)).collect() };
        let places = [taken(&first), taken(&second)];

        assert_eq!(places.each_ref().map(Vec::len), [WAITERS_PER_KEY_MAX; 2]);
    }

    #[test]
    fn a_guard_waits_for_as_many_agents_as_a_process_has_places() {
        let (waiters, person) = (Waiters::default(), Principal::person(account()));
        let places: Vec<_> = (0..WAITERS_PER_PROCESS_MAX).map_while(|_| waiters.enter(&person)).collect();
        assert_eq!(places.len(), WAITERS_PER_PROCESS_MAX);
    }

    #[test]
    fn who_was_turned_away_is_not_remembered() {
        let waiters = Waiters::default();
        let sidecar = Principal::stdio(account(), ScopeSet::ALL, None);
        let places: Vec<_> = (0..WAITERS_PER_PROCESS_MAX).map(|_| waiters.enter(&sidecar)).collect();

        assert!(waiters.enter(&Principal::person(account())).is_none());

        assert_eq!(waiters.count(), WAITERS_PER_PROCESS_MAX);
        assert_eq!(waiters.places.lock().unwrap().len(), 1);
        drop(places);
        assert!(waiters.places.lock().unwrap().is_empty());
    }
}
