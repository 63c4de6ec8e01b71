//! Reads query parameters into arguments, by the documented schema.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::operations::{Fields, Refusal, not_known};

/// Reads a query.
pub(super) fn arguments(query: Option<&str>, fields: Fields) -> Result<Map<String, Value>, Refusal> {
    let mut arguments = Map::new();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name)?;
        if fields.names().all(|known| known != name) {
            return Err(unknown(&name, fields.names()));
        }
        // A value of the wrong kind stays text; the reader then refuses it with the field's name.
        let value = fields.value_of(&name, decoded(value)?);
        if arguments.insert(name, value).is_some() {
            return Err(Refusal::invalid("query", "names a parameter twice"));
        }
    }
    Ok(arguments)
}

/// Refuses every parameter, for requests with arguments only in the path or body.
pub(super) fn none(query: Option<&str>) -> Result<(), Refusal> {
    let Some(pair) = query.unwrap_or_default().split('&').find(|pair| !pair.is_empty()) else { return Ok(()) };
    Err(unknown(&decoded(pair.split_once('=').map_or(pair, |(name, _)| name))?, std::iter::empty()))
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Refusal {
    Refusal::invalid("query", format!("has {}", not_known("parameter", name, "this route", known)))
}

fn decoded(text: &str) -> Result<String, Refusal> {
    let mut escapes = text.split('%').skip(1);
    if !escapes.all(|rest| matches!(rest.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())) {
        return Err(Refusal::invalid("query", "has a `%` without two hexadecimal digits after it"));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| Refusal::invalid("query", "is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operations::Entry;

    fn read(operation: &str, query: &str) -> Result<Value, String> {
        let fields = Entry::named(operation).unwrap().route_fields();
        arguments(Some(query), fields).map(Value::Object).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn values_are_decoded_and_typed_by_the_schema() {
        for (query, read_as) in [
            (
                "email=a%2Bb%40example.com&limit=3&offset=0",
                json!({"email": "a+b@example.com", "limit": 3, "offset": 0}),
            ),
            ("email=123456", json!({"email": "123456"})),
            ("email=a+b", json!({"email": "a b"})),
            ("email=&limit=&offset", json!({"email": "", "limit": "", "offset": ""})),
            ("limit=JBSWY3DP", json!({"limit": "JBSWY3DP"})),
            ("", json!({})),
            ("&&", json!({})),
        ] {
            assert_eq!(read("list_seats", query), Ok(read_as), "{query}");
        }
        let typed = json!({"single_use": true, "min_validity": 10});
        assert_eq!(read("get_totp_code", "single_use=true&min_validity=10"), Ok(typed));
        assert_eq!(read("get_totp_code", "single_use=1"), Ok(json!({"single_use": "1"})));
    }

    #[test]
    fn what_is_wrong_is_named_and_never_quoted() {
        let check = |query: &str, wanted: &str| {
            let message = read("list_seats", query).unwrap_err();
            assert!(message.contains(wanted), "{query}: {message}");
            assert!(!message.contains("JBSWY3DP"), "{message}");
        };
        check("JBSWY3DP=1", "the known ones are");
        check("limit=1&limit=2", "twice");
        check("email=&email=a@example.com", "twice");
        check("email=%FF", "UTF-8");
        for broken in ["email=%", "email=%4", "email=a%zzb", "em%ail=a"] {
            check(broken, "two hexadecimal digits");
        }
    }

    #[test]
    fn what_the_path_names_the_query_may_not() {
        let named = read("get_totp_code", "secret_id=y").unwrap_err();
        assert!(
            named.contains("a parameter `secret_id` that is not known") && !named.contains("`secret_id`,"),
            "{named}"
        );
        assert!(read("get_seat", "x=1").unwrap_err().contains("this route takes none"));
        assert!(none(None).is_ok() && none(Some("&")).is_ok());
        assert!(none(Some("x=1")).unwrap_err().to_string().contains("this route takes none"));
    }
}
