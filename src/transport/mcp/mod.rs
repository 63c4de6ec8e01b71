//! MCP: messages in and out, independent of stdio, Streamable HTTP and SSE, which only transport them.
//!
//! The tools are the operations of the table (`operations/mod.rs`). No answer contains rmcp's own argument errors (they
//! quote the arguments), or a label in prose.

mod elicitation;
mod greeting;
mod handler;
mod identity;
mod lines;
mod message;
mod patience;
mod prompts;
mod reader;
mod skill;
pub mod stdio;
mod tools;
mod unread;
mod unserved;

pub use handler::McpServer;
pub use tools::listed;

pub use crate::operations::Reveal;

#[cfg(feature = "serve")]
pub(in crate::transport) use self::{
    elicitation::refusal_in, greeting::flawed_greeting, handler::SessionEnd, unserved::is_served,
};

/// Parses a line from a fuzzer.
#[cfg(fuzzing)]
pub(in crate::transport) fn fuzz_line(bytes: &[u8]) {
    let _ = message::read_message(bytes);
}
