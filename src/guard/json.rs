//! Knows which digits are a number in JSON, whatever a request says about its kind: pages send JSON as plain text too.

/// The state after the bytes that were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Json {
    /// Nothing but digits and spaces, which libraries for `WebSockets` put before a message.
    #[default]
    Before,
    /// In an object or a list, outside of strings.
    Bare {
        /// Whether a value may begin here.
        begins: bool,
    },
    /// In a string.
    Quoted {
        /// Whether the next byte does not end it, whatever it is.
        escaped: bool,
    },
    /// It is not JSON.
    Other,
}

impl Json {
    /// The state after one more byte. Digits that stand alone do not change it.
    pub(super) const fn then(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Before | Self::Bare { .. }, b'0'..=b'9' | b' ' | b'\t' | b'\r' | b'\n') | (Self::Other, _) => self,
            (Self::Before, b'{' | b'[') | (Self::Bare { .. }, b':' | b',' | b'[') => Self::Bare { begins: true },
            (Self::Before, _) => Self::Other,
            (Self::Bare { .. }, b'"') => Self::Quoted { escaped: false },
            (Self::Bare { .. }, _) | (Self::Quoted { escaped: false }, b'"') => Self::Bare { begins: false },
            (Self::Quoted { escaped }, _) => Self::Quoted { escaped: !escaped && byte == b'\\' },
        }
    }

    /// Whether digits that follow are the begin of a number.
    pub(super) const fn begins_number(self) -> bool {
        matches!(self, Self::Bare { begins: true })
    }
}

/// The digits of a code as a number of the same length: numbers in JSON begin with no zero, and may follow spaces.
pub(super) fn as_number(digits: &mut [u8]) {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let last = digits.len().saturating_sub(1);
    digits.iter_mut().take(zeros.min(last)).for_each(|zero| *zero = b' ');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> Json {
        text.bytes().fold(Json::default(), Json::then)
    }

    #[test]
    fn numbers_begin_where_values_do_outside_of_strings() {
        for text in [r#"{"otp":"#, r#"42["otp", "#, "\n[", "[1,", r#"["\"", "#, r#"["\\","#, r#"{"a":"b","n": "#] {
            assert!(after(text).begins_number(), "{text}");
        }
        for text in
            ["", "1", "otp=", "x[", r#"{"otp":""#, r#"["code: "#, r#"["\","#, "[-", "[0.", r#"{"a":"\\\":"#, "[]"]
        {
            assert!(!after(text).begins_number(), "{text}");
        }
    }

    #[test]
    fn a_number_has_no_zeros_before_it_and_the_same_length() {
        for (digits, expected) in
            [("033242", " 33242"), ("000000", "     0"), ("480362", "480362"), ("00000010", "      10")]
        {
            let mut bytes = digits.as_bytes().to_vec();
            as_number(&mut bytes);
            assert_eq!(bytes, expected.as_bytes());
        }
    }
}
