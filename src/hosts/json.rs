//! Entries in JSON, with the comments and commas that editors allow in it.

use jsonc_parser::{
    ParseOptions,
    cst::{CstInputValue, CstObject, CstRootNode},
};

use super::{NAME, Unusable};

/// The JSON that editors read. A file with any other extension of the format is refused, so that it is not changed by
/// mistake.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};
/// The name of the root in an error.
const ROOT: &str = "{";

pub(super) fn text(text: &str) -> CstInputValue {
    CstInputValue::String(text.to_owned())
}

pub(super) fn list(texts: &[String]) -> CstInputValue {
    CstInputValue::Array(texts.iter().map(|each| text(each)).collect())
}

pub(super) const fn flag(is: bool) -> CstInputValue {
    CstInputValue::Bool(is)
}

/// Puts an entry into the object `servers`. An entry that is there keeps its other fields.
pub(super) fn with_entry(
    text: &str,
    servers: &'static str,
    entry: &[(&str, CstInputValue)],
) -> Result<String, Unusable> {
    let text = if text.trim().is_empty() { "{}\n" } else { text };
    let root = CstRootNode::parse(text, &OPTIONS)
        .map_err(|problem| Unusable::Broken { line: problem.line_display(), format: "JSON" })?;
    let whole = root.object_value().ok_or(Unusable::Shape(ROOT))?;
    let all = inner(&whole, servers, servers)?;
    if let Some(present) = only(&all, NAME, servers)? {
        let present = present.object_value().ok_or(Unusable::Shape(NAME))?;
        for (name, value) in entry {
            match only(&present, name, NAME)? {
                Some(field) if field.value().is_some_and(|found| is_same(&found.to_string(), value)) => {}
                Some(field) => field.set_value(value.clone()),
                None => drop(present.append(name, value.clone())),
            }
        }
    } else {
        let fields = entry.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        all.append(NAME, CstInputValue::Object(fields));
    }
    Ok(root.to_string())
}

/// Returns the object that a field holds. Adds an empty one if the field is missing.
fn inner(of: &CstObject, name: &str, unusable: &'static str) -> Result<CstObject, Unusable> {
    match only(of, name, unusable)? {
        Some(field) => field.object_value().ok_or(Unusable::Shape(unusable)),
        None => Ok(of.object_value_or_set(name)),
    }
}

/// The field of a name. Two of them are an error: hosts read the last, and people the first.
fn only(
    of: &CstObject,
    name: &str,
    unusable: &'static str,
) -> Result<Option<jsonc_parser::cst::CstObjectProp>, Unusable> {
    let mut found = of.properties().into_iter().filter(|field| field.decoded_name().as_deref() == Some(name));
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Unusable::Shape(unusable)),
    }
}

/// Whether a text is the JSON of a value, whatever its white space.
fn is_same(text: &str, value: &CstInputValue) -> bool {
    let meant = CstRootNode::parse("0", &OPTIONS).map(|root| {
        root.set_value(value.clone());
        root.to_string()
    });
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    meant.ok().and_then(|meant| read(&meant)).is_some_and(|meant| read(text) == Some(meant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosts::{Host, Launch};

    fn launch() -> Launch {
        Launch { program: "/bin/countersign".to_owned(), arguments: vec!["stdio".to_owned()] }
    }

    #[test]
    fn comments_commas_order_and_other_servers_stay() {
        let before = "{\n    // Mine.\n    \"theme\": \"dark\", /* why */\n    \"mcpServers\": {\n        \"other\": {\"command\": \"x\"},\n    },\n}\n";
        let after = Host::Cursor.with_entry(before, &launch()).unwrap();
        for line in before.lines().filter(|line| line.len() > 6) {
            assert!(after.contains(line), "{line}\n{after}");
        }
        let added: Vec<&str> = after.lines().filter(|line| !before.lines().any(|other| other == *line)).collect();
        let expected = [
            "        \"countersign\": {",
            "            \"command\": \"/bin/countersign\",",
            "            \"args\": [\"stdio\"],",
            "        },",
        ];
        assert_eq!(added, expected, "{after}");
    }

    #[test]
    fn what_a_person_added_to_our_entry_stays() {
        let before = "{\"mcpServers\": {\"countersign\": {\"command\": \"/old\", \"args\": [ \"stdio\" ], \"disabled\": false}}}";
        let after = Host::Cline.with_entry(before, &launch()).unwrap();
        assert_eq!(after, before.replace("/old", "/bin/countersign"));
    }

    #[test]
    fn windows_lines_stay() {
        let after = Host::ClaudeDesktop.with_entry("{\r\n  \"a\": 1\r\n}\r\n", &launch()).unwrap();
        assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{after:?}");
    }

    #[test]
    fn what_is_not_as_expected_is_refused() {
        for (text, problem) in [
            ("[]", Unusable::Shape(ROOT)),
            ("{\"mcpServers\": []}", Unusable::Shape("mcpServers")),
            ("{\"mcpServers\": {}, \"mcpServers\": {}}", Unusable::Shape("mcpServers")),
            ("{\"mcpServers\": {\"countersign\": 1}}", Unusable::Shape(NAME)),
            ("{\n\"a\": 1 \"b\": 2}", Unusable::Broken { line: 2, format: "JSON" }),
            ("{\n\n", Unusable::Broken { line: 1, format: "JSON" }),
        ] {
            assert_eq!(Host::Cursor.with_entry(text, &launch()), Err(problem), "{text}");
        }
    }
}
