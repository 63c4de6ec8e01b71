//! Reads an operation from JSON, by the schema that callers are shown. An error names the field and what it accepts,
//! never the value: a caller may have put a seed into the wrong field. Even a field's name is repeated only if it can't
//! be a secret.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Refusal, bounds::ACCEPTS};
use crate::domain::{limits::JSON_DEPTH_MAX, text::looks_sensitive};

/// The longest field name that an error repeats, in characters.
const NAME_CHARS_MAX: usize = 32;

/// Fields that some hosts add to the arguments of every tool, with the host. They are ignored.
const HOST_FIELDS: [(&str, &str); 5] =
    [("toolCallId", "n8n"), ("sessionId", "n8n"), ("action", "n8n"), ("chatInput", "n8n"), ("task_progress", "Cline")];

/// The fields of a set of arguments.
#[derive(Clone, Copy)]
pub struct Fields {
    schema: &'static Map<String, Value>,
    /// A field that is given elsewhere, so no error suggests it.
    apart: Option<&'static str>,
}

impl Fields {
    pub(super) const fn of(schema: &'static Map<String, Value>, apart: Option<&'static str>) -> Self {
        Self { schema, apart }
    }

    fn properties(self) -> Option<&'static Map<String, Value>> {
        self.schema.get("properties").and_then(Value::as_object)
    }

    fn field(self, name: &str) -> Option<(&'static str, &'static Value)> {
        self.properties()?.get_key_value(name).map(|(name, field)| (name.as_str(), field))
    }

    /// The fields that a caller may use here.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = self.properties().into_iter().flat_map(Map::keys).map(String::as_str);
        all.filter(move |name| Some(*name) != self.apart)
    }

    /// The value of a text, where everything is text, as in a URL, or where a model sent text. If the field is a number
    /// or a boolean, a text that is exactly a number, `true` or `false` is converted.
    pub fn value_of(self, name: &str, text: String) -> Value {
        let kind = self.field(name).and_then(|(_, field)| field.get("type")).and_then(Value::as_str);
        match (kind, text.as_str()) {
            (Some("integer"), number) => number.parse().map_or_else(|_| Value::String(text), Value::Number),
            (Some("boolean"), "true") => Value::Bool(true),
            (Some("boolean"), "false") => Value::Bool(false),
            _ => Value::String(text),
        }
    }

    /// Removes the fields that hosts add to a tool's arguments, and converts texts that models send in place of numbers
    /// and booleans.
    pub(super) fn put_right(self, arguments: &mut Map<String, Value>) {
        arguments.retain(|name, value| {
            if self.field(name).is_none() {
                return !HOST_FIELDS.iter().any(|(of_host, _)| name == of_host);
            }
            if let Value::String(text) = value {
                *value = self.value_of(name, std::mem::take(text));
            }
            true
        });
    }

    /// Reads arguments from `place`, the caller's name for them, such as `body`.
    ///
    /// Null and the empty text mean that a field is left out: models that must fill in every field, and forms, have no
    /// other way to express that.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], which names the field and the accepted values.
    pub(super) fn read<T: DeserializeOwned>(
        self,
        place: &'static str,
        mut arguments: Map<String, Value>,
    ) -> Result<T, Refusal> {
        if arguments.values().any(|value| levels(value) >= JSON_DEPTH_MAX) {
            let problem = if place == "arguments" { "are nested too deeply" } else { "is nested too deeply" };
            return Err(Refusal::invalid(place, problem));
        }
        let unknown =
            |name: &str| Refusal::invalid(place, format!("has {}", not_known("field", name, "this", self.names())));
        if let Some(name) = arguments.keys().find(|given| self.field(given).is_none()) {
            return Err(unknown(name));
        }
        arguments.retain(|_, value| !matches!(value, Value::Null) && value.as_str() != Some(""));
        let required = self.schema.get("required").and_then(Value::as_array).into_iter().flatten();
        let missing = required.filter_map(Value::as_str).find(|name| !arguments.contains_key(*name));
        if let Some((name, field)) = missing.and_then(|name| self.field(name)) {
            return Err(Refusal::invalid(name, format!("is required: {}", accepts(field))));
        }
        let malformed = |name: &str| match self.field(name) {
            Some((name, field)) => Refusal::invalid(name, format!("must be {}", accepts(field))),
            None => unknown(""),
        };
        // serde's error for a text in place of a number holds a copy of the text.
        if let Some((name, _)) = arguments.iter().find(|(name, value)| value.is_string() && !self.is_text(name)) {
            return Err(malformed(name));
        }
        serde_path_to_error::deserialize(Value::Object(arguments)).map_err(|error| malformed(&error.path().to_string()))
    }

    fn is_text(self, name: &str) -> bool {
        self.field(name).and_then(|(_, field)| field.get("type")).is_none_or(|kind| kind == "string")
    }
}

/// The text that describes what a field accepts.
fn accepts(field: &Value) -> &str {
    match (field.get(ACCEPTS).and_then(Value::as_str), field.get("type").and_then(Value::as_str)) {
        (Some(words), _) => words,
        (None, Some("boolean")) => "true or false",
        (None, _) => "a text",
    }
}

/// The error for an unknown name. It repeats the name if that is safe, and lists the known ones; `what` is a field, for
/// example, of `whose`.
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

/// The known name for which an unknown one is probably a typing error: less than half of its letters differ, ignoring
/// case and separators.
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

/// Whether a name looks like a program's identifier rather than a pasted secret.
fn is_plain(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // Seeds are printed in capitals; field names are not.
    let speaks = name.contains(|c: char| c.is_ascii_lowercase());
    begins && goes_on && speaks && name.len() <= NAME_CHARS_MAX && !looks_sensitive(name)
}

/// The nesting depth of a value. The parser has bounded it to what the stack can hold.
pub fn levels(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(levels).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(levels).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_name_is_offered_if_it_is_near() {
        let known = ["max_wait", "min_validity", "purpose", "seat_id", "secret_id", "single_use"];
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
