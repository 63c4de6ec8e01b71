//! A network between a process and the server that can be cut at a chosen moment.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
};

/// When the next connection that commits is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Cut {
    /// Never.
    Not = 0,
    /// Before the server sees the COMMIT.
    Before = 1,
    /// After the server has committed, and before its answer arrives.
    After = 2,
}

/// The proxy. It ends with the runtime.
pub(super) struct Proxy {
    cut: Arc<AtomicU8>,
    port: u16,
}

impl Proxy {
    /// A proxy in front of the tests' server.
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicU8::new(Cut::Not as u8));
        let when = Arc::clone(&cut);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, Arc::clone(&when)));
            }
        });
        Self { cut, port }
    }

    /// The address of a database, through the proxy.
    pub(super) fn address(&self, direct: &str) -> String {
        let database = direct.split(['/', '?']).nth(3).unwrap();
        format!("postgres://countersign@127.0.0.1:{}/{database}", self.port)
    }

    /// Cuts the next connection that commits.
    pub(super) fn cut(&self, cut: Cut) {
        self.cut.store(cut as u8, Ordering::SeqCst);
    }

    /// Whether it has cut.
    pub(super) fn has_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst) == Cut::Not as u8
    }
}

fn socket() -> String {
    let server = super::server();
    let folder = server.split_once("host=").unwrap().1.replace("%2F", "/");
    format!("{folder}/.s.PGSQL.5432")
}

async fn carry(client: TcpStream, cut: Arc<AtomicU8>) {
    let server = UnixStream::connect(socket()).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let ask = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let read = from_client.read(&mut bytes).await.unwrap_or(0);
            if read == 0 {
                return false;
            }
            // The flight comes in one piece, or COMMIT in its last.
            let commits = bytes[..read].windows(7).any(|window| window == b"COMMIT\0");
            let now = if commits { cut.swap(Cut::Not as u8, Ordering::SeqCst) } else { Cut::Not as u8 };
            if now == Cut::Before as u8 {
                let at = bytes[..read].windows(7).position(|window| window == b"COMMIT\0").unwrap();
                // Without the message's type and length either.
                to_server.write_all(&bytes[..at - 5]).await.unwrap();
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
        // The client hears nothing more; the server carries out what it has.
        drop(to_client);
        drop(from_client);
        let mut rest = Vec::new();
        let committed = async {
            let mut bytes = vec![0; 65_536];
            while !rest.windows(7).any(|window| window == b"COMMIT\0") {
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
