//! What all nodes of a vault on a server know of the sessions of handshake clients, so that any of them can serve one.

use super::{
    audit::Actor,
    ids::{AccountId, SeatId},
    time::Timestamp,
};

/// The id of a node, which it makes when it starts.
pub type NodeId = [u8; 8];

/// The keyed hash of a session's id. The id itself, which opens what is sealed for the session, is not stored.
pub type SessionTag = [u8; 32];

/// The owner of a session: for everybody else it does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionOwner {
    /// The account in which it acts.
    pub account: AccountId,
    /// Who it is.
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
    /// What a node needs to serve it.
    pub carried: Carried,
    /// When it was last used, to the minute or so.
    pub used_at: Timestamp,
}

/// How the messages of a session travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// Over Streamable HTTP: any node goes on with it, from its sealed greeting.
    Anywhere(Vec<u8>),
    /// Over HTTP+SSE: its stream is in this node, to which messages that come to others are sent.
    To(NodeId),
}

/// A message that came to another node than the one with its session's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The session.
    pub session: SessionTag,
    /// Orders the letters of a session.
    pub nth: [u8; 16],
    /// The node with the stream.
    pub to: NodeId,
    /// The sealed message, with its sender.
    pub sealed: Vec<u8>,
    /// When it came.
    pub sent_at: Timestamp,
}
