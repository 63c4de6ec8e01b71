//! Replaces this module in a build without the feature `browser`, which can't reach a browser.

#[cfg_attr(not(feature = "browser"), expect(dead_code, reason = "nothing is found here"))]
mod outcomes;

use tokio::time::Instant;

pub use self::outcomes::{FieldQuery, NotFound, Typed, Untyped};
use crate::domain::{browser_address::BrowserAddress, totp::Code};

/// The browsers that codes may be typed in: none here.
#[derive(Debug)]
pub struct Browsers {
    is_empty: bool,
}

/// Whether a registrar sells names under this one: this build has no list of them, and types no codes.
pub const fn is_public_suffix(_: &str) -> bool {
    false
}

/// A field for a code. It has no values in this build.
#[derive(Debug)]
pub enum Field {}

impl Browsers {
    /// Browsers at these addresses.
    #[expect(clippy::needless_pass_by_value, reason = "as in the other build")]
    pub fn new(addresses: Vec<BrowserAddress>) -> Self {
        Self { is_empty: addresses.is_empty() }
    }

    /// Whether none is configured.
    pub const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Finds nothing.
    ///
    /// # Errors
    /// Always.
    #[expect(clippy::unused_async, reason = "as in the other build")]
    pub async fn find(&self, _: &FieldQuery<'_>) -> Result<Field, NotFound> {
        Err(NotFound::NoBrowser("this build reaches none: it was made without the feature `browser`".to_owned()))
    }
}

impl Field {
    /// The origin.
    pub const fn origin(&self) -> &str {
        match *self {}
    }

    /// Types nothing.
    ///
    /// # Errors
    /// None.
    #[expect(clippy::unused_async, reason = "as in the other build")]
    pub async fn type_in(&self, _: &Code, _: bool, _: Instant) -> Result<Typed, Untyped> {
        match *self {}
    }

    /// Leaves nothing.
    #[expect(clippy::unused_async, reason = "as in the other build")]
    pub async fn leave(&self) {
        match *self {}
    }
}
