//! All integration tests, in one binary.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that can't go on fails; the lint's own exception does not reach helper functions"
)]

mod architecture;
mod canary;
mod child;
mod cli;
#[cfg(target_os = "linux")]
mod confined;
#[cfg(unix)]
mod fleet;
#[cfg(target_os = "linux")]
mod guard;
mod http;
mod import;
mod kit;
mod mcp;
#[cfg(unix)]
mod operate;
mod operations;
mod postgres;
#[cfg(unix)]
mod readme;
#[cfg(target_os = "linux")]
mod seed_memory;
#[cfg(unix)]
mod sqlite;
mod store;
#[cfg(target_os = "linux")]
mod torture;
#[cfg(target_os = "linux")]
mod unit;
mod vault;
