//! The mirrored REST API, and ours beside it: one file for each group of routes.
//!
//! Never: a permission (the service asks for it), or an error text that quotes what was sent.

pub(super) mod audit;
pub(super) mod codes;
pub(super) mod seats;
pub(super) mod secrets;
