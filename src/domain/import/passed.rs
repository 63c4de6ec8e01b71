//! The messages between the process that stores secrets and the one that reads a stranger's file: the file and its keys
//! one way, its entries the other.
//!
//! The file may have taken its reader over, so the answer's types check their contents: names and remarks can be shown,
//! seeds are seeds, and parameters are within their bounds. An answer with any other content is refused.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Entry, Format, Import, ImportError, ImportedSecret, Opened, Part, Place, open};
use crate::domain::{
    characters::is_unshowable,
    limits::{IMPORT_ENTRIES_MAX, IMPORT_REMARK_CHARS_MAX},
    seed::Seed,
    text::ShownText,
    totp::TotpParameters,
};

/// Bytes of the two lengths before everything else.
pub const HEAD_BYTES: usize = 8;

/// The keys of an encrypted file.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a> {
    /// The passphrase; `None` before the person was asked for it.
    pub passphrase: Option<&'a str>,
    /// The contents of the key file of a `KeePass` database.
    pub key_file: Option<&'a [u8]>,
}

/// The answer of the process that reads a file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer<E = CheckedEntry> {
    /// It was read.
    Read(Contents<E>),
    /// It is encrypted, and there was no passphrase.
    Locked {
        /// The program that wrote it.
        format: Format,
        /// Bytes of memory that opening it takes beyond the file.
        memory: u64,
    },
    /// It can't be read.
    Unread {
        /// The reason.
        problem: Remark,
        /// Whether another passphrase may open it.
        wrong_passphrase: bool,
    },
}

/// The contents of a file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents<E = CheckedEntry> {
    /// The program that wrote it.
    pub format: Format,
    /// The parts of an export of Google Authenticator that are in it.
    pub parts: Vec<Part>,
    /// The columns of a table that no known program wrote.
    pub columns: Vec<CheckedColumn>,
    /// The entries, in the file's order.
    pub entries: Vec<E>,
}

/// A column of a table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckedColumn {
    /// Its name in the table.
    pub name: Remark,
    /// The field that it is read as; `None` if it is not read.
    pub read_as: Option<Remark>,
}

/// An entry, checked.
#[derive(Deserialize)]
#[serde(try_from = "Plain")]
pub struct CheckedEntry {
    /// Its place in the file.
    pub place: Place,
    /// Its name in the file.
    pub title: Option<ShownText>,
    /// The secret, or the reason for skipping the entry.
    pub read: Result<CheckedSecret, Remark>,
}

/// A secret, checked. No `Debug`: it holds the seed.
pub struct CheckedSecret {
    /// The account.
    pub label: ShownText,
    /// The service.
    pub issuer: Option<ShownText>,
    /// The parameters of its codes.
    pub totp: TotpParameters,
    /// The seed.
    pub seed: Seed,
    /// Whether each of its codes goes to one caller only.
    pub single_use: bool,
    /// The repairs and the doubts.
    pub notes: Vec<CheckedNote>,
}

/// A remark about an entry that is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckedNote {
    /// Whether the entry may be wrong, rather than only written differently.
    pub is_doubt: bool,
    /// The text of the remark.
    pub text: Remark,
}

/// A sentence that can be shown to a person.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Remark(String);

/// An entry as it is sent.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {
    place: Place,
    title: Option<String>,
    read: Result<PlainSecret, Remark>,
}

/// A secret as it is sent. No `Debug`: it holds the seed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainSecret {
    label: String,
    issuer: Option<String>,
    algorithm: String,
    digits: u64,
    period: u64,
    seed: Zeroizing<String>,
    single_use: bool,
    notes: Vec<CheckedNote>,
}

/// The error for an answer that no reader of ours gives.
const NO_ANSWER: &str = "not what a reader answers";

impl<'a> Keys<'a> {
    /// The bytes that precede the file.
    pub fn head(self) -> Zeroizing<Vec<u8>> {
        let parts = [self.passphrase.map(str::as_bytes), self.key_file];
        let mut head =
            Zeroizing::new(Vec::with_capacity(HEAD_BYTES + parts.iter().flatten().map(|p| p.len()).sum::<usize>()));
        for part in parts {
            // One more than the length, because a missing part is not the same as an empty one.
            let length = part.map_or(0, |part| part.len().saturating_add(1));
            head.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        }
        parts.into_iter().flatten().for_each(|part| head.extend_from_slice(part));
        head
    }

    /// Splits an input into the keys and the file after them.
    fn parted(input: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (lengths, mut rest) = input.split_at_checked(HEAD_BYTES)?;
        let (lengths, _) = lengths.as_chunks::<4>();
        let mut parts = lengths.iter().map(|length| match u32::from_le_bytes(*length).checked_sub(1) {
            None => Some(None),
            Some(length) => {
                let (part, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = behind;
                Some(Some(part))
            }
        });
        let (passphrase, key_file) = (parts.next()??, parts.next()??);
        let passphrase = passphrase.map(std::str::from_utf8).transpose().ok()?;
        Some((Self { passphrase, key_file }, rest))
    }
}

/// Reads a file in the process that does nothing else. The input is [`Keys::head`], then the file.
pub fn answer(input: &[u8]) -> impl Serialize + use<> {
    let read = Keys::parted(input).ok_or(ImportError::Damaged).and_then(|(keys, file)| match open(file)? {
        Opened::Read(import) => Ok(Answer::Read(Contents::of(import))),
        Opened::Locked(locked) if keys.passphrase.is_some() => locked.open(keys).map(Contents::of).map(Answer::Read),
        Opened::Locked(locked) => Ok(Answer::Locked { format: locked.format(), memory: locked.memory() }),
    });
    match read {
        Ok(Answer::Read(contents)) if contents.entries.len() > IMPORT_ENTRIES_MAX => Answer::Unread {
            problem: Remark(format!("more than {IMPORT_ENTRIES_MAX} entries; split the file")),
            wrong_passphrase: false,
        },
        Ok(read) => read,
        Err(problem) => {
            let wrong_passphrase = matches!(
                problem,
                ImportError::WrongPassphrase
                    | ImportError::WrongPassphraseOfMany(_)
                    | ImportError::WrongPassphraseOrDamaged
                    | ImportError::WrongPassphraseOrOther
                    | ImportError::WrongKeys
                    | ImportError::WrongKeysOrDamaged
            );
            Answer::Unread { problem: Remark(problem.to_string()), wrong_passphrase }
        }
    }
}

impl Contents<Plain> {
    fn of(import: Import) -> Self {
        let Import { format, entries, parts, columns } = import;
        let columns = columns.into_iter().map(|column| CheckedColumn {
            name: Remark(column.name.to_string()),
            read_as: column.read_as.map(|word| Remark(word.to_owned())),
        });
        Self { format, parts, columns: columns.collect(), entries: entries.into_iter().map(Plain::of).collect() }
    }
}

impl Plain {
    fn of(entry: Entry) -> Self {
        let Entry { place, title, read } = entry;
        let read = match read {
            Ok(found) => Ok(PlainSecret::of(found)),
            Err(why) => Err(Remark(why.to_string())),
        };
        Self { place, title: title.map(|title| title.to_string()), read }
    }
}

impl PlainSecret {
    fn of(found: ImportedSecret) -> Self {
        let ImportedSecret {
            label,
            issuer,
            totp: TotpParameters { algorithm, digits, period },
            seed,
            single_use,
            notes,
        } = found;
        Self {
            label: label.to_string(),
            issuer: issuer.map(|issuer| issuer.to_string()),
            algorithm: algorithm.as_str().to_owned(),
            digits: digits.get().into(),
            period: period.seconds().into(),
            seed: seed.to_base32(),
            single_use,
            notes: notes
                .into_iter()
                .map(|note| CheckedNote { is_doubt: note.is_doubt(), text: Remark(note.to_string()) })
                .collect(),
        }
    }

    fn checked(self) -> Result<CheckedSecret, &'static str> {
        let totp = TotpParameters {
            algorithm: self.algorithm.parse().map_err(|_| NO_ANSWER)?,
            digits: self.digits.try_into().map_err(|_| NO_ANSWER)?,
            period: self.period.try_into().map_err(|_| NO_ANSWER)?,
        };
        Ok(CheckedSecret {
            label: shown(&self.label)?,
            issuer: self.issuer.as_deref().map(shown).transpose()?,
            totp,
            seed: Seed::from_base32(&self.seed).map_err(|_| NO_ANSWER)?,
            single_use: self.single_use,
            notes: self.notes,
        })
    }
}

impl TryFrom<Plain> for CheckedEntry {
    type Error = &'static str;

    fn try_from(plain: Plain) -> Result<Self, &'static str> {
        let Plain { place, title, read } = plain;
        let read = match read {
            Ok(secret) => Ok(secret.checked()?),
            Err(why) => Err(why),
        };
        Ok(Self { place, title: title.as_deref().map(shown).transpose()?, read })
    }
}

impl TryFrom<String> for Remark {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let fits = text.chars().nth(IMPORT_REMARK_CHARS_MAX).is_none() && !text.chars().any(is_unshowable);
        if fits { Ok(Self(text)) } else { Err(NO_ANSWER) }
    }
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parses a child's answer, and answers a parent's input: the messages between the two, both ways.
#[cfg(fuzzing)]
pub(super) fn fuzz(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Answer>(bytes);
    let _ = serde_json::to_writer(std::io::sink(), &answer(bytes));
}

fn shown(text: &str) -> Result<ShownText, &'static str> {
    ShownText::parse(text).map_err(|_| NO_ANSWER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "otpauth://totp/GitHub:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=GitHub&digits=8\n";

    fn answered(keys: Keys<'_>, file: &[u8]) -> String {
        serde_json::to_string(&answer(&[keys.head().as_slice(), file].concat())).unwrap()
    }

    fn read(answer: &str) -> Result<Vec<CheckedEntry>, serde_json::Error> {
        match serde_json::from_str(answer)? {
            Answer::Read(contents) => Ok(contents.entries),
            Answer::Locked { .. } | Answer::Unread { .. } => panic!("it can be read"),
        }
    }

    #[test]
    fn what_was_read_passes_as_it_is() {
        let answer = answered(Keys::default(), (LINK.to_owned() + "otpauth://hotp/x?secret=GEZDGNBV\n").as_bytes());
        let entries = read(&answer).unwrap();
        let [first, second] = entries.as_slice() else { panic!("{answer}") };
        let secret = first.read.as_ref().map_err(ToString::to_string).unwrap();
        assert_eq!((secret.label.as_str(), secret.seed.expose()), ("ada", &b"12345678901234567890"[..]));
        assert_eq!((secret.totp.digits.get(), first.place.to_string().as_str()), (8, "line 1"));
        let why = second.read.as_ref().map(|_| ()).map_err(ToString::to_string);
        assert!(why.is_err_and(|why| why.contains("counter-based")));
    }

    #[test]
    fn keys_and_file_are_told_apart_whatever_they_hold() {
        for (passphrase, key_file) in
            [(None, None), (Some(""), None), (None, Some(&b""[..])), (Some("ünï"), Some(b"\0\xFF"))]
        {
            let input = [Keys { passphrase, key_file }.head().as_slice(), b"file"].concat();
            let (keys, file) = Keys::parted(&input).unwrap();
            assert_eq!((keys.passphrase, keys.key_file, file), (passphrase, key_file, &b"file"[..]));
            assert!(Keys::parted(&input[..input.len() - 5]).is_none());
        }
    }

    #[test]
    fn an_answer_that_no_reader_gives_is_none() {
        let good = answered(Keys::default(), LINK.as_bytes());
        assert!(read(&good).is_ok());
        for (from, to) in [
            ("\"ada\"", "\"a\\u001b[2Jda\""),
            ("\"ada\"", "\"\""),
            ("\"digits\":8", "\"digits\":7"),
            ("\"period\":30", "\"period\":0"),
            ("\"SHA1\"", "\"MD5\""),
            ("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", ""),
            ("\"GitHub: ada\"", "\"\\u202e\""),
            ("\"notes\":[]", "\"notes\":[{\"is_doubt\":true,\"text\":\"\\u0007\"}]"),
            ("\"single_use\"", "\"more\":1,\"single_use\""),
            ("\"links\"", "\"unknown\""),
        ] {
            assert!(good.contains(from), "{from} in {good}");
            assert!(read(&good.replace(from, to)).is_err(), "{to}");
        }
        let long = "x".repeat(IMPORT_REMARK_CHARS_MAX + 1);
        let remark = |text: &str| {
            serde_json::from_str::<Answer>(&format!(r#"{{"unread":{{"problem":"{text}","wrong_passphrase":false}}}}"#))
        };
        assert!(remark(&long[1..]).is_ok() && remark(&long).is_err() && remark("\\n").is_err());
    }

    #[test]
    fn a_file_has_as_many_entries_as_the_limit_allows() {
        let told = |count: usize| answered(Keys::default(), "steam://A\n".repeat(count).as_bytes());
        assert_eq!(read(&told(IMPORT_ENTRIES_MAX)).unwrap().len(), IMPORT_ENTRIES_MAX);
        assert!(told(IMPORT_ENTRIES_MAX + 1).contains("split the file"));
    }
}
