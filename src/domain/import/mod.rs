//! Reads files of other programs into entries, each of which is kept or skipped for a reason. One bad entry never stops
//! the others, and none is left out silently.
//!
//! A format is recognised by its content, never by a file's name. Never here: a disk, a clock, or anything unbounded;
//! a file is a stranger's input. No error quotes a file: it names the place.

mod aegis;
mod age;
mod andotp;
mod apps;
mod archive;
mod bitwarden;
mod columns;
mod cxf;
mod ends;
mod ente;
mod entry;
mod error;
mod fields;
mod freeotp;
#[cfg(fuzzing)]
mod fuzz;
mod google;
mod item;
mod json;
mod kdbx;
mod kdbx_header;
mod kdbx_key;
mod keepass;
mod links;
mod naming;
mod note;
mod openpgp;
mod own;
mod parts;
mod passed;
mod pieces;
mod proton;
mod refused;
mod rows;
mod said;
mod sealed;
mod settings;
mod stratum;
mod table;
mod twofas;
mod unread;
mod uri;
mod walk;
mod words;
mod xml;

use archive::ArchiveEntry;
pub use entry::{Entry, ImportedSecret, Note, Place, Skip};
pub use error::ImportError;
#[cfg(fuzzing)]
pub(crate) use fuzz::PARSERS;
use json::Json;
pub use parts::{Part, missing_parts};
pub use passed::{
    Answer, CheckedColumn, CheckedEntry, CheckedNote, CheckedSecret, Contents, HEAD_BYTES, Keys, Remark, answer,
};
use sealed::How;
pub use sealed::Locked;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::text::ShownText;

/// The contents of a file.
pub struct Import {
    /// The program that wrote it.
    pub format: Format,
    /// The entries, in the file's order.
    pub entries: Vec<Entry>,
    /// The parts of an export of Google Authenticator that are in it.
    pub parts: Vec<Part>,
    /// The columns of a table that no known program wrote.
    pub columns: Vec<Column>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name in the table.
    pub name: ShownText,
    /// The field that it is read as; `None` if it is not read.
    pub read_as: Option<&'static str>,
}

/// A file that was recognised.
pub enum Opened {
    /// It was read.
    Read(Import),
    /// It is encrypted.
    Locked(Locked),
}

/// A known format, by the program that writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Duo Mobile, as found on rooted phones.
    Duo,
    /// Our own export.
    Countersign,
    /// A list of links.
    Links,
    /// Google Authenticator.
    Google,
    /// A file that `age` encrypted.
    Age,
    /// Aegis.
    Aegis,
    /// 2FAS.
    TwoFas,
    /// Bitwarden, or its Authenticator.
    Bitwarden,
    /// Proton Authenticator.
    ProtonAuthenticator,
    /// Proton Pass.
    ProtonPass,
    /// Ente Auth.
    Ente,
    /// `andOTP`.
    AndOtp,
    /// `FreeOTP+`.
    FreeOtp,
    /// Stratum, formerly Authenticator Pro.
    Stratum,
    /// `LastPass` Authenticator.
    LastPass,
    /// 2FAuth.
    TwoFAuth,
    /// Raivo.
    Raivo,
    /// An encrypted ZIP archive that another program made of an export.
    Archive,
    /// The Authenticator extension of browsers.
    Extension,
    /// The FIDO Credential Exchange Format.
    Cxf,
    /// 1Password.
    OnePassword,
    /// Enpass.
    Enpass,
    /// `KeePassXC`.
    KeePass,
    /// Apple Passwords.
    Apple,
    /// A table with a column of secrets.
    Csv,
    /// The answer of Vault or `OpenBao` to the creation of a key.
    Vault,
}

impl Import {
    const fn new(format: Format) -> Self {
        Self { format, entries: Vec::new(), parts: Vec::new(), columns: Vec::new() }
    }
}

impl Format {
    /// Whether an encrypted file of it has no mark, so that only the right passphrase shows its format.
    pub const fn is_guess(self) -> bool {
        matches!(self, Self::AndOtp)
    }

    /// The name of the program or format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Countersign => "Countersign",
            Self::Links => "a list of links",
            Self::Google => "Google Authenticator",
            Self::Age => "age",
            Self::Aegis => "Aegis",
            Self::TwoFas => "2FAS",
            Self::Bitwarden => "Bitwarden",
            Self::ProtonAuthenticator => "Proton Authenticator",
            Self::ProtonPass => "Proton Pass",
            Self::Ente => "Ente Auth",
            Self::AndOtp => "andOTP",
            Self::FreeOtp => "FreeOTP+",
            Self::Stratum => "Stratum",
            Self::LastPass => "LastPass Authenticator",
            Self::TwoFAuth => "2FAuth",
            Self::Raivo => "Raivo",
            Self::Archive => "a ZIP program",
            Self::Extension => "Authenticator Extension",
            Self::Duo => "Duo Mobile",
            Self::Cxf => "FIDO Credential Exchange",
            Self::OnePassword => "1Password",
            Self::Enpass => "Enpass",
            Self::KeePass => "KeePassXC",
            Self::Apple => "Apple Passwords",
            Self::Csv => "a CSV table",
            Self::Vault => "Vault",
        }
    }
}

/// In place of a field's name: all fields of the document have entries.
const ALL: &str = "*";

/// Reads a file.
///
/// # Errors
/// [`ImportError`] if the file as a whole can't be read.
pub fn open(bytes: &[u8]) -> Result<Opened, ImportError> {
    if let Some(advice) = refused::by_mark(bytes) {
        return Err(ImportError::Refused(advice));
    }
    if archive::is_archive(bytes) {
        return match archive::known(bytes)? {
            ArchiveEntry::Plain(plain) => archive::inside(&plain),
            ArchiveEntry::Sealed(sealed) => Ok(Opened::Locked(Locked::new(sealed.format, How::Archive(sealed)))),
        };
    }
    if let Some(locked) = age::locked(bytes)
        .or_else(|| kdbx::locked(bytes))
        .or_else(|| stratum::locked(bytes))
        .or_else(|| andotp::locked(bytes))
    {
        return locked.map(Opened::Locked);
    }
    if let Some(locked) = old_andotp(bytes) {
        return locked.map(Opened::Locked);
    }
    let mut text = text_of(bytes)?;
    // Tables that Excel writes on a Mac may end their lines with `\r` alone.
    if text.contains('\r') && !text.contains('\n') {
        text = Zeroizing::new(text.replace('\r', "\n"));
    }
    let text = text.trim_start_matches('\u{FEFF}');
    let begun = text.trim_start();
    if begun.is_empty() {
        return Err(ImportError::Empty);
    }
    if let Some(json) = json_in(begun, text) {
        return document(&json.map_err(|problem| refused::not_json(begun, problem))?);
    }
    if begun.strip_prefix('<').is_some_and(|rest| !uri::is_link(rest)) {
        if begun.contains("<KeePassFile") {
            // Nothing is protected in an export.
            return keepass::read(text, &mut |_| None).map(Opened::Read);
        }
        return Err(refused::markup(begun));
    }
    // The text may be parts of a JSON document, with its escapes.
    let is_escaped = [r"otpauth:\/\/", r"otpauth-migration:\/\/"].iter().any(|scheme| uri::has(text, scheme));
    let meant =
        Zeroizing::new(if is_escaped { text.replace(r"\/", "/").replace(r"\u0026", "&") } else { String::new() });
    let text = if is_escaped { meant.as_str() } else { text };
    if let Some(table) = table::read(text)? {
        return Ok(Opened::Read(table));
    }
    if links::are_in(text) {
        return Ok(Opened::Read(links::read(text)));
    }
    Err(ImportError::Unknown)
}

/// The JSON document in a text. Lists may begin with a link in brackets, and files of settings with `[a title]`.
fn json_in(begun: &str, text: &str) -> Option<Result<Json, ImportError>> {
    let inside = begun.strip_prefix(['{', '['])?.trim_start();
    let read = Json::parse(text);
    let begins = inside.is_empty() || inside.starts_with(['{', '[', '"', '}', ']']);
    let is_json = begins && !refused::is_settings(begun) || !links::are_in(text);
    (is_json || read.is_ok()).then_some(read)
}

/// A backup of an old `andOTP`. The format has no mark, so a file of text is not taken for one.
fn old_andotp(bytes: &[u8]) -> Option<Result<Locked, ImportError>> {
    std::str::from_utf8(bytes).is_err().then(|| andotp::old_locked(bytes)).flatten()
}

/// Whether a text, such as that of a code in a picture, holds a link that a list may hold.
pub fn holds_link(text: &str) -> bool {
    links::are_in(text)
}

/// Whether a file is a picture, which may show a QR code.
pub fn is_picture(bytes: &[u8]) -> bool {
    let is_webp = matches!(bytes, [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..]);
    is_webp || bytes.starts_with(b"\x89PNG\r\n") || bytes.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// The text of a file, which may have been saved as UTF-16 by a Windows program.
fn text_of(bytes: &[u8]) -> Result<Zeroizing<String>, ImportError> {
    let wide = |of: fn([u8; 2]) -> u16| {
        let (pairs, _) = bytes.as_chunks::<2>();
        let units = pairs.iter().map(|pair| of(*pair));
        let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
        text.extend(char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER)));
        text
    };
    match bytes {
        [0xFF, 0xFE, ..] => Ok(wide(u16::from_le_bytes)),
        [0xFE, 0xFF, ..] => Ok(wide(u16::from_be_bytes)),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(cause) => {
                let before = bytes.iter().take(cause.valid_up_to());
                Err(ImportError::NotText { line: before.filter(|byte| **byte == b'\n').count() + 1 })
            }
        },
    }
}

/// A JSON document, by its fields.
fn document(json: &Json) -> Result<Opened, ImportError> {
    if json.repeats() {
        return Err(ImportError::Repeated);
    }
    if let Some(problem) = refused::document(json) {
        return Err(problem);
    }
    if json.is_list() {
        return Ok(Opened::Read(array(json.list())));
    }
    // These formats may be encrypted.
    let (mut opened, field) = if json.has("schemaVersion") && (json.has("services") || json.has("servicesEncrypted")) {
        (twofas::read(json)?, "services")
    } else if json.has("header") && json.has("db") {
        (aegis::read(json)?, "db")
    } else if bitwarden::is_export(json) {
        (bitwarden::read(json)?, "items")
    } else if json.has("encryptedData") && json.has("kdfParams") {
        return ente::read(json);
    } else if json.has("salt") && json.has("content") {
        return proton::locked(json);
    } else {
        let (import, field) = plain(json)?;
        (Opened::Read(import), field)
    };
    if let Opened::Read(import) = &mut opened {
        import.count_beside(json, field);
    }
    Ok(opened)
}

/// A document of a format that is never encrypted, or encrypted in another way; and the field that has its entries.
fn plain(json: &Json) -> Result<(Import, &'static str), ImportError> {
    let read = if json.has("uris") {
        (own::exported(json), "uris")
    } else if json.has("items") && json.get("items").list().iter().all(Json::is_text) {
        (own::array(json.get("items").list()), "items")
    } else if json.has("entries") && json.has("version") {
        (proton::authenticator(json), "entries")
    } else if json.get("vaults").is_object() {
        (proton::pass(json), "vaults")
    } else if json.has("Authenticators") {
        (stratum::read(json), "Authenticators")
    } else if json.has("tokens") && json.has("tokenOrder") {
        (freeotp::read(json), "tokens")
    } else if json.has("app") && json.has("data") {
        (apps::two_f_auth(json), "data")
    } else if json.has("accounts") {
        (accounts(json)?, "accounts")
    } else if let Some(import) = apps::enpass(json).or_else(|| cxf::read(json)) {
        (import, "items")
    } else {
        (apps::vault(json).or_else(|| apps::extension(json)).ok_or(ImportError::Unknown)?, ALL)
    };
    Ok(read)
}

/// A document with `accounts`: two programs have that.
fn accounts(json: &Json) -> Result<Import, ImportError> {
    let accounts = json.get("accounts").list();
    if accounts.iter().any(|account| account.has("vaults")) {
        return Ok(apps::one_password(json));
    }
    if accounts.iter().any(|account| account.has("issuerName") || account.has("userName")) || json.has("folders") {
        return Ok(apps::last_pass(json));
    }
    cxf::read(json).ok_or(ImportError::Unknown)
}

/// A JSON array, by the fields of its objects.
fn array(items: &[Json]) -> Import {
    let any = |names: &[&str]| items.iter().any(|item| names.iter().all(|name| item.has(name)));
    if any(&["otpGenerator"]) {
        apps::duo(items)
    } else if any(&["secret", "kind", "timer"]) {
        apps::raivo(items)
    } else if any(&["secret", "type"]) && !any(&["uri"]) {
        andotp::read(items)
    } else {
        own::array(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_known_by_its_first_bytes() {
        for picture in [b"\x89PNG\r\n\x1a\n".as_slice(), b"\xFF\xD8\xFF\xE0", b"RIFF\x24\0\0\0WEBPVP8 "] {
            assert!(is_picture(picture));
        }
        for other in [b"RIFF\x24\0\0\0WAVEfmt ".as_slice(), b"RIFF", b"otpauth://"] {
            assert!(!is_picture(other));
        }
    }
}
