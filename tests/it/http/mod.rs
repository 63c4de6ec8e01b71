//! HTTP from outside: a server on its own port, and requests as bytes.

mod arguments;
mod attacks;
mod door;
mod enrol;
pub(crate) mod enrol_local;
mod enrol_pictures;
mod enrol_refused;
mod health;
mod hooks;
pub(crate) mod kit;
mod malformed;
pub(crate) mod matrix;
mod mcp;
mod oauth;
pub(crate) mod refusals;
mod rest;
mod rights;
mod sessions;
mod sign_in;
mod sse;
mod table;
mod tls;
mod tokens;
mod ways_in;
