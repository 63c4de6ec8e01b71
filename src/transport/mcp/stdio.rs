//! The sidecar: MCP on standard input and output, for the host that started it.
//!
//! This replaces rmcp's own transport, which drops overlong and invalid lines without an answer, ends the process at a
//! notification before the first request, logs what it could not parse, confuses two requests with the same id, and
//! wakes the host once for every answer.

use std::{collections::HashSet, convert::Infallible, future::ready, io, time::Duration};

use futures::sink;
use rmcp::{
    ErrorData, ServiceExt as _,
    model::{ClientJsonRpcMessage, RequestId, ServerJsonRpcMessage},
    transport::stdio_pipes,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{McpServer, lines::Lines, message::read_message, reader::Reader};
use crate::domain::limits::WAITERS_STDIO_MAX;

/// Why a sidecar ended, if its host did not close standard input.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The host never opened a session.
    #[error("the MCP host did not open a session")]
    Handshake,
    /// The session's task failed.
    #[error("the MCP session failed")]
    Session,
    /// Standard output failed.
    #[error("standard output can't be written: {0}")]
    Output(io::Error),
}

/// How long a host may take to read the last answers when the process is to end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How long to wait for the first request of a host that can't be served.
const FIRST_WORDS: Duration = Duration::from_secs(5);
/// How long a host that has closed its end may read nothing before it counts as gone.
const SILENCE: Duration = Duration::from_secs(1);
/// Unwritten bytes of answers above which nothing more is read from the host. Enough for a host that writes thousands
/// of calls before it reads the first answer.
const UNWRITTEN_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Unanswered requests above which nothing more is read. Not all of them can be waiting for a code, so some end soon.
const UNANSWERED_MAX: usize = 4 * WAITERS_STDIO_MAX;

/// Requests and answers of one session.
#[derive(Default)]
pub(super) struct Traffic {
    /// The ids of unanswered requests. rmcp distinguishes requests only by id: of two with the same id it forgets the
    /// first, so that its code would be lost, and silently ends the other.
    pub(super) unanswered: HashSet<RequestId>,
    /// Unwritten messages, line by line.
    pub(super) unwritten: Vec<u8>,
}

impl Traffic {
    /// Whether more may be read.
    pub(super) fn has_room(&self) -> bool {
        self.unwritten.len() < UNWRITTEN_BYTES_MAX && self.unanswered.len() < UNANSWERED_MAX
    }

    /// Adds a message for the host.
    pub(super) fn put(&mut self, message: &ServerJsonRpcMessage) {
        let begun = self.unwritten.len();
        match serde_json::to_writer(&mut self.unwritten, message) {
            Ok(()) => self.unwritten.push(b'\n'),
            Err(_) => self.unwritten.truncate(begun),
        }
    }

    /// Adds a message of rmcp for the host, and removes the request that it answers.
    pub(super) fn answer(&mut self, message: &ServerJsonRpcMessage) {
        match message {
            ServerJsonRpcMessage::Response(answer) => self.unanswered.remove(&answer.id),
            ServerJsonRpcMessage::Error(error) => error.id.as_ref().is_some_and(|id| self.unanswered.remove(id)),
            ServerJsonRpcMessage::Request(_) | ServerJsonRpcMessage::Notification(_) => false,
        };
        self.put(message);
    }
}

/// Serves until the host closes standard input or output, or `stop` is cancelled. Calls that wait for a code are
/// answered then.
///
/// # Errors
/// [`StdioError`]. A host that goes away is no error.
pub async fn serve(server: McpServer, stop: CancellationToken) -> Result<(), StdioError> {
    let (input, output) = stdio_pipes();
    serve_on(server, input, output, stop).await
}

/// Reports to the host why this process can't serve it, in answer to its first request: otherwise it would only see a
/// closed connection. A host that sends no request within 5 s, or closes its end, gets no answer.
pub async fn refuse(reason: &str) {
    let (input, output) = stdio_pipes();
    refuse_on(input, output, reason).await;
}

/// [`refuse`] on any pair of byte streams.
pub async fn refuse_on(input: impl AsyncRead + Unpin, mut output: impl AsyncWrite + Unpin, reason: &str) {
    let answered = async {
        let mut lines = Lines::new(input);
        while let Some(line) = lines.next().await? {
            let Ok(Some(ClientJsonRpcMessage::Request(request))) = read_message(line) else { continue };
            let asked = request.id;
            let error = ServerJsonRpcMessage::error(ErrorData::internal_error(reason.to_owned(), None), Some(asked));
            let mut text = serde_json::to_vec(&error)?;
            text.push(b'\n');
            output.write_all(&text).await?;
            return output.flush().await;
        }
        Ok::<_, io::Error>(())
    };
    // The reason is on standard error as well.
    let _ = tokio::time::timeout(FIRST_WORDS, answered).await;
}

/// [`serve`] on any pair of byte streams.
///
/// # Errors
/// [`StdioError`]. A host that goes away is no error.
pub async fn serve_on<I, O>(server: McpServer, input: I, output: O, stop: CancellationToken) -> Result<(), StdioError>
where
    I: AsyncRead + Send + Unpin + 'static,
    O: AsyncWrite + Send + Unpin + 'static,
{
    let (no_more, over) = (stop.child_token(), CancellationToken::new());
    let traffic = watch::Sender::new(Traffic::default());
    let mut writing = tokio::spawn(write(traffic.clone(), output, over.clone(), no_more.clone().drop_guard()));
    let messages = Reader::new(input, traffic.clone(), server.clone(), no_more).messages();
    let answers = sink::unfold(traffic, |traffic, message: ServerJsonRpcMessage| {
        traffic.send_modify(|traffic| traffic.answer(&message));
        ready(Ok::<_, Infallible>(traffic))
    });
    let session = async {
        let ended = match server.serve((answers, messages)).await {
            Ok(session) => session.waiting().await.map(drop).map_err(|cause| {
                tracing::error!(%cause, "the session's task failed");
                StdioError::Session
            }),
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            // Don't log the error: its text may quote the client.
            Err(_) => Err(StdioError::Handshake),
        };
        over.cancel();
        // The last answers may not be written yet; wait for a host that reads them.
        (ended, (&mut writing).await)
    };
    let (outcome, written) = tokio::select! {
        both = session => both,
        // After a request to end, wait only for a limited time.
        () = async { stop.cancelled().await; tokio::time::sleep(LAST_ANSWERS).await } => (Ok(()), Ok(Ok(()))),
    };
    writing.abort();
    match written.unwrap_or_else(|failed| Err(failed.into())) {
        Ok(()) => outcome,
        // The host is gone. Pipes and sockets report that differently.
        Err(cause) if matches!(cause.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => outcome,
        Err(cause) => outcome.and(Err(StdioError::Output(cause))),
    }
}

/// Writes ready messages until the session is over: messages that accumulate leave in one write, so the host wakes once
/// for all of them. Dropping `_no_more` signals to the reading half that the output has failed.
async fn write<O: AsyncWrite + Unpin>(
    traffic: watch::Sender<Traffic>,
    mut output: O,
    over: CancellationToken,
    _no_more: DropGuard,
) -> io::Result<()> {
    let mut changes = traffic.subscribe();
    loop {
        tokio::select! {
            biased;
            _ = changes.wait_for(|traffic| !traffic.unwritten.is_empty()) => {}
            () = over.cancelled() => return Ok(()),
        }
        let mut lines = Vec::new();
        traffic.send_modify(|traffic| lines = std::mem::take(&mut traffic.unwritten));
        let mut left = lines.as_slice();
        while !left.is_empty() {
            let Some(count) = while_read(output.write(left), &over).await else { return Ok(()) };
            left = left.get(count?..).filter(|rest| rest.len() < left.len()).ok_or(io::ErrorKind::WriteZero)?;
        }
        let Some(flushed) = while_read(output.flush(), &over).await else { return Ok(()) };
        flushed?;
    }
}

/// Waits for a write; `None` if the session is over and the host reads nothing for `SILENCE`.
async fn while_read<T>(write: impl Future<Output = T>, over: &CancellationToken) -> Option<T> {
    tokio::select! {
        biased;
        done = write => Some(done),
        () = async { over.cancelled().await; tokio::time::sleep(SILENCE).await } => None,
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{EmptyResult, ServerResult};

    use super::*;

    fn pong(id: i64) -> ServerJsonRpcMessage {
        ServerJsonRpcMessage::response(ServerResult::EmptyResult(EmptyResult {}), RequestId::Number(id))
    }

    #[test]
    fn no_more_is_read_while_too_many_requests_or_bytes_wait() {
        let mut traffic = Traffic::default();
        for id in 0..4096 {
            assert!(traffic.has_room() && traffic.unanswered.insert(RequestId::Number(id)));
        }
        assert!(!traffic.has_room());
        traffic.answer(&pong(7));
        assert!(traffic.has_room());
        while traffic.unwritten.len() < UNWRITTEN_BYTES_MAX {
            traffic.put(&pong(8));
        }
        assert!(!traffic.has_room());
        traffic.unwritten.clear();
        assert!(traffic.has_room());
    }
}
