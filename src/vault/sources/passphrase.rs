//! A passphrase: Argon2id makes a slot's key from it. The cost is kept in the slot, and checked before any work, since
//! a header is read before it can be trusted.

use std::{collections::BTreeMap, sync::Arc};

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::KeyError;
use crate::{
    domain::{
        key_source::SourceKind,
        limits::{PASSPHRASE_BYTES_MAX, PASSPHRASE_CHARS_MIN},
    },
    random::Random,
    vault::{
        key::{Kek, Key},
        root::Slot,
    },
};

/// A passphrase as it was typed, in one form of its characters. No `Debug`.
pub struct Passphrase(Arc<Zeroizing<String>>);

/// The cost of a derivation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A derivation with a slot's parameters, within the limits.
struct Derivation {
    cost: Cost,
    salt: [u8; 16],
}

impl Cost {
    /// For new slots: RFC 9106's second recommendation (64 MiB, three passes), in one lane because one thread computes it.
    const NEW: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    /// Whether the cost is within the limits: 1 GiB, and 4 GiB over all passes, which take some seconds.
    const fn is_bearable(self) -> bool {
        const MEMORY_KIB_MAX: u32 = 1024 * 1024;
        const WORK_KIB_MAX: u64 = 4 * 1024 * 1024;
        const LANES_MAX: u32 = 16;
        let lanes = self.lanes >= 1 && self.lanes <= LANES_MAX;
        let memory = lanes && self.memory_kib >= 8 * self.lanes && self.memory_kib <= MEMORY_KIB_MAX;
        memory && self.passes >= 1 && self.memory_kib as u64 * self.passes as u64 <= WORK_KIB_MAX
    }
}

impl Derivation {
    /// Reads a slot's parameters.
    fn of(parameters: &BTreeMap<String, String>) -> Option<Self> {
        let number = |name: &str| parameters.get(name)?.parse().ok();
        let cost = Cost { memory_kib: number("memory_kib")?, passes: number("passes")?, lanes: number("lanes")? };
        let salt = BASE64.decode(parameters.get("salt")?.as_bytes()).ok()?.try_into().ok()?;
        let known = parameters.get("kdf").is_some_and(|kdf| kdf == "argon2id");
        (known && cost.is_bearable()).then_some(Self { cost, salt })
    }

    fn parameters(&self) -> BTreeMap<String, String> {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let numbers = [("memory_kib", memory_kib), ("passes", passes), ("lanes", lanes)];
        let texts = [("kdf", "argon2id".to_owned()), ("salt", BASE64.encode(&self.salt))];
        let numbers = numbers.map(|(name, number)| (name, number.to_string()));
        numbers.into_iter().chain(texts).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Derives the key. `None`: there is no memory for it.
    fn key(&self, passphrase: &str) -> Option<Kek> {
        let params = Params::new(self.cost.memory_kib, self.cost.passes, self.cost.lanes, Some(32)).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase.as_bytes(), &self.salt, key.as_mut_slice()).ok()?;
        Key::from_slice(key.as_slice()).map(Kek)
    }
}

impl Passphrase {
    /// Takes a passphrase as it was typed or read, without the end of its line.
    pub fn new(typed: &str) -> Self {
        let line = typed.strip_suffix('\n').unwrap_or(typed);
        let line = line.strip_suffix('\r').unwrap_or(line);
        // Room for every character that normalisation may add: a text that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(line.len() * 4));
        text.extend(line.nfc());
        Self(Arc::new(text))
    }

    /// Whether two passphrases are the same.
    pub fn is(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }

    /// The key that belongs to one of the slots. A slot that can't be read, such as one of a newer version, hides no other.
    pub(super) async fn key(&self, slots: &[Slot]) -> Result<Kek, KeyError> {
        let mine = slots.iter().filter(|slot| slot.source == SourceKind::Passphrase.as_str());
        let mut none = KeyError::Wrong;
        for slot in mine {
            let Some(derivation) = Derivation::of(&slot.parameters) else {
                none = KeyError::Slot;
                continue;
            };
            let kek = self.derive(derivation).await?;
            if kek.0.is_checked_by(&slot.check) {
                return Ok(kek);
            }
        }
        Err(none)
    }

    /// A key for a new slot, and the slot's parameters.
    pub(super) async fn new_key(&self, random: &dyn Random) -> Result<(Kek, BTreeMap<String, String>), KeyError> {
        if self.0.chars().count() < PASSPHRASE_CHARS_MIN {
            return Err(KeyError::Passphrase("must have at least 12 characters; five random words are a good one"));
        }
        if self.0.len() > PASSPHRASE_BYTES_MAX {
            return Err(KeyError::Passphrase("must have at most 1024 bytes"));
        }
        let mut salt = [0; 16];
        random.fill(&mut salt)?;
        let derivation = Derivation { cost: Cost::NEW, salt };
        let parameters = derivation.parameters();
        Ok((self.derive(derivation).await?, parameters))
    }

    /// Derives a key on a thread of its own: it takes a tenth of a second or more.
    async fn derive(&self, derivation: Derivation) -> Result<Kek, KeyError> {
        let passphrase = Arc::clone(&self.0);
        let derived = tokio::task::spawn_blocking(move || derivation.key(&passphrase)).await;
        derived.ok().flatten().ok_or(KeyError::Passphrase("needs more memory than there is"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[tokio::test]
    async fn a_slot_that_asks_for_more_than_the_limits_is_refused_before_any_work() {
        let slot = |memory_kib: &str, passes: &str, lanes: &str| Slot {
            number: 0,
            source: "passphrase".to_owned(),
            label: None,
            created_at: None,
            parameters: [
                ("kdf", "argon2id"),
                ("memory_kib", memory_kib),
                ("passes", passes),
                ("lanes", lanes),
                ("salt", "AAAAAAAAAAAAAAAAAAAAAA=="),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            root_epoch: 1,
            check: [0; 16],
            wrapped: Vec::new(),
        };
        let passphrase = Passphrase::new("correct horse battery staple");
        for (memory, passes, lanes) in [
            ("1048577", "1", "1"),
            ("4294967295", "4294967295", "16"),
            ("65536", "65", "1"),
            ("1048576", "5", "1"),
            ("7", "1", "1"),
            ("64", "1", "17"),
            ("8", "1", "2"),
            ("8", "0", "1"),
            ("8", "1", "0"),
            ("-8", "1", "1"),
            ("99999999999999999999", "1", "1"),
        ] {
            let refused = passphrase.key(&[slot(memory, passes, lanes)]).await.map(|_| ()).unwrap_err();
            assert!(matches!(refused, KeyError::Slot), "{memory} {passes} {lanes}: {refused}");
        }
        let other = Slot { parameters: [("kdf".to_owned(), "scrypt".to_owned())].into(), ..slot("8", "1", "1") };
        assert!(matches!(passphrase.key(&[other]).await, Err(KeyError::Slot)));
        // A slot that can't be read hides no other one.
        let derivation = Derivation { cost: Cost { memory_kib: 8, passes: 1, lanes: 1 }, salt: [1; 16] };
        let check = passphrase.derive(Derivation { ..derivation }).await.unwrap().0.check();
        let fits = Slot { parameters: derivation.parameters(), check, ..slot("8", "1", "1") };
        for slots in [[slot("7", "1", "1"), fits.clone()], [fits, slot("7", "1", "1")]] {
            assert!(passphrase.key(&slots).await.is_ok());
        }
        assert!(matches!(passphrase.key(&[slot("8", "1", "1")]).await, Err(KeyError::Wrong)), "within the limits");
    }

    #[test]
    fn the_costs_of_new_slots_are_written_and_read_back_and_never_change_their_form() {
        let derivation = Derivation { cost: Cost::NEW, salt: [1; 16] };
        let parameters = derivation.parameters();
        let read = Derivation::of(&parameters).unwrap();
        assert_eq!((read.cost, read.salt), (Cost::NEW, [1; 16]));
        let words: Vec<String> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected = ["kdf=argon2id", "lanes=1", "memory_kib=65536", "passes=3", "salt=AQEBAQEBAQEBAQEBAQEBAQ=="];
        assert_eq!(words, expected);
    }

    /// The key that the reference implementation computes, with a salt of sixteen bytes of value 1.
    #[test]
    fn the_key_of_a_passphrase_never_changes() {
        let derivation = Derivation { cost: Cost { memory_kib: 64, passes: 1, lanes: 1 }, salt: [1; 16] };
        let key = derivation.key("correct horse battery staple").unwrap();
        let expected = "3ccb3b73e92a7efb44f10ee3fcd2443a4d4d6c2976ffc255023366aa555a4f48";
        assert_eq!(data_encoding::HEXLOWER.encode(key.0.expose()), expected);
    }

    #[tokio::test]
    async fn a_new_passphrase_has_twelve_characters_and_its_form_of_characters_does_not_matter() {
        for short in ["", "eleven char", "\u{e9}\u{e9}\u{e9}"] {
            let refused = Passphrase::new(short).new_key(&SystemRandom).await.map(|_| ()).unwrap_err();
            assert!(refused.to_string().contains("at least 12 characters"), "{refused}");
        }
        for (length, is_taken) in [(12, true), (1024, true), (1025, false)] {
            let made = Passphrase::new(&"x".repeat(length)).new_key(&SystemRandom).await;
            assert_eq!(made.is_ok(), is_taken, "{length}");
        }
        let (composed, apart) = (
            Passphrase::new("caf\u{e9} caf\u{e9} caf\u{e9}\r\n"),
            Passphrase::new("cafe\u{301} cafe\u{301} cafe\u{301}"),
        );
        assert!(composed.is(&apart) && !composed.is(&Passphrase::new("cafe cafe cafe")));
    }
}
