//! The use of a secret: read, decide, keep; and the codes of the last hour, counted by minute.

use rusqlite::params;

use super::{
    db::{Db, Tx},
    error::{damaged, of_record},
    memory::Known,
    secrets::{self, Kept},
};
use crate::{
    domain::{
        api_key::KeyId,
        hourly::{HourlyCount, MINUTES_COUNTED},
        ids::{SeatId, SecretId},
        time::Timestamp,
    },
    store::{Holder, InUse, SecretUse, StoreError},
};

const TABLE: &str = "code_count";

/// How a use went.
pub(super) struct Used {
    pub(super) found: bool,
    /// Until then, the same use would leave the state as it is.
    pub(super) repeats_until: Option<Timestamp>,
}

pub(super) fn run(tx: &Tx<'_>, request: &mut SecretUse) -> Result<Used, StoreError> {
    let Some(mut known) = known(tx, request)? else {
        return Ok(Used { found: false, repeats_until: None });
    };
    let minute = request.now.seconds().div_euclid(60);
    let mut counts = Vec::with_capacity(request.counted.len());
    for holder in &request.counted {
        counts.push(given_last_hour(tx, request.secret, *holder, minute)?);
    }
    let Kept { secret, state, .. } = &known.kept;
    let verdict = (request.decide)(InUse { secret, state, counts: &counts, terms: &known.terms });
    if let Some(state) = verdict.state {
        known.kept.state = state;
        secrets::put(tx, &known.kept)?;
        tx.sync();
    }
    if verdict.counted {
        for holder in &request.counted {
            count(tx, request.secret, *holder, minute)?;
        }
    }
    if let Some(entry) = &verdict.entry {
        tx.append(entry)?;
    }
    tx.remember(known);
    Ok(Used { found: true, repeats_until: verdict.repeats_until })
}

/// The live secret that is used: remembered, or read.
fn known(tx: &Tx<'_>, request: &SecretUse) -> Result<Option<Box<Known>>, StoreError> {
    match tx.recall(request.secret).filter(|known| known.kept.secret.account == request.account) {
        Some(known) => Ok(Some(known)),
        None => Ok(secrets::live(tx, request.account, request.secret)?.map(|kept| Box::new(kept.into()))),
    }
}

/// Codes given in this minute and the 60 before it: never less than in the last hour. Minutes to come count too, for a
/// clock that ran ahead, but not those beyond an hour, for one that is right again.
fn given_last_hour(tx: &Tx<'_>, secret: SecretId, holder: Holder, minute: i64) -> Result<HourlyCount, StoreError> {
    let sql =
        "SELECT minute, n FROM code_count WHERE secret = ? AND holder = ? AND minute BETWEEN ? AND ? ORDER BY minute";
    let hour = params![secret.as_bytes(), bytes(holder), minute - MINUTES_COUNTED, minute + MINUTES_COUNTED];
    Ok(HourlyCount::of(tx.all(sql, hour, |row| Ok((row.get(0)?, row.get(1)?)))?))
}

fn count(tx: &Tx<'_>, secret: SecretId, holder: Holder, minute: i64) -> Result<(), StoreError> {
    let holder = bytes(holder);
    let old = "DELETE FROM code_count WHERE secret = ? AND holder = ? AND minute < ?";
    tx.execute(old, params![secret.as_bytes(), holder, minute - MINUTES_COUNTED])?;
    tx.change_one(
        TABLE,
        "INSERT INTO code_count (secret, holder, minute, n) VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
        params![secret.as_bytes(), holder, minute],
    )
}

/// Checks every count. Without a keyed hash, what was changed into something else that could have been written stays
/// unnoticed.
pub(super) fn examine(db: &Db<'_>) -> Result<Vec<StoreError>, StoreError> {
    let every = "SELECT code_count.secret, holder, code_count.n, secret.id IS NULL FROM code_count \
                 LEFT JOIN secret ON secret.id = code_count.secret";
    let found = db.all(every, [], |row| {
        let what = if row.get(3)? {
            "it counts codes of a secret that is not there"
        } else if !is_holder(&row.get::<_, Vec<u8>>(1)?) {
            "its holder is none that was ever written"
        } else if !row.get::<_, u32>(2).is_ok_and(|given| given > 0) {
            "its number is none that was ever written"
        } else {
            return Ok(None);
        };
        Ok(Some(of_record(damaged(TABLE, what), TABLE, row, 0)))
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Forgets what was counted for a holder that is no more.
pub(super) fn forget(tx: &Tx<'_>, holder: Holder) -> Result<(), StoreError> {
    tx.execute("DELETE FROM code_count WHERE holder = ?", [bytes(holder)])?;
    Ok(())
}

fn is_holder(bytes: &[u8]) -> bool {
    match bytes.split_first() {
        Some((b'k', key)) => std::str::from_utf8(key).is_ok_and(|key| key.parse::<KeyId>().is_ok()),
        Some((b's', seat)) => SeatId::from_slice(seat).is_ok(),
        _ => false,
    }
}

fn bytes(holder: Holder) -> Vec<u8> {
    match holder {
        Holder::Key(key) => [b"k", key.as_str().as_bytes()].concat(),
        Holder::Seat(seat) => [b"s".as_slice(), seat.as_bytes()].concat(),
    }
}
