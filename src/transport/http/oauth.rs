//! Access tokens of an identity provider: not taken yet.
#![expect(clippy::unused_self, clippy::unused_async, reason = "the form that tokens will be checked in")]

use crate::service::Offered;

/// An identity provider.
pub(super) struct OAuth;

impl OAuth {
    /// Where callers find out how to log in.
    pub(super) fn metadata(&self) -> String {
        String::new()
    }

    /// What an access token offers.
    pub(super) async fn offered(&self, _token: &str) -> Offered {
        Offered::Junk
    }
}
