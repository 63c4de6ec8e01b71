//! Rates, as people write them: `600/min`.

use std::{fmt, str::FromStr, time::Duration};

/// The largest number in a rate: a greater one would not limit anything.
const COUNT_MAX: u32 = 1_000_000;

/// A number of times per second, minute or hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Per,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Per {
    Second,
    Minute,
    Hour,
}

/// The text is not a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of 1 to 1000000 per s, min or h, such as 600/min")]
pub struct NotARate;

impl Rate {
    /// `count` times a minute; 0 counts as 1.
    pub const fn per_minute(count: u32) -> Self {
        Self { count: if count == 0 { 1 } else { count }, per: Per::Minute }
    }

    /// Ten times as often.
    #[must_use]
    pub const fn tenfold(self) -> Self {
        Self { count: self.count.saturating_mul(10), per: self.per }
    }

    /// The rate's unit: the calls of one span may come evenly or at once.
    pub const fn span(self) -> Duration {
        Duration::from_secs(match self.per {
            Per::Second => 1,
            Per::Minute => 60,
            Per::Hour => 3600,
        })
    }

    /// The time between two calls at an even pace.
    pub fn interval(self) -> Duration {
        self.span() / self.count
    }
}

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let (count, per) = text.trim().split_once('/').ok_or(NotARate)?;
        let per = match per {
            "s" | "sec" | "second" => Per::Second,
            "m" | "min" | "minute" => Per::Minute,
            "h" | "hour" => Per::Hour,
            _ => return Err(NotARate),
        };
        // `parse` alone would accept a plus sign.
        let count: u32 = Some(count)
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()))
            .ok_or(NotARate)?
            .parse()
            .map_err(|_| NotARate)?;
        if (1..=COUNT_MAX).contains(&count) { Ok(Self { count, per }) } else { Err(NotARate) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Per::Second => "s",
            Per::Minute => "min",
            Per::Hour => "h",
        };
        write!(f, "{}/{per}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_reads_back_as_it_is_written() {
        for text in ["1/s", "600/min", "1000000/h"] {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.to_string()).as_deref(), Ok(text));
        }
        assert_eq!("60/min".parse::<Rate>().map(Rate::interval), Ok(Duration::from_secs(1)));
        assert_eq!(Rate::per_minute(0).interval(), Duration::from_mins(1));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in ["", "60", "/min", "0/min", "1000001/s", "-1/s", "+1/s", "1.5/s", "1/day", "1/s/s", "99999999999/s"]
        {
            assert_eq!(text.parse::<Rate>(), Err(NotARate), "{text}");
        }
    }
}
