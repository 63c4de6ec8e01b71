//! A tool's call goes straight to its tool.
//!
//! rmcp's dispatch knows every method of every revision, and a future that may be any of them takes four kilobytes, made,
//! moved and freed for each request. What an agent does all day, a tool's call in a session that began with a handshake,
//! has no need of it; everything else goes through it.

use std::borrow::Cow;

use futures::{TryFutureExt as _, future::BoxFuture};
use rmcp::{
    ErrorData, RoleServer, Service,
    model::{ClientNotification, ClientRequest, ProtocolVersion, ServerConfig, ServerResult},
    service::{NotificationContext, RequestContext},
};

use super::McpServer;

/// The server of one session.
pub(in crate::transport) struct Direct(pub(in crate::transport) McpServer);

impl Service<RoleServer> for Direct {
    fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ServerResult, ErrorData>> + Send + '_ {
        let answer: BoxFuture<'_, _> = if is_of_handshake(&context)
            && let ClientRequest::CallToolRequest(call) = request
        {
            Box::pin(self.0.call(call.params, context).map_ok(|result| {
                let mut result = ServerResult::CallToolResult(result);
                result.strip_result_type_for_legacy_peer();
                result
            }))
        } else {
            Box::pin(self.0.handle_request(request, context))
        };
        answer
    }

    fn handle_notification(
        &self,
        notification: ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        self.0.handle_notification(notification, context)
    }

    fn get_info(&self) -> ServerConfig {
        Service::get_info(&self.0)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Service::supported_protocol_versions(&self.0)
    }
}

/// Whether a request relies on what its session has agreed on, and on nothing of its own: then there is nothing left to
/// negotiate, or to require of it.
fn is_of_handshake(context: &RequestContext<RoleServer>) -> bool {
    context.meta.protocol_version().is_none()
        && context.peer.peer_info().is_some_and(|info| info.protocol_version.has_initialize())
}
