//! Remarks about the entries of a file that are kept.

use std::fmt;

use crate::domain::otpauth::Repair;

/// A remark about an entry that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The link was repaired, or the meaning of the link or the entry is doubtful.
    Link(Repair),
    /// An `&` was missing before a parameter, or its value had a prefix.
    Parameters,
    /// The name had characters that can't be shown.
    Cleaned,
    /// The name was too long.
    Cut,
    /// The entry has no name.
    Unnamed,
    /// A name held the key.
    KeyAsName,
    /// A name held what looks like another key.
    KeyInName,
    /// The link and what stands beside it state different parameters.
    Differs,
    /// The app writes names such that their parts can't be distinguished.
    Ambiguous,
    /// The file or the row ends in a value that codes depend on, and the value does not look whole.
    Ends,
    /// Words after the link or the seed were left out.
    Around,
    /// The seed is in groups, and the last of them may be words.
    Groups,
    /// A column seems to hold a parameter of codes, and is not read.
    Unread,
}

impl Note {
    /// Whether the entry may be wrong, rather than only written differently.
    pub const fn is_doubt(self) -> bool {
        match self {
            Self::Link(repair) => repair.is_doubt(),
            Self::Parameters | Self::Cleaned | Self::Cut => false,
            Self::Ambiguous
            | Self::Unnamed
            | Self::KeyAsName
            | Self::KeyInName
            | Self::Differs
            | Self::Ends
            | Self::Around
            | Self::Groups
            | Self::Unread => true,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Link(repair) => return repair.fmt(f),
            Self::Parameters => "its parameters were not written as the format says, and were read as they were meant",
            Self::Cleaned => "characters that can't be shown were left out of its name",
            Self::Cut => "its name was cut to 256 characters",
            Self::Unnamed => "it has no name; `countersign secret update` gives it one",
            Self::KeyAsName => {
                "its name held the key and was left out; `countersign secret update` gives it another one"
            }
            Self::KeyInName => {
                "its name had what looks like a key, which was masked and is not imported; `countersign secret update` \
                 gives it another name"
            }
            Self::Differs => {
                "its link says something else of how its codes are made than a column or field beside it; compare a code \
                 with the app"
            }
            Self::Ends => "the row or the file ends in it, and it may be cut off; compare it with the app",
            Self::Around => "words that stand behind it were left out; check that they are no part of its secret",
            Self::Groups => {
                "its secret is written in groups, and the last ones may be words that stand behind it; compare it with \
                 the app"
            }
            Self::Unread => {
                "a column or a field seems to say how its codes are made, and was not read; compare a code with the app, \
                 or call them `algorithm`, `digits` and `period`"
            }
            Self::Ambiguous => "this app writes names such that they can't be told apart for certain; check them",
        })
    }
}
