//! Finds the requests that rmcp refuses by itself: the handler does not see them, so the transport writes their audit
//! rows.

use rmcp::model::{
    CallToolRequestMethod, ClientJsonRpcMessage, ClientRequest, ConstString as _, GetMeta as _, ProtocolVersion,
    RequestMetaObject, skill_name_from_uri,
};

/// How a session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// With `initialize`.
    Handshake,
    /// With a request that contains its own metadata, as all later ones must.
    Inline,
}

/// The requests of one session, as far as rmcp's answers to later ones depend on earlier ones.
pub(in crate::transport) struct Requests {
    versions: &'static [ProtocolVersion],
    begun: Option<Beginning>,
}

impl Requests {
    /// The requests of a session that supports these revisions.
    pub(super) const fn new(versions: &'static [ProtocolVersion]) -> Self {
        Self { versions, begun: None }
    }

    /// Whether the session has begun.
    pub(super) const fn have_begun(&self) -> bool {
        self.begun.is_some()
    }

    /// Records the next message. Returns whether it is a request that rmcp refuses.
    pub(in crate::transport) fn is_refused(&mut self, message: &ClientJsonRpcMessage) -> bool {
        match message {
            ClientJsonRpcMessage::Request(request) => self.is_refused_request(&request.request),
            ClientJsonRpcMessage::Notification(_)
            | ClientJsonRpcMessage::Response(_)
            | ClientJsonRpcMessage::Error(_) => false,
        }
    }

    fn is_refused_request(&mut self, request: &ClientRequest) -> bool {
        if matches!(request, ClientRequest::InitializeRequest(_)) {
            self.begun = Some(Beginning::Handshake);
            return false;
        }
        let meta = request.get_meta();
        let version = meta.protocol_version();
        let is_supported = version.as_ref().is_none_or(|version| self.versions.contains(version));
        let Some(begun) = self.begun else {
            if matches!(request, ClientRequest::PingRequest(_)) {
                return false;
            }
            let is_refused = !is_supported || version.is_none() || lacks_metadata(meta);
            if !is_refused && !matches!(request, ClientRequest::DiscoverRequest(_)) {
                self.begun = Some(Beginning::Inline);
            }
            return is_refused || !is_served(request);
        };
        let is_stateless = begun == Beginning::Inline
            || matches!(request, ClientRequest::DiscoverRequest(_))
            || version.is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        let is_old = matches!(request, ClientRequest::PingRequest(_));
        !is_supported || is_stateless && (is_old || lacks_metadata(meta)) || !is_served(request)
    }
}

/// Whether the metadata lacks a key that the revision without a handshake requires.
fn lacks_metadata(meta: &RequestMetaObject) -> bool {
    !meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
}

/// Whether the handler sees the request.
pub(in crate::transport) fn is_served(request: &ClientRequest) -> bool {
    if let ClientRequest::CustomRequest(request) = request {
        // The handler explains why a call can't be read.
        return request.method == CallToolRequestMethod::VALUE;
    }
    if let ClientRequest::GetSkillRequest(request) = request {
        // rmcp refuses other addresses by itself.
        return skill_name_from_uri(&request.params.uri).is_some();
    }
    matches!(
        request,
        ClientRequest::InitializeRequest(_)
            | ClientRequest::DiscoverRequest(_)
            | ClientRequest::PingRequest(_)
            | ClientRequest::ListToolsRequest(_)
            | ClientRequest::CallToolRequest(_)
            | ClientRequest::ListPromptsRequest(_)
            | ClientRequest::GetPromptRequest(_)
            | ClientRequest::ListResourcesRequest(_)
            | ClientRequest::ListResourceTemplatesRequest(_)
            | ClientRequest::ReadResourceRequest(_)
            | ClientRequest::ListSkillsRequest(_)
    )
}
