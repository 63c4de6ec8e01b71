//! The tables, and whether they are as the migration made them. A released migration is never edited.

use super::{
    link::{Failure, Link, Step, Value},
    reads::column,
};

/// The newest format that this version understands.
pub(super) const FORMAT: u32 = 2;
/// The tables of [`FORMAT`].
pub(super) const CREATE: &str = include_str!("../../../migrations/postgres/0001_records.sql");
/// The application id in the `vault` table.
pub(super) const APPLICATION: &[u8] = b"CSGN";
/// The beginning of the application id while a vault from elsewhere is not complete; its mark follows.
const UNFINISHED: &[u8] = b"CSGN unfinished ";
/// The beginning of the application id once the vault was moved elsewhere; the place follows.
const MOVED: &[u8] = b"CSGN moved ";
/// Removes the tables.
pub(super) const DROP: &str =
    "DROP TABLE record_word, record_name, record_count, record, audit, writer, heartbeat, pace, vault";
/// Every table.
pub(super) const TABLES: [&str; 9] =
    ["vault", "record", "record_count", "record_name", "record_word", "audit", "writer", "heartbeat", "pace"];

/// The contents of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holds {
    /// No vault.
    Nothing,
    /// A vault of this format.
    Vault(u32),
    /// A vault that is not complete, with its mark.
    Unfinished(String),
    /// The remains of a vault that was moved to this place.
    Moved(String),
    /// A table `vault` of another program.
    Other,
}

/// Returns the contents of the connection's schema.
pub(super) async fn holds(link: &Link) -> Result<Holds, Failure> {
    // The information schema does not show a table to a role without a right on it.
    let there = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'vault'";
    let found = link.query(&Step::new(there, Vec::new())).await?;
    if found.first().map_or(0, |row| column::<i64>(row, 0)) == 0 {
        return Ok(Holds::Nothing);
    }
    let sql = "SELECT application, format FROM vault WHERE one = 1";
    match link.query(&Step::new(sql, Vec::new())).await {
        Ok(rows) => Ok(match rows.first() {
            Some(row) => held(&column::<Vec<u8>>(row, 0), column(row, 1)),
            None => Holds::Other,
        }),
        // Another program's table has other columns.
        Err(Failure::Refused(code)) if code.code().starts_with("42") && code.code() != "42501" => Ok(Holds::Other),
        Err(cause) => Err(cause),
    }
}

fn held(application: &[u8], format: i64) -> Holds {
    let text = |prefix| application.strip_prefix(prefix).map(|text| String::from_utf8_lossy(text).into_owned());
    if application == APPLICATION {
        return u32::try_from(format).map_or(Holds::Other, Holds::Vault);
    }
    match (text(UNFINISHED), text(MOVED)) {
        (Some(mark), _) => Holds::Unfinished(mark),
        (None, Some(place)) => Holds::Moved(place),
        (None, None) => Holds::Other,
    }
}

/// The application id of a vault that is not complete.
pub(super) fn unfinished(mark: &str) -> Vec<u8> {
    [UNFINISHED, mark.as_bytes()].concat()
}

/// The application id of a vault that was moved to a place.
pub(super) fn moved(place: &str) -> Vec<u8> {
    [MOVED, place.as_bytes()].concat()
}

/// The statement that names the format.
pub(super) fn stamp(application: &[u8]) -> Step {
    let sql = "INSERT INTO vault (one, application, format) VALUES (1, $1, $2)";
    Step::new(sql, vec![Value::Bytes(application.to_vec()), Value::Number(i64::from(FORMAT))])
}

/// Checks the schema and the data that this program derives from the records. Returns the findings, none if all is
/// sound.
pub(super) async fn examine(link: &Link) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let columns = "SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns \
                   WHERE table_schema = current_schema() AND table_name = ANY ($1) ORDER BY 1";
    let tables = Value::MaybeTexts(TABLES.iter().map(|table| Some((*table).to_owned())).collect());
    let there: Vec<String> =
        link.query(&Step::new(columns, vec![tables])).await?.iter().map(|row| column(row, 0)).collect();
    let wanted = wanted();
    found.extend(
        wanted.iter().filter(|column| !there.contains(column)).map(|column| format!("the schema lacks {column}")),
    );
    if there.iter().any(|column| !wanted.contains(column)) {
        found.push("the tables have columns that no vault has".to_owned());
    }
    let checks = [
        (
            "SELECT count(*) FROM information_schema.triggers WHERE event_object_schema = current_schema() \
             AND event_object_table IN ('vault', 'record', 'record_count', 'record_name', 'record_word', 'audit', 'writer', \
             'heartbeat', 'pace')",
            "the tables have triggers, and no vault has any",
        ),
        (
            "SELECT (SELECT count(*) FROM record_name AS finder JOIN record USING (kind, id) \
             WHERE record.account <> finder.account) + (SELECT count(*) FROM record_word AS finder \
             JOIN record USING (kind, id) WHERE record.account <> finder.account)",
            "index entries lead to records of another account",
        ),
        (
            "SELECT count(*) FROM (SELECT kind, account, life, count(*) AS n FROM record WHERE kind IN (3, 7) \
             GROUP BY kind, account, life) AS real FULL JOIN (SELECT * FROM record_count WHERE n <> 0) AS kept \
             USING (kind, account, life) WHERE real.n IS DISTINCT FROM kept.n",
            "the counts of lists are wrong",
        ),
    ];
    for (sql, what) in checks {
        let rows = link.examine(&Step::new(sql, Vec::new())).await?;
        if rows.first().map_or(0, |row| column::<i64>(row, 0)) != 0 {
            found.push(what.to_owned());
        }
    }
    Ok(found)
}

/// The columns that the migration makes, as the information schema names them.
fn wanted() -> Vec<String> {
    let mut columns = Vec::new();
    let mut table = "";
    for line in CREATE.lines() {
        if let Some(name) = line.strip_prefix("CREATE TABLE ") {
            table = name.trim_end_matches(" (");
        } else if line.starts_with("    ") {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(kind)) = (words.next(), words.next())
                && name.chars().all(|character| character.is_ascii_lowercase() || character == '_')
            {
                columns.push(format!("{table}.{name} {}", kind.trim_end_matches(',')));
            }
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// A change here means that a released file was edited: write a new one instead.
    #[test]
    fn a_released_migration_is_never_edited() {
        let found = data_encoding::HEXLOWER.encode(&Sha256::digest(CREATE));

        assert_eq!(found, "d9242e7f42810138585e3a19520c67f232e689d9461af6c8d21788e0f77927a7");
    }

    #[test]
    fn the_columns_are_read_off_the_migration() {
        let columns = wanted();

        assert_eq!(columns.len(), 41);
        assert!(
            columns.contains(&"audit.actor_key text".to_owned()) && columns.contains(&"vault.one smallint".to_owned())
        );
    }
}
