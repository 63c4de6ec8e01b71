//! The one asker of the dice: the operating system's generator. (The keyring draws its own salts.)

use std::sync::Arc;

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::domain::time::Timestamp;

/// A source of randomness that any thread may use.
pub type SharedRandom = Arc<dyn Random>;

/// The operating system would not give random bytes; nothing secret can be made then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

/// Random bytes and identifiers. A trait, so that tests can foresee them.
pub trait Random: Send + Sync {
    /// Fills a buffer with random bytes.
    ///
    /// # Errors
    /// [`NoRandomness`].
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness>;

    /// So many random bytes, wiped on drop.
    ///
    /// # Errors
    /// [`NoRandomness`].
    fn bytes(&self, count: usize) -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
        let mut bytes = Zeroizing::new(vec![0; count]);
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// A UUID of version 7: time first, so that ids sort by age.
    ///
    /// # Errors
    /// [`NoRandomness`].
    fn ordered_id(&self, at: Timestamp) -> Result<Uuid, NoRandomness> {
        let mut tail = [0; 10];
        self.fill(&mut tail)?;
        Ok(uuid::Builder::from_unix_timestamp_millis(u64::try_from(at.millis()).unwrap_or(0), &tail).into_uuid())
    }

    /// A UUID of version 4: nothing but random.
    ///
    /// # Errors
    /// [`NoRandomness`].
    fn random_id(&self) -> Result<Uuid, NoRandomness> {
        let mut bytes = [0; 16];
        self.fill(&mut bytes)?;
        Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        getrandom::fill(bytes).map_err(|_| NoRandomness)
    }
}
