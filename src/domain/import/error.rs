//! Why a file can't be read, in words that follow the file's name.

use crate::domain::limits::{IMPORT_ARCHIVE_FILES_MAX, IMPORT_JSON_VALUES_MAX};

/// Why a file as a whole can't be read. It never quotes the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The format is not known.
    #[error(
        "in no known format; known are lists of otpauth:// links and exports of Google Authenticator, Aegis, 2FAS, \
         Bitwarden, Proton, Ente, andOTP, FreeOTP+, Stratum, LastPass Authenticator, 2FAuth, Raivo, 1Password, \
         KeePassXC, Enpass, Apple Passwords, and any CSV with a column of names (`title`, `name`, `issuer`, `username` \
         and the like) and one of keys, called `totp`, `otp`, `otpauth`, `secret` or `key`"
    )]
    Unknown,
    /// A known file that can't be read, and what to do instead.
    #[error("{0}")]
    Refused(&'static str),
    /// Broken JSON.
    #[error("line {line}: not JSON; the file is damaged")]
    Json {
        /// The line of the first error.
        line: usize,
    },
    /// JSON that ends too early.
    #[error("ends in the middle: the file was cut off")]
    Truncated,
    /// JSON nested beyond the limit, or with too many values.
    #[error("line {line}: nested too deeply, or more than {IMPORT_JSON_VALUES_MAX} values")]
    TooDeep {
        /// The line at which it is too deep.
        line: usize,
    },
    /// Neither text nor a known binary format.
    #[error("line {line}: not UTF-8 text, and in no known binary format; if it is a text or a table, save it as UTF-8")]
    NotText {
        /// The line of the first bad byte.
        line: usize,
    },
    /// The document names a field twice, so that readers would differ.
    #[error("the document names a field twice")]
    Repeated,
    /// A key derivation that costs more than any app's.
    #[error("{0} is beyond what any app uses; nothing was computed")]
    Bounds(&'static str),
    /// The memory of a key derivation within the bounds can't be allocated.
    #[error("there is not enough memory to open it: its key derivation takes {0} MiB")]
    Memory(u64),
    /// A wrong passphrase, for certain.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// A wrong passphrase, or that of a password slot after the first ones, which alone are tried.
    #[error("the passphrase opens none of the {0} slots that were tried; trying more slots would take too long")]
    WrongPassphraseOfMany(usize),
    /// The format can't distinguish these two.
    #[error("the passphrase is wrong, or the file is damaged")]
    WrongPassphraseOrDamaged,
    /// The format has no mark, either, so the file may be anything.
    #[error("the passphrase is wrong, or the file is damaged, or no export of andOTP at all")]
    WrongPassphraseOrOther,
    /// A wrong passphrase, or not the key file that goes with it, for certain.
    #[error("the passphrase is wrong, or the key file is wrong or missing (--kdbx-key-file)")]
    WrongKeys,
    /// The format can't distinguish these.
    #[error("the passphrase is wrong, or the key file is wrong or missing (--kdbx-key-file), or the file is damaged")]
    WrongKeysOrDamaged,
    /// The passphrase is right, or was not needed yet, and the rest is broken.
    #[error("its encrypted part is damaged")]
    Damaged,
    /// Broken XML, or parts of XML that `KeePass` does not write.
    #[error("line {line}: not the XML that KeePass writes; the file is damaged")]
    Xml {
        /// The line of the first error.
        line: usize,
    },
    /// A broken or too large archive.
    #[error("a ZIP archive that is damaged, or has more than {IMPORT_ARCHIVE_FILES_MAX} files")]
    Archive,
    /// A table with a broken row.
    #[error("line {line}: a field never ends, or has more than 64 KiB")]
    Csv {
        /// The line of the row.
        line: usize,
    },
}
