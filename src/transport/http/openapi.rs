//! `/openapi.json`: the routes with their arguments and answers, made from the table of routes and the operations' own
//! schemas, so that it can't differ from what is served.

use std::sync::LazyLock;

use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    answer::{Problem, status_of, with_json},
    routes::{Answer, Doc, Route, Run, Takes, all},
};
use crate::{
    domain::{audit::Action, limits::IDEMPOTENCY_CHARS_MAX},
    operations::{self, Entry, ErrorCode, output_schema},
    transport::ErrorBody,
};

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| Bytes::from(document().to_string()));

/// The refusals of every route that needs a credential.
const KEYED: &[ErrorCode] = &[
    ErrorCode::InvalidArgument,
    ErrorCode::Unauthenticated,
    ErrorCode::PermissionDenied,
    ErrorCode::RateLimited,
    ErrorCode::Unavailable,
];

pub(super) static ROUTES: [Route; 1] = [Route {
    method: Method::GET,
    path: "/openapi.json",
    action: Action::Call,
    takes: Takes::Moment,
    run: Run::Open(|_| Box::pin(async { serve() })),
    doc: Some(Doc {
        id: "openapi",
        tag: "Operation",
        summary: "This document",
        description: "Needs no key.",
        scope: None,
        answer: Answer::json("The document.", || Map::from_iter([("type".to_owned(), "object".into())])),
        refusals: &[],
    }),
}];

#[expect(clippy::unnecessary_wraps, reason = "the form of every route's answer")]
fn serve() -> Result<Response, Problem> {
    Ok(with_json(StatusCode::OK, DOCUMENT.clone()))
}

/// The whole document.
pub(super) fn document() -> Value {
    let mut paths = Map::new();
    for route in all(true) {
        if let (Some(doc), Value::Object(methods)) = (&route.doc, paths.entry(route.path).or_insert_with(|| json!({})))
        {
            methods.insert(route.method.as_str().to_ascii_lowercase(), operation(route, doc));
        }
    }
    paths.retain(|_, methods| methods.as_object().is_some_and(|methods| !methods.is_empty()));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Countersign",
            "summary": "The authenticator app for AI agents",
            "description": "TOTP codes for agents: seeds stay sealed, agents get codes, every code is in the audit log. Paths \
                            and fields under `/api/v2` mirror the public V2 TOTP and Seats API of Sendblue.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "TOTP", "description": "Secrets and their codes"},
            {"name": "Seats", "description": "The people of the account"},
            {"name": "Audit", "description": "The audit log"},
            {"name": "Tokens", "description": "Short-lived tokens of a key"},
            {"name": "Operation", "description": "Running the server"},
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "An API key (`cs_…`), a token of one (`cst_…`), or an access token where an identity provider is set up",
                },
                "keyId": {"type": "apiKey", "in": "header", "name": "sb-api-key-id"},
                "keySecret": {"type": "apiKey", "in": "header", "name": "sb-api-secret-key"},
            },
            "schemas": {"Error": error_schema()},
        },
    })
}

fn operation(route: &Route, doc: &Doc) -> Value {
    let mut fields = Map::new();
    fields.insert("operationId".to_owned(), doc.id.into());
    fields.insert("tags".to_owned(), json!([doc.tag]));
    fields.insert("summary".to_owned(), doc.summary.into());
    let scope = doc.scope.map(|scope| format!(" Needs the scope `{scope}`.")).unwrap_or_default();
    fields.insert("description".to_owned(), format!("{}{scope}", doc.description).into());
    let entry = match route.run {
        Run::Operation(entry) => Some(entry),
        Run::Open(_) | Run::Page(_) | Run::Carrier(_) => None,
    };
    let pair = json!({"keyId": [], "keySecret": []});
    let security = match (entry.is_some(), doc.scope) {
        (true, _) => json!([{"bearer": []}, pair]),
        (false, Some(_)) => json!([{"bearer": []}, pair, {}]),
        (false, None) => json!([]),
    };
    fields.insert("security".to_owned(), security);
    let parameters = entry.map(parameters).unwrap_or_default();
    if !parameters.is_empty() {
        fields.insert("parameters".to_owned(), parameters.into());
    }
    let with_body = entry.filter(|entry| entry.api.method == operations::Method::Post);
    if let Some(entry) = with_body {
        let mut schema = with_empty_words(without(entry.route_input(), entry.api.in_path()));
        let is_optional = !schema.contains_key("required") && !entry.is_repeatable();
        // Tools' schemas leave this out, for hosts that convert them.
        schema.insert("additionalProperties".to_owned(), false.into());
        let content = json!({"application/json": {"schema": schema}});
        fields.insert("requestBody".to_owned(), json!({"required": !is_optional, "content": content}));
    }
    fields.insert("responses".to_owned(), responses(doc, entry.is_some(), with_body.is_some()).into());
    fields.into()
}

fn parameters(entry: &Entry) -> Vec<Value> {
    let (in_path, in_query) = (entry.api.in_path(), entry.api.method != operations::Method::Post);
    let input = with_empty_words(entry.route_input());
    let mut parameters = Vec::new();
    for (name, schema) in input.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let mut schema = schema.clone();
        let about = schema.as_object_mut().and_then(|fields| fields.remove("description"));
        if in_path == Some(name) {
            let named = json!({"name": name, "in": "path", "required": true, "description": about, "schema": schema});
            parameters.insert(0, named);
        } else if in_query {
            parameters.push(json!({"name": name, "in": "query", "description": about, "schema": schema}));
        }
    }
    if entry.is_repeatable() {
        parameters.push(json!({
            "name": "Idempotency-Key", "in": "header",
            "description": "A text of your own; a repeat with it within a day gets the first answer, without the seed.",
            "schema": {
                "type": "string", "minLength": 1, "maxLength": IDEMPOTENCY_CHARS_MAX, "pattern": "^[\\x21-\\x7e]+$",
            },
        }));
    }
    parameters
}

/// A schema without the field in the path.
fn without(mut schema: Map<String, Value>, in_path: Option<&str>) -> Map<String, Value> {
    let Some(named) = in_path else { return schema };
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.remove(named);
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| name != named);
    }
    schema
}

/// Adds the empty word to the enums of optional fields, since an empty optional field counts as left out. Tools'
/// schemas don't have it, since Gemini's API refuses an empty word.
fn with_empty_words(mut schema: Map<String, Value>) -> Map<String, Value> {
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for (name, field) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        let is_required = required.iter().any(|needed| needed.as_str() == Some(name));
        if let Some(Value::Array(words)) = field.get_mut("enum").filter(|_| !is_required) {
            words.push("".into());
        }
    }
    schema
}

fn responses(doc: &Doc, is_operation: bool, has_body: bool) -> Map<String, Value> {
    let Answer { about, media_type, schema } = &doc.answer;
    let good = json!({"description": about, "content": {*media_type: {"schema": schema()}}});
    let mut responses = Map::from_iter([("200".to_owned(), good)]);
    let keyed: &[ErrorCode] = if is_operation || doc.scope.is_some() { KEYED } else { &[] };
    let body: &[ErrorCode] = if has_body { &[ErrorCode::TooLarge] } else { &[] };
    for code in keyed.iter().chain(body).chain(doc.refusals) {
        responses.insert(status_of(*code).as_str().to_owned(), refusal(*code));
    }
    if has_body {
        let unsupported = json!({"description": "`invalid_argument`: the body is of another kind than JSON."});
        responses.insert(StatusCode::UNSUPPORTED_MEDIA_TYPE.as_str().to_owned(), with_error(unsupported));
        let slow = json!({"description": "`invalid_argument`: the body took too long to arrive."});
        responses.insert(StatusCode::REQUEST_TIMEOUT.as_str().to_owned(), with_error(slow));
    }
    if is_operation || doc.scope.is_some() {
        responses.insert("500".to_owned(), refusal(ErrorCode::Internal));
    }
    responses
}

fn refusal(code: ErrorCode) -> Value {
    let mut response = with_error(json!({"description": format!("`{}`", code.as_str())}));
    let waits = matches!(code, ErrorCode::Busy | ErrorCode::RateLimited | ErrorCode::Unavailable);
    if let Value::Object(fields) = &mut response {
        if waits {
            let seconds = json!({"type": "integer", "minimum": 1});
            let about = "Seconds after which it is worth another try.";
            fields.insert("headers".to_owned(), json!({"Retry-After": {"description": about, "schema": seconds}}));
        }
        if code == ErrorCode::Unauthenticated {
            let about = "What to send.";
            let header = json!({"description": about, "schema": {"type": "string"}});
            fields.insert("headers".to_owned(), json!({"WWW-Authenticate": header}));
        }
    }
    response
}

fn with_error(mut response: Value) -> Value {
    if let Value::Object(fields) = &mut response {
        let content = json!({"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}});
        fields.insert("content".to_owned(), content);
    }
    response
}

fn error_schema() -> Value {
    let mut schema = output_schema::<ErrorBody>();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        properties
            .insert("error".to_owned(), json!({"type": "string", "enum": codes, "description": "The stable word."}));
        properties.insert("status".to_owned(), json!({"const": "ERROR"}));
    }
    schema.into()
}
