//! Countersign: the authenticator app for AI agents.

fn main() {}
