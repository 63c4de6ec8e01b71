//! The MCP handler over a pipe, message by message.

mod arguments;
mod elicitation;
mod ending;
mod hosts;
mod prompts;
mod protocol;
mod queries;
mod refusals;
mod schemas;

use std::sync::Arc;

use countersign::{
    domain::{principal::Principal, scope::ScopeSet},
    transport::{
        http::LocalPage,
        mcp::{McpServer, Reveal, stdio},
    },
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use crate::kit::Vault;

/// A client of a server in this process, at the level of lines.
pub(crate) struct Wire {
    pub(crate) vault: Vault,
    lines: tokio::io::Lines<BufReader<ReadHalf<DuplexStream>>>,
    input: WriteHalf<DuplexStream>,
    next: u64,
    /// Ends the server.
    pub(crate) stop: CancellationToken,
}

impl Wire {
    /// A session of a handshake revision, with every scope.
    pub(crate) async fn open() -> Self {
        Self::open_with(ScopeSet::ALL, Reveal::Once, "2025-11-25").await
    }

    pub(crate) async fn open_with(scopes: ScopeSet, reveal: Reveal, revision: &str) -> Self {
        let mut wire = Self::connect(scopes, reveal);
        let hello =
            json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}});
        let answer = wire.request("initialize", hello).await;
        assert_eq!(answer["result"]["protocolVersion"], revision);
        wire.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string()).await;
        wire
    }

    /// A connection without a handshake.
    pub(crate) fn connect(scopes: ScopeSet, reveal: Reveal) -> Self {
        let vault = Vault::new();
        let caller = Principal::stdio(vault.account, scopes, None);
        vault.service.offer_enrolments(Arc::new(LocalPage::default()));
        let server = McpServer::for_caller(vault.service.clone(), caller, reveal);
        let (ours, theirs) = tokio::io::duplex(1 << 22);
        let (input, output) = tokio::io::split(theirs);
        let stop = CancellationToken::new();
        tokio::spawn(stdio::serve_on(server, input, output, stop.clone()));
        let (output, input) = tokio::io::split(ours);
        Self { vault, lines: BufReader::new(output).lines(), input, next: 1, stop }
    }

    pub(crate) async fn send(&mut self, line: &str) {
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.input.write_all(b"\n").await.unwrap();
    }

    pub(crate) async fn receive(&mut self) -> Value {
        serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap()
    }

    /// Closes the client's end.
    pub(crate) async fn hang_up(&mut self) {
        self.input.shutdown().await.unwrap();
    }

    /// Reads all remaining messages.
    pub(crate) async fn last_words(&mut self) -> Vec<Value> {
        let mut words = Vec::new();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            words.push(serde_json::from_str(&line).unwrap());
        }
        words
    }

    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                return message;
            }
        }
    }

    /// Calls a tool and returns its result.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.request("tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert!(answer.get("error").is_none(), "a protocol error: {answer}");
        answer["result"].clone()
    }

    /// Calls a tool that must succeed, and returns its structured answer, which must be the same as its text.
    pub(crate) async fn ok(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], false, "{result}");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"]);
        text
    }

    /// Calls a tool that must be refused, and returns the error's body.
    pub(crate) async fn refused(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        assert!(result.get("structuredContent").is_none(), "errors are text alone: {result}");
        let body: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(body["status"], "ERROR");
        body
    }
}
