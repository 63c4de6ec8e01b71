//! The records of the use of secrets and keys: marks of steps, codes of the last hour, a key's last use.

use serde::{Deserialize, Serialize};

use super::{Stored, api_key::key_id, from_json, to_json};
use crate::{
    domain::{
        api_key::KeyId,
        code_use::{HandedDecoy, Holder, UseState},
        hourly::HourlyCount,
        ids::{AccountId, ReservationId, SeatId, SecretId},
        steps::{Reservation, StepMarks},
        time::Timestamp,
        totp::Step,
        verification::VerifyMarks,
    },
    store::{Kind, Record},
};

/// The use state of one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::vault) struct UseRecord {
    pub(in crate::vault) secret: SecretId,
    pub(in crate::vault) account: AccountId,
    pub(in crate::vault) state: UseState,
}

/// The count of the codes of one secret that one holder was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::vault) struct CountRecord {
    pub(in crate::vault) secret: SecretId,
    pub(in crate::vault) account: AccountId,
    pub(in crate::vault) holder: Holder,
    pub(in crate::vault) count: HourlyCount,
}

/// When a key was last used, to the minute. Separate from the key's record, which authorises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vault) struct KeyUseRecord {
    pub(in crate::vault) key: KeyId,
    pub(in crate::vault) account: AccountId,
    pub(in crate::vault) last_used_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UseBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    given: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<(u64, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accepted: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    wrong: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    decoys: Vec<DecoyBody>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecoyBody {
    step: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seat: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    spent: bool,
}

impl DecoyBody {
    fn of(decoy: &HandedDecoy) -> Self {
        let HandedDecoy { step, key, seat, is_spent: spent } = *decoy;
        Self { step: step.0, key: key.map(|key| key.to_string()), seat: seat.map(|seat| seat.to_string()), spent }
    }

    fn read(self) -> Option<HandedDecoy> {
        let key = self.key.map(|key| key.parse()).transpose().ok()?;
        let seat = self.seat.map(|seat| seat.parse()).transpose().ok()?;
        Some(HandedDecoy { step: Step(self.step), key, seat, is_spent: self.spent })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Stored for UseRecord {
    const KIND: Kind = Kind::Use;

    fn id(&self) -> Vec<u8> {
        self.secret.as_bytes().to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn body(&self) -> Vec<u8> {
        let UseState { steps, verify, last_used_at, decoys } = &self.state;
        let StepMarks { given, taken, waiting } = steps;
        let VerifyMarks { accepted, wrong, held_until } = verify;
        to_json(&UseBody {
            given: given.map(|step| step.0),
            taken: taken.map(|step| step.0),
            waiting: waiting.iter().map(|held| (held.step.0, held.id.to_string())).collect(),
            accepted: accepted.map(|step| step.0),
            wrong: *wrong,
            held_until: held_until.map(Timestamp::micros),
            last_used_at: last_used_at.map(Timestamp::micros),
            decoys: decoys.iter().map(DecoyBody::of).collect(),
        })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: UseBody = from_json(&record.body)?;
        let held =
            |(step, id): &(u64, String)| Some(Reservation { step: Step(*step), id: id.parse::<ReservationId>().ok()? });
        let steps = StepMarks {
            given: body.given.map(Step),
            taken: body.taken.map(Step),
            waiting: body.waiting.iter().map(held).collect::<Option<_>>()?,
        };
        let verify = VerifyMarks {
            accepted: body.accepted.map(Step),
            wrong: body.wrong,
            held_until: body.held_until.map(Timestamp::from_micros),
        };
        let last_used_at = body.last_used_at.map(Timestamp::from_micros);
        let decoys = body.decoys.into_iter().map(DecoyBody::read).collect::<Option<_>>()?;
        Some(Self {
            secret: SecretId::from_slice(&record.key.id).ok()?,
            account: record.account?,
            state: UseState { steps, verify, last_used_at, decoys },
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CountBody {
    minutes: Vec<(i64, u32)>,
}

impl CountRecord {
    /// The record id for a secret and a holder.
    pub(in crate::vault) fn id_of(secret: SecretId, holder: Holder) -> Vec<u8> {
        match holder {
            Holder::Key(key) => [secret.as_bytes(), &b"k"[..], key.as_str().as_bytes()].concat(),
            Holder::Seat(seat) => [secret.as_bytes(), &b"s"[..], seat.as_bytes()].concat(),
        }
    }
}

impl Stored for CountRecord {
    const KIND: Kind = Kind::Count;

    fn id(&self) -> Vec<u8> {
        Self::id_of(self.secret, self.holder)
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    /// The last minute in which a code was given, by which outdated counts are found.
    fn sort(&self) -> i64 {
        let last = self.count.minutes().last().map_or(0, |(minute, _)| *minute);
        Timestamp::from_seconds(last.saturating_mul(60)).micros()
    }

    fn body(&self) -> Vec<u8> {
        to_json(&CountBody { minutes: self.count.minutes().to_vec() })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: CountBody = from_json(&record.body)?;
        let (secret, holder) = record.key.id.split_at_checked(16)?;
        let holder = match holder.split_first()? {
            (b'k', key) => Holder::Key(std::str::from_utf8(key).ok()?.parse().ok()?),
            (b's', seat) => Holder::Seat(SeatId::from_slice(seat).ok()?),
            _ => return None,
        };
        let secret = SecretId::from_slice(secret).ok()?;
        Some(Self { secret, account: record.account?, holder, count: HourlyCount::of(body.minutes) })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyUseBody {}

impl Stored for KeyUseRecord {
    const KIND: Kind = Kind::KeyUse;

    fn id(&self) -> Vec<u8> {
        self.key.as_str().as_bytes().to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn sort(&self) -> i64 {
        self.last_used_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        to_json(&KeyUseBody {})
    }

    fn read(record: &Record) -> Option<Self> {
        let KeyUseBody {} = from_json(&record.body)?;
        let last_used_at = Timestamp::from_micros(record.sort);
        Some(Self { key: key_id(record)?, account: record.account?, last_used_at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoys_never_change_their_form() {
        let nobody = HandedDecoy { step: Step(11), key: None, seat: None, is_spent: false };
        let seat = Some(SeatId::new(uuid::Uuid::from_u128(3)));
        let one = HandedDecoy { key: Some("0123456789AB".parse().unwrap()), seat, ..nobody };
        let decoys = [nobody, one, HandedDecoy { is_spent: true, ..nobody }];
        let text = to_json(&decoys.iter().map(DecoyBody::of).collect::<Vec<_>>());
        let form = r#"[{"step":11},{"step":11,"key":"0123456789AB","seat":"00000000-0000-0000-0000-000000000003"},{"step":11,"spent":true}]"#;
        assert_eq!(str::from_utf8(&text).unwrap(), form);
        let read: Vec<DecoyBody> = from_json(&text).unwrap();
        assert_eq!(read.into_iter().map(|decoy| decoy.read().unwrap()).collect::<Vec<_>>(), decoys);
    }
}
