//! From JSON to arguments. A mistake is answered with the field and what it accepts, never with what was sent: somebody
//! may have put a seed into the wrong field, or into a field's name.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{domain::limits::JSON_DEPTH_MAX, service::Refusal};

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
    if arguments.keys().any(|given| T::FIELDS.iter().all(|(known, _)| known != given)) {
        return Err(Refusal::invalid("arguments", unknown(T::FIELDS)));
    }
    serde_path_to_error::deserialize(Value::Object(arguments)).map_err(|error| {
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
            (None, None) => Refusal::invalid("arguments", unknown(T::FIELDS)),
        }
    })
}

fn unknown(fields: &[(&'static str, &'static str)]) -> String {
    let names: Vec<_> = fields.iter().map(|(name, _)| format!("`{name}`")).collect();
    match names.len() {
        0 => "has a field that is not known; this takes none".to_owned(),
        _ => format!("has a field that is not known; the known ones are {}", names.join(", ")),
    }
}

/// Whether a value is nested no deeper than the limit.
pub fn depth_within_limit(value: &Map<String, Value>) -> bool {
    let mut level: Vec<&Value> = value.values().collect();
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
    level.iter().all(|value| !value.is_array() && !value.is_object())
}
