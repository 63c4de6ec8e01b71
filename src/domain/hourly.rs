//! Codes given within the last hour, counted by minute: whether a limit is reached, and until when.

use super::time::Timestamp;

/// Full minutes that count besides the running one, so that at least the last hour counts.
pub const MINUTES_COUNTED: i64 = 60;

/// Codes given to one holder, by the minute they were given in. A minute is a number of whole minutes since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HourlyCount(Vec<(i64, u32)>);

impl HourlyCount {
    /// Makes a count from minutes in rising order, each with the number of codes given in it.
    pub const fn of(minutes: Vec<(i64, u32)>) -> Self {
        Self(minutes)
    }

    /// The minutes that count at a time: those of the last hour. Minutes up to an hour in the future count too, in case
    /// a clock ran ahead; later ones don't, in case it is right again.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        let minute = minute_of(now);
        let counts = |at: i64| (minute - MINUTES_COUNTED..=minute + MINUTES_COUNTED).contains(&at);
        Self(self.0.iter().copied().filter(|(at, _)| counts(*at)).collect())
    }

    /// Adds one code, given now, and drops minutes that no longer count.
    #[must_use]
    pub fn with_one(&self, now: Timestamp) -> Self {
        let minute = minute_of(now);
        let mut counted = self.at(now);
        match counted.0.binary_search_by_key(&minute, |(at, _)| *at) {
            Ok(at) => counted.0.iter_mut().skip(at).take(1).for_each(|(_, given)| *given = given.saturating_add(1)),
            Err(at) => counted.0.insert(at, (minute, 1)),
        }
        counted
    }

    /// The minutes, each with the number of codes given in it.
    pub fn minutes(&self) -> &[(i64, u32)] {
        &self.0
    }

    /// The number of codes given.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, given)| u64::from(*given)).sum()
    }

    /// When the next code may be given under a limit, if that is not now: as soon as enough minutes no longer count.
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
        // A limit of 0 is always reached.
        Some(Timestamp::from_micros(i64::MAX))
    }
}

fn minute_of(now: Timestamp) -> i64 {
    now.seconds().div_euclid(60)
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
    fn codes_are_counted_by_minute_and_forgotten_after_an_hour() {
        let at = |minute: i64| Timestamp::from_seconds(minute * 60 + 59);
        let counted = HourlyCount::of(vec![(38, 1), (39, 1), (100, 1), (159, 4), (161, 9)]);
        assert_eq!(counted.at(at(100)), HourlyCount::of(vec![(100, 1), (159, 4)]));
        assert_eq!(counted.with_one(at(100)), HourlyCount::of(vec![(100, 2), (159, 4)]));
        assert_eq!(counted.with_one(at(99)), HourlyCount::of(vec![(39, 1), (99, 1), (100, 1), (159, 4)]));
    }

    #[test]
    fn a_limit_of_nothing_is_always_used_up() {
        assert!(HourlyCount::default().full_until(0).is_some());
        assert!(HourlyCount::of(vec![(100, 1)]).full_until(0).is_some());
    }
}
