//! The two ends of an audit chain: its base after pruning, and its head as of the last durable commit.

use serde::{Deserialize, Serialize};

use super::{Bytes, Stored, from_json, to_json};
use crate::{
    domain::audit::ChainHead,
    store::{Kind, Record},
};

/// The base of a chain: the last row that was pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vault) struct AuditBase(pub(in crate::vault) ChainHead);

/// The head of a chain: its last row as of the last durable commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vault) struct AuditHead(pub(in crate::vault) ChainHead);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    seq: u64,
    mac: Bytes,
}

fn body(head: &ChainHead) -> Vec<u8> {
    to_json(&Body { seq: head.seq, mac: Bytes::of(&head.mac) })
}

fn read(record: &Record) -> Option<ChainHead> {
    let body: Body = from_json(&record.body)?;
    let chain = u32::from_be_bytes(record.key.id.as_slice().try_into().ok()?);
    Some(ChainHead { chain, seq: body.seq, mac: body.mac.array()? })
}

impl Stored for AuditBase {
    const KIND: Kind = Kind::AuditBase;

    fn id(&self) -> Vec<u8> {
        self.0.chain.to_be_bytes().to_vec()
    }

    fn body(&self) -> Vec<u8> {
        body(&self.0)
    }

    fn read(record: &Record) -> Option<Self> {
        read(record).map(Self)
    }
}

impl Stored for AuditHead {
    const KIND: Kind = Kind::AuditHead;

    fn id(&self) -> Vec<u8> {
        self.0.chain.to_be_bytes().to_vec()
    }

    fn body(&self) -> Vec<u8> {
        body(&self.0)
    }

    fn read(record: &Record) -> Option<Self> {
        read(record).map(Self)
    }
}
