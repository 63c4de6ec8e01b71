//! Known files that can't be read, with advice on what to do instead; and the marks of kinds of files that are no
//! export.

use super::{ImportError, json::Json, openpgp};

const OPENPGP: &str = "encrypted with OpenPGP; decrypt it first: gpg -d FILE | countersign secret import -";
/// For Authy, Microsoft Authenticator, Duo Mobile and others.
const EXPORTS_NOTHING: &str = "data of an app that exports nothing (Authy, Microsoft Authenticator, Duo Mobile and Okta Verify don't); turn \
     two-factor login off and on again at each service, and add the code that it shows";

/// The advice on a file, by its first bytes.
pub(super) fn by_mark(bytes: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 7] = [
        (
            &[0x03, 0xD9, 0xA2, 0x9A, 0x65, 0xFB, 0x4B, 0xB5],
            "a KeePass 1 database; open it with KeePassXC, and export CSV",
        ),
        (
            &[0xAC, 0xED, 0x00, 0x05],
            "a backup of FreeOTP, which only FreeOTP can open; use the export of FreeOTP+, or scan its codes",
        ),
        (b"-----BEGIN PGP MESSAGE", OPENPGP),
        (b"-----BEGIN PGP PUBLIC KEY", KEY),
        (
            b"SQLite format 3\0",
            "a database of an app, not an export; use the app's own export. Authy, Microsoft Authenticator and Duo Mobile have none: turn two-factor login off and on again at each service, and add the code that it shows",
        ),
        (
            b"PWS3",
            "a database of Password Safe, which only Password Safe opens; add each of its secrets with `countersign \
             secret add`",
        ),
        (
            b"Salted__",
            "encrypted with OpenSSL; decrypt it first: openssl enc -d -CIPHER -in FILE | countersign secret import -",
        ),
    ];
    const KEY: &str = "a key of OpenPGP, which holds no secrets of this kind";
    let known = KNOWN.iter().find(|(mark, _)| bytes.starts_with(mark)).map(|(_, advice)| *advice);
    known.or_else(|| {
        Some(match openpgp::kind(bytes)? {
            openpgp::Kind::Encrypted => OPENPGP,
            openpgp::Kind::Signed => "signed with OpenPGP; unpack it first: gpg -d FILE | countersign secret import -",
            openpgp::Kind::Key => KEY,
        })
    })
}

/// Whether a file begins with the mark of a compressed format that is not an export. Its contents look as random as encrypted
/// ones.
pub(super) fn has_other_mark(bytes: &[u8]) -> bool {
    const MARKS: [&[u8]; 36] = [
        b"\x1F\x8B",
        b"%PDF",
        b"7z\xBC\xAF",
        b"Rar!",
        b"\xFD7zXZ",
        b"\x28\xB5\x2F\xFD",
        b"BZh",
        b"\x7FELF",
        b"GIF8",
        b"RIFF",
        b"\x89PNG",
        b"\xFF\xD8\xFF",
        b"bplist",
        b"ID3",
        b"OggS",
        b"MZ",
        b"PK",
        b"\x1A\x45\xDF\xA3",
        b"LUKS",
        // JPEG XL, bare and in a container, and JPEG 2000.
        b"\xFF\x0A",
        b"\0\0\0\x0CJXL ",
        b"\0\0\0\x0CjP  ",
        b"\xFF\x4F\xFF\x51",
        b"fLaC",
        b"wOFF",
        b"wOF2",
        b"OTTO",
        b"\0\x01\0\0\0",
        b"PACK",
        b"LZIP",
        b"\x04\x22\x4D\x18",
        b"MSCF",
        b"xar!",
        b"\x89HDF",
        b"\xFE\xED\xFE\xED",
        b"\xCF\xFA\xED\xFE",
    ];
    // Certificates and PKCS #12 files state their length.
    let is_der = matches!(bytes, [0x30, 0x82, high, low, rest @ ..] if usize::from(u16::from_be_bytes([*high, *low])) == rest.len());
    is_der || bytes.get(4..8) == Some(b"ftyp") || MARKS.iter().any(|mark| bytes.starts_with(mark))
}

/// The error for a file of markup: apps that export nothing keep their data in such files, or export a page to look at.
pub(super) fn markup(text: &str) -> ImportError {
    let refused = if text.contains("authy") {
        EXPORTS_NOTHING
    } else if text.contains("tokenOrder") {
        "the settings of FreeOTP, whose seeds may be encrypted; use the export of FreeOTP+, or scan its codes"
    } else if text.to_ascii_lowercase().contains("<html") {
        "a page to look at; export JSON or text instead"
    } else if text.trim_end().ends_with('>') {
        "XML, but not of KeePass, whose XML alone is read; export JSON or CSV, or make a list of otpauth:// links"
    } else {
        return ImportError::Unknown;
    };
    ImportError::Refused(refused)
}

/// The error for a text that begins like JSON and is not JSON.
pub(super) fn not_json(text: &str, problem: ImportError) -> ImportError {
    if !matches!(problem, ImportError::Json { .. }) {
        return problem;
    }
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let is_json = |line: Option<&str>| line.is_some_and(|line| Json::parse(line).is_ok());
    ImportError::Refused(if is_json(lines.next()) && is_json(lines.next()) {
        "several JSON documents in one file, as no app exports them; give each as a file of its own, or a list of \
         otpauth:// links"
    } else if is_settings(text) {
        "a file of settings (TOML or INI), as no app exports it; give an app's export, or a list of otpauth:// links"
    } else if text.starts_with("{\\rtf") {
        "a document of a word processor; save it as plain text, with one otpauth:// link a line"
    } else {
        return problem;
    })
}

/// Whether a text begins with the title of a section, as files of settings do.
pub(super) fn is_settings(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default().split('#').next().unwrap_or_default();
    let title = first.trim().strip_prefix('[').and_then(|title| title.strip_suffix(']'));
    let is_of_title = |c: char| c.is_alphanumeric() || " ._-:/[]\"'".contains(c);
    title.is_some_and(|title| !title.is_empty() && title.chars().all(is_of_title))
}

/// The error for a document of an app without an export, if it is one.
pub(super) fn document(json: &Json) -> Option<ImportError> {
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
