//! URL-mode elicitation: a client that can show a link to its user is requested to show it, and the call waits for the
//! outcome. Up to 2025-11-25 the server sends the client a request; since then the call's answer is the request, and
//! the client repeats the call.
//!
//! The modes that a client declares decide whether it gets the request, not its revision: hosts declare this mode at
//! earlier ones. The form mode is never used: a form must not ask for a secret.

use std::time::Duration;

use rmcp::{
    ErrorData, Peer, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientResult, CustomNotification, ElicitRequest,
        ElicitRequestParams, ElicitResult, ElicitationAction, InputRequest, InputRequests, InputRequiredResult,
        ServerNotification, ServerRequest,
    },
    service::RequestContext,
};
use serde_json::{Map, Value};

use super::handler::{McpServer, is_2026, refused};
use crate::{
    domain::ids::EnrolmentId,
    operations::{Effect, EndEnrolment, Entry, Operation as _, Refusal, Service},
};

/// The name of the request among the inputs of a call.
const INPUT: &str = "enrollment";
/// The argument by which a call waits for an earlier enrolment.
const EARLIER: &str = "enrollment_id";
/// The notification that ends an elicitation. rmcp has no type for it.
const COMPLETE: &str = "notifications/elicitation/complete";
/// The problem of an answer of the client's user that can't be parsed.
const UNKNOWN_ACTION: &str = "`enrollment` needs an `action`: `accept`, `decline` or `cancel`";
/// The problem of an answer to a request that was not sent.
const UNKNOWN_INPUT: &str = "may hold `enrollment` alone: nothing else was asked";
/// The problem of a request state that this server did not give.
const NOT_GIVEN: &str = "is not one that this server gave; send it back as it came, or call again without it";
/// How long to wait for the end of an enrolment: a little longer than a link works.
const LOOKED_FOR: Duration = Duration::from_mins(11);

/// A pending enrolment.
struct Begun {
    id: EnrolmentId,
    message: String,
    url: String,
}

/// Whether a call asks a person for something, and the client can show them the link.
pub(super) fn is_for_user(
    entry: &Entry,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> bool {
    let is_later = || request.arguments.as_ref().is_some_and(|arguments| arguments.contains_key(EARLIER));
    let declared = || context.client_capabilities().and_then(|capabilities| capabilities.elicitation);
    entry.spec.effect == Effect::Ask && !is_later() && declared().is_some_and(|modes| modes.url.is_some())
}

impl McpServer {
    /// Answers a call of a tool that asks a person for something.
    pub(super) async fn ask_by_url(
        &self,
        entry: &'static Entry,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let later = |id: &str| self.run(entry, Map::from_iter([(EARLIER.to_owned(), Value::from(id))]), context);
        if let Some(state) = request.request_state.filter(|state| !state.is_empty()) {
            let mut answers = request.input_responses.unwrap_or_default();
            let answer = answers.remove(INPUT).map(serde_json::from_value::<ElicitResult>).transpose();
            // An answer that can't be parsed must not count as consent.
            let read = if answers.is_empty() { answer.map_err(|_| UNKNOWN_ACTION) } else { Err(UNKNOWN_INPUT) };
            let answer = match read {
                Ok(answer) => answer,
                Err(problem) => {
                    let unknown = Refusal::invalid("inputResponses", problem);
                    let refusal = self.service().refuse_arguments(&self.caller(context)?, &entry.spec, unknown).await;
                    return Ok(refused(&refusal).into());
                }
            };
            let Some(id) = self.service().id_of_request_state(&state) else {
                let forged = Refusal::invalid("requestState", NOT_GIVEN);
                let refusal = self.service().refuse_arguments(&self.caller(context)?, &entry.spec, forged).await;
                return Ok(refused(&refusal).into());
            };
            if let Some(declined) = answer.and_then(|answer| refused_by(&answer.action))
                && let Err(refusal) = self.end(id, declined, context).await?
            {
                return Ok(refused(&refusal).into());
            }
            return later(&id.to_string()).await.map(Into::into);
        }
        let result = self.run(entry, request.arguments.unwrap_or_default(), context).await?;
        let Some(begun) = begun(&result) else { return Ok(result.into()) };
        if is_2026(context) {
            let asked = InputRequest::Elicitation(ElicitRequest::new(begun.params(false)));
            let inputs = InputRequests::from([(INPUT.to_owned(), asked)]);
            let state = self.service().request_state_of(begun.id);
            return Ok(InputRequiredResult::new(Some(inputs), Some(state)).into());
        }
        let peer = &context.peer;
        tokio::spawn(tell_the_end(self.service().clone(), begun.id, peer.clone()));
        // The person may open the link and answer there before the client reports their consent.
        let asked = async {
            match peer.send_request(ServerRequest::ElicitRequest(ElicitRequest::new(begun.params(true)))).await {
                Ok(ClientResult::ElicitResult(answer)) => match refused_by(&answer.action) {
                    // If the end is refused, the call that follows is refused too, and returns the reason.
                    Some(declined) => self.end(begun.id, declined, context).await.map(|_| true),
                    None => std::future::pending().await,
                },
                // The client can't do what it declared: its model gets the link.
                Ok(_) | Err(_) => Ok(false),
            }
        };
        let has_ended = tokio::select! {
            biased;
            outcome = later(&begun.id.to_string()) => return outcome.map(Into::into),
            has_ended = asked => has_ended?,
        };
        if has_ended { later(&begun.id.to_string()).await.map(Into::into) } else { Ok(result.into()) }
    }

    /// Ends an enrolment because the client's user refused to open the link.
    async fn end(
        &self,
        id: EnrolmentId,
        declined: bool,
        context: &RequestContext<RoleServer>,
    ) -> Result<Result<(), Refusal>, ErrorData> {
        let (caller, service) = (self.caller(context)?, self.service());
        let end = EndEnrolment { id, declined };
        Ok(match self.counted(context).await {
            Ok(()) => service.perform(&caller, end).await,
            Err(refusal) => Err(service.refuse_arguments(&caller, &EndEnrolment::SPEC, refusal).await),
        })
    }
}

impl Begun {
    fn params(&self, with_id: bool) -> ElicitRequestParams {
        ElicitRequestParams::UrlElicitationParams {
            meta: None,
            message: self.message.clone(),
            url: self.url.clone(),
            // Revision 2026-07-28 has no such field.
            elicitation_id: if with_id { self.id.to_string() } else { String::new() },
        }
    }
}

/// The pending enrolment in a result, if there is one.
fn begun(result: &CallToolResult) -> Option<Begun> {
    let answer = result.structured_content.as_ref().filter(|_| result.is_error != Some(true))?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let words = text("words")?;
    let message = format!(
        "An agent asks you to add a TOTP secret on a page of your own. The page shows the words {words}; if it shows others, \
         decline there."
    );
    Some(Begun { id: text(EARLIER)?.parse().ok()?, url: text("enrollment_url")?, message })
}

/// The same as [`refused_by`], for the result of a request to show a link; `None` as well if it can't be parsed.
pub(in crate::transport) fn refusal_in(result: &Value) -> Option<bool> {
    refused_by(&serde_json::from_value::<ElicitResult>(result.clone()).ok()?.action)
}

/// Whether the client's user declined an enrolment, or only cancelled; `None` if they agreed to open the link.
fn refused_by(action: &ElicitationAction) -> Option<bool> {
    match action {
        ElicitationAction::Decline => Some(true),
        ElicitationAction::Cancel => Some(false),
        ElicitationAction::Accept | _ => None,
    }
}

/// Notifies a client of the end of an elicitation, whenever that is: the client may still show the link.
async fn tell_the_end(service: Service, id: EnrolmentId, peer: Peer<RoleServer>) {
    if tokio::time::timeout(LOOKED_FOR, service.enrolment_over(id)).await.is_err() || peer.is_transport_closed() {
        return;
    }
    let params = serde_json::json!({"elicitationId": id.to_string()});
    let complete = CustomNotification::new(COMPLETE, Some(params));
    // A client that is gone shows no link.
    let _ = peer.send_notification(ServerNotification::CustomNotification(complete)).await;
}
