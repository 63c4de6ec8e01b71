//! Protocols: they turn bytes into calls of operations, and answers into bytes.
//!
//! Never here: a decision about permissions, a store, a key, or the clock. Each operation declares its own arguments
//! and answers.

pub mod cli;
mod error;
#[cfg(feature = "serve")]
pub mod http;
#[cfg(not(feature = "serve"))]
#[path = "http/absent.rs"]
pub mod http;
mod json;
pub mod mcp;
mod owner;
mod pace;
mod qr;
mod trace;

pub use error::ErrorBody;

/// Reads a line of standard input as a fuzzer has it.
#[cfg(fuzzing)]
pub fn fuzz_line(bytes: &[u8]) {
    mcp::fuzz_line(bytes);
}
