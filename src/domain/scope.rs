//! Scopes: what a caller may do, in the words of the contract.

use std::{fmt, str::FromStr};

use super::totp::NotAccepted;

/// A right of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scope {
    /// Get codes.
    CodesRead = 1,
    /// Verify typed codes.
    CodesVerify = 1 << 1,
    /// List secrets.
    SecretsRead = 1 << 2,
    /// Register, enroll and delete secrets.
    SecretsWrite = 1 << 3,
    /// Read seats.
    SeatsRead = 1 << 4,
    /// Read the audit log.
    AuditRead = 1 << 5,
    /// Have codes typed into pages, without seeing them.
    CodesFill = 1 << 6,
    /// Get decoys in the place of codes.
    CodesDecoy = 1 << 7,
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ScopeSet(u8);

impl Scope {
    /// Every scope, in the order that lists show.
    pub const ALL: [Self; 8] = [
        Self::CodesRead,
        Self::CodesVerify,
        Self::CodesFill,
        Self::CodesDecoy,
        Self::SecretsRead,
        Self::SecretsWrite,
        Self::SeatsRead,
        Self::AuditRead,
    ];

    /// The contract's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodesRead => "codes:read",
            Self::CodesVerify => "codes:verify",
            Self::CodesFill => "codes:fill",
            Self::CodesDecoy => "codes:decoy",
            Self::SecretsRead => "secrets:read",
            Self::SecretsWrite => "secrets:write",
            Self::SeatsRead => "seats:read",
            Self::AuditRead => "audit:read",
        }
    }
}

impl ScopeSet {
    /// Every scope.
    pub const ALL: Self = Self(u8::MAX);

    /// The scopes of a new key by default: reading lists and getting codes.
    pub const fn of_a_new_key() -> Self {
        Self(Scope::CodesRead as u8 | Scope::SecretsRead as u8 | Scope::SeatsRead as u8)
    }

    /// The scopes of a new key that never sees a code: it has codes typed into pages, gets decoys, or both.
    pub const fn of_a_new_key_without_codes(fills: bool, gets_decoys: bool) -> Self {
        let mut scopes = Self(Scope::SecretsRead as u8 | Scope::SeatsRead as u8);
        if fills {
            scopes = scopes.with(Scope::CodesFill);
        }
        if gets_decoys { scopes.with(Scope::CodesDecoy) } else { scopes }
    }

    /// Whether a scope is in it.
    pub const fn holds(self, scope: Scope) -> bool {
        self.0 & scope as u8 != 0
    }

    /// The set with one more scope.
    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | scope as u8)
    }

    /// The scopes that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether it has no scopes.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its scopes, in order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.holds(*scope))
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::default(), Self::with)
    }
}

impl FromStr for Scope {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(NotAccepted)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `codes:read,secrets:read`, as in records and output.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, scope) in self.iter().enumerate() {
            if nth > 0 {
                f.write_str(",")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

/// Reads a comma- or space-separated list; empty pieces are ignored.
impl FromStr for ScopeSet {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        text.split([',', ' ']).filter(|piece| !piece.is_empty()).map(str::parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, NotAccepted>) {
        let read = text.parse::<ScopeSet>().map(|scopes| scopes.to_string());
        assert_eq!(read.as_deref().map_err(|error| *error), expected, "{text}");
    }

    #[test]
    fn lists_are_read_with_commas_or_spaces_and_shown_in_order() {
        check("codes:read", Ok("codes:read"));
        check("seats:read,codes:read", Ok("codes:read,seats:read"));
        check("audit:read  codes:verify, secrets:write", Ok("codes:verify,secrets:write,audit:read"));
        check("codes:read,codes:read", Ok("codes:read"));
        check("", Ok(""));
        check(" , ,", Ok(""));
    }

    #[test]
    fn what_is_no_scope_is_refused() {
        for text in
            ["codes", "codes:write", "Codes:read", "codes:read;seats:read", "*", "codes:read,all", "codes:read\n"]
        {
            check(text, Err(NotAccepted));
        }
    }

    #[test]
    fn all_is_every_scope_and_a_new_key_looks_and_gets_codes() {
        assert_eq!(Scope::ALL.into_iter().collect::<ScopeSet>(), ScopeSet::ALL);
        assert_eq!(ScopeSet::ALL.iter().count(), Scope::ALL.len());
        assert_eq!(ScopeSet::of_a_new_key().to_string(), "codes:read,secrets:read,seats:read");
        assert!(ScopeSet::default().is_empty());
    }

    proptest! {
        #[test]
        fn every_set_is_read_back(scopes in proptest::sample::subsequence(&Scope::ALL, 0..=Scope::ALL.len())) {
            let set: ScopeSet = scopes.iter().copied().collect();
            prop_assert_eq!(set.to_string().parse(), Ok(set));
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), scopes);
        }

        #[test]
        fn a_scope_that_is_added_is_held_and_the_others_stay(one in 0..=u8::MAX) {
            for (added, scope) in Scope::ALL.into_iter().flat_map(|added| Scope::ALL.map(|scope| (added, scope))) {
                let held = ScopeSet(one).with(added).holds(scope);
                prop_assert_eq!(held, scope == added || ScopeSet(one).holds(scope));
            }
        }
    }
}
