//! The sidecar: MCP on standard input and output, for the host that started it.
//!
//! We don't use rmcp's transport: it drops a line that is too long or can't be read without an answer, ends the process at a
//! notification before the first request, writes what it could not read into the log, takes two requests with one id for one,
//! and wakes the host once for every answer.

use std::{convert::Infallible, future::ready, io, time::Duration};

use futures::sink;
use rmcp::{
    ErrorData, ServiceExt as _,
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::stdio_pipes,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    sync::watch,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroize as _;

use super::{
    McpServer,
    lines::{KEPT_BYTES, Lines, READY_BYTES},
    message::read_message,
    reader::Reader,
    traffic::Traffic,
    wiped::wipe,
};

/// Why a sidecar ended otherwise than by its host closing standard input.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The host never opened a session.
    #[error("the MCP host did not open a session")]
    Handshake,
    /// The session's task failed.
    #[error("the MCP session failed")]
    Session,
    /// The host could not be answered.
    #[error("standard output can't be written: {0}")]
    Output(io::Error),
}

/// How long a host may take to read the last answers when this process was told to end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);
/// How long a host may take for its first request when it can't be served.
const FIRST_WORDS: Duration = Duration::from_secs(5);
/// How long a host that said its last may read nothing at all before it is taken for gone.
const SILENCE: Duration = Duration::from_secs(1);

/// Serves until the host closes standard input or output, or `stop` is told. Whoever waits for a code then hears so.
///
/// # Errors
/// [`StdioError`]. A host that goes away is no error.
pub async fn serve(server: McpServer, stop: CancellationToken) -> Result<(), StdioError> {
    let (input, output) = stdio_pipes();
    serve_on(server, input, output, stop).await
}

/// Tells the host why this process can't serve it, in answer to its first request: all that it would see otherwise is that
/// the connection was closed. A host that says nothing for a while, or goes away, is not told.
pub async fn refuse(reason: &str) {
    let (input, output) = stdio_pipes();
    refuse_on(input, output, reason).await;
}

/// The same on any pair of byte streams.
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
    // Standard error has the reason as well: who can't be told here is told there.
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
        wipe(message);
        ready(Ok::<_, Infallible>(traffic))
    });
    let session = async {
        let ended = match server.serve((answers, messages)).await {
            Ok(session) => session.waiting().await.map(drop).map_err(|cause| {
                tracing::error!(%cause, "the session's task failed");
                StdioError::Session
            }),
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            // Its text may quote what the client sent, so it is not logged.
            Err(_) => Err(StdioError::Handshake),
        };
        over.cancel();
        // What was said last may still be on its way: to a host that reads it.
        (ended, (&mut writing).await)
    };
    let (outcome, written) = tokio::select! {
        both = session => both,
        // Who told this process to end does not wait for long.
        () = async { stop.cancelled().await; tokio::time::sleep(LAST_ANSWERS).await } => (Ok(()), Ok(Ok(()))),
    };
    writing.abort();
    match written.unwrap_or_else(|failed| Err(failed.into())) {
        Ok(()) => outcome,
        // The host is gone. A socket says so otherwise than a pipe.
        Err(cause) if matches!(cause.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => outcome,
        Err(cause) => outcome.and(Err(StdioError::Output(cause))),
    }
}

/// Writes what is ready until the session is over: what has come together leaves in one write, and the host wakes once for
/// all of it. Dropping `_no_more` tells the reading half that the output has failed.
async fn write<O: AsyncWrite + Unpin>(
    traffic: watch::Sender<Traffic>,
    mut output: O,
    over: CancellationToken,
    _no_more: DropGuard,
) -> io::Result<()> {
    let mut changes = traffic.subscribe();
    let mut lines = Vec::with_capacity(READY_BYTES);
    loop {
        tokio::select! {
            biased;
            _ = changes.wait_for(|traffic| !traffic.unwritten.is_empty()) => {}
            () = over.cancelled() => return Ok(()),
        }
        // A seed or a code may have stood there.
        lines.as_mut_slice().zeroize();
        lines.clear();
        lines.shrink_to(KEPT_BYTES);
        traffic.send_modify(|traffic| std::mem::swap(&mut traffic.unwritten, &mut lines));
        let mut left = lines.as_slice();
        while !left.is_empty() {
            let Some(count) = while_read(output.write(left), &over).await else { return Ok(()) };
            left = left.get(count?..).filter(|rest| rest.len() < left.len()).ok_or(io::ErrorKind::WriteZero)?;
        }
        let Some(flushed) = while_read(output.flush(), &over).await else { return Ok(()) };
        flushed?;
    }
}

/// Waits for a write; `None` if the session is over and the host reads nothing for a while.
async fn while_read<T>(write: impl Future<Output = T>, over: &CancellationToken) -> Option<T> {
    tokio::select! {
        biased;
        done = write => Some(done),
        () = async { over.cancelled().await; tokio::time::sleep(SILENCE).await } => None,
    }
}
