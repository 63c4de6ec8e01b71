//! The name of a file in a message about it. A person may have typed a seed in its place, so only the name of a file
//! that exists, or a name that can't be a seed, is shown.

use std::path::Path;

use super::audit_table::harmless;

/// The least number of letters of a word that may be a seed.
const SEED_CHARS_MIN: usize = 8;
/// The least number of letters of a word that may be a seed although it looks like an ordinary word.
const SEED_CHARS_USUAL: usize = 16;

/// The file's name as it can be shown: characters that a terminal would obey or hide are escaped. Only for a file that
/// was opened.
pub(super) fn shown_path(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { harmless(&path.display().to_string()) }
}

/// [`shown_path`] for a name under which there may be no file; `None` if no file exists and the name may be a seed.
pub(super) fn typed_path(path: &Path) -> Option<String> {
    let is_there = path.symlink_metadata().is_ok();
    (is_there || !may_be_seed(&path.display().to_string())).then(|| shown_path(path))
}

/// The extensions of files that hold secrets. A person does not type one after a seed.
const KINDS: [&str; 22] = [
    "1pux", "2fas", "aes", "age", "authpro", "bin", "csv", "db", "gpg", "html", "jpeg", "jpg", "json", "kdbx", "keyx",
    "pgp", "png", "tsv", "txt", "webp", "xml", "zip",
];

/// Whether a text may be a link or hold base32: a long word, a shorter one in capitals or with digits, or three groups
/// of the same length. A seed is in one case, and no file extension follows it unless it is a part of a name.
fn may_be_seed(text: &str) -> bool {
    let words: Vec<&str> = text.split(|c: char| !matches!(c, 'a'..='z' | 'A'..='Z' | '2'..='7')).collect();
    let has_kind =
        text.rsplit_once('.').is_some_and(|(_, end)| KINDS.iter().any(|kind| kind.eq_ignore_ascii_case(end)));
    let has = |word: &str, is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    let is_word = |word: &str| !has(word, u8::is_ascii_digit) && has(word, u8::is_ascii_lowercase);
    let is_name = |word: &str| is_word(word) && (has_kind || has(word, u8::is_ascii_uppercase));
    let least = if has_kind { SEED_CHARS_USUAL } else { SEED_CHARS_MIN };
    let long =
        |word: &&str| !is_name(word) && (word.len() >= SEED_CHARS_USUAL || word.len() >= least && !is_word(word));
    let grouped =
        |words: &[&str]| matches!(words, [a, b, c] if a.len() > 2 && a.len() == b.len() && b.len() == c.len());
    text.contains("://") || text.contains('=') || words.iter().any(long) || words.windows(3).any(grouped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_may_be_a_seed_is_not_shown_and_usual_names_are() {
        for name in [
            "GEZDGNBVGY3TQOJQ",
            "gezdgnbvgy3tqojqgezdgnbvgy3tqojq",
            "gezd gnbv gy3t qojq",
            "GEZD-GNBV-GY3T-QOJQ",
            "x-GEZDGNBVGY3TQOJQ.png",
            "GEZDGNBV",
            "otpauth://totp/a?secret=x",
            "folder/GEZDGNBV",
            "gezdgnbvgyatqojq",
            "mfrggzdfmztwqylk/x",
        ] {
            assert_eq!(typed_path(Path::new(name)), None, "{name}");
        }
        for name in [
            "phone.txt",
            "Takeout-Passwords.csv",
            "bitwarden_export_20260101123456.json",
            "aegis-backup-20260101-123456.json",
            "2fas-backup-20260101.2fas",
            "/home/ada/Downloads/1PasswordExport.1pux",
            "Screenshot 2026-11-28 at 15.30.00.png",
            "export (2).csv",
            "Müller.json",
            "ProtonAuthenticatorExport.json",
            "googleauthenticatorexport.png",
            "BACKUPFILE.json",
            "/home/ada/BitwardenAuthenticatorExport",
        ] {
            assert_eq!(typed_path(Path::new(name)).as_deref(), Some(name));
        }
        assert_eq!(typed_path(Path::new("-")).as_deref(), Some("standard input"));
        assert_eq!(shown_path(Path::new("a\u{1b}b\u{202e}.txt")), "a\\u{1b}b\\u{202e}.txt");
    }
}
