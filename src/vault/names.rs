//! Keyed hashes under which records are indexed without being opened: whole names, beginnings of words, and seeds. An
//! attacker who reads the store learns only which records of an account have words that begin alike or share a seed.

use super::keyring::Keyring;
use crate::domain::{
    ids::AccountId,
    name_query::{self, NameQuery},
    seed::Seed,
};

/// The lengths, in characters, of the beginnings of a word that are hashed. The shortest is short enough to type; a
/// query is looked up by the longest that it has, which leaves few candidates also where many names begin alike
/// (`user1`, `user2`).
const START_CHARS: [usize; 4] = [3, 5, 8, 13];

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

    /// The index entries of a secret's issuer and label: hashes of each word's beginnings.
    pub(super) fn word_hashes(&self, account: AccountId, name: &str) -> Vec<[u8; 8]> {
        let words = name_query::indexed_words(name);
        let starts = words.iter().flat_map(|word| START_CHARS.iter().filter_map(|chars| start_of(word, *chars)));
        let mut hashes: Vec<_> = starts.map(|start| self.start_hash(account, start)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    /// The index entries of secrets whose words begin like a query's, the longest beginning first; empty if the query is
    /// too short.
    pub(super) fn query_hashes(&self, account: AccountId, query: &NameQuery) -> Vec<[u8; 8]> {
        let longest = |word| START_CHARS.iter().rev().find_map(|chars| start_of(word, *chars));
        let mut starts: Vec<_> = query.plain_words().filter_map(longest).collect();
        starts.sort_by_key(|start| std::cmp::Reverse(start.chars().count()));
        starts.dedup();
        starts.into_iter().map(|start| self.start_hash(account, start)).collect()
    }

    fn start_hash(&self, account: AccountId, start: &str) -> [u8; 8] {
        self.short(&[b"countersign/v2/word/secret", account.as_bytes(), start.as_bytes()])
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

/// The first `chars` characters of a word, if it has that many.
fn start_of(word: &str, chars: usize) -> Option<&str> {
    let end = word.char_indices().map(|(at, _)| at).chain([word.len()]).nth(chars)?;
    word.get(..end)
}
