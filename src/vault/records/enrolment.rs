//! The record of an enrolment.

use serde::{Deserialize, Serialize};

use super::{Stored, api_key::optional, from_json, to_json};
use crate::{
    domain::{
        audit::Actor,
        enrolment::{Asker, Enrolment, EnrolmentState, ProofWanted, Proposal},
        ids::{AccountId, EnrolmentId, SeatId},
        origin::Origin,
        principal::Client,
        text::{Claim, ShownText},
        time::Timestamp,
    },
    store::{Kind, Record},
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    client: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    client_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seat: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    origins: Vec<String>,
    proof: String,
    tries: u32,
    opened: bool,
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

    /// The expiry time, by which old ones are found.
    fn sort(&self) -> i64 {
        self.expires_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        let Asker { actor, seat: bound, client } = &self.asker;
        let Proposal { label, issuer, origins } = &self.proposal;
        let (state, secret) = match self.state {
            EnrolmentState::Pending => ("pending", None),
            EnrolmentState::Stored(secret) => ("stored", Some(secret.to_string())),
            EnrolmentState::Declined => ("declined", None),
            EnrolmentState::Cancelled => ("cancelled", None),
            EnrolmentState::Expired => ("expired", None),
        };
        to_json(&Body {
            actor: actor.kind().to_owned(),
            key: actor.key().map(|key| key.to_string()),
            bound: bound.as_ref().map(SeatId::to_string),
            client: client.name.as_str().to_owned(),
            client_version: client.version.as_str().to_owned(),
            seat: self.seat.as_ref().map(SeatId::to_string),
            label: label.as_ref().map(ShownText::to_string),
            issuer: issuer.as_ref().map(ShownText::to_string),
            origins: origins.iter().map(Origin::to_string).collect(),
            proof: self.proof.as_str().to_owned(),
            tries: self.tries,
            opened: self.opened,
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
            ("expired", None) => EnrolmentState::Expired,
            _ => return None,
        };
        let client = Client { name: Claim::kept(body.client), version: Claim::kept(body.client_version), trace: None };
        Some(Self {
            id: EnrolmentId::from_slice(&record.key.id).ok()?,
            account: record.account?,
            asker: Asker {
                actor: Actor::from_word(&body.actor, optional(body.key.as_ref()).ok()?)?,
                seat: optional(body.bound.as_ref()).ok()?,
                client,
            },
            seat: optional(body.seat.as_ref()).ok()?,
            proposal: Proposal {
                label: body.label.map(ShownText::kept),
                issuer: body.issuer.map(ShownText::kept),
                origins: body.origins.iter().map(|origin| origin.parse().ok()).collect::<Option<_>>()?,
            },
            proof: ProofWanted::from_word(&body.proof)?,
            tries: body.tries,
            opened: body.opened,
            state,
            created_at: Timestamp::from_micros(body.created_at),
            expires_at: Timestamp::from_micros(record.sort),
        })
    }
}
