//! What a reader of the trail asks for.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    input::whole,
    read::{Input as _, accepts},
};
use crate::{
    domain::{
        audit::{Action, AuditFilter},
        limits::{PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX},
        time::Timestamp,
    },
    service::Refusal,
};

/// Which rows of the trail.
#[derive(Default, Deserialize, JsonSchema)]
pub struct ListAuditInput {
    /// Rows for this seat: its id.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub seat_id: Option<String>,
    /// Rows on this secret: its id.
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "uuid"))]
    pub secret_id: Option<String>,
    /// Rows by or on this key: its id.
    #[serde(default)]
    #[schemars(with = "String", extend("pattern" = "^([0-9A-Za-z]{12})?$"))]
    pub key: Option<String>,
    /// Rows of this action.
    #[serde(default)]
    #[schemars(with = "String", extend("enum" = actions()))]
    pub action: Option<String>,
    /// Rows from this time on (RFC 3339).
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Option<String>,
    /// Rows before this time (RFC 3339).
    #[serde(default)]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: Option<String>,
    /// Rows to return at most.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u32", range(min = 0, max = 1000), extend("default" = 50))]
    pub limit: Option<i64>,
    /// Rows numbered above this one, oldest first: the last `seq` of a page leads to the next. Without it, the newest.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(with = "u64", range(min = 0))]
    pub after: Option<i64>,
}

accepts! {
    ListAuditInput {
        "seat_id": Optional Text "the UUID of a seat",
        "secret_id": Optional Text "the UUID of a secret",
        "key": Optional Text "the id of a key: 12 letters and digits",
        "action": Optional Text "the word for an action, such as code.get",
        "since": Optional Text "an RFC 3339 time",
        "until": Optional Text "an RFC 3339 time",
        "limit": Optional Whole "a whole number, 0 to 1000",
        "after": Optional Whole "the number of a row",
    }
}

impl ListAuditInput {
    /// What the use case takes.
    ///
    /// # Errors
    /// `invalid_argument`, which names the field and never quotes it.
    pub fn to_filter(&self) -> Result<AuditFilter, Refusal> {
        let limit = self.limit.map_or(Ok(PAGE_ROWS_DEFAULT), u32::try_from).ok().filter(|rows| *rows <= PAGE_ROWS_MAX);
        let after = self.after.map(u64::try_from).transpose().map_err(|_| wrong("after"))?;
        Ok(AuditFilter {
            account: None,
            seat: parsed("seat_id", self.seat_id.as_deref(), str::parse)?,
            secret: parsed("secret_id", self.secret_id.as_deref(), str::parse)?,
            secrets: None,
            key: parsed("key", self.key.as_deref(), str::parse)?,
            action: parsed("action", self.action.as_deref(), |word| Action::from_word(word).ok_or(()))?,
            since: parsed("since", self.since.as_deref(), str::parse::<Timestamp>)?,
            until: parsed("until", self.until.as_deref(), str::parse::<Timestamp>)?,
            after: after.unwrap_or_default(),
            limit: Some(limit.ok_or_else(|| wrong("limit"))?),
            newest: after.is_none(),
        })
    }
}

fn parsed<T, E>(
    field: &'static str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Refusal> {
    text.map(parse).transpose().map_err(|_| wrong(field))
}

fn wrong(field: &'static str) -> Refusal {
    let accepted = ListAuditInput::field(field).map_or("", |field| field.accepted);
    Refusal::invalid(field, format!("must be {accepted}"))
}

fn actions() -> Vec<&'static str> {
    Action::ALL.iter().map(|action| action.as_str()).collect()
}
