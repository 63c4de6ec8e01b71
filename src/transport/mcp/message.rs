//! Parses a line into a message for rmcp, or into an error for its sender.

use rmcp::{
    ErrorData,
    model::{
        CallToolRequest, CallToolRequestMethod, CallToolRequestParams, ClientJsonRpcMessage, ConstString as _,
        MetaObject, RequestId, RequestMetaObject,
    },
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    domain::limits::LINE_BYTES_MAX,
    transport::json::{Json, message_depth_within_limit},
};

/// A byte order mark, which a JSON parser may ignore (RFC 8259, 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The fields of a tool's call.
const CALL_FIELDS: [&str; 4] = ["jsonrpc", "id", "method", "params"];

const UNREADABLE: &str =
    "this can't be read as JSON: it is cut short, nested too deeply, or has half a character in it";
const AMBIGUOUS: &str = "this names a field twice";
const INVALID: &str = "this is no JSON-RPC 2.0 message that MCP knows";

/// Why a line is rejected, and the request's id, if that can be parsed. Nothing of the line is quoted.
pub(super) struct Refused {
    pub(super) id: Option<RequestId>,
    pub(super) error: ErrorData,
}

impl Refused {
    pub(super) fn invalid(id: Option<RequestId>, problem: impl Into<String>) -> Self {
        Self { id, error: ErrorData::invalid_request(problem.into(), None) }
    }
}

/// Parses one message. `None` for a line of white space, which editors and people leave between messages, and for an
/// unknown notification, because notifications are never answered.
///
/// # Errors
/// [`Refused`].
pub(super) fn read_message(line: &[u8]) -> Result<Option<ClientJsonRpcMessage>, Refused> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Refused::invalid(None, format!("a line may have {LINE_BYTES_MAX} bytes at most")));
    }
    let text = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    if text.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) {
        return Ok(None);
    }
    let error = match serde_json::from_slice(text) {
        Err(_) => ErrorData::parse_error(UNREADABLE, None),
        Ok(Json { mut value, repeated }) => {
            let is_notification = value.get("method").is_some() && value.get("id").is_none();
            let read = if !message_depth_within_limit(&value) {
                Err(ErrorData::parse_error(UNREADABLE, None))
            } else if repeated.is_some() {
                Err(ErrorData::invalid_request(AMBIGUOUS, None))
            } else {
                // Parse by reference: otherwise rmcp would copy every text to try each kind of message.
                let message = tool_call(&mut value).map_or_else(|| ClientJsonRpcMessage::deserialize(&value), Ok);
                message.map_err(|_| ErrorData::invalid_request(INVALID, None))
            };
            match read {
                Ok(message) => return Ok(Some(message)),
                Err(_) if is_notification => return Ok(None),
                Err(error) => error,
            }
        }
    };
    // The rest of the line may be invalid.
    let id = serde_json::from_slice(text).ok().map(|JustId { id }| id);
    Err(Refused { id, error })
}

/// The message, if it is a plain call of a tool, with its parts moved. rmcp would copy them, and would try every kind
/// of message, each of which fails with an error: a third of the cost of a code. `None` leaves the value as it is.
fn tool_call(message: &mut Value) -> Option<ClientJsonRpcMessage> {
    let fields = message.as_object_mut().filter(|fields| fields.len() == CALL_FIELDS.len())?;
    let [version, id, method, params] = CALL_FIELDS;
    if fields.get(version)? != "2.0" || fields.get(method)? != CallToolRequestMethod::VALUE {
        return None;
    }
    let id = RequestId::deserialize(fields.get(id)?).ok()?;
    let params = fields.get_mut(params)?.as_object_mut()?;
    let is_plain = |(name, value): (&String, &Value)| match name.as_str() {
        "name" => value.is_string(),
        "arguments" | "_meta" => value.is_object(),
        _ => false,
    };
    if !params.contains_key("name") || !params.iter().all(is_plain) {
        return None;
    }
    let mut request = CallToolRequest::new(CallToolRequestParams::default());
    for (name, value) in std::mem::take(params) {
        match (name.as_str(), value) {
            (_, Value::String(name)) => request.params.name = name.into(),
            ("arguments", Value::Object(arguments)) => request.params.arguments = Some(arguments),
            (_, Value::Object(meta)) => drop(request.extensions.insert(RequestMetaObject(MetaObject(meta)))),
            _ => {}
        }
    }
    Some(ClientJsonRpcMessage::request(request.into(), id))
}

/// A message's id; the rest is ignored.
#[derive(Deserialize)]
struct JustId {
    id: RequestId,
}

#[cfg(test)]
mod tests {
    use rmcp::model::{ErrorCode, GetMeta as _};
    use serde_json::json;

    use super::*;

    /// Everything visible of a message, including its metadata.
    fn seen(message: ClientJsonRpcMessage) -> Value {
        let whole = serde_json::to_value(&message).unwrap();
        let ClientJsonRpcMessage::Request(mut request) = message else { return whole };
        json!({
            "whole": whole,
            "meta": request.request.get_meta_mut().0.0,
            "debug": format!("{:?}", request.request),
        })
    }

    /// The error's code and the id of a refused request; `None` if the line is not refused.
    fn refused(text: &str) -> Option<(ErrorCode, Option<RequestId>)> {
        read_message(text.as_bytes()).map_err(|Refused { id, error }| (error.code, id)).err()
    }

    const UNREAD: ErrorCode = ErrorCode::PARSE_ERROR;
    const WRONG: ErrorCode = ErrorCode::INVALID_REQUEST;
    const SEVEN: Option<RequestId> = Some(RequestId::Number(7));

    #[test]
    fn a_message_is_what_rmcp_reads_in_it() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"b":[1,2.5,null,"x"]}}}"#,
            r#"{"id":"x","params":{"arguments":{},"name":"a"},"method":"tools/call","jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","_meta":{"progressToken":7,"x":{}}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":null,"_meta":null}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","requestState":"s"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"extra":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","result":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"result":{}}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            "[]",
            "{",
        ] {
            let theirs = serde_json::from_str(text).ok().map(seen);
            assert_eq!(read_message(text.as_bytes()).ok().flatten().map(seen), theirs, "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_answered_where_somebody_waits() {
        let deep = |levels: usize| format!(r#"{{"params":{}{},"id":7}}"#, "[".repeat(levels), "]".repeat(levels));
        assert_eq!(refused("{"), Some((UNREAD, None)));
        assert_eq!(refused(r#"{"id":7,"method":"x","params":"\ud83d"}"#), Some((UNREAD, SEVEN)));
        assert_eq!(refused(&deep(33)), Some((UNREAD, SEVEN)));
        assert_eq!(refused(&deep(500)), Some((UNREAD, SEVEN)));
        assert_eq!(refused(r#"{"jsonrpc":"1.0","method":"x"}"#), None);
        assert_eq!(refused("[]"), Some((WRONG, None)));
        assert_eq!(refused(&" ".repeat(LINE_BYTES_MAX + 1)), Some((WRONG, None)));
        assert_eq!(refused(r#"{"jsonrpc":"1.0","id":7,"method":"x"}"#), Some((WRONG, SEVEN)));
    }

    #[test]
    fn a_field_that_is_named_twice_is_no_message_at_any_level() {
        for (text, id) in [
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"x":1,"x":2}}}"#,
                SEVEN,
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","_meta":{"m":{"x":1,"x":2}}}}"#,
                SEVEN,
            ),
            (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","name":"b"}}"#, SEVEN),
            (r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"cursor":"a","cursor":"b"}}"#, SEVEN),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"a"}}"#, None),
        ] {
            assert_eq!(refused(text), Some((WRONG, id)), "{text}");
        }
        assert_eq!(refused(r#"{"jsonrpc":"2.0","method":"x","params":{"x":1,"x":2}}"#), None);
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let text = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";
        assert!(read_message(text.as_bytes()).is_ok_and(|message| message.is_some()));
    }
}
