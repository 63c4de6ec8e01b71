//! Points in time, as values. Only [`crate::clock`] makes one from the machine's clock.

use std::{fmt, str::FromStr, time::Duration};

/// Microseconds since 1970-01-01T00:00:00Z. Negative before it: a wrong clock must not panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// The text is not an RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time")]
pub struct NotATime;

/// The beginning of the year 9999, in seconds.
const YEAR_9999: i64 = 253_370_764_800;

impl Timestamp {
    /// Makes a time from microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Makes a time from milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// Makes a time from whole seconds since the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Whether a clock may show this time: a year from 1970 to 9998, which every HTTP date format can express.
    pub const fn is_plausible(self) -> bool {
        self.0 >= 0 && self.seconds() < YEAR_9999
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The time cut to milliseconds, the precision that records keep.
    #[must_use]
    pub const fn whole_millis(self) -> Self {
        Self::from_millis(self.millis())
    }

    /// The time that is `span` later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The time that is `span` earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The time until `later`; zero if that has passed.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_micros(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }
}

/// RFC 3339, UTC, milliseconds: `2026-11-22T08:30:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = jiff::Timestamp::from_millisecond(self.millis()).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        write!(f, "{at:.3}")
    }
}

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        text.parse::<jiff::Timestamp>().map(|at| Self(at.as_microsecond())).map_err(|_| NotATime)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(micros: i64, expected: &str) {
        assert_eq!(Timestamp::from_micros(micros).to_string(), expected);
    }

    #[test]
    fn times_are_shown_in_utc_with_milliseconds() {
        check(0, "1970-01-01T00:00:00.000Z");
        check(1_795_336_200_000_000, "2026-11-22T08:30:00.000Z");
        check(1_795_336_200_123_999, "2026-11-22T08:30:00.123Z");
        check(-1, "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn a_clock_shows_a_year_from_1970_on_that_has_four_digits() {
        let first = "9999-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
        let times =
            [Timestamp::from_micros(-1), Timestamp::from_micros(0), first.minus(Duration::from_micros(1)), first];
        assert_eq!(times.map(Timestamp::is_plausible), [false, true, true, false]);
    }

    #[test]
    fn the_ends_of_time_can_be_shown() {
        for micros in [i64::MIN, i64::MAX] {
            assert!(Timestamp::from_micros(micros).to_string().ends_with('Z'));
        }
    }

    #[test]
    fn offsets_are_understood_and_what_is_no_time_is_refused() {
        assert_eq!("2026-11-22T10:30:00+02:00".parse(), Ok(Timestamp::from_seconds(1_795_336_200)));
        for text in ["", "now", "2026-11-22", "2026-11-22T10:30:00", "2026-13-22T10:30:00Z", "1795336200"] {
            assert_eq!(text.parse::<Timestamp>(), Err(NotATime), "{text}");
        }
    }

    #[test]
    fn spans_saturate_and_never_run_backwards() {
        let (early, late) = (Timestamp::from_seconds(1), Timestamp::from_seconds(3));
        assert_eq!(early.until(late), Duration::from_secs(2));
        assert_eq!(late.until(early), Duration::ZERO);
        assert_eq!(
            Timestamp::from_micros(i64::MIN).until(Timestamp::from_micros(i64::MAX)).as_micros(),
            i64::MAX as u128
        );
        assert_eq!(late.plus(Duration::MAX).micros(), i64::MAX);
        assert_eq!(Timestamp::from_micros(i64::MIN).minus(Duration::MAX).micros(), i64::MIN);
        assert_eq!(Timestamp::from_seconds(i64::MAX).micros(), i64::MAX);
    }

    proptest! {
        #[test]
        fn every_time_is_read_back_to_the_millisecond(micros in -60_000_000_000_000_000..250_000_000_000_000_000_i64) {
            let time = Timestamp::from_micros(micros);
            prop_assert_eq!(time.to_string().parse(), Ok(time.whole_millis()));
        }

        #[test]
        fn no_number_and_no_text_makes_it_panic(micros: i64, text in "\\PC*") {
            let time = Timestamp::from_micros(micros);
            let _ = (time.to_string(), time.seconds(), time.whole_millis(), text.parse::<Timestamp>());
        }
    }
}
