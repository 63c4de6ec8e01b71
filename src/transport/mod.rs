//! Protocols: bytes to a use case, its answer to bytes.
//!
//! Never: a decision about who may do what, a store, a key, or the clock. `wire` holds the shapes that all of them share.

pub mod cli;
pub mod http;
pub mod mcp;
mod owner;
mod pace;
pub mod wire;
