//! Stands in for HTTP in a build without the feature `serve`: nothing listens, so an enrolment has no page.

use std::future::{Ready, ready};

use async_trait::async_trait;

use crate::{
    domain::{
        enrolment::ProofWanted,
        ids::{AccountId, EnrolmentId},
    },
    operations::{EnrolmentPage, Refusal, Service},
};

/// A page that is never served.
#[derive(Clone, Default)]
pub struct LocalPage(());

impl LocalPage {
    /// Does nothing, since nothing is served.
    pub fn end(self) -> Ready<()> {
        ready(())
    }
}

#[async_trait]
impl EnrolmentPage for LocalPage {
    fn proof(&self) -> ProofWanted {
        ProofWanted::Machine
    }

    fn signs_in(&self) -> bool {
        false
    }

    fn provider(&self) -> Option<AccountId> {
        None
    }

    async fn serve(&self, _: &Service, _: EnrolmentId) -> Result<String, Refusal> {
        Err(Refusal::NoPage)
    }
}

/// The error of a server that does not start; a build without the feature `serve` has no server, so this type has no value.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {}
