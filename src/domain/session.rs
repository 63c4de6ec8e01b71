//! The state of the sessions of handshake clients that all nodes of a vault on a server share, so that any node can
//! serve a session.

use super::{
    audit::Actor,
    ids::{AccountId, SeatId},
    time::Timestamp,
};

/// The id of a node, which it makes when it starts.
pub type NodeId = [u8; 8];

/// The keyed hash of a session's id. The id itself, which opens the data sealed for the session, is not stored.
pub type SessionTag = [u8; 32];

/// The owner of a session: for any other caller it does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionOwner {
    /// The account in which it acts.
    pub account: AccountId,
    /// Its actor.
    pub actor: Actor,
    /// The seat to which it is bound.
    pub seat: Option<SeatId>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id's hash.
    pub tag: SessionTag,
    /// Its owner.
    pub owner: SessionOwner,
    /// The data that a node needs to serve it.
    pub carried: Carried,
    /// When it was last used, to the minute or so.
    pub used_at: Timestamp,
}

/// The way in which the messages of a session travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// Over Streamable HTTP: any node continues it, from its sealed greeting.
    Anywhere(Vec<u8>),
    /// Over HTTP+SSE: its stream is at this node, to which the other nodes send its messages.
    To(NodeId),
}

/// A message that reached another node than the one with its session's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The session.
    pub session: SessionTag,
    /// The letter's place in the order of its session's letters.
    pub nth: [u8; 16],
    /// The node with the stream.
    pub to: NodeId,
    /// The sealed message, with its sender.
    pub sealed: Vec<u8>,
    /// When it came.
    pub sent_at: Timestamp,
}
