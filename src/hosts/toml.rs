//! Codex's entry, in TOML.

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use super::{Launch, NAME, Unusable};

const SERVERS: &str = "mcp_servers";

pub(super) fn with_entry(text: &str, launch: &Launch) -> Result<String, Unusable> {
    let mut document: DocumentMut = text.parse().map_err(|problem: toml_edit::TomlError| {
        let before = problem.span().map_or(0, |span| span.start);
        let lines = text.bytes().take(before).filter(|byte| *byte == b'\n').count();
        Unusable::Broken { line: lines + 1, format: "TOML" }
    })?;
    let mut servers = Table::new();
    // The table of all servers gets no header of its own, only those of single servers.
    servers.set_implicit(true);
    let servers = document.entry(SERVERS).or_insert(Item::Table(servers));
    let servers = servers.as_table_like_mut().ok_or(Unusable::Shape(SERVERS))?;
    let entry = servers.entry(NAME).or_insert_with(|| Item::Table(Table::new()));
    let entry = entry.as_table_like_mut().ok_or(Unusable::Shape(NAME))?;
    set(entry, "command", launch.program.as_str().into());
    set(entry, "args", Value::Array(launch.arguments.iter().collect::<Array>()));
    Ok(document.to_string())
}

/// Sets a value, unless the present one is the same, however it is written.
fn set(entry: &mut dyn TableLike, name: &str, mut value: Value) {
    let Some(present) = entry.get_mut(name) else {
        entry.insert(name, Item::Value(value));
        return;
    };
    if let Some(present) = present.as_value() {
        if is_same(present, &value) {
            return;
        }
        *value.decor_mut() = present.decor().clone();
    }
    *present = Item::Value(value);
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_array(), other.as_array()) {
        (Some(one), Some(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        _ => one.as_str().is_some() && one.as_str() == other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        Launch { program: "/bin/countersign".to_owned(), arguments: vec!["stdio".to_owned()] }
    }

    #[test]
    fn comments_and_other_servers_stay() {
        let before = "# mine\nmodel = \"x\" # why\n\n[mcp_servers.other]\ncommand = 'y'\n\n[profiles.a]\nb = 1\n";
        let after = with_entry(before, &launch()).unwrap();
        let added = "\n[mcp_servers.countersign]\ncommand = \"/bin/countersign\"\nargs = [\"stdio\"]\n";
        assert!(after.contains(added), "{after}");
        assert_eq!(after.replacen(added, "", 1), before);
    }

    #[test]
    fn what_a_person_added_to_our_entry_stays() {
        let before =
            "[mcp_servers.countersign]\ncommand = \"/old\" # here\nargs = [ 'stdio' ]\nstartup_timeout_sec = 20\n";
        let after = with_entry(before, &launch()).unwrap();
        assert_eq!(after, before.replace("/old", "/bin/countersign"));
    }

    #[test]
    fn what_is_not_as_expected_is_refused() {
        for (text, problem) in [
            ("mcp_servers = 1", Unusable::Shape(SERVERS)),
            ("[mcp_servers]\ncountersign = 1", Unusable::Shape(NAME)),
            ("a = 1\nb = = 2\n", Unusable::Broken { line: 2, format: "TOML" }),
        ] {
            assert_eq!(with_entry(text, &launch()), Err(problem), "{text}");
        }
    }
}
