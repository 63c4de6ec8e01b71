//! A second implementation of RFC 6238, on another library than the product's, against which every code is checked.

#![allow(dead_code, clippy::allow_attributes, reason = "each example uses a part of it")]

use aws_lc_rs::hmac;
use countersign::clock::{Clock as _, SystemClock};

/// A seed for codes of six digits with SHA-1, and the period.
#[derive(Clone)]
pub(crate) struct Oracle {
    key: hmac::Key,
    period: u64,
    /// The last step whose code was requested, and that code.
    known: (u64, String),
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    u64::try_from(SystemClock.now().millis()).unwrap_or(0) / 1000
}

impl Oracle {
    pub(crate) fn new(seed: &[u8], period: u64) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, seed);
        Self { key, period, known: (u64::MAX, String::new()) }
    }

    /// Whether the code belongs to a step from the Unix time `since` (in seconds) to now.
    pub(crate) fn accepts(&mut self, code: &str, since: u64) -> bool {
        let (first, last) = (since / self.period, unix_now() / self.period);
        (first..=last).any(|step| self.code_at(step) == code)
    }

    fn code_at(&mut self, step: u64) -> &str {
        if self.known.0 != step {
            let tag = hmac::sign(&self.key, &step.to_be_bytes());
            let bytes = tag.as_ref();
            let offset = usize::from(bytes.last().copied().unwrap_or(0) & 0x0f);
            let four = bytes.iter().skip(offset).take(4);
            let number = four.fold(0_u32, |number, byte| number << 8 | u32::from(*byte)) & 0x7fff_ffff;
            self.known = (step, format!("{:06}", number % 1_000_000));
        }
        &self.known.1
    }
}
