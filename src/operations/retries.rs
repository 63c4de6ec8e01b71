//! Reading and deciding again when somebody else was faster: for how long, and how.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Failed, Refusal};
use crate::random::SharedRandom;

/// How long a call reads and decides again. Beyond it something changes without end, or many callers want one thing.
const DECIDING: Duration = Duration::from_secs(2);
/// Tries that follow at once: most races are over after one.
const AT_ONCE: u32 = 3;

/// The tries of one call.
pub(super) struct Retries {
    random: SharedRandom,
    begun: Instant,
    tries: u32,
}

impl Retries {
    pub(super) fn new(random: &SharedRandom) -> Self {
        Self { random: random.clone(), begun: Instant::now(), tries: 0 }
    }

    /// Goes on to another try: the first ones at once, later ones after up to five milliseconds, so that those who race
    /// don't meet again.
    ///
    /// # Errors
    /// [`Refusal::Contended`] once it has been tried for long enough.
    pub(super) async fn again(&mut self) -> Result<(), Failed> {
        if self.begun.elapsed() >= DECIDING {
            return Err(Refusal::Contended.into());
        }
        self.tries += 1;
        if self.tries > AT_ONCE {
            let mut byte = [0];
            self.random.fill(&mut byte)?;
            let [byte] = byte;
            sleep(Duration::from_micros(u64::from(byte) * 20)).await;
        }
        Ok(())
    }
}
