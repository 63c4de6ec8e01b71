//! Replaces this backend in a build without the feature `postgres`: every address of a server is refused, so a value of
//! these types never exists.

#![expect(clippy::unused_async, reason = "as the backend has them")]

use std::path::Path;

use super::{Commit, Facts, OpenError, OpenRequest, Opened, SharedStore};

const ABSENT: OpenError =
    OpenError::Address("this build keeps vaults in files alone: it was made without the feature `postgres`");

/// A database without a vault.
#[derive(Debug)]
pub(super) enum Place {}

impl Place {
    pub(super) const fn location(&self) -> &Path {
        match *self {}
    }

    pub(super) async fn create(&self, _: &Commit) -> Result<(), OpenError> {
        match *self {}
    }
}

pub(super) async fn open(_: &OpenRequest) -> Result<Opened, OpenError> {
    Err(ABSENT)
}

pub(super) async fn still(_: &OpenRequest) -> Result<(SharedStore, Facts), OpenError> {
    Err(ABSENT)
}

pub(super) mod filling {
    use std::path::Path;

    use super::ABSENT;
    use crate::store::{AuditPut, Facts, Finders, OpenError, OpenRequest, Record, SharedStore};

    /// A vault that comes from elsewhere.
    pub(in crate::store) enum Filling {}

    impl Filling {
        pub(in crate::store) async fn vacant(_: &OpenRequest, _: String) -> Result<Self, OpenError> {
            Err(ABSENT)
        }

        pub(in crate::store) async fn unfinished(_: &OpenRequest, _: &str) -> Result<Option<Self>, OpenError> {
            Err(ABSENT)
        }

        pub(in crate::store) async fn replacing(_: &OpenRequest) -> Result<Self, OpenError> {
            Err(ABSENT)
        }

        pub(in crate::store) const fn location(&self) -> &Path {
            match *self {}
        }

        pub(in crate::store) async fn begin(&mut self) -> Result<(), OpenError> {
            match *self {}
        }

        pub(in crate::store) async fn add(&self, _: &[(Record, Finders)], _: &[AuditPut]) -> Result<(), OpenError> {
            match *self {}
        }

        pub(in crate::store) async fn store(&self) -> Result<(SharedStore, Facts), OpenError> {
            match *self {}
        }

        pub(in crate::store) async fn publish(self) -> Result<(), OpenError> {
            match self {}
        }

        pub(in crate::store) async fn abandon(self) {
            match self {}
        }
    }
}
