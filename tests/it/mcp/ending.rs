//! How a session on a pair of pipes ends: what a host is still told, and how long a host that is gone can hold it up.

use std::time::{Duration, Instant};

use countersign::{
    domain::{principal::Principal, scope::ScopeSet},
    service::CodeRequest,
    transport::mcp::{
        McpServer, Reveal,
        stdio::{StdioError, serve_on},
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::kit::Vault;

/// Far less than the SDK takes to give up an answer.
const SOON: Duration = Duration::from_secs(4);

/// A host with a pipe for each direction.
struct Host {
    vault: Vault,
    input: DuplexStream,
    output: BufReader<DuplexStream>,
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
        let served = serve_on(server(&vault), their_input, their_output, CancellationToken::new());
        let session = tokio::spawn(served);
        let mut host = Self { vault, input, output: BufReader::new(output), session };
        host.say(&hello()).await;
        host.output.read_line(&mut String::new()).await.unwrap();
        host
    }

    async fn say(&mut self, lines: &str) {
        self.input.write_all(lines.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn whoever_waits_for_a_host_that_is_gone_waits_no_more() {
    let vault = Vault::new();
    let id = vault.register("A").await.secret.id;
    let mut host = Host::of(vault).await;
    let waits = json!({"secret_id": id.to_string(), "single_use": true, "max_wait": 120});
    host.say(&(call(1, "get_totp_code", &waits) + &call(2, "get_totp_code", &waits))).await;
    while host.vault.service.tally().waiting < 1 {
        tokio::task::yield_now().await;
    }

    let Host { vault, mut input, output, session } = host;
    drop(output);
    let gone = Instant::now();
    input.write_all(request(3, "ping", &json!({})).as_bytes()).await.unwrap();
    session.await.unwrap().unwrap();

    assert!(gone.elapsed() < SOON, "{:?}", gone.elapsed());
    let alone = CodeRequest { single_use: true, max_wait: Some(0), ..CodeRequest::default() };
    let busy = vault.another_service().get_code(&vault.person, id, &alone, &()).await.err().unwrap();
    assert!(busy.to_string().contains("free in 30 s"), "{busy}");
}
