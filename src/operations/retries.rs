//! Retries of a decision when another caller was faster.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Failed, Refusal};
use crate::random::SharedRandom;

/// How long a call retries. Beyond it, something changes constantly, or many callers want the same thing.
const DECIDING: Duration = Duration::from_secs(2);
/// Retries without a pause: most conflicts are over after one.
const AT_ONCE: u32 = 3;

/// The retries of one call.
pub(super) struct Retries {
    random: SharedRandom,
    begun: Instant,
    tries: u32,
}

impl Retries {
    pub(super) fn new(random: &SharedRandom) -> Self {
        Self { random: random.clone(), begun: Instant::now(), tries: 0 }
    }

    /// Prepares another try: the first ones at once, later ones after up to five milliseconds, so that competing
    /// callers don't collide again.
    ///
    /// # Errors
    /// [`Refusal::Contended`] once the call has retried for long enough.
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
