//! `/api/v2/audit`: the trail, for people's tools.

use axum::response::Response;
use http::Method;
use serde_json::Map;

use crate::{
    domain::{audit::Action, scope::Scope},
    transport::{
        http::{
            answer::Problem,
            door::Call,
            query,
            routes::{Answer, Doc, Input, Route, Run, Takes},
        },
        wire::{AuditListResponse, AuditRow, ListAuditInput, OK, input_schema, output_schema},
    },
};

pub(in crate::transport::http) static ROUTES: [Route; 1] = [Route {
    method: Method::GET,
    path: "/api/v2/audit",
    action: Action::Call,
    takes: Takes::Moment,
    run: Run::Keyed(|call, _| Box::pin(list(call))),
    doc: Some(Doc {
        id: "listAudit",
        tag: "Audit",
        summary: "Read the trail",
        description: "Rows of the account's trail that match every filter, in order: the newest ones, or those after \
                      the row that `after` names. To a key that is limited to given secrets or bound to a seat, other \
                      rows than those on its secrets and for its seat don't exist.",
        scope: Some(Scope::AuditRead),
        in_path: None,
        input: Input::Query(input_schema::<ListAuditInput>),
        answer: Answer::json("The rows.", output_schema::<AuditListResponse>),
        refusals: &[],
    }),
}];

async fn list(call: Call<'_>) -> Result<Response, Problem> {
    let read = query::read::<ListAuditInput>(call.parts.uri.query(), Map::new());
    let filter = call.or_note(read.and_then(|input| input.to_filter())).await?;
    let rows = call.app.service.read_trail(&call.caller, filter).await?;
    call.answer(&AuditListResponse { rows: rows.iter().map(AuditRow::from).collect(), status: OK })
}
