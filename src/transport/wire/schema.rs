//! JSON schemas from the types that serve the calls, in a form that every client understands: nothing by reference, no
//! `uint64` format (validators warn of it), `anyOf` instead of a list of types, no default that is none, and descriptions
//! of one line.
//!
//! Those of arguments hold still less, since hosts convert them to what their model takes: no `format` but `date-time`
//! (Gemini's API refuses others, and generated models hold our ids against another version's UUIDs), no `enum` of numbers
//! (Gemini), no `additionalProperties` (a client's converter fails on a boolean there), no `anyOf`, and no `writeOnly`. A
//! test walks all of them.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The schema of a tool's arguments.
pub fn input_schema<T: JsonSchema>() -> Map<String, Value> {
    portable(SchemaSettings::draft2020_12().for_deserialize(), |settings| {
        settings.into_generator().into_root_schema_for::<T>()
    })
}

/// The schema of a tool's answer.
pub fn output_schema<T: JsonSchema>() -> Map<String, Value> {
    portable(SchemaSettings::draft2020_12().for_serialize(), |settings| {
        settings.into_generator().into_root_schema_for::<T>()
    })
}

fn portable(settings: SchemaSettings, make: impl FnOnce(SchemaSettings) -> schemars::Schema) -> Map<String, Value> {
    let settings = settings.with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = make(settings).to_value();
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
