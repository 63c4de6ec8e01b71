//! No entry is lost silently, and no entry is stored with a seed that was cut off without a remark about it.

use countersign::domain::import::{self, Entry, Import, ImportError, Keys, Opened};
use data_encoding::HEXLOWER;

pub(super) const A: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
pub(super) const B: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
/// Base32 of 16 letters: the shortest seed that services issue.
pub(super) const SHORTEST: &str = "JBSWY3DPEHPK3PXP";

pub(super) fn read(text: &str) -> Import {
    super::bad_input::read(text.as_bytes()).unwrap()
}

/// A line for an entry: its label and seed, or the reason why it is skipped; a doubt is marked.
pub(super) fn told_of(entry: &Entry) -> String {
    match &entry.read {
        Ok(found) => {
            let doubt = if found.notes.iter().any(|note| note.is_doubt()) { " ?" } else { "" };
            format!("{} {}{doubt}", found.label, *found.seed.to_base32())
        }
        Err(why) => format!("{}: {why}", entry.place),
    }
}

#[track_caller]
pub(super) fn check(text: &str, expected: &[&str]) {
    let told: Vec<String> = read(text).entries.iter().map(told_of).collect();
    let fits = told.len() == expected.len() && told.iter().zip(expected).all(|(told, part)| told.contains(part));
    assert!(fits, "{text}\n{told:#?}\nis not\n{expected:#?}");
}

pub(super) fn link(label: &str, seed: &str) -> String {
    format!("otpauth://totp/{label}?secret={seed}")
}

#[test]
fn a_link_anywhere_in_a_line_of_a_list_is_an_entry() {
    let (a, b) = (format!("a {A}"), format!("b {B}"));
    let both = [a.as_str(), b.as_str()];
    let (one, two) = (link("a", A), link("b", B));
    for (line, is_doubtful) in [
        (format!("\"{two}\""), false),
        (format!("'{two}',"), false),
        (format!("<{two}>"), false),
        (format!("- {two}"), false),
        (format!("GitHub: {two}"), false),
        (format!("see `{two}` for it"), false),
        (format!("see {two} here"), true),
        (format!("{two} here"), true),
        (format!("x={two}"), false),
        (format!("see {}", two.to_uppercase().replace("/B?", "/b?")), false),
    ] {
        let told: Vec<String> = read(&format!("{one}\n{line}\n")).entries.iter().map(told_of).collect();
        let doubt = if is_doubtful { " ?" } else { "" };
        assert_eq!(told, [a.clone(), format!("{b}{doubt}")], "{line}");
    }
    for joint in [" ", ",", ", ", ";", "\t", " | ", " and "] {
        let told: Vec<String> = read(&format!("{one}{joint}{two}\n")).entries.iter().map(told_of).collect();
        let told: Vec<&str> = told.iter().map(|told| told.trim_end_matches(" ?")).collect();
        assert_eq!(told, both, "{joint:?}");
    }
}

#[test]
fn a_line_of_a_list_with_a_link_of_another_kind_or_in_a_comment_is_skipped_with_its_reason() {
    let (one, two) = (link("a", A), link("b", B));
    let a = format!("a {A}");
    check(&format!("{one}\n# {two}\n# from my otpauth:// app\n"), &[&a, "line 2: it is commented out"]);
    check(&format!("{one}\n\"otpauth://hotp/b?secret={B}\"\n"), &[&a, "line 2: counter-based"]);
    check(&format!("{one}\nmy game: steam://{B}\n"), &[&a, "line 2: Steam"]);
    check(&format!("{one}\nsee otpauth:// totp\n"), &[&a, "line 2: the link"]);
    // A note of one login: its other lines are not entries.
    check(&format!("hunter2\n{one}\nurl: https://example.com/steam\n"), &[&a]);
    check(&format!("hunter2\ncode: {one}\nuser: ada\n"), &[&a]);
}

#[test]
fn two_seeds_in_a_row_of_a_table_are_two_entries_unless_they_are_the_same() {
    let (a, b) = (format!("A {A}"), format!("A {B}"));
    let both = [a.as_str(), b.as_str()];
    for (table, expected) in [
        (format!("Title,OTPAuth,2fa\nA,{A},{B}\n"), &both[..]),
        (format!("Title,OTPAuth,OTPAuth\nA,{A},{B}\n"), &both[..]),
        (format!("Title,otp_1,otp_2\nA,{A},{B}\n"), &both[..]),
        (format!("Title,OTPAuth,2fa\nA,{A},{}\n", link("A", B)), &both[..]),
        (format!("Title,OTPAuth\nA,\"{}\n{}\"\n", link("A", A), link("A", B)), &both[..]),
        (format!("Title,OTPAuth,2fa\nA,{A},{}\n", A.to_lowercase()), &both[..1]),
        (format!("Title,OTPAuth,2fa\nA,{},{A}\n", link("A", A)), &both[..1]),
        // A column of this name may only say whether there is a second factor, or contain an old code.
        (format!("Title,OTPAuth,2fa\nA,{A},enabled\n"), &both[..1]),
        (format!("Title,OTPAuth,2fa\nA,{A},123456\n"), &both[..1]),
    ] {
        check(&table, expected);
    }
    // The link's parameters apply, whichever column it is in.
    let import = read(&format!("Title,OTPAuth,2fa\nA,{A},{}&digits=8\n", link("A", A)));
    assert_eq!(import.entries.len(), 1);
    assert_eq!(import.entries[0].read.as_ref().ok().unwrap().totp.digits.get(), 8);
    let broken = format!("Title,OTPAuth,2fa\nA,{A},{}\n", link("A", "0189"));
    check(&broken, &[&a, "line 2: the link has a secret that is not base32"]);
}

#[test]
fn a_link_in_a_field_of_bitwarden_is_an_entry_unless_it_is_the_logins_own() {
    let document = |values: &[&str]| {
        let fields: Vec<_> =
            values.iter().map(|value| serde_json::json!({"name": "f", "value": value, "type": 1})).collect();
        let login = serde_json::json!({"username": "ada", "totp": A});
        serde_json::json!({"encrypted": false, "folders": [], "items": [{"type": 1, "name": "A", "login": login, "fields": fields}]})
    };
    let (a, b) = (format!("ada {A}"), format!("b {B}"));
    check(&document(&["words", "https://example.com", &link("b", B)]).to_string(), &[&a, &b]);
    check(&document(&[&link("a", A)]).to_string(), &[&a]);
    check(&document(&["otpauth://hotp/b?secret=A"]).to_string(), &[&a, "entry 1: counter-based"]);
}

#[test]
fn a_seed_that_a_file_ends_in_is_doubtful_if_it_may_be_cut() {
    let whole = format!("a {A}");
    for seed in [A, SHORTEST] {
        check(&link("a", seed), &[&format!("a {seed}")]);
        let told = told_of(&read(&link("a", seed)).entries[0]);
        assert!(!told.contains('?'), "{told}");
    }
    for length in (4..32).filter(|length| length % 8 != 0) {
        let cut = format!("{}\n{}", link("a", A), link("b", &B[..length]));
        let told: Vec<String> = read(&cut).entries.iter().map(told_of).collect();
        assert!(told.len() == 2 && told[0] == whole && told[1].ends_with(" ?"), "{length}: {told:?}");
        for table in [
            format!("Title,URL,Username,Password,Notes,OTPAuth\nX,,a,p,,{A}\nX,,b,p,,{}", &B[..length]),
            format!("Title,URL,Username,Password,Notes,OTPAuth\nX,,a,p,,{A}\nX,,b,p,,{}", link("b", &B[..length])),
        ] {
            let told: Vec<String> = read(&table).entries.iter().map(told_of).collect();
            let is_told =
                told.len() == 2 && told[0] == whole && (told[1].ends_with(" ?") || told[1].contains("line 3: "));
            assert!(is_told, "{length}: {told:?}");
        }
    }
    // The period is cut off, and the codes depend on it.
    check(&format!("{}&period=6", link("a", A)), &["a GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ ?"]);
    // 26 letters are the 128 bits that some services issue: complete, if the line has an end.
    let told = told_of(&read(&format!("{}\n", link("a", &A[..26]))).entries[0]);
    assert!(!told.contains('?'), "{told}");
}

#[test]
fn a_row_of_a_table_that_ends_in_its_seed_is_never_kept_without_a_word() {
    const HEAD: &str = "Title,Url,Username,Password,OTPAuth,Favorite,Archived,Tags,Notes\n";
    let whole = format!("X,,a,p,{A},false,false,,\n");
    let first = format!("a {A}");
    for seed in [&B[..4], &B[..16], &B[..24], B, &link("b", B)] {
        // A row that ends with the file counts as cut off.
        check(&format!("{HEAD}{whole}Y,,b,p,{seed}"), &[&first, "line 3: its row was cut off"]);
        let told: Vec<String> = read(&format!("{HEAD}Y,,b,p,{seed}\n{whole}")).entries.iter().map(told_of).collect();
        assert!(told.len() == 2 && told[0].ends_with(" ?"), "{told:?}");
    }
    // The seed may have been behind the cut.
    check(&format!("{HEAD}{whole}Y,,b"), &[&first, "line 3: its row was cut off"]);
    // Rows without their empty last columns are usual.
    check(&format!("{HEAD}Y,,b\n{whole}"), &[&first]);
    // A quoted value that has its closing quote was not cut off.
    let told = read(&format!("Title,OTPAuth\nX,\"{}\"", &A[..26])).entries.iter().map(told_of).collect::<Vec<_>>();
    assert_eq!(told, [format!("X {}", &A[..26])]);
}

#[test]
fn a_link_with_a_seed_that_is_shorter_than_any_services_is_doubtful_like_a_bare_key() {
    for (seed, is_doubtful) in [("MFRGGZD", true), (&SHORTEST[..15], true), (SHORTEST, false), (A, false)] {
        for text in [format!("{}\n", link("a", seed)), format!("Title,OTPAuth\na,{seed}\n")] {
            let told = told_of(&read(&text).entries[0]);
            assert_eq!(told.ends_with(" ?"), is_doubtful, "{text}: {told}");
        }
    }
}

/// Files of `gpg` 2.2: with `-c`, with `-e` to an RSA key, and to a key of Curve25519; with the offset of the version,
/// and that of the second packet.
const OPENPGP: [(&str, usize, usize); 3] = [
    (
        "8c0d0409030280b771fba34a8e83ffd26201e127fbd58a1267f6f6c8b3db7d27893cdae3fbc4e336f281373a90c0014c6f62\
     64c6fb0d8b88bde251423698fbd3cf619fb01f1109da37b1472bcbda221044543dfd936361f9be02402881060eee1ffc192c\
     6d3ef711d8722cfc76bf37aa567be7",
        2,
        15,
    ),
    (
        "85018c039e64e97a2f73493b010bff4e6cbd6f78b2787ae84290f1bb00507a9141d33d30f38ba558c6a625445e7a1d334c29\
     1c370f07a934cff38af276a5ad7a68b36033828c326a0e73bf311984efb4f0a7731808a297b1adb3dc07ae2596e1723d93ea\
     ed223cfba81e7eddee973b5ee903f7cc53bf0fa1e8c80dcac78b8ebaf2920a9ce3b50ec457c1bfc04a669aa80278d6d1c28e\
     f9feff6875ab272a089032c2a2c6cbc37bb6dbd95258c6c7011a947743b36b4f4baf036dcb05816c6cf84cdbb1723be896cf\
     a6a25914a9a3c28f5749443e99b6c2df6dc7b2875ee792368ef6cb7d30adff924565b56f49d99b2f785a9c0bebbdf8a68b68\
     c41bc087807468a963b29d4a562037e4989dbdceb95bac3ee448aa4d56de0db35473827521697bbb14ecde36f632e5e5af97\
     d2f3a114a64b92e786f6f299eb0fb89922f96dc19fc8da4294312aaf8bb2e855ff0528aa7bb4f8f14f3d2e75b24ec774d1a5\
     d5aaba49792558090a8677ea4ac6bc4bf2fb8ba16c68c3b355db187106f2f33d28938b7bd52dc6af8a57ead1d89beda87cd2\
     680171b68a935f5591713d514a2b8520120c39afe6c414504abf70648822e422ee72b7c9409f84906144abb942db80f3307a\
     dc0aa620ae280cd00cc4cf55d490dd9148cfd2ad9e28b72c53c45c2819f835137b3b65ca7e3a0c382d165d658c8994c02e7f\
     8a04658a80",
        3,
        399,
    ),
    (
        "845e0384b1c8011a6cb56012010740ade6af1335e34760705006365431caf5aeddf116dbe920b5be2b9d3e5815b820301bfe\
     c0d7f02343fcfc82e3ea17606eac10f1ea5b84dde8d4c43ecd818e4ef78b3d1e65548359445f436529e5e6281542d2680125\
     ed173c35051f65f58b589114af2de43d71dcd3ec3f92c3ae15f17dd2cafe446aa1c1f8632f9653b0e4d567197195c0bffbc5\
     917b82aec78856a6fd5706de738361bdff396450cab73087b51fcb9186f43dc5922af68fb7544fc95b0bf44dfd15430da178\
     21c8",
        2,
        96,
    ),
];

#[test]
fn what_openpgp_encrypted_is_told_as_that_and_nothing_else_is_taken_for_it() {
    for (file, version, next) in OPENPGP {
        let file = HEXLOWER.decode(file.as_bytes()).unwrap();
        let problem = import::open(&file).map(|_| ()).unwrap_err();
        assert!(problem.to_string().starts_with("encrypted with OpenPGP; decrypt it first"), "{problem}");
        // A file that is cut off gets the same error.
        assert_eq!(import::open(&file[..60]).map(|_| ()), Err(problem));
        // Another version, or a packet that is not followed by another one, is something else.
        for (at, byte) in [(0, 0x90), (version, 2), (next, 0x14)] {
            let mut other = file.clone();
            other[at] = byte;
            assert_ne!(import::open(&other).map(|_| ()), Err(problem), "{at}");
        }
    }
    for (name, file) in super::expected().files {
        let told = import::open(&super::bytes(&name)).map(|_| ()).map_err(|problem| problem.to_string());
        assert!(told.is_ok(), "{name}, of {}: {told:?}", file.format);
    }
}

#[test]
fn a_binary_file_that_is_no_backup_of_andotp_is_not_called_one() {
    let of = |start: &[u8], rest: &dyn Fn(usize) -> u8| {
        let file: Vec<u8> = start.iter().copied().chain((0..4000).map(rest)).collect();
        import::open(&file).map(|_| ())
    };
    let noise = |at: usize| (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[3];
    for start in [
        &b"\0\0\0\x18ftypheic\0\0\0\0"[..],
        b"\x1F\x8B\x08\0\0\0\0\0\0\x03",
        b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n",
        b"7z\xBC\xAF\x27\x1C\0\x04",
        b"Rar!\x1A\x07\x01\0",
        b"\xFD7zXZ\0\0\x04",
        b"\x28\xB5\x2F\xFD\x04",
        b"BZh91AY&SY",
        b"\x7FELF\x02\x01\x01\0",
        b"GIF89a\xFF\xFF",
        b"bplist00\xD4\x01",
        b"ID3\x04\0\0\xFF",
        b"OggS\0\x02\xFF",
        b"MZ\x90\0\x03\0",
        b"\x1A\x45\xDF\xA3\x9F",
    ] {
        assert!(matches!(of(start, &noise), Err(ImportError::NotText { .. })), "{start:?}");
    }
    // Neither is data that repeats itself, as in tables and pictures.
    let repeats = |at: usize| [0xFF_u8, 0x10, 0, 0x80, 0x01, 0][at % 6];
    let counts = |at: usize| if at.is_multiple_of(4) { noise(at) } else { 0 };
    let latin = |at: usize| b"M\xFCller, \xE4rger \xFCber 2 codes\n"[at % 27];
    for rest in [&repeats as &dyn Fn(usize) -> u8, &counts, &latin] {
        assert!(matches!(of(b"\xFF\x01", rest), Err(ImportError::NotText { .. })));
    }
}

#[test]
fn a_backup_of_aegis_with_many_passwords_opens_with_the_last_of_them() {
    let text = String::from_utf8(super::bytes("aegis-encrypted.json")).unwrap();
    let passphrase = super::expected().files.remove("aegis-encrypted.json").and_then(|file| file.passphrase).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let opened = |others: usize, cost: u64| {
        let mut document = document.clone();
        let slots = document["header"]["slots"].as_array_mut().unwrap();
        let mut other = slots[1].clone();
        other["n"] = cost.into();
        other["salt"] = "00".repeat(32).into();
        slots.splice(0..0, std::iter::repeat_n(other, others));
        match import::open(document.to_string().as_bytes())? {
            Opened::Read(_) => panic!("it is encrypted"),
            Opened::Locked(locked) => {
                let keys = Keys { passphrase: Some(&passphrase), key_file: None };
                locked.open(keys).map(|import| import.entries.len())
            }
        }
    };
    assert_eq!(opened(30, 2), Ok(16));
}

#[test]
fn a_cost_beyond_its_bound_is_told_in_a_whole_sentence() {
    for (name, from, to, told) in [
        (
            "bitwarden-pbkdf2.json",
            "\"kdfIterations\": 100000",
            "\"kdfIterations\": 4000000000",
            "rounds of PBKDF2 is beyond",
        ),
        ("ente-encrypted.json", "\"opsLimit\": 4", "\"opsLimit\": 4000000", "passes of Argon2 is beyond"),
        ("bitwarden-argon2.json", "\"kdfParallelism\": 4", "\"kdfParallelism\": 400", "lanes of Argon2 is beyond"),
    ] {
        let text = String::from_utf8(super::bytes(name)).unwrap();
        assert!(text.contains(from), "{name} {from}");
        let problem = import::open(text.replace(from, to).as_bytes()).map(|_| ()).unwrap_err().to_string();
        assert!(problem.starts_with("the number of ") && problem.contains(told), "{problem}");
    }
}

#[test]
fn a_registration_for_push_messages_is_named_with_what_to_do() {
    for (link, app) in [
        ("phonefactor://activate_account?code=123456789&url=https%3A%2F%2Fexample.com", "Microsoft Authenticator"),
        ("PHONEFACTOR://activate_account?code=1", "Microsoft Authenticator"),
        ("oktaverify://email/?f=abc&t=def", "Okta Verify"),
        ("duo://ABCDEFGH-YXBpLmV4YW1wbGUuY29t", "Duo Mobile"),
    ] {
        let import = read(&format!("{}\n{link}\n", self::link("a", A)));
        let told = told_of(&import.entries[1]);
        let says = told.contains(app) && told.contains("tell the service that you use another authenticator app");
        assert!(import.entries.len() == 2 && says, "{told}");
    }
}
