//! Two seeds in the place of one, seeds in groups, and fields and columns with names like those of seeds: each seed is
//! an entry or a skipped one, and other texts are not entries.

use countersign::domain::{import::Note, text::ShownText};
use serde_json::{Value, json};

use super::{
    elsewhere::cpu_time,
    losses::{A, B, SHORTEST, check, link, read, told_of},
};

const SEVERAL: &str = "looks like several seeds";

fn told(text: &str) -> Vec<String> {
    read(text).entries.iter().map(told_of).collect()
}

fn refused(text: &str) -> String {
    super::bad_input::read(text.as_bytes()).map(|_| ()).unwrap_err().to_string()
}

fn bitwarden(fields: &Value) -> String {
    json!({"encrypted": false, "folders": [], "items": [{"type": 1, "name": "T", "fields": fields}]}).to_string()
}

/// Files with one entry each, and this seed in its field.
fn with_seed(seed: &str) -> Vec<(&'static str, String)> {
    let keepass = |key: &str, value: &str| {
        format!(
            "<KeePassFile><Root><Group><Entry><String><Key>Title</Key><Value>T</Value></String><String><Key>{key}</Key>\
             <Value>{value}</Value></String></Entry></Group></Root></KeePassFile>"
        )
    };
    let credential = json!({"type": "totp", "secret": seed, "username": "T"});
    let aegis = json!({"type": "totp", "name": "T", "issuer": "", "info": {"secret": seed}});
    let service = json!({"name": "T", "secret": seed, "otp": {}});
    let login = json!({"username": "T", "totp": seed});
    vec![
        ("TOTP Seed", keepass("TOTP Seed", seed)),
        ("TimeOtp", keepass("TimeOtp-Secret-Base32", seed)),
        ("KeeOtp", keepass("otp", &format!("key={seed}&amp;size=6"))),
        ("otp of KeePass", keepass("otp", seed)),
        ("Exchange", json!({"items": [{"title": "T", "credentials": [credential]}]}).to_string()),
        ("Aegis", json!({"version": 1, "header": {}, "db": {"entries": [aegis]}}).to_string()),
        ("2FAS", json!({"schemaVersion": 4, "services": [service]}).to_string()),
        ("Bitwarden", json!({"encrypted": false, "items": [{"type": 1, "name": "T", "login": login}]}).to_string()),
        ("a table", format!("Title,TOTP\nT,\"{seed}\"\n")),
        ("a link", format!("otpauth://totp/T?secret={}&issuer=T\n", seed.replace(' ', "%20").replace('\n', "%0A"))),
        ("registrations", json!([{"label": "T", "secret": seed}]).to_string()),
    ]
}

#[test]
fn two_seeds_in_one_field_are_skipped_as_such_in_every_format() {
    for seed in [
        format!("{A}-{B}"),
        format!("{A} {B}"),
        format!("{A}/{B}"),
        format!("{A} / {B}"),
        format!("{A}, {B}"),
        format!("{A}\n{B}"),
        format!("{SHORTEST}-{SHORTEST}-{SHORTEST}"),
        format!("{A} {SHORTEST}"),
        "gezd gnbv gy3t qojq / jbsw y3dp ehpk 3pxp".to_owned(),
        "gezd-gnbv-gy3t-qojq-gezd jbsw-y3dp-ehpk-3pxp".to_owned(),
    ] {
        for (place, file) in with_seed(&seed) {
            let told = told(&file);
            assert!(told.len() == 1 && told[0].contains(SEVERAL), "{seed:?} in {place}: {told:?}");
        }
    }
    for joint in ["+", "%20", "%2B", "/"] {
        let told = told(&format!("otpauth://totp/T?secret={A}{joint}{B}\n"));
        assert!(told.len() == 1 && told[0].contains(SEVERAL), "{joint}: {told:?}");
    }
    // Here the second seed is behind the link.
    check(&format!("otpauth://totp/T?secret={A}-{B}\n"), &[&format!("T {A} ?"), "line 1: it is a bare key"]);
    let kee = with_seed(&format!("{A}%20{B}"));
    let kee = kee.iter().find(|(place, _)| *place == "KeeOtp").unwrap();
    assert!(told(&kee.1)[0].contains(SEVERAL), "{:?}", told(&kee.1));
}

#[test]
fn two_parts_that_may_be_one_seed_are_doubtful_and_groups_are_quiet() {
    let kept = format!("T {SHORTEST}GEZDGNBVGY3TQOJQ");
    for seed in [
        format!("{SHORTEST}-GEZDGNBVGY3TQOJQ"),
        format!("{SHORTEST} GEZDGNBVGY3TQOJQ"),
        format!("{SHORTEST}\nGEZDGNBVGY3TQOJQ"),
        "jbsw y3dp ehpk 3pxp - gezd gnbv gy3t qojq".to_owned(),
    ] {
        for (place, file) in with_seed(&seed) {
            assert_eq!(told(&file), [format!("{kept} ?")], "{seed} in {place}");
        }
    }
    for seed in [
        "jbsw y3dp ehpk 3pxp gezd gnbv gy3t qojq".to_owned(),
        "JBSW-Y3DP-EHPK-3PXP-GEZD-GNBV-GY3T-QOJQ".to_owned(),
        "JBSWY3DP EHPK3PXP GEZDGNBV GY3TQOJQ".to_owned(),
    ] {
        for (place, file) in with_seed(&seed) {
            assert_eq!(told(&file), [kept.as_str()], "{seed} in {place}");
        }
    }
}

#[test]
fn words_behind_a_seed_are_told_in_every_format() {
    for (place, file) in with_seed("gezd gnbv gy3t qojq for bob") {
        let told = told(&file);
        // A link's parameters end in it, so it is taken as it stands there.
        if place != "a link" {
            assert_eq!(told, ["T GEZDGNBVGY3TQOJQ ?"], "{place}");
        }
    }
}

#[test]
fn a_seed_in_groups_is_doubtful_only_if_its_last_groups_may_be_words() {
    let mut state = 7_u64;
    let mut letters = |count: usize| -> String {
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b"abcdefghijklmnopqrstuvwxyz234567"[(state >> 59) as usize])
        };
        (0..count).map(next).collect()
    };
    for (length, most) in [(16, 0), (20, 24), (24, 8), (26, 3), (32, 1), (40, 8), (52, 24)] {
        for size in [4, 5, 6, 8] {
            let doubts = (0..500).filter(|_| {
                let seed = letters(length);
                let groups: Vec<&str> =
                    seed.as_bytes().chunks(size).map(|group| std::str::from_utf8(group).unwrap()).collect();
                let told = told(&format!("Title,TOTP\nT,{}\n", groups.join(" ")));
                // No group is cut off or left out.
                assert!(
                    told.len() == 1 && told[0].starts_with(&format!("T {}", seed[..14].to_uppercase())),
                    "{told:?}"
                );
                assert!(told[0].trim_end_matches(" ?").len() >= length, "{seed} {size}: {told:?}");
                told[0].ends_with(" ?")
            });
            let doubts = doubts.count();
            assert!(doubts * 100 <= most * 500, "{length} letters in groups of {size}: {doubts} of 500");
        }
    }
}

#[test]
fn each_bare_key_of_a_line_is_counted() {
    let (a, bare) = (format!("a {A}"), "line 2: it is a bare key");
    check(&format!("{}\n{B} {SHORTEST}\n", link("a", A)), &[&a, bare, bare]);
    check(&format!("{}\nold: {B}, new: {SHORTEST}\n", link("a", A)), &[&a, bare, bare]);
    check(&format!("{}\n{B} / {SHORTEST}\n", link("a", A)), &[&a, bare, bare]);
    check(&format!("{}\n{B}/{SHORTEST}\n", link("a", A)), &[&a, bare, bare]);
    check(&format!("{B} {} {SHORTEST}\n", link("a", A)), &[&format!("{a} ?"), "line 1: it is", "line 1: it is"]);
}

#[test]
fn words_and_ids_with_a_digit_are_no_bare_keys() {
    for words in [
        "key id: AKIAIOSFODNN7EXAMPLE",
        "role AROAIOSFODNN7EXAMPLEX",
        "prod-cluster-2-frankfurt",
        "production2environment",
        "https://example.com/ASIAIOSFODNN7EXAMPLE",
    ] {
        check(&format!("{}\n{words}\n", link("a", A)), &[&format!("a {A}")]);
    }
    // A key that begins in the same way.
    check(&format!("{}\nAKIAIOSFODNN7EXAMPLEGEZDGNBVGY3T\n", link("a", A)), &[&format!("a {A}"), "line 2: it is"]);
}

#[test]
fn a_field_that_is_called_as_services_call_their_seed_is_read() {
    for name in [
        "Authenticator Key (TOTP)",
        "MFA",
        "MFA key",
        "Google Authenticator",
        "Authenticator",
        "Secret key",
        "2FA seed",
        "Seed",
        "my TOTP",
    ] {
        check(&bitwarden(&json!([{"name": name, "value": A}])), &[&format!("T {A}")]);
        check(&bitwarden(&json!([{"name": name, "value": format!("{A} {B}")}])), &[SEVERAL]);
    }
    // Fields with these names may also have other values.
    for (name, value) in [
        ("MFA", "yes"),
        ("MFA", "123456"),
        ("Google Authenticator", "on my old phone"),
        ("Authenticator", "Duo Mobile Push phone"),
        ("Secret key", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        ("Secret key", "sk_live_4eC39HqLyjWDarjtT1zdp7dc"),
        ("2FA", "SMS to 0170 1234567"),
        ("OTP", "123456"),
        ("Password", A),
    ] {
        check(&bitwarden(&json!([{"name": name, "value": value}])), &[]);
    }
    // These may look like keys. The only one of an item is counted.
    for name in ["Recovery code", "License", "2FA backup", "Backup key"] {
        check(&bitwarden(&json!([{"name": name, "value": A}])), &["entry 1: a column or field"]);
        check(&bitwarden(&json!([{"name": name, "value": A}, {"name": "TOTP", "value": B}])), &[&format!("T {B}")]);
    }
    // A value that looks like a key is reported in fields with other names.
    for name in ["TOTP device", "Two-factor secret", "App"] {
        check(&bitwarden(&json!([{"name": name, "value": "FT4K2ABCD7XYZ234"}])), &["entry 1: a column or field"]);
    }
    // A mistyped seed.
    for seed in ["GEZDGNBVGY3TQOJ0", "gezd gnbv gy3t qoj0"] {
        check(&bitwarden(&json!([{"name": "TOTP", "value": seed}])), &["entry 1: its secret is not base32"]);
    }
}

#[test]
fn a_field_of_a_seed_with_a_value_of_another_type_is_counted() {
    for value in [json!(12345), json!(1.5), json!([A]), json!({"key": A})] {
        check(&bitwarden(&json!([{"name": "TOTP", "value": value}])), &["entry 1: it is not an entry"]);
        let item = json!({"title": "T", "fields": [{"type": "text", "label": "TOTP", "value": value}]});
        check(&json!({"items": [item]}).to_string(), &["entry 1: it is not an entry"]);
    }
    for value in [json!(null), json!(true), json!("")] {
        check(&bitwarden(&json!([{"name": "TOTP", "value": value}])), &[]);
    }
}

#[test]
fn columns_that_are_called_nearly_as_those_of_seeds_are_looked_at() {
    let (a, b) = (format!("A {A}"), format!("A {B}"));
    for name in ["mfa", "MFA Key", "authenticator", "Google Authenticator", "seed", "2FA seed", "Secret key"] {
        check(&format!("Title,OTPAuth,{name}\nA,{A},{B}\n"), &[&a, &b]);
        check(&format!("Title,OTPAuth,{name}\nA,,{B}\n"), &[&b]);
        check(&format!("Title,{name}\nA,{B}\n"), &[&b]);
        check(&format!("Title,OTPAuth,{name}\nA,{A},{B}/{A}\n"), &[&a, SEVERAL]);
        for remark in ["yes", "Google Authenticator", "Duo Mobile Push phone", "SMS to 0170 1234567", "sk_live_4eC39"] {
            check(&format!("Title,OTPAuth,{name}\nA,{A},{remark}\n"), &[&a]);
        }
    }
    for (name, value) in [
        ("otp_device", "YubiKey 5 NFC"),
        ("otp_device", "iPhone12ProMax256"),
        ("otp_serial", "FT4K2ABCD7XYZ234"),
        ("otp_serial", "SN1234567890"),
        ("TOTP URL", "https://example.com/account/2fa"),
        ("otp_provider", "MICROSOFTAUTHENTICATOR2"),
    ] {
        check(&format!("Title,OTPAuth,{name}\nA,{A},{value}\n"), &[&a]);
        check(&format!("Title,OTPAuth,{name}\nA,,{value}\n"), &[]);
    }
    check(&format!("Title,OTPAuth,TOTP URL\nA,{A},{}\n", link("A", B)), &[&a, &b]);
}

#[test]
fn a_file_of_another_kind_is_called_what_it_is() {
    let xml = "XML, but not of KeePass";
    for (file, kind) in [
        (format!("[github]\nsecret = \"{A}\"\n"), "a file of settings"),
        (format!("[[account]]\nname = \"a\"\nsecret = \"{A}\"\n"), "a file of settings"),
        (format!("\n[accounts.\"git hub\"] # mine\nsecret = \"{A}\"\n"), "a file of settings"),
        (format!("{{\"secret\": \"{A}\"}}\n{{\"secret\": \"{B}\"}}\n"), "several JSON documents"),
        (format!("[\"{A}\"]\n\n[\"{B}\"]"), "several JSON documents"),
        (format!("<?xml version=\"1.0\"?>\n<accounts><account secret=\"{A}\"/></accounts>"), xml),
        ("<svg></svg>".to_owned(), xml),
        ("{\\rtf1\\ansi hello}".to_owned(), "a document of a word processor"),
    ] {
        let problem = refused(&file);
        assert!(problem.contains(kind) && problem.contains("otpauth://"), "{file}: {problem}");
    }
    // Links in such a file are read.
    let both = format!("[[account]]\nurl = \"{}\"\n[[account]]\nurl = \"{}\"\n", link("a", A), link("b", B));
    check(&both, &[&format!("a {A}"), &format!("b {B}")]);
    assert_eq!(refused("{\"a\": 1}\n{\"a\": }"), "line 2: not JSON; the file is damaged");
    assert_eq!(refused("[\n1,\n}"), "line 3: not JSON; the file is damaged");
}

#[test]
fn links_in_notes_of_an_export_of_ente_are_counted() {
    let display = |note: &str, trashed: bool| {
        let display = json!({"note": note, "trashed": trashed}).to_string();
        format!("&codeDisplay={}", percent_encoding::utf8_percent_encode(&display, percent_encoding::NON_ALPHANUMERIC))
    };
    let note = format!("old: {} steam://x", link("b", B));
    let line = format!("{}{}\n", link("a", A), display(&note, false));
    check(&line, &[&format!("a {A}"), &format!("b {B}")]);
    check(&format!("{}{}\n", link("a", A), display(&link("a", A), false)), &[&format!("a {A}")]);
    let trashed = format!("{}{}\n", link("a", A), display(&note, true));
    check(&trashed, &["line 1: it is in the app's trash", "line 1: it is in the app's trash"]);
}

#[test]
fn an_item_with_many_links_takes_time_in_their_number_alone() {
    let of = |count: usize| {
        let links: Vec<String> = (0..count).map(|nth| link(&format!("n{nth}"), &seed(nth))).collect();
        let file =
            json!({"encrypted": false, "items": [{"type": 2, "name": "T", "notes": links.join("\n")}]}).to_string();
        let start = cpu_time();
        assert_eq!(read(&file).entries.len(), count);
        cpu_time().saturating_sub(start)
    };
    let few = of(2_000);
    let many = of(16_000);
    assert!(many < few * 24, "{many:?} for eight times as many as took {few:?}");
}

/// A different seed for each number.
fn seed(nth: usize) -> String {
    data_encoding::BASE32_NOPAD.encode(format!("{nth:020}").as_bytes())
}

#[test]
fn a_link_beside_the_same_bare_key_says_how_codes_are_made_and_none_is_lost() {
    let table = |cells: [&str; 3]| format!("Title,otp_1,otp_2,otp_3\nA,{},{},{}\n", cells[0], cells[1], cells[2]);
    let (usual, other) = (link("A", A), format!("{}&digits=8", link("A", A)));
    for (cells, digits) in [
        ([A, &other, ""], &[8][..]),
        ([&other, A, ""], &[8]),
        ([A, &usual, &other], &[6, 8]),
        ([&other, A, &usual], &[8, 6]),
        ([A, &other, &usual], &[8, 6]),
        ([&usual, &usual, A], &[6]),
    ] {
        let import = read(&table(cells));
        let told: Vec<u8> =
            import.entries.iter().map(|entry| entry.read.as_ref().ok().unwrap().totp.digits.get()).collect();
        assert_eq!(told, digits, "{cells:?}");
    }
}

#[test]
fn a_name_that_holds_its_own_key_is_left_out() {
    check(&link(&format!("Acme:{A}"), A), &[&format!("Acme {A} ?")]);
    for text in [link(&format!("Acme:{A}"), A), format!("Title,Username,TOTP\nT,{A},{A}\n")] {
        for entry in read(&text).entries {
            assert!(!entry.title.is_some_and(|title| title.as_str().contains(A)), "{text}");
        }
    }
    check(&format!("{}&issuer={A}", link(&format!("ada%20{}", A.to_lowercase()), A)), &[&format!("Unnamed {A} ?")]);
    // Two names that contain the key get one note.
    let both = read(&format!("Title,Username,TOTP\n{A},{A},{A}\n"));
    let notes = &both.entries[0].read.as_ref().ok().unwrap().notes;
    assert_eq!(notes.iter().filter(|note| **note == Note::KeyAsName).count(), 1);
}

/// A skipped entry is reported by its title, whatever is wrong with its key.
#[test]
fn a_skipped_entry_is_not_told_by_its_key() {
    let table_of = |title: &str, seed: &str| format!("Title,Username,TOTP\n{title},ada,{seed}\n");
    let (mistyped, spaced) = (A.replace('J', "1"), "gezd gnb1 gy3t qoj1 gezd gnbv gy3t qojq");
    let hex = data_encoding::HEXLOWER.encode(b"12345678901234567890");
    let google = json!([{"secret": "", "issuer": "X", "label": A, "type": "TOTP"}]).to_string();
    let free = json!({"tokens": [{"secret": "x", "issuerExt": A, "label": "ada"}], "tokenOrder": []});
    let extension = json!({"1": {"secret": A, "account": mistyped, "issuer": "X", "encrypted": true}});
    for (file, key) in [
        (table_of(A, &format!("\"{A} {B}\"")), A),
        (table_of(&A.to_lowercase(), &format!("\"{A} {B}\"")), &A.to_lowercase()),
        (table_of(&mistyped, &mistyped), &mistyped),
        (table_of(spaced, spaced), "qoj1"),
        (table_of(&hex, &mistyped), &hex),
        (table_of(&format!("mine: {mistyped}"), "nothing here!"), &mistyped),
        (table_of(A, "otpauth://hotp/x?secret=JBSWY3DPEHPK3PXP"), A),
        (google, A),
        (free.to_string(), A),
        (extension.to_string(), &mistyped),
    ] {
        let import = read(&file);
        let titles: Vec<_> = import.entries.iter().filter_map(|entry| entry.title.as_ref()).collect();
        assert!(import.entries.iter().all(|entry| entry.read.is_err()) && !titles.is_empty(), "{file}");
        assert!(titles.iter().all(|title| !title.as_str().contains(key)), "{file}: {titles:?}");
    }
    let import = read(&table_of("Grandmother's internationalisation server", &mistyped));
    let title = import.entries[0].title.as_ref().map(|title| title.as_str().to_owned());
    assert_eq!(title.as_deref(), Some("Grandmother's internationalisation server: ada"));
}

#[test]
fn a_column_of_a_plain_name_is_one_of_seeds_if_it_has_some_and_no_other_is_surer() {
    let (a, b) = (format!("A {A}"), format!("B {B}"));
    for head in ["name,secret", "Title,Key", "account,secret key", "Issuer,Base32", "service,Setup Key", "name,seed"] {
        check(&format!("{head}\nA,{A}\nB,{B}\n"), &[&a, &b]);
        // A value in such a column is never left out silently.
        check(&format!("{head}\nA,{A}\nB,GEZDGNB0GY3TQOJQ\n"), &[&a, "line 3: its secret is not base32"]);
        check(&format!("{head}\nA,{A}\nB,\n"), &[&a]);
    }
    check(&format!("name,key,secret\nA,1,{A}\nB,2,{}\n", link("B", B)), &[&a, &b]);
    check(&format!("name,key,secret\nA,{A},{B}\n"), &[&a, &format!("A {B}")]);
    for other in ["totp", "secret"] {
        check(&format!("name,key,{other}\nA,AKIAIOSFODNN7EXAMPLE,{A}\n"), &[&a]);
    }
    check(&format!("name,key,totp\nA,{B},{A}\n"), &[&a, "a column or field that is not read"]);
    check(&format!("name;password;secret\nA;hunter2;{A}\n"), &[&a]);
}

#[test]
fn a_table_without_such_a_column_is_told_which_are_looked_for() {
    assert!(refused(&format!("a,b\nA,{A}\n")).contains("`totp`, `otp`, `otpauth`, `secret` or `key`"));
    for table in ["name,secret\nA,hunter2\n", "name\tkey\nA\t1234\n"] {
        let told = refused(table);
        assert!(told.contains("no row has a whole key in the column for it (`secret`, `key` and the like)"), "{told}");
    }
}

#[test]
fn a_seed_or_a_mistyped_one_in_a_field_of_bitwarden_is_never_silent() {
    let file = |totp: Value, name: &str, value: Value| {
        let item = json!({
            "type": 1, "name": "T", "login": {"username": "ada", "totp": totp},
            "fields": [{"type": 1, "name": name, "value": value}],
        });
        json!({"encrypted": false, "folders": [], "items": [item]}).to_string()
    };
    let (null, a) = (Value::Null, format!("ada {A}"));
    for name in ["secret", "Secret", "totp", "TOTP 2", "secret key", "seed", "otp secret"] {
        check(&file(null.clone(), name, A.into()), &[&a]);
        check(&file(null.clone(), name, link("x", A).into()), &[&format!("x {A}")]);
        check(&file(A.into(), name, A.into()), &[&a]);
    }
    for mistyped in ["GEZDGNB0GY3TQOJ1", "GEZDGNBV!GY3TQOJQ", "gezd gnb0 gy3t qojq"] {
        check(&file(mistyped.into(), "x", "y".into()), &["its secret is not base32"]);
        check(&file(null.clone(), "totp", mistyped.into()), &["its secret is not base32"]);
    }
    for totp in [json!(123_456), json!({"secret": A}), json!([A])] {
        let told: Vec<_> = read(&file(totp.clone(), "x", "y".into())).entries.iter().map(told_of).collect();
        assert_eq!(told.len(), 1, "{totp}: {told:?}");
    }
    for (name, word) in [("totp", "yes"), ("totp", "enabled"), ("secret", "hunter2"), ("secret", "correct horse")] {
        check(&file(A.into(), name, word.into()), &[&a]);
    }
}

#[test]
fn a_table_says_how_the_codes_of_its_seeds_are_made() {
    let read_row = |head: &str, row: &str| read(&format!("{head}\n{row}\n")).entries.remove(0).read;
    for head in ["issuer,label,secret,digits,period,algorithm", "Service,Account,TOTP,OTP digits,Interval,algo"] {
        let totp = read_row(head, &format!("Acme,ada,{A},8,60,SHA256")).ok().unwrap().totp;
        assert_eq!((totp.digits.get(), totp.period.seconds(), totp.algorithm.as_str()), (8, 60, "SHA256"));
        let totp = read_row(head, &format!("Acme,ada,{A},,,")).ok().unwrap().totp;
        assert_eq!((totp.digits.get(), totp.period.seconds(), totp.algorithm.as_str()), (6, 30, "SHA1"));
        for wrong in ["7,30,SHA1", "six,30,SHA1", "6,0,SHA1", "6,30,MD5", "6,30,x"] {
            assert!(read_row(head, &format!("Acme,ada,{A},{wrong}")).is_err(), "{wrong}");
        }
    }
    for kind in ["hotp", "steam", "steamtotp"] {
        assert!(read_row("service,account,otp_type,secret", &format!("S,a,{kind},{A}")).is_err(), "{kind}");
    }
    // A link's parameters take precedence, and the type of a login is not a type of codes.
    let link = format!("otpauth://totp/x?secret={A}&digits=8");
    let totp = read_row("name,type,totp,digits", &format!("a,login,{link},6")).ok().unwrap().totp;
    assert_eq!(totp.digits.get(), 8);
    check(&format!("name,type,totp\na,login,{A}\n"), &[&format!("a {A}")]);
}

#[test]
fn a_table_keeps_both_the_service_and_the_account() {
    for head in ["issuer,account,secret", "issuer,name,secret", "Service,Name,Key", "service,account name,otp"] {
        for (row, label) in [("Acme,ada", "ada"), ("Acme,bob", "bob")] {
            let found = read(&format!("{head}\n{row},{A}\n")).entries.remove(0).read.ok().unwrap();
            let issuer = found.issuer.as_ref().map(ShownText::as_str);
            assert_eq!((found.label.as_str(), issuer), (label, Some("Acme")), "{head}");
        }
    }
}

#[test]
fn no_row_of_a_column_of_seeds_is_left_out_of_the_count() {
    let rows = format!("name,secret\nada,{A}\nbob,hunter2\ncarl,MFRG\ndan,MFRGGZDF\neve,not a key at all!\nfay,\n");
    assert_eq!(read(&rows).entries.len(), 5);
}

#[test]
fn tables_as_excel_writes_them_are_read() {
    let table = format!("name;secret\nada;{A}\nbob;{B}\n");
    let both = [format!("ada {A}"), format!("bob {B}")];
    let both: Vec<&str> = both.iter().map(String::as_str).collect();
    for form in [format!("sep=;\r\n{table}"), format!("sep=;\n{table}"), table.replace('\n', "\r")] {
        check(&form, &both);
    }
    let lines = told(&format!("sep=;\n{table}"));
    assert_eq!(lines.len(), 2);
    let import = read(&format!("sep=;\nname;secret\nada;{A}\n"));
    assert_eq!(import.entries[0].place.to_string(), "line 3");
}

#[test]
fn fields_that_a_person_added_are_read_from_bitwardens_table() {
    let head = "folder,favorite,type,name,notes,fields,reprompt,login_uri,login_username,login_password,login_totp";
    let rows =
        format!("{head}\n,,login,Acme,,\"PIN: 1234\nTOTP: {A}\",0,,ada,p,\n,,login,Other,,color: blue,0,,bob,p,{B}\n");
    check(&rows, &[&format!("ada {A}"), &format!("bob {B}")]);
}
