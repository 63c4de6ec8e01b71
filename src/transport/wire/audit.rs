//! Rows of the trail, as the command line exports them and REST answers them. The field names never change: what people
//! feed their own tools with must still read tomorrow's rows.

use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::audit;

/// A row of the trail. What a row does not know is null. It holds no seed, code, URI, key, label or e-mail address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditRow {
    /// Its number, from 1, without gaps.
    #[schemars(range(min = 1))]
    pub seq: u64,
    /// When: RFC 3339, UTC, milliseconds.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// In which account (a UUID); null for callers who could not say who they are.
    pub account: Option<String>,
    /// Who: `cli`, `stdio`, `key`, `oauth`, `system` or `unknown`.
    pub actor: &'static str,
    /// The key that called, or the one that it is about.
    pub key: Option<String>,
    /// For which seat (a UUID).
    pub seat_id: Option<String>,
    /// What was done, or asked for.
    #[schemars(extend("enum" = actions()))]
    pub action: &'static str,
    /// `ok`, `wrong` for a code that was not right, or the error that the caller got.
    #[schemars(extend("enum" = outcomes()))]
    pub outcome: &'static str,
    /// On which secret (a UUID).
    pub secret_id: Option<String>,
    /// Which time step's code.
    pub step: Option<u64>,
    /// Why, as the caller claims.
    pub purpose: Option<String>,
    /// How many like it, for rows that count.
    pub count: Option<u64>,
    /// What the client says of itself.
    pub client: Option<ClaimedClient>,
    /// The keyed hash over this row and the one before it (hexadecimal).
    pub mac: String,
}

/// What a client says of itself. Nobody checked it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ClaimedClient {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Always true: a reminder.
    pub claimed: bool,
}

/// Rows of the trail, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditListResponse {
    /// The rows.
    pub rows: Vec<AuditRow>,
    /// `OK`.
    pub status: &'static str,
}

impl From<&audit::AuditRow> for AuditRow {
    fn from(row: &audit::AuditRow) -> Self {
        let entry = &row.entry;
        let (name, version) = (entry.client.name.as_str(), entry.client.version.as_str());
        let client = || ClaimedClient { name: name.to_owned(), version: version.to_owned(), claimed: true };
        Self {
            seq: row.seq,
            at: entry.at.to_string(),
            account: entry.account.map(|id| id.to_string()),
            actor: entry.actor.kind(),
            key: entry.actor.key().or(entry.key).map(|id| id.to_string()),
            seat_id: entry.seat.map(|id| id.to_string()),
            action: entry.action.as_str(),
            outcome: entry.outcome.as_str(),
            secret_id: entry.secret.map(|id| id.to_string()),
            step: entry.step.map(|step| step.0),
            purpose: entry.purpose.as_ref().map(ToString::to_string),
            count: entry.count,
            client: (!name.is_empty() || !version.is_empty()).then(client),
            mac: data_encoding::HEXLOWER.encode(&row.mac),
        }
    }
}

fn actions() -> Vec<&'static str> {
    audit::Action::ALL.iter().map(|action| action.as_str()).collect()
}

fn outcomes() -> Vec<&'static str> {
    audit::Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        audit::{Action, Actor, AuditEntry},
        principal::Client,
        text::{Claim, Purpose},
        time::Timestamp,
        totp::Step,
    };

    #[test]
    fn a_row_keeps_its_shape() {
        let id = "01900000-0000-7000-8000-000000000001";
        let entry = AuditEntry {
            account: Some(id.parse().unwrap()),
            seat: Some(id.parse().unwrap()),
            secret: Some(id.parse().unwrap()),
            step: Some(Step(59_000_000)),
            code_tag: Some([7; 16]),
            purpose: Some(Purpose::of("nightly backup").unwrap()),
            client: Client { name: Claim::of("claude"), version: Claim::of("1.0") },
            ..AuditEntry::by(
                Actor::Key("abcdefghijkl".parse().unwrap()),
                Action::CodeGet,
                Timestamp::from_seconds(1_770_000_000),
            )
        };
        let row = AuditRow::from(&audit::AuditRow { seq: 42, entry, mac: [0xAB; 32] });

        insta::assert_snapshot!(serde_json::to_string(&row).unwrap(), @r#"{"seq":42,"at":"2026-02-02T02:40:00.000Z","account":"01900000-0000-7000-8000-000000000001","actor":"key","key":"abcdefghijkl","seat_id":"01900000-0000-7000-8000-000000000001","action":"code.get","outcome":"ok","secret_id":"01900000-0000-7000-8000-000000000001","step":59000000,"purpose":"nightly backup","count":null,"client":{"name":"claude","version":"1.0","claimed":true},"mac":"abababababababababababababababababababababababababababababababab"}"#);
    }

    #[test]
    fn what_is_not_known_is_null() {
        let entry = AuditEntry::by(Actor::System, Action::TrailPrune, Timestamp::from_seconds(0));
        let row = AuditRow::from(&audit::AuditRow { seq: 1, entry, mac: [0; 32] });

        insta::assert_snapshot!(serde_json::to_string(&row).unwrap(), @r#"{"seq":1,"at":"1970-01-01T00:00:00.000Z","account":null,"actor":"system","key":null,"seat_id":null,"action":"trail.prune","outcome":"ok","secret_id":null,"step":null,"purpose":null,"count":null,"client":null,"mac":"0000000000000000000000000000000000000000000000000000000000000000"}"#);
    }
}
