//! Goose's entry, in YAML. Goose writes its file itself, and always in the same plain form, so that lines can be put
//! into it; a file in another form is refused. The crates that keep comments in any YAML bring more code than the rest
//! of this room.

use super::{Launch, NAME, Unusable};

const EXTENSIONS: &str = "extensions";
/// Goose's own timeout of a call, in seconds.
const TIMEOUT: u32 = 300;

pub(super) fn with_entry(text: &str, launch: &Launch) -> Result<String, Unusable> {
    let head = format!("{EXTENSIONS}:");
    let mut heads = text.lines().enumerate().filter(|(_, line)| line.starts_with(&head));
    let (found, more) = (heads.next(), heads.next());
    let Some((at, line)) = found else {
        let joint = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{joint}{head}\n{}", entry("  ", launch)));
    };
    let rest = line.strip_prefix(&head).unwrap_or_default().trim();
    if more.is_some() || !(rest.is_empty() || rest.starts_with('#') || rest == "{}") {
        return Err(Unusable::Shape(EXTENSIONS));
    }
    let is_blank = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let inside = || text.lines().skip(at + 1).take_while(|line| is_blank(line) || line.starts_with(' '));
    let first = inside().find(|line| !is_blank(line));
    let indent = first.map_or("  ", |line| line.split_at(line.len() - line.trim_start().len()).0);
    let own = format!("{indent}{NAME}:");
    if inside().any(|line| line.starts_with(&own)) {
        let whole = format!("\n{}", entry(indent, launch));
        let has = |name: &str| whole.lines().find(|line| line.trim_start().starts_with(name));
        let is_same =
            ["cmd: ", "args: "].iter().all(|name| has(name).is_some_and(|own| inside().any(|line| line == own)));
        return if is_same { Ok(text.to_owned()) } else { Err(Unusable::Differs) };
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if let Some(line) = lines.get_mut(at).filter(|_| rest == "{}") {
        *line = head;
    }
    let end = if text.ends_with('\n') { "\n" } else { "" };
    lines.insert(at + 1, entry(indent, launch).trim_end().to_owned());
    Ok(format!("{}{end}", lines.join("\n")))
}

/// The lines of our entry.
fn entry(indent: &str, Launch { program, arguments }: &Launch) -> String {
    // YAML reads strings that are quoted as in JSON.
    let quoted = |text: &String| serde_json::Value::from(text.as_str()).to_string();
    let arguments: Vec<String> = arguments.iter().map(quoted).collect();
    let fields = [
        "type: stdio".to_owned(),
        format!("name: {NAME}"),
        "description: The authenticator app for AI agents".to_owned(),
        format!("cmd: {}", quoted(program)),
        format!("args: [{}]", arguments.join(", ")),
        "enabled: true".to_owned(),
        format!("timeout: {TIMEOUT}"),
    ];
    let fields = fields.map(|field| format!("{indent}{indent}{field}\n"));
    format!("{indent}{NAME}:\n{}", fields.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        Launch { program: "/bin/countersign".to_owned(), arguments: vec!["stdio".to_owned()] }
    }

    #[test]
    fn the_entry_stands_among_the_others() {
        let before = "GOOSE_MODEL: x # mine\nextensions:\n  # those\n  developer:\n    enabled: true\nother: 1\n";
        let after = with_entry(before, &launch()).unwrap();
        let added = entry("  ", &launch());
        assert!(after.contains(&format!("extensions:\n{added}  # those\n")), "{after}");
        assert_eq!(after.replacen(&added, "", 1), before);
        assert_eq!(with_entry(&after, &launch()).unwrap(), after);
        for none in ["", "a: 1", "a: 1\n", "extensions:\n", "extensions: {}\n", "extensions:", "extensions: # none\n"] {
            let after = with_entry(none, &launch()).unwrap();
            assert!(
                after.contains("\n  countersign:\n    type: stdio\n")
                    || after.starts_with("extensions:\n  countersign:\n")
            );
            assert_eq!(with_entry(&after, &launch()).unwrap(), after, "{none}");
        }
    }

    #[test]
    fn what_is_not_as_expected_is_refused() {
        let other = with_entry("", &Launch { program: "/old".to_owned(), arguments: Vec::new() }).unwrap();
        assert_eq!(with_entry(&other, &launch()), Err(Unusable::Differs));
        for text in ["extensions: {a: 1}\n", "extensions: [\n", "extensions:\nextensions:\n", "extensions: &a\n"] {
            assert_eq!(with_entry(text, &launch()), Err(Unusable::Shape(EXTENSIONS)), "{text}");
        }
    }
}
