//! Damaged, foreign and hostile files.

use countersign::domain::import::{self, Import, ImportError, ImportedSecret, Keys, Opened};
use proptest::prelude::*;

use super::{ExpectedEntry, bytes, expected};

/// Opens a file that is not encrypted.
pub(super) fn read(file: &[u8]) -> Result<Import, ImportError> {
    match import::open(file)? {
        Opened::Read(import) => Ok(import),
        Opened::Locked(_) => Err(ImportError::WrongPassphrase),
    }
}

#[track_caller]
fn refused(file: &[u8], expected: &str) {
    let problem = read(file).map(|import| import.entries.len()).unwrap_err().to_string();
    assert!(problem.contains(expected), "{problem} is not {expected}");
}

#[test]
fn an_archive_without_a_known_file_is_to_be_unpacked() {
    let mut archive = bytes("1password.1pux");
    let name = b"export.data";
    let places: Vec<usize> = (0..archive.len() - name.len()).filter(|at| archive[*at..].starts_with(name)).collect();
    assert_eq!(places.len(), 2, "before its contents and in the list of files");
    for at in places {
        archive[at] = b'x';
    }
    refused(&archive, "a ZIP archive without a known file");
    refused(&archive, "unpack it, and import the file that holds the secrets");
}

#[test]
fn a_file_that_is_no_export_is_refused_with_what_to_do() {
    for (file, expected) in [
        (&b""[..], "empty"),
        (b"\xEF\xBB\xBF \n", "empty"),
        (b"hello", "no known format"),
        (b"hunter2\nuser: ada\nurl: https://example.com\n", "no known format"),
        (b"{}", "no known format"),
        (b"{\"a\": 1}", "no known format"),
        (b"{\"data\": {\"url\": \"https://example.com\"}}", "no known format"),
        (b"<svg></svg>", "XML, but not of KeePass"),
        (b"<ada@example.com>\nhello", "no known format"),
        (b"<!DOCTYPE html><html></html>", "a page to look at"),
        (b"<map><string name=\"com.authy.storage.tokens\">[]</string></map>", "Authy"),
        (b"<map><string name=\"tokenOrder\">[]</string></map>", "FreeOTP"),
        (b"{\"authenticator_tokens\": [{\"encrypted_seed\": \"x\"}], \"success\": true}", "exports nothing"),
        (b"{\"shared_secret\": \"x\", \"account_name\": \"ada\"}", "Steam Guard"),
        (b"<?xml?><KeePassFile>", "cut off"),
        (b"<!DOCTYPE x [<!ENTITY a \"b\">]>\n<KeePassFile></KeePassFile>", "line 1: not the XML"),
        (b"<KeePassFile>\n&a;</KeePassFile>", "line 2: not the XML"),
        (b"<KeePassFile>\n</Group>", "line 2: not the XML"),
        (b"PK\x03\x04", "ZIP archive that is damaged"),
        (b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "a ZIP archive without a known file"),
        (b"a,b\n1,2\n", "no known format"),
        (b"name,url,username,password\nx,y,z,hunter2\n", "without a column of one-time secrets"),
        (b"\x03\xD9\xA2\x9A\x65\xFB\x4B\xB5xxx", "KeePass 1"),
        (b"\xAC\xED\x00\x05sr", "FreeOTP"),
        (b"age-encryption.org/v1\n", "its encrypted part is damaged"),
        (b"age-encryption.org/v1\n-> X25519 AA\nAA\n--- AA\n0123456789abcdef", "decrypt it first"),
        (b"-----BEGIN PGP MESSAGE-----\n", "decrypt it first"),
        (b"SQLite format 3\0", "database of an app"),
        (b"line one\n\xFF\xFE\xFD", "line 2: not UTF-8"),
        (b"name,secret\nJos\xE9,JBSWY3DPEHPK3PXP\n", "save it as UTF-8"),
        (b"name,secret\nada,hunter2\n", "no row has a whole key"),
        (b"name,key\n", "no row has a whole key"),
        (b"name,secret\nada,\"JBSWY3DPEHPK3PXP\n", "line 2: a field never ends"),
        (b"{\"uris\": [\n\"JBSWY3DPEHPK3PXP\", JBSWY3DPEHPK3PXP]}", "line 2: not JSON"),
        (b"{\"uris\": [\"JBSWY3DPEHPK3PXP\"", "cut off"),
        (b"{\"uris\": [], \"uris\": []}", "names a field twice"),
        (b"{\"encrypted\": true, \"encKeyValidation_DO_NOT_EDIT\": \"2.x\"}", "password protected"),
    ] {
        refused(file, expected);
    }
}

#[test]
fn deep_documents_are_refused_and_no_stack_overflows() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = open.repeat(1_000_000) + "1" + &close.repeat(1_000_000);
        refused(deep.as_bytes(), "nested too deeply");
    }
}

/// The secrets of a file.
fn kept(import: &Import) -> impl Iterator<Item = &ImportedSecret> {
    import.entries.iter().filter_map(|entry| entry.read.as_ref().ok())
}

fn seed(found: &ImportedSecret) -> Vec<u8> {
    found.seed.expose().to_vec()
}

#[test]
fn an_export_that_is_cut_anywhere_is_an_error_or_fewer_entries_and_never_a_wrong_seed() {
    for (name, file) in &expected().files {
        let whole = bytes(name);
        let most = file.entries.iter().filter(|entry| matches!(entry, ExpectedEntry::Kept { .. })).count();
        let seeds: Vec<Vec<u8>> = read(&whole).map(|import| kept(&import).map(seed).collect()).unwrap_or_default();
        for end in (0..whole.len()).step_by(whole.len() / 50 + 1) {
            match read(&whole[..end]) {
                Ok(import) => {
                    // A seed that is cut between two groups of base32 looks whole.
                    let is_told = |found: &&ImportedSecret| found.notes.iter().any(|note| note.is_doubt());
                    assert!(kept(&import).filter(|found| !is_told(found)).count() <= most, "{name} cut at {end}");
                    let mut wrong = kept(&import).filter(|found| !seeds.contains(&seed(found)) && !is_told(found));
                    assert!(wrong.all(|found| found.seed.len().is_multiple_of(5)), "{name} cut at {end}");
                }
                Err(ImportError::Json { .. }) => panic!("{name} cut at {end}: a cut is not called one"),
                Err(_) => {}
            }
        }
    }
}

#[test]
fn an_entry_that_names_a_field_twice_is_skipped_and_the_others_are_kept() {
    let file = br#"{"schemaVersion": 4, "services": [
        {"name": "A", "secret": "JBSWY3DPEHPK3PXP", "otp": {"digits": 6, "digits": 8}},
        {"name": "B", "secret": "JBSWY3DPEHPK3PXP"}, null, 7]}"#;

    let import = read(file).unwrap();

    let told: Vec<String> = import
        .entries
        .iter()
        .map(|entry| {
            format!(
                "{}: {}",
                entry.place,
                entry.read.as_ref().map_or_else(ToString::to_string, |found| found.label.to_string())
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "entry 1: it names a field twice",
            "entry 2: B",
            "entry 3: it is not an entry of this format",
            "entry 4: it is not an entry of this format"
        ]
    );
}

#[test]
fn damaged_google_links_are_skipped_entries() {
    for data in ["", "!!!", "Cg", "CgEK", "CgMKAQE", "%FF", "CgUKA%2F%2F%2F", "EAE"] {
        let import = read(format!("otpauth-migration://offline?data={data}\n").as_bytes()).unwrap();
        assert_eq!(import.entries.len(), 1, "{data}");
        assert!(import.entries[0].read.is_err() || data == "CgMKAQE", "{data}");
    }
    // A size that would make the list of missing parts arbitrarily long is ignored.
    let import = read(b"otpauth-migration://offline?data=CgUKA2FiYxj/////DyAA").unwrap();
    assert!(import::missing_parts(&import.parts).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_damage_makes_a_reader_panic(which: prop::sample::Index, changes: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
        let files: Vec<String> = expected().files.into_keys().collect();
        let name: &String = which.get(&files);
        let mut file = bytes(name);
        for (at, byte) in changes.iter().take(20) {
            let at = at.index(file.len());
            file[at] = *byte;
        }
        if changes.len() % 3 == 0 {
            file.truncate(cut.index(file.len()));
        }
        drop(import::open(&file));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(file: Vec<u8>, text in "(otpauth(-migration)?://|[{\\[\\]},:\"?&=%#a-z0-9\n;]|totp){0,60}") {
        drop(import::open(&file));
        drop(import::open(text.as_bytes()));
    }
}

/// Opens a changed fixture with its own passphrase.
fn unlocked(name: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) -> Result<usize, ImportError> {
    let passphrase = expected().files.remove(name).and_then(|file| file.passphrase).unwrap();
    match import::open(&change(bytes(name)))? {
        Opened::Read(import) => Ok(import.entries.len()),
        Opened::Locked(locked) => {
            locked.open(Keys { passphrase: Some(&passphrase), key_file: None }).map(|import| import.entries.len())
        }
    }
}

#[test]
fn a_damaged_encrypted_export_is_told_from_a_wrong_passphrase_where_the_format_can_tell() {
    let flipped = |back: usize| {
        move |mut file: Vec<u8>| {
            let at = file.len() - back;
            file[at] ^= 1;
            file
        }
    };
    let replaced = |from: &'static str, to: &'static str| {
        move |file: Vec<u8>| {
            let text = String::from_utf8(file).unwrap();
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1).into_bytes()
        }
    };
    let cut = |length: usize| move |file: Vec<u8>| file[..length].to_vec();

    for (told, expected) in [
        (
            unlocked("2fas-encrypted.json", replaced("servicesEncrypted\": \"", "servicesEncrypted\": \"AAAA")),
            ImportError::Damaged,
        ),
        (
            unlocked("2fas-encrypted.json", replaced("servicesEncrypted\": \"", "servicesEncrypted\": \"!")),
            ImportError::Damaged,
        ),
        (unlocked("bitwarden-pbkdf2.json", replaced("\"data\": \"2.", "\"data\": \"2.AAAA")), ImportError::Damaged),
        (unlocked("bitwarden-pbkdf2.json", replaced("\"data\": \"2.", "\"data\": \"4.")), ImportError::Damaged),
        (unlocked("aegis-encrypted.json", replaced("\"db\": \"", "\"db\": \"AAAA")), ImportError::Damaged),
        (unlocked("andotp-encrypted.json.aes", flipped(1)), ImportError::WrongPassphraseOrOther),
        (
            unlocked("ente-encrypted.json", replaced("encryptedData\": \"", "encryptedData\": \"AAAA")),
            ImportError::WrongPassphraseOrDamaged,
        ),
        (unlocked("stratum-encrypted.authpro", flipped(1)), ImportError::WrongPassphraseOrDamaged),
        (unlocked("stratum-encrypted.authpro", cut(20)), ImportError::Truncated),
        (unlocked("stratum-legacy.authpro", flipped(20)), ImportError::WrongPassphraseOrDamaged),
        (unlocked("pykeepass-4.kdbx", flipped(1)), ImportError::Damaged),
        (unlocked("pykeepass-4.kdbx", cut(100)), ImportError::Truncated),
        (unlocked("keepassxc-cli.kdbx", flipped(1)), ImportError::WrongKeysOrDamaged),
    ] {
        assert_eq!(told, Err(expected));
    }
}

#[test]
fn costs_in_a_strangers_file_are_refused_before_any_work() {
    for (name, from, to) in [
        ("aegis-encrypted.json", "\"n\": 32768", "\"n\": 1073741824"),
        ("aegis-encrypted.json", "\"p\": 1", "\"p\": 100000"),
        ("bitwarden-pbkdf2.json", "\"kdfIterations\": 100000", "\"kdfIterations\": 4000000000"),
        ("bitwarden-argon2.json", "\"kdfMemory\": 64", "\"kdfMemory\": 1000000"),
        ("ente-encrypted.json", "\"opsLimit\": 4", "\"opsLimit\": 4000000"),
        ("ente-encrypted.json", "\"memLimit\": 8388608", "\"memLimit\": 99999999999"),
    ] {
        let text = String::from_utf8(bytes(name)).unwrap();
        assert!(text.contains(from), "{name} {from}");
        let problem = import::open(text.replace(from, to).as_bytes()).map(|_| ()).unwrap_err();
        assert!(matches!(problem, ImportError::Bounds(_)), "{name}: {problem}");
    }
}
