//! Numbers as people type and read them.

use std::str::FromStr;

use zeroize::Zeroizing;

use super::Failure;
use crate::operations::{Refusal, Whole};

/// Parses a whole number. The operation checks its bounds.
///
/// # Errors
/// The text is not a whole number. The error does not quote it.
pub(super) fn whole<T: FromStr>(text: &str) -> Result<T, &'static str> {
    text.trim().parse().map_err(|_| "must be a whole number")
}

/// Checks a number against an operation's bounds. `field` is the operation's name for it.
///
/// # Errors
/// The number is out of bounds.
pub(super) fn within<const MIN: u32, const MAX: u32>(
    field: &'static str,
    number: Option<u32>,
) -> Result<Option<Whole<MIN, MAX>>, Failure> {
    let refused = || Refusal::invalid(field, format!("must be a whole number, {MIN} to {MAX}"));
    number.map(|number| Whole::new(number).ok_or_else(refused)).transpose().map_err(Failure::from)
}

/// A count with its noun: `1 secret`, `2 secrets`.
pub(super) fn counted(count: impl Into<u64>, noun: &str) -> String {
    match count.into() {
        1 => format!("1 {noun}"),
        many => format!("{many} {noun}s"),
    }
}

/// A size for people: `20 KiB`, rounded up.
pub(super) fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

/// [`counted`] for a length.
pub(super) fn counted_len(count: usize, noun: &str) -> String {
    counted(count as u64, noun)
}

/// The digits of a code as apps show them and people copy them: `123456`, `123 456`, `1234-5678`. `None`: not a code.
pub(super) fn code_digits(typed: &str) -> Option<Zeroizing<String>> {
    let groups: Vec<&str> = typed.trim().split([' ', '-']).collect();
    let digits = Zeroizing::new(groups.concat());
    let alike = groups.windows(2).all(|pair| matches!(pair, [one, other] if one.len() == other.len()));
    let whole = matches!(digits.len(), 6 | 8) && digits.bytes().all(|b| b.is_ascii_digit());
    (alike && whole).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noun_has_its_number() {
        assert_eq!([0_u64, 1, 2].map(|count| counted(count, "secret")), ["0 secrets", "1 secret", "2 secrets"]);
    }

    #[test]
    fn a_code_is_six_or_eight_digits_in_groups_alike() {
        for code in ["123456", " 123 456\n", "123-456", "12 34 56", "12345678", "1234 5678"] {
            assert!(code_digits(code).is_some(), "{code}");
        }
        for other in ["", "hello", "376821  15", "376821 15", "1234567", "12345", "１２３４５６", "123 4567", "12345a"]
        {
            assert!(code_digits(other).is_none(), "{other}");
        }
    }
}
