//! An enrolment.

use serde::{Deserialize, Serialize};

use super::{Bytes, Stored, api_key::optional, from_json, to_json};
use crate::{
    domain::{
        enrolment::{Enrolment, EnrolmentState},
        ids::{AccountId, EnrolmentId, SeatId},
        text::ShownText,
        time::Timestamp,
    },
    store::{Kind, Record},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    caller: Bytes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seat: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    proof: Bytes,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    created_at: i64,
}

impl Stored for Enrolment {
    const KIND: Kind = Kind::Enrolment;

    fn id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn account(&self) -> Option<AccountId> {
        Some(self.account)
    }

    /// The expiry time, by which expired ones are found.
    fn sort(&self) -> i64 {
        self.expires_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        let (state, secret) = match self.state {
            EnrolmentState::Pending => ("pending", None),
            EnrolmentState::Stored(secret) => ("stored", Some(secret.to_string())),
            EnrolmentState::Declined => ("declined", None),
            EnrolmentState::Cancelled => ("cancelled", None),
        };
        to_json(&Body {
            caller: Bytes::of(&self.caller),
            seat: self.seat.as_ref().map(SeatId::to_string),
            label: self.label.as_ref().map(ShownText::to_string),
            proof: Bytes::of(&self.proof),
            state: state.to_owned(),
            secret,
            created_at: self.created_at.micros(),
        })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        let state = match (body.state.as_str(), optional(body.secret.as_ref()).ok()?) {
            ("pending", None) => EnrolmentState::Pending,
            ("stored", Some(secret)) => EnrolmentState::Stored(secret),
            ("declined", None) => EnrolmentState::Declined,
            ("cancelled", None) => EnrolmentState::Cancelled,
            _ => return None,
        };
        Some(Self {
            id: EnrolmentId::from_slice(&record.key.id).ok()?,
            account: record.account?,
            caller: body.caller.array()?,
            seat: optional(body.seat.as_ref()).ok()?,
            label: body.label.map(ShownText::kept),
            proof: body.proof.array()?,
            state,
            created_at: Timestamp::from_micros(body.created_at),
            expires_at: Timestamp::from_micros(record.sort),
        })
    }
}
