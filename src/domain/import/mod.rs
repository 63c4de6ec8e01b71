//! Files of other programs: what they hold, as entries that are each kept or skipped for a reason. One bad entry never
//! stops the others, and none is left out silently.
//!
//! A format is recognised by its content, never by a file's name. Never here: a disk, a clock, or anything unbounded;
//! a file is a stranger's input. No error quotes a file: it names the place.

mod aegis;
mod age;
mod andotp;
mod apps;
mod archive;
mod bitwarden;
mod cxf;
mod ente;
mod entry;
mod error;
mod freeotp;
#[cfg(fuzzing)]
mod fuzz;
mod google;
mod json;
mod kdbx;
mod kdbx_header;
mod kdbx_key;
mod keepass;
mod links;
mod naming;
mod openpgp;
mod own;
mod parts;
mod passed;
mod pieces;
mod proton;
mod sealed;
mod stratum;
mod table;
mod twofas;
mod uri;
mod xml;

use archive::Known;
pub use entry::{Entry, Found, Note, Place, Skip};
pub use error::ImportError;
#[cfg(fuzzing)]
pub(crate) use fuzz::PARSERS;
use json::Json;
pub use parts::{Part, missing_parts};
pub use passed::{Answer, CheckedEntry, CheckedNote, CheckedSecret, Contents, HEAD_BYTES, Keys, Remark, answer};
use sealed::How;
pub use sealed::Locked;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::limits::IMPORT_ENTRIES_MAX;

/// The contents of a file.
pub struct Import {
    /// The program that wrote it.
    pub format: Format,
    /// The entries, in the file's order.
    pub entries: Vec<Entry>,
    /// The parts of an export of Google Authenticator that are in it.
    pub parts: Vec<Part>,
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
        Self { format, entries: Vec::new(), parts: Vec::new() }
    }

    /// The entries of a list, each by the same reader. What names a field twice is skipped.
    fn of_list(format: Format, list: &[Json], read: impl Fn(&Json, Place) -> Entry) -> Self {
        let entry = |(index, item): (usize, &Json)| {
            let place = Place::nth(index);
            let why = if item.repeated() { Some(Skip::Repeated) } else { (!item.is_object()).then_some(Skip::Shape) };
            why.map_or_else(|| read(item, place), |why| Entry::skipped(place, None, why))
        };
        // One more than an import takes, so that it is refused, and a list of nothings takes no memory.
        let list = list.iter().take(IMPORT_ENTRIES_MAX + 1).enumerate();
        Self { entries: list.map(entry).collect(), ..Self::new(format) }
    }
}

impl Format {
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
            Self::KeePass => "KeePassXC",
            Self::Apple => "Apple Passwords",
            Self::Csv => "a CSV table",
            Self::Vault => "Vault",
        }
    }
}

/// Reads a file.
///
/// # Errors
/// [`ImportError`] if the file as a whole can't be read.
pub fn open(bytes: &[u8]) -> Result<Opened, ImportError> {
    if let Some(advice) = refused(bytes) {
        return Err(ImportError::Refused(advice));
    }
    if archive::is_archive(bytes) {
        return match archive::known(bytes)? {
            Known::Plain(plain) => archive::inside(&plain),
            Known::Sealed(sealed) => Ok(Opened::Locked(Locked::new(sealed.format, How::Archive(sealed)))),
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
    let text = text_of(bytes)?;
    let text = text.trim_start_matches('\u{FEFF}');
    let begun = text.trim_start();
    if begun.is_empty() {
        return Err(ImportError::Empty);
    }
    if begun.starts_with(['{', '[']) {
        return document(&Json::parse(text)?);
    }
    if begun.starts_with('<') {
        if begun.contains("<KeePassFile") {
            // Nothing is protected in an export.
            return keepass::read(text, &mut |_| None).map(Opened::Read);
        }
        return Err(markup(begun));
    }
    if let Some(table) = table::read(text)? {
        return Ok(Opened::Read(table));
    }
    if links::are_in(text) {
        return Ok(Opened::Read(links::read(text)));
    }
    Err(ImportError::Unknown)
}

/// A backup of an old `andOTP`. The format has no mark, so a file of text is not taken for one.
fn old_andotp(bytes: &[u8]) -> Option<Result<Locked, ImportError>> {
    std::str::from_utf8(bytes).is_err().then(|| andotp::old_locked(bytes)).flatten()
}

/// Whether one of these texts, such as the codes in a picture, holds a link that a list may hold.
pub fn holds_link(text: &str) -> bool {
    links::are_in(text)
}

/// Whether a file is a picture, which may show a QR code.
pub fn is_picture(bytes: &[u8]) -> bool {
    let is_webp = matches!(bytes, [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..]);
    is_webp || bytes.starts_with(b"\x89PNG\r\n") || bytes.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Files that are known and can't be read, by their first bytes.
fn refused(bytes: &[u8]) -> Option<&'static str> {
    const OPENPGP: &str = "encrypted with OpenPGP; decrypt it first: gpg -d FILE | countersign secret import -";
    const KNOWN: [(&[u8], &str); 4] = [
        (
            &[0x03, 0xD9, 0xA2, 0x9A, 0x65, 0xFB, 0x4B, 0xB5],
            "a KeePass 1 database; open it with KeePassXC, and export CSV",
        ),
        (
            &[0xAC, 0xED, 0x00, 0x05],
            "a backup of FreeOTP, which only FreeOTP can open; use the export of FreeOTP+, or scan its codes",
        ),
        (b"-----BEGIN PGP MESSAGE", OPENPGP),
        (
            b"SQLite format 3\0",
            "a database of an app, not an export; use the app's own export. Authy, Microsoft Authenticator and Duo Mobile have none: turn two-factor login off and on again at each service, and add the code that it shows",
        ),
    ];
    let known = KNOWN.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, advice)| *advice);
    known.or_else(|| openpgp::is_encrypted(bytes).then_some(OPENPGP))
}

/// What a file of markup is: apps that export nothing keep their data in such files, or export a page to be looked at.
fn markup(text: &str) -> ImportError {
    let refused = if text.contains("authy") {
        EXPORTS_NOTHING
    } else if text.contains("tokenOrder") {
        "the settings of FreeOTP, whose seeds may be encrypted; use the export of FreeOTP+, or scan its codes"
    } else if text.to_ascii_lowercase().contains("<html") {
        "a page to look at; export JSON or text instead"
    } else {
        return ImportError::Unknown;
    };
    ImportError::Refused(refused)
}

/// What a document of an app without an export is, if it is one.
fn without_export(json: &Json) -> Option<ImportError> {
    let authy = json.has("authenticator_tokens") || json.list().iter().any(|item| item.has("encrypted_seed"));
    let steam = json.has("shared_secret");
    let advice = if authy {
        EXPORTS_NOTHING
    } else if steam {
        "a file of Steam Guard, whose codes are letters and not supported"
    } else {
        return None;
    };
    Some(ImportError::Refused(advice))
}

/// For Authy, Microsoft Authenticator, Duo Mobile and others.
const EXPORTS_NOTHING: &str = "data of an app that exports nothing (Authy, Microsoft Authenticator, Duo Mobile and Okta Verify don't); turn \
     two-factor login off and on again at each service, and add the code that it shows";

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
    if let Some(problem) = without_export(json) {
        return Err(problem);
    }
    if json.is_list() {
        return Ok(Opened::Read(array(json.list())));
    }
    // These may be encrypted.
    if json.has("schemaVersion") && (json.has("services") || json.has("servicesEncrypted")) {
        twofas::read(json)
    } else if json.has("header") && json.has("db") {
        aegis::read(json)
    } else if bitwarden::is_export(json) {
        bitwarden::read(json)
    } else if json.has("encryptedData") && json.has("kdfParams") {
        ente::read(json)
    } else if json.has("salt") && json.has("content") {
        proton::locked(json)
    } else {
        plain(json).map(Opened::Read)
    }
}

/// A document of a format that is never encrypted, or encrypted in another way.
fn plain(json: &Json) -> Result<Import, ImportError> {
    let read = if json.has("uris") {
        own::exported(json)
    } else if json.has("items") && json.get("items").list().iter().all(Json::is_text) {
        own::array(json.get("items").list())
    } else if json.has("entries") && json.has("version") {
        proton::authenticator(json)
    } else if json.get("vaults").is_object() {
        proton::pass(json)
    } else if json.has("Authenticators") {
        stratum::read(json)
    } else if json.has("tokens") && json.has("tokenOrder") {
        freeotp::read(json)
    } else if json.has("app") && json.has("data") {
        apps::two_f_auth(json)
    } else if json.has("accounts") {
        accounts(json)?
    } else {
        cxf::read(json).or_else(|| apps::vault(json)).or_else(|| apps::extension(json)).ok_or(ImportError::Unknown)?
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
