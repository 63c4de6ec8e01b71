//! The handler that all transports share.

use std::{
    future::pending,
    sync::{Arc, Mutex, PoisonError},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest, CustomResult,
        DiscoverResult, Extensions, GetPromptRequestParams, GetPromptResponse, GetSkillRequestParams, GetSkillResult,
        Implementation, InitializeRequestParams, InitializeResult, ListPromptsResult, ListResourcesResult,
        ListSkillsResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
        ReadResourceResponse, ReadResourceResult, ServerConfig, Tool,
    },
    service::RequestContext,
};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{
    elicitation, identity,
    patience::Progress,
    prompts, skill,
    tools::{instructions_for, listed},
    unserved::Requests,
};
use crate::{
    domain::{
        audit::{Action, AuditEntry},
        principal::{Client, Principal},
        text::Claim,
    },
    operations::{self, ApiCall, Entry, Refusal, Reveal, Service, Surface},
    transport::{ErrorBody, pace::CallPace, trace::trace_of},
};

/// Milliseconds for which a client may cache the list of tools: it changes only with the caller's rights.
const LIST_TTL_MS: u64 = 300_000;

/// Signals a session's end to its calls. A transport whose sessions end separately from their calls puts it next to the
/// caller in the request.
#[derive(Clone, Default)]
pub(in crate::transport) struct SessionEnd(CancellationToken);

impl SessionEnd {
    /// Signals the end to every call of the session.
    pub(in crate::transport) fn tell(&self) {
        self.0.cancel();
    }
}

/// Countersign as an MCP server. Cheap to clone: transports make one for each connection or request.
#[derive(Clone)]
pub struct McpServer {
    shared: Arc<Shared>,
}

struct Shared {
    service: Service,
    /// The caller, if the transport has only one; otherwise each request carries its own.
    caller: Option<Principal>,
    reveal: Reveal,
    versions: &'static [ProtocolVersion],
    /// The last client and its stored claim: checking a claim costs more than the rest of a call, and a sidecar has one
    /// client.
    last_client: Mutex<Option<(Implementation, Client)>>,
}

impl Shared {
    /// The stored claim for a client's name and version.
    fn client(&self, implementation: &Implementation) -> Client {
        let mut last = self.last_client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = last.as_ref()
            && (&known.name, &known.version) == (&implementation.name, &implementation.version)
        {
            return client.clone();
        }
        let client =
            Client { name: Claim::of(&implementation.name), version: Claim::of(&implementation.version), trace: None };
        *last = Some((implementation.clone(), client.clone()));
        client
    }
}

impl McpServer {
    /// A server for one caller: the host that started a sidecar.
    pub fn for_caller(service: Service, caller: Principal, reveal: Reveal) -> Self {
        Self::new(service, Some(caller), reveal, ProtocolVersion::KNOWN_VERSIONS)
    }

    /// A server whose callers come with each request, as [`Principal`]s in the HTTP request's extensions.
    pub fn for_requests(service: Service, reveal: Reveal) -> Self {
        Self::new(service, None, reveal, ProtocolVersion::KNOWN_VERSIONS)
    }

    /// The same server for a transport that supports only the handshake revisions, up to 2025-11-25.
    #[must_use]
    pub fn for_handshakes(&self) -> Self {
        let shared = &self.shared;
        let versions = ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25);
        Self::new(shared.service.clone(), shared.caller.clone(), shared.reveal, versions)
    }

    fn new(service: Service, caller: Option<Principal>, reveal: Reveal, versions: &'static [ProtocolVersion]) -> Self {
        Self { shared: Arc::new(Shared { service, caller, reveal, versions, last_client: Mutex::default() }) }
    }

    /// The service behind it.
    pub(super) fn service(&self) -> &Service {
        &self.shared.service
    }

    /// The requests of a new session.
    pub(in crate::transport) fn requests(&self) -> Requests {
        Requests::new(self.shared.versions)
    }

    /// Writes the audit row of a message that was refused without this handler. The extensions are the message's.
    pub(in crate::transport) async fn record_refused(&self, extensions: Option<&Extensions>) {
        let service = &self.shared.service;
        if let Some(caller) = self.sender(extensions) {
            let row = AuditEntry::of(caller, Action::Call, service.now());
            service.record_own(operations::ErrorCode::InvalidArgument, row, None).await;
        }
    }

    /// The caller who sent a message with these extensions.
    fn sender<'a>(&'a self, extensions: Option<&'a Extensions>) -> Option<&'a Principal> {
        let sent = || extensions?.get::<http::request::Parts>()?.extensions.get();
        self.shared.caller.as_ref().or_else(sent)
    }

    /// The caller of a request.
    pub(super) fn caller(&self, context: &RequestContext<RoleServer>) -> Result<Principal, ErrorData> {
        let caller = self.sender(Some(&context.extensions));
        let caller = caller.ok_or_else(|| ErrorData::internal_error("the request has no caller", None))?;
        // Take the client from the request, or else from the handshake; the context's method would copy the whole
        // handshake for every call.
        let client = match context.meta.client_info() {
            Some(implementation) => Some(self.shared.client(&implementation)),
            None => context.peer.peer_info().map(|info| self.shared.client(&info.client_info)),
        };
        // The trace in the message takes precedence over the one in the request that carries it.
        let sent = context.meta.get_traceparent().and_then(|text| text.parse().ok());
        let carried = || context.extensions.get::<http::request::Parts>().and_then(|parts| trace_of(&parts.headers));
        Ok(caller.clone().through(client.unwrap_or_default()).in_trace(sent.or_else(carried)))
    }

    /// Refuses a call of a tool that does not exist. The name is not repeated, because it may hold anything.
    pub(super) async fn no_tool(&self, context: &RequestContext<RoleServer>) -> ErrorData {
        let unknown = Refusal::invalid("params.name", "is no tool's name; tools/list shows them");
        let refusal = self.counted(context).await.err().unwrap_or(unknown);
        self.refused(refusal, context).await
    }

    /// The JSON-RPC error for a refused request that is not a tool call. Its audit row has the action `call`.
    async fn refused(&self, refusal: Refusal, context: &RequestContext<RoleServer>) -> ErrorData {
        let caller = match self.caller(context) {
            Ok(caller) => caller,
            Err(error) => return error,
        };
        let refusal = self.shared.service.record_refusal(&caller, Action::Call, refusal).await;
        ErrorData::invalid_params(refusal.to_string(), None)
    }

    /// Refuses a request for a resource or a skill that does not exist.
    async fn no_resource(&self, context: &RequestContext<RoleServer>) -> ErrorData {
        let unknown = Refusal::invalid("params.uri", "is no resource's address; resources/list shows them");
        self.refused(unknown, context).await
    }

    /// Counts a call, if the transport limits its caller's calls.
    pub(super) async fn counted(&self, context: &RequestContext<RoleServer>) -> Result<(), Refusal> {
        let parts = context.extensions.get::<http::request::Parts>();
        match parts.and_then(|parts| parts.extensions.get::<CallPace>()) {
            Some(pace) => pace.count(&self.shared.service).await,
            None => Ok(()),
        }
    }

    pub(super) async fn run(
        &self,
        entry: &'static Entry,
        arguments: Map<String, Value>,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let caller = self.caller(context)?;
        let service = &self.shared.service;
        if let Err(refusal) = self.counted(context).await {
            return Ok(refused(&service.refuse_arguments(&caller, &entry.spec, refusal).await));
        }
        let (surface, progress) = (Surface::Mcp { reveal: self.shared.reveal }, Progress(context));
        let call = ApiCall { service, caller: &caller, surface, arguments, patience: &progress };
        // Dropping the call cancels it and gives back a reserved step.
        let answer = tokio::select! {
            biased;
            answer = (entry.perform)(entry, call) => answer,
            () = abandoned(context) => return Ok(CallToolResult::error(Vec::new())),
        };
        let result = answer.and_then(|answer| answered(answer.json).map_err(|cause| service.bug(&cause)));
        tracing::debug!(
            tool = entry.spec.name,
            outcome = result.as_ref().map_or_else(|refusal| refusal.code().as_str(), |_| "ok"),
            "called"
        );
        Ok(result.unwrap_or_else(|refusal| refused(&refusal)))
    }
}

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        identity::server()
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let mut result = self.negotiate_initialize(&request)?;
        result.instructions = Some(instructions_for(&self.shared.service, &self.caller(&context)?));
        context.peer.set_peer_info(request);
        Ok(result)
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let config = self.get_info().with_instructions(instructions_for(&self.shared.service, &self.caller(&context)?));
        Ok(DiscoverResult::from_server_info(self.supported_protocol_versions().into_owned(), config))
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [ProtocolVersion]> {
        self.shared.versions.into()
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let caller = self.caller(&context)?;
        let is_for =
            |tool: &&Tool| Entry::named(&tool.name).is_some_and(|entry| self.shared.service.offers(entry, &caller));
        let mut list = ListToolsResult::with_all_items(listed().iter().filter(is_for).cloned().collect());
        (list.ttl_ms, list.cache_scope) = caching(&context);
        Ok(list)
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let mut list = ListPromptsResult::with_all_items(prompts::listed(&self.caller(&context)?));
        (list.ttl_ms, list.cache_scope) = caching(&context);
        Ok(list)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        match prompts::filled(&self.caller(&context)?, &request.name, request.arguments.as_ref()) {
            Ok(filled) => Ok(filled.into()),
            Err(refusal) => Err(self.refused(refusal, &context).await),
        }
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let mut list = ListResourcesResult::with_all_items(vec![skill::resource()]);
        (list.ttl_ms, list.cache_scope) = caching(&context);
        Ok(list)
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let Some(contents) = skill::read(&request.uri) else {
            return Err(self.no_resource(&context).await);
        };
        let mut result = ReadResourceResult::new(vec![contents]);
        (result.ttl_ms, result.cache_scope) = caching(&context);
        Ok(result.into())
    }

    async fn list_skills(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListSkillsResult, ErrorData> {
        let mut list = ListSkillsResult::with_all_items(vec![skill::skill()]);
        (list.ttl_ms, list.cache_scope) = caching(&context);
        Ok(list)
    }

    async fn get_skill(
        &self,
        request: GetSkillRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetSkillResult, ErrorData> {
        if !skill::is_at(&request.uri) {
            return Err(self.no_resource(&context).await);
        }
        let mut result = GetSkillResult::new(skill::skill());
        (result.ttl_ms, result.cache_scope) = caching(&context);
        Ok(result)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        listed().iter().find(|tool| tool.name == name).cloned()
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        self.answer_unread(request, &context).await
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // Each is boxed because rmcp would copy the call, at its full size, from task to task.
        match Entry::tool(&request.name) {
            Some(entry) if elicitation::is_for_user(entry, &request, &context) => {
                Box::pin(self.ask_by_url(entry, request, &context)).await
            }
            Some(entry) => {
                Box::pin(self.run(entry, request.arguments.unwrap_or_default(), &context)).await.map(Into::into)
            }
            None => Err(Box::pin(self.no_tool(&context)).await),
        }
    }
}

/// How long a client may cache a list. Earlier revisions don't know these fields.
fn caching(context: &RequestContext<RoleServer>) -> (Option<u64>, Option<CacheScope>) {
    if is_2026(context) { (Some(LIST_TTL_MS), Some(CacheScope::Private)) } else { (None, None) }
}

/// Waits until the call's result is no longer wanted: it was cancelled, or its session has ended.
async fn abandoned(context: &RequestContext<RoleServer>) {
    let parts = context.extensions.get::<http::request::Parts>();
    let end = parts.and_then(|parts| parts.extensions.get::<SessionEnd>());
    let ended = async {
        match end {
            Some(SessionEnd(session_end)) => session_end.cancelled().await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = context.ct.cancelled() => (),
        () = ended => (),
    }
}

/// Whether the request uses revision 2026-07-28, whose results have more fields.
pub(super) fn is_2026(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

/// An answer as text and as structured content.
fn answered(answer: String) -> serde_json::Result<CallToolResult> {
    let value = serde_json::from_str(&answer)?;
    let mut result = CallToolResult::success(vec![ContentBlock::text(answer)]);
    result.structured_content = Some(value);
    Ok(result)
}

/// A refusal as text only: some clients validate `structuredContent` against the output schema even for an error.
pub(super) fn refused(refusal: &Refusal) -> CallToolResult {
    let body = serde_json::to_value(ErrorBody::from(refusal)).unwrap_or(Value::Null);
    CallToolResult::error(vec![ContentBlock::text(body.to_string())])
}
