//! Stands in for this room in a build without the feature `otlp`: no collector can be used.

use crate::operations::Service;

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
#[error("this build sends no traces: it was made without the feature `otlp`")]
pub struct Absent;

/// The export, which never exists.
pub enum Export {}

impl Export {
    /// Refuses to start.
    ///
    /// # Errors
    /// Always.
    pub const fn start(_: &Service, _: &str) -> Result<Self, Absent> {
        Err(Absent)
    }

    /// Sends the remaining traces and metrics.
    pub const fn finish(self) {
        match self {}
    }
}
