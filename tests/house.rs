//! The store's tests, while the rooms above it are rebuilt.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails; the lint's own exception does not reach helper functions"
)]

#[cfg(unix)]
#[path = "it/sqlite/mod.rs"]
mod sqlite;
#[path = "it/store/mod.rs"]
mod store;
#[path = "it/vault/mod.rs"]
mod vault;
