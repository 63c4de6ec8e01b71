//! Replaces this room in a build without the feature `pictures`, which reads no pictures.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Why no code was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unread {
    /// This build can't read pictures.
    #[error(
        "this build reads no pictures: it was made without the feature `pictures`; type the key or the otpauth:// link"
    )]
    Absent,
}

/// Refuses every picture.
///
/// # Errors
/// Always [`Unread::Absent`].
pub const fn read(_: &[u8]) -> Result<Vec<Zeroizing<String>>, Unread> {
    Err(Unread::Absent)
}
