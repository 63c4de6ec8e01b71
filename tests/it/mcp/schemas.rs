//! One committed snapshot for each tool: the text that a model reads changes only in a reviewed commit.

use std::{fs, path::Path};

use countersign::{
    domain::limits::PAGE_ROWS_DEFAULT,
    operations::{Effect, TABLE},
    transport::mcp::listed,
};
use serde_json::{Value, json};

/// Set this variable to write the snapshots anew.
const UPDATE: &str = "COUNTERSIGN_UPDATE_SNAPSHOTS";

#[test]
fn every_tool_is_as_its_snapshot_says() {
    let folder = Path::new("tests/it/mcp/snapshots");
    let update = std::env::var_os(UPDATE).is_some();
    for tool in listed() {
        let now = serde_json::to_string_pretty(&tool).unwrap() + "\n";
        let file = folder.join(format!("{}.json", tool.name));
        if update {
            fs::create_dir_all(folder).unwrap();
            fs::write(&file, &now).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(now, kept, "{} differs; if that is meant, run with {UPDATE}=1", file.display());
    }
    let snapshots = fs::read_dir(folder).unwrap().count();
    assert_eq!(snapshots, listed().len(), "a snapshot without a tool");
}

#[test]
fn what_an_agent_does_most_is_listed_first() {
    let names: Vec<&str> = listed().iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(names[..2], ["list_totp_secrets", "get_totp_code"]);
    assert_eq!(names.last(), Some(&"delete_totp_secret"));
    let tools = TABLE.iter().filter(|entry| entry.api.words.is_some());
    assert!(tools.is_sorted_by_key(|entry| entry.spec.effect == Effect::Erase), "what can't be undone comes last");
}

#[test]
fn the_readme_lists_every_tool_with_its_scope() {
    let readme = fs::read_to_string("README.md").unwrap();
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| `")).collect();
    for entry in TABLE.iter().filter(|entry| entry.api.words.is_some()) {
        let (name, scope) = (format!("`{}`", entry.spec.name), format!("| `{}` |", entry.scope().unwrap()));
        assert!(rows.iter().any(|row| row.contains(&name) && row.ends_with(&scope)), "{name} needs {scope}");
    }
}

#[test]
fn schemas_hold_nothing_that_clients_stumble_over() {
    for tool in listed() {
        let text = serde_json::to_string(&tool).unwrap();
        for trap in
            ["\"format\":\"u", "\"format\":\"int", "$ref", "$defs", "\"type\":[", "\"default\":null", "\"enum\":[6"]
        {
            assert!(!text.contains(trap), "{} has {trap}", tool.name);
        }
        assert!(!text.contains("\\n"), "{} has a line break in mid-sentence", tool.name);
    }
}

#[test]
fn schemas_of_arguments_hold_only_what_every_converter_takes() {
    const OF_OBJECTS: [&str; 3] = ["type", "properties", "required"];
    const OF_VALUES: [&str; 9] =
        ["type", "description", "enum", "format", "minimum", "maximum", "maxLength", "default", "items"];
    for tool in listed() {
        let schema = serde_json::to_value(&tool.input_schema).unwrap();
        let unknown = |schema: &Value, known: &[&str]| {
            schema.as_object().unwrap().keys().find(|key| !known.contains(&key.as_str())).cloned()
        };
        assert_eq!((unknown(&schema, &OF_OBJECTS), &schema["type"]), (None, &json!("object")), "{}", tool.name);
        for (name, value) in schema["properties"].as_object().unwrap() {
            let place = format!("{}, {name}: {value}", tool.name);
            assert_eq!(unknown(value, &OF_VALUES), None, "{place}");
            // A list consists of texts, without a limit of its own: some converters support none.
            assert_eq!(value.get("items").is_some(), value["type"] == "array", "{place}");
            assert!(value.get("items").is_none_or(|items| *items == json!({"type": "string"})), "{place}");
            assert!(matches!(value["type"].as_str(), Some("string" | "integer" | "boolean" | "array")), "{place}");
            let words = value.get("enum").is_none_or(|words| words.as_array().unwrap().iter().all(Value::is_string));
            assert!(words, "{place}");
            assert!(value.get("format").is_none_or(|format| format == "date-time"), "{place}");
        }
    }
}

#[test]
fn the_words_say_every_limit_and_default() {
    for tool in listed() {
        let schema = serde_json::to_value(&tool.input_schema).unwrap();
        for (name, value) in schema["properties"].as_object().unwrap() {
            let words = value["description"].as_str().unwrap().to_lowercase();
            for keyword in ["default", "minimum", "maximum", "maxLength", "enum"] {
                let said =
                    value.get(keyword).map(|said| said.as_array().cloned().unwrap_or_else(|| vec![said.clone()]));
                for said in said.into_iter().flatten() {
                    // `false` and 0 are the obvious defaults of a field that is left out.
                    if keyword == "default" && (said == json!(false) || said == json!(0)) {
                        continue;
                    }
                    let said = said.as_str().map_or_else(|| said.to_string(), str::to_owned).to_lowercase();
                    assert!(words.contains(&said), "{}, {name}: {words} does not say {keyword} {said}", tool.name);
                }
            }
        }
    }
    let limit = listed().iter().find(|tool| tool.name == "list_totp_secrets").unwrap();
    let words = &limit.input_schema["properties"]["limit"]["description"];
    assert!(words.as_str().unwrap().contains(&format!("{PAGE_ROWS_DEFAULT} by default")), "{words}");
}
