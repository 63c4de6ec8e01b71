//! Long work: at a terminal, a line on standard error shows its progress, and a person can interrupt it.
//! In a pipe or a program's window, nothing is shown.

use std::{fmt::Write as _, time::Duration};

use tokio::time::{Instant, interval_at};

use super::{Failure, interrupt::stop_signal, output::Console, table::cut};

/// How long work may take before anything is shown: most is done by then.
const QUIET: Duration = Duration::from_millis(400);
/// How often the line is redrawn.
const TICK: Duration = Duration::from_millis(100);
/// The width of the bar between its brackets, in columns.
const BAR: usize = 24;
/// The number of columns assumed for a terminal of unknown width.
const WIDE: usize = 80;

/// The progress of work.
pub(super) enum Stage {
    /// Unknown.
    Somewhere,
    /// Unknown, and the work can no longer be interrupted.
    Last,
    /// The number of items done, and the number of all. Once all are done, the work can no longer be interrupted.
    Done(usize, usize),
}

/// Waits for work to end.
///
/// # Errors
/// [`Failure::Interrupted`]: a person or another process interrupted the work, which was dropped.
pub(super) async fn watched<T>(
    console: &mut Console,
    what: &str,
    stage: impl Fn() -> Stage,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let stopped = stop_signal()?;
    tokio::pin!(stopped, work);
    let shows = console.looks().notes.terminal && !console.is_json();
    let wide = console.notes_width().unwrap_or(WIDE).saturating_sub(1);
    let mut ticks = interval_at(Instant::now() + QUIET, TICK);
    let mut drawn = 0_u32;
    let ended = loop {
        let may_stop = match stage() {
            Stage::Somewhere => true,
            Stage::Last => false,
            Stage::Done(done, of) => done < of,
        };
        tokio::select! {
            biased;
            () = &mut stopped, if may_stop => break Err(Failure::Interrupted),
            done = &mut work => break Ok(done),
            _ = ticks.tick(), if shows => {
                console.note_part(&format!("\r{}\u{1b}[K", cut(&line(what, &stage(), drawn), wide)));
                drawn = drawn.saturating_add(1);
            }
        }
    };
    if drawn > 0 {
        console.note_part("\r\u{1b}[K");
    }
    ended
}

/// The line that is drawn the nth time.
fn line(what: &str, stage: &Stage, nth: u32) -> String {
    let mut line = String::from("[");
    match *stage {
        Stage::Somewhere | Stage::Last => {
            let at = usize::try_from(nth).unwrap_or_default() % BAR;
            let waited = QUIET + TICK * nth;
            line.extend((0..BAR).map(|column| if column == at { '=' } else { ' ' }));
            let stops = if matches!(stage, Stage::Somewhere) { "; Ctrl-C stops it" } else { "" };
            let _ = write!(line, "] {what}: {} s{stops}", waited.as_secs());
        }
        Stage::Done(done, of) => {
            let full = done.saturating_mul(BAR).checked_div(of).unwrap_or(BAR);
            line.extend((0..BAR).map(|column| if column < full { '=' } else { ' ' }));
            let _ = write!(line, "] {what}: {done} of {of}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_moves_and_fills() {
        assert_eq!(
            line("opening x", &Stage::Somewhere, 0),
            "[=                       ] opening x: 0 s; Ctrl-C stops it"
        );
        assert_eq!(
            line("opening x", &Stage::Somewhere, 26),
            "[  =                     ] opening x: 3 s; Ctrl-C stops it"
        );
        assert_eq!(line("storing", &Stage::Done(0, 100), 3), "[                        ] storing: 0 of 100");
        assert_eq!(line("storing", &Stage::Done(50, 100), 3), "[============            ] storing: 50 of 100");
        assert_eq!(line("storing", &Stage::Done(100, 100), 3), "[========================] storing: 100 of 100");
        assert_eq!(line("storing", &Stage::Done(0, 0), 3), "[========================] storing: 0 of 0");
    }
}
