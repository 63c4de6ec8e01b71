//! The audit log as a table. Rows contain only ids; the table shows names, as long as they exist.

use std::collections::HashMap;

use super::{Failure, Session, output::Console, table::Table};
use crate::{
    domain::{api_key::KeyId, audit::AuditRow, characters::is_unshowable, time::Timestamp},
    operations::{self, ListDeleted, ListKeys, ListSeats, ListSecrets},
};

/// The names of the secrets, seats and keys of the person's account, by their ids.
#[derive(Default)]
pub(super) struct Names(HashMap<String, String>);

impl Names {
    /// Reads the names for a table. The audit log must be readable even if other parts of the vault are not: ids that
    /// can't be looked up get no names.
    pub(super) async fn known(session: &Session) -> Self {
        if session.console.is_json() {
            return Self::default();
        }
        let live = session.perform(ListSecrets::default()).await.map(|page| page.secrets);
        let deleted = session.perform(ListDeleted).await;
        let seats = session.perform(ListSeats::default()).await.map(|page| page.seats).unwrap_or_default();
        let keys = session.perform(ListKeys).await.unwrap_or_default().sound;
        let secrets = [live, deleted].into_iter().flatten().flatten().map(|secret| {
            let (label, issuer) = (secret.metadata.label, secret.metadata.issuer);
            let name = issuer.map_or_else(|| label.to_string(), |issuer| format!("{label} ({issuer})"));
            (secret.id.to_string(), name)
        });
        let mut names = called(secrets.collect());
        names.extend(called(
            seats.into_iter().map(|seat| (seat.id.to_string(), seat.profile.email.to_string())).collect(),
        ));
        names.extend(called(keys.into_iter().map(|key| (key.id.to_string(), key.name.to_string())).collect()));
        Self(names)
    }

    /// The name, or the id if there is no name.
    fn of(&self, id: String) -> String {
        self.0.get(&id).cloned().unwrap_or(id)
    }
}

/// The name to show for each id. An ambiguous name, or one that could be an id, is shown with its own id: agents choose
/// labels, and must not be able to pass one secret off as another.
fn called(all: Vec<(String, String)>) -> HashMap<String, String> {
    let mut bearers: HashMap<String, usize> = HashMap::new();
    for (_, name) in &all {
        *bearers.entry(name.clone()).or_default() += 1;
    }
    let could_be_an_id = |name: &str| name.parse::<KeyId>().is_ok() || uuid::Uuid::try_parse(name).is_ok();
    let shown = |(id, name): (String, String)| {
        let alone = bearers.get(&name) == Some(&1) && !could_be_an_id(&name);
        let shown = if alone { name } else { format!("{name} {id}") };
        (id, shown)
    };
    all.into_iter().map(shown).collect()
}

/// Makes a text from the vault's file safe for a terminal: an attacker who can write the file must not control the
/// terminal. Characters that a terminal would obey or hide are escaped; the joiners of scripts and emoji that need them
/// are kept.
pub(super) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let joins = matches!(c, '\u{200C}' | '\u{200D}' | '\u{FE0E}' | '\u{FE0F}');
        if is_unshowable(c) && !joins { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

/// A row's number, with its chain unless it is the first.
fn number(chain: u32, seq: u64) -> String {
    if chain == 0 { seq.to_string() } else { format!("{chain}:{seq}") }
}

/// Writes audit rows; nothing if there are none.
pub(super) fn write(rows: &[AuditRow], names: &Names, now: Timestamp, console: &mut Console) -> Result<(), Failure> {
    let mut table = Table::new(&["SEQ", "AT", "ACTION", "OUTCOME", "ACTOR", "SECRET", "SEAT", "CLIENT", "PURPOSE"]);
    for row in rows {
        let shown = operations::AuditRow::from(row);
        let actor = match shown.key.map(|key| names.of(key)) {
            Some(key) if shown.actor == "key" => format!("key {key}"),
            Some(key) => format!("{} on key {key}", shown.actor),
            None => shown.actor.to_owned(),
        };
        let counted = shown.count.map(|count| format!(" ×{count}")).unwrap_or_default();
        let client = shown.client.map(|client| format!("{} {}", client.name, client.version).trim().to_owned());
        let cells = vec![
            number(shown.chain, shown.seq),
            console.date(row.entry.at, now),
            format!("{}{counted}", shown.action),
            shown.outcome.to_owned(),
            actor,
            shown.secret_id.map(|id| names.of(id)).unwrap_or_default(),
            shown.seat_id.map(|id| names.of(id)).unwrap_or_default(),
            client.unwrap_or_default(),
            shown.purpose.unwrap_or_default(),
        ];
        table.row(cells.into_iter().map(|cell| harmless(&cell)).collect());
    }
    if rows.is_empty() { Ok(()) } else { console.table(&table) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_in_a_changed_row_does_not_reach_the_terminal() {
        assert_eq!(harmless("\u{1b}]0;x\u{7}\u{9b}2J\u{202e}a"), "\\u{1b}]0;x\\u{7}\\u{9b}2J\\u{202e}a");
        assert_eq!(harmless("Ada Lovelace (GitHub) ×3"), "Ada Lovelace (GitHub) ×3");
    }

    #[test]
    fn a_row_of_another_chain_than_the_first_says_which() {
        assert_eq!([number(0, 7), number(3, 7)], ["7", "3:7"]);
    }

    #[test]
    fn a_name_stands_alone_if_it_is_one_things_and_no_id() {
        let uuid = "01900000-0000-7000-8000-000000000001";
        let all = [("1", "alice"), ("2", "bob"), ("3", "bob"), ("4", uuid), ("5", "laptopoffice")];
        let names = Names(called(all.map(|(id, name)| (id.to_owned(), name.to_owned())).to_vec()));

        let shown = ["1", "2", "3", "4", "5", "6"].map(|id| names.of(id.to_owned()));

        assert_eq!(shown, ["alice", "bob 2", "bob 3", &format!("{uuid} 4"), "laptopoffice 5", "6"]);
    }
}
