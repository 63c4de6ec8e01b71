//! Checking a code that a person typed: each step once, and slower after every wrong try. Never: a clock, a store.

use std::time::Duration;

use super::{
    limits::{VERIFY_DELAY_SECONDS_MAX, VERIFY_TRIES_FREE},
    time::Timestamp,
    totp::Step,
};

/// What is remembered of one secret's verifications, apart from the codes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyMarks {
    /// The highest step that was accepted. Lower ones and it are never accepted again.
    pub accepted: Option<Step>,
    /// Wrong tries since the last right one.
    pub wrong: u32,
    /// No try is looked at before this time.
    pub held_until: Option<Timestamp>,
}

impl VerifyMarks {
    /// How long a try must still wait; nothing if it may be made.
    pub fn held(&self, now: Timestamp) -> Option<Duration> {
        // A clock that stepped back must not hold a secret for longer than the longest delay.
        let longest = Duration::from_secs(VERIFY_DELAY_SECONDS_MAX);
        self.held_until.map(|until| now.until(until).min(longest)).filter(|left| !left.is_zero())
    }

    /// Whether a step may be accepted: only one above all that were.
    pub fn is_unused(&self, step: Step) -> bool {
        self.accepted < Some(step)
    }

    /// A right code for an unused step.
    pub fn accept(&mut self, step: Step) {
        *self = Self { accepted: Some(step), wrong: 0, held_until: None };
    }

    /// A wrong code: the first five cost nothing, then each doubles the wait, to fifteen minutes.
    pub fn refuse(&mut self, now: Timestamp) {
        self.wrong = self.wrong.saturating_add(1);
        if let Some(beyond) = self.wrong.checked_sub(VERIFY_TRIES_FREE) {
            self.held_until = Some(now.plus(Duration::from_secs(delay_seconds(beyond))));
        }
    }
}

/// The delay after the fifth wrong try (`beyond` 0) and each one after it: 1, 2, 4 … 900 seconds.
pub fn delay_seconds(beyond: u32) -> u64 {
    1_u64.checked_shl(beyond.min(16)).unwrap_or(u64::MAX).min(VERIFY_DELAY_SECONDS_MAX)
}
