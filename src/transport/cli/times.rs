//! Times as people write and read them.

use std::time::Duration;

use super::failure::Failure;
use crate::domain::{
    span::{DAY, Span},
    time::Timestamp,
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// After this many days, a date is shown instead of a number of days.
const TOLD_DAYS_MAX: u64 = 30;

/// Reads a span such as `90s`, `10m`, `2h`, `7d`.
pub(super) fn span(flag: &str, text: &str) -> Result<Duration, Failure> {
    text.parse().map(|Span(span)| span).map_err(|problem| Failure::Usage(format!("{flag} {problem}")))
}

/// Reads a past time: RFC 3339, a date, or a span before now.
pub(super) fn past(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let ago = || text.parse().ok().map(|Span(span)| now.minus(span));
    moment(text).or_else(ago).ok_or_else(|| not_a_time(flag))
}

/// Reads a future time: RFC 3339, a date, or a span from now.
pub(super) fn future(flag: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let ahead = || text.parse().ok().map(|Span(span)| now.plus(span));
    moment(text).or_else(ahead).ok_or_else(|| not_a_time(flag))
}

/// A time for a person at a terminal.
pub(super) fn in_words(at: Timestamp, now: Timestamp) -> String {
    let (distance, ahead) = if at > now { (now.until(at), true) } else { (at.until(now), false) };
    let seconds = distance.as_secs();
    let count = |number: u64, unit: &str| {
        let plural = if number == 1 { "" } else { "s" };
        if ahead { format!("in {number} {unit}{plural}") } else { format!("{number} {unit}{plural} ago") }
    };
    match seconds {
        0..MINUTE if ahead => "in a moment".to_owned(),
        0..MINUTE => "just now".to_owned(),
        MINUTE..HOUR => count(seconds / MINUTE, "minute"),
        HOUR..DAY => count(seconds / HOUR, "hour"),
        _ if seconds / DAY <= TOLD_DAYS_MAX => count(seconds / DAY, "day"),
        _ => at.to_string().chars().take("2026-11-22".len()).collect(),
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().or_else(|_| format!("{text}T00:00:00Z").parse()).ok()
}

fn not_a_time(flag: &str) -> Failure {
    Failure::Usage(format!(
        "{flag} must be a time such as 2026-11-22T08:30:00Z, a date such as 2026-11-22, or a span such as 2h or 7d"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    #[test]
    fn spans_count_back_for_the_past_and_on_for_the_future() {
        assert_eq!(past("--since", "2h", NOW).unwrap(), Timestamp::from_seconds(1_800_000_000 - 7200));
        assert_eq!(future("--expires", "90d", NOW).unwrap(), Timestamp::from_seconds(1_800_000_000 + 90 * 86_400));
        assert_eq!(past("--since", "2026-11-22", NOW).unwrap(), "2026-11-22T00:00:00Z".parse().unwrap());
        assert_eq!(past("--since", "2026-11-22T08:30:00+02:00", NOW).unwrap().to_string(), "2026-11-22T06:30:00.000Z");
    }

    #[test]
    fn what_is_no_time_is_refused_without_being_quoted() {
        for wrong in ["", "h", "2", "2w", "-2h", "yesterday", "2026-13-40", "99999999999999999999d", "é"] {
            let refused = past("--since", wrong, NOW).unwrap_err().to_string();
            assert!(refused.starts_with("--since must be a time such as"), "{wrong}");
        }
    }

    #[test]
    fn a_moment_is_told_by_its_distance() {
        let at = |seconds: i64| in_words(Timestamp::from_seconds(1_800_000_000 + seconds), NOW);
        assert_eq!(at(-59), "just now");
        assert_eq!(at(-60), "1 minute ago");
        assert_eq!(at(-7_199), "1 hour ago");
        assert_eq!(at(-86_400 * 30), "30 days ago");
        assert_eq!(at(-86_400 * 31), "2026-12-15");
        assert_eq!(at(86_400 * 2), "in 2 days");
        assert_eq!(at(5), "in a moment");
    }
}
