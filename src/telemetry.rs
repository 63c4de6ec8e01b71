//! Logs: to standard error, for operators, with a filter of their choice. A log never holds a seed, a code, a key, a
//! URI or a body.
//!
//! In this crate types ensure that; for other crates, caps do, whatever the filter is. `rmcp` logs whole requests,
//! seeds among them, below `warn`, and at `warn` ids and method names that the client chose.

use std::{io::Write as _, panic};

use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer as _,
    filter::{Targets, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// The most verbose level of other crates, by target prefix.
const CAPS: [(&str, LevelFilter); 9] = [
    ("rmcp", LevelFilter::ERROR),
    // It logs every client that hangs up before its answer as an error.
    ("rmcp::service", LevelFilter::OFF),
    // It logs a session's worker that a client left during `initialize` as fatal.
    ("rmcp::transport::worker", LevelFilter::OFF),
    ("hyper", LevelFilter::INFO),
    ("h2", LevelFilter::INFO),
    ("rustls", LevelFilter::INFO),
    ("tokio_rustls", LevelFilter::INFO),
    ("tower", LevelFilter::INFO),
    ("ureq", LevelFilter::INFO),
];

/// The text is not a log filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("--log must be a filter such as `debug` or `countersign=trace,warn`")]
pub struct NotAFilter;

/// Whether log lines have colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// With colour.
    Colour,
    /// Without colour.
    Plain,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Form {
    /// A line of text
    #[default]
    Text,
    /// A JSON object on a line: `timestamp`, `level`, `target`, `message` and the fields of the event
    Json,
}

/// Starts logging. Once for each process; a second start changes nothing.
///
/// # Errors
/// [`NotAFilter`].
pub fn start(filter: &str, form: Form, ink: Ink) -> Result<(), NotAFilter> {
    // `Targets` rather than `EnvFilter`: targets and levels suffice, and `EnvFilter` depends on a regex engine.
    let filter: Targets = filter.parse().map_err(|_| NotAFilter)?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match form {
        Form::Text => lines.with_ansi(ink == Ink::Colour).boxed(),
        Form::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
    };
    // Both filters are global: a per-layer filter would lose the line after each `enabled!` that it denied. The caps are
    // a filter of their own, so that no directive can override them.
    let _ = tracing_subscriber::registry().with(lines).with(filter).with(filter_fn(within_caps)).try_init();
    Ok(())
}

/// Makes panics print their location only: a panic's message may hold secrets.
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
        // An error is a bug of this program, not a client that hung up.
        assert!(!allows("rmcp::service", Level::ERROR) && !allows("rmcp::transport::worker", Level::ERROR));
        assert!(!allows("hyper_util::client", Level::DEBUG));
        assert!(allows("countersign::service", Level::TRACE));
    }
}
