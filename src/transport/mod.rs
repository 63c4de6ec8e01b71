//! Protocols: they turn bytes into calls of operations, and answers into bytes.
//!
//! This module decides nothing about permissions, and has no store, key or clock. Each operation declares its own
//! arguments and answers.

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

/// Parses a line of standard input from a fuzzer.
#[cfg(fuzzing)]
pub fn fuzz_line(bytes: &[u8]) {
    mcp::fuzz_line(bytes);
}
