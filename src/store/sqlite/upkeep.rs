//! Looking a vault over: every page, and every record that can be checked without opening a seal.

use super::{accounts, db::Db, error::damaged, header, keys, schema, seats, secrets, trail, uses};
use crate::store::StoreError;

/// Findings of the page check that are reported; more say nothing new.
const FINDINGS_MAX: u32 = 100;

/// Checks everything. Empty: sound.
pub(super) fn examine(db: &Db<'_>) -> Result<Vec<String>, StoreError> {
    let whole = db.conn().unchecked_transaction()?;
    let mut found = pages(db)?;
    found.extend(references(db)?);
    found.extend(schema::examine(db.conn()).unwrap_or_else(|error| vec![error.to_string()]));
    let header = header::read(db.conn()).and_then(|kept| kept.check(db, schema::format(db.conn())?));
    let records = [
        header.map(|()| Vec::new()),
        accounts::examine(db),
        secrets::examine(db),
        secrets::examine_repeats(db),
        uses::examine(db),
        seats::examine(db),
        keys::examine(db),
        trail::examine(db).map(|()| Vec::new()),
    ];
    for checked in records {
        match checked {
            Ok(errors) => found.extend(errors.into_iter().map(|error| error.to_string())),
            // Where nothing is wrong, something stands in the way.
            Err(error @ StoreError::Unavailable(_)) if found.is_empty() => return Err(error),
            // It could not be read to the end; what else is wrong is still worth knowing.
            Err(error) => found.push(error.to_string()),
        }
    }
    whole.finish()?;
    Ok(found)
}

fn pages(db: &Db<'_>) -> Result<Vec<String>, StoreError> {
    let found = db.all(&format!("PRAGMA integrity_check({FINDINGS_MAX})"), [], |row| Ok(row.get::<_, String>(0)?));
    match found {
        Ok(found) if found == ["ok"] => Ok(Vec::new()),
        Ok(found) => Ok(found),
        Err(StoreError::Damaged { what, .. }) => Ok(vec![damaged("the database", what).to_string()]),
        Err(error) => Err(error),
    }
}

fn references(db: &Db<'_>) -> Result<Vec<String>, StoreError> {
    db.all("PRAGMA foreign_key_check", [], |row| {
        let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
        Ok(format!("a record of {table} belongs to a record of {parent} that is not there"))
    })
}
