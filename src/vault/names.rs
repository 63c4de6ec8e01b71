//! Keyed hashes under which records are indexed without being opened: whole names, beginnings of words, and seeds. An
//! attacker who reads the store learns only which records of an account have words that begin alike or share a seed.

use super::keyring::Keyring;
use crate::domain::{
    ids::AccountId,
    name_query::{self, NameQuery},
    seed::Seed,
};

/// Characters of a word in its hash: enough to leave few candidates, few enough to type.
const WORD_CHARS: usize = 3;

/// The kinds of whole names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    Account,
    SeatEmail,
    SeatSubject,
}

impl Named {
    const fn domain(self) -> &'static [u8] {
        match self {
            Self::Account => b"countersign/v2/name/account",
            Self::SeatEmail => b"countersign/v2/name/seat-email",
            Self::SeatSubject => b"countersign/v2/name/seat-subject",
        }
    }
}

impl Keyring {
    /// The index entry of a record's whole name.
    pub(super) fn name_hash(&self, named: Named, name: &str) -> [u8; 32] {
        self.find_mac(&[named.domain(), name.as_bytes()])
    }

    /// The index entries of a secret's issuer and label: a hash of each word's beginning.
    pub(super) fn word_hashes(&self, account: AccountId, name: &str) -> Vec<[u8; 8]> {
        self.hashes_of(account, name_query::indexed_words(name).iter().map(String::as_str))
    }

    /// The index entries of secrets whose words begin like a query's; empty if the query is too short.
    pub(super) fn query_hashes(&self, account: AccountId, query: &NameQuery) -> Vec<[u8; 8]> {
        self.hashes_of(account, query.plain_words().filter(|word| word.chars().count() >= WORD_CHARS))
    }

    fn hashes_of<'w>(&self, account: AccountId, words: impl Iterator<Item = &'w str>) -> Vec<[u8; 8]> {
        let starts = words.map(|word| word.chars().take(WORD_CHARS).collect::<String>());
        let hash = |start: String| self.short(&[b"countersign/v2/word/secret", account.as_bytes(), start.as_bytes()]);
        let mut hashes: Vec<_> = starts.map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// The index entry of a seed within an account.
    pub(super) fn seed_hash(&self, account: AccountId, seed: &Seed) -> [u8; 8] {
        self.short(&[b"countersign/v2/word/seed", account.as_bytes(), seed.expose()])
    }

    fn short(&self, fields: &[&[u8]]) -> [u8; 8] {
        let mac = self.find_mac(fields);
        std::array::from_fn(|nth| mac.get(nth).copied().unwrap_or_default())
    }
}
