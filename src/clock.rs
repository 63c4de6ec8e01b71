//! The clock: the only source of the time.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::domain::time::Timestamp;

/// A clock that any thread may read.
pub type SharedClock = Arc<dyn Clock>;

/// The time, and waiting for it. A trait, so that tests can move it by hand.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
    /// Returns at `moment` or after `at_most`, whichever is first.
    async fn wait(&self, moment: Timestamp, at_most: Duration);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine for the time")]
        let now = std::time::SystemTime::now();
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(match now.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => micros(before.duration()).saturating_neg(),
        })
    }

    async fn wait(&self, moment: Timestamp, at_most: Duration) {
        tokio::time::sleep(self.now().until(moment).min(at_most)).await;
    }
}
