//! Rate limits: a bucket for each key that fills evenly (GCRA), in bounded memory.
//!
//! Our own rather than a crate's, since the keys come from the network: an unbounded map could be made to exhaust
//! memory.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::domain::rate::Rate;

/// The most keys with a bucket of their own; others share one bucket. An entry takes about 50 bytes.
const KEYS_MAX: usize = 65_536;

/// A rate limit for each key.
pub(crate) struct Pace<K> {
    interval: Duration,
    /// How far a key may be ahead of an even pace: a whole span's calls but one at once.
    slack: Duration,
    keys_max: usize,
    buckets: Mutex<Buckets<K>>,
}

/// For each key, the time at which its next call is due at an even pace.
struct Buckets<K> {
    due: HashMap<K, Instant>,
    shared: Option<Instant>,
}

impl<K: Hash + Eq> Pace<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        Self::bounded(rate, KEYS_MAX)
    }

    fn bounded(rate: Rate, keys_max: usize) -> Self {
        let interval = rate.interval();
        let buckets = Mutex::new(Buckets { due: HashMap::new(), shared: None });
        Self { interval, slack: rate.span().saturating_sub(interval), keys_max, buckets }
    }

    /// Counts one call of a key.
    ///
    /// # Errors
    /// How long to wait, if the limit is reached; nothing is counted then.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets();
        if !buckets.due.contains_key(&key) && buckets.due.len() >= self.keys_max {
            // Evict buckets that are not throttled.
            buckets.due.retain(|_, due| *due > now);
        }
        let known = buckets.due.contains_key(&key) || buckets.due.len() < self.keys_max;
        let due = if known { buckets.due.get(&key).copied() } else { buckets.shared };
        let due = due.map_or(now, |due| due.max(now));
        if let Some(wait) = self.wait(due, now) {
            return Err(wait);
        }
        if known {
            buckets.due.insert(key, due + self.interval);
        } else {
            buckets.shared = Some(due + self.interval);
        }
        Ok(())
    }

    fn wait(&self, due: Instant, now: Instant) -> Option<Duration> {
        due.checked_duration_since(now)?.checked_sub(self.slack).filter(|wait| !wait.is_zero())
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets<K>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(keys_max: usize) -> Pace<u32> {
        Pace::bounded(Rate::per_minute(60), keys_max)
    }

    #[test]
    fn a_key_may_as_often_as_its_rate_says_and_then_once_an_interval() {
        let (pace, begun) = (pace(10), Instant::now());

        let at_once = (0..100).filter(|_| pace.take(1, begun).is_ok()).count();
        let refused = pace.take(1, begun);
        let later = (1..=5).filter(|n| pace.take(1, begun + Duration::from_secs(*n)).is_ok()).count();

        assert_eq!((at_once, refused, later), (60, Err(Duration::from_secs(1)), 5));
        assert_eq!(pace.take(2, begun), Ok(()), "another key has a bucket of its own");
    }

    #[test]
    fn beyond_the_most_keys_all_share_one_bucket_and_memory_stays_bounded() {
        let (pace, now) = (pace(3), Instant::now());
        let taken = (0..1000).filter(|key| pace.take(*key, now).is_ok()).count();
        assert_eq!(taken, 3 + 60);
        assert_eq!(pace.buckets().due.len(), 3);
        assert!(pace.take(999, now).is_err());

        let later = now + Duration::from_secs(61);
        assert_eq!(pace.take(999, later), Ok(()), "idle buckets made room");
        assert_eq!(pace.buckets().due.len(), 1);
    }
}
