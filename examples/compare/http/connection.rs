//! A persistent connection in plain blocking HTTP/1.1: enough for these servers, with as little work as possible.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

/// A request, ready to send.
#[derive(Clone)]
pub(crate) struct Request(String);

/// A connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    line: String,
}

/// The parts of an answer's head that are used here.
pub(crate) struct Head {
    status: u16,
    length: Length,
    /// The MCP session that it opens.
    session: Option<String>,
}

enum Length {
    Bytes(usize),
    Chunks,
}

/// A complete answer.
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A request with this token.
    pub(crate) fn new(method: &str, path: &str, token: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n");
        for (name, value) in headers {
            text = text + name + ": " + value + "\r\n";
        }
        if method == "POST" {
            text = format!("{text}content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        Self(text + "\r\n" + body)
    }
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), line: String::new() })
    }

    /// Sends a request, and reads its answer.
    pub(crate) fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        self.send(request)?;
        self.receive()
    }

    pub(crate) fn send(&mut self, request: &Request) -> io::Result<()> {
        self.stream.get_mut().write_all(request.0.as_bytes())
    }

    /// Reads an answer.
    pub(crate) fn receive(&mut self) -> io::Result<Answer> {
        let head = self.head()?;
        let mut body = Vec::new();
        match head.length {
            Length::Bytes(count) => {
                body.resize(count, 0);
                self.stream.read_exact(&mut body)?;
            }
            Length::Chunks => while self.chunk(&mut body)? {},
        }
        Ok(Answer { head, body })
    }

    /// Reads the head of an answer, and leaves its body unread.
    pub(crate) fn head(&mut self) -> io::Result<Head> {
        self.read_line()?;
        let status = self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(no_http)?;
        let mut head = Head { status, length: Length::Bytes(0), session: None };
        loop {
            self.read_line()?;
            let Some((name, value)) = self.line.split_once(": ") else { return Ok(head) };
            if name.eq_ignore_ascii_case("content-length") {
                head.length = Length::Bytes(value.parse().map_err(|_| no_http())?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.length = Length::Chunks;
            } else if name.eq_ignore_ascii_case("mcp-session-id") {
                head.session = Some(value.to_owned());
            }
        }
    }

    /// Reads one chunk of a body; returns `false` after the last one.
    pub(crate) fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        self.read_line()?;
        let count = usize::from_str_radix(&self.line, 16).map_err(|_| no_http())?;
        let before = body.len();
        body.resize(before + count, 0);
        self.stream.read_exact(body.get_mut(before..).unwrap_or_default())?;
        self.read_line()?;
        Ok(count > 0)
    }

    /// Fails if unread data has arrived, or the server has closed the connection.
    pub(crate) fn is_silent(&self) -> io::Result<()> {
        let stream = self.stream.get_ref();
        stream.set_nonblocking(true)?;
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        match peeked {
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(cause) => Err(cause),
            Ok(_) => Err(io::Error::other("an answer instead of a wait")),
        }
    }

    fn read_line(&mut self) -> io::Result<()> {
        self.line.clear();
        if self.stream.read_line(&mut self.line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.line.truncate(self.line.trim_end_matches(['\r', '\n']).len());
        Ok(())
    }
}

impl Head {
    /// Fails unless the answer has this status.
    pub(crate) fn expect(&self, status: u16) -> io::Result<&Self> {
        if self.status == status {
            return Ok(self);
        }
        Err(io::Error::other(format!("status {} instead of {status}", self.status)))
    }

    /// The MCP session that the answer opens.
    pub(crate) fn session(&self) -> io::Result<&str> {
        self.session.as_deref().ok_or_else(|| io::Error::other("an answer without a session"))
    }
}

fn no_http() -> io::Error {
    io::Error::other("this is no HTTP answer")
}
