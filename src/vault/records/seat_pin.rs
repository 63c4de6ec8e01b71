//! The record of a seat's PIN.

use serde::{Deserialize, Serialize};

use super::{Bytes, Stored, from_json, to_json};
use crate::{
    domain::{
        ids::{AccountId, SeatId},
        seat_pin::{PinCost, SeatPin},
        time::Timestamp,
        verification::VerifyMarks,
    },
    store::{Kind, Record},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    hash: Bytes,
    salt: Bytes,
    memory_kib: u32,
    passes: u32,
    wrong: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_until: Option<i64>,
}

impl Stored for SeatPin {
    const KIND: Kind = Kind::SeatPin;

    fn id(&self) -> Vec<u8> {
        self.seat.as_bytes().to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    fn sort(&self) -> i64 {
        self.set_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        to_json(&Body {
            hash: Bytes::of(&self.hash),
            salt: Bytes::of(&self.salt),
            memory_kib: self.cost.memory_kib(),
            passes: self.cost.passes(),
            wrong: self.tries.wrong,
            held_until: self.tries.held_until.map(Timestamp::micros),
        })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        let held_until = body.held_until.map(Timestamp::from_micros);
        Some(Self {
            seat: SeatId::from_slice(&record.key.id).ok()?,
            account: record.account?,
            cost: PinCost::new(body.memory_kib, body.passes)?,
            salt: body.salt.array()?,
            hash: body.hash.array()?,
            tries: VerifyMarks { accepted: None, wrong: body.wrong, held_until },
            set_at: Timestamp::from_micros(record.sort),
        })
    }
}
