//! Binary files of `OpenPGP` programs (RFC 9580). They are recognised, so that the error can advise to decrypt them
//! first.

/// The packets that a message begins with: a session key for a public key, or for a passphrase.
const FOR_KEY: u8 = 1;
const FOR_PASSPHRASE: u8 = 3;
/// The kinds of other first packets.
const SIGNATURE: u8 = 2;
const ONE_PASS: u8 = 4;
const SECRET_KEY: u8 = 5;
const PUBLIC_KEY: u8 = 6;
const COMPRESSED: u8 = 8;
/// The packets that may follow them, besides others of their kind: encrypted data in three forms.
const BEHIND: [u8; 5] = [FOR_KEY, FOR_PASSPHRASE, 9, 18, 20];

/// The kind of an `OpenPGP` file.
pub(super) enum Kind {
    /// An encrypted message.
    Encrypted,
    /// A message that is signed, or only compressed.
    Signed,
    /// A key.
    Key,
}

/// The kind of a file. There is no mark: the first packet must be of its version, use an existing cipher, and be
/// followed by a packet that may stand there, as far as the file goes.
pub(super) fn kind(bytes: &[u8]) -> Option<Kind> {
    // The old form of a compressed packet that goes on to the file's end, and its algorithm.
    if matches!(bytes, [0xA3, 1..=3, ..]) {
        return Some(Kind::Signed);
    }
    if encrypted(bytes)? {
        return Some(Kind::Encrypted);
    }
    match packet(bytes)? {
        (COMPRESSED, _, [1..=3, ..]) | (ONE_PASS, 13, [3, ..]) | (SIGNATURE, 10.., [3..=6, 0..=1, ..]) => {
            Some(Kind::Signed)
        }
        (SECRET_KEY | PUBLIC_KEY, 10.., [3..=6, ..]) => Some(Kind::Key),
        _ => None,
    }
}

fn encrypted(bytes: &[u8]) -> Option<bool> {
    let (kind, length, body) = packet(bytes)?;
    let begins = match (kind, body) {
        (FOR_KEY, [3 | 6, ..]) => length > 10,
        // The sixth version has a count before its cipher.
        (FOR_PASSPHRASE, [4 | 5, cipher, ..] | [6, _, cipher, ..]) => length < 256 && (1..=13).contains(cipher),
        _ => false,
    };
    let follows = body.get(length..).is_none_or(|next| match next {
        [] => false,
        [first, ..] => kind_of(*first).is_some_and(|kind| BEHIND.contains(&kind)),
    });
    Some(begins && follows)
}

/// The kind of a packet, the length of its body, and the bytes after its head.
fn packet(bytes: &[u8]) -> Option<(u8, usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let kind = kind_of(*first)?;
    let is_new = first & 0x40 != 0;
    let (length, body) = match (is_new, first & 3, rest) {
        (true, _, [length @ 0..192, body @ ..]) | (false, 0, [length, body @ ..]) => (usize::from(*length), body),
        (true, _, [high @ 192..224, low, body @ ..]) => {
            ((usize::from(*high) - 192) * 256 + usize::from(*low) + 192, body)
        }
        (false, 1, [high, low, body @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), body),
        _ => return None,
    };
    Some((kind, length, body))
}

const fn kind_of(first: u8) -> Option<u8> {
    match first {
        0..0x80 => None,
        0x80..0xC0 => Some(first >> 2 & 0xF),
        _ => Some(first & 0x3F),
    }
}
