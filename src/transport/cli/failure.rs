//! How a command ends, and what the shell is told.

use std::io;

use crate::{
    operations::{ErrorCode, Refusal},
    transport::ErrorBody,
};

/// A command that answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was done, or the answer is yes.
    Done,
    /// The answer is no: a wrong code, a broken audit log, a problem found.
    No,
}

/// A command that could not answer. No text in here quotes what was typed or read.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An operation was refused.
    #[error("{}", in_flags(.0))]
    Refused(#[from] Refusal),
    /// What was typed can't be meant.
    #[error("{0}")]
    Usage(String),
    /// It failed before an operation was asked for.
    #[error("{message}")]
    Failed {
        /// The stable word.
        code: ErrorCode,
        /// What is wrong, and what to do.
        message: String,
    },
    /// Standard output can't be written.
    #[error("the answer could not be written: {0}")]
    Output(#[from] io::Error),
    /// The person interrupted it.
    #[error("interrupted; nothing was handed out or changed")]
    Interrupted,
}

impl Failure {
    /// A value or a file that is not what it should be.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Failed { code: ErrorCode::InvalidArgument, message: message.into() }
    }

    /// A file that can't be read. The flag stands for it: a seed may have been typed where its name belongs.
    pub(super) fn unread(flag: &str, cause: &io::Error) -> Self {
        Self::invalid(format!("{flag} must name a file that can be read, or `-` for standard input: {cause}"))
    }

    /// A file that can't be written, named in the same way.
    pub(super) fn unwritten(flag: &str, cause: &io::Error) -> Self {
        Self::invalid(format!("{flag} must name a file that can be written: {cause}"))
    }

    /// What is shown once was not seen by anybody, although it was made: even a reader that went away must hear of it.
    pub(super) fn unseen(self, what: &str, remedy: &str) -> Self {
        match self {
            Self::Output(cause) => Self::Failed {
                code: ErrorCode::Unavailable,
                message: format!("{what} could not be shown ({cause}) and can't be shown again; {remedy}"),
            },
            Self::Refused(_) | Self::Usage(_) | Self::Failed { .. } | Self::Interrupted => self,
        }
    }

    /// What programs read.
    pub fn body(&self) -> ErrorBody {
        let word = |code| ErrorBody::of(code, self.to_string(), None);
        match self {
            Self::Refused(refusal) => ErrorBody { message: self.to_string(), ..ErrorBody::from(refusal) },
            Self::Failed { code, .. } => word(*code),
            Self::Usage(_) => word(ErrorCode::InvalidArgument),
            Self::Output(_) | Self::Interrupted => word(ErrorCode::Unavailable),
        }
    }

    /// Whether something was typed that can't be meant, whichever layer saw it. What is wrong in a file was not typed.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Usage(_) => true,
            Self::Refused(Refusal::Invalid { field, .. }) => *field != "uri",
            Self::Refused(_) | Self::Failed { .. } | Self::Output(_) | Self::Interrupted => false,
        }
    }

    /// Whether the reader of our answer went away, as `head` does: nobody is there to be told.
    pub fn is_closed_pipe(&self) -> bool {
        let gone = |kind| matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        matches!(self, Self::Output(cause) if gone(cause.kind()))
    }
}

/// What a refusal says to somebody who typed flags: the fields of operations under the names that they have here.
fn in_flags(refusal: &Refusal) -> String {
    if let Refusal::Invalid { field, problem } = refusal {
        format!("{} {}", typed_as(field), with_flags(problem))
    } else {
        with_flags(&refusal.to_string())
    }
}

/// How a field of an operation is given on the command line.
fn typed_as(field: &str) -> String {
    match field {
        "secret" => "the seed".to_owned(),
        "uri" => "the URI".to_owned(),
        "code" => "the code".to_owned(),
        "seat_id" => "--seat".to_owned(),
        "scopes" => "--scope".to_owned(),
        other => format!("--{}", other.replace('_', "-")),
    }
}

/// The fields that a sentence names.
fn with_flags(sentence: &str) -> String {
    ["max_wait", "min_validity", "single_use", "seat_id"]
        .iter()
        .fold(sentence.to_owned(), |sentence, field| sentence.replace(&format!("`{field}`"), &typed_as(field)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_flag_that_was_typed_and_not_the_field() {
        let told = |field, problem: &str| Failure::from(Refusal::invalid(field, problem)).to_string();
        assert_eq!(told("max_wait", "must be 0 to 120 seconds"), "--max-wait must be 0 to 120 seconds");
        assert_eq!(told("secret", "is empty"), "the seed is empty");
        let busy = Refusal::Busy { reason: "no unused code within `max_wait`", after: std::time::Duration::ZERO };
        assert!(Failure::from(busy).to_string().starts_with("no unused code within --max-wait;"));
    }

    #[test]
    fn what_is_typed_wrong_is_usage_whichever_layer_sees_it() {
        assert!(Failure::from(Refusal::invalid("max_wait", "x")).is_usage());
        assert!(Failure::Usage(String::new()).is_usage());
        assert!(!Failure::from(Refusal::invalid("uri", "x")).is_usage(), "it stands in a file");
        assert!(!Failure::from(Refusal::NotFound("secret")).is_usage());
    }

    #[test]
    fn a_reader_that_went_away_is_one_whatever_it_read_from() {
        let closed = |kind: io::ErrorKind| Failure::Output(kind.into()).is_closed_pipe();
        assert!(closed(io::ErrorKind::BrokenPipe) && closed(io::ErrorKind::ConnectionReset));
        assert!(!closed(io::ErrorKind::StorageFull));
    }
}
