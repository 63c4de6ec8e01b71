//! The trail: rows in one chain, and its two ends under keyed hashes of their own.
//!
//! Whoever edits, deletes, inserts or reorders rows without the key breaks the chain; whoever cuts its tail leaves a head
//! that names a row which is gone. The head is only moved after a look at that row, so that later writes don't cover it up.

use rusqlite::{Row, Statement, params, params_from_iter, types::Value};
use subtle::ConstantTimeEq as _;

use super::{
    db::{Db, Tx},
    error::{damaged, one_changed, tampered},
};
use crate::{
    domain::{
        api_key::KeyId,
        audit::{Action, Actor, AuditEntry, AuditFilter, AuditRow, ChainHead, Outcome},
        ids::{AccountId, NotAnId, SeatId, SecretId},
        principal::Client,
        text::{Claim, Purpose},
        time::Timestamp,
        totp::Step,
    },
    keyring::{Keyring, Mac},
    store::StoreError,
};

const TABLE: &str = "the trail";
pub(super) const INSERT: &str = "INSERT INTO trail VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
const NOTHING: ChainHead = ChainHead { seq: 0, mac: [0; 32] };

/// An end of the chain.
#[derive(Clone, Copy)]
enum End {
    Base,
    Head,
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Head => "head",
        }
    }

    fn seal(self, keyring: &Keyring, at: ChainHead) -> Mac {
        keyring.row_mac("trail_end", &[self.word().as_bytes(), &at.seq.to_be_bytes(), &at.mac])
    }
}

/// Writes both ends of a new vault's chain.
pub(super) fn begin(tx: &Tx<'_>) -> Result<(), StoreError> {
    put_end(tx, End::Base, NOTHING)?;
    put_end(tx, End::Head, NOTHING)
}

/// The last row, or what the chain starts from.
pub(super) fn last(db: &Db<'_>) -> Result<ChainHead, StoreError> {
    let last = db.first("SELECT seq, mac FROM trail ORDER BY seq DESC LIMIT 1", [], read_head)?;
    match last {
        Some(last) => Ok(last),
        None => Ok(end(db, End::Base)?.unwrap_or(NOTHING)),
    }
}

/// Adds a row after another one, with the statement for that.
pub(super) fn append(
    db: &Db<'_>,
    insert: &mut Statement<'_>,
    last: ChainHead,
    entry: &AuditEntry,
) -> Result<ChainHead, StoreError> {
    let seq = last.seq.checked_add(1).ok_or_else(|| damaged(TABLE, "its numbers are used up"))?;
    let mac = db.keyring().trail_mac(&last.mac, &entry.canonical(seq));
    let added = insert.execute(params![
        seq.cast_signed(),
        entry.at.micros(),
        entry.account.as_ref().map(AccountId::as_bytes),
        entry.actor.kind(),
        entry.actor.key().as_ref().map(KeyId::as_str),
        entry.seat.as_ref().map(SeatId::as_bytes),
        entry.action.as_str(),
        entry.outcome.as_str(),
        entry.secret.as_ref().map(SecretId::as_bytes),
        entry.key.as_ref().map(KeyId::as_str),
        entry.step.map(|step| step.0.cast_signed()),
        entry.code_tag.as_ref(),
        entry.purpose.as_ref().map(Purpose::as_str),
        entry.count.map(u64::cast_signed),
        entry.client.name.as_str(),
        entry.client.version.as_str(),
        mac,
    ])?;
    one_changed(TABLE, added)?;
    Ok(ChainHead { seq, mac })
}

/// Moves the head to the last row, unless the row it names is not the one it was: then it stays, as evidence.
pub(super) fn move_head(tx: &Tx<'_>) -> Result<(), StoreError> {
    let last = tx.tail()?;
    let Some(head) = end(tx, End::Head)? else { return Ok(()) };
    if head != last && is_kept(tx, head)? {
        put_end(tx, End::Head, last)?;
    }
    Ok(())
}

/// Gives a commit something to write, so that there is something to sync.
pub(super) fn touch(tx: &Tx<'_>) -> Result<(), StoreError> {
    tx.execute("UPDATE trail_end SET synced = synced + 1 WHERE which = 'head'", [])?;
    Ok(())
}

/// Base and head, as the contract has them. A base whose own hash is wrong counts as none: the rows then do not begin
/// where a chain without a base begins, and verification says so.
pub(super) fn ends(db: &Db<'_>) -> Result<(ChainHead, Option<ChainHead>), StoreError> {
    Ok((end(db, End::Base)?.unwrap_or(NOTHING), end(db, End::Head)?))
}

/// Rows that match a filter, in order.
pub(super) fn select(db: &Db<'_>, filter: &AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
    let mut sql = "SELECT * FROM trail WHERE seq > ?".to_owned();
    let mut values = vec![Value::Integer(filter.after.cast_signed())];
    let blob = |bytes: &[u8; 16]| Value::Blob(bytes.to_vec());
    let text = |text: &str| Value::Text(text.to_owned());
    let mut conditions = vec![
        (" AND account = ?", filter.account.as_ref().map(|id| blob(id.as_bytes()))),
        (" AND seat = ?", filter.seat.as_ref().map(|id| blob(id.as_bytes()))),
        (" AND secret = ?", filter.secret.as_ref().map(|id| blob(id.as_bytes()))),
        (" AND action = ?", filter.action.map(|action| text(action.as_str()))),
        (" AND at >= ?", filter.since.map(|at| Value::Integer(at.micros()))),
        (" AND at < ?", filter.until.map(|at| Value::Integer(at.micros()))),
    ];
    if let Some(key) = &filter.key {
        conditions.push((" AND ? IN (actor_key, key)", Some(text(key.as_str()))));
    }
    for (condition, value) in conditions {
        if let Some(value) = value {
            sql.push_str(condition);
            values.push(value);
        }
    }
    if let Some(secrets) = &filter.secrets {
        sql.push_str(" AND secret IN (");
        sql.push_str(&vec!["?"; secrets.len()].join(","));
        sql.push(')');
        values.extend(secrets.iter().map(|id| blob(id.as_bytes())));
    }
    sql.push_str(if filter.newest { " ORDER BY seq DESC LIMIT ?" } else { " ORDER BY seq LIMIT ?" });
    // To SQLite a negative limit is none.
    values.push(Value::Integer(filter.limit.map_or(-1, i64::from)));
    let mut rows = db.all(&sql, params_from_iter(values), read_row)?;
    if filter.newest {
        rows.reverse();
    }
    Ok(rows)
}

/// Removes the oldest rows up to the first one that is not older than a time; the base moves to the last one removed.
/// A chain that is broken there is left alone: pruning must not remove what shows it.
pub(super) fn prune(tx: &Tx<'_>, before: Timestamp, mut entry: AuditEntry) -> Result<u64, StoreError> {
    let first_kept = tx.first("SELECT min(seq) FROM trail WHERE at >= ?", [before.micros()], |row| {
        Ok(row.get::<_, Option<i64>>(0)?.map(i64::cast_unsigned))
    })?;
    let upto = match first_kept.flatten() {
        Some(first) => first.saturating_sub(1),
        None => tx.tail()?.seq,
    };
    let base = end(tx, End::Base)?.ok_or_else(|| tampered(TABLE))?;
    if upto <= base.seq {
        return Ok(0);
    }
    let head = end(tx, End::Head)?.ok_or_else(|| tampered(TABLE))?;
    if !is_kept(tx, head)? {
        return Err(damaged(TABLE, "the row that its head names is gone or changed"));
    }
    // Without a sync it lags behind. Were its row removed, it could never be moved again, and nobody would see a tail cut.
    move_head(tx)?;
    let new_base = follow(tx, base, Some(upto))?;
    tx.execute("DELETE FROM trail WHERE seq <= ?", [upto.cast_signed()])?;
    put_end(tx, End::Base, new_base)?;
    let removed = new_base.seq.saturating_sub(base.seq);
    entry.count = Some(removed);
    // The chain goes on from the last row there was, which may be the new base itself.
    tx.append(&entry)?;
    tx.scrub();
    Ok(removed)
}

/// Follows the chain from a row to the one numbered `upto`, or to its end. The last row's place and hash, or what broke.
pub(super) fn follow(db: &Db<'_>, from: ChainHead, upto: Option<u64>) -> Result<ChainHead, StoreError> {
    let mut statement = db.statement("SELECT * FROM trail WHERE seq <= ? ORDER BY seq")?;
    let mut rows = statement.query([upto.map_or(i64::MAX, u64::cast_signed)])?;
    let mut at = from;
    while let Some(row) = rows.next()? {
        let row = read_row(row)?;
        let next = at.seq.saturating_add(1);
        let mac = db.keyring().trail_mac(&at.mac, &row.entry.canonical(next));
        let right: bool = mac.ct_eq(&row.mac).into();
        if row.seq != next || !right {
            return Err(damaged(TABLE, format!("the chain breaks at row {next}")));
        }
        at = ChainHead { seq: next, mac };
    }
    Ok(at)
}

/// Checks the whole chain and its ends.
pub(super) fn examine(db: &Db<'_>) -> Result<(), StoreError> {
    let base = end(db, End::Base)?.ok_or_else(|| damaged(TABLE, "its start was changed without the vault's key"))?;
    let head = end(db, End::Head)?.ok_or_else(|| damaged(TABLE, "its head was changed without the vault's key"))?;
    follow(db, base, None)?;
    if is_kept(db, head)? { Ok(()) } else { Err(damaged(TABLE, "the row that its head names is gone or changed")) }
}

/// Whether the row that an end names is there as it was.
fn is_kept(db: &Db<'_>, at: ChainHead) -> Result<bool, StoreError> {
    let kept =
        db.first("SELECT mac FROM trail WHERE seq = ?", [at.seq.cast_signed()], |row| Ok(row.get::<_, Mac>(0)?))?;
    match kept {
        Some(mac) => Ok(mac.ct_eq(&at.mac).into()),
        None => Ok(end(db, End::Base)? == Some(at)),
    }
}

/// An end of the chain, if its own hash is right.
fn end(db: &Db<'_>, which: End) -> Result<Option<ChainHead>, StoreError> {
    let kept = db.first("SELECT seq, mac, seal FROM trail_end WHERE which = ?", [which.word()], |row| {
        // A mangled seal is a wrong seal, not a reason to stop writing.
        Ok((read_head(row).ok(), row.get::<_, Mac>(2).unwrap_or_default()))
    })?;
    Ok(kept.and_then(|(at, seal)| at.filter(|at| which.seal(db.keyring(), *at).ct_eq(&seal).into())))
}

fn put_end(tx: &Tx<'_>, which: End, at: ChainHead) -> Result<(), StoreError> {
    tx.change_one(
        TABLE,
        "INSERT INTO trail_end (which, seq, mac, seal) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (which) DO UPDATE SET seq = ?2, mac = ?3, seal = ?4, synced = synced + 1",
        params![which.word(), at.seq.cast_signed(), at.mac, which.seal(tx.keyring(), at)],
    )
}

fn read_head(row: &Row<'_>) -> Result<ChainHead, StoreError> {
    Ok(ChainHead { seq: row.get::<_, i64>(0)?.cast_unsigned(), mac: row.get(1)? })
}

fn read_row(row: &Row<'_>) -> Result<AuditRow, StoreError> {
    let unread = |what: &str| damaged(TABLE, format!("its {what} is none that was ever written"));
    let id = |column: usize| row.get::<_, Option<[u8; 16]>>(column);
    let key = |column: usize| -> Result<_, StoreError> {
        let text: Option<String> = row.get(column)?;
        text.map(|text| text.parse()).transpose().map_err(|NotAnId| unread("key"))
    };
    let word = |column: usize| row.get::<_, String>(column);
    let uuid = uuid::Uuid::from_bytes;
    Ok(AuditRow {
        seq: row.get::<_, i64>(0)?.cast_unsigned(),
        entry: AuditEntry {
            at: Timestamp::from_micros(row.get(1)?),
            account: id(2)?.map(uuid).map(AccountId::new),
            actor: Actor::from_word(&word(3)?, key(4)?).ok_or_else(|| unread("actor"))?,
            seat: id(5)?.map(uuid).map(SeatId::new),
            action: Action::from_word(&word(6)?).ok_or_else(|| unread("action"))?,
            outcome: Outcome::from_word(&word(7)?).ok_or_else(|| unread("outcome"))?,
            secret: id(8)?.map(uuid).map(SecretId::new),
            key: key(9)?,
            step: row.get::<_, Option<i64>>(10)?.map(|step| Step(step.cast_unsigned())),
            code_tag: row.get(11)?,
            purpose: row.get::<_, Option<String>>(12)?.map(Purpose::kept),
            count: row.get::<_, Option<i64>>(13)?.map(i64::cast_unsigned),
            client: Client { name: Claim::kept(word(14)?), version: Claim::kept(word(15)?) },
        },
        mac: row.get(16)?,
    })
}
