//! Replaces `x25519.rs` in a build without the feature `age`: no text is accepted as a recipient's key.

use zeroize::Zeroizing;

/// The text of the error for every recipient.
pub(super) const WANTED: &str =
    "can't be used by this build, which was made without the feature `age`; a passphrase needs no key";

pub(super) const fn key_of(_: &str) -> Option<[u8; 32]> {
    None
}

pub(super) const fn agreed(_: &[u8; 32], _: &[u8; 32]) -> Option<([u8; 32], Zeroizing<[u8; 32]>)> {
    None
}
