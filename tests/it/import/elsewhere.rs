//! Texts behind a link, beside a seed, or in another field than the format's own: each is an entry, or a skipped one
//! with its reason, and a seed never becomes longer by them.

use countersign::domain::import::{self, Format, ImportError, Opened};
use serde_json::{Value, json};

use super::losses::{A, B, SHORTEST, check, link, read, told_of};

fn told(text: &str) -> Vec<String> {
    read(text).entries.iter().map(told_of).collect()
}

fn refused(text: &[u8]) -> String {
    import::open(text).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn words_behind_a_seed_in_groups_are_never_a_part_of_it_without_a_word() {
    const GROUPS: &str = "gezd gnbv gy3t qojq";
    let seed = "GEZDGNBVGY3TQOJQ";
    let a = format!("a {seed} ?");
    for words in [" for bob", " bob", " (old)", " my bank, really"] {
        check(&format!("{}\n", link("A:a", &format!("{GROUPS}{words}"))), &[&a]);
        check(&json!([link("A:a", &format!("{GROUPS}{words}"))]).to_string(), &[&a]);
        check(&format!("Title,Username,TOTP\nA,a,\"{GROUPS}{words}\"\n"), &[&a]);
        check(&format!("Title,Username,TOTP\nA,a,\"{seed}{words}\"\n"), &[&a]);
    }
    // A word of four letters may also be a group of the seed.
    for text in [
        format!("{}\n", link("A:a", &format!("{GROUPS} from bank"))),
        format!("{}\n", link("A:a", &format!("{GROUPS} for bob & co"))),
        format!("Title,Username,TOTP\nA,a,{GROUPS} from bank\n"),
    ] {
        assert!(told(&text)[0].ends_with(" ?"), "{text}: {:?}", told(&text));
    }
    let whole = format!("a {seed}{seed}");
    for text in [
        format!("{}\n", link("A:a", &format!("{GROUPS} {GROUPS}"))),
        format!("Title,Username,TOTP\nA,a,{GROUPS} {GROUPS}\n"),
    ] {
        assert_eq!(told(&text), [whole.as_str()], "{text}");
    }
}

#[test]
fn a_cell_with_two_seeds_is_skipped_and_never_stored_as_one() {
    for cell in [
        format!("{A} {B}"),
        format!("{A}\n{B}"),
        format!("{SHORTEST}\n{SHORTEST}\n{SHORTEST}"),
        "gezd gnbv gy3t qojq\njbsw y3dp ehpk 3pxp\ngezd gnbv gy3t qojq".to_owned(),
    ] {
        check(&format!("Title,TOTP,Notes\nA,\"{cell}\",\n"), &["line 2: its secret looks like several seeds"]);
        let login = json!({"username": "ada", "totp": cell});
        let document = json!({"encrypted": false, "items": [{"type": 1, "name": "A", "login": login}]});
        check(&document.to_string(), &["entry 1: its secret looks like several seeds"]);
    }
    check(
        &format!("Title,TOTP,Notes\nA,\"{} and {B}\",\n", link("a", A)),
        &[&format!("a {A} ?"), "line 2: it is a bare key"],
    );
}

#[test]
fn a_bare_key_beside_a_link_is_counted() {
    let a = format!("a {A}");
    let bare = |line: usize| format!("line {line}: it is a bare key");
    check(&format!("{}\n{B}\nGitHub: {A}\n", link("a", A)), &[&a, &bare(2), &bare(3)]);
    check(&format!("{}\nGitHub {B}\nuser: ada\nmy gezd gnbv\n", link("a", A)), &[&a, &bare(2)]);
    check(&format!("{B}\n{}\n", link("a", A)), &[&bare(1), &a]);
    check(&format!("{}\nBob: gezd gnbv gy3t qojq\n", link("a", A)), &[&a, &bare(2)]);
    check(&format!("see {} and {B}\n", link("a", A)), &[&format!("{a} ?"), &bare(1)]);
    check(&format!("{}\n# old: {B}\n", link("a", A)), &[&a, "line 2: it is commented out"]);
    // A file of `pass`: a password that consists of words is not a key.
    check(&format!("correct horse battery staple\n{}\nurl: https://example.com/steam\n", link("a", A)), &[&a]);
}

#[test]
fn a_second_seed_of_a_row_that_was_mistyped_or_is_short_is_counted() {
    let a = format!("A {A}");
    check(&format!("Title,OTPAuth,2fa\nA,{A},JBSWY3DPEHPK3PX1\n"), &[&a, "line 2: its secret is not base32"]);
    check(&format!("Title,OTPAuth,2fa\nA,{A},JBSW Y3DP EHPK\n"), &[&a, "A JBSWY3DPEHPA ?"]);
    check(&format!("Title,OTPAuth,2fa\nA,{A},JBSWYDDPEHPK\n"), &[&a, "A JBSWYDDPEHPA ?"]);
    for remark in ["enabled", "ENABLED", "Disabled", "123456", "123 456", "yes", "SMS", "SHA256", "authenticator"] {
        check(&format!("Title,OTPAuth,2fa\nA,{A},{remark}\n"), &[&a]);
    }
}

#[test]
fn every_column_that_is_called_otp_is_one_of_seeds() {
    let (a, b) = (format!("A {A}"), format!("A {B}"));
    check(&format!("Title,otp key,otp\nA,{A},{B}\n"), &[&b, &a]);
    for name in ["otp key", "OTP Code Secret", "totp_secret_key", "Authenticator Key"] {
        check(&format!("Title,{name},Username,Password\nA,{A},,p\n"), &[&a]);
    }
    // Columns of other facts about a seed are not columns of seeds.
    let table = format!(
        "Title,otp,otp_type,otp digits,otp created at,otp issuer\nA,{A},totp,6,2026-11-28 10:00,GITHUBENTERPRISE\n"
    );
    check(&table, &[&a]);
    check("Title,otp_remark,otp\nA,none,\n", &[]);
}

/// Documents and tables of one login, with this text in a place where a person may write one.
fn with(text: &str) -> Vec<(&'static str, String)> {
    let login = |own: &str| json!({"username": "ada", "totp": own});
    let bitwarden = |item: Value| json!({"encrypted": false, "folders": [], "items": [item]}).to_string();
    let pux = |value: Value, notes: &str| {
        let details =
            json!({"loginFields": [], "notesPlain": notes, "sections": [{"fields": [{"title": "f", "value": value}]}]});
        json!({"accounts": [{"vaults": [{"items": [{"overview": {"title": "T"}, "details": details}]}]}]}).to_string()
    };
    let pass = |note: &str, fields: Value| {
        let data = json!({"type": "login", "metadata": {"name": "T", "note": note}, "content": {"itemUsername": "ada", "totpUri": ""}, "extraFields": fields});
        json!({"userId": "u", "vaults": {"v": {"name": "V", "items": [{"state": 1, "data": data}]}}}).to_string()
    };
    let keepass = |key: &str| {
        let text = text.replace('&', "&amp;");
        format!(
            "<KeePassFile><Root><Group><Entry><String><Key>Title</Key><Value>T</Value></String><String><Key>{key}</Key><Value>{text}</Value></String></Entry></Group></Root></KeePassFile>"
        )
    };
    let field = json!({"fieldName": "f", "type": "hidden", "data": {"content": text}});
    let cell = format!("\"{}\"", text.replace('"', "\"\""));
    vec![
        ("notes of Bitwarden", bitwarden(json!({"type": 1, "name": "T", "notes": text, "login": login("")}))),
        ("a secure note of Bitwarden", bitwarden(json!({"type": 2, "name": "T", "notes": text}))),
        ("a field of Bitwarden", bitwarden(json!({"type": 1, "name": "T", "fields": [{"name": "f", "value": text}]}))),
        ("the password of Bitwarden", bitwarden(json!({"type": 1, "name": "T", "login": {"password": text}}))),
        ("a string of 1Password", pux(json!({"string": text}), "")),
        ("a concealed field of 1Password", pux(json!({"concealed": text}), "")),
        ("notes of 1Password", pux(json!({"string": ""}), text)),
        ("the note of Proton Pass", pass(text, json!([]))),
        ("a hidden field of Proton Pass", pass("", json!([field]))),
        ("notes of KeePass", keepass("Notes")),
        ("a field of KeePass", keepass("Recovery")),
        ("notes of a table", format!("Title,URL,Username,Password,Notes,OTPAuth\nT,,u,p,{cell},\n")),
        ("the note of a table without a column of seeds", format!("name,url,username,password,note\nT,,u,p,{cell}\n")),
        (
            "a note of Exchange",
            json!({"items": [{"title": "T", "credentials": [{"type": "note", "content": {"value": text}}]}]})
                .to_string(),
        ),
        (
            "the note of Aegis",
            json!({"version": 1, "header": {"slots": null, "params": null}, "db": {"version": 2, "entries": [
                {"type": "steam", "name": "s", "issuer": "S", "note": text, "info": {"secret": A, "digits": 5}}]}})
            .to_string(),
        ),
    ]
}

#[test]
fn a_link_anywhere_in_an_entry_of_any_format_is_an_entry_or_skipped_with_its_reason() {
    let (b, other) = (link("X:b", B), link("X:c", A));
    for (place, file) in with(&format!("see {b} for it\nand '{other}'\nhttps://example.com/otpauth steam://run/440")) {
        let told: Vec<String> = told(&file).into_iter().filter(|told| !told.contains("Steam codes")).collect();
        assert_eq!(told, [format!("b {B} ?"), format!("c {A}")], "{place}");
    }
    for (text, why) in
        [(format!("steam://{B}"), "Steam codes"), (format!("otpauth://hotp/X?secret={B}"), "counter-based")]
    {
        for (place, file) in with(&text) {
            let told = told(&file);
            assert!(told.last().is_some_and(|told| told.contains(why)), "{place}: {told:?}");
        }
    }
    // A bare key in such a place is not read as a seed.
    for (place, file) in with(B) {
        let read = import::open(file.as_bytes()).map(|opened| match opened {
            Opened::Read(import) => import.entries.iter().filter(|entry| entry.read.is_ok()).count(),
            Opened::Locked(_) => panic!("{place} is not encrypted"),
        });
        assert!(matches!(read, Ok(0) | Err(ImportError::Refused(_))), "{place}: {read:?}");
    }
}

#[test]
fn a_link_that_a_field_held_before_is_no_entry() {
    let history = json!([{"lastUsedDate": "2026-01-01T00:00:00Z", "password": link("X:c", A)}]);
    let login = json!({"username": "ada", "totp": link("X:b", B)});
    let item = json!({"type": 1, "name": "T", "login": login, "passwordHistory": history});
    let file = json!({"encrypted": false, "folders": [], "items": [item]}).to_string();
    assert_eq!(told(&file).len(), 1, "{:?}", told(&file));
}

#[test]
fn what_looks_like_a_key_only_because_dashes_do_not_count_is_no_entry_beside_a_link() {
    for line in ["user: john-smith-accounts", "CorrectHorseBatteryStaple", "license: ABCDE-FGHIJ-KLMNO-PQRST-UVWXY"] {
        let file = format!("{line}\n{}\n", link("X:b", B));
        assert_eq!(told(&file).len(), 1, "{line}: {:?}", told(&file));
    }
}

/// The comment's line is searched once, not once for each of its links.
#[test]
fn a_comment_of_many_links_costs_its_length() {
    let file = format!("# {}\n{}\n", "otpauth://x ".repeat(40_000), link("X:b", B));
    let begun = cpu_time();
    assert_eq!(told(&file).len(), 1);
    assert!(cpu_time().saturating_sub(begun) < std::time::Duration::from_secs(5));
}

pub(super) fn cpu_time() -> std::time::Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).try_into().unwrap()
}

#[test]
fn a_link_elsewhere_that_is_the_entrys_own_is_no_second_entry() {
    let own = link("X:b", B);
    let file = |notes: &str| {
        let login = json!({"username": "ada", "totp": own});
        json!({"encrypted": false, "folders": [], "items": [{"type": 1, "name": "T", "notes": notes, "login": login}]})
            .to_string()
    };
    let b = format!("b {B}");
    check(&file(&own), &[&b]);
    check(&file(&format!("key: {own}\n")), &[&b]);
    check(&file(&format!("{own}&digits=8")), &[&b, &b]);
    check(&format!("Title,Notes,OTPAuth\nT,{own},{B}\n"), &[&format!("T {B}")]);
}

#[test]
fn a_field_that_a_person_called_like_a_seed_holds_one() {
    let fields = json!([{"name": "TOTP", "value": B}, {"name": "Recovery", "value": A}]);
    let file = json!({"encrypted": false, "folders": [], "items": [{"type": 1, "name": "T", "fields": fields}]});
    check(&file.to_string(), &[&format!("T {B}")]);
}

#[test]
fn a_link_that_was_cut_behind_its_seed_is_not_kept_without_a_word() {
    let whole = format!("{}&issuer=A&algorithm=SHA256&digits=8", link("A:a", A));
    for end in ["&p", "&per", "&perio"] {
        check(&format!("{whole}{end}"), &["line 1: the link ends in the middle of a parameter, so it was cut off"]);
        check(&json!([format!("{whole}{end}")]).to_string(), &["entry 1: the link ends in the middle"]);
        check(&format!("Title,OTPAuth\nA,{whole}{end}\n"), &["line 2: the link ends in the middle"]);
    }
    check(&format!("{}&iss\n", link("A:a", A)), &["line 1: the link ends in the middle"]);
    for end in ["&", "&issuer", "&issuer=", "&issuer=Git", "&issuer=Acme%2", "&color=%"] {
        check(&format!("{}{end}", link("GitHub:a", A)), &[&format!("a {A} ?")]);
    }
    let usual = format!("{}&issuer=GitHub", link("GitHub:a", A));
    assert_eq!(told(&usual), [format!("a {A}")]);
}

#[test]
fn an_entry_of_ente_that_was_cut_before_it_says_whether_it_is_in_the_trash_is_doubtful() {
    let display = "&codeDisplay=%7B%22pinned%22%3Afalse%2C%22trashed%22%3Atrue%7D";
    let one = format!("{}&codeDisplay=%7B%22trashed%22%3Afalse%7D\n{}", link("a", A), link("b", B));
    let a = format!("a {A}");
    check(&format!("{one}{display}"), &[&a, "line 2: it is in the app's trash"]);
    for length in [0, 8, 13, 30, 50, display.len() - 1] {
        check(&format!("{one}{}", &display[..length]), &[&a, &format!("b {B} ?")]);
    }
}

#[test]
fn a_damaged_migration_link_is_skipped_for_its_own_reason_and_words_behind_a_whole_one_are_left_out() {
    // One account: the seed, its name, and the version and size of the export.
    let data = "Ch0KEEhlbGxvIWhlbGxvIWhlbGwSA2FkYSABKAEwAhABGAEgAA";
    let whole = told(&format!("otpauth-migration://offline?data={data}\n"));
    assert!(whole.len() == 1 && whole[0].starts_with("ada "), "{whole:?}");
    for words in [" for bob", ".", ", and more", " # old"] {
        check(&format!("otpauth-migration://offline?data={data}{words}\n"), &[&format!("{} ?", whole[0])]);
    }
    for cut in [&data[..20], &data[..31], "", "!!!"] {
        check(
            &format!("otpauth-migration://offline?data={cut}\n"),
            &["line 1: its data can't be read: it was cut off"],
        );
    }
}

#[test]
fn a_list_in_brackets_and_a_file_of_settings_are_lists_of_links() {
    let (a, b) = (format!("a {A}"), format!("b {B}"));
    let both = [a.as_str(), b.as_str()];
    for (open, close) in [
        ("[", "]"),
        ("{", "}"),
        ("<", ">"),
        ("(", ")"),
        ("\u{ab}", "\u{bb}"),
        ("\u{201c}", "\u{201d}"),
        ("\u{201e}", "\u{201c}"),
    ] {
        check(&format!("{open}{}{close}\n{open}{}{close}\n", link("a", A), link("b", B)), &both);
    }
    check(&format!("[github]\nurl={}\n[true]\nurl={}\n", link("a", A), link("b", B)), &both);
    check(&format!("[1] {}\n[2] {}\n", link("a", A), link("b", B)), &both);
    // A JSON document is still read as one.
    assert_eq!(refused(format!("[\"{}\", {A}]", link("a", A)).as_bytes()), "line 1: not JSON; the file is damaged");
}

#[test]
fn an_age_file_with_a_damaged_first_line_is_not_said_to_be_encrypted_to_a_key() {
    let armoured = String::from_utf8(super::bytes("age-armored.age")).unwrap();
    let (begin, rest) = armoured.split_once('\n').unwrap();
    for at in 0..60 {
        let (before, after) = rest.split_at(at);
        let changed = if after.starts_with('A') { "B" } else { "A" };
        let file = format!("{begin}\n{before}{changed}{}", &after[1..]);
        let told = import::open(file.as_bytes()).map(|_| ()).map_err(|problem| problem.to_string());
        assert!(
            told.as_ref().is_ok_and(|()| true)
                || told.as_ref().is_err_and(|told| told.contains("damaged") || told.contains("beyond")),
            "{at}: {told:?}"
        );
    }
    let to_a_key = "age-encryption.org/v1\n-> X25519 AA\nAA\n-> X25519 AA\nAA\n--- AA\n0123456789abcdef";
    assert!(refused(to_a_key.as_bytes()).starts_with("encrypted to a key of age"));
}

#[test]
fn a_file_of_a_known_kind_is_never_taken_for_an_encrypted_export_of_andotp() {
    let noise = |start: &[u8]| -> Vec<u8> {
        let noise = (0..4000_u64).map(|at| (at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[3]);
        start.iter().copied().chain(noise).collect()
    };
    for (start, expected) in [
        (&b"PWS3"[..], "Password Safe"),
        (b"Salted__", "encrypted with OpenSSL"),
        (b"\xA3\x02", "signed with OpenPGP"),
        (b"\xA3\x01", "signed with OpenPGP"),
        (b"\x90\x0D\x03\x00\x0A", "signed with OpenPGP"),
        (b"\x99\x01\x0D\x04\x65", "a key of OpenPGP"),
        (b"\x98\x33\x04\x65", "a key of OpenPGP"),
        (b"\x95\x01\xD8\x04\x65", "a key of OpenPGP"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n", "a key of OpenPGP"),
        (b"\xFF\x0A\xFA", "no known binary format"),
        (b"\0\0\0\x0CJXL \r\n\x87\n", "no known binary format"),
        (b"\0\x01\0\0\0\x0F", "no known binary format"),
        (b"wOF2\0\x01", "no known binary format"),
        (b"\x30\x82\x0F\xA0", "no known binary format"),
    ] {
        let told = refused(&noise(start));
        assert!(told.contains(expected), "{start:?}: {told}");
    }
    // A small number before data that is not encrypted.
    let file: Vec<u8> =
        b"\0\x02\x00\x00".iter().copied().chain((0..4000_u32).map(|at| (at % 7) as u8 | 0x80)).collect();
    assert!(refused(&file).contains("no known binary format"));
    // Only the right passphrase shows the format of other files.
    let Ok(Opened::Locked(locked)) = import::open(&noise(b"\xE5\x01")) else { panic!("it may be one") };
    assert!(locked.format() == Format::AndOtp && locked.format().is_guess());
    let wrong = locked.open(import::Keys { passphrase: Some("x"), key_file: None }).map(|_| ()).unwrap_err();
    assert_eq!(wrong, ImportError::WrongPassphraseOrOther);
}

#[test]
fn an_export_of_enpass_is_read_as_one() {
    let field = |kind: &str, label: &str, value: &str, deleted: u8| json!({"type": kind, "label": label, "value": value, "deleted": deleted, "uid": 1});
    let item = |title: &str, trashed: u8, fields: &[Value]| json!({"title": title, "uuid": "u", "trashed": trashed, "fields": fields, "note": ""});
    let file = json!({"folders": [], "items": [
        item("A", 0, &[field("username", "Username", "ada", 0), field("totp", "One-time code", A, 0), field("totp", "Old", B, 1)]),
        item("B", 0, &[field("username", "Username", "", 0), field("email", "E-mail", "bob", 0), field("text", "Note", &link("c", B), 0)]),
        item("C", 1, &[field("totp", "One-time code", &link("c", B), 0)]),
        item("D", 0, &[field("password", "Password", "hunter2", 0)]),
    ]});
    check(&file.to_string(), &[&format!("ada {A}"), &format!("c {B}"), "entry 3: it is in the app's trash"]);
    assert_eq!(read(&file.to_string()).format.name(), "Enpass");
}

#[test]
fn a_row_with_more_cells_than_the_head_is_counted_if_a_secret_may_be_in_it() {
    let whole = format!("A,u,{A}\n");
    let a = format!("u {A}");
    check(&format!("Title,Username,OTPAuth\n{whole}B, Inc,u,\n"), &[&a]);
    check(
        &format!("Title,Username,OTPAuth\n{whole}B, Inc,u,{B}\n"),
        &[&a, "line 3: its row has more cells than the head"],
    );
    check(
        &format!("Title,Username,OTPAuth\n{whole}B, Inc,u,{}\n", link("b", B)),
        &[&a, "line 3: its row has more cells than the head"],
    );
    check(
        &format!("Title,Username,OTPAuth\n{whole}B, Inc,JBSWY3DPEHPK3PX1,u\n"),
        &[&a, "line 3: its row has more cells than the head"],
    );
}
