//! Short ids: the random ends of ids, as long as needed to be unique in a list.

use std::collections::HashSet;

use uuid::Uuid;

/// The fewest characters of a short id: fewer would soon be ambiguous.
const SHORT_CHARS_MIN: usize = 4;
/// Characters of a whole id without its hyphens.
const ID_CHARS: usize = 32;

/// Unique ends of ids. Ids begin with the time; their end is random.
pub(super) struct ShortIds(usize);

impl ShortIds {
    /// Short ids as long as needed to distinguish these ids.
    pub(super) fn of(ids: &[Uuid]) -> Self {
        let distinct = |chars: usize| {
            // A character of an id has four bits.
            let end = u128::MAX >> (128 - 4 * chars.min(ID_CHARS));
            let ends: HashSet<u128> = ids.iter().map(|id| id.as_u128() & end).collect();
            ends.len() == ids.len()
        };
        Self((SHORT_CHARS_MIN..ID_CHARS).find(|chars| distinct(*chars)).unwrap_or(ID_CHARS))
    }

    pub(super) fn short(&self, id: Uuid) -> String {
        end_of(id, self.0)
    }
}

pub(super) fn end_of(id: Uuid, chars: usize) -> String {
    let whole = id.simple().to_string();
    whole.get(whole.len().saturating_sub(chars)..).unwrap_or_default().to_owned()
}

/// A short id without hyphens, if the text can be one.
fn as_short_id(text: &str) -> Option<String> {
    let end: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let fits = (SHORT_CHARS_MIN..=ID_CHARS).contains(&end.len()) && end.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then_some(end)
}

pub(super) fn may_be_short_id(text: &str) -> bool {
    as_short_id(text).is_some()
}

pub(super) fn ends_with(id: Uuid, end: &str) -> bool {
    as_short_id(end).is_some_and(|end| id.simple().to_string().ends_with(&end))
}
