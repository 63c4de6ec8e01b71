//! The sidecar: MCP on standard input and output, for the host that started it.

use rmcp::{
    ServiceExt as _,
    transport::{async_rw::AsyncRwTransport, stdio_pipes},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    McpServer,
    lines::{BoundedLines, SkipEarlyNotifications},
};
use crate::domain::limits::LINE_BYTES_MAX;

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
    // A little more than ours, so that ours speaks first.
    let carrier =
        AsyncRwTransport::new_server(BoundedLines::new(input), output).with_max_line_length(LINE_BYTES_MAX + 8);
    match server.serve(SkipEarlyNotifications::new(carrier)).await {
        Ok(session) => session.waiting().await.map(drop).map_err(|cause| {
            tracing::error!(%cause, "the session's task failed");
            StdioError::Session
        }),
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        // Its text may quote what the client sent, so it is not logged.
        Err(_) => Err(StdioError::Handshake),
    }
}
