//! The shapes on the wire: the mirrored API's models, field for field, and ours beside them. MCP's schemas, the `OpenAPI`
//! document and every answer are made from these types alone.
//!
//! Never: a check beyond the type (the domain does those), or an error text that quotes what was sent.

mod audit;
mod error;
mod input;
mod json;
mod output;
mod read;
mod schema;
mod trail;

pub use audit::{AuditListResponse, AuditRow, ClaimedClient};
pub use error::ErrorBody;
pub use input::{
    GetCodeInput, GetSeatInput, ListSeatsInput, ListSecretsInput, RegisterInput, SeatCountInput, SecretIdInput,
    Sensitive, VerifyInput,
};
pub use json::{Json, message_depth_within_limit};
pub use output::{
    OK, Revealed, Seat, SeatCountResponse, SeatListResponse, SeatRetrieveResponse, SecretCreateResponse,
    SecretDeleteResponse, SecretListResponse, SecretPageResponse, TotpGetCodeResponse, TotpSecret, VerifyResponse,
};
pub use read::{Field, Input, Kind, Need, depth_within_limit, not_known, read_in};
pub use schema::{input_schema, output_schema};
pub use trail::ListAuditInput;
