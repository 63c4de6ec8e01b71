//! Randomness, from the operating system's generator. (The keyring draws its own salts.)

use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::domain::time::Timestamp;

/// A source of randomness that any thread may use.
pub type SharedRandom = Arc<dyn Random>;

/// The operating system gave no random bytes, so no secret can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

/// Random bytes and identifiers. A trait, so that tests can choose them.
pub trait Random: Send + Sync {
    /// Fills a buffer with random bytes.
    ///
    /// # Errors
    /// [`NoRandomness`].
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness>;

    /// `count` random bytes, wiped on drop.
    ///
    /// # Errors
    /// [`NoRandomness`].
    fn bytes(&self, count: usize) -> Result<Zeroizing<Vec<u8>>, NoRandomness> {
        let mut bytes = Zeroizing::new(vec![0; count]);
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// A UUID of version 4: random bits only.
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

/// UUIDs of version 7: time first, so that ids sort by age. Each is greater than the one before, even within one
/// millisecond or after the clock was set back.
#[derive(Debug, Default)]
pub struct OrderedIds {
    /// The payload of the last id: 48 bits of time, then 74 random bits.
    last: Mutex<u128>,
}

impl OrderedIds {
    /// The next id.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn next(&self, random: &dyn Random, at: Timestamp) -> Result<Uuid, NoRandomness> {
        let mut dice = [0; 16];
        random.fill(&mut dice)?;
        let dice = u128::from_be_bytes(dice);
        let drawn = u128::from(u64::try_from(at.millis()).unwrap_or(0)) << 74 | dice >> 54;
        // At least a random step beyond the last one (RFC 9562, 6.2, method 2), by bits that are not in `drawn`.
        let step = 1 + (dice & u128::from(u32::MAX));
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = drawn.max(last.saturating_add(step));
        Ok(version_7(*last))
    }
}

/// Inserts version and variant into the 122 payload bits (RFC 9562, 5.7).
fn version_7(free: u128) -> Uuid {
    let (time, high, low) = (free >> 74, free >> 62 & 0xFFF, free & (u128::MAX >> 66));
    Uuid::from_u128(time << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source whose bytes are all the same.
    struct Loaded(u8);

    impl Random for Loaded {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    fn millis_of(id: Uuid) -> u128 {
        id.as_u128() >> 80
    }

    #[test]
    fn ids_keep_their_order_within_a_millisecond_and_when_the_clock_is_set_back() {
        let ids = OrderedIds::default();
        let mut last = Uuid::nil();
        for at in [1_795_305_600_000, 1_795_305_600_001, 1_795_305_500_000] {
            for _ in 0..1000 {
                let id = ids.next(&SystemRandom, Timestamp::from_millis(at)).unwrap();
                assert!(id > last, "{last} {id}");
                assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
                last = id;
            }
        }
        assert_eq!(millis_of(last), 1_795_305_600_001);
    }

    #[test]
    fn a_millisecond_that_is_full_is_left_for_the_next() {
        let (ids, at) = (OrderedIds::default(), Timestamp::from_millis(1_795_305_600_000));
        let first = ids.next(&Loaded(0xFF), at).unwrap();
        let second = ids.next(&Loaded(0), at).unwrap();
        assert_eq!(first.to_string(), "01a2008d-7400-7fff-bfff-ffffffffffff");
        assert_eq!(second.to_string(), "01a2008d-7401-7000-8000-000000000000");
    }
}
