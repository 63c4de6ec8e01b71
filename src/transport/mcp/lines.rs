//! Reads lines in bounded memory.

use std::{future::pending, io, mem};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::domain::limits::LINE_BYTES_MAX;

/// Bytes that are read at once.
const READ_BYTES: usize = 8 * 1024;

/// Reads lines.
pub(super) struct Lines<R> {
    input: R,
    /// Bytes that belong to no line yet.
    ready: Bytes,
    line: Vec<u8>,
    /// Whether the last line was cut: what follows is its rest.
    cut: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, ready: Bytes::new(), line: Vec::new(), cut: false }
    }

    /// Waits for the end of the input; for ever if other data comes first, which stays unread.
    pub(super) async fn end(&mut self) -> io::Result<()> {
        if self.ready().await?.is_empty() { Ok(()) } else { pending().await }
    }

    /// The next line without its line break; `None` at the end. Of a line longer than [`LINE_BYTES_MAX`] bytes only the
    /// beginning is returned, which is still longer than the limit.
    pub(super) async fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            // Each line, like each read, has a buffer of its own: it may hold a seed, and memory is wiped when it is freed.
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
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads up to a line break, the end of the input, or one byte more than a line and its break may have.
    async fn read(&mut self) -> io::Result<()> {
        loop {
            let room = (LINE_BYTES_MAX + "\r\n".len()).saturating_sub(self.line.len());
            let ready = self.ready().await?;
            let part = ready.get(..room).unwrap_or(ready);
            let part = part.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
            let count = part.len();
            self.line.extend_from_slice(self.ready.get(..count).unwrap_or_default());
            self.ready.advance(count);
            if count == 0 || self.line.ends_with(b"\n") {
                return Ok(());
            }
        }
    }

    /// What was read and belongs to no line yet; nothing at the end of the input.
    async fn ready(&mut self) -> io::Result<&[u8]> {
        if self.ready.is_empty() {
            let mut read = Vec::with_capacity(READ_BYTES);
            self.input.read_buf(&mut read).await?;
            self.ready = read.into();
        }
        Ok(&self.ready)
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
