//! Identifiers. Each is random or time-ordered, none is derived from a label, and none authorises anything by itself.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// The text is not an identifier. The error holds nothing of it: a seed may have been typed there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier")]
pub struct NotAnId;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes a UUID as this kind of identifier.
            pub const fn new(id: Uuid) -> Self {
                Self(id)
            }

            /// The UUID itself.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The 16 bytes, as stores and seals use them.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads the 16 bytes back.
            ///
            /// # Errors
            /// [`NotAnId`] when there are not 16 of them.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, NotAnId> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| NotAnId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                // Only the hyphenated form: the mirrored API has no other, and a secret must not have four spellings.
                if text.len() != 36 {
                    return Err(NotAnId);
                }
                Uuid::try_parse(text).map(Self).map_err(|_| NotAnId)
            }
        }
    };
}

uuid_id!(
    /// One vault. Every seal and the key file's name contain it.
    VaultId
);
uuid_id!(
    /// A tenant.
    AccountId
);
uuid_id!(
    /// A stored secret (UUID version 7, so that a list by id is a list by age).
    SecretId
);
uuid_id!(
    /// A seat: a person in an account.
    SeatId
);
uuid_id!(
    /// One caller's reservation of a time step whose code it has not received yet.
    ReservationId
);
uuid_id!(
    /// A request that a person add a secret.
    EnrolmentId
);
uuid_id!(
    /// A short-lived token.
    TokenId
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        assert_eq!(text.parse::<SecretId>().is_ok(), expected, "{text}");
    }

    #[test]
    fn only_the_hyphenated_form_is_an_identifier() {
        check("018f3c9a-1234-7abc-8def-1234567890ab", true);
        check("018F3C9A-1234-7ABC-8DEF-1234567890AB", true);
        for text in [
            "",
            "018f3c9a12347abc8def1234567890ab",
            "{018f3c9a-1234-7abc-8def-1234567890ab}",
            "urn:uuid:018f3c9a-1234-7abc-8def-1234567890ab",
            " 018f3c9a-1234-7abc-8def-1234567890ab",
            "018f3c9a-1234-7abc-8def-1234567890ag",
            "018f3c9a-1234-7abc-8def1-234567890ab",
            "018f3c9a-1234-7abc-8def-1234567890é",
        ] {
            check(text, false);
        }
    }

    #[test]
    fn sixteen_bytes_are_an_identifier_and_no_other_number() {
        assert_eq!([0, 15, 17].map(|count| SeatId::from_slice(&vec![7; count]).is_ok()), [false; 3]);
        assert!(SeatId::from_slice(&[7; 16]).is_ok());
    }

    proptest! {
        #[test]
        fn every_identifier_is_read_back(bytes: [u8; 16]) {
            let id = AccountId::new(Uuid::from_bytes(bytes));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(AccountId::from_slice(id.as_bytes()), Ok(id));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", like in "[0-9a-f{}-]{36}") {
            let _ = (text.parse::<SecretId>(), like.parse::<SecretId>());
        }
    }
}
