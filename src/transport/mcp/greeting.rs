//! Explains an invalid `initialize`. rmcp takes it for an unknown method, and answers with an error about another
//! revision.

use rmcp::{
    ErrorData,
    model::{
        ClientJsonRpcMessage, ClientRequest, ConstString as _, CustomRequest, InitializeResultMethod, RequestId,
        RequestMetaObject,
    },
};
use serde_json::Value;

/// A required part of `initialize`.
struct Part {
    /// Its JSON path.
    path: &'static str,
    /// Its description.
    what: &'static str,
    is_right: fn(&Value) -> bool,
}

const PARTS: [Part; 5] = [
    Part { path: "/protocolVersion", what: "a text, such as 2025-11-25", is_right: Value::is_string },
    Part { path: "/capabilities", what: "an object, which may be empty", is_right: Value::is_object },
    Part { path: "/clientInfo", what: "an object with `name` and `version`", is_right: Value::is_object },
    Part { path: "/clientInfo/name", what: "a text", is_right: Value::is_string },
    Part { path: "/clientInfo/version", what: "a text", is_right: Value::is_string },
];

/// The id of an invalid `initialize`, and the error that names the parts that it lacks.
pub(in crate::transport) fn flawed_greeting(message: &ClientJsonRpcMessage) -> Option<(RequestId, ErrorData)> {
    let ClientJsonRpcMessage::Request(request) = message else { return None };
    let ClientRequest::CustomRequest(CustomRequest { method, params, extensions, .. }) = &request.request else {
        return None;
    };
    // The revision that every request names for itself has no such method, whatever it contains.
    let is_stateless = extensions.get::<RequestMetaObject>().is_some_and(|meta| meta.protocol_version().is_some());
    let is_greeting = method == InitializeResultMethod::VALUE && !is_stateless;
    is_greeting.then(|| (request.id.clone(), ErrorData::invalid_params(lacks(params.as_ref()), None)))
}

fn lacks(params: Option<&Value>) -> String {
    let part = |path: &str| params.and_then(|params| params.pointer(path));
    let has_client = part("/clientInfo").is_some_and(Value::is_object);
    let lacking = PARTS.iter().filter(|wanted| {
        let is_told_already = !has_client && wanted.path.starts_with("/clientInfo/");
        !part(wanted.path).is_some_and(wanted.is_right) && !is_told_already
    });
    let named: Vec<_> = lacking
        .map(|Part { path, what, .. }| format!("`params.{}` ({what})", path.trim_start_matches('/').replace('/', ".")))
        .collect();
    if named.is_empty() {
        return "`initialize` has a field in `params` that is not of its form".to_owned();
    }
    format!("`initialize` lacks {}", named.join(", "))
}
