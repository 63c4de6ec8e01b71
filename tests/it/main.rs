//! Everything that is tested from outside a file, in one binary.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails; the lint's own exception does not reach helper functions"
)]

mod architecture;
#[cfg(unix)]
mod fleet;
mod kit;
mod mcp;
mod service;
mod store;
mod store_kit;
