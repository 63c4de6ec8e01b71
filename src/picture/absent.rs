//! In the place of this room in a build without the feature `pictures`, which reads none.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Why no code was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unread {
    /// Nothing here can read one.
    #[error(
        "this build reads no pictures: it was made without the feature `pictures`; type the key or the otpauth:// link"
    )]
    Absent,
}

/// Reads nothing.
///
/// # Errors
/// Always.
pub const fn read(_: &[u8]) -> Result<Vec<Zeroizing<String>>, Unread> {
    Err(Unread::Absent)
}
