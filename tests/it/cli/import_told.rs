//! An import's messages: the file they are about, the entries that are in the vault already, and the content of a
//! picture.

use super::{Person, text_of};
use crate::kit::RFC_SEED;

const OTHER: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn link(label: &str, seed: &str) -> String {
    format!("otpauth://totp/{label}?secret={seed}\n")
}

#[test]
fn an_import_names_the_entries_that_are_there_already() {
    let person = Person::with_alice();
    person.file("list", &format!("{}{}{}", link("Acme:new", OTHER), link("Acme:ada", RFC_SEED), link("b", RFC_SEED)));

    let looked = person.run(&["secret", "import", "list", "--dry-run"]);
    insta::assert_snapshot!(looked.err, @r"
    add: new (Acme)
    present: ada (Acme), as alice (GitHub)
    present: b, as alice (GitHub)
    1 would be added, 2 present, 0 skipped: 3 entries (a list of links); nothing was stored.
    ");
    let document = person.run(&["secret", "import", "list", "--dry-run", "--json"]).json();
    let there = document.pointer("/already_present").unwrap();
    assert_eq!(
        there,
        &serde_json::json!([
            {"place": "line 2", "name": "Acme: ada", "stored_as": "GitHub: alice"},
            {"place": "line 3", "name": "b", "stored_as": "GitHub: alice"},
        ])
    );
    // Duplicates within the files, with and without a vault.
    for person in [Person::with_vault(), Person::new()] {
        let list = format!("{}{}{}", link("Acme:new", OTHER), link("b", OTHER), link("Acme:new", OTHER));
        let told = person.fed(&list, &["secret", "import", "-", "--dry-run"]).err;
        assert!(
            told.starts_with("add: new (Acme)\npresent: b, as new (Acme)\npresent: new (Acme)\n1 would be"),
            "{told}"
        );
    }

    let done = person.run(&["secret", "import", "list"]);
    insta::assert_snapshot!(done.err, @r"
    present: ada (Acme), as alice (GitHub)
    present: b, as alice (GitHub)
    1 added, 2 present, 0 skipped: 3 entries (a list of links).
    ");
    let many: String = (1..=130).map(|nth| link(&format!("n{nth}"), RFC_SEED)).collect();
    let told = person.fed(&many, &["secret", "import", "-"]).err;
    assert!(told.contains("present: n100, as alice (GitHub)\nand 30 more\n") && !told.contains("n101"), "{told}");
}

#[test]
fn every_error_about_a_file_names_the_file() {
    let person = Person::with_vault();
    person.file("good.txt", &link("a", RFC_SEED));
    person.file("none.json", "[]");
    person.file("none.csv", "Title,OTPAuth\n");
    std::fs::create_dir(person.home().join("folder")).unwrap();
    let large = std::fs::File::create(person.home().join("large.txt")).unwrap();
    large.set_len(64 * 1024 * 1024 + 1).unwrap();

    for (arguments, told) in [
        (
            vec!["secret", "import", "folder"],
            "FILE must name a file that can be read, or `-` for standard input: folder: ",
        ),
        (
            vec!["secret", "import", "good.txt", "folder"],
            "FILE 2 must name a file that can be read, or `-` for standard input: folder: ",
        ),
        (vec!["secret", "import", "good.txt", "phone.txt"], "standard input: phone.txt: No such file"),
        (vec!["secret", "import", "large.txt"], "large.txt is larger than 67108864 bytes"),
        (vec!["secret", "import", "good.txt", "large.txt"], "large.txt is larger than 67108864 bytes"),
        (vec!["secret", "import", "none.json"], "none.json: the file has no entries"),
        (
            vec!["secret", "import", "none.json", "none.csv"],
            "none.json, none.csv: the files have no entries (0 added, 0 present, 0 skipped)",
        ),
        (
            vec!["secret", "import", &fixture("import/2fas-encrypted.json"), "--passphrase-file", "folder"],
            "--passphrase-file must name a file that can be read, or `-` for standard input: folder: ",
        ),
        (
            vec!["secret", "add", "--qr", "folder"],
            "--qr must name a file that can be read, or `-` for standard input: folder: ",
        ),
        (vec!["secret", "add", "--qr", "large.txt"], "large.txt is larger than 10485760 bytes"),
        (vec!["secret", "add", "--uri-file", "large.txt"], "large.txt is larger than "),
        (vec!["seat", "import", "none.json"], "none.json: the file has no entries"),
        (vec!["seat", "import", "folder"], "folder: "),
    ] {
        let refused = person.run(&arguments).refused(1);
        assert!(refused.contains(told), "{arguments:?}: {refused}");
    }
    std::fs::write(person.home().join("latin.txt"), b"otpauth\xE4").unwrap();
    assert!(
        person.run(&["secret", "add", "--uri-file", "latin.txt"]).refused(1).contains("latin.txt: line 1 is not UTF-8")
    );
    assert_eq!(person.run(&["secret", "list"]).ok(), "");
}

#[cfg(unix)]
#[test]
fn a_files_name_that_can_not_be_shown_is_escaped() {
    let person = Person::with_vault();
    person.file("a\u{1b}[2Jb\u{202e}.txt", "hello");
    let refused = person.run(&["secret", "import", "a\u{1b}[2Jb\u{202e}.txt"]).refused(1);
    assert!(refused.starts_with("error: a\\u{1b}[2Jb\\u{202e}.txt: in no known format"), "{refused}");
}

#[test]
fn a_file_without_entries_beside_others_is_said() {
    let person = Person::with_vault();
    person.file("good.txt", &link("a", RFC_SEED));
    person.file("none.json", "[]");
    let files = ["secret", "import", "good.txt", "none.json"];
    let looked = person.run(&[&files[..], &["--dry-run"]].concat()).err;
    assert!(looked.contains("none.json: the file has no entries.\n"), "{looked}");
    let document = person.run(&[&files[..], &["--dry-run", "--json"]].concat()).json();
    assert_eq!(document.pointer("/without_entries"), Some(&serde_json::json!(["none.json"])));
    let done = person.run(&files);
    assert!(done.err.contains("none.json: the file has no entries.\n"), "{done:?}");
    done.ok();
}

#[test]
fn a_secret_of_the_same_name_and_seed_with_other_parameters_is_not_said_to_have_another_seed() {
    let person = Person::with_alice();
    let told =
        person.fed(&format!("otpauth://totp/GitHub:alice?secret={RFC_SEED}&digits=8\n"), &["secret", "import", "-"]);
    assert!(told.err.contains("with another seed or other parameters; both are kept"), "{told:?}");
}

#[test]
fn two_files_can_not_both_be_standard_input() {
    let person = Person::with_vault();
    for arguments in [
        vec!["-", "--passphrase-file", "-"],
        vec!["-", "--kdbx-key-file", "-"],
        vec!["-", "-"],
        vec!["file", "--kdbx-key-file", "-", "--passphrase-file", "-"],
    ] {
        let refused = person.fed("hunter2\n", &[&["secret", "import"], &arguments[..]].concat()).refused(2);
        assert_eq!(
            refused,
            "error: only one of FILE, --passphrase-file and --kdbx-key-file can be `-`, standard input\n"
        );
    }
}

#[cfg(unix)]
#[test]
fn an_import_that_skips_ends_alike_on_a_terminal_and_without_one() {
    let person = Person::with_alice();
    person.file("list", &format!("{}steam://A\n", link("a", RFC_SEED)));
    let mut terminal = super::Terminal::new();
    let child = terminal.start(&person, "secret import list");
    terminal.read_until("0 would be added, 1 present, 1 skipped");
    let (_, ended) = terminal.rest_of(child);
    assert_eq!(ended.code(), Some(1));
    assert_eq!(person.run(&["secret", "import", "list"]).status, 1);
    assert_eq!(person.run(&["secret", "import", "list", "--yes"]).status, 1);
}

#[test]
fn the_last_line_of_an_import_says_why_it_ends_with_1() {
    let why = "skipped: 2 entries (a list of links)";
    let status = " The exit status is 1, because entries were skipped.\n";
    let list = format!("{}steam://A\n", link("a", RFC_SEED));
    for person in [Person::new(), Person::with_vault()] {
        let looked = person.fed(&list, &["secret", "import", "-", "--dry-run"]);
        assert!(
            looked.status == 1 && looked.err.ends_with(&format!("1 {why}; nothing was stored.{status}")),
            "{looked:?}"
        );
        let document = person.fed(&list, &["secret", "import", "-", "--dry-run", "--json"]);
        assert!(document.status == 1 && !document.err.contains("status"), "{document:?}");
        let done = person.fed(&list, &["secret", "import", "-", "--yes"]);
        assert!(done.status == 1 && done.err.ends_with(&format!("1 {why}.{status}")), "{done:?}");
        let whole = person.fed(&link("a", RFC_SEED), &["secret", "import", "-"]);
        assert!(whole.status == 0 && !whole.err.contains("status"), "{whole:?}");
    }
    assert!(Person::new().run(&["secret", "import", "--help"]).ok().contains("Exit status: 0 if every entry"));
}

#[test]
fn a_skipped_entrys_key_is_told_neither_as_its_name_nor_in_a_document() {
    let person = Person::with_vault();
    let table = format!("Title,TOTP\n{OTHER},\"{OTHER} {RFC_SEED}\"\nAcme,nothing here\n");
    for more in [&["--yes"][..], &["--dry-run"], &["--dry-run", "--json"], &["--json"], &[]] {
        let ran = person.fed(&table, &[&["secret", "import", "-"], more].concat());
        let told = format!("{}{}", ran.out, ran.err);
        assert!(!told.contains(OTHER) && told.contains("[masked]") && told.contains("Acme"), "{told}");
    }
}

#[test]
fn a_picture_without_a_link_is_told_as_that_with_its_name() {
    let person = Person::with_vault();
    for (name, what) in [("qr-wifi.png", "a Wi-Fi network"), ("qr-web.png", "a web page's address")] {
        let file = fixture(name);
        let told = format!("error: {file}: the QR code in the picture is no otpauth:// link, but {what}\n");
        for arguments in [&["secret", "import", file.as_str()][..], &["secret", "add", "--qr", file.as_str()]] {
            assert_eq!(person.run(arguments).refused(1), told);
        }
    }
}

#[test]
fn a_registration_for_push_messages_is_named_wherever_it_is_given() {
    let person = Person::with_vault();
    let push = "phonefactor://activate_account?code=123456789&url=https%3A%2F%2Fexample.com";
    let file = fixture("qr-push.png");
    person.file("link", push);
    for ran in [
        person.run(&["secret", "add", "--qr", &file]),
        person.run(&["secret", "add", "--uri-file", "link"]),
        person.fed(push, &["secret", "add", "--label", "a", "--stdin"]),
        person.run(&["secret", "import", &file]),
        person.fed(push, &["secret", "import", "-"]),
    ] {
        let told = ran.err;
        let says = told.contains("Microsoft Authenticator")
            && told.contains("tell the service that you use another authenticator app");
        assert!(says && !told.contains("123456789"), "{told}");
    }
}

#[test]
fn an_encrypted_file_that_nobody_can_be_asked_about_and_a_code_that_is_refused_are_told_with_the_files_name() {
    let person = Person::with_vault();
    person.file("good.txt", &link("a", RFC_SEED));
    let file = fixture("import/2fas-encrypted.json");
    let refused = person.run(&["secret", "import", "good.txt", &file]).refused(2);
    let told = "2fas-encrypted.json is an encrypted export of 2FAS; standard input is not a terminal to ask on; use --passphrase-file";
    assert!(refused.contains(told), "{refused}");
    // Only the right passphrase shows whether a file without a mark is an encrypted export.
    let file = fixture("import/andotp-old.json.aes");
    let refused = person.run(&["secret", "import", &file]).refused(2);
    let told = "andotp-old.json.aes is in no known format, unless it is an encrypted export of andOTP; standard input";
    assert!(refused.contains(told), "{refused}");
    for (picture, told) in
        [("qr-push.png", "registers Microsoft"), ("qr-google-migration.png", "is an export of Google")]
    {
        let refused = person.run(&["secret", "add", "--qr", &fixture(picture)]).refused(1);
        assert!(refused.contains(&format!("{picture}: the URI {told}")), "{refused}");
    }
    person.file("cut.txt", &format!("{}&per", link("a", RFC_SEED).trim()));
    let refused = person.run(&["secret", "add", "--uri-file", "cut.txt"]).refused(1);
    assert!(refused.contains("cut.txt: the URI ends in the middle of a parameter, so it was cut off"), "{refused}");
    let refused = person.run(&["secret", "import", "ProtonAuthenticatorExport.json"]).refused(1);
    assert!(refused.contains("ProtonAuthenticatorExport.json: No such file"), "{refused}");
}

#[test]
fn a_picture_with_more_links_than_are_listed_says_how_many_more() {
    let person = Person::with_vault();
    let file = fixture("qr-thirty.png");
    let refused = person.run(&["secret", "add", "--qr", &file]).refused(1);
    assert!(refused.contains("the picture holds 30 links") && refused.ends_with("\n  and 10 more\n"), "{refused}");
    let imported = person.run(&["secret", "import", &file, "--dry-run", "--json"]).json();
    assert_eq!(imported.pointer("/added"), Some(&30.into()), "{imported}");
    assert_eq!(text_of(&imported, "/status"), "OK");
}

/// A part of three of an export of Google Authenticator, with one account.
fn google_part(index: u8, seed: &[u8; 10]) -> String {
    let account = [&[0x0A, 10], seed.as_slice(), &[0x12, 1, b'a' + index, 0x20, 1, 0x28, 1, 0x30, 2]].concat();
    let length = u8::try_from(account.len()).unwrap();
    let part = [&[0x0A, length], account.as_slice(), &[0x10, 1, 0x18, 3, 0x20, index, 0x28, 7]].concat();
    let data = data_encoding::BASE64.encode(&part).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("otpauth-migration://offline?data={data}\n")
}

#[test]
fn an_import_without_a_part_of_an_export_ends_with_1_and_says_why() {
    let parts = [google_part(0, b"1234567890"), google_part(1, b"abcdefghij"), google_part(2, b"0987654321")];
    let lacking = [parts[0].as_str(), parts[2].as_str()].concat();
    let status = " The exit status is 1, because a part of an export is missing.\n";
    for person in [Person::new(), Person::with_vault()] {
        let looked = person.fed(&lacking, &["secret", "import", "-", "--dry-run"]);
        assert!(looked.status == 1 && looked.err.ends_with(status), "{looked:?}");
        let done = person.fed(&lacking, &["secret", "import", "-"]);
        assert!(done.status == 1 && done.err.ends_with(status), "{done:?}");
        assert!(done.err.contains("part 2 of 3 of Google Authenticator's export is missing"), "{done:?}");
        assert_eq!(person.fed(&lacking, &["secret", "import", "-", "--json"]).status, 1);
        let whole = person.fed(&parts.concat(), &["secret", "import", "-"]);
        assert!(whole.status == 0 && !whole.err.contains("status"), "{whole:?}");
    }
}

#[test]
fn what_a_table_s_columns_are_read_as_is_told() {
    let person = Person::with_vault();
    let file = |name: &str, head: &str| {
        person.file(name, &format!("{head},Frequency\nVPN,ada,hunter2,{OTHER},x\n"));
    };
    file("one.csv", "Site,Username,Password,TOTP");
    file("two.csv", "Site,Username,Password,Secret");
    let told = person.run(&["secret", "import", "one.csv", "--dry-run"]).err;
    let line = "columns: `Site` as issuer, `Username` as account, `TOTP` as key; not read: `Password`, `Frequency`.";
    assert!(told.contains(line), "{told}");
    let told = person.run(&["secret", "import", "one.csv", "two.csv", "--yes"]).err;
    assert!(told.contains(&format!("one.csv: {line}")) && told.contains("two.csv: columns: "), "{told}");
    let tables = person.run(&["secret", "import", "one.csv", "--dry-run", "--json"]).json();
    assert_eq!(tables.pointer("/tables/0/columns/3").unwrap(), &serde_json::json!({"name": "TOTP", "read_as": "key"}));
    let list = person.fed(&link("a", RFC_SEED), &["secret", "import", "-", "--dry-run", "--json"]).json();
    assert_eq!(list.pointer("/tables"), None);
}
