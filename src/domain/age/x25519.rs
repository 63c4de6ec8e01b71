//! Recipients' keys: X25519 by the library that is TLS's provider, and the text form of a public key.

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use zeroize::Zeroizing;

/// The text of the error for a text that is not a recipient's key.
pub(super) const WANTED: &str = "must be a public key of age, such as `age-keygen` prints: age1…";
/// The prefix of a recipient.
const PREFIX: &str = "age";

/// Reads a public key from its text.
pub(super) fn key_of(text: &str) -> Option<[u8; 32]> {
    let (prefix, key) = bech32::decode(text).ok()?;
    key.try_into().ok().filter(|_| prefix.to_lowercase() == PREFIX)
}

/// Returns the public share of a secret key, and the secret that is agreed on with a recipient's public key. `None` for
/// a point of low order, whose agreed secret is public knowledge.
pub(super) fn agreed(secret: &[u8; 32], theirs: &[u8; 32]) -> Option<([u8; 32], Zeroizing<[u8; 32]>)> {
    let ours = PrivateKey::from_private_key(&X25519, secret).ok()?;
    let share = ours.compute_public_key().ok()?.as_ref().try_into().ok()?;
    let made = agree(&ours, UnparsedPublicKey::new(&X25519, theirs), (), |made| {
        made.try_into().map(Zeroizing::new).map_err(drop)
    });
    Some((share, made.ok()?))
}
