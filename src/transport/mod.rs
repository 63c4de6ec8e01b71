//! Protocols: bytes to a use case, its answer to bytes.
//!
//! Never: a decision about who may do what, a store, a key, or the clock. What is asked and answered is declared with each
//! operation.

pub mod cli;
mod error;
pub mod http;
mod json;
pub mod mcp;
mod owner;
mod pace;

pub use error::ErrorBody;
