//! Finds the ends of lines in a request's head. hyper accepts a bare line feed as the end of a line; a proxy in front
//! may not, and then the two disagree on the content of the head and on the start of the next request. So a bare line
//! feed is replaced before hyper sees it: the request becomes invalid, and the connection ends.

/// The replacement of a bare line feed: a byte that is invalid in a head.
const SPOILED: u8 = 0;
/// Bytes of a line that are examined: enough for the longest relevant header name and a length.
const LINE_BYTES_MAX: usize = 40;

/// Tracks the heads in a connection's bytes. A body of known length is skipped; after a chunked body, tracking restarts
/// with the bytes that arrive after the answer.
#[derive(Default)]
pub(super) struct Heads {
    line: Vec<u8>,
    length: u64,
    is_chunked: bool,
    /// Whether part of the head has arrived.
    begun: bool,
    /// Remaining bytes of a body; `None`: unknown.
    body: Option<u64>,
}

impl Heads {
    pub(super) fn new() -> Self {
        Self { body: Some(0), ..Self::default() }
    }

    /// Restarts: the next bytes are a head.
    pub(super) fn restart(&mut self) {
        *self = Self::new();
    }

    /// Whether the position of the next head is unknown.
    pub(super) const fn is_lost(&self) -> bool {
        self.body.is_none()
    }

    /// Processes bytes that arrived.
    pub(super) fn follow(&mut self, mut bytes: &mut [u8]) {
        while let Some(body) = self.body
            && !bytes.is_empty()
        {
            let passed = usize::try_from(body).unwrap_or(usize::MAX).min(bytes.len());
            self.body = Some(body - passed as u64);
            let (_, rest) = bytes.split_at_mut(passed);
            let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1);
            let (line, rest) = rest.split_at_mut(line);
            self.piece(line);
            bytes = rest;
        }
    }

    /// Processes a line, or a piece of one.
    fn piece(&mut self, piece: &mut [u8]) {
        let Some((last, before)) = piece.split_last_mut() else { return };
        if *last != b'\n' {
            self.keep(before);
            self.keep(&[*last]);
            return;
        }
        let before_it = before.last().or(self.line.last()).copied();
        self.keep(before);
        if before_it != Some(b'\r') {
            *last = SPOILED;
        }
        self.end_line();
    }

    /// Keeps the beginning of a line, and its last byte so far.
    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
        self.line.extend(bytes.iter().take(room));
        if let Some(last) = bytes.last()
            && bytes.len() > room
        {
            self.line.truncate(LINE_BYTES_MAX);
            self.line.push(*last);
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.trim_ascii();
        if !text.is_empty() {
            self.begun = true;
            let mut parts = text.splitn(2, |byte| *byte == b':');
            let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            if name.eq_ignore_ascii_case(b"content-length") {
                let number = std::str::from_utf8(value.trim_ascii()).ok().and_then(|text| text.parse().ok());
                self.length = number.unwrap_or_default();
            }
            self.is_chunked |= name.eq_ignore_ascii_case(b"transfer-encoding");
        } else if self.begun {
            let body = if self.is_chunked { None } else { Some(self.length) };
            *self = Self { body, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the bytes that hyper gets, however they are split.
    #[track_caller]
    fn check(sent: &str, seen: &str) {
        for size in 1..=sent.len() {
            let (mut heads, mut bytes) = (Heads::new(), sent.as_bytes().to_vec());
            bytes.chunks_mut(size).for_each(|piece| heads.follow(piece));
            assert_eq!(String::from_utf8(bytes).unwrap(), seen, "in pieces of {size}");
        }
    }

    #[test]
    fn heads_in_order_and_their_bodies_stay_as_they_are() {
        for good in [
            "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nhost: localhost\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length:  9 \r\n\r\n{\n\n\n\n\n\n\n}GET / HTTP/1.1\r\nx: y\r\n\r\n",
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n0\r\n\r\n",
        ] {
            check(good, good);
        }
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100));
        check(&long, &long);
    }

    #[test]
    fn a_bare_line_feed_in_a_head_is_spoiled_in_the_first_and_in_one_that_follows() {
        check("GET / HTTP/1.1\nhost: a\r\n\r\n", "GET / HTTP/1.1\0host: a\r\n\r\n");
        check("GET / HTTP/1.1\r\nhost: a\n\r\n", "GET / HTTP/1.1\r\nhost: a\0\r\n");
        check("GET / HTTP/1.1\r\nhost: a\r\n\n", "GET / HTTP/1.1\r\nhost: a\r\n\0");
        check("\nGET / HTTP/1.1\r\n\r\n", "\0GET / HTTP/1.1\r\n\r\n");
        let long = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(100));
        check(&format!("{long}\n\r\n"), &format!("{long}\0\r\n"));
        let first = "POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}";
        check(&format!("{first}GET / HTTP/1.1\n\r\n"), &format!("{first}GET / HTTP/1.1\0\r\n"));
    }
}
