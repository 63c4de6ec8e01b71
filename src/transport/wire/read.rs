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
    /// Each field's name, and what it accepts in words.
    const FIELDS: &'static [(&'static str, &'static str)];
}

/// Reads arguments.
///
/// # Errors
/// [`Refusal::Invalid`], which names the field and the accepted values.
pub fn read<T: Input>(arguments: Map<String, Value>) -> Result<T, Refusal> {
    read_in("arguments", "", arguments)
}

/// Reads what a caller knows by another name than arguments, such as `body`. The field `apart` stands elsewhere, so that no
/// error offers it.
///
/// # Errors
/// As [`read`].
pub fn read_in<T: Input>(place: &'static str, apart: &str, fields: Map<String, Value>) -> Result<T, Refusal> {
    let unknown = |name: &str| {
        let known = T::FIELDS.iter().map(|(known, _)| *known).filter(|known| *known != apart);
        Refusal::invalid(place, format!("has {}", not_known("field", name, "this", known)))
    };
    if let Some(name) = fields.keys().find(|given| T::FIELDS.iter().all(|(known, _)| known != given)) {
        return Err(unknown(name));
    }
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let path = error.path().to_string();
        let at = T::FIELDS.iter().find(|(name, _)| *name == path);
        // serde says which field is missing in backticks; that name is ours, not the caller's.
        let missing = || {
            let text = error.inner().to_string();
            T::FIELDS.iter().find(|(name, _)| text.starts_with("missing field") && text.contains(&format!("`{name}`")))
        };
        match (at, missing()) {
            (Some((name, accepted)), _) => Refusal::invalid(name, format!("must be {accepted}")),
            (None, Some((name, accepted))) => Refusal::invalid(name, format!("is required: {accepted}")),
            (None, None) => unknown(""),
        }
    })
}

/// That something is not known, by its name if that can be repeated, and what is: `what` is a field, say, of `whose`.
pub fn not_known<'a>(what: &str, name: &str, whose: &str, known: impl Iterator<Item = &'a str>) -> String {
    let named = if is_plain(name) { format!(" `{name}`") } else { String::new() };
    let known: Vec<_> = known.map(|known| format!("`{known}`")).collect();
    match known.len() {
        0 => format!("a {what}{named} that is not known; {whose} takes none"),
        _ => format!("a {what}{named} that is not known; the known ones are {}", known.join(", ")),
    }
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
