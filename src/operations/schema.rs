//! JSON schemas from the types that serve the calls, in a form that every client understands: nothing by reference, no
//! `uint64` format (validators warn of it), `anyOf` instead of a list of types, no default that is none, and descriptions
//! of one line.
//!
//! Those of a tool's arguments hold still less, since hosts convert them to what their model takes: no `format` but
//! `date-time` (Gemini's API refuses others, and generated models hold our ids against another version's UUIDs), no `enum`
//! of numbers (Gemini), no `additionalProperties` (a client's converter fails on a boolean there), no `anyOf`, no
//! `writeOnly`, and no lower limit that the empty text, which models fill in where they have nothing to say, would be under.
//! Converters lose limits and defaults that stand in keywords alone, so the descriptions say them as well. A `default` stays:
//! without it a converter makes what may be left out nullable, and refuses what models send then. A test walks all of them.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::bounds::ACCEPTS;

/// The schema of arguments, with the words for what each field accepts.
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

/// The schema of arguments as a tool shows it.
pub(super) fn for_tool(schema: &Map<String, Value>) -> Map<String, Value> {
    without_keywords(schema, &|name, value| name == ACCEPTS || name == "format" && value != "date-time")
}

/// The schema of arguments as the `OpenAPI` document shows it.
pub(super) fn for_document(schema: &Map<String, Value>) -> Map<String, Value> {
    without_keywords(schema, &|name, _| name == ACCEPTS)
}

/// Leaves keywords of the fields out.
fn without_keywords(schema: &Map<String, Value>, is_left_out: &dyn Fn(&str, &Value) -> bool) -> Map<String, Value> {
    let mut schema = schema.clone();
    for field in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if let Value::Object(field) = field {
            field.retain(|name, value| !is_left_out(name, value));
        }
    }
    schema
}

/// Says in a field's description what it accepts, and its default: after the first sentence.
fn describe(field: &mut Map<String, Value>) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let accepts = field.get(ACCEPTS).map(|accepts| format!(": {}", text(accepts))).unwrap_or_default();
    let default = field.get("default").map(|default| format!("; {} by default", text(default))).unwrap_or_default();
    if let Some(Value::String(words)) = field.get_mut("description") {
        let (first, rest) = words.split_once(". ").unwrap_or((words.trim_end_matches('.'), ""));
        let told = format!("{first}{accepts}{default}. {rest}");
        told.trim_end().clone_into(words);
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
            // serde's way to say that a field may be left out, which `required` says already; null is not of its type.
            if fields.get("default").is_some_and(Value::is_null) {
                fields.remove("default");
            }
            // A doc comment is broken into lines where its file is.
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
