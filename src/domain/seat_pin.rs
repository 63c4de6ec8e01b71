//! The PIN of a seat, by which the seat's person proves their identity on a page. It opens nothing else.

use super::{
    ids::{AccountId, SeatId},
    limits::{PIN_CHARS_MAX, PIN_CHARS_MIN},
    time::Timestamp,
    verification::VerifyMarks,
};

/// The stored form of a PIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatPin {
    /// The seat whose person knows it.
    pub seat: SeatId,
    /// The seat's account.
    pub account: AccountId,
    /// The cost of its slow hash.
    pub cost: PinCost,
    /// Random, and new for every PIN.
    pub salt: [u8; 16],
    /// A keyed hash of the slow hash of the PIN: without the vault's key, PINs can't be tried on it.
    pub hash: [u8; 32],
    /// Wrong tries in a row, over all enrolments, and the delay that they cause.
    pub tries: VerifyMarks,
    /// When it was set.
    pub set_at: Timestamp,
}

/// The cost of the slow hash of a PIN (Argon2id, one lane).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinCost {
    memory_kib: u32,
    passes: u32,
}

impl PinCost {
    /// The cost of new PINs: OWASP's recommendation of 2024, about 30 ms on a server.
    pub const NEW: Self = Self { memory_kib: 19 * 1024, passes: 2 };
    /// The highest accepted cost: a record with a higher one is damaged.
    const MOST: Self = Self { memory_kib: 64 * 1024, passes: 8 };

    /// Makes a cost; `None` if it is outside the bounds.
    pub const fn new(memory_kib: u32, passes: u32) -> Option<Self> {
        let least = memory_kib >= 8 && passes >= 1;
        let most = memory_kib <= Self::MOST.memory_kib && passes <= Self::MOST.passes;
        if least && most { Some(Self { memory_kib, passes }) } else { None }
    }

    /// KiB of memory.
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    pub const fn passes(self) -> u32 {
        self.passes
    }
}

/// Why a text is not a PIN. The error holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// Too few characters, too many, or others than letters and digits.
    #[error("must be {PIN_CHARS_MIN} to {PIN_CHARS_MAX} digits or letters")]
    Form,
    /// One of the first PINs that an attacker would try.
    #[error("must not be the same character again and again, nor digits in their order")]
    Easy,
}

/// Checks a PIN that a person chose.
///
/// # Errors
/// [`PinError`].
pub fn check_pin(pin: &str) -> Result<(), PinError> {
    let count = pin.chars().count();
    if !(PIN_CHARS_MIN..=PIN_CHARS_MAX).contains(&count) || !pin.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(PinError::Form);
    }
    let steps = || pin.bytes().zip(pin.bytes().skip(1)).map(|(one, next)| i16::from(next) - i16::from(one));
    let is_run = [0, 1, -1].iter().any(|step| steps().all(|other| other == *step));
    if is_run { Err(PinError::Easy) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_has_six_digits_and_is_no_run() {
        for good in ["492039", "112233", "correcthorse9", &"a1".repeat(32)] {
            assert_eq!(check_pin(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", PinError::Form),
            ("49203", PinError::Form),
            ("4920 39", PinError::Form),
            (&"a1b".repeat(22), PinError::Form),
            ("000000", PinError::Easy),
            ("123456", PinError::Easy),
            ("987654", PinError::Easy),
        ] {
            assert_eq!(check_pin(bad), Err(why), "{bad}");
        }
    }

    #[test]
    fn no_record_makes_a_process_spend_more_than_the_bound() {
        assert_eq!(PinCost::new(19 * 1024, 2), Some(PinCost::NEW));
        for (memory, passes) in [(64 * 1024 + 1, 1), (8, 9), (7, 1), (8, 0), (u32::MAX, u32::MAX)] {
            assert_eq!(PinCost::new(memory, passes), None);
        }
    }
}
