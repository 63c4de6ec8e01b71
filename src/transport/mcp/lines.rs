//! Reads lines in bounded memory.

use std::{future::pending, io, mem};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use zeroize::Zeroize as _;

use crate::domain::limits::LINE_BYTES_MAX;

/// The most bytes that are read at once.
const READ_BYTES: usize = 8 * 1024;

/// Reads lines.
pub(super) struct Lines<R> {
    input: R,
    /// The bytes that were read last. Lines hold seeds, so they are wiped before the next read.
    buffer: Vec<u8>,
    /// The number of its bytes that belong to a line.
    used: usize,
    line: Vec<u8>,
    /// Whether the last line was cut, so that its rest follows.
    cut: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, buffer: Vec::with_capacity(READ_BYTES), used: 0, line: Vec::new(), cut: false }
    }

    /// Waits for the end of the input; for ever if other data comes first, which stays unread.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        self.fill().await?;
        if self.buffer.is_empty() { Ok(()) } else { pending().await }
    }

    /// The next line without its line break; `None` at the end. Of a line longer than [`LINE_BYTES_MAX`] bytes only the
    /// beginning is returned, which is still longer than the limit.
    pub(super) async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            // Each line has memory of its own, which is wiped when it is freed.
            self.line = Vec::new();
            self.read().await?;
            if self.line.is_empty() {
                return Ok(None);
            }
            let whole = self.line.pop_if(|last| *last == b'\n').is_some();
            self.line.pop_if(|last| *last == b'\r');
            if !mem::replace(&mut self.cut, !whole) {
                return Ok(Some(&self.line));
            }
        }
    }

    /// Reads up to a line break, the end of the input, or one byte more than a line and its break may have.
    async fn read(&mut self) -> io::Result<()> {
        loop {
            self.fill().await?;
            let room = (LINE_BYTES_MAX + "\r\n".len()).saturating_sub(self.line.len());
            let ready = self.buffer.get(self.used..).unwrap_or_default();
            let part = ready.get(..room).unwrap_or(ready);
            let part = part.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
            self.line.extend_from_slice(part);
            self.used += part.len();
            if part.is_empty() || part.ends_with(b"\n") {
                return Ok(());
            }
        }
    }

    /// Reads more if all of the buffer belongs to lines. It stays empty at the end of the input.
    async fn fill(&mut self) -> io::Result<()> {
        if self.used == self.buffer.len() {
            self.buffer.as_mut_slice().zeroize();
            self.buffer.clear();
            self.used = 0;
            self.input.read_buf(&mut self.buffer).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut lines = Lines::new(input.as_slice());
        let mut lengths = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            lengths.push((line.len() <= LINE_BYTES_MAX).then_some(line.len()));
        }
        let most = Some(LINE_BYTES_MAX);
        assert_eq!(lengths, [Some(3), Some(0), most, most, None, Some(3), None, None, None, Some(5), Some(7)]);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_told_before_its_end() {
        let (mut host, ours) = tokio::io::duplex(4 * LINE_BYTES_MAX);
        let mut lines = Lines::new(ours);
        tokio::io::AsyncWriteExt::write_all(&mut host, &vec![b'x'; 2 * LINE_BYTES_MAX]).await.unwrap();
        assert!(lines.next().await.unwrap().is_some_and(|line| line.len() > LINE_BYTES_MAX));
    }

    #[tokio::test]
    async fn the_end_is_seen_and_nothing_is_lost_by_looking_for_it() {
        let mut lines = Lines::new(&b"one\ntwo"[..]);
        for line in [&b"one"[..], b"two"] {
            assert!(futures::FutureExt::now_or_never(lines.end()).is_none());
            assert_eq!(lines.next().await.unwrap(), Some(line));
        }
        lines.end().await.unwrap();
        assert_eq!(lines.next().await.unwrap(), None);
    }
}
