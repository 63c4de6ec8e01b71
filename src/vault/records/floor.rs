//! The time up to which all steps count as used: written when a person accepts an older copy of the vault.

use serde::{Deserialize, Serialize};

use super::{Stored, from_json, to_json};
use crate::{
    domain::time::Timestamp,
    store::{Kind, Record},
};

/// The record of the floor, the only one of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::vault) struct Floor {
    pub(in crate::vault) until: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    until: i64,
}

impl Stored for Floor {
    const KIND: Kind = Kind::Floor;

    fn id(&self) -> Vec<u8> {
        Vec::new()
    }

    fn body(&self) -> Vec<u8> {
        to_json(&Body { until: self.until.micros() })
    }

    fn read(record: &Record) -> Option<Self> {
        let body: Body = from_json(&record.body)?;
        Some(Self { until: Timestamp::from_micros(body.until) })
    }
}
