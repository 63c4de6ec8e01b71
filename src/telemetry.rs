//! Logs: to standard error, for operators, filtered as they ask. Never: a seed, a code, a key, a URI or a body.
//!
//! Ours are kept out by type; other crates' are kept out by caps that hold whatever filter is asked for: `rmcp` logs whole
//! requests, seeds among them, below `warn`, and at `warn` what a client calls its requests and methods.

use std::{io::Write as _, panic};

use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    filter::{Targets, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// The most that other crates may say, by the start of their targets.
const CAPS: [(&str, LevelFilter); 8] = [
    ("rmcp", LevelFilter::ERROR),
    // It calls every client that hangs up before its answer an error.
    ("rmcp::service", LevelFilter::OFF),
    ("hyper", LevelFilter::INFO),
    ("h2", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
    ("tokio_rustls", LevelFilter::INFO),
    ("tower", LevelFilter::INFO),
    ("ureq", LevelFilter::INFO),
];

/// A text that is no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("--log must be a filter such as `debug` or `countersign=trace,warn`")]
pub struct NotAFilter;

/// Whether log lines bear colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// They do.
    Colour,
    /// They don't.
    Plain,
}

/// Starts logging. Once for each process; a second start changes nothing.
///
/// # Errors
/// [`NotAFilter`].
pub fn start(filter: &str, ink: Ink) -> Result<(), NotAFilter> {
    // Targets and levels are all that our filters say; the larger language would bring a regular-expression engine along.
    let filter: Targets = filter.parse().map_err(|_| NotAFilter)?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(ink == Ink::Colour);
    // Both filters are of the whole, not of the one layer: a layer's own would lose the line after each `enabled!` that it
    // said no to. The caps stand apart from what was asked for, so that no directive can outbid them.
    let _ = tracing_subscriber::registry().with(lines).with(filter).with(filter_fn(within_caps)).try_init();
    Ok(())
}

/// A panic's text may hold what the code had in its hands: only its place is told.
pub fn hide_panic_payloads() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(std::io::stderr(), "countersign: this is a bug (panic at {place}); please report it");
    }));
}

fn within_caps(metadata: &Metadata<'_>) -> bool {
    allows(metadata.target(), *metadata.level())
}

fn allows(target: &str, level: Level) -> bool {
    CAPS.iter().all(|(start, most)| !target.starts_with(start) || level <= *most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_crates_say_no_more_than_their_cap() {
        assert!(allows("rmcp::transport", Level::ERROR) && !allows("rmcp::transport", Level::WARN));
        assert!(!allows("rmcp::service", Level::ERROR));
        assert!(!allows("hyper_util::client", Level::DEBUG));
        assert!(allows("countersign::service", Level::TRACE));
    }
}
