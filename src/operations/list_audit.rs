//! Lists audit rows, for people's tools.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Access, Api, ApiOperation, AuditAsk, AuditRows, Call, Count, Effect, Failed, Method, Operation, Spec, answers::OK,
};
use crate::domain::{
    api_key::KeyId,
    audit::{self, Action, AuditCursor, AuditFilter},
    ids::{SeatId, SecretId},
    limits::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX},
    scope::Scope,
    time::Timestamp,
};

/// Lists rows of the audit log of the caller's account, oldest first: the newest ones, those from a time on, or those after
/// a place.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct ListAudit {
    /// Rows for this seat.
    #[serde(default)]
    #[schemars(with = "SeatId")]
    pub seat_id: Option<SeatId>,
    /// Rows on this secret.
    #[serde(default)]
    #[schemars(with = "SecretId")]
    pub secret_id: Option<SecretId>,
    /// Rows by or on this key.
    #[serde(default)]
    #[schemars(with = "KeyId")]
    pub key: Option<KeyId>,
    /// Rows of this action.
    #[serde(default)]
    #[schemars(with = "Action")]
    pub action: Option<Action>,
    /// Rows from this time on, the oldest of them first.
    #[serde(default)]
    #[schemars(with = "Timestamp")]
    pub since: Option<Timestamp>,
    /// Rows before this time.
    #[serde(default)]
    #[schemars(with = "Timestamp")]
    pub until: Option<Timestamp>,
    /// Rows to return at most.
    #[serde(default)]
    #[schemars(with = "Count<PAGE_ROWS_MAX>", extend("default" = PAGE_ROWS_DEFAULT))]
    pub limit: Option<Count<PAGE_ROWS_MAX>>,
    /// Rows after this place: `next` of the answer before. Without it and without `since`, the newest rows.
    #[serde(default)]
    #[schemars(with = "AuditCursor")]
    pub after: Option<AuditCursor>,
}

/// Audit rows, and the place after them.
#[derive(Debug, Clone)]
pub struct AuditList {
    /// The rows, oldest first.
    pub rows: Vec<audit::AuditRow>,
    /// The place after the last row that was examined.
    pub next: AuditCursor,
}

/// Rows of the audit log, oldest first, as callers see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditListResponse {
    /// Where to go on: `after` takes it, now or when there are more rows.
    pub next: String,
    /// The rows.
    pub rows: Vec<AuditRow>,
    /// `OK`.
    pub status: &'static str,
}

/// A row of the audit log, as the command line exports it and REST answers it. The field names never change: what people
/// feed their own tools with must still read tomorrow's rows. What a row does not know is null. It holds no seed, code, URI, key, label or e-mail address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AuditRow {
    /// The chain that it is in: each node that writes has one of its own.
    pub chain: u32,
    /// Its number in the chain, from 1, without gaps.
    #[schemars(range(min = 1))]
    pub seq: u64,
    /// When: RFC 3339, UTC, milliseconds.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
    /// In which account (a UUID); null for callers who could not say who they are.
    pub account: Option<String>,
    /// Who: `cli`, `stdio`, `key`, `token` (made from a key), `oauth`, `page` (a person on the page of an enrolment), `system` or `unknown`.
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
    /// The call's place in the caller's trace, as W3C Trace Context writes it.
    pub traceparent: Option<String>,
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

impl Operation for ListAudit {
    const SPEC: Spec = Spec {
        name: "list_audit",
        access: Access::Scope(Scope::AuditRead),
        action: Action::Call,
        effect: Effect::Read,
    };
    type Output = AuditList;

    async fn run(self, call: &mut Call<'_>) -> Result<AuditList, Failed> {
        let Self { seat_id: seat, secret_id: secret, key, action, since, until, limit, after } = self;
        let filter = AuditFilter { account: None, seat, secret, secrets: None, key, action, since, until };
        let limit = limit.map_or(PAGE_ROWS_DEFAULT, Count::get);
        let page = AuditAsk { newest: after.is_none() && since.is_none(), limit, from: after.clone() };
        let AuditRows { mut rows, next } = call.audit_rows(filter, &page).await?;
        if page.newest {
            rows.reverse();
        }
        // The place that a page of the newest rows returns is before them.
        let next = next.filter(|_| !page.newest).unwrap_or_else(|| beyond(after.unwrap_or_default(), &rows));
        Ok(AuditList { rows, next })
    }
}

/// The place after these rows.
fn beyond(mut place: AuditCursor, rows: &[audit::AuditRow]) -> AuditCursor {
    for row in rows {
        match place.0.iter_mut().find(|(chain, _)| *chain == row.chain) {
            Some((_, seq)) => *seq = row.seq.max(*seq),
            None => place.0.push((row.chain, row.seq)),
        }
    }
    place
}

impl ApiOperation for ListAudit {
    const API: Api = Api {
        title: "Read the audit log",
        words: None,
        method: Method::Get,
        path: "/api/v2/audit",
        id: "listAudit",
        tag: "Audit",
        description: "Rows of the account's audit log that match every filter, oldest first: those after the place that \
                      `after` names, those from the time `since` on, or else the newest ones. `next` of the answer is \
                      `after` of the next page. To a key that is limited to given secrets or bound to a seat, other \
                      rows than those on its secrets and for its seat don't exist.",
        answer: "The rows.",
        waits: false,
        refusals: &[],
    };
    type Answer = AuditListResponse;
    type RestAnswer = AuditListResponse;
}

impl From<AuditList> for AuditListResponse {
    fn from(from: AuditList) -> Self {
        // A cursor without places would be empty text; `0` parses as one.
        let next = if from.next.0.is_empty() { "0".to_owned() } else { from.next.to_string() };
        Self { next, rows: from.rows.iter().map(AuditRow::from).collect(), status: OK }
    }
}

impl From<&audit::AuditRow> for AuditRow {
    fn from(row: &audit::AuditRow) -> Self {
        let entry = &row.entry;
        let (name, version) = (entry.client.name.as_str(), entry.client.version.as_str());
        let client = || ClaimedClient { name: name.to_owned(), version: version.to_owned(), claimed: true };
        Self {
            chain: row.chain,
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
            traceparent: entry.client.trace.map(|trace| trace.to_string()),
            client: (!name.is_empty() || !version.is_empty()).then(client),
            mac: data_encoding::HEXLOWER.encode(&row.mac),
        }
    }
}

fn actions() -> Vec<&'static str> {
    Action::ALL.iter().map(|action| action.as_str()).collect()
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
            client: Client { name: Claim::of("claude"), version: Claim::of("1.0"), trace: None },
            ..AuditEntry::by(
                Actor::Key("abcdefghijkl".parse().unwrap()),
                Action::CodeGet,
                Timestamp::from_seconds(1_770_000_000),
            )
        };
        let row = AuditRow::from(&audit::AuditRow { chain: 0, seq: 42, entry, mac: [0xAB; 32] });

        insta::assert_snapshot!(serde_json::to_string(&row).unwrap(), @r#"{"chain":0,"seq":42,"at":"2026-02-02T02:40:00.000Z","account":"01900000-0000-7000-8000-000000000001","actor":"key","key":"abcdefghijkl","seat_id":"01900000-0000-7000-8000-000000000001","action":"code.get","outcome":"ok","secret_id":"01900000-0000-7000-8000-000000000001","step":59000000,"purpose":"nightly backup","count":null,"traceparent":null,"client":{"name":"claude","version":"1.0","claimed":true},"mac":"abababababababababababababababababababababababababababababababab"}"#);
    }

    #[test]
    fn half_of_what_a_client_claims_is_shown_too() {
        let client = Client { name: Claim::of("claude"), ..Client::default() };
        let entry = AuditEntry { client, ..AuditEntry::by(Actor::Stdio, Action::Call, Timestamp::from_seconds(0)) };
        let row = AuditRow::from(&audit::AuditRow { chain: 0, seq: 1, entry, mac: [0; 32] });
        assert_eq!(row.client.map(|client| (client.name, client.version)), Some(("claude".to_owned(), String::new())));
    }

    #[test]
    fn the_schema_of_a_row_has_every_action_and_every_outcome() {
        let schema = serde_json::to_value(schemars::schema_for!(AuditRow)).unwrap();
        let words: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
        assert_eq!(schema["properties"]["action"]["enum"], serde_json::json!(words));
        let outcomes: Vec<_> = audit::Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
        assert_eq!(schema["properties"]["outcome"]["enum"], serde_json::json!(outcomes));
    }

    #[test]
    fn what_is_not_known_is_null() {
        let entry = AuditEntry::by(Actor::System, Action::AuditPrune, Timestamp::from_seconds(0));
        let row = AuditRow::from(&audit::AuditRow { chain: 0, seq: 1, entry, mac: [0; 32] });

        insta::assert_snapshot!(serde_json::to_string(&row).unwrap(), @r#"{"chain":0,"seq":1,"at":"1970-01-01T00:00:00.000Z","account":null,"actor":"system","key":null,"seat_id":null,"action":"trail.prune","outcome":"ok","secret_id":null,"step":null,"purpose":null,"count":null,"traceparent":null,"client":null,"mac":"0000000000000000000000000000000000000000000000000000000000000000"}"#);
    }
}
