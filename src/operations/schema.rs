//! Makes JSON schemas from the types of calls and answers, in a form that every client understands: no references, no
//! `uint64` format (validators warn about it), `anyOf` instead of a list of types, no null default, and one-line
//! descriptions.
//!
//! The schemas of a tool's arguments are restricted further, since hosts convert them to what their model accepts: no
//! `format` but `date-time` (Gemini's API refuses others, and generated models check our ids against another version's
//! UUIDs), no `enum` of numbers (Gemini), no `additionalProperties` (a client's converter fails on a boolean there), no
//! `anyOf`, no `writeOnly`, and no lower limit that the empty text would violate, because models send that for "no
//! value". Converters lose limits and defaults that are only keywords, so descriptions repeat them. A `default` stays:
//! without it a converter makes an optional field nullable, and refuses what models send then. A test checks all of
//! them.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::bounds::ACCEPTS;

/// The texts for types, which descriptions leave out: every converter keeps the type, and a model reads each
/// description in every conversation.
const TYPES: [&str; 5] =
    ["a whole number of seconds, ", "a whole number, ", "a text of which ", "a text of ", "a list of "];

/// The schema of arguments, with a text for what each field accepts.
pub(super) fn input_schema<T: JsonSchema>() -> Map<String, Value> {
    let mut schema = portable::<T>(SchemaSettings::draft2020_12().for_deserialize());
    for field in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if let Value::Object(field) = field {
            describe(field);
        }
    }
    schema
}

/// The schema of an answer.
pub fn output_schema<T: JsonSchema>() -> Map<String, Value> {
    portable::<T>(SchemaSettings::draft2020_12().for_serialize())
}

/// The schema of arguments in a tool.
pub(super) fn for_tool(schema: &Map<String, Value>) -> Map<String, Value> {
    without_keywords(schema, &|name, value| name == ACCEPTS || name == "format" && value != "date-time")
}

/// The schema of arguments in the `OpenAPI` document.
pub(super) fn for_document(schema: &Map<String, Value>) -> Map<String, Value> {
    without_keywords(schema, &|name, _| name == ACCEPTS)
}

/// Removes keywords from the fields.
fn without_keywords(schema: &Map<String, Value>, is_left_out: &dyn Fn(&str, &Value) -> bool) -> Map<String, Value> {
    let mut schema = schema.clone();
    for field in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if let Value::Object(field) = field {
            field.retain(|name, value| !is_left_out(name, value));
        }
    }
    schema
}

/// Adds what a field accepts, and its default unless that is `false` or 0, to the description, after the first
/// sentence.
fn describe(field: &mut Map<String, Value>) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let accepts = field.get(ACCEPTS).map(text);
    let accepts =
        accepts.map(|words| format!(": {}", TYPES.iter().find_map(|kind| words.strip_prefix(kind)).unwrap_or(&words)));
    let default = field.get("default").filter(|default| **default != json!(false) && **default != json!(0));
    let default = default.map(|default| format!("; {} by default", text(default)));
    let (accepts, default) = (accepts.unwrap_or_default(), default.unwrap_or_default());
    if let Some(Value::String(words)) = field.get_mut("description") {
        let (first, rest) = words.split_once(". ").unwrap_or((words.trim_end_matches('.'), ""));
        let described = format!("{first}{accepts}{default}. {rest}");
        described.trim_end().clone_into(words);
    }
}

fn portable<T: JsonSchema>(settings: SchemaSettings) -> Map<String, Value> {
    let settings = settings.with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    polish(&mut schema);
    match schema {
        Value::Object(mut fields) => {
            fields.remove("title");
            fields.remove("description");
            fields
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

fn polish(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let machine = |format: &str| format.starts_with("uint") || format.starts_with("int");
            if fields.get("format").and_then(Value::as_str).is_some_and(machine) {
                fields.remove("format");
            }
            // serde marks an optional field with a null default; `required` says that already, and null is not of the
            // field's type.
            if fields.get("default").is_some_and(Value::is_null) {
                fields.remove("default");
            }
            // A doc comment contains its file's line breaks.
            if let Some(Value::String(words)) = fields.get_mut("description") {
                *words = words.replace('\n', " ");
            }
            if let Some(Value::Array(types)) = fields.get("type").cloned() {
                fields.remove("type");
                let each: Vec<Value> = types.into_iter().map(|one| json!({"type": one})).collect();
                fields.insert("anyOf".to_owned(), Value::Array(each));
            }
            fields.values_mut().for_each(polish);
        }
        Value::Array(items) => items.iter_mut().for_each(polish),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
