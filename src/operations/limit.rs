//! The limits by which a caller can be refused, each with its text and its name in the counters.

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Calls of a key.
    Calls,
    /// MCP messages of a key.
    Messages,
    /// Failed authentications from an address.
    Failures,
    /// Calls for a secret.
    Uses,
    /// Codes of a secret in an hour.
    CodesPerHour,
    /// Wrong codes for a secret.
    WrongCodes,
    /// Codes that no other caller gets.
    SingleUse,
    /// Callers that wait for a code.
    Waiting,
    /// Searches and whole lists of a caller at once.
    LongReads,
    /// Live tokens of a key.
    Tokens,
    /// Connections of a key.
    Connections,
    /// MCP sessions.
    Sessions,
    /// Open streams.
    Streams,
    /// Messages that wait in a session.
    SessionMessages,
    /// Open enrolments of a caller.
    Enrolments,
    /// Enrolments of an account in a day.
    EnrolmentsPerDay,
    /// People who add secrets at once.
    Enrolling,
    /// Codes of a sign-in for one link.
    SignIns,
    /// Bytes of a body.
    Body,
    /// Bytes and headers of a request's head.
    Head,
}

impl Limit {
    /// Every limit.
    pub const ALL: [Self; 20] = [
        Self::Calls,
        Self::Messages,
        Self::Failures,
        Self::Uses,
        Self::CodesPerHour,
        Self::WrongCodes,
        Self::SingleUse,
        Self::Waiting,
        Self::LongReads,
        Self::Tokens,
        Self::Connections,
        Self::Sessions,
        Self::Streams,
        Self::SessionMessages,
        Self::Enrolments,
        Self::EnrolmentsPerDay,
        Self::Enrolling,
        Self::SignIns,
        Self::Body,
        Self::Head,
    ];

    /// Its name in the counters. It never changes: operators' alerts refer to it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Messages => "messages",
            Self::Failures => "auth_failures",
            Self::Uses => "uses",
            Self::CodesPerHour => "codes_per_hour",
            Self::WrongCodes => "wrong_codes",
            Self::SingleUse => "single_use",
            Self::Waiting => "waiting",
            Self::LongReads => "long_reads",
            Self::Tokens => "tokens",
            Self::Connections => "connections",
            Self::Sessions => "sessions",
            Self::Streams => "streams",
            Self::SessionMessages => "session_messages",
            Self::Enrolments => "enrolments",
            Self::EnrolmentsPerDay => "enrolments_per_day",
            Self::Enrolling => "enrolling",
            Self::SignIns => "sign_ins",
            Self::Body => "body",
            Self::Head => "head",
        }
    }

    /// The text for a caller that is above the limit.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Calls | Self::Messages => "too many calls with this key",
            Self::Failures => "too many failed authentications from this address",
            Self::Uses => "too many calls for this secret",
            Self::CodesPerHour => "the limit of codes an hour for this secret is used up",
            Self::WrongCodes => "too many wrong codes for this secret",
            Self::SingleUse => "no unused code is free in time",
            Self::Waiting => "too many callers wait",
            Self::LongReads => "too many searches and whole lists of this caller run at once",
            Self::Tokens => "this key has as many tokens as it may have",
            Self::Connections => "too many connections of this key are open",
            Self::Sessions => "too many MCP sessions are open",
            Self::Streams => "too many streams are open",
            Self::SessionMessages => "too many messages wait in this session",
            Self::Enrolments => "too many enrolments are open; let the person answer them first",
            Self::EnrolmentsPerDay => "this account has had too many enrolments today",
            Self::Enrolling => "too many people are adding secrets at this moment",
            Self::SignIns => "too many codes came for one link",
            Self::Body => "the body is too large",
            Self::Head => "the head is too large",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_limit_has_a_name_of_its_own_and_a_place_in_the_list() {
        let names: BTreeSet<_> = Limit::ALL.iter().map(|limit| limit.as_str()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        for (nth, limit) in Limit::ALL.iter().enumerate() {
            assert_eq!(*limit as usize, nth, "{limit:?}");
        }
    }
}
