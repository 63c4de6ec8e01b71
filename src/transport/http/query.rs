//! Query parameters: text in a URL to typed arguments, by the same schema that the documentation shows.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::{
    service::Refusal,
    transport::wire::{Input, not_known, read_in},
};

/// Reads a query into an input, with what the path names beside it.
pub(super) fn read<T: Input>(query: Option<&str>, in_path: Map<String, Value>) -> Result<T, Refusal> {
    let apart = in_path.keys().next().cloned().unwrap_or_default();
    let mut arguments = in_path;
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = decoded(name)?;
        let Some(field) = T::field(&name).filter(|field| field.name != apart) else {
            let known = T::FIELDS.iter().map(|field| field.name).filter(|known| *known != apart);
            return Err(unknown(&name, known));
        };
        let text = decoded(value)?;
        // What is not of its kind stays text, which the reading refuses with the field's name.
        let value = field.kind.of_text(&text).unwrap_or(Value::String(text));
        if arguments.insert(name, value).is_some() {
            return Err(Refusal::invalid("query", "names a parameter twice"));
        }
    }
    read_in("query", "", arguments)
}

/// Refuses any parameter, where only the path says something.
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
    use super::*;
    use crate::transport::wire::{GetCodeInput, ListSeatsInput};

    fn seats(query: &str) -> Result<ListSeatsInput, String> {
        read(Some(query), Map::new()).map_err(|refusal| refusal.to_string())
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
    fn an_empty_parameter_is_left_out() {
        let input = seats("email=&limit=&offset").unwrap();
        assert_eq!((input.email, input.limit, input.offset), (None, None, None));
        assert!(seats("email=&email=a@example.com").is_err(), "it stands there twice all the same");
    }

    #[test]
    fn what_is_wrong_is_named_and_never_quoted() {
        let check = |query: &str, wanted: &str| {
            let message = seats(query).map(drop).unwrap_err();
            assert!(message.contains(wanted), "{query}: {message}");
            assert!(!message.contains("JBSWY3DP"), "{message}");
        };
        check("limit=JBSWY3DP", "`limit` must be a whole number");
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
        let path = || Map::from_iter([("secret_id".to_owned(), Value::from("x"))]);
        let input: GetCodeInput = read(Some("single_use=true&min_validity=10"), path()).unwrap();
        assert_eq!((input.single_use, input.min_validity), (Some(true), Some(10)));
        let named = read::<GetCodeInput>(Some("secret_id=y"), path()).map(drop).unwrap_err().to_string();
        assert!(
            named.contains("a parameter `secret_id` that is not known") && !named.contains("`secret_id`,"),
            "{named}"
        );
        assert!(read::<GetCodeInput>(Some("single_use=1"), path()).is_err());

        assert!(none(None).is_ok() && none(Some("&")).is_ok());
        assert!(none(Some("x=1")).unwrap_err().to_string().contains("this route takes none"));
    }
}
