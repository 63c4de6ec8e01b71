//! `countersign secret`.

use std::process::Stdio;

use super::{Person, redacted, terminal::Terminal, text_of};
use crate::kit::RFC_SEED;

/// A file of `tests/fixtures`.
fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

const QR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qr-one.png");
const TWO_QRS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/qr-two.png");

#[test]
fn a_seed_comes_in_on_standard_input_and_is_not_shown_again() {
    let person = Person::with_vault();

    let ran = person.fed(
        "gezd gnbv gy3t qojq gezd-gnbv gy3t qojq====\n",
        &["secret", "add", "--label", "alice", "--issuer", "GitHub", "--stdin"],
    );

    assert!(!ran.err.to_uppercase().contains("GEZD"));
    insta::assert_snapshot!(redacted(&ran.err), @"Stored. `countersign code ID` shows its code.");
    insta::assert_snapshot!(redacted(&ran.ok()), @r"
    id  ID
    label  alice
    issuer  GitHub
    algorithm  SHA1
    digits  6
    period  30 s
    single-use  no
    created  AT
    last used  -
    ");
    let document = person.fed(RFC_SEED, &["secret", "add", "--label", "bob", "--stdin", "--json"]).json();
    assert_eq!(document.pointer("/totp_secret/secret"), None);
}

#[test]
fn a_generated_seed_is_shown_once_with_its_uri() {
    let person = Person::new();

    let made = person.run(&["secret", "add", "--label", "alice", "--generate", "--digits", "8", "--json"]).json();

    let seed = text_of(&made, "/totp_secret/secret");
    assert_eq!(seed.len(), 32);
    assert_eq!(text_of(&made, "/uri"), format!("otpauth://totp/alice?secret={seed}&algorithm=SHA1&digits=8&period=30"));
    for arguments in [vec!["secret", "show", "alice"], vec!["secret", "list", "--json"], vec!["audit", "export"]] {
        assert!(!person.run(&arguments).ok().contains(seed));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_generated_seed_that_nobody_saw_is_told_of() {
    let person = Person::with_vault();

    let told = person.unheard(&["secret", "add", "--label", "alice", "--generate"]);

    insta::assert_snapshot!(told,
        @"error: the secret was stored as ID, but its seed could not be shown (No space left on device (os error 28)) and can't be shown again; remove it with `countersign secret rm ID --now`");
    person.run(&["secret", "rm", "alice", "--now", "--yes"]).ok();

    let told = person.unheard(&["key", "create", "--name", "ci", "--json"]);
    let listed = person.run(&["key", "list", "--json"]).json();
    assert!(told.contains(&format!("`countersign key revoke {}`", text_of(&listed, "/keys/0/key_id"))), "{told}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_seed_or_a_key_that_nobody_would_see_is_not_made() {
    let person = Person::with_vault();
    for arguments in [vec!["secret", "add", "--label", "alice", "--generate"], vec!["key", "create", "--name", "ci"]] {
        let mut closed = std::process::Command::new("sh");
        closed.env_clear().env("HOME", person.home()).args(["-c", "exec \"$0\" \"$@\" >&-"]);
        closed.arg(env!("CARGO_BIN_EXE_countersign")).args(&arguments);
        let mut nowhere = person.command(&arguments);
        nowhere.stdout(Stdio::null());
        for command in [&mut closed, &mut nowhere] {
            let ran = command.output().unwrap();
            assert_eq!(ran.status.code(), Some(1), "{arguments:?}");
            let told = String::from_utf8(ran.stderr).unwrap();
            assert!(told.contains("nothing was made: standard output is closed or leads nowhere"), "{told}");
        }
    }
    assert_eq!(person.run(&["secret", "list"]).ok(), "");
    assert_eq!(person.run(&["key", "list", "--json"]).json().pointer("/keys"), Some(&serde_json::json!([])));
}

#[test]
fn a_generated_seed_whose_reader_went_away_is_told_of() {
    let person = Person::new();
    let mut command = person.command(&["secret", "add", "--label", "alice", "--generate"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());

    let ended = child.wait_with_output().unwrap();

    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8(ended.stderr).unwrap().contains("its seed could not be shown"));
}

#[test]
fn a_uri_comes_from_a_file_or_a_picture() {
    let person = Person::new();
    let uri = format!("\n  otpauth://totp/Example:alice?secret={RFC_SEED}&algorithm=SHA256\n");
    let file = person.file("uri.txt", &uri);

    let by_file = person.run(&["secret", "add", "--uri-file", file.to_str().unwrap(), "--json"]).json();
    assert_eq!(text_of(&by_file, "/totp_secret/algorithm"), "SHA256");
    let by_input = person.fed(&uri, &["secret", "add", "--uri-file", "-", "--allow-duplicate", "--json"]).json();
    assert_eq!(text_of(&by_input, "/totp_secret/issuer"), "Example");
    let by_picture = person.run(&["secret", "add", "--qr", QR, "--json"]).json();
    assert_eq!(text_of(&by_picture, "/totp_secret/label"), "alice@example.com");
    assert_eq!(by_picture.pointer("/totp_secret/digits"), Some(&8.into()));
}

#[test]
fn a_picture_that_holds_no_code_is_refused() {
    let person = Person::with_vault();
    person.file("text.png", "otpauth://totp/a?secret=GEZDGNBVGY3TQOJQ");
    person.file("empty.png", "");
    let whole = std::fs::read(QR).unwrap();
    std::fs::write(person.home().join("cut.png"), &whole[..whole.len() / 2]).unwrap();

    for name in ["text.png", "empty.png", "cut.png"] {
        let told = format!("error: {name}: the file is no PNG, JPEG or WebP picture that can be read\n");
        assert_eq!(person.run(&["secret", "add", "--qr", name]).refused(1), told);
        assert_eq!(
            person.run(&["secret", "add", "--qr", &format!("./{name}")]).refused(1),
            told.replace(name, &format!("./{name}"))
        );
    }
    let piped = person.fed("GIF89a", &["secret", "add", "--qr", "-"]).refused(1);
    assert!(piped.starts_with("error: standard input: the file is no PNG"), "{piped}");
    assert!(
        person.run(&["secret", "add", "--qr", person.home().to_str().unwrap()]).refused(1).contains("--qr must name")
    );
    assert_eq!(person.run(&["secret", "list"]).ok(), "");
}

#[test]
fn one_of_several_codes_in_a_picture_is_named() {
    let person = Person::with_vault();

    insta::assert_snapshot!(person.run(&["secret", "add", "--qr", TWO_QRS]).refused(1), @r"
    error: the picture holds 2 links; say which one with --nth:
      1  Example  alice@example.com
      2  Example  bob@example.com
    ");
    insta::assert_snapshot!(person.run(&["secret", "add", "--qr", TWO_QRS, "--nth", "3"]).refused(2),
        @"error: --nth must be 1 to 2 for this picture");
    assert!(person.run(&["secret", "add", "--qr", TWO_QRS, "--nth", "0"]).refused(2).contains("--nth must be"));
    assert_eq!(person.run(&["secret", "list"]).ok(), "");
    let made = person.run(&["secret", "add", "--qr", TWO_QRS, "--nth", "2", "--json"]).json();
    assert_eq!(text_of(&made, "/totp_secret/label"), "bob@example.com");
    assert!(person.run(&["secret", "add", "--label", "x", "--nth", "2"]).refused(2).contains("--qr"));
}

#[test]
fn pictures_come_from_a_pipe_and_in_every_format() {
    let person = Person::with_vault();
    for file in ["qr-one.png", "qr-one.jpg", "qr-one.webp", "qr-one-lossless.webp"] {
        let mut command = person.command(&["secret", "add", "--qr", "-", "--allow-duplicate", "--json"]);
        let added = command.stdin(std::fs::File::open(fixture(file)).unwrap()).output().unwrap();
        let made: serde_json::Value = serde_json::from_slice(&added.stdout).unwrap();
        assert_eq!(text_of(&made, "/totp_secret/label"), "alice@example.com", "{file}");
    }
}

#[cfg(unix)]
#[test]
fn pictures_come_from_the_clipboard_and_the_screen() {
    let person = Person::with_vault();
    let tools = format!("{}:/usr/bin:/bin", fixture("desktop"));
    for source in ["clipboard", "screen"] {
        let add = ["secret", "add", "--qr", source, "--allow-duplicate", "--json"];
        let added = person.command(&add).env("PATH", &tools).env("PICTURE", QR).output().unwrap();
        let made: serde_json::Value = serde_json::from_slice(&added.stdout).unwrap();
        assert_eq!(text_of(&made, "/totp_secret/label"), "alice@example.com", "{source}");
        let none = person.command(&add).env("PATH", person.home()).output().unwrap();
        assert_eq!(none.status.code(), Some(1));
        assert!(String::from_utf8(none.stderr).unwrap().contains("name the file"));
    }
}

#[test]
fn a_label_and_an_issuer_stand_beside_a_uri_or_a_picture_and_win() {
    let person = Person::new();
    let added = |arguments: &[&str]| {
        let made = person.run(&[&["secret", "add", "--allow-duplicate", "--json"], arguments].concat()).json();
        let issuer = made.pointer("/totp_secret/issuer").and_then(serde_json::Value::as_str).unwrap_or("-").to_owned();
        format!("{issuer}|{}", text_of(&made, "/totp_secret/label"))
    };
    let (nameless, qr) = (fixture("uri-no-label.txt"), fixture("qr-no-label.png"));
    assert_eq!(added(&["--uri-file", &nameless]), "Acme|Acme");
    assert_eq!(added(&["--uri-file", &nameless, "--label", "ada"]), "Acme|ada");
    assert_eq!(added(&["--uri-file", &nameless, "--label", "ada", "--issuer", "Other"]), "Other|ada");
    assert_eq!(added(&["--qr", &qr, "--label", "ada"]).split('|').next_back(), Some("ada"));
    assert_eq!(added(&["--qr", QR, "--label", "bob"]).split('|').next_back(), Some("bob"));
    assert_eq!(added(&["--qr", QR, "--issuer", "Other"]), "Other|alice@example.com");
    let refused = person.run(&["secret", "add", "--qr", QR, "--label", "a\u{1b}[2J"]).refused(2);
    assert!(refused.contains("--label has a control"), "{refused}");
    assert!(person.run(&["secret", "add", "--qr", QR, "--digits", "8"]).refused(2).contains("--digits"));
}

#[test]
fn pictures_of_whole_screens_are_read() {
    let person = Person::new();
    for file in ["qr-screenshot-3840x2160.png", "qr-screenshot-macbook-3024x1964.png"] {
        person.run(&["secret", "add", "--qr", &fixture(file)]).ok();
    }
}

#[test]
fn an_export_of_google_authenticator_is_named_and_imported() {
    let person = Person::with_vault();
    for (flag, file) in [("--uri-file", "uri-google-migration.txt"), ("--qr", "qr-google-migration.png")] {
        let refused = person.run(&["secret", "add", flag, &fixture(file)]).refused(1);
        assert!(refused.contains(": the URI is an export of Google Authenticator"), "{refused}");
    }
    for file in ["uri-google-migration.txt", "qr-google-migration.png"] {
        let imported = person.run(&["secret", "import", &fixture(file), "--json"]).json();
        assert_eq!(imported.pointer("/formats/0"), Some(&"Google Authenticator".into()), "{imported}");
        assert_eq!(imported.pointer("/entries"), Some(&1.into()), "{imported}");
    }
}

#[test]
fn a_uri_that_was_escaped_for_html_gives_the_right_codes() {
    let person = Person::with_vault();
    let made = person.run(&["secret", "add", "--json", "--uri-file", &fixture("uri-html-amp.txt")]);
    assert!(made.err.starts_with("In the URI, `&amp;` was read as `&`.\n"), "{made:?}");
    let made = made.json();
    assert_eq!(text_of(&made, "/totp_secret/algorithm"), "SHA256");
    assert_eq!(made.pointer("/totp_secret/digits"), Some(&8.into()));
    assert_eq!(made.pointer("/totp_secret/period"), Some(&60.into()));
    let mangled = person.file("mangled.txt", &format!("otpauth://totp/a?secret={RFC_SEED}&amp%3Bdigits=8"));
    let refused = person.run(&["secret", "add", "--uri-file", mangled.to_str().unwrap()]).refused(1);
    assert!(refused.contains("nearly `digits`"), "{refused}");
}

#[test]
fn seeds_are_read_however_their_groups_are_parted() {
    let person = Person::new();
    let added = |seed: &str| {
        person.fed(seed, &["secret", "add", "--label", "x", "--stdin", "--allow-duplicate"]).ok();
        let exported = person.run(&["secret", "export", "--plaintext", "--yes"]).ok();
        exported.lines().last().unwrap().split(['=', '&']).nth(1).unwrap().to_owned()
    };
    for file in ["seed-nbsp.txt", "seed-nonbreaking-hyphen.txt"] {
        assert_eq!(added(&std::fs::read_to_string(fixture(file)).unwrap()), "JBSWY3DPEHPK3PXP", "{file}");
    }
    assert_eq!(added("JBSW Y3DP\r\n\tEHPK\u{2014}3PXP\n"), "JBSWY3DPEHPK3PXP");
    let cut = fixture("uri-seed-27-characters.txt");
    person.run(&["secret", "add", "--uri-file", &cut]).ok();
    let refused = person.fed("JBSWY3DPEHPK3PXPJBSWY3DPEHP", &["secret", "add", "--label", "x", "--stdin"]).refused(2);
    assert!(refused.contains("a length that base32 never has"), "{refused}");
}

#[test]
fn two_seeds_typed_as_one_are_never_stored_without_a_word() {
    let person = Person::with_vault();
    let (half, other) = ("JBSWY3DPEHPK3PXP", "KRSXG5CTMVRXEZLUKRSXG5CTMVRXEZLU");
    let add = |text: &str, label: &str| person.fed(text, &["secret", "add", "--label", label, "--stdin"]);
    for joint in ["-", " ", "+", "/", " / ", "\n"] {
        for both in [format!("{RFC_SEED}{joint}{other}"), format!("{half}{joint}{half}{joint}{half}")] {
            let refused = add(&both, "x").refused(2);
            assert!(refused.contains("looks like several seeds") && !refused.contains("KRSX"), "{both}: {refused}");
        }
    }
    let doubt = "its secret is in two parts of 16 letters";
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, "secret add --label b");
    terminal.wait_for_a_hidden_prompt(&mut program);
    terminal.types(&format!("{half}-{half}"));
    let (shown, ended) = terminal.rest_of(program);
    assert!(ended.success() && shown.contains(doubt) && !shown.contains(half), "{shown}");
    for (text, is_doubtful) in [
        (format!("{half} {half}"), true),
        (format!("otpauth://totp/x?secret={half}%20{half}"), true),
        ("gezd gnbv gy3t qojq gezd gnbv gy3t qojq".to_owned(), false),
    ] {
        let added = add(&text, &format!("{}", text.len()));
        assert_eq!(added.err.contains(doubt), is_doubtful, "{text}: {added:?}");
        added.ok();
    }
}

#[test]
fn a_link_is_taken_wherever_a_seed_is_typed() {
    let person = Person::new();
    let link = format!("  OTPAUTH://totp/Acme:ada?secret={RFC_SEED}&digits=8&period=60\n");
    let piped = person.fed(&link, &["secret", "add", "--label", "bob", "--stdin", "--json"]).json();
    for (place, said) in [("/label", "bob"), ("/issuer", "Acme"), ("/algorithm", "SHA1")] {
        assert_eq!(text_of(&piped, &format!("/totp_secret{place}")), said);
    }
    assert_eq!(piped.pointer("/totp_secret/digits"), Some(&8.into()));
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, "secret add --label eve --issuer Other");
    terminal.wait_for_a_hidden_prompt(&mut program);
    terminal.types(link.trim());
    let (shown, ended) = terminal.rest_of(program);
    assert!(ended.success() && shown.contains("60 s") && !shown.contains(RFC_SEED), "{shown}");

    let add = |more: &[&str], text: &str| {
        let all = [&["secret", "add", "--label", "x", "--stdin"], more].concat();
        let refused = person.fed(text, &all);
        assert!(refused.status != 0 && refused.out.is_empty(), "{text}: {refused:?}");
        refused.err
    };
    assert!(add(&["--digits", "6"], &link).contains("leave out those flags"));
    let several = format!("{link}{link}");
    for (text, problem) in [
        (several.as_str(), "has several lines"),
        ("otpauth://totp/x?secret=GEZDGNB0", "the URI"),
        ("otpauth-migration://offline?data=GEZDGNBV", "Google Authenticator"),
        ("otpauth:", "the URI"),
    ] {
        let refused = add(&[], text);
        assert!(refused.contains(problem) && !refused.contains("GEZDG"), "{text}: {refused}");
    }
}

#[test]
fn a_link_that_has_a_label_needs_no_other() {
    let link = format!("otpauth://totp/Acme:ada?secret={RFC_SEED}");
    let person = Person::new();
    let piped = person.fed(&link, &["secret", "add", "--stdin", "--json"]).json();
    assert_eq!((text_of(&piped, "/totp_secret/label"), text_of(&piped, "/totp_secret/issuer")), ("ada", "Acme"));
    let mut terminal = Terminal::new();
    let mut program = terminal.start(&person, "secret add --allow-duplicate");
    terminal.wait_for_a_hidden_prompt(&mut program);
    terminal.types(&link);
    let (shown, ended) = terminal.rest_of(program);
    assert!(ended.success() && shown.contains("ada") && !shown.contains("Label"), "{shown}");

    for person in [Person::new(), Person::with_vault()] {
        // A bare seed has no label.
        assert!(person.fed(RFC_SEED, &["secret", "add", "--stdin"]).refused(2).contains("add --label"));
        assert!(person.fed("GEZDGNB0", &["secret", "add", "--stdin"]).refused(2).contains("the seed is not base32"));
        let mut terminal = Terminal::new();
        let mut program = terminal.start(&person, "secret add");
        terminal.wait_for_a_hidden_prompt(&mut program);
        terminal.types(RFC_SEED);
        terminal.read_until("Label, such as the account's name: ");
        terminal.types("eve");
        let (shown, ended) = terminal.rest_of(program);
        assert!(ended.success() && shown.contains("eve"), "{shown}");
    }
}

#[test]
fn without_a_terminal_a_seed_is_not_asked_for() {
    insta::assert_snapshot!(Person::with_vault().run(&["secret", "add", "--label", "alice"]).refused(2),
        @"error: standard input is not a terminal to ask on; use --stdin, --uri-file, --qr or --generate");
}

#[test]
fn a_wrong_seed_is_refused_and_not_quoted() {
    let person = Person::with_vault();
    for (seed, problem) in [
        ("GEZDGNB0", "the seed is not base32"),
        ("ABB", "the seed has a length that base32 never has: characters are missing, or too many"),
        ("", "the seed is empty"),
        (&"AB".repeat(200), "the seed is longer than 128 bytes"),
    ] {
        let refused = person.fed(seed, &["secret", "add", "--label", "alice", "--stdin"]).refused(2);
        assert!(refused.contains(problem), "{refused}");
        assert!(seed.is_empty() || !refused.contains(seed));
    }
}

#[test]
fn what_is_typed_in_the_wrong_place_is_not_repeated() {
    let person = Person::with_alice();
    for arguments in [
        vec!["secret", "add", RFC_SEED],
        vec!["secret", "add", "--label", "x", "--stdin", RFC_SEED],
        vec!["secret", "add", "--label", "x", "--secret", RFC_SEED],
        vec!["secret", "add", "--label", "x", "--digits", RFC_SEED],
        vec!["secret", RFC_SEED],
        vec![RFC_SEED],
        vec!["--GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"],
        vec!["code", RFC_SEED],
        vec!["code", "alice", RFC_SEED],
        vec!["code", "alice", "--min-validity", RFC_SEED],
        vec!["secret", "show", RFC_SEED],
        vec!["audit", "list", "--action", RFC_SEED],
        vec!["audit", "list", "--since", RFC_SEED],
        vec!["key", "create", "--name", "x", "--scope", RFC_SEED],
        vec!["key", "revoke", RFC_SEED],
        vec!["seat", "add", "--email", RFC_SEED],
        vec!["--color", RFC_SEED, "secret", "list"],
        vec!["--log", "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ=nonsense=x", "secret", "list"],
        vec!["--account", RFC_SEED, "secret", "list"],
        vec!["serve", "--listen", RFC_SEED],
        vec!["stdio", "--scope", RFC_SEED],
        vec!["secret", "help", RFC_SEED],
        vec!["help", RFC_SEED],
        vec!["seat", "show", RFC_SEED],
        vec!["audit", "list", "--limit", "234567234567234567"],
    ] {
        let ran = person.run(&arguments);
        assert!(matches!(ran.status, 1 | 2), "{arguments:?}: {ran:?}");
        assert!(!ran.err.contains("GEZDGNBV") && !ran.out.contains("GEZDGNBV"), "{arguments:?}: {ran:?}");
        assert!(!ran.err.contains("234567"), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_seed_where_a_file_name_belongs_is_not_repeated() {
    let person = Person::with_alice();
    person.file("plain", "");
    let uri = format!("otpauth://totp/a?secret={RFC_SEED}");
    for seed in [RFC_SEED, &uri, "gezd gnbv gy3t qojq", "x-GEZDGNBVGY3TQOJQ.png", "GEZDGNBV"] {
        for arguments in [
            vec!["secret", "add", "--uri-file", seed],
            vec!["secret", "add", "--qr", seed],
            vec!["secret", "import", seed],
            vec!["seat", "import", seed],
            vec!["audit", "verify", "--anchors", seed],
            vec!["audit", "head", "--append", &format!("missing/{seed}")],
            vec!["serve", "--listen", "127.0.0.1:0", "--tls-cert", seed, "--tls-key", seed],
            vec!["secret", "list", "--key-file", seed],
            vec!["secret", "list", "--store", &format!("{seed}:")],
            vec!["secret", "list", "--store", &format!("sqlite:plain/{seed}")],
            vec!["secret", "list", "--data-dir", &format!("plain/{seed}")],
        ] {
            let ran = person.run(&arguments);
            assert!(matches!(ran.status, 1 | 2 | 78), "{arguments:?}: {ran:?}");
            let told = format!("{}{}", ran.err, ran.out).to_lowercase();
            assert!(!told.contains("gezd") && !told.contains("otpauth://"), "{arguments:?}: {ran:?}");
        }
    }
    insta::assert_snapshot!(person.run(&["secret", "add", "--uri-file", &uri]).refused(1),
        @"error: --uri-file must name a file that can be read, or `-` for standard input: No such file or directory (os error 2)");
    insta::assert_snapshot!(person.run(&["secret", "list", "--store", "postgres://db"]).refused(78),
        @"error: the store's address can't be used: it must name a user, a host and a database");
    let refused = person.run(&["secret", "list", "--key-file", "elsewhere/my.key"]).refused(78);
    assert!(refused.contains("elsewhere/my.key; without it"), "{refused}");
}

#[test]
fn an_empty_list_says_so_beside_the_answer() {
    let person = Person::with_vault();

    let ran = person.run(&["secret", "list"]);
    insta::assert_snapshot!(ran.err, @"No secrets yet; `countersign secret add --label LABEL` stores one.");
    assert_eq!(ran.ok(), "");
    assert_eq!(person.run(&["secret", "list", "--json"]).ok(), "{\"status\":\"OK\",\"totp_secrets\":[]}\n");
}

#[test]
fn secrets_are_listed_in_columns_without_tabs() {
    let person = Person::with_alice();
    person.fed(RFC_SEED, &["secret", "add", "--label", "bob", "--single-use", "--stdin"]).ok();

    let listed = person.run(&["secret", "list"]).ok();

    assert!(!listed.contains('\t'));
    insta::assert_snapshot!(redacted(&listed), @r"
    ID  LABEL  ISSUER  SINGLE-USE  CREATED  LAST USED
    ID  alice  GitHub  -  AT  -
    ID  bob  -  yes  AT  -
    ");
    let listed = person.run(&["secret", "list", "--json"]).json();
    assert_eq!(listed.pointer("/totp_secrets/0/single_use"), None);
    assert_eq!(listed.pointer("/totp_secrets/1/single_use"), Some(&true.into()));
    let found = person.run(&["secret", "list", "--query", "git", "--json"]).json();
    assert_eq!(found.pointer("/totp_secrets").unwrap().as_array().unwrap().len(), 1);
}

#[test]
fn a_list_shows_origins_if_a_secret_has_any() {
    let person = Person::with_alice();
    let origins = ["--origin", "https://a.example.com", "--origin", "https://b.example.com"];
    person.fed(RFC_SEED, &[&["secret", "add", "--label", "bob", "--stdin"], &origins[..]].concat()).ok();

    insta::assert_snapshot!(redacted(&person.run(&["secret", "list"]).ok()), @r"
    ID  LABEL  ISSUER  SINGLE-USE  CREATED  LAST USED  ORIGINS
    ID  alice  GitHub  -  AT  -  -
    ID  bob  -  -  AT  -  https://a.example.com https://b.example.com
    ");
}

#[test]
fn an_ambiguous_label_lists_its_candidates() {
    let person = Person::with_alice();
    person.fed(RFC_SEED, &["secret", "add", "--label", "alice", "--stdin"]).ok();

    insta::assert_snapshot!(redacted(&person.run(&["code", "alice"]).refused(1)), @r"
    error: this names 2 secrets; use the id of the one you mean:
    ID  alice  GitHub  AT
    ID  alice  -  AT
    ");
}

#[test]
fn a_secret_is_named_by_its_short_id_or_by_words_without_case() {
    let person = Person::with_alice();
    let shown = person.run(&["secret", "show", "alice", "--json"]).json();
    let id = text_of(&shown, "/totp_secret/id");
    person.fed(RFC_SEED, &["secret", "add", "--label", "bob@work.example", "--issuer", "Acme", "--stdin"]).ok();

    for name in [id, &id[30..], &id[32..].to_uppercase(), "GitHub", "ALICE", "git ali"] {
        assert_eq!(person.run(&["secret", "show", name, "--json"]).json(), shown, "{name}");
    }
    // Several words need no quotes.
    assert_eq!(person.run(&["secret", "show", "github", "alice", "--json"]).json(), shown);
    person.run(&["code", "BOB"]).ok();
    person.run(&["code", "acme", "bob"]).ok();
    // Ids of the same minute begin with the same characters.
    assert!(person.run(&["secret", "show", &id[..8]]).refused(1).contains("no secret has this id"));
    assert!(person.run(&["secret", "show", ""]).refused(2).contains("a name must not be empty"));
}

#[test]
fn a_secret_that_is_there_is_not_doubled_in_silence() {
    let person = Person::with_alice();
    let again = ["secret", "add", "--label", "alice", "--issuer", "GitHub", "--stdin"];

    insta::assert_snapshot!(redacted(&person.fed(RFC_SEED, &again).refused(1)).replace("(ID)", "ID"),
        @r#"error: "alice" of GitHub ID is there already; with --allow-duplicate there is another of this issuer and label"#);
    person.fed(RFC_SEED, &[&again[..], &["--allow-duplicate"]].concat()).ok();
    // Neither other case nor an update makes a duplicate.
    person.fed(RFC_SEED, &["secret", "add", "--label", "Alice", "--issuer", "github", "--stdin"]).refused(1);
    let bob = person.fed(RFC_SEED, &["secret", "add", "--label", "bob", "--stdin", "--json"]).json();
    let bob = text_of(&bob, "/totp_secret/id");
    let rename = ["secret", "update", bob, "--label", "alice", "--issuer", "GitHub"];
    assert!(person.run(&rename).refused(1).contains("--allow-duplicate"));
    person.run(&["secret", "rm", bob, "--yes"]).ok();
    let listed = person.run(&["secret", "list", "--json"]).json();
    assert_eq!(listed.pointer("/totp_secrets").unwrap().as_array().unwrap().len(), 2);
}

#[test]
fn a_secret_is_changed() {
    let person = Person::with_alice();

    person.run(&["secret", "update", "alice", "--label", "alice@work", "--issuer", "", "--single-use"]).ok();

    let shown = person.run(&["secret", "show", "alice@work", "--json"]).json();
    assert_eq!(shown.pointer("/totp_secret/single_use"), Some(&true.into()));
    assert!(shown.pointer("/totp_secret/issuer").unwrap().is_null());
    person.run(&["secret", "update", "alice@work", "--single-use=false"]).ok();
    insta::assert_snapshot!(person.run(&["secret", "update", "alice@work"]).refused(2),
        @"error: say what to change: --label, --issuer, --origin, --single-use or --fill-only");
}

#[test]
fn deleting_asks_and_a_deleted_secret_comes_back() {
    let person = Person::with_alice();

    insta::assert_snapshot!(person.run(&["secret", "rm", "alice"]).refused(2),
        @"error: this asks first, and standard input is not a terminal; add --yes");
    let removed = person.run(&["secret", "rm", "alice", "--yes"]);
    insta::assert_snapshot!(redacted(&removed.err), @"`countersign secret restore ID` brings it back within 7 days.");
    person.run(&["secret", "show", "alice"]).refused(1);

    insta::assert_snapshot!(redacted(&person.run(&["secret", "list", "--deleted"]).ok()), @r"
    ID  LABEL  ISSUER  DELETED  RESTORABLE UNTIL
    ID  alice  GitHub  AT  AT
    ");
    person.run(&["secret", "restore", "alice"]).ok();
    person.run(&["code", "alice"]).ok();
    person.run(&["secret", "restore", "alice"]).refused(1);
}

#[test]
fn erasing_is_for_good_also_after_deleting() {
    let person = Person::with_alice();
    person.run(&["secret", "rm", "alice", "--yes"]).ok();

    assert_eq!(person.run(&["secret", "rm", "alice", "--yes", "--now"]).ok(), "erased\n");

    let ran = person.run(&["secret", "list", "--deleted", "--json"]);
    assert_eq!(ran.json(), serde_json::json!({"status": "OK", "totp_secrets": []}));
}

#[test]
fn step_marks_are_reset() {
    let person = Person::with_alice();
    assert!(person.run(&["secret", "reset-steps", "alice"]).refused(2).contains("add --yes"), "it asks first");
    assert_eq!(person.run(&["secret", "reset-steps", "alice", "--yes"]).ok(), "reset\n");
    assert_eq!(person.run(&["secret", "reset-steps", "alice", "-y", "--json"]).ok(), "{\"status\":\"OK\"}\n");
}

/// Names are shown in every list, and the audit log of an update names the secret.
#[test]
fn no_name_of_a_secret_is_changed_to_its_seed() {
    let person = Person::with_alice();
    let hex = data_encoding::HEXLOWER.encode(b"12345678901234567890");
    let grouped = "gezd gnbv-gy3t qojq gezd gnbv gy3t qojq";
    for name in [RFC_SEED, grouped, &format!("alice {RFC_SEED}"), &hex, &hex.to_uppercase(), &format!("otpauth:{hex}")]
    {
        for flag in ["--label", "--issuer"] {
            let refused = person.run(&["secret", "update", "alice", flag, name, "--allow-duplicate"]).refused(2);
            assert!(
                refused.contains("names are shown in lists") && !refused.contains(name),
                "{flag} {name}: {refused}"
            );
        }
    }
    let listed = person.run(&["secret", "list"]).ok() + &person.run(&["audit", "list", "--json"]).ok();
    assert!(!listed.contains(RFC_SEED) && !listed.contains(&hex) && !listed.contains("gezd"), "{listed}");
    // The seed of another secret is a name like any other.
    person.run(&["secret", "update", "alice", "--label", "JBSWY3DPEHPK3PXP"]).ok();
}

#[test]
fn a_key_that_no_service_issues_is_doubtful_and_so_are_codes_of_steam() {
    let person = Person::with_vault();
    let added = |seed: &str, more: &[&str]| {
        let ran = person.fed(seed, &[&["secret", "add", "--stdin", "--allow-duplicate"][..], more].concat());
        assert_eq!(ran.status, 0, "{ran:?}");
        ran.err
    };
    let (short, steam) =
        ("Doubtful: its secret is shorter than any service's", "Doubtful: nothing says how its codes look");
    for seed in ["enabled", "MFRG", "otpauth://totp/a?secret=MFRG"] {
        let told = added(seed, &["--label", "a"]);
        assert!(told.contains(short) && !told.contains(steam), "{seed}: {told}");
    }
    let link = format!("otpauth://totp/Steam:ada?secret={RFC_SEED}");
    for (seed, more) in [
        (RFC_SEED, &["--label", "a", "--issuer", "Steam"][..]),
        (&link, &[]),
        (&format!("otpauth://totp/ada?secret={RFC_SEED}"), &["--issuer", "steam"]),
    ] {
        let told = added(seed, more);
        assert!(told.contains(steam) && !told.contains(short), "{seed}: {told}");
    }
    for (seed, more) in [
        (RFC_SEED, &["--label", "a", "--issuer", "Steam", "--digits", "6"][..]),
        (&format!("{link}&digits=6"), &[]),
        (RFC_SEED, &["--label", "a", "--issuer", "Acme"]),
    ] {
        assert!(!added(seed, more).contains("Doubtful"), "{seed} {more:?}");
    }
}

#[test]
fn a_key_or_link_may_be_in_quotes() {
    let person = Person::with_vault();
    for (open, close) in [("\"", "\""), ("'", "'"), ("`", "`"), ("<", ">"), ("\u{201c}", "\u{201d}")] {
        let link = format!("{open}otpauth://totp/ada?secret={RFC_SEED}{close}\n");
        person.fed(&link, &["secret", "add", "--stdin", "--allow-duplicate"]).ok();
        let seed = format!(" {open}{RFC_SEED}{close}\n");
        person.fed(&seed, &["secret", "add", "--stdin", "--label", "bob", "--allow-duplicate"]).ok();
    }
}

#[cfg(unix)]
#[test]
fn a_link_without_a_name_that_can_be_kept_is_asked_for_one() {
    let person = Person::with_vault();
    let own = format!("otpauth://totp/{RFC_SEED}?secret={RFC_SEED}");
    for link in [format!("otpauth://totp/?secret={RFC_SEED}"), own.clone()] {
        let piped = person.fed(&link, &["secret", "add", "--stdin"]).refused(2);
        assert!(piped.contains("add --label") && !piped.contains("GEZD"), "{piped}");
        assert_eq!(piped.contains("label holds the key"), link == own, "{piped}");
        let mut terminal = Terminal::new();
        let mut program = terminal.start(&person, "secret add --allow-duplicate");
        terminal.wait_for_a_hidden_prompt(&mut program);
        terminal.types(&link);
        terminal.read_until("Label, such as the account's name: ");
        terminal.types("eve");
        let (shown, ended) = terminal.rest_of(program);
        assert!(ended.success() && shown.contains("eve"), "{shown}");
        person.fed(&link, &["secret", "add", "--stdin", "--label", "fay", "--allow-duplicate"]).ok();
    }
}

#[test]
fn a_name_is_neither_a_short_seed_nor_holds_a_link() {
    let person = Person::with_vault();
    for (seed, label) in [("MFRGGZDFMY", "mfrg gzdf my"), (RFC_SEED, "ada otpauth://totp/a?secret=MFRGGZDFMZTWQ2LK")] {
        person.fed(seed, &["secret", "add", "--stdin", "--label", label]).refused(2);
    }
    person.fed("MFRGGZDFMY", &["secret", "add", "--stdin", "--label", "my mfrggzdfmy words"]).ok();
}

#[test]
fn a_link_of_another_kind_of_codes_is_called_that() {
    let person = Person::with_vault();
    for (link, words) in [
        ("steam://JBSWY3DPEHPK3PXP", "is one of Steam, whose codes are letters"),
        ("otpauth://steam/ada?secret=JBSWY3DPEHPK3PXP", "is one of Steam, whose codes are letters"),
        ("motp://site:ada?secret=0123456789abcdef", "is one of mOTP"),
        ("otpauth://yaotp/ada?secret=JBSWY3DPEHPK3PXP", "is one of Yandex Key, whose codes are letters"),
    ] {
        let told = person.fed(link, &["secret", "add", "--stdin", "--label", "x"]);
        assert!(told.status != 0 && told.err.contains(words), "{link}: {told:?}");
    }
}
