//! MCP: a message in, a message out, whatever carries them. stdio, Streamable HTTP and SSE only carry.
//!
//! The tools stand in one table (`tools.rs`); schemas are made from the wire types once, when a server is put together.
//! Never: rmcp's own argument errors (they quote what was sent), or a label in prose.

mod arguments;
mod greeting;
mod handler;
mod instructions;
mod lines;
mod message;
mod patience;
mod reader;
pub mod stdio;
mod tools;
mod traffic;
mod wiped;

pub(in crate::transport) use greeting::flawed_greeting;
pub(in crate::transport) use handler::SessionEnd;
pub use handler::{McpServer, Reveal};
pub use tools::{TOOLS, ToolSpec, listed};
