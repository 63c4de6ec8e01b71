//! `/api/v2/totp/code`: getting and verifying codes.

use axum::response::Response;
use http::Method;
use serde_json::{Map, Value};

use super::secrets::SECRET_ID;
use crate::{
    domain::{audit::Action, scope::Scope},
    service::{Code, CodeRequest, Refusal},
    transport::{
        http::{
            answer::Problem,
            body::Arriving,
            door::Call,
            query,
            routes::{Answer, Doc, Input, Route, Run, Takes},
        },
        wire::{
            GetCodeInput, OK, TotpGetCodeResponse, VerifyInput, VerifyResponse, input_schema, output_schema, read_in,
        },
    },
};

pub(in crate::transport::http) static ROUTES: [Route; 2] = [
    Route {
        method: Method::GET,
        path: "/api/v2/totp/code/{secret_id}",
        action: Action::CodeGet,
        takes: Takes::Wait,
        run: Run::Keyed(|call, _| Box::pin(get(call))),
        doc: Some(Doc {
            id: "getTotpCode",
            tag: "TOTP",
            summary: "Get a TOTP code",
            description: "The current code of a secret and the whole seconds until it rotates. With `min_validity` it \
                          waits for the next code if fewer seconds are left; with `single_use` the code goes to no \
                          other caller, and a later one is waited for if need be. `busy` says, also in `Retry-After`, \
                          in how many seconds a code is free.",
            scope: Some(Scope::CodesRead),
            in_path: Some(SECRET_ID),
            input: Input::Query(input_schema::<GetCodeInput>),
            answer: Answer::json("The code.", output_schema::<TotpGetCodeResponse>),
            refusals: &[Code::NotFound, Code::Busy],
        }),
    },
    Route {
        method: Method::POST,
        path: "/api/v2/totp/code/{secret_id}/verify",
        action: Action::CodeVerify,
        takes: Takes::Moment,
        run: Run::Keyed(|call, body| Box::pin(verify(call, body))),
        doc: Some(Doc {
            id: "verifyTotpCode",
            tag: "TOTP",
            summary: "Verify a TOTP code",
            description: "Whether a code that a person typed is right at this moment, one time step either side. Each \
                          step is accepted once, and none after a later one; wrong codes slow down further checks of that secret.",
            scope: Some(Scope::CodesVerify),
            in_path: Some(SECRET_ID),
            input: Input::Body(input_schema::<VerifyInput>),
            answer: Answer::json("Whether it was right.", output_schema::<VerifyResponse>),
            refusals: &[Code::NotFound],
        }),
    },
];

async fn get(call: Call<'_>) -> Result<Response, Problem> {
    let id = call.secret_id().await?;
    let request = match call.parts.uri.query() {
        // The common call, and the one that must be fast.
        None => CodeRequest::default(),
        query => call.or_note(query::read::<GetCodeInput>(query, named(&call.named))).await?.to_request(),
    };
    let code = call.app.service.get_code(&call.caller, id, &request, &()).await?;
    call.answer(&TotpGetCodeResponse::from(&code))
}

async fn verify(mut call: Call<'_>, body: Arriving) -> Result<Response, Problem> {
    call.takes_no_query().await?;
    let id = call.secret_id().await?;
    let mut body = call.object(body).await?;
    if body.insert(SECRET_ID.name.to_owned(), Value::String(call.named.clone())).is_some() {
        return Err(call.refuse(Refusal::invalid("secret_id", "stands in the path; leave it out of the body")).await);
    }
    let input: VerifyInput = call.or_note(read_in("body", SECRET_ID.name, body)).await?;
    let seat = input.seat_id.as_deref();
    let verification = call.app.service.verify_code(&call.caller, id, input.code.expose(), seat).await?;
    call.answer(&VerifyResponse { status: OK, valid: verification.valid })
}

/// What the path names, as an argument.
fn named(secret_id: &str) -> Map<String, Value> {
    Map::from_iter([(SECRET_ID.name.to_owned(), Value::String(secret_id.to_owned()))])
}
