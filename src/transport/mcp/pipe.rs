//! rmcp's transport on a pair of byte streams: lines in, an outbox out.
//!
//! Ours rather than rmcp's, which drops a line that is too long without an answer, ends the process at a notification
//! before the first request, writes what it could not read into the log, and wakes the host once for every answer.

use std::{io, pin::Pin, time::Duration};

use rmcp::{
    ErrorData, RoleServer, ServerHandler as _,
    model::{ClientJsonRpcMessage, ClientRequest, GetMeta as _, ProtocolVersion, RequestId, ServerJsonRpcMessage},
    service::{RxJsonRpcMessage, TxJsonRpcMessage},
    transport::Transport,
};
use tokio::io::{AsyncRead, BufReader};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    McpServer,
    greeting::flawed_greeting,
    lines::{Line, Lines},
    message::{NoMessage, read_message},
    outbox::Outbox,
    unanswered::Unanswered,
};
use crate::domain::limits::LINE_BYTES_MAX;

const UNREADABLE: &str =
    "this can't be read as JSON: it is cut short, nested too deeply, or has half a character in it";
const AMBIGUOUS: &str = "this names a field twice";
const IN_USE: &str = "`id` is that of a request that is not answered yet; use another one";
const INVALID: &str = "this is no JSON-RPC 2.0 message that MCP knows";

/// One host.
pub(super) struct Pipe<R> {
    lines: Lines<BufReader<R>>,
    outbox: Outbox,
    /// The answer to something that was no request, not yet sent.
    owed: Option<Box<ServerJsonRpcMessage>>,
    unanswered: Unanswered,
    /// rmcp's session has begun. Before it, whatever is no request is dropped.
    open: bool,
    /// The input has ended, or nobody is there to be answered.
    over: bool,
    /// Lines since others had their turn.
    read: usize,
    server: McpServer,
    /// It was told to end, or the output has failed. One future for all messages: only the first look costs something.
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Lines that are read before what they ask for is done: a host may write faster than anybody answers.
const TURN: usize = 64;
/// How long nothing may be answered after the end of the input before the rest is left to the SDK, which gives it seconds.
const STILL: Duration = Duration::from_secs(1);

impl<R: AsyncRead + Unpin> Pipe<R> {
    /// `ended` ends it as the end of the input does; the outbox tells it when the output fails.
    pub(super) fn new(input: R, outbox: Outbox, server: McpServer, ended: CancellationToken) -> Self {
        let ended = Box::pin(ended.cancelled_owned());
        let (lines, unanswered) = (Lines::new(BufReader::new(input)), Unanswered::default());
        Self { lines, outbox, owed: None, unanswered, open: false, over: false, read: 0, server, ended }
    }

    /// The next message that is for rmcp; `None` at the end.
    async fn next(&mut self) -> io::Result<Option<ClientJsonRpcMessage>> {
        loop {
            self.read += 1;
            if self.read > TURN {
                self.read = 0;
                tokio::task::yield_now().await;
            }
            let line = tokio::select! {
                biased;
                () = &mut self.ended => {
                    self.outbox.alive()?;
                    None
                }
                line = async {
                    // A host that does not read is not read from: its answers would fill the memory. That it has said its
                    // last is noticed all the same, unless more lines are unread before it.
                    tokio::select! {
                        biased;
                        room = self.outbox.room() => room?,
                        end = self.lines.end() => end?,
                    }
                    if let Some(answer) = self.owed.take() {
                        self.outbox.put(&answer)?;
                    }
                    self.lines.next().await
                } => line?,
            };
            let read = match line {
                None => return Ok(None),
                Some(Line::Whole(line)) if is_blank(line) => continue,
                Some(Line::Whole(line)) => read_message(line),
                Some(Line::TooLong) => {
                    let most = format!("a line may have {LINE_BYTES_MAX} bytes at most");
                    self.owe(None, ErrorData::invalid_request(most, None));
                    continue;
                }
            };
            match read {
                Ok(message) => {
                    if let Some((id, error)) = flawed_greeting(&message) {
                        self.owe(Some(id), error);
                        continue;
                    }
                    self.open = self.open || self.opens(&message);
                    if !self.open && !matches!(message, ClientJsonRpcMessage::Request(_)) {
                        continue;
                    }
                    match self.unanswered.heard(&message) {
                        Some(id) => self.owe(Some(id), ErrorData::invalid_request(IN_USE, None)),
                        None => return Ok(Some(message)),
                    }
                }
                Err(NoMessage::Notification) => {}
                Err(NoMessage::Unreadable(id)) => self.owe(id, ErrorData::parse_error(UNREADABLE, None)),
                Err(NoMessage::Ambiguous(id)) => self.owe(id, ErrorData::invalid_request(AMBIGUOUS, None)),
                Err(NoMessage::Invalid(id)) => self.owe(id, ErrorData::invalid_request(INVALID, None)),
            }
        }
    }

    /// Whether rmcp's session begins with this: until then it answers requests, and ends at anything else.
    fn opens(&self, message: &ClientJsonRpcMessage) -> bool {
        let ClientJsonRpcMessage::Request(said) = message else { return false };
        if matches!(said.request, ClientRequest::InitializeRequest(_)) {
            return true;
        }
        // Without a handshake: the first request, beside these two, that says of itself what it is.
        let meta = said.request.get_meta();
        !matches!(said.request, ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_))
            && meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
            && meta
                .protocol_version()
                .is_some_and(|version| self.server.supported_protocol_versions().contains(&version))
    }

    fn owe(&mut self, id: Option<RequestId>, error: ErrorData) {
        tracing::debug!(reason = %error.message, "a line was refused");
        self.owed = Some(Box::new(ServerJsonRpcMessage::error(error, id)));
    }
}

/// A line of JSON's white space alone: what an editor or a person leaves between messages.
fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

impl<R: AsyncRead + Send + Unpin> Transport<RoleServer> for Pipe<R> {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.unanswered.told(&item);
        // Put at once where there is room: what waits is then small.
        let (put, waits) = if self.outbox.has_room() {
            (self.outbox.put(&item), None)
        } else {
            (Ok(()), Some((self.outbox.clone(), Box::new(item))))
        };
        async move {
            if let Some((outbox, item)) = waits {
                outbox.room().await?;
                outbox.put(&item)?;
            }
            put
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        if !self.over {
            match self.next().await {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(cause) => tracing::debug!(%cause, "standard input or output failed"),
            }
            self.over = true;
            self.outbox.lift_limit();
            if let Some(answer) = self.owed.take() {
                // Whoever made the outbox hears that it failed.
                let _ = self.outbox.put(&answer);
            }
        }
        // Whoever waits is told so now. The SDK would drop what does not end within seconds without a word.
        self.server.service().stop_waiting().await;
        // So it is told of the end when everybody has an answer. For each answer it drops this and comes anew: the time
        // begins again.
        if !self.unanswered.is_empty() && self.outbox.alive().is_ok() {
            tokio::time::sleep(STILL).await;
            // An answer that came at the same time goes first.
            tokio::task::yield_now().await;
        }
        None
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        // Whoever made the outbox waits for what is left in it.
        Ok(())
    }
}
