//! Checks a code that a person typed: each step is accepted once, and wrong tries delay the next one. Never here: a
//! clock, a store.

use std::time::Duration;

use super::{
    limits::{VERIFY_DELAY_SECONDS_MAX, VERIFY_TRIES_FREE},
    time::Timestamp,
    totp::Step,
};

/// The stored state of one secret's verifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyMarks {
    /// The highest accepted step. It and lower ones are never accepted again.
    pub accepted: Option<Step>,
    /// Wrong tries since the last correct one.
    pub wrong: u32,
    /// Tries before this time are refused.
    pub held_until: Option<Timestamp>,
}

impl VerifyMarks {
    /// The time for which a try must still wait; `None` if it may be made.
    pub fn held(&self, now: Timestamp) -> Option<Duration> {
        // A delay beyond the longest means that the clock was ahead when it was set. Ignore it, so that the secret is
        // not locked for years; wrong tries are still counted, so the next one gets the same delay.
        let longest = Duration::from_secs(VERIFY_DELAY_SECONDS_MAX);
        self.held_until.map(|until| now.until(until)).filter(|left| !left.is_zero() && *left <= longest)
    }

    /// Whether a step may be accepted: only one above all accepted ones.
    pub fn is_unused(&self, step: Step) -> bool {
        self.accepted < Some(step)
    }

    /// Records a correct code for an unused step.
    pub fn accept(&mut self, step: Step) {
        *self = Self { accepted: Some(step), wrong: 0, held_until: None };
    }

    /// Records a wrong code. The fifth in a row and each one after it delay the next try, twice as long each time, up
    /// to fifteen minutes.
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

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_795_000_000);

    /// Makes `count` wrong tries, each as soon as it is allowed, and returns the time from the first to the last.
    fn wrong_tries(count: u32) -> Duration {
        let (mut marks, mut now) = (VerifyMarks::default(), START);
        for _ in 1..count {
            marks.refuse(now);
            now = now.plus(marks.held(now).unwrap_or_default());
        }
        START.until(now)
    }

    #[track_caller]
    fn check(wrong: u32, expected_delay: Option<u64>) {
        let mut marks = VerifyMarks { wrong: wrong - 1, ..VerifyMarks::default() };
        marks.refuse(START);
        assert_eq!(marks.held(START), expected_delay.map(Duration::from_secs), "after {wrong} wrong tries");
    }

    #[test]
    fn five_tries_are_free_and_then_each_doubles_the_wait_to_fifteen_minutes() {
        for wrong in 1..VERIFY_TRIES_FREE {
            check(wrong, None);
        }
        for (wrong, delay) in (VERIFY_TRIES_FREE..).zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]) {
            check(wrong, Some(delay));
        }
        check(u32::MAX, Some(VERIFY_DELAY_SECONDS_MAX));
    }

    #[test]
    fn a_million_wrong_tries_take_a_human_generation() {
        let year = Duration::from_hours(365 * 24);
        assert_eq!(wrong_tries(5), Duration::ZERO);
        assert_eq!(wrong_tries(6), Duration::from_secs(1));

        assert!(wrong_tries(35_053) < year, "the throttle lets 35,053 tries a year through");
        assert!(wrong_tries(35_055) > year, "and not two more");
        assert!(wrong_tries(1_000_000) > year * 28);
    }

    #[test]
    fn a_try_is_held_off_until_the_moment_and_not_beyond() {
        let marks = VerifyMarks { held_until: Some(START), ..VerifyMarks::default() };
        assert_eq!(marks.held(START.minus(Duration::from_micros(1))), Some(Duration::from_micros(1)));
        assert_eq!(marks.held(START), None);
        assert_eq!(marks.held(START.plus(Duration::from_secs(1))), None);
        assert_eq!(VerifyMarks::default().held(START), None);
    }

    #[test]
    fn a_clock_that_was_ahead_does_not_lock_a_secret() {
        let longest = Duration::from_secs(VERIFY_DELAY_SECONDS_MAX);
        let marks = VerifyMarks { held_until: Some(START), wrong: 40, ..VerifyMarks::default() };
        assert_eq!(marks.held(START.minus(longest)), Some(longest));
        assert_eq!(marks.held(START.minus(longest + Duration::from_micros(1))), None);

        let mut next = marks;
        next.refuse(START.minus(longest * 100));
        assert_eq!(next.held(START.minus(longest * 100)), Some(longest), "the tries before it still count");
    }

    #[test]
    fn a_right_code_clears_the_wrong_ones_and_uses_up_its_step_and_all_before() {
        let mut marks = VerifyMarks::default();
        assert!(marks.is_unused(Step(0)));
        for _ in 0..9 {
            marks.refuse(START);
        }

        marks.accept(Step(7));

        assert_eq!(marks, VerifyMarks { accepted: Some(Step(7)), wrong: 0, held_until: None });
        assert_eq!([6, 7, 8].map(|step| marks.is_unused(Step(step))), [false, false, true]);
    }
}
