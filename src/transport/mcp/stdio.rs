//! The sidecar: MCP on standard input and output, for the host that started it.

use std::{io, time::Duration};

use rmcp::{
    ErrorData, ServiceExt as _,
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::stdio_pipes,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use super::{
    McpServer,
    direct::Direct,
    lines::{Line, Lines},
    message::read_message,
    outbox::Outbox,
    pipe::Pipe,
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
        let mut lines = Lines::new(BufReader::new(input));
        while let Some(line) = lines.next().await? {
            let Line::Whole(line) = line else { continue };
            let asked = match read_message(line) {
                Ok(ClientJsonRpcMessage::Request(request)) => request.id,
                _ => continue,
            };
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
    let ended = stop.child_token();
    let outbox = Outbox::new(ended.clone());
    let hands_on = tokio::spawn(outbox.clone().hand_on(output));
    let pipe = Pipe::new(input, outbox.clone(), server.clone(), ended);
    let whole = async {
        let ended = match Direct::new(server).serve(pipe).await {
            Ok(session) => session.waiting().await.map(drop).map_err(|cause| {
                tracing::error!(%cause, "the session's task failed");
                StdioError::Session
            }),
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            // Its text may quote what the client sent, so it is not logged.
            Err(_) => Err(StdioError::Handshake),
        };
        // What was said last may still be on its way: to a host that reads it.
        (ended, outbox.emptied_or_stuck(SILENCE).await)
    };
    let (ended, handed_on) = tokio::select! {
        both = whole => both,
        // Who told this process to end does not wait for long.
        () = async { stop.cancelled().await; tokio::time::sleep(LAST_ANSWERS).await } => (Ok(()), Ok(())),
    };
    hands_on.abort();
    match handed_on.map_err(|cause| (cause.kind(), cause)) {
        // A socket says so otherwise than a pipe.
        Ok(()) | Err((io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset, _)) => ended,
        Err((_, cause)) => ended.and(Err(StdioError::Output(cause))),
    }
}
