//! REST: a route for every operation in the table, made from its declaration, with one handler.

use std::sync::LazyLock;

use axum::response::Response;
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::{Map, Value};

use super::{
    answer::{Problem, with_json},
    body::Arriving,
    door::Call,
    listing, query,
    routes::{Answer, Doc, Route, Run, Takes},
};
use crate::{
    operations::{self, ApiCall, Entry, Refusal, Surface, TABLE},
    transport::trace::trace_of,
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The routes of the table's operations.
pub(super) static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| TABLE.iter().map(route).collect());

fn route(entry: &'static Entry) -> Route {
    let api = &entry.api;
    Route {
        method: match api.method {
            operations::Method::Get => http::Method::GET,
            operations::Method::Post => http::Method::POST,
            operations::Method::Delete => http::Method::DELETE,
        },
        path: api.path,
        action: entry.spec.action,
        takes: if api.waits { Takes::Wait } else { Takes::Moment },
        run: Run::Operation(entry),
        doc: Some(Doc {
            id: api.id,
            tag: api.tag,
            summary: api.title,
            description: api.description,
            scope: entry.scope(),
            answer: Answer::json(api.answer, entry.route_answer),
            refusals: api.refusals,
        }),
    }
}

/// Carries out the operation of a request.
pub(super) async fn serve(mut call: Call<'_>, entry: &'static Entry, body: Arriving) -> Result<Response, Problem> {
    call.caller = call.caller.in_trace(trace_of(&call.parts.headers));
    let arguments = match arguments(&mut call, entry, body).await {
        Ok(arguments) => arguments,
        Err(Problem::Own(refusal)) => {
            return Err(call.app.service.refuse_arguments(&call.caller, &entry.spec, refusal).await.into());
        }
        Err(problem) => return Err(problem),
    };
    let (service, caller) = (&call.app.service, &call.caller);
    let surface = match repeated(entry, &call.parts.headers) {
        Ok(idempotency_key) => Surface::Rest { idempotency_key },
        Err(refusal) => return Err(service.refuse_arguments(caller, &entry.spec, refusal).await.into()),
    };
    let call = ApiCall { service, caller, surface, arguments, patience: &() };
    let answer = (entry.perform)(entry, call).await?;
    Ok(match answer.rest {
        None => with_json(StatusCode::OK, answer.json.into_bytes()),
        Some(rest) => with_json(StatusCode::OK, listing::body(service.clone(), caller.clone(), &answer.json, rest)),
    })
}

/// The arguments, from path and query or body.
async fn arguments(call: &mut Call<'_>, entry: &'static Entry, body: Arriving) -> Result<Map<String, Value>, Problem> {
    let (fields, uri) = (entry.route_fields(), &call.parts.uri);
    if entry.api.in_path().is_some() && call.named.is_empty() {
        // The argument in the path is not UTF-8.
        return Err(Problem::NoRoute);
    }
    let mut arguments = if entry.api.method == operations::Method::Post {
        query::none(uri.query()).map_err(Problem::Own)?;
        call.object(body).await?
    } else {
        query::arguments(uri.query(), fields).map_err(Problem::Own)?
    };
    if let Some(name) = entry.api.in_path()
        && arguments.insert(name.to_owned(), call.named.clone().into()).is_some()
    {
        return Err(Problem::Own(Refusal::invalid(name, "stands in the path; leave it out of the body")));
    }
    Ok(arguments)
}

/// The `Idempotency-Key` header, if the operation uses it.
fn repeated(entry: &Entry, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let mut sent = headers.get_all(IDEMPOTENCY_KEY).iter().filter(|_| entry.is_repeatable());
    let Some(key) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(Refusal::invalid("Idempotency-Key", "must stand there once"));
    }
    let text = key.to_str().map_err(|_| Refusal::invalid("Idempotency-Key", "must be ASCII text"))?;
    Ok(Some(text.to_owned()))
}
