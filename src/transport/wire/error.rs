//! The one form of an error, whatever the transport.

use schemars::JsonSchema;
use serde::Serialize;

use crate::service::Refusal;

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
}

impl From<&Refusal> for ErrorBody {
    fn from(refusal: &Refusal) -> Self {
        Self {
            status: "ERROR",
            error: refusal.code().as_str(),
            message: refusal.to_string(),
            retry_after: refusal.retry_after(),
        }
    }
}
