//! In the place of this room in a build without the feature `otlp`: no collector can be used.

use crate::operations::Service;

/// Why nothing is sent.
#[derive(Debug, thiserror::Error)]
#[error("this build sends no traces: it was made without the feature `otlp`")]
pub struct Absent;

/// The export: there is never one.
pub enum Export {}

impl Export {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub const fn start(_: &Service, _: &str) -> Result<Self, Absent> {
        Err(Absent)
    }

    /// Sends what is left.
    pub const fn finish(self) {
        match self {}
    }
}
