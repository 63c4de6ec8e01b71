//! Codes given within the last hour, counted by minute: whether a limit is used up, and until when.

use super::time::Timestamp;

/// Minutes that count beside the running one: never less than the last hour.
pub const MINUTES_COUNTED: i64 = 60;

/// Codes given to one holder, by the minute they were given in. A minute is a number of whole minutes since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HourlyCount(Vec<(i64, u32)>);

impl HourlyCount {
    /// From the minutes in which codes were given, in rising order, and how many.
    pub const fn of(minutes: Vec<(i64, u32)>) -> Self {
        Self(minutes)
    }

    /// How many were given.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, given)| u64::from(*given)).sum()
    }

    /// When the next one may be given under a limit, if that is not now: as soon as enough minutes no longer count.
    pub fn full_until(&self, most: u32) -> Option<Timestamp> {
        let mut left = self.total();
        if left < u64::from(most) {
            return None;
        }
        for (minute, given) in &self.0 {
            left = left.saturating_sub(u64::from(*given));
            if left < u64::from(most) {
                let lapses = minute.saturating_add(MINUTES_COUNTED).saturating_add(1);
                return Some(Timestamp::from_seconds(lapses.saturating_mul(60)));
            }
        }
        // A limit of nothing is always used up.
        Some(Timestamp::from_micros(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(minutes: &[(i64, u32)], most: u32, expected: Option<i64>) {
        let full = HourlyCount::of(minutes.to_vec()).full_until(most);
        assert_eq!(full, expected.map(|minute| Timestamp::from_seconds(minute * 60)), "{minutes:?} of {most}");
    }

    #[test]
    fn a_limit_is_free_below_it_and_full_at_it() {
        check(&[], 1, None);
        check(&[(100, 1)], 2, None);
        check(&[(100, 2)], 2, Some(161));
        check(&[(100, 1), (130, 1)], 2, Some(161));
    }

    #[test]
    fn it_is_full_until_enough_minutes_no_longer_count() {
        // Two more than the limit, after it was lowered: three have to lapse.
        check(&[(100, 2), (110, 1), (120, 4)], 5, Some(171));
        check(&[(100, 2), (110, 1), (120, 4)], 4, Some(181));
        check(&[(100, 2), (110, 1), (120, 4)], 7, Some(161));
    }

    #[test]
    fn a_limit_of_nothing_is_always_used_up() {
        assert!(HourlyCount::default().full_until(0).is_some());
        assert!(HourlyCount::of(vec![(100, 1)]).full_until(0).is_some());
    }
}
