//! Every text of a JSON value, also of the parts that no reader knows: a person may have put a key or a setting there.

use std::borrow::Cow;

use super::{
    ALL, Import,
    columns::Columns,
    entry::{Place, Skip},
    fields::{HISTORY, plain},
    item::Item,
    json::Json,
    settings, unread,
    uri::{Beside, StatedParameters},
};

/// Texts of an entry that are compared with each other. No app writes as many, and a person hardly does.
pub(super) const MEMBERS_MAX: usize = 256;
/// Letters of the longest value of a setting that only the name of its field shows to be one.
const VALUE_CHARS: usize = 12;
/// Letters of a name that are looked at: each text of a list gets a copy of its name.
const NAME_CHARS: usize = 64;
/// The members in which a field has the name that a person gave it.
const LABELS: [&str; 4] = ["label", "title", "fieldName", "name"];
/// The member in which 1Password has the id of another item.
const REFERENCE: &str = "reference";
/// Names of texts that are names, which may look like keys, and are masked where they are shown.
const NAMES: [&str; 12] = [
    "name",
    "title",
    "label",
    "fieldname",
    "issuer",
    "account",
    "username",
    "email",
    "itemusername",
    "itememail",
    "service",
    "designation",
];

/// A text with its plain name: that which a person gave its field, or that of the member.
pub(super) type Named<'a> = (String, &'a str);
/// The same for a text that may be a number of the document.
pub(super) type Member<'a> = (String, Cow<'a, str>);

/// The texts in a value of this plain name, at every level, without the names and the earlier values of fields.
pub(super) fn texts<'a>(name: &str, json: &'a Json) -> Vec<Named<'a>> {
    let mut texts = Vec::new();
    collect(name, false, json, &mut texts);
    texts
}

/// The whole numbers in a value, of members with the names of settings of codes.
pub(super) fn numbers(json: &Json) -> Vec<(String, i64)> {
    let in_list = json.list().iter().flat_map(numbers);
    let in_members = json.fields().flat_map(|(name, value)| match value {
        Json::Whole(number) => {
            let name = plain(name);
            let is_setting = name != "type" && settings::is_setting(&name);
            is_setting.then_some((name, *number)).into_iter().collect()
        }
        Json::List(_) | Json::Object(_) => numbers(value),
        Json::Null | Json::Bool(_) | Json::Fraction | Json::Text(_) => Vec::new(),
    });
    in_list.chain(in_members).collect()
}

/// Collects the texts of a value; all of the value of a field have the field's name.
fn collect<'a>(name: &str, is_value: bool, json: &'a Json, texts: &mut Vec<Named<'a>>) {
    if let Json::Text(text) = json
        && !NAMES.contains(&name)
    {
        texts.push((name.to_owned(), text.as_str()));
    }
    json.list().iter().for_each(|item| collect(name, is_value, item, texts));
    // 1Password says by this member which of its fields has the password.
    let label = json.first_text(&["designation"]);
    let label = short(if label.is_empty() { json.first_text(&LABELS) } else { label });
    for (member, value) in json.fields() {
        let member = short(member);
        if member.ends_with(HISTORY) || member == REFERENCE {
            continue;
        }
        // Proton Pass has the value of a field in an object.
        let is_of_field = member == "value" || member == "data" && json.has("fieldName");
        let (child, is_value) = match (is_value, is_of_field, label.as_str()) {
            (true, _, _) => (name, true),
            (false, true, "") => (name, false),
            (false, true, label) => (label, true),
            (false, false, _) => (member.as_str(), false),
        };
        collect(child, is_value, value, texts);
    }
}

/// The beginning of a plain name.
fn short(name: &str) -> String {
    let mut name = plain(name);
    name.truncate(NAME_CHARS);
    name
}

/// Whether texts beside a bare key say more of how its codes are made than is read of them.
pub(super) fn say_more(members: &[Member<'_>]) -> bool {
    let says = |line: &str| unread::says_unusual_number(line) || unread::names_hash(line) || unread::names_kind(line);
    let speaks = |line: &str| unread::may_speak(line) && says(line);
    let in_lines = |(name, text): &Member<'_>| !settings::tells_of_logins(name) && text.lines().any(speaks);
    // The names of fields are looked at where the value is as short as that of a setting.
    let is_of_kinds = |name: &str| ["otp", "counter", "timebased"].iter().any(|part| name.contains(part));
    let may_be_value = |(name, text): &&Member<'_>| {
        !text.is_empty() && text.len() <= VALUE_CHARS && (unread::may_speak(text) || is_of_kinds(name))
    };
    let values: Vec<&Member<'_>> = members.iter().filter(may_be_value).collect();
    let are_read = || {
        let names: Vec<String> = values.iter().map(|(name, _)| name.clone()).collect();
        let text = |at: usize| values.get(at).map_or("", |(_, text)| text.trim());
        Columns::of(&names).may_say_more(text, &StatedParameters::default())
    };
    members.len() > MEMBERS_MAX || members.iter().any(in_lines) || !values.is_empty() && are_read()
}

impl Import {
    /// Counts the keys and links in the members of a document beside the one that has its entries: each is skipped.
    pub(super) fn count_beside(&mut self, json: &Json, read: &str) {
        if read == ALL {
            return;
        }
        let mut found = Item::new(Beside::default(), Place::nth(self.entries.len()), None);
        for (name, value) in json.fields().filter(|(name, _)| *name != read) {
            for (name, text) in texts(&short(name), value) {
                found.count(&name, text, Skip::Elsewhere);
            }
        }
        self.entries.append(&mut found.entries());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_name_that_a_person_gave_its_field() {
        let json = r#"{"name": "GitHub", "login": {"username": "ada", "password": "p", "passwordHistory": ["o"]},
            "fields": [{"name": "TOTP key", "value": "a", "type": "1"}, {"title": "My key", "value": {"url": "b"}}],
            "totp": {"value": "q"}, "data": {"note": ["c"]},
            "loginFields": [{"designation": "password", "name": "x", "value": "r"}]}"#;
        let json = Json::parse(json).unwrap();
        let told: Vec<String> = texts("", &json).iter().map(|(name, text)| format!("{name}={text}")).collect();
        let expected = ["password=p", "totpkey=a", "type=1", "mykey=b", "totp=q", "note=c", "password=r"];
        assert_eq!(told, expected);
        let long = Json::parse(&format!("{{\"{}\": [\"a\", \"b\"]}}", "x".repeat(1_000_000))).unwrap();
        assert!(texts("", &long).iter().all(|(name, _)| name.len() == NAME_CHARS));
    }
}
