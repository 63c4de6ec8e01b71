//! Stands in for this room in a build without the feature `guard`, which has no proxy.

mod outcomes;

use std::{net::SocketAddr, path::PathBuf};

pub use self::outcomes::{Certificate, GuardError};
use crate::{domain::principal::Principal, operations::Service};

/// The guard. It has no values in this build.
#[derive(Debug)]
pub enum Guard {}

impl Guard {
    /// Fails: this build has no guard.
    ///
    /// # Errors
    /// Always.
    #[expect(clippy::unused_async, reason = "as in the other build")]
    pub async fn listen(_: Service, _: Principal, _: SocketAddr, _: &[PathBuf]) -> Result<Self, GuardError> {
        Err(GuardError::Absent)
    }

    /// Is never called: the guard has no values in this build.
    ///
    /// # Errors
    /// None.
    #[expect(clippy::unused_async, reason = "as in the other build")]
    pub async fn has_certificate(&self) -> Result<bool, GuardError> {
        match *self {}
    }

    /// The address that the guard listens on.
    pub const fn address(&self) -> SocketAddr {
        match *self {}
    }

    /// Is never called: the guard has no values in this build.
    #[expect(clippy::unused_async, reason = "as in the other build")]
    pub async fn serve(self, _: impl Future<Output = ()>) {
        match self {}
    }
}

/// Refuses: this build makes no certificates.
///
/// # Errors
/// Always.
pub async fn certificate(_: &Service, _: &Principal, _: bool) -> Result<Certificate, GuardError> {
    Err(GuardError::Absent)
}
