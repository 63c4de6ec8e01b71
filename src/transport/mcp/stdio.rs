//! The sidecar: MCP on standard input and output, for the host that started it.

use rmcp::{ServiceExt as _, transport::stdio_pipes};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{McpServer, outbox::Outbox, pipe::Pipe};

/// Why a sidecar ended otherwise than by its host closing standard input.
#[derive(Debug, thiserror::Error)]
pub enum StdioError {
    /// The host never opened a session.
    #[error("the MCP host did not open a session")]
    Handshake,
    /// The session's task failed.
    #[error("the MCP session failed")]
    Session,
}

/// Serves until the host closes standard input.
///
/// # Errors
/// [`StdioError`]. A host that goes away before its first request is no error.
pub async fn serve(server: McpServer) -> Result<(), StdioError> {
    let (input, output) = stdio_pipes();
    serve_on(server, input, output).await
}

/// The same on any pair of byte streams.
///
/// # Errors
/// [`StdioError`]. A host that goes away before its first request is no error.
pub async fn serve_on<I, O>(server: McpServer, input: I, output: O) -> Result<(), StdioError>
where
    I: AsyncRead + Send + Unpin + 'static,
    O: AsyncWrite + Send + Unpin + 'static,
{
    let outbox = Outbox::default();
    let hands_on = tokio::spawn(outbox.clone().hand_on(output));
    let ended = match server.serve(Pipe::new(input, outbox.clone())).await {
        Ok(session) => session.waiting().await.map(drop).map_err(|cause| {
            tracing::error!(%cause, "the session's task failed");
            StdioError::Session
        }),
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        // Its text may quote what the client sent, so it is not logged.
        Err(_) => Err(StdioError::Handshake),
    };
    // What was said last may still be on its way. A host that is gone needs none of it.
    let _ = outbox.emptied().await;
    hands_on.abort();
    ended
}
