//! What a backend says about where a store is.

use crate::domain::time::Timestamp;

/// What an operator should know about where a store is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The time by the store's own clock, if it has one.
    pub now: Option<Timestamp>,
    /// One thing after the other.
    pub found: Vec<Circumstance>,
}

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstance {
    /// A word for it.
    pub name: &'static str,
    /// How it is.
    pub found: String,
    /// Why that is not as it should be, and what to do; `None`: it is.
    pub concern: Option<&'static str>,
}
