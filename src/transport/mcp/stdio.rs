//! The sidecar: MCP on standard input and output, for the host that started it.

use std::{io, time::Duration};

use rmcp::{ServiceExt as _, transport::stdio_pipes};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{McpServer, direct::Direct, outbox::Outbox, pipe::Pipe};

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

/// The same on any pair of byte streams.
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
