//! API keys: `cs_<id>_<secret>`. The plain key exists once, in the answer to its creation; the vault keeps a keyed
//! hash.

use std::{fmt, str::FromStr};

use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{
    ids::{AccountId, NotAnId, SeatId, SecretId},
    scope::ScopeSet,
    text::Name,
    time::Timestamp,
};

/// The prefix of every key, so that secret scanners can find a leaked one.
const PREFIX: &str = "cs_";
/// Characters of a key's id.
const ID_CHARS: usize = 12;
/// Characters of a key's secret before its checksum: 43 of base62 hold 256 bits.
const RANDOM_CHARS: usize = 43;
/// Characters of the checksum: a CRC-32 in base62.
const CHECK_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The public half of a key: 12 characters of base62. It identifies the key and authorises nothing by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; ID_CHARS]);

/// A whole key as its holder has it. Wiped on drop; no `Debug`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PlainKey {
    #[zeroize(skip)]
    id: KeyId,
    secret: String,
}

/// The stored form of a key: `HMAC-SHA256(pepper, token)`.
#[derive(Clone)]
pub struct HashedKey(pub [u8; 32]);

/// The rights of a key. All of them are under the record's MAC, which detects changes made without the vault's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRights {
    /// The account it acts in.
    pub account: AccountId,
    /// Its scopes in the account.
    pub scopes: ScopeSet,
    /// The seat it is bound to.
    pub seat: Option<SeatId>,
    /// The only secrets that are visible to it; `None` for all secrets of the account.
    pub secrets: Option<Vec<SecretId>>,
    /// The most codes it may get in an hour, per secret.
    pub codes_per_hour: Option<u32>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

/// A key's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public half.
    pub id: KeyId,
    /// Its name, for people.
    pub name: Name,
    /// Its rights.
    pub rights: KeyRights,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The time since which it is disabled, until a person enables it: an older copy of the vault was accepted, in
    /// which its revocation may be missing.
    pub off_since: Option<Timestamp>,
}

impl KeyId {
    /// The characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for KeyId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let bytes: [u8; ID_CHARS] = text.as_bytes().try_into().map_err(|_| NotAnId)?;
        if bytes.iter().all(u8::is_ascii_alphanumeric) { Ok(Self(bytes)) } else { Err(NotAnId) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Compares in constant time: this comparison authenticates callers.
impl PartialEq for HashedKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for HashedKey {}

impl fmt::Debug for HashedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedKey")
    }
}

impl PlainKey {
    /// Makes a key from random bytes: 12 for the id, 32 for the secret.
    pub fn from_random(id: &[u8; ID_CHARS], secret: &Zeroizing<[u8; 32]>) -> Self {
        let mut id_chars = [0_u8; ID_CHARS];
        for (to, from) in id_chars.iter_mut().zip(id) {
            *to = digit(u32::from(*from) % 62);
        }
        let id = KeyId(id_chars);
        let mut text = base62_of(secret);
        let check = checksum(PREFIX, id, &text);
        text.push_str(&check);
        Self { id, secret: text }
    }

    /// Reads `cs_<id>_<secret>`. A wrong form or checksum is refused before anything is looked up.
    ///
    /// # Errors
    /// [`NotAnId`], which holds nothing of the text.
    pub fn from_token(token: &str) -> Result<Self, NotAnId> {
        let rest = token.strip_prefix(PREFIX).ok_or(NotAnId)?;
        let (id, secret) = rest.split_once('_').ok_or(NotAnId)?;
        Self::from_pair(id, secret)
    }

    /// Reads a key from the mirrored API's header pair.
    ///
    /// # Errors
    /// [`NotAnId`], which holds nothing of the text.
    pub fn from_pair(id: &str, secret: &str) -> Result<Self, NotAnId> {
        let id: KeyId = id.parse()?;
        if is_whole(PREFIX, id, secret) { Ok(Self { id, secret: secret.to_owned() }) } else { Err(NotAnId) }
    }

    /// The public half.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The half that authorises: `key_secret`.
    pub fn expose_secret(&self) -> &str {
        &self.secret
    }

    /// The whole token, which a `Bearer` header carries and which is hashed.
    pub fn expose_token(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PREFIX}{}_{}", self.id, self.secret))
    }
}

/// Bytes as 43 digits of base62, least significant first. Nothing decodes the number, so the digits are not reversed.
pub(super) fn base62_of(bytes: &[u8; 32]) -> String {
    let mut number = Zeroizing::new(*bytes);
    let mut digits = String::with_capacity(RANDOM_CHARS + CHECK_CHARS);
    for _ in 0..RANDOM_CHARS {
        let mut rest = 0_u32;
        for byte in number.iter_mut() {
            let value = (rest << 8) | u32::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        digits.push(char::from(digit(rest)));
    }
    digits
}

/// Whether a secret half has the right form and checksum.
pub(super) fn is_whole(prefix: &str, id: KeyId, secret: &str) -> bool {
    let formed = secret.len() == RANDOM_CHARS + CHECK_CHARS && secret.bytes().all(|b| b.is_ascii_alphanumeric());
    formed.then(|| secret.split_at(RANDOM_CHARS)).is_some_and(|(random, check)| checksum(prefix, id, random) == check)
}

pub(super) fn checksum(prefix: &str, id: KeyId, random: &str) -> String {
    let mut crc = crc32fast::Hasher::new();
    crc.update(prefix.as_bytes());
    crc.update(id.as_str().as_bytes());
    crc.update(b"_");
    crc.update(random.as_bytes());
    let mut value = crc.finalize();
    let mut check = String::with_capacity(CHECK_CHARS);
    for _ in 0..CHECK_CHARS {
        check.push(char::from(digit(value % 62)));
        value /= 62;
    }
    check
}

fn digit(value: u32) -> u8 {
    usize::try_from(value).ok().and_then(|value| BASE62.get(value)).copied().unwrap_or(b'0')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A fixed key, whose token must never change: existing keys have this form.
    const TOKEN: &str = "cs_0129AZaz0167_dNY3HDtZO7J5Q3pkPl8lVNOeMK51KPKAItMAJMT7P00fCmv92";

    fn fixed() -> PlainKey {
        let secret = Zeroizing::new(std::array::from_fn(|nth| u8::try_from(nth * 7).unwrap()));
        PlainKey::from_random(&[0, 1, 2, 9, 10, 35, 36, 61, 62, 63, 254, 255], &secret)
    }

    #[track_caller]
    fn check(token: &str, expected: bool) {
        let read = PlainKey::from_token(token).map(|key| key.expose_token());
        assert_eq!(read.is_ok(), expected, "{token}");
        if let Ok(read) = read {
            assert_eq!(*read, token);
        }
    }

    #[test]
    fn a_token_has_the_form_that_scanners_look_for() {
        assert_eq!(*fixed().expose_token(), TOKEN);
        check(TOKEN, true);
    }

    #[test]
    fn a_token_is_its_pair() {
        let key = fixed();
        let pair = PlainKey::from_pair(key.id().as_str(), key.expose_secret()).map(|key| key.expose_token());
        assert_eq!(pair.as_deref().map(String::as_str), Ok(TOKEN));
    }

    #[test]
    fn a_token_with_any_character_changed_or_cut_is_refused() {
        for at in 0..TOKEN.len() {
            check(&TOKEN[..at], false);
            check(&TOKEN[at + 1..], false);
            for other in ["0", "z", "_", "é"] {
                if !TOKEN[at..].starts_with(other) {
                    check(&format!("{}{other}{}", &TOKEN[..at], &TOKEN[at + 1..]), false);
                }
            }
        }
        for other in
            ["", "cs_", "cs__", "CS_", &format!("{TOKEN}0"), &format!(" {TOKEN}"), &TOKEN.replace("cs_", "sk_")]
        {
            check(other, false);
        }
    }

    #[test]
    fn the_whole_range_of_random_bytes_makes_keys() {
        for byte in [0, 1, 127, 255] {
            let key = PlainKey::from_random(&[byte; ID_CHARS], &Zeroizing::new([byte; 32]));
            check(&key.expose_token(), true);
        }
        let digits = [[0; 32], [255; 32]].map(|bytes| base62_of(&bytes));
        assert_eq!(digits[0], "0".repeat(RANDOM_CHARS));
        assert_ne!(digits[1].chars().last(), Some('0'), "43 digits are needed and enough");
    }

    #[test]
    fn key_ids_are_twelve_letters_and_digits() {
        assert!("0123456789Az".parse::<KeyId>().is_ok());
        for text in ["", "0123456789A", "0123456789Azz", "0123456789A_", "0123456789é"] {
            assert_eq!(text.parse::<KeyId>(), Err(NotAnId), "{text}");
        }
    }

    #[test]
    fn hashes_are_equal_only_if_they_are_the_same() {
        let hash = HashedKey([1; 32]);
        let mut other = hash.clone();
        assert!(hash == other);
        other.0[31] ^= 1;
        assert!(hash != other);
        assert_eq!(format!("{hash:?}"), "HashedKey");
    }

    proptest! {
        #[test]
        fn every_token_is_read_back(id: [u8; ID_CHARS], secret: [u8; 32]) {
            let key = PlainKey::from_random(&id, &Zeroizing::new(secret));
            let read = PlainKey::from_token(&key.expose_token()).unwrap();
            prop_assert_eq!(read.id(), key.id());
            prop_assert_eq!(read.expose_secret(), key.expose_secret());
            prop_assert_eq!(key.id().to_string().parse(), Ok(key.id()));
        }

        #[test]
        fn different_secrets_are_different_tokens(one: [u8; 32], other: [u8; 32]) {
            prop_assert_eq!(base62_of(&one) == base62_of(&other), one == other);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = PlainKey::from_token(&text);
            let _ = PlainKey::from_token(&["cs_", &text].concat());
            let _ = PlainKey::from_pair("0123456789ab", &text);
        }
    }
}
