#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on must stop"
)]
//! Everything seen from outside the crate, in one binary.

mod store;
mod store_kit;
