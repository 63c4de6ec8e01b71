//! A network between a process and the server that can be cut at a chosen moment.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
};

/// The moment at which the next connection that commits is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Cut {
    /// Never.
    Not = 0,
    /// Before the commit reaches the server.
    Before = 1,
    /// After the server has committed, and before its answer arrives.
    After = 2,
}

/// The proxy. It ends with the runtime.
pub(super) struct Proxy {
    way: Arc<Way>,
    port: u16,
}

/// The settings and counters of all connections.
#[derive(Default)]
struct Way {
    cut: AtomicU8,
    /// The number of further connections that are cut in the same way.
    more: AtomicUsize,
    /// No connection gets through.
    closed: AtomicBool,
    /// The number of connections that were tried.
    tried: AtomicUsize,
    /// Answers are held back until these statements have been sent.
    held: tokio::sync::watch::Sender<Option<Held>>,
    /// This many of the first connections get no more answers, and don't break.
    silent: AtomicUsize,
}

/// A text in the single statement that is a whole commit.
const SINGLE: &[u8] = b"set_config('lock_timeout'";
/// The server's messages after a transaction that has ended by COMMIT, and after one that was a statement with a row.
const COMMITTED: [&[u8]; 2] = [b"COMMIT\0", b"SELECT 1\0Z\0\0\0\x05I"];

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// Finds the commit in a client's messages.
#[derive(Default)]
struct Commits {
    /// The name of the prepared statement for a whole commit.
    single: Option<Vec<u8>>,
}

impl Commits {
    /// The offset of a message that commits.
    fn at(&mut self, bytes: &[u8]) -> Option<usize> {
        // A statement is prepared by a message that comes alone: its type, length and name, then the text.
        if bytes.first() == Some(&b'P') && find(bytes, SINGLE).is_some() {
            self.single = bytes[5..].split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
            return None;
        }
        // The messages come in one piece, or COMMIT in the last piece. A statement is executed by a message with its
        // type, its length, an empty name of its own, and the statement's name.
        let bound = self.single.as_ref().map(|name| [b"\0", name.as_slice(), b"\0"].concat());
        let bound = bound.and_then(|bound| find(bytes, &bound)).filter(|at| *at >= 5 && bytes[at - 5] == b'B');
        find(bytes, COMMITTED[0]).or(bound).map(|at| at - 5)
    }
}

/// The number of further statements with a text that must be sent.
#[derive(Debug, Clone, Copy)]
struct Held {
    text: &'static str,
    more: usize,
}

impl Way {
    /// Counts the statements that must be sent, and returns the cut for this piece.
    fn look_at(&self, bytes: &[u8], commits: bool) -> u8 {
        self.held.send_if_modified(|held| {
            let Some(Held { text, more }) = held else { return false };
            *more = more.saturating_sub(bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count());
            if *more == 0 {
                *held = None;
            }
            held.is_none()
        });
        if commits { self.next() } else { Cut::Not as u8 }
    }

    /// Returns the cut for a piece that commits.
    fn next(&self) -> u8 {
        if self.more.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |more| more.checked_sub(1)).is_ok() {
            return self.cut.load(Ordering::SeqCst);
        }
        self.cut.swap(Cut::Not as u8, Ordering::SeqCst)
    }
}

impl Proxy {
    /// A proxy in front of the tests' server.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let way = Arc::new(Way::default());
        let of = Arc::clone(&way);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let number = of.tried.fetch_add(1, Ordering::SeqCst);
                if !of.closed.load(Ordering::SeqCst) {
                    tokio::spawn(carry(client, Arc::clone(&of), number));
                }
            }
        });
        Self { way, port }
    }

    /// Lets no connection through any more, or lets them through again. Open connections break as soon as they send.
    pub(super) fn close(&self, closed: bool) {
        self.way.closed.store(closed, Ordering::SeqCst);
    }

    /// Open connections get no more answers, as from a machine that hangs. New ones do.
    pub(super) fn silence(&self) {
        self.way.silent.store(self.tried(), Ordering::SeqCst);
    }

    /// Lets no answer through until `more` statements with this text were sent.
    pub(super) fn hold(&self, text: &'static str, more: usize) {
        self.way.held.send_replace(Some(Held { text, more }));
    }

    /// Whether it still waits for such statements.
    pub(super) fn is_holding(&self) -> bool {
        self.way.held.borrow().is_some()
    }

    /// The number of connections that were tried.
    pub(super) fn tried(&self) -> usize {
        self.way.tried.load(Ordering::SeqCst)
    }

    /// Cuts the next `times` connections that commit.
    pub(super) fn cut_each(&self, cut: Cut, times: usize) {
        self.way.more.store(times - 1, Ordering::SeqCst);
        self.cut(cut);
    }

    /// The address of a database, through the proxy.
    pub(super) fn address(&self, direct: &str) -> String {
        let database = direct.split(['/', '?']).nth(3).unwrap();
        format!("postgres://countersign@127.0.0.1:{}/{database}", self.port)
    }

    /// Cuts the next connection that commits.
    pub(super) fn cut(&self, cut: Cut) {
        self.way.cut.store(cut as u8, Ordering::SeqCst);
    }

    /// Whether the cut has happened.
    pub(super) fn has_cut(&self) -> bool {
        self.way.cut.load(Ordering::SeqCst) == Cut::Not as u8
    }
}

fn socket() -> String {
    let server = super::server();
    let folder = server.split_once("host=").unwrap().1.replace("%2F", "/");
    format!("{folder}/.s.PGSQL.5432")
}

async fn carry(client: TcpStream, way: Arc<Way>, number: usize) {
    let server = UnixStream::connect(socket()).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let ask = async {
        let (mut bytes, mut commits) = (vec![0; 65_536], Commits::default());
        loop {
            let read = from_client.read(&mut bytes).await.unwrap_or(0);
            if read == 0 || way.closed.load(Ordering::SeqCst) {
                return false;
            }
            if number < way.silent.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let at = commits.at(&bytes[..read]);
            let now = way.look_at(&bytes[..read], at.is_some());
            if let Some(at) = at.filter(|_| now == Cut::Before as u8) {
                to_server.write_all(&bytes[..at]).await.unwrap();
                return false;
            }
            if to_server.write_all(&bytes[..read]).await.is_err() {
                return false;
            }
            if now == Cut::After as u8 {
                return true;
            }
        }
    };
    let answer = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let read = from_server.read(&mut bytes).await.unwrap_or(0);
            way.held.subscribe().wait_for(Option::is_none).await.unwrap();
            if read == 0 || to_client.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    let answers_are_lost = tokio::select! {
        lost = ask => lost,
        () = answer => false,
    };
    if answers_are_lost {
        // The client gets no more data; the server carries out what it has received.
        drop(to_client);
        drop(from_client);
        let mut rest = Vec::new();
        let committed = async {
            let mut bytes = vec![0; 65_536];
            while !COMMITTED.iter().any(|text| find(&rest, text).is_some()) {
                let read = from_server.read(&mut bytes).await.unwrap_or(0);
                if read == 0 {
                    return;
                }
                rest.extend_from_slice(&bytes[..read]);
            }
        };
        committed.await;
    }
}
