//! A site that echoes its requests.

use std::{
    io::{BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
};

/// A site on this machine that records requests, and echoes them.
pub(super) struct Site {
    pub(super) port: u16,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) head: String,
    pub(super) bytes: usize,
    /// The last bytes of the body.
    pub(super) end: String,
}

impl Site {
    pub(super) fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let (stream, noted) = (StreamOwned::new(connection, stream.unwrap()), Arc::clone(&noted));
                thread::spawn(move || serve(BufReader::new(stream), &noted));
            }
        });
        Self { port, certificate, seen }
    }

    pub(super) fn origin(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(super) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

/// Answers the requests of a connection, and returns `None` at its end.
fn serve<S: Read + Write>(mut stream: BufReader<S>, noted: &Mutex<Vec<Seen>>) -> Option<()> {
    loop {
        let head = head_of(&mut stream)?;
        if head.to_lowercase().contains("upgrade: websocket") {
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            noted.lock().unwrap().push(Seen { head, bytes: 0, end: String::new() });
            stream.get_mut().write_all(answer.as_bytes()).ok()?;
            loop {
                let message = message_of(&mut stream)?;
                let end = String::from_utf8_lossy(&message).into_owned();
                noted.lock().unwrap().push(Seen { head: String::new(), bytes: message.len(), end });
                let length = u8::try_from(message.len()).unwrap();
                // After a message that begins with `bye`, the site closes with the message as the reason.
                let head =
                    if message.starts_with(b"bye") { vec![0x88, length + 2, 3, 232] } else { vec![0x81, length] };
                stream.get_mut().write_all(&[head, message].concat()).ok()?;
            }
        }
        let body = body_of(&mut stream, &head)?;
        let end = String::from_utf8_lossy(&body[body.len().saturating_sub(2000)..]).into_owned();
        noted.lock().unwrap().push(Seen { head, bytes: body.len(), end: end.clone() });
        let (echo, length) = (one_line(&end), end.len());
        let answer = if noted_path(noted) == "/odd" {
            format!(
                "HTTP/1.1 200 not {echo}\r\nContent-Encoding: UTF-8\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n\
                 {length:x}\r\n{end}\r\n0\r\nX-End: {echo}\r\n\r\n"
            )
        } else {
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Echo: {echo}\r\n\r\n{end}")
        };
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

/// The path of the last request.
fn noted_path(noted: &Mutex<Vec<Seen>>) -> String {
    noted.lock().unwrap().last().and_then(|seen| seen.head.split(' ').nth(1).map(ToOwned::to_owned)).unwrap_or_default()
}

fn one_line(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).rev().take(6).collect::<Vec<_>>().into_iter().rev().collect()
}

/// Reads the head of a message.
pub(super) fn head_of(stream: &mut impl std::io::BufRead) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

pub(super) fn body_of(stream: &mut impl std::io::BufRead, head: &str) -> Option<Vec<u8>> {
    let head = head.to_lowercase();
    let mut body = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            let length = usize::from_str_radix(line.trim(), 16).unwrap();
            let mut chunk = vec![0; length + 2];
            stream.read_exact(&mut chunk).ok()?;
            body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                return Some(body);
            }
        }
    }
    if let Some((_, rest)) = head.split_once("content-length: ") {
        body.resize(rest.split("\r\n").next().unwrap().parse().unwrap(), 0);
        stream.read_exact(&mut body).ok()?;
    }
    Some(body)
}

/// Reads a message of a WebSocket, of any number of frames, masked or not.
pub(super) fn message_of(stream: &mut impl Read) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head).ok()?;
        let mut mask = [0; 4];
        if head[1] & 0x80 != 0 {
            stream.read_exact(&mut mask).ok()?;
        }
        let mut payload = vec![0; (head[1] & 0x7f).into()];
        stream.read_exact(&mut payload).ok()?;
        message.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        if head[0] & 0x80 != 0 {
            return Some(message);
        }
    }
}
