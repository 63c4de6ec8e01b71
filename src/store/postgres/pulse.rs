//! The state of the primary: since when it fails, when it last acknowledged a commit, and the time on its clock.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::store::ServerClock;

/// How long calls wait for the server to come back, which a failover takes: from when it was noticed, so that a call whose
/// steps wait one after the other ends in time for its client.
const PATIENCE: Duration = Duration::from_secs(26);
/// How long calls wait if the server has been away for longer than that.
const LEAST: Duration = Duration::from_secs(3);
/// How long after its last acknowledgement a server is expected to come back.
const HOPEFUL: Duration = Duration::from_secs(30);
/// A clock reading with an error of at most this is as good as any.
const EXACT: Duration = Duration::from_millis(250);
/// How long an exact clock reading is preferred to a newer inexact one.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The known state of the primary.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Since when it has not answered.
    failing: Option<Instant>,
    /// When it last acknowledged a commit.
    acknowledged: Option<Instant>,
    clock: Option<ServerClock>,
}

impl Pulse {
    /// Records that a commit was acknowledged.
    pub(super) fn acknowledged(&self) {
        let mut state = self.state();
        (state.failing, state.acknowledged) = (None, Some(Instant::now()));
    }

    /// Records that an operation which began at `begun` failed because the server can't be reached.
    pub(super) fn failed(&self, begun: Instant) {
        self.state().failing.get_or_insert(begun);
    }

    /// The time until which a call that begins now waits for the server.
    pub(super) fn until(&self) -> Instant {
        let now = Instant::now();
        self.state().failing.map_or(now + PATIENCE, |since| (since + PATIENCE).max(now + LEAST))
    }

    /// Whether the server does not answer.
    pub(super) fn is_failing(&self) -> bool {
        self.state().failing.is_some()
    }

    /// Whether the server acknowledged a commit recently, so that calls may wait for it.
    pub(super) fn is_hopeful(&self) -> bool {
        self.state().acknowledged.is_some_and(|then| then.elapsed() < HOPEFUL)
    }

    /// Records a reading of the server's clock.
    pub(super) fn read_clock(&self, clock: ServerClock) {
        let mut state = self.state();
        let is_worse = |known: &ServerClock| known.give.max(EXACT) < clock.give && known.read.elapsed() < REMEMBERED;
        if !state.clock.as_ref().is_some_and(is_worse) {
            state.clock = Some(clock);
        }
    }

    /// The best known reading of the server's clock, if there is one.
    pub(super) fn clock(&self) -> Option<ServerClock> {
        self.state().clock
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::domain::time::Timestamp;

    #[tokio::test(start_paused = true)]
    async fn calls_wait_together_from_when_an_outage_began() {
        let pulse = Pulse::default();
        let begun = Instant::now();
        assert_eq!(pulse.until(), begun + PATIENCE);
        advance(Duration::from_secs(5)).await;
        pulse.failed(begun);
        advance(Duration::from_secs(10)).await;
        // A later failure belongs to the same outage.
        pulse.failed(Instant::now());
        assert_eq!(pulse.until(), begun + PATIENCE);
        advance(Duration::from_mins(1)).await;
        assert_eq!(pulse.until(), Instant::now() + LEAST);
        pulse.acknowledged();
        assert_eq!(pulse.until(), Instant::now() + PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_acknowledged_something_lately_is_expected_back_for_half_a_minute() {
        let pulse = Pulse::default();
        assert!(!pulse.is_hopeful());
        pulse.acknowledged();
        pulse.failed(Instant::now());
        advance(HOPEFUL.saturating_sub(Duration::from_secs(1))).await;
        assert!(pulse.is_hopeful());
        advance(Duration::from_secs(1)).await;
        assert!(!pulse.is_hopeful());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_read_slowly_does_not_replace_a_better_one_at_once() {
        let pulse = Pulse::default();
        let read = |give| ServerClock { time: Timestamp::from_seconds(0), read: Instant::now(), give };
        let (exact, slow) = (read(Duration::from_millis(1)), read(Duration::from_secs(2)));
        pulse.read_clock(exact);
        pulse.read_clock(slow);
        assert_eq!(pulse.clock(), Some(exact));
        advance(REMEMBERED).await;
        pulse.read_clock(slow);
        assert_eq!(pulse.clock(), Some(slow));
        pulse.read_clock(read(Duration::from_millis(200)));
        assert_eq!(pulse.clock().map(|clock| clock.give), Some(Duration::from_millis(200)));
    }
}
