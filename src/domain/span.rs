//! Durations, as people write them: `90s`, `24h`, `7d`.

use std::{str::FromStr, time::Duration};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// Seconds of a day.
pub const DAY: u64 = 24 * HOUR;

/// A number of seconds, minutes, hours or days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// The text is not a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number and a unit (s, m, h or d), such as 90s, 24h or 7d")]
pub struct NotASpan;

impl FromStr for Span {
    type Err = NotASpan;

    fn from_str(text: &str) -> Result<Self, NotASpan> {
        let text = text.trim();
        let (number, unit) = text.len().checked_sub(1).and_then(|last| text.split_at_checked(last)).ok_or(NotASpan)?;
        let each = match unit {
            "s" => 1,
            "m" => MINUTE,
            "h" => HOUR,
            "d" => DAY,
            _ => return Err(NotASpan),
        };
        // The number parser accepts a sign.
        let number = Some(number).filter(|number| !number.starts_with('+')).ok_or(NotASpan)?;
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(each));
        seconds.map(|seconds| Self(Duration::from_secs(seconds))).ok_or(NotASpan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_a_number_and_a_unit() {
        let read = |text: &str| text.parse::<Span>().map(|Span(span)| span.as_secs());
        assert_eq!(["90s", " 2m", "24h", "7d"].map(read), [Ok(90), Ok(120), Ok(86_400), Ok(604_800)]);
        for wrong in ["", "h", "2", "2w", "-2h", "+2h", "1.5h", "99999999999999999999d", "é"] {
            assert_eq!(read(wrong), Err(NotASpan), "{wrong}");
        }
    }
}
