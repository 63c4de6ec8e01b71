//! Rate limits. On a server, the store counts over all nodes. On one machine, each process counts for itself: a bucket for
//! each key that fills evenly (GCRA), in bounded memory.
//!
//! Written here rather than taken from a crate, since the keys come from the network: an unbounded map could be made to
//! exhaust memory.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{Limit, Refusal, Service};
use crate::{domain::rate::Rate, vault::Paced};

/// The most keys with a bucket of their own in memory; others share one bucket. An entry takes about 50 bytes.
const KEYS_MAX: usize = 65_536;

/// The kind of event that is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Calls of a caller.
    Calls,
    /// MCP messages of a caller.
    Messages,
    /// Failed authentications from an address.
    Failures,
    /// Codes of a secret that are requested or checked.
    Uses,
    /// Codes of a sign-in that are redeemed for a link.
    SignIns,
}

impl Counted {
    /// The text that distinguishes its buckets from others'. All nodes must agree on it.
    const fn purpose(self) -> &'static str {
        match self {
            Self::Calls => "pace/calls",
            Self::Messages => "pace/messages",
            Self::Failures => "pace/failures",
            Self::Uses => "pace/uses",
            Self::SignIns => "pace/sign-ins",
        }
    }

    const fn limit(self) -> Limit {
        match self {
            Self::Calls => Limit::Calls,
            Self::Messages => Limit::Messages,
            Self::Failures => Limit::Failures,
            Self::Uses => Limit::Uses,
            Self::SignIns => Limit::SignIns,
        }
    }
}

type Bucket = [u8; 16];

/// A rate limit for each key.
pub(crate) struct Pace {
    counted: Counted,
    rate: Rate,
    keys_max: usize,
    buckets: Mutex<Buckets>,
}

/// For each bucket, the time at which its next call is due at an even pace.
#[derive(Default)]
struct Buckets {
    due: HashMap<Bucket, Instant>,
    shared: Option<Instant>,
}

impl Service {
    /// Counts an event of the caller, address or secret that the key identifies.
    ///
    /// # Errors
    /// `rate_limited` if the limit is reached; nothing is counted then. `unavailable` if it can't be counted.
    pub(crate) async fn count(&self, pace: &Pace, key: &[u8]) -> Result<(), Refusal> {
        match self.count_over_nodes(pace, key).await {
            Some(counted) => counted,
            None => self.count_here(pace, key),
        }
    }

    /// As [`Self::count`], if the store counts; `None` if this process counts for itself. Then memory is only used for
    /// keys that are known to be valid.
    pub(crate) async fn count_over_nodes(&self, pace: &Pace, key: &[u8]) -> Option<Result<(), Refusal>> {
        match self.vault().pace(self.bucket(pace, key), pace.rate).await {
            Ok(Paced::Alone) => None,
            Ok(Paced::Counted) => Some(Ok(())),
            Ok(Paced::Early(after)) => Some(Err(pace.refusal(after))),
            Err(cause) => Some(Err(self.refusal_of(cause.into()))),
        }
    }

    /// As [`Self::count`], in this process.
    pub(crate) fn count_here(&self, pace: &Pace, key: &[u8]) -> Result<(), Refusal> {
        pace.take(self.bucket(pace, key), Instant::now()).map_err(|after| pace.refusal(after))
    }

    fn bucket(&self, pace: &Pace, key: &[u8]) -> Bucket {
        let hash = self.vault().fingerprint(pace.counted.purpose(), &[key]);
        std::array::from_fn(|nth| hash.get(nth).copied().unwrap_or_default())
    }
}

impl Pace {
    pub(crate) fn new(counted: Counted, rate: Rate) -> Self {
        Self { counted, rate, keys_max: KEYS_MAX, buckets: Mutex::default() }
    }

    const fn refusal(&self, after: Duration) -> Refusal {
        Refusal::RateLimited { limit: self.counted.limit(), after }
    }

    /// Counts one call of a bucket in memory.
    ///
    /// # Errors
    /// The time to wait, if the limit is reached; nothing is counted then.
    fn take(&self, key: Bucket, now: Instant) -> Result<(), Duration> {
        let interval = self.rate.interval();
        // How far a key may be ahead of an even pace: a whole span's calls but one at once.
        let slack = self.rate.span().saturating_sub(interval);
        let mut buckets = self.buckets();
        if !buckets.due.contains_key(&key) && buckets.due.len() >= self.keys_max {
            // Evict buckets that are not throttled.
            buckets.due.retain(|_, due| *due > now);
        }
        let known = buckets.due.contains_key(&key) || buckets.due.len() < self.keys_max;
        let due = if known { buckets.due.get(&key).copied() } else { buckets.shared };
        let due = due.map_or(now, |due| due.max(now));
        let wait = due.saturating_duration_since(now).saturating_sub(slack);
        if !wait.is_zero() {
            return Err(wait);
        }
        if known {
            buckets.due.insert(key, due + interval);
        } else {
            buckets.shared = Some(due + interval);
        }
        Ok(())
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(keys_max: usize) -> Pace {
        Pace { keys_max, ..Pace::new(Counted::Calls, Rate::per_minute(60)) }
    }

    fn key(number: u128) -> Bucket {
        number.to_be_bytes()
    }

    #[test]
    fn a_key_may_as_often_as_its_rate_says_and_then_once_an_interval() {
        let (pace, begun) = (pace(10), Instant::now());

        let at_once = (0..100).filter(|_| pace.take(key(1), begun).is_ok()).count();
        let refused = pace.take(key(1), begun);
        let later = (1..=5).filter(|n| pace.take(key(1), begun + Duration::from_secs(*n)).is_ok()).count();

        assert_eq!((at_once, refused, later), (60, Err(Duration::from_secs(1)), 5));
        assert_eq!(pace.take(key(2), begun), Ok(()), "another key has a bucket of its own");
    }

    #[test]
    fn beyond_the_most_keys_all_share_one_bucket_and_memory_stays_bounded() {
        let (pace, now) = (pace(3), Instant::now());
        let taken = (0..1000).filter(|number| pace.take(key(*number), now).is_ok()).count();
        assert_eq!(taken, 3 + 60);
        assert_eq!(pace.buckets().due.len(), 3);
        assert!(pace.take(key(999), now).is_err());

        let later = now + Duration::from_secs(61);
        assert_eq!(pace.take(key(999), later), Ok(()), "idle buckets made room");
        assert_eq!(pace.buckets().due.len(), 1);
    }
}
