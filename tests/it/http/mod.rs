//! HTTP, from outside: a server on a port of its own, and requests as bytes.

mod arguments;
mod door;
mod health;
mod kit;
mod malformed;
mod matrix;
mod mcp;
mod oauth;
mod rest;
mod sessions;
mod sse;
mod tls;
