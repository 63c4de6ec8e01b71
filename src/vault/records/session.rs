//! The records of a handshake client's session, and of a message on its way to the node with the session's stream.

use serde::{Deserialize, Serialize};

use super::{Bytes, Stored, api_key::optional, from_json, to_json};
use crate::{
    domain::{
        audit::Actor,
        ids::SeatId,
        session::{Carried, Letter, Session, SessionOwner},
        time::Timestamp,
    },
    store::{Finders, Kind, Record},
    vault::keyring::Keyring,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    account: String,
    actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seat: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    greeting: Option<Bytes>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<Bytes>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LetterBody {
    to: Bytes,
    sealed: Bytes,
}

/// A session belongs to no account in the store, because it ends by itself.
impl Stored for Session {
    const KIND: Kind = Kind::Session;

    fn id(&self) -> Vec<u8> {
        self.tag.to_vec()
    }

    /// The time of its last use, by which idle ones are found.
    fn sort(&self) -> i64 {
        self.used_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        let SessionOwner { account, actor, seat } = &self.owner;
        let (greeting, node) = match &self.carried {
            Carried::Anywhere(greeting) => (Some(Bytes::of(greeting)), None),
            Carried::To(node) => (None, Some(Bytes::of(node))),
        };
        to_json(&Body {
            account: account.to_string(),
            actor: actor.kind().to_owned(),
            key: actor.key().map(|key| key.to_string()),
            seat: seat.as_ref().map(SeatId::to_string),
            greeting,
            node,
        })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        let carried = match (body.greeting, body.node) {
            (Some(greeting), None) => Carried::Anywhere(greeting.0),
            (None, Some(node)) => Carried::To(node.array()?),
            _ => return None,
        };
        Some(Self {
            tag: record.key.id.as_slice().try_into().ok()?,
            owner: SessionOwner {
                account: body.account.parse().ok()?,
                actor: Actor::from_word(&body.actor, optional(body.key.as_ref()).ok()?)?,
                seat: optional(body.seat.as_ref()).ok()?,
            },
            carried,
            used_at: Timestamp::from_micros(record.sort),
        })
    }

    /// Only sessions over Streamable HTTP are counted over all nodes: a stream is a connection of its node, and is
    /// counted there.
    fn finders(&self, keyring: &Keyring) -> Finders {
        let words = match &self.carried {
            Carried::Anywhere(_) => vec![keyring.sessions_word(None), keyring.sessions_word(Some(&self.owner))],
            Carried::To(_) => Vec::new(),
        };
        sorted(words)
    }
}

impl Stored for Letter {
    const KIND: Kind = Kind::Letter;

    fn id(&self) -> Vec<u8> {
        [self.session.as_slice(), &self.nth].concat()
    }

    fn sort(&self) -> i64 {
        self.sent_at.micros()
    }

    fn body(&self) -> Vec<u8> {
        to_json(&LetterBody { to: Bytes::of(&self.to), sealed: Bytes::of(&self.sealed) })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: LetterBody = from_json(&record.body)?;
        let (session, nth) = record.key.id.split_at_checked(32)?;
        Some(Self {
            session: session.try_into().ok()?,
            nth: nth.try_into().ok()?,
            to: body.to.array()?,
            sealed: body.sealed.0,
            sent_at: Timestamp::from_micros(record.sort),
        })
    }

    fn finders(&self, keyring: &Keyring) -> Finders {
        sorted(vec![keyring.node_word(self.to), keyring.letters_word(&self.session)])
    }
}

fn sorted(mut words: Vec<[u8; 8]>) -> Finders {
    words.sort_unstable();
    Finders { names: Vec::new(), words }
}
