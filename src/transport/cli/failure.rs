//! The results of commands, and their exit statuses.

use std::{io, path::Path};

use super::file_names::typed_path;
use crate::{
    operations::{ErrorCode, Refusal},
    transport::ErrorBody,
};

/// The result of a command that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The command succeeded, or the answer is yes.
    Done,
    /// The answer is no: a wrong code, a broken audit log, a problem found.
    No,
}

/// Why a command failed. No message quotes what was typed or read, except names of files as `file_names` allows.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An operation was refused.
    #[error("{}", in_flags(.0))]
    Refused(#[from] Refusal),
    /// Invalid input.
    #[error("{0}")]
    Usage(String),
    /// The command failed outside an operation.
    #[error("{message}")]
    Failed {
        /// The stable error code.
        code: ErrorCode,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The person declined.
    #[error("{0}")]
    Declined(&'static str),
    /// Standard output can't be written.
    #[error("the answer could not be written: {0}")]
    Output(#[from] io::Error),
    /// The person interrupted the command.
    #[error("interrupted; nothing was handed out or changed")]
    Interrupted,
}

impl Failure {
    /// An error for an invalid value or file.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Failed { code: ErrorCode::InvalidArgument, message: message.into() }
    }

    /// An error for an unreadable file. It names the file, unless a seed may have been typed in place of the name.
    pub(super) fn unread(flag: &str, path: &Path, cause: &io::Error) -> Self {
        let named = typed_path(path).map_or_else(String::new, |name| format!("{name}: "));
        Self::invalid(format!("{flag} must name a file that can be read, or `-` for standard input: {named}{cause}"))
    }

    /// An error for a file that can't be written, also named by its flag.
    pub(super) fn unwritten(flag: &str, cause: &io::Error) -> Self {
        Self::invalid(if cause.kind() == io::ErrorKind::AlreadyExists {
            format!("{flag} must name a new file; there is one of this name, and it was left as it is")
        } else {
            format!("{flag} must name a file that can be written: {cause}")
        })
    }

    /// Returns the same error with its subject, `what`, before its message.
    pub(super) fn about(self, what: &str) -> Self {
        match self {
            Self::Usage(message) => Self::Usage(format!("{what}{message}")),
            Self::Failed { code, message } => Self::Failed { code, message: format!("{what}{message}") },
            Self::Refused(refusal @ Refusal::Invalid { field: "uri", .. }) => {
                Self::Failed { code: refusal.code(), message: format!("{what}{}", in_flags(&refusal)) }
            }
            Self::Refused(_) | Self::Output(_) | Self::Declined(_) | Self::Interrupted => self,
        }
    }

    /// Returns the error for a value that is shown only once, was created and could not be written: it must be reported
    /// even if the reader is gone.
    pub(super) fn unseen(self, what: &str, remedy: &str) -> Self {
        match self {
            Self::Output(cause) => Self::Failed {
                code: ErrorCode::Unavailable,
                message: format!("{what} could not be shown ({cause}) and can't be shown again; {remedy}"),
            },
            Self::Refused(_) | Self::Usage(_) | Self::Failed { .. } | Self::Declined(_) | Self::Interrupted => self,
        }
    }

    /// The error of a vault that could not be closed.
    pub fn unclosed(refusal: &Refusal) -> Self {
        let message = if *refusal == Refusal::OutcomeUnknown {
            "what was answered is kept, but the disk did not take the last write: a power cut could still lose that a code was \
             read again. Look whether the disk is full, then run `countersign vault doctor`"
                .to_owned()
        } else if let Refusal::Unavailable { obstacle: Some(obstacle) } = refusal {
            format!("the vault could not be closed in good order: {obstacle}")
        } else {
            format!("the vault could not be closed in good order: {refusal}")
        };
        Self::Failed { code: refusal.code(), message }
    }

    /// The error, as JSON.
    pub fn body(&self) -> ErrorBody {
        let word = |code| ErrorBody::of(code, self.to_string(), None);
        match self {
            Self::Refused(refusal) => ErrorBody { message: self.to_string(), ..ErrorBody::from(refusal) },
            Self::Failed { code, .. } => word(*code),
            Self::Usage(_) | Self::Declined(_) => word(ErrorCode::InvalidArgument),
            Self::Output(_) | Self::Interrupted => word(ErrorCode::Unavailable),
        }
    }

    /// Whether the input was wrong, whichever layer noticed it. Errors inside a file don't count.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Usage(_) => true,
            Self::Refused(Refusal::Invalid { field, .. }) => *field != "uri",
            Self::Refused(_) | Self::Failed { .. } | Self::Declined(_) | Self::Output(_) | Self::Interrupted => false,
        }
    }

    /// The refusal to write to the audit log; `None` for any failure but wrong input and an unknown name.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused(Refusal::Invalid { .. }) | Self::Usage(_) => Some(Refusal::invalid("input", "is wrong")),
            Self::Failed { code: ErrorCode::NotFound, .. } => Some(Refusal::NotFound("name")),
            Self::Failed { code: ErrorCode::InvalidArgument | ErrorCode::TooLarge, .. } => {
                Some(Refusal::invalid("input", "is wrong"))
            }
            Self::Refused(_) | Self::Failed { .. } | Self::Declined(_) | Self::Output(_) | Self::Interrupted => None,
        }
    }

    /// Whether the reader of the output is gone, like `head` after its last line: then there is no reader to report to.
    pub fn is_closed_pipe(&self) -> bool {
        let gone = |kind| matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        matches!(self, Self::Output(cause) if gone(cause.kind()))
    }
}

/// A refusal for a person who typed flags: fields of operations are named by their flags.
fn in_flags(refusal: &Refusal) -> String {
    if let Refusal::Invalid { field, problem } = refusal {
        format!("{} {}", typed_as(field), with_flags(problem))
    } else {
        with_flags(&refusal.to_string())
    }
}

/// The command line's name for a field of an operation.
fn typed_as(field: &str) -> String {
    match field {
        "secret" => "the seed".to_owned(),
        "uri" => "the URI".to_owned(),
        "code" => "the code".to_owned(),
        "id" => "the request".to_owned(),
        "key" => "the key".to_owned(),
        "pin" => "the PIN".to_owned(),
        "seat_id" => "--seat".to_owned(),
        "scopes" => "--scope".to_owned(),
        "origins" => "--origin".to_owned(),
        other => format!("--{}", other.replace('_', "-")),
    }
}

/// Replaces field names in a sentence.
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
        assert_eq!(["id", "key", "pin"].map(|field| told(field, "x")), ["the request x", "the key x", "the PIN x"]);
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
