//! A tool's call goes straight to its tool.
//!
//! rmcp's dispatch knows every method of every revision, and a future that may be any of them takes four kilobytes, made,
//! moved and freed for each request. What an agent does all day, a tool's call in a session that began with a handshake,
//! has no need of it; everything else goes through it.

use std::{borrow::Cow, sync::OnceLock};

use futures::{
    FutureExt as _, TryFutureExt as _,
    future::{BoxFuture, ready},
};
use rmcp::{
    ErrorData, RoleServer, Service,
    model::{ClientNotification, ClientRequest, ProtocolVersion, ServerConfig, ServerResult},
    service::{NotificationContext, RequestContext},
};

use super::McpServer;

/// The server of one session.
pub(super) struct Direct {
    server: McpServer,
    /// Whether the session began with a handshake, once it has begun.
    handshake: OnceLock<bool>,
}

impl Direct {
    pub(super) const fn new(server: McpServer) -> Self {
        Self { server, handshake: OnceLock::new() }
    }

    /// Whether a request relies on what its session has agreed on, and on nothing of its own: then there is nothing left to
    /// negotiate, or to require of it.
    fn is_of_handshake(&self, request: &ClientRequest, context: &RequestContext<RoleServer>) -> bool {
        if matches!(request, ClientRequest::DiscoverRequest(_)) {
            // Whoever looks around first may begin in either way.
            return false;
        }
        *self.handshake.get_or_init(|| matches!(request, ClientRequest::InitializeRequest(_)))
            && context.meta.protocol_version().is_none()
            && context.peer.peer_info().is_some_and(|info| info.protocol_version.has_initialize())
    }
}

impl Service<RoleServer> for Direct {
    fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ServerResult, ErrorData>> + Send + '_ {
        if matches!(request, ClientRequest::InitializeRequest(_)) && self.handshake.get().is_some() {
            // The SDK would change the session's revision without saying so.
            return ready(Err(ErrorData::invalid_request("the session has begun already", None))).boxed();
        }
        let answer: BoxFuture<'_, _> = if self.is_of_handshake(&request, &context)
            && let ClientRequest::CallToolRequest(call) = request
        {
            Box::pin(self.server.call(call.params, context).map_ok(|result| {
                let mut result = ServerResult::CallToolResult(result);
                result.strip_result_type_for_legacy_peer();
                result
            }))
        } else {
            Box::pin(self.server.handle_request(request, context))
        };
        answer
    }

    fn handle_notification(
        &self,
        notification: ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> impl Future<Output = Result<(), ErrorData>> + Send + '_ {
        self.server.handle_notification(notification, context)
    }

    fn get_info(&self) -> ServerConfig {
        Service::get_info(&self.server)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Service::supported_protocol_versions(&self.server)
    }
}
