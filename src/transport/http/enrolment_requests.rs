//! Requests that this server sends to clients within a session over Streamable HTTP: to show the link of an enrolment.
//! The answer arrives in a request of its own, which a load balancer may send to another node than the one whose call
//! waits for it.
//!
//! So such a request has the id of its enrolment. By it any node finds the enrolment that a client refuses, and ends it
//! in the vault, where the waiting call finds that. rmcp's ids are not enough: every node counts from 0.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::response::Response;
use http::request::Parts;
use rmcp::{
    model::{
        ClientJsonRpcMessage, ElicitRequestParams, NumberOrString, RequestId, ServerJsonRpcMessage, ServerRequest,
    },
    transport::streamable_http_server::session::ServerSseMessage,
};
use serde_json::Value;

use super::{answer::Problem, door::App, sse::accepted};
use crate::{
    domain::{ids::EnrolmentId, principal::Principal},
    operations::{EndEnrolment, ErrorCode, Operation as _},
    transport::{mcp::refusal_in, owner::Owner, pace::CallPace},
};

/// The pending requests of one node's copy of a session, with rmcp's ids.
#[derive(Default)]
pub(super) struct EnrolmentRequests(Mutex<HashMap<EnrolmentId, RequestId>>);

impl EnrolmentRequests {
    /// The event as its client gets it: a request to show a link has the id of its enrolment.
    pub(super) fn named(&self, mut event: ServerSseMessage) -> ServerSseMessage {
        let Some(id) = event.message.as_deref().and_then(enrolment_in) else { return event };
        event.message = event.message.map(|message| {
            let mut message = Arc::unwrap_or_clone(message);
            if let ServerJsonRpcMessage::Request(asked) = &mut message {
                let own = std::mem::replace(&mut asked.id, NumberOrString::String(id.to_string().into()));
                self.lock().insert(id, own);
            }
            Arc::new(message)
        });
        event
    }

    /// The message as rmcp expects it: an answer to such a request has rmcp's id again.
    pub(super) fn answered(&self, mut message: ClientJsonRpcMessage) -> ClientJsonRpcMessage {
        let id = match &mut message {
            ClientJsonRpcMessage::Response(answer) => Some(&mut answer.id),
            ClientJsonRpcMessage::Error(answer) => answer.id.as_mut(),
            ClientJsonRpcMessage::Request(_) | ClientJsonRpcMessage::Notification(_) => None,
        };
        if let Some(id) = id
            && let NumberOrString::String(text) = &*id
            && let Ok(enrolment) = text.parse()
            && let Some(own) = self.lock().remove(&enrolment)
        {
            *id = own;
        }
        message
    }

    /// Whether a request for this enrolment is pending.
    pub(super) fn has(&self, id: EnrolmentId) -> bool {
        self.lock().contains_key(&id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EnrolmentId, RequestId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The enrolment whose link a message asks the client to show.
fn enrolment_in(message: &ServerJsonRpcMessage) -> Option<EnrolmentId> {
    let ServerJsonRpcMessage::Request(asked) = message else { return None };
    let ServerRequest::ElicitRequest(asked) = &asked.request else { return None };
    match &asked.params {
        ElicitRequestParams::UrlElicitationParams { elicitation_id, .. } => elicitation_id.parse().ok(),
        ElicitRequestParams::FormElicitationParams { .. } | _ => None,
    }
}

/// Handles an answer to a request that another node sent in a session of this caller, which other nodes know. Returns
/// `None` if the message is no such answer.
///
/// The id comes from the client, but it ends only an enrolment that the caller may end: their own. An answer that
/// agrees, or that can't show links, changes nothing: the call continues to wait for the page.
pub(super) async fn taken(
    app: &App,
    caller: &Principal,
    session: Option<&str>,
    parts: &Parts,
    message: &Value,
) -> Option<Result<Response, Problem>> {
    let session = session.filter(|_| message.get("method").is_none())?;
    let id: EnrolmentId = message.get("id")?.as_str()?.parse().ok()?;
    if app.mcp.sessions().awaits(session, Owner::of(caller), id) {
        return None;
    }
    let Some(declined) = message.get("result").and_then(refusal_in) else { return Some(Ok(accepted())) };
    let end = EndEnrolment { id, declined };
    let ended = match parts.extensions.get::<Option<CallPace>>().cloned().flatten() {
        Some(pace) => pace.count(&app.service).await,
        None => Ok(()),
    };
    let ended = match ended {
        Ok(()) => app.service.perform(caller, end).await,
        Err(refusal) => Err(app.service.refuse_arguments(caller, &EndEnrolment::SPEC, refusal).await),
    };
    Some(match ended {
        // An answer for an unknown enrolment is no error for a client, and to it 404 would mean that its session has
        // ended.
        Err(refusal) if refusal.code() != ErrorCode::NotFound => Err(Problem::Own(refusal)),
        Ok(()) | Err(_) => Ok(accepted()),
    })
}
