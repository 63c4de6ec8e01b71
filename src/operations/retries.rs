//! Retries of a decision when another caller was faster.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Failed, Refusal};
use crate::random::SharedRandom;

/// How long a call retries. Beyond it, the record changes constantly, or many callers compete for it.
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
        // The first tries may have taken long because they waited for a server.
        if self.tries >= AT_ONCE && self.begun.elapsed() >= DECIDING {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::advance;

    use super::*;
    use crate::random::SystemRandom;

    #[tokio::test(start_paused = true)]
    async fn a_decision_that_waited_long_for_a_server_is_made_again() {
        let random: SharedRandom = Arc::new(SystemRandom);
        let mut retries = Retries::new(&random);
        for _ in 0..AT_ONCE {
            advance(DECIDING * 5).await;
            retries.again().await.unwrap();
        }
        assert!(matches!(retries.again().await, Err(Failed::Refused(Refusal::Contended))));
    }
}
