//! The end of a session on a pair of pipes: the answers that a host still gets, and how long a host that is gone can
//! delay the end.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use countersign::{
    domain::{principal::Principal, scope::ScopeSet},
    operations::{ListSecrets, Registration, Text},
    transport::mcp::{
        McpServer, Reveal,
        stdio::{StdioError, serve_on},
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream, duplex},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::kit::{RFC_SEED, Vault, alone_at_once};

/// Far less than the time after which the SDK gives up an answer.
const SOON: Duration = Duration::from_secs(4);

/// A host with a pipe for each direction.
struct Host {
    vault: Vault,
    input: DuplexStream,
    output: BufReader<DuplexStream>,
    stop: CancellationToken,
    session: JoinHandle<Result<(), StdioError>>,
}

fn server(vault: &Vault) -> McpServer {
    let caller = Principal::stdio(vault.account, ScopeSet::ALL, None);
    McpServer::for_caller(vault.service.clone(), caller, Reveal::Once)
}

fn request(id: i64, method: &str, params: &Value) -> String {
    format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
}

fn call(id: i64, tool: &str, arguments: &Value) -> String {
    request(id, "tools/call", &json!({"name": tool, "arguments": arguments}))
}

fn hello() -> String {
    let client = json!({"name": "t", "version": "1"});
    request(0, "initialize", &json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}))
}

impl Host {
    async fn of(vault: Vault) -> Self {
        let ((input, their_input), (output, their_output)) = (duplex(1 << 20), duplex(64 * 1024));
        let stop = CancellationToken::new();
        let session = tokio::spawn(serve_on(server(&vault), their_input, their_output, stop.clone()));
        let mut host = Self { vault, input, output: BufReader::new(output), stop, session };
        host.say(&hello()).await;
        host.output.read_line(&mut String::new()).await.unwrap();
        host
    }

    async fn say(&mut self, lines: &str) {
        self.input.write_all(lines.as_bytes()).await.unwrap();
    }

    /// Requests lists whose answers exceed the limit of unread answers by far.
    async fn with_unread_lists() -> Self {
        let vault = Vault::new();
        for number in 0..SECRETS {
            let long = Some(format!("{number:03}{}", "🔑".repeat(253)));
            let secret = Some(Zeroizing::new(RFC_SEED.to_owned()));
            vault
                .register_as(Registration { label: long.clone(), issuer: long, secret, ..Registration::default() })
                .await;
        }
        let mut host = Self::of(vault).await;
        let lists: String = (1..=LISTS).map(|id| call(id, "list_totp_secrets", &json!({"limit": SECRETS}))).collect();
        host.say(&(lists + &call(LISTS + 1, "register_totp_secret", &json!({"label": "last"})))).await;
        host
    }

    /// Waits until the last call is carried out: by then most of the others are answered, as far as there is room.
    async fn served(&self) {
        let Vault { service, person, .. } = &self.vault;
        let last = ListSecrets { query: Text::new("last"), ..ListSecrets::default() };
        let patience = crate::kit::Patience::new();
        while service.perform(person, last.clone()).await.unwrap().total == 0 {
            patience.turn().await;
        }
    }
}

const SECRETS: u32 = 100;
const LISTS: i64 = 55;

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_host_that_is_gone_waits_no_more() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let mut host = Host::of(vault).await;
    let waits = json!({"secret_id": id.to_string(), "single_use": true, "max_wait": 120});
    host.say(&(call(1, "get_totp_code", &waits) + &call(2, "get_totp_code", &waits))).await;
    let patience = crate::kit::Patience::new();
    while host.vault.service.tally().waiting < 1 {
        patience.turn().await;
    }

    let Host { vault, mut input, output, session, .. } = host;
    drop(output);
    let gone = Instant::now();
    input.write_all(request(3, "ping", &json!({})).as_bytes()).await.unwrap();
    session.await.unwrap().unwrap();

    assert!(gone.elapsed() < SOON, "{:?}", gone.elapsed());
    let busy = vault.another_service().perform(&vault.person, alone_at_once(id)).await.err().unwrap();
    assert!(busy.retry_after().is_some_and(|after| (30..40).contains(&after)), "{busy}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_said_its_last_and_reads_slowly_gets_every_answer() {
    let mut host = Host::with_unread_lists().await;
    host.input.shutdown().await.unwrap();

    let mut read = Vec::new();
    // Longer than the SDK waits for answers that can't be sent yet.
    let (begun, mut pace) = (Instant::now(), tokio::time::interval(Duration::from_millis(100)));
    while begun.elapsed() < Duration::from_secs(6) {
        pace.tick().await;
        let mut some = [0; 1024];
        let count = host.output.read(&mut some).await.unwrap();
        read.extend_from_slice(&some[..count]);
    }
    host.output.read_to_end(&mut read).await.unwrap();

    host.session.await.unwrap().unwrap();
    let answers = read.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut ids: Vec<_> =
        answers.map(|line| serde_json::from_slice::<Value>(line).unwrap()["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=LISTS + 1).collect::<Vec<_>>());
}

/// Checks that a session ends soon if its host reads nothing, and then closes its end or the sidecar is stopped.
async fn ended_while_nothing_is_read(told: bool) {
    let mut host = Host::with_unread_lists().await;
    host.served().await;
    let ended = Instant::now();
    if told {
        host.stop.cancel();
    } else {
        host.input.shutdown().await.unwrap();
    }

    let served = tokio::time::timeout(2 * SOON, host.session).await;

    served.expect("it still serves").unwrap().unwrap();
    assert!(ended.elapsed() < SOON, "{:?}", ended.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_closes_its_end_and_reads_nothing_is_left() {
    ended_while_nothing_is_read(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_told_to_end_does_not_wait_for_a_host_that_reads_nothing() {
    ended_while_nothing_is_read(true).await;
}

/// A socket whose other end was closed before everything in it was read.
struct Reset;

impl AsyncWrite for Reset {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_left_a_socket_unread_is_gone_like_any_other() {
    let vault = Vault::new();
    let (mut input, theirs) = duplex(1024);
    let session = tokio::spawn(serve_on(server(&vault), theirs, Reset, CancellationToken::new()));
    input.write_all(hello().as_bytes()).await.unwrap();
    session.await.unwrap().unwrap();
}
