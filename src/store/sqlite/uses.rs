//! The use of a secret: read, decide, keep; and the codes of the last hour, counted by minute.

use rusqlite::params;

use super::{
    db::Tx,
    memory::Known,
    secrets::{self, Kept},
};
use crate::{
    domain::{
        hourly::{HourlyCount, MINUTES_COUNTED},
        ids::{SeatId, SecretId},
        time::Timestamp,
    },
    store::{Holder, InUse, SecretUse, StoreError},
};

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
fn known(tx: &Tx<'_>, request: &SecretUse) -> Result<Option<Known>, StoreError> {
    match tx.recall(request.secret).filter(|known| known.kept.secret.account == request.account) {
        Some(known) => Ok(Some(known)),
        None => Ok(secrets::live(tx, request.account, request.secret)?.map(Known::from)),
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
    tx.execute(
        "INSERT INTO code_count (secret, holder, minute, n) VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
        params![secret.as_bytes(), holder, minute],
    )?;
    Ok(())
}

/// A seat as a holder of counts.
pub(super) fn holder_of_seat(seat: SeatId) -> Vec<u8> {
    bytes(Holder::Seat(seat))
}

fn bytes(holder: Holder) -> Vec<u8> {
    match holder {
        Holder::Key(key) => [b"k", key.as_str().as_bytes()].concat(),
        Holder::Seat(seat) => [b"s".as_slice(), seat.as_bytes()].concat(),
    }
}
