//! Seats.

use rusqlite::{Row, params};
use subtle::ConstantTimeEq as _;

use super::{
    db::{Db, Field, Tx},
    error::{damaged, misplaced, not_added, of_record, one_changed, tampered},
    keys, uses,
};
use crate::{
    domain::{
        audit::AuditEntry,
        ids::{AccountId, SeatId},
        seat::{Seat, SeatName, SeatProfile},
        text::{AuthSubject, Email, PhoneNumber, ShownText},
        time::Timestamp,
    },
    keyring::{Keyring, Mac},
    store::{Changed, Holder, Listed, Page, StoreError},
};

const TABLE: &str = "seat";

/// A query for whole rows, put together at compile time.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account, created_at, email, first_name, last_name, forwarding_number, auth_subject, ",
            "codes_per_hour, mac, email_key FROM seat ",
            $rest
        )
    };
}

pub(super) fn add(tx: &Tx<'_>, seat: &Seat, entry: &AuditEntry) -> Result<(), StoreError> {
    refuse_taken(tx, seat)?;
    let profile = &seat.profile;
    let added = tx.statement("INSERT INTO seat VALUES (?,?,?,?,?,?,?,?,?,?,?)")?.execute(params![
        seat.id.as_bytes(),
        seat.account.as_bytes(),
        seat.created_at.micros(),
        profile.email.as_str(),
        without_case(&profile.email),
        profile.first_name.as_ref().map(ShownText::as_str),
        profile.last_name.as_ref().map(ShownText::as_str),
        profile.forwarding_number.as_ref().map(PhoneNumber::as_str),
        profile.auth_subject.as_ref().map(AuthSubject::as_str),
        profile.codes_per_hour,
        mac_of(tx.keyring(), seat),
    ]);
    one_changed(TABLE, added.map_err(|error| not_added(error, "this seat"))?)?;
    tx.append(entry)
}

pub(super) fn one(db: &Db<'_>, account: AccountId, name: &SeatName) -> Result<Option<Seat>, StoreError> {
    let read = |row: &Row<'_>| checked(db, row);
    let found = match name {
        SeatName::Id(id) => {
            db.first(select!("WHERE account = ? AND id = ?"), [account.as_bytes(), id.as_bytes()], read)
        }
        SeatName::Subject(subject) => {
            let sql = select!("WHERE account = ? AND auth_subject = ?");
            db.first(sql, params![account.as_bytes(), subject.as_str()], read)
        }
    }?;
    let asked_for = |seat: &Seat| match name {
        SeatName::Id(id) => seat.id == *id,
        SeatName::Subject(subject) => seat.profile.auth_subject.as_ref() == Some(subject),
    };
    match found {
        Some(seat) if seat.account != account || !asked_for(&seat) => Err(misplaced(TABLE)),
        found => Ok(found),
    }
}

pub(super) fn list(
    db: &Db<'_>,
    account: AccountId,
    email: Option<&Email>,
    page: Page,
) -> Result<Listed<Seat>, StoreError> {
    let Some(email) = email else {
        let sql = select!("WHERE account = ? ORDER BY created_at, id");
        return db.listed(sql, [account.as_bytes()], page, |row| checked(db, row));
    };
    let sql = select!("WHERE account = ? AND email_key = ? AND email = ?");
    let asked_for = params![account.as_bytes(), without_case(email), email.as_str()];
    let mut listed = db.listed(sql, asked_for, page, |row| checked(db, row))?;
    listed.damaged.pop().map_or(Ok(listed), Err)
}

pub(super) fn count(db: &Db<'_>, account: AccountId, email: Option<&Email>) -> Result<u64, StoreError> {
    let read = |row: &Row<'_>| Ok(row.get::<_, i64>(0)?.cast_unsigned());
    let counted = match email {
        Some(email) => db.first(
            "SELECT count(*) FROM seat WHERE account = ? AND email_key = ? AND email = ?",
            params![account.as_bytes(), without_case(email), email.as_str()],
            read,
        ),
        None => db.first("SELECT count(*) FROM seat WHERE account = ?", [account.as_bytes()], read),
    };
    Ok(counted?.unwrap_or(0))
}

pub(super) fn change(tx: &Tx<'_>, seat: &Seat, entry: &AuditEntry) -> Result<Changed, StoreError> {
    if one(tx, seat.account, &SeatName::Id(seat.id))?.is_none() {
        return Ok(Changed::NotThere);
    }
    refuse_taken(tx, seat)?;
    let profile = &seat.profile;
    tx.change_one(
        TABLE,
        "UPDATE seat SET created_at = ?, email = ?, email_key = ?, first_name = ?, last_name = ?, \
         forwarding_number = ?, auth_subject = ?, codes_per_hour = ?, mac = ? WHERE id = ?",
        params![
            seat.created_at.micros(),
            profile.email.as_str(),
            without_case(&profile.email),
            profile.first_name.as_ref().map(ShownText::as_str),
            profile.last_name.as_ref().map(ShownText::as_str),
            profile.forwarding_number.as_ref().map(PhoneNumber::as_str),
            profile.auth_subject.as_ref().map(AuthSubject::as_str),
            profile.codes_per_hour,
            mac_of(tx.keyring(), seat),
            seat.id.as_bytes(),
        ],
    )?;
    tx.append(entry)?;
    Ok(Changed::Yes)
}

/// Removes a seat, what was counted for it, and the power of the keys bound to it.
pub(super) fn remove(tx: &Tx<'_>, account: AccountId, id: SeatId, entry: &AuditEntry) -> Result<bool, StoreError> {
    let removed = tx.execute("DELETE FROM seat WHERE account = ? AND id = ?", [account.as_bytes(), id.as_bytes()])?;
    if removed == 0 {
        return Ok(false);
    }
    keys::revoke_of_seat(tx, account, id, entry.at)?;
    uses::forget(tx, Holder::Seat(id))?;
    tx.scrub();
    tx.append(entry)?;
    Ok(true)
}

/// Checks every row.
pub(super) fn examine(db: &Db<'_>) -> Result<Vec<StoreError>, StoreError> {
    db.all(select!(""), [], |row| Ok(examined(db, row).err())).map(|found| found.into_iter().flatten().collect())
}

/// The address without case authorises nothing and is not under the keyed hash, but a seat with a wrong one is not found.
fn examined(db: &Db<'_>, row: &Row<'_>) -> Result<(), StoreError> {
    let seat = checked(db, row)?;
    if row.get::<_, String>(10).is_ok_and(|key| key == without_case(&seat.profile.email)) {
        return Ok(());
    }
    Err(of_record(damaged(TABLE, "it is not found by its e-mail address"), TABLE, row, 0))
}

/// Says in words whose name is taken, which a constraint of the schema does not.
fn refuse_taken(tx: &Tx<'_>, seat: &Seat) -> Result<(), StoreError> {
    let taken = tx.first(
        "SELECT 1 FROM seat WHERE account = ? AND email_key = ? AND id <> ?",
        params![seat.account.as_bytes(), without_case(&seat.profile.email), seat.id.as_bytes()],
        |_| Ok(()),
    )?;
    if taken.is_some() {
        return Err(StoreError::Exists("a seat with this e-mail address"));
    }
    let Some(subject) = &seat.profile.auth_subject else { return Ok(()) };
    let taken = tx.first(
        "SELECT 1 FROM seat WHERE account = ? AND auth_subject = ? AND id <> ?",
        params![seat.account.as_bytes(), subject.as_str(), seat.id.as_bytes()],
        |_| Ok(()),
    )?;
    if taken.is_some() { Err(StoreError::Exists("a seat with this auth_subject")) } else { Ok(()) }
}

fn without_case(email: &Email) -> String {
    email.as_str().to_lowercase()
}

fn mac_of(keyring: &Keyring, seat: &Seat) -> Mac {
    let text = |text: Option<&str>| text.unwrap_or_default().as_bytes().to_vec();
    let profile = &seat.profile;
    keyring.row_mac(
        TABLE,
        &[
            seat.id.as_bytes(),
            seat.account.as_bytes(),
            &seat.created_at.micros().to_be_bytes(),
            profile.email.as_str().as_bytes(),
            &text(profile.first_name.as_ref().map(ShownText::as_str)),
            &text(profile.last_name.as_ref().map(ShownText::as_str)),
            &text(profile.forwarding_number.as_ref().map(PhoneNumber::as_str)),
            &text(profile.auth_subject.as_ref().map(AuthSubject::as_str)),
            Field::number(profile.codes_per_hour.map(i64::from)).bytes(),
        ],
    )
}

fn checked(db: &Db<'_>, row: &Row<'_>) -> Result<Seat, StoreError> {
    read(db, row).map_err(|error| of_record(error, TABLE, row, 0))
}

fn read(db: &Db<'_>, row: &Row<'_>) -> Result<Seat, StoreError> {
    let seat = Seat {
        id: SeatId::new(uuid::Uuid::from_bytes(row.get(0)?)),
        account: AccountId::new(uuid::Uuid::from_bytes(row.get(1)?)),
        created_at: Timestamp::from_micros(row.get(2)?),
        profile: SeatProfile {
            email: Email::kept(row.get(3)?),
            first_name: row.get::<_, Option<String>>(4)?.map(ShownText::kept),
            last_name: row.get::<_, Option<String>>(5)?.map(ShownText::kept),
            forwarding_number: row.get::<_, Option<String>>(6)?.map(PhoneNumber::kept),
            auth_subject: row.get::<_, Option<String>>(7)?.map(AuthSubject::kept),
            codes_per_hour: row.get(8)?,
        },
    };
    let mac: Mac = row.get(9)?;
    if mac_of(db.keyring(), &seat).ct_eq(&mac).into() { Ok(seat) } else { Err(tampered(TABLE)) }
}
