//! Lines of an input, none longer than a message may be.

use std::{future::pending, io};

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};
use zeroize::Zeroize as _;

use crate::domain::limits::LINE_BYTES_MAX;

/// What a buffer may keep of its size between lines.
const KEPT_BYTES: usize = 64 * 1024;
/// Room from the start, for a line such as most are: a buffer that grows leaves copies of what it held behind.
const READY_BYTES: usize = 4 * 1024;

/// Reads lines of at most [`LINE_BYTES_MAX`] bytes beside their line break.
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// The rest of this line is left out.
    skipping: bool,
    /// The line was given out.
    given: bool,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// A line, without its line break.
    Whole(&'a [u8]),
    /// The beginning of a line that is too long. What is left of it is not read.
    TooLong,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, line: Vec::with_capacity(READY_BYTES), skipping: false, given: false }
    }

    /// Waits for the end of the input, for ever if something else comes first. That stays to be read.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        if self.input.fill_buf().await?.is_empty() { Ok(()) } else { pending().await }
    }

    /// The next line; `None` at the end. Safe to drop at any moment: what was read is kept for the next call.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        if std::mem::take(&mut self.given) {
            // A seed may have stood there.
            self.line.as_mut_slice().zeroize();
            self.line.clear();
            self.line.shrink_to(KEPT_BYTES);
        }
        loop {
            let read = self.input.fill_buf().await?;
            if read.is_empty() {
                // The last line may end with the input.
                let last = !self.line.is_empty() && !std::mem::replace(&mut self.given, true);
                return Ok(last.then_some(Line::Whole(without_break(&self.line))));
            }
            let ends = read.iter().position(|byte| *byte == b'\n');
            let taken = ends.map_or(read.len(), |at| at + 1);
            let skipped = self.skipping;
            if !skipped {
                self.line.extend_from_slice(read.get(..taken).unwrap_or_default());
            }
            self.input.consume(taken);
            let fits = without_break(&self.line).len() <= LINE_BYTES_MAX;
            self.skipping = ends.is_none() && (skipped || !fits);
            if skipped {
                continue;
            }
            if !fits {
                self.line.clear();
                return Ok(Some(Line::TooLong));
            }
            if ends.is_some() {
                self.given = true;
                return Ok(Some(Line::Whole(without_break(&self.line))));
            }
        }
    }
}

fn without_break(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    /// Each line's length, or `None` if it was too long; read through a buffer of this size.
    async fn lengths(input: &[u8], buffer: usize) -> Vec<Option<usize>> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer, input));
        let mut lengths = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            lengths.push(match line {
                Line::Whole(line) => Some(line.len()),
                Line::TooLong => None,
            });
        }
        lengths
    }

    #[tokio::test]
    async fn lines_come_whole_and_one_that_is_too_long_hurts_no_other() {
        let long = |bytes: usize, end: &str| [vec![b'x'; bytes], end.into()].concat();
        let input = [
            b"one\r\n\n".to_vec(),
            long(LINE_BYTES_MAX, "\n"),
            long(LINE_BYTES_MAX, "\r\n"),
            long(LINE_BYTES_MAX + 1, "\n"),
            b"two\n".to_vec(),
            long(LINE_BYTES_MAX, "\rx\n"),
            long(3 * LINE_BYTES_MAX, "\r\n"),
            long(5 * LINE_BYTES_MAX, "\n"),
            b"three\nthe end".to_vec(),
        ]
        .concat();
        let most = Some(LINE_BYTES_MAX);
        let expected = [Some(3), Some(0), most, most, None, Some(3), None, None, None, Some(5), Some(7)];
        for buffer in [1000, 8192, 2 * LINE_BYTES_MAX] {
            assert_eq!(lengths(&input, buffer).await, expected, "{buffer}");
        }
    }

    #[tokio::test]
    async fn the_end_is_seen_and_nothing_is_lost_by_looking_for_it() {
        let mut lines = Lines::new(BufReader::new(&b"one\ntwo"[..]));
        for line in [&b"one"[..], b"two"] {
            assert!(futures::FutureExt::now_or_never(lines.end()).is_none());
            assert_eq!(lines.next().await.unwrap(), Some(Line::Whole(line)));
        }
        lines.end().await.unwrap();
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_survives_a_reader_that_gives_up() {
        let (mut host, ours) = tokio::io::duplex(64);
        let mut lines = Lines::new(BufReader::new(ours));
        for piece in ["begin", "ning", " and end\n"] {
            assert!(futures::FutureExt::now_or_never(lines.next()).is_none());
            tokio::io::AsyncWriteExt::write_all(&mut host, piece.as_bytes()).await.unwrap();
        }
        assert_eq!(lines.next().await.unwrap(), Some(Line::Whole(b"beginning and end")));
    }
}
