//! The parts of an export of Google Authenticator, which shows many secrets as several codes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::limits::GOOGLE_PARTS_MAX;

/// One part of an export of Google Authenticator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PassedPart")]
pub struct Part {
    /// The export's id, the same in all of its parts.
    pub id: u64,
    /// The part's number, from 0.
    pub index: u32,
    /// The number of parts.
    pub size: u32,
}

/// A part as the process that read the file passes it on, before it is checked.
#[derive(Deserialize)]
struct PassedPart {
    id: u64,
    index: u32,
    size: u32,
}

impl TryFrom<PassedPart> for Part {
    type Error = &'static str;

    fn try_from(PassedPart { id, index, size }: PassedPart) -> Result<Self, &'static str> {
        let fits = index < size && size <= GOOGLE_PARTS_MAX;
        if fits { Ok(Self { id, index, size }) } else { Err("no export has such a part") }
    }
}

/// The missing parts of exports of Google Authenticator, as people count them: `(2, 3)` is part 2 of 3.
pub fn missing_parts(parts: &[Part]) -> Vec<(u32, u32)> {
    let mut there: BTreeMap<(u64, u32), BTreeSet<u32>> = BTreeMap::new();
    for part in parts {
        there.entry((part.id, part.size.min(GOOGLE_PARTS_MAX))).or_default().insert(part.index);
    }
    let missing = there.iter().flat_map(|((_, size), there)| {
        (0..*size).filter(|index| !there.contains(index)).map(|index| (index + 1, *size))
    });
    missing.take(GOOGLE_PARTS_MAX as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_parts_are_bounded_whatever_a_part_claims() {
        let part = |index, size| Part { id: 1, index, size };
        assert_eq!(missing_parts(&[part(0, 3), part(0, 3)]), [(2, 3), (3, 3)]);
        assert!(missing_parts(&[part(0, 2_000_000)]).len() <= GOOGLE_PARTS_MAX as usize);
    }

    #[test]
    fn a_part_that_no_export_has_is_refused_when_it_is_passed_on() {
        let passed = |index: u32, size: u32| {
            serde_json::from_str::<Part>(&format!("{{\"id\":1,\"index\":{index},\"size\":{size}}}")).is_ok()
        };
        assert!(passed(0, 1) && passed(GOOGLE_PARTS_MAX - 1, GOOGLE_PARTS_MAX));
        for (index, size) in [(0, 0), (1, 1), (0, GOOGLE_PARTS_MAX + 1), (u32::MAX, u32::MAX)] {
            assert!(!passed(index, size), "{index} of {size}");
        }
    }
}
