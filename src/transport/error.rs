//! The format of errors, the same for every transport.

use schemars::JsonSchema;
use serde::Serialize;

use crate::operations::{ErrorCode, Refusal};

/// An error, as REST bodies and MCP tool results carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ErrorBody {
    /// Always `ERROR`.
    pub status: &'static str,
    /// The stable word.
    pub error: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
    /// Seconds after which it is worth another try, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    pub retry_after: Option<u64>,
    /// With `unavailable`: `none` if nothing was changed, `unknown` if something may have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = ["none", "unknown"]))]
    pub outcome: Option<&'static str>,
}

impl ErrorBody {
    /// An error that is not an operation's refusal.
    pub fn of(code: ErrorCode, message: String, retry_after: Option<u64>) -> Self {
        let outcome = (code == ErrorCode::Unavailable).then_some("none");
        Self { status: "ERROR", error: code.as_str(), message, retry_after, outcome }
    }
}

impl From<&Refusal> for ErrorBody {
    fn from(refusal: &Refusal) -> Self {
        let body = Self::of(refusal.code(), refusal.to_string(), refusal.retry_after());
        if *refusal == Refusal::OutcomeUnknown { Self { outcome: Some("unknown"), ..body } } else { body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unavailable_says_whether_anything_may_have_changed() {
        for (refusal, outcome) in [
            (Refusal::Unavailable { obstacle: None }, Some("none")),
            (Refusal::Stopping, Some("none")),
            (Refusal::Clock, Some("none")),
            (Refusal::ClockApart { seconds: 5, ahead: true }, Some("none")),
            (Refusal::OutcomeUnknown, Some("unknown")),
            (Refusal::Contended, None),
            (Refusal::NotFound("secret"), None),
        ] {
            assert_eq!(ErrorBody::from(&refusal).outcome, outcome, "{refusal}");
        }
    }
}
