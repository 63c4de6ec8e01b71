//! Countersign: the authenticator app for AI agents.

pub mod clock;
pub mod domain;
pub mod keyring;
pub mod random;
pub mod service;
pub mod store;
pub mod transport;
