//! What a file says and the importer does not read: settings under other names, and keys in other places. Each is a
//! doubt, or a skipped entry with its reason.

use serde_json::{Value, json};

use super::losses::{A, B, check, link, read, told_of};

const ELSEWHERE: &str = "a column or field that is not read has what looks like a key";
/// A key without a digit.
const C: &str = "KZXWMQRBTDPLHVNC";

fn told(text: &str) -> Vec<String> {
    read(text).entries.iter().map(told_of).collect()
}

/// How the codes of the only entry are made, with a mark if a part of it was not read; or why it is skipped.
fn made(text: &str) -> String {
    let entries = read(text).entries;
    assert_eq!(entries.len(), 1, "{text}: {:?}", entries.iter().map(told_of).collect::<Vec<_>>());
    match &entries[0].read {
        Ok(found) => {
            let totp = found.totp;
            let is_doubt = found.notes.iter().any(|note| note.to_string().contains("was not read"));
            let doubt = if is_doubt { " ?" } else { "" };
            format!("{} {} {}{doubt}", totp.algorithm.as_str(), totp.digits.get(), totp.period.seconds())
        }
        Err(why) => why.to_string(),
    }
}

#[test]
fn numbers_of_codes_are_noticed_in_a_table_of_logins() {
    for password in ["Passwort", "Mot de passe", "Contrase\u{f1}a", "Password"] {
        for (name, cell) in [
            ("Anzahl Stellen", "8"),
            ("Stellenzahl", "8"),
            ("Nombre de chiffres", "8"),
            ("6/8", "8"),
            ("G\u{fc}ltigkeit (s)", "60"),
            ("Zeitfenster", "45"),
            ("Dur\u{e9}e", "90"),
            ("Every (s)", "120"),
        ] {
            let head = format!("Dienst;Benutzer;{password};TOTP;{name}");
            assert_eq!(made(&format!("{head}\nJira;ada;pw;{A};{cell}\n")), "SHA1 6 30 ?", "{head} {cell}");
            // Beside an unusual number, the usual one is no doubt.
            let usual = if cell == "8" { "6" } else { "30" };
            let both = format!("{head}\nJira;ada;pw;{A};{cell}\nOVH;bob;pw;{B};{usual}\n");
            assert!(read(&both).entries[1].read.as_ref().ok().unwrap().notes.is_empty(), "{head} {cell}");
            assert_eq!(made(&format!("{head}\nJira;ada;pw;{A};{usual}\n")), "SHA1 6 30", "{head} {usual}");
        }
    }
    for (name, cell) in [("Room", "7"), ("Order", "10"), ("Age in days", "60"), ("Password length", "8")] {
        assert_eq!(made(&format!("Site,User,Password,TOTP,{name}\nJira,ada,pw,{A},{cell}\n")), "SHA1 6 30", "{name}");
    }
}

#[test]
fn a_list_that_a_person_wrote_says_under_any_name_how_codes_are_made() {
    let entry = |members: &Value| {
        let mut entry = json!({"issuer": "VPN", "account": "bob", "label": "bob", "secret": A});
        entry.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        entry
    };
    let with_type = |members: &Value| {
        let mut entry = entry(members);
        entry["type"] = "totp".into();
        entry
    };
    for (members, expected) in [
        (json!({"algo": "SHA256", "interval": 60}), "SHA256 6 60"),
        (json!({"timeStep": 60}), "SHA1 6 60"),
        (json!({"hash": "sha256"}), "SHA256 6 30"),
        (json!({"length": 8}), "SHA1 8 30"),
        (json!({"digit": "8"}), "SHA1 8 30"),
        (json!({"Digits": 8}), "SHA1 8 30"),
        (json!({"Period": "60"}), "SHA1 6 60"),
        (json!({"timer": 60}), "SHA1 6 60"),
        (json!({"otp": {"digits": 8, "period": 60}}), "SHA1 8 60"),
        (json!({"digits": 7}), "its codes don't have 6 or 8 digits"),
        (json!({"Interval": "soon"}), "its period is not 1 to 3600 seconds"),
        (json!({"options": "8 digits"}), "SHA1 6 30 ?"),
        (json!({"settings": "30;8"}), "SHA1 6 30 ?"),
        (json!({"note": "SHA512"}), "SHA1 6 30 ?"),
        (json!({"digits": 6, "codeDigits": 8}), "SHA1 6 30 ?"),
        (json!({"note": "counter-based"}), "SHA1 6 30 ?"),
        (json!({"tags": ["8"], "used_frequency": 8, "last_used": 60, "thumbnail": "Default"}), "SHA1 6 30"),
        (json!({"hash": "5f4dcc3b5aa765d61d8327deb882cf99", "index": 8, "counter": null}), "SHA1 6 30"),
    ] {
        assert_eq!(made(&json!([with_type(&members)]).to_string()).split(", or").next(), Some(expected), "{members}");
        let told = made(&json!({"1": entry(&members)}).to_string());
        assert!(told.starts_with(expected), "{members}: {told}");
    }
    assert!(made(&json!({"1": entry(&json!({"counter": 5}))}).to_string()).starts_with("counter-based"));
    let many: serde_json::Map<String, Value> = (0..100_000).map(|nth| (format!("totp{nth}"), "x".into())).collect();
    assert_eq!(made(&json!([with_type(&many.into())]).to_string()), "SHA1 6 30 ?");
    let raivo = json!([{"issuer": "I", "account": "a", "secret": A, "kind": "TOTP", "timer": "30", "Digits": 8}]);
    assert_eq!(made(&raivo.to_string()), "SHA1 8 30");
}

#[test]
fn each_object_of_a_map_is_an_entry_and_so_is_a_key_beside_that_of_an_entry() {
    let a = format!(" {A}");
    for other in [json!({"key": B}), json!({"otp": {"value": B}}), json!(B)] {
        check(&json!({"GitHub": {"secret": A}, "Slack": other}).to_string(), &[&a, "entry 2: "]);
    }
    check(&json!({"GitHub": {"secret": A}, "Slack": {"key": B}}).to_string(), &[&a, ELSEWHERE]);
    check(&json!({"GitHub": {"secret": A}, "Slack": {"user": "x"}}).to_string(), &[&a, "entry 2: it has no secret"]);
    // What the extension keeps beside its entries.
    let settings =
        json!({"a": {"account": "ada", "secret": A}, "key": {"enc": "x"}, "LocalStorage": {"theme": "dark"}});
    check(&settings.to_string(), &[&a]);
    let two = json!([{"type": "totp", "label": "a", "secret": A, "key": B}, {"type": "totp", "label": "b", "key": B}]);
    check(&two.to_string(), &[&a, ELSEWHERE, ELSEWHERE]);
}

/// Files of one login without another key, with this text in a field of this name.
fn with_field(name: &str, text: &str) -> Vec<(&'static str, String)> {
    let bitwarden = json!({"type": 1, "name": "T", "fields": [{"name": name, "value": text}]});
    let section = json!({"fields": [{"title": name, "value": {"concealed": text}}]});
    let pux = json!({"overview": {"title": "T"}, "details": {"loginFields": [], "sections": [section]}});
    let pass = json!({"type": "login", "metadata": {"name": "T", "note": ""}, "content": {},
        "extraFields": [{"fieldName": name, "type": "hidden", "data": {"content": text}}]});
    let xml = format!("<String><Key>{name}</Key><Value>{}</Value></String>", text.replace('&', "&amp;"));
    let head = "folder,favorite,type,name,notes,fields,reprompt,login_uri,login_username,login_password,login_totp";
    vec![
        ("Bitwarden", json!({"encrypted": false, "folders": [], "items": [bitwarden]}).to_string()),
        ("1Password", json!({"accounts": [{"vaults": [{"items": [pux]}]}]}).to_string()),
        ("Proton Pass", json!({"userId": "u", "vaults": {"v": {"items": [{"state": 1, "data": pass}]}}}).to_string()),
        ("KeePass", format!("<KeePassFile><Root><Group><Entry>{xml}</Entry></Group></Root></KeePassFile>")),
        ("a table of Bitwarden", format!("{head}\n,,login,T,,\"{name}: {text}\",0,,ada,pw,\n")),
    ]
}

#[test]
fn words_around_a_key_never_hide_it_in_a_field_that_a_person_added() {
    for name in ["TOTP", "2FA", "OTP", "Authenticator key"] {
        for (text, expected) in [
            (format!("{A} (old phone)"), format!("{A} ?")),
            (format!("{A} 8 digits"), format!("{A} ?")),
            (format!("Key: {A}"), "its secret is not base32".to_owned()),
            (format!("secret={A}"), "its secret is not base32".to_owned()),
            (format!("{A}."), "its secret is not base32".to_owned()),
        ] {
            for (place, file) in with_field(name, &text) {
                let told = told(&file);
                assert!(told.len() == 1 && told[0].contains(&expected), "{place}, {name}: {text}: {told:?}");
            }
            let in_table = told(&format!("Title,{name}\nT,{text}\n"));
            assert!(in_table.len() == 1 && in_table[0].contains(&expected), "{name}: {text}: {in_table:?}");
        }
        for words in ["yes", "SMS to 0170 1234567", "on my old phone", "ask bob, 8 digits"] {
            for (place, file) in with_field(name, words) {
                assert_eq!(told(&file), [""; 0], "{place}, {name}: {words}");
            }
        }
    }
    // Other things have this name, too.
    for (place, file) in with_field("Secret", &format!("{A} (old phone)")) {
        let told = told(&file);
        assert!(told.len() == 1 && told[0].contains(ELSEWHERE), "{place}: {told:?}");
    }
}

#[test]
fn a_note_that_is_only_a_key_or_has_the_only_key_is_told_in_every_format() {
    let own = |key: &str| json!({"username": "ada", "totp": key});
    for (note, is_told_beside_another) in [(A.to_owned(), true), (format!("2FA: {A}\npin 1234"), false)] {
        for key in ["", B] {
            let bitwarden = json!({"type": 1, "name": "T", "notes": note, "login": own(key)});
            let field = json!({"title": "otp", "value": {"totp": key}});
            let details = json!({"notesPlain": note, "loginFields": [], "sections": [{"fields": [field]}]});
            let pux = json!({"overview": {"title": "T"}, "details": details});
            let pass = json!({"metadata": {"name": "T", "note": note}, "content": {"totpUri": key}});
            for file in [
                json!({"encrypted": false, "folders": [], "items": [bitwarden]}).to_string(),
                json!({"accounts": [{"vaults": [{"items": [pux]}]}]}).to_string(),
                json!({"userId": "u", "vaults": {"v": {"items": [{"state": 1, "data": pass}]}}}).to_string(),
                format!("name,username,password,note,totp\nT,ada,pw,\"{note}\",{key}\n"),
            ] {
                let expected = usize::from(!key.is_empty()) + usize::from(key.is_empty() || is_told_beside_another);
                let told = told(&file);
                assert_eq!(told.len(), expected, "{file}: {told:?}");
                assert_eq!(
                    told.last().is_some_and(|told| told.contains(ELSEWHERE)),
                    key.is_empty() || is_told_beside_another
                );
            }
        }
    }
    // A table of a browser.
    let chrome = format!("name,url,username,password,note\nX,https://x.example,ada,pw,2FA: {A}\n");
    check(&chrome, &["looks like a key: column 5; call it `totp`"]);
    // Addresses have identifiers in them, and passwords may look like keys.
    for (url, password) in [(format!("https://x.example/?id={A}"), "pw"), ("https://x.example".to_owned(), B)] {
        let told =
            super::bad_input::read(format!("name,url,username,password,note\nX,{url},ada,{password},\n").as_bytes());
        assert!(told.err().unwrap().to_string().contains("nothing is in it to import"));
    }
}

#[test]
fn what_was_meant_as_a_link_is_told_beside_a_single_good_one() {
    let good = link("S:b", B);
    for bad in [
        format!("tpauth://totp/GitHub:ada?secret={A}&issuer=GitHub"),
        format!("auth://totp/GitHub:ada?secret={A}"),
        format!("totp://GitHub:ada?issuer=GitHub&secret={A}"),
        format!("//totp/GitHub:ada?secret={A}&issuer=GitHub"),
        format!("optauth://totp/GitHub:ada?SECRET={A}&issuer=GitHub"),
        format!("secret={A}&issuer=X"),
        format!("GitHub:ada?secret={}&issuer=X", A.to_lowercase()),
        format!("https://x.example/add?secret={A}&issuer=X"),
        format!("otpauth%3A%2F%2Ftotp%2FGitHub%3Aada%3Fsecret%3D{A}%26issuer%3DGitHub"),
        "tpauth://totp/GitHub:ada?secret=JBSWY3DPEHPK3PX1".to_owned(),
    ] {
        check(&format!("{bad}\n{good}\n"), &["line 1: the link is not", &format!("b {B}")]);
    }
    let note = format!(
        "hunter2\nuser: ada\nclient_secret=abc\nsecrets: none\nsecret=\n{good}\nurl: https://x.example/secret\n"
    );
    check(&note, &[&format!("b {B}")]);
}

#[test]
fn counter_based_codes_are_noticed_in_other_languages_and_behind_questions() {
    for (name, cell) in [("Z\u{e4}hler", "5"), ("compteur", "5"), ("contador", "5"), ("TOTP-Z\u{e4}hler", "7")] {
        let told = made(&format!("Dienst,Benutzer,secret,{name}\nFoo,ada,{A},{cell}\n"));
        assert!(told.starts_with("counter-based (hotp) codes"), "{name}: {told}");
    }
    for (name, cell) in [
        ("Typ", "z\u{e4}hlerbasiert"),
        ("Art", "ereignisbasiert"),
        ("Tipo", "basado en contador"),
        ("time-based", "no"),
        ("time based?", "FALSE"),
        ("is TOTP", "FALSE"),
        ("uses totp", "nein"),
    ] {
        assert_eq!(made(&format!("Service,User,secret,{name}\nFoo,ada,{A},{cell}\n")), "SHA1 6 30 ?", "{name}");
    }
    for (name, cell) in [("Typ", "zeitbasiert"), ("time-based", "yes"), ("is TOTP", "TRUE"), ("Base", "counter")] {
        assert_eq!(made(&format!("Service,User,secret,{name}\nFoo,ada,{A},{cell}\n")), "SHA1 6 30", "{name}");
    }
    assert_eq!(made(&format!("Service,User,secret\nFoo (HOTP),ada,{A}\n")), "SHA1 6 30 ?");
    let questions = read(&format!("Service,User,secret,is TOTP\nFoo,ada,{A},TRUE\n"));
    assert_eq!(questions.columns[3].read_as, None);
}

#[test]
fn the_only_key_of_a_row_is_told_with_its_column_whatever_that_is_called() {
    let told = format!("{ELSEWHERE}: column 4; call it `totp`");
    for name in [
        "2FA backup",
        "TOTP backup",
        "Backup 2FA key",
        "Authenticator backup",
        "TOTP recovery",
        "Cl\u{e9} de secours 2FA",
        "Backup key",
        "Recovery key",
        "License",
        "Contrase\u{f1}a de un solo uso",
        "Mot de passe \u{e0} usage unique",
        "Senha 2FA",
        "Kennwort 2FA",
        "Parola OTP",
    ] {
        check(&format!("site,email,2FA,{name}\nBinance,ada@x.com,yes,{A}\n"), &[&told]);
        let beside = format!("site,email,password,{name},totp\nX,ada@x.com,pw,{A},\nY,bob@x.com,pw,,{B}\n");
        check(&beside, &[&told, &format!("bob@x.com {B}")]);
        check(&format!("site,email,2FA,{name}\nBinance,ada@x.com,yes,kzxw mqrb tdpl hvnc\n"), &[&told]);
        check(&format!("site,email,2FA,{name}\nBinance,ada@x.com,yes,Authy: {C}\n"), &[&told]);
    }
    // A password or an identifier is not taken for a key, also if the login has no key.
    for name in ["Contrase\u{f1}a", "Mot de passe", "Passwort", "Item ID", "uuid"] {
        let text = format!("site,email,{name},totp\nX,ada@x.com,{A},\nY,bob@x.com,pw,{B}\n");
        check(&text, &[&format!("bob@x.com {B}")]);
    }
}

#[test]
fn titles_above_a_head_and_second_keys_are_what_they_are() {
    let (a, b) = (format!("ada {A}"), format!("bob {B}"));
    let rows = format!("service,user,key\nGitHub,ada,{A}\nSlack,bob,{B}\n");
    for above in ["TOTP,,\n", "TOTP secrets;;\n\n", "Company Inc.,,\n2FA list,,\n,,\n", ",,\nSecret,,\n"] {
        check(&format!("{above}{rows}"), &[&a, &b]);
    }
    assert_eq!(read(&format!("TOTP,,\n,,\n{rows}")).entries[1].place.to_string(), "line 5");
    // A key alone in its row is no title.
    assert_eq!(told(&format!("totp,,\n{A},,\nservice,user,key\nX,bob,{B}\n")).len(), 3);
    for name in ["second totp", "Second code", "second OTP"] {
        let told = told(&format!("service,user,totp,{name}\nG,ada,{A},{B}\n"));
        assert_eq!(told.len(), 2, "{name}: {told:?}");
        assert!(told[0].contains(A) && !told[1].contains("period"), "{name}: {told:?}");
    }
}

#[test]
fn settings_in_one_cell_are_doubts() {
    for (name, cell) in [
        ("settings", "30;8"),
        ("config", "6/60"),
        ("config", "SHA1/8/30"),
        ("params", "8, 60"),
        ("alg", "HS256"),
        ("Hashverfahren", "256"),
        ("Hashfunktion", "SHA2"),
        ("note", "sha-2"),
    ] {
        assert_eq!(made(&format!("service,user,secret,{name}\nG,ada,{A},\"{cell}\"\n")), "SHA1 6 30 ?", "{name}");
    }
    for (name, cell) in
        [("since", "8/30"), ("config", "6;30"), ("config", "SHA1/6/30"), ("rooms", "7, 8"), ("from", "6:15")]
    {
        assert_eq!(made(&format!("service,user,secret,{name}\nG,ada,{A},\"{cell}\"\n")), "SHA1 6 30", "{name}");
    }
}

#[test]
fn a_spreadsheet_is_told_to_be_saved_as_csv() {
    let (known, cells) = (b"export.data", b"content.xml");
    let mut archive = super::bytes("1password.1pux");
    let places: Vec<usize> = (0..archive.len() - known.len()).filter(|at| archive[*at..].starts_with(known)).collect();
    for at in places {
        archive[at..at + known.len()].copy_from_slice(cells);
    }
    let told = countersign::domain::import::open(&archive).map(|_| ()).unwrap_err().to_string();
    assert_eq!(told, "a spreadsheet; save it as CSV, and import that");
}
