//! Facts about the place of a store.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::time::Timestamp;

/// Facts about the place of a store, for its operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The store's own clock, if it has one.
    pub clock: Option<ServerClock>,
    /// The facts that were found.
    pub found: Vec<Circumstance>,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstance {
    /// The name of the fact.
    pub name: &'static str,
    /// Its present state, in words.
    pub found: String,
    /// The problem with that state, and the remedy; `None`: there is no problem.
    pub concern: Option<&'static str>,
}

/// One reading of a server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerClock {
    /// The time on the server's clock.
    pub time: Timestamp,
    /// When it had that time.
    pub read: Instant,
    /// By how much `read` may be wrong, either way.
    pub give: Duration,
}

impl ServerClock {
    /// A reading at some moment between two.
    pub fn between(time: Timestamp, asked: Instant, answered: Instant) -> Self {
        let give = answered.saturating_duration_since(asked) / 2;
        Self { time, read: asked + give, give }
    }

    /// Microseconds by which a clock that shows `time` now is certainly ahead of the server's; negative: behind.
    pub fn ahead(&self, time: Timestamp) -> i64 {
        let server = self.time.plus(self.read.elapsed());
        let apart = time.micros().saturating_sub(server.micros());
        let give = i64::try_from(self.give.as_micros()).unwrap_or(i64::MAX);
        apart.signum().saturating_mul(apart.saturating_abs().saturating_sub(give).max(0))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn clocks_are_apart_by_what_the_trip_does_not_explain() {
        let asked = Instant::now();
        advance(Duration::from_secs(2)).await;
        let clock = ServerClock::between(Timestamp::from_seconds(100), asked, Instant::now());
        let ahead = |seconds| clock.ahead(Timestamp::from_seconds(seconds)) / 1_000_000;

        // The server's clock was read one second ago, give or take a second.
        assert_eq!([100, 101, 102].map(ahead), [0, 0, 0]);
        assert_eq!([98, 104].map(ahead), [-2, 2]);
        advance(Duration::from_secs(10)).await;
        assert_eq!([108, 111, 114].map(ahead), [-2, 0, 2]);
    }
}
