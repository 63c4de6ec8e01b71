//! From JSON to arguments. A mistake is answered with the field and what it accepts, never with what was sent: somebody
//! may have put a seed into the wrong field. Even a field's name is repeated only if it can be nothing else.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    domain::{limits::JSON_DEPTH_MAX, text::looks_sensitive},
    service::Refusal,
};

/// Characters of a field's name that an error repeats at most.
const NAME_CHARS_MAX: usize = 32;

/// Arguments that can be read.
pub trait Input: DeserializeOwned {
    /// Its fields.
    const FIELDS: &'static [Field];

    /// The field of this name.
    fn field(name: &str) -> Option<&'static Field> {
        Self::FIELDS.iter().find(|field| field.name == name)
    }
}

/// A field of some arguments. What the schema says of it too is held against that by a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Whether it may be left out.
    pub need: Need,
    /// What its value is in JSON.
    pub kind: Kind,
    /// What it accepts, in words.
    pub accepted: &'static str,
}

/// Whether a field may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It may not.
    Required,
    /// It may.
    Optional,
}

/// What a value is in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Whole,
    /// True or false.
    Truth,
}

impl Kind {
    /// The value that a text of exactly that form stands for: where everything is text, as in a URL, or where somebody made
    /// text of it, as models do. `None` for what is not of this kind, and for text, which stands for itself.
    pub fn of_text(self, text: &str) -> Option<Value> {
        match (self, text) {
            (Self::Whole, _) => text.parse().map(Value::Number).ok(),
            (Self::Truth, "true") => Some(Value::Bool(true)),
            (Self::Truth, "false") => Some(Value::Bool(false)),
            (Self::Text | Self::Truth, _) => None,
        }
    }
}

/// The fields of inputs, in the order in which errors list them.
macro_rules! accepts {
    ($($input:ty { $($name:literal: $need:ident $kind:ident $accepted:literal),* $(,)? })*) => {
        $(impl $crate::transport::wire::Input for $input {
            const FIELDS: &'static [$crate::transport::wire::Field] = &[$($crate::transport::wire::Field {
                name: $name,
                need: $crate::transport::wire::Need::$need,
                kind: $crate::transport::wire::Kind::$kind,
                accepted: $accepted,
            }),*];
        })*
    };
}
pub(super) use accepts;

/// Reads arguments from `place`, which is what a caller knows them by, such as `body`. The field `apart` stands elsewhere, so
/// that no error offers it.
///
/// Null and the empty text mean that a field is left out: models that must fill in every field, and forms, have no other way
/// to say so.
///
/// # Errors
/// [`Refusal::Invalid`], which names the field and the accepted values.
pub fn read_in<T: Input>(place: &'static str, apart: &str, mut fields: Map<String, Value>) -> Result<T, Refusal> {
    let unknown = |name: &str| {
        let known = T::FIELDS.iter().map(|known| known.name).filter(|known| *known != apart);
        Refusal::invalid(place, format!("has {}", not_known("field", name, "this", known)))
    };
    if let Some(name) = fields.keys().find(|given| T::field(given).is_none()) {
        return Err(unknown(name));
    }
    fields.retain(|_, value| !matches!(value, Value::Null) && value.as_str() != Some(""));
    let missing = T::FIELDS.iter().find(|field| field.need == Need::Required && !fields.contains_key(field.name));
    if let Some(Field { name, accepted, .. }) = missing {
        return Err(Refusal::invalid(name, format!("is required: {accepted}")));
    }
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| match T::field(&error.path().to_string()) {
        Some(Field { name, accepted, .. }) => Refusal::invalid(name, format!("must be {accepted}")),
        None => unknown(""),
    })
}

/// That something is not known, by its name if that can be repeated, and what is: `what` is a field, say, of `whose`.
pub fn not_known<'a>(what: &str, name: &str, whose: &str, known: impl Iterator<Item = &'a str>) -> String {
    let named = if is_plain(name) { format!(" `{name}`") } else { String::new() };
    let known: Vec<_> = known.collect();
    let all = known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    match (known.is_empty(), nearest(name, &known)) {
        (true, _) => format!("a {what}{named} that is not known; {whose} takes none"),
        (false, None) => format!("a {what}{named} that is not known; the known ones are {all}"),
        (false, Some(meant)) => {
            format!("a {what}{named} that is not known; did you mean `{meant}`? The known ones are {all}")
        }
    }
}

/// The known name that an unknown one is most likely a slip of: less than half of its letters differ, whatever its case and
/// joints.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let letters = |name: &str| -> String {
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    if name.len() > NAME_CHARS_MAX {
        return None;
    }
    let given = letters(name);
    let near = known.iter().filter_map(|known| {
        let meant = letters(known);
        let distance = strsim::osa_distance(&given, &meant);
        (2 * distance < given.len().max(meant.len())).then_some((distance, *known))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// Whether a name is one such as programs have, and no secret that was pasted into its place.
fn is_plain(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // Part of a seed is written in capitals; a name is not.
    let speaks = name.contains(|c: char| c.is_ascii_lowercase());
    begins && goes_on && speaks && name.len() <= NAME_CHARS_MAX && !looks_sensitive(name)
}

/// Whether a value is nested no deeper than the limit.
pub fn depth_within_limit(value: &Map<String, Value>) -> bool {
    let holds = |value: &Value| value.is_array() || value.is_object();
    // Most hold nothing.
    let mut level: Vec<&Value> = value.values().filter(|value| holds(value)).collect();
    for _ in 1..JSON_DEPTH_MAX {
        if level.is_empty() {
            return true;
        }
        let mut next: Vec<&Value> = Vec::new();
        for value in level {
            match value {
                Value::Array(items) => next.extend(items),
                Value::Object(fields) => next.extend(fields.values()),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        level = next;
    }
    !level.into_iter().any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::wire::{
        GetCodeInput, GetSeatInput, ListAuditInput, ListSeatsInput, ListSecretsInput, RegisterInput, SeatCountInput,
        SecretIdInput, VerifyInput, input_schema,
    };

    fn check_fields<T: Input + schemars::JsonSchema>() {
        let schema = Value::Object(input_schema::<T>());
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), T::FIELDS.len(), "{schema}");
        for field in T::FIELDS {
            let kind = match properties[field.name]["type"].as_str() {
                Some("string") => Kind::Text,
                Some("integer") => Kind::Whole,
                Some("boolean") => Kind::Truth,
                other => panic!("{}: {other:?}", field.name),
            };
            let required = schema["required"].as_array().into_iter().flatten().any(|name| name == field.name);
            let need = if required { Need::Required } else { Need::Optional };
            assert_eq!((field.kind, field.need), (kind, need), "{}", field.name);
        }
    }

    #[test]
    fn the_list_of_fields_says_what_the_schema_says() {
        check_fields::<RegisterInput>();
        check_fields::<ListSecretsInput>();
        check_fields::<SecretIdInput>();
        check_fields::<GetCodeInput>();
        check_fields::<VerifyInput>();
        check_fields::<ListSeatsInput>();
        check_fields::<SeatCountInput>();
        check_fields::<GetSeatInput>();
        check_fields::<ListAuditInput>();
    }

    #[test]
    fn the_nearest_known_name_is_offered_if_it_is_near() {
        let known: Vec<_> = GetCodeInput::FIELDS.iter().map(|field| field.name).collect();
        for (name, meant) in [
            ("singleUse", Some("single_use")),
            ("single", Some("single_use")),
            ("single-use", Some("single_use")),
            ("SECRETID", Some("secret_id")),
            ("secret", Some("secret_id")),
            ("wait", Some("max_wait")),
            ("maxwait", Some("max_wait")),
            ("purpse", Some("purpose")),
            ("seat", Some("seat_id")),
            ("id", None),
            ("code", None),
            ("", None),
            ("JBSWY3DPEHPK3PXP", None),
        ] {
            assert_eq!(nearest(name, &known), meant, "{name}");
        }
    }
}
