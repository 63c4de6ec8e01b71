//! Query parameters: text in a URL to typed arguments, by the same schema that the documentation shows.

use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::{
    service::Refusal,
    transport::wire::{Input, input_schema, not_known, read_in},
};

/// What a route's query may hold, made once from its input's schema.
pub(super) struct Shape {
    fields: Vec<(String, Kind)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Whole,
    Truth,
}

impl Shape {
    /// The fields of an input, but for the one that the path names.
    pub(super) fn of<T: JsonSchema>(in_path: &str) -> Self {
        let schema = input_schema::<T>();
        let properties = schema.get("properties").and_then(Value::as_object);
        let kind = |schema: &Value| match schema.get("type").and_then(Value::as_str) {
            Some("integer") => Kind::Whole,
            Some("boolean") => Kind::Truth,
            _ => Kind::Text,
        };
        let fields = properties.into_iter().flatten().filter(|(name, _)| *name != in_path);
        Self { fields: fields.map(|(name, schema)| (name.clone(), kind(schema))).collect() }
    }

    /// Reads a query into an input, with what the path names beside it.
    pub(super) fn read<T: Input>(&self, query: Option<&str>, in_path: Map<String, Value>) -> Result<T, Refusal> {
        let mut arguments = in_path;
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name)?;
            let Some((_, kind)) = self.fields.iter().find(|(known, _)| *known == name) else {
                return Err(self.unknown(&name));
            };
            if arguments.insert(name, kind.value(decoded(value)?)).is_some() {
                return Err(Refusal::invalid("query", "names a parameter twice"));
            }
        }
        read_in("query", "", arguments)
    }

    /// Checks that a query holds nothing that is not known, where only the path says something.
    pub(super) fn known(&self, query: Option<&str>) -> Result<(), Refusal> {
        let Some(pair) = query.unwrap_or_default().split('&').find(|pair| !pair.is_empty()) else { return Ok(()) };
        Err(self.unknown(&decoded(pair.split_once('=').map_or(pair, |(name, _)| name))?))
    }

    fn unknown(&self, name: &str) -> Refusal {
        let known = self.fields.iter().map(|(known, _)| known.as_str());
        Refusal::invalid("query", format!("has {}", not_known("parameter", name, "this route", known)))
    }
}

impl Kind {
    /// The value as JSON; what is not of this kind stays text, which the reading refuses with the field's name.
    fn value(self, text: String) -> Value {
        match self {
            Self::Text => Value::String(text),
            Self::Whole => match text.parse::<serde_json::Number>() {
                Ok(number) => Value::Number(number),
                Err(_) => Value::String(text),
            },
            Self::Truth => match text.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => Value::String(text),
            },
        }
    }
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
    use super::*;
    use crate::transport::wire::{GetCodeInput, ListSeatsInput, SecretIdInput};

    fn seats(query: &str) -> Result<ListSeatsInput, String> {
        Shape::of::<ListSeatsInput>("").read(Some(query), Map::new()).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn values_are_decoded_and_typed_by_the_schema() {
        let input = seats("email=a%2Bb%40example.com&limit=3&offset=0").unwrap();
        assert_eq!((input.email.as_deref(), input.limit, input.offset), (Some("a+b@example.com"), Some(3), Some(0)));
        let digits = seats("email=123456").unwrap();
        assert_eq!(digits.email.as_deref(), Some("123456"), "a text of digits stays a text");
        assert!(seats("").is_ok() && seats("&&").is_ok());
        assert_eq!(seats("email=a+b").unwrap().email.as_deref(), Some("a b"));
    }

    #[test]
    fn what_is_wrong_is_named_and_never_quoted() {
        let check = |query: &str, wanted: &str| {
            let message = seats(query).map(drop).unwrap_err();
            assert!(message.contains(wanted), "{query}: {message}");
            assert!(!message.contains("JBSWY3DP"), "{message}");
        };
        check("limit=JBSWY3DP", "`limit` must be a whole number");
        check("limit=", "`limit` must be a whole number");
        check("limit=1e400", "`limit`");
        check("JBSWY3DP=1", "the known ones are");
        check("limit=1&limit=2", "twice");
        check("email=%FF", "UTF-8");
        for broken in ["email=%", "email=%4", "email=a%zzb", "em%ail=a"] {
            check(broken, "two hexadecimal digits");
        }
    }

    #[test]
    fn what_the_path_names_the_query_may_not() {
        let shape = Shape::of::<GetCodeInput>("secret_id");
        let path = || Map::from_iter([("secret_id".to_owned(), Value::from("x"))]);
        let input: GetCodeInput = shape.read(Some("single_use=true&min_validity=10"), path()).unwrap();
        assert_eq!((input.single_use, input.min_validity), (Some(true), Some(10)));
        assert!(shape.read::<GetCodeInput>(Some("secret_id=y"), path()).is_err());
        assert!(shape.read::<GetCodeInput>(Some("single_use=1"), path()).is_err());

        let none = Shape::of::<SecretIdInput>("secret_id");
        assert!(none.read::<SecretIdInput>(None, path()).is_ok());
        assert!(none.read::<SecretIdInput>(Some("x=1"), path()).is_err());
    }
}
