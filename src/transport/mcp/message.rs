//! From the bytes of a message to what rmcp works with.
//!
//! rmcp finds out what a message is by trying each kind in turn, which costs more than the rest of a call. The one message
//! that hosts send all day, a plain `tools/call`, is therefore read at once; whatever is not exactly that goes rmcp's way.

use rmcp::model::{
    CallToolRequest, CallToolRequestMethod, CallToolRequestParams, ClientJsonRpcMessage, ClientRequest, JsonRpcRequest,
    JsonRpcVersion2_0, RequestId, RequestMetaObject,
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    operations::depth_within_limit,
    transport::once::{Fields, Flaws, flaws_of},
};

/// A byte order mark, which a JSON parser may ignore (RFC 8259, 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why there is no message, and the id under which somebody may wait for an answer, if that can be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoMessage {
    /// A notification of an unknown form. Notifications are never answered.
    Notification,
    /// No JSON, or JSON beyond what is read: too deep, or with half a character in it.
    Unreadable(Option<RequestId>),
    /// JSON in which a field is named twice: whoever looked at it before may have gone by the other one.
    Ambiguous(Option<RequestId>),
    /// JSON, but no JSON-RPC message.
    Invalid(Option<RequestId>),
}

/// The id of something that can't be read otherwise: what else is in it need not make sense.
#[derive(Deserialize)]
struct JustId {
    id: RequestId,
}

/// A `tools/call` without anything unusual.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainCall {
    #[serde(rename = "jsonrpc")]
    _jsonrpc: JsonRpcVersion2_0,
    id: RequestId,
    #[serde(rename = "method")]
    _method: CallToolRequestMethod,
    params: PlainParams,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainParams {
    name: String,
    #[serde(default)]
    arguments: Option<Fields>,
    #[serde(default, rename = "_meta")]
    meta: Option<Fields>,
}

/// Reads one message.
///
/// # Errors
/// [`NoMessage`].
pub(super) fn read_message(bytes: &[u8]) -> Result<ClientJsonRpcMessage, NoMessage> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if let Ok(call) = serde_json::from_slice::<PlainCall>(bytes)
        && call.params.meta.as_ref().is_none_or(|Fields(meta)| depth_within_limit(meta))
    {
        return Ok(call.into());
    }
    let Flaws { twice, deep } = flaws_of(bytes);
    let twice = twice.is_some();
    let read = if twice || deep { None } else { serde_json::from_slice(bytes).ok() };
    read.ok_or_else(|| {
        let id = serde_json::from_slice(bytes).ok().map(|JustId { id }| id);
        match serde_json::from_slice::<Value>(bytes) {
            Err(_) => NoMessage::Unreadable(id),
            Ok(value) if value.get("method").is_some() && value.get("id").is_none() => NoMessage::Notification,
            Ok(_) if deep => NoMessage::Unreadable(id),
            Ok(_) if twice => NoMessage::Ambiguous(id),
            Ok(_) => NoMessage::Invalid(id),
        }
    })
}

impl From<PlainCall> for ClientJsonRpcMessage {
    fn from(call: PlainCall) -> Self {
        let mut params = CallToolRequestParams::new(call.params.name);
        params.arguments = call.params.arguments.map(|Fields(fields)| fields);
        let mut request = CallToolRequest::new(params);
        if let Some(Fields(meta)) = call.params.meta {
            request.extensions.insert(RequestMetaObject::from(meta));
        }
        Self::Request(JsonRpcRequest::new(call.id, ClientRequest::CallToolRequest(request)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rmcp::model::GetMeta as _;
    use serde_json::json;

    use super::*;

    /// Everything of a message that anybody can see, its metadata among it.
    fn seen(message: Result<ClientJsonRpcMessage, NoMessage>) -> Value {
        match message {
            Ok(ClientJsonRpcMessage::Request(mut request)) => json!({
                "whole": serde_json::to_value(&request).unwrap(),
                "meta": request.request.get_meta_mut().0.0,
                "debug": format!("{:?}", request.request),
            }),
            Ok(message) => json!({"whole": serde_json::to_value(message).unwrap()}),
            Err(none) => json!({"none": format!("{none:?}")}),
        }
    }

    /// What rmcp makes of it.
    fn slowly(text: &str) -> Option<Value> {
        serde_json::from_str(text).ok().map(|message| seen(Ok(message)))
    }

    #[track_caller]
    fn check_same(text: &str) {
        let ours = read_message(text.as_bytes());
        match slowly(text) {
            Some(theirs) => assert_eq!(seen(ours), theirs, "{text}"),
            None => assert!(ours.is_err(), "{text}"),
        }
    }

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
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1.0,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":18446744073709551615,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"made/up","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
            "[]",
            "{",
        ] {
            check_same(text);
        }
    }

    #[test]
    fn what_is_no_message_is_answered_where_somebody_waits() {
        let none = |text: &str| read_message(text.as_bytes()).unwrap_err();
        let seven = || Some(RequestId::Number(7));
        assert_eq!(none("{"), NoMessage::Unreadable(None));
        assert_eq!(none(r#"{"id":7,"method":"x","params":"\ud83d"}"#), NoMessage::Unreadable(seven()));
        assert_eq!(
            none(&format!(r#"{{"params":{}{},"id":7}}"#, "[".repeat(500), "]".repeat(500))),
            NoMessage::Unreadable(seven())
        );
        assert_eq!(none(r#"{"jsonrpc":"1.0","method":"x"}"#), NoMessage::Notification);
        assert_eq!(none("[]"), NoMessage::Invalid(None));
        assert_eq!(none(r#"{"jsonrpc":"1.0","id":7,"method":"x"}"#), NoMessage::Invalid(seven()));
    }

    #[test]
    fn a_field_that_is_named_twice_is_no_message_at_any_level() {
        for (text, id) in [
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"x":1,"x":2}}}"#,
                Some(7),
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","_meta":{"m":{"x":1,"x":2}}}}"#,
                Some(7),
            ),
            (r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","name":"b"}}"#, Some(7)),
            (r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"cursor":"a","cursor":"b"}}"#, Some(7)),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/call","params":{"name":"a"}}"#, None),
        ] {
            let none = read_message(text.as_bytes()).unwrap_err();
            assert_eq!(none, NoMessage::Ambiguous(id.map(RequestId::Number)), "{text}");
        }
        let notification = br#"{"jsonrpc":"2.0","method":"x","params":{"x":1,"x":2}}"#;
        assert_eq!(read_message(notification).unwrap_err(), NoMessage::Notification);
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let text = "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";
        assert!(read_message(text.as_bytes()).is_ok());
    }

    /// Values that reach a call's arguments and metadata.
    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_call_is_what_rmcp_reads_in_it(
            id in values(), name in ".{0,8}", arguments in values(), meta in values(), extra in ".{0,3}",
        ) {
            let whole = json!({
                "jsonrpc": "2.0", "id": id, "method": "tools/call",
                "params": {"name": name, "arguments": arguments, "_meta": meta, extra: 1},
            });
            check_same(&whole.to_string());
            let plain = json!({
                "jsonrpc": "2.0", "id": 7, "method": "tools/call",
                "params": {"name": name, "arguments": {"a": arguments}, "_meta": {"m": meta}},
            });
            prop_assert!(serde_json::from_value::<PlainCall>(plain.clone()).is_ok());
            check_same(&plain.to_string());
        }
    }
}
