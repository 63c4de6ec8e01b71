//! Files that a person wrote or changed by hand: keys in names, settings beside links and outside of tables, and keys in
//! parts of a document that no reader knows.

use countersign::domain::{import::Entry, text::ShownText};
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};

use super::losses::{A, B, check, link, read, told_of};

const C: &str = "MSYC4RY3WKCRRYIOJIB6D5TRJFLMO6TQ";
const ELSEWHERE: &str = "a column or field that is not read has what looks like a key";
const MASKED: &str = "its name had what looks like a key";
const DIFFERS: &str = "its link says something else";
const UNREAD: &str = "was not read";

fn told(text: &str) -> Vec<String> {
    read(text).entries.iter().map(told_of).collect()
}

/// The parameters of an entry's codes and the parts of its remarks, or the reason why it is skipped.
fn made(entry: &Entry) -> String {
    match &entry.read {
        Ok(found) => {
            let totp = found.totp;
            let notes: Vec<String> = found.notes.iter().map(ToString::to_string).collect();
            let has = |part: &str, mark| if notes.iter().any(|note| note.contains(part)) { mark } else { "" };
            let (unread, differs) = (has(UNREAD, " unread"), has(DIFFERS, " differs"));
            format!("{} {} {}{unread}{differs}", totp.algorithm.as_str(), totp.digits.get(), totp.period.seconds())
        }
        Err(why) => why.to_string(),
    }
}

fn all_made(text: &str) -> Vec<String> {
    read(text).entries.iter().map(made).collect()
}

/// The issuer and the label of each entry that is kept.
fn names(text: &str) -> Vec<(Option<String>, String)> {
    let kept = read(text).entries.into_iter().filter_map(|entry| entry.read.ok());
    kept.map(|found| (found.issuer.as_ref().map(ShownText::to_string), found.label.to_string())).collect()
}

fn bitwarden(item: &Value) -> String {
    json!({"encrypted": false, "folders": [], "items": [item]}).to_string()
}

fn pux(details: &Value) -> String {
    let item = json!({"overview": {"title": "T"}, "details": details});
    json!({"accounts": [{"vaults": [{"items": [item]}]}]}).to_string()
}

fn cxf(credentials: &Value) -> String {
    json!({"version": {"major": 1, "minor": 0}, "accounts": [{"items": [{"title": "T", "credentials": credentials}]}]})
        .to_string()
}

#[test]
fn a_key_in_a_name_is_never_kept_or_shown() {
    let keepassxc = |title: &str| {
        let link = format!("otpauth://totp/{title}:none?secret={A}&period=30&digits=6&issuer={title}");
        format!("Group,Title,Username,Password,URL,Notes,TOTP\nRoot,{title},,pw,,,{link}\n")
    };
    let google = |name: &str| {
        let entry = [
            &[10, 20][..],
            &[7; 20],
            &[18, u8::try_from(name.len()).unwrap()],
            name.as_bytes(),
            &[32, 1, 40, 1, 48, 2],
        ]
        .concat();
        let message = [&[10, u8::try_from(entry.len()).unwrap()][..], &entry, &[16, 1, 24, 1, 32, 0]].concat();
        format!("otpauth-migration://offline?data={}\n", data_encoding::BASE64URL_NOPAD.encode(&message))
    };
    for name in
        [C.to_owned(), C.to_lowercase(), format!("ada (old key {C})"), format!("ada_{C}"), format!("{C}@example.com")]
    {
        let login = json!({"username": name, "totp": A});
        let aegis = json!({"type": "totp", "name": name, "issuer": "", "info": {"secret": A}});
        for file in [
            format!("Service,Account,Secret\nGitHub,{name},{A}\n"),
            format!("Service,Account,Secret\n{name},ada,{A}\n"),
            json!([{"issuer": "GitHub", "label": name, "secret": A, "type": "totp"}]).to_string(),
            json!([{"issuer": name, "label": "ada", "secret": A}]).to_string(),
            json!([{"service": name, "username": "ada", "totp": A}]).to_string(),
            json!({"version": 1, "header": {}, "db": {"entries": [aegis]}}).to_string(),
            json!({"schemaVersion": 4, "services": [{"name": name, "secret": A, "otp": {}}]}).to_string(),
            json!({name.as_str(): {"account": "ada", "secret": A}}).to_string(),
            bitwarden(&json!({"type": 1, "name": "T", "login": login})),
            format!("otpauth://totp/GitHub:{name}?secret={A}\n"),
            format!("otpauth://totp/ada?secret={A}&issuer={name}\n"),
            keepassxc(&name),
            google(&name),
        ] {
            let entries = read(&file).entries;
            let shown: String = entries
                .iter()
                .flat_map(|entry| {
                    let kept = entry.read.as_ref().ok();
                    let issuer = kept.and_then(|kept| kept.issuer.as_ref());
                    entry.title.iter().chain(kept.map(|kept| &kept.label)).chain(issuer)
                })
                .map(|name| name.as_str().to_uppercase() + "\n")
                .collect();
            assert!(!shown.contains(&C[..16]), "{file}: {shown}");
            let kept: Vec<_> = entries.iter().filter_map(|entry| entry.read.as_ref().ok()).collect();
            assert_eq!(kept.len(), 1, "{file}");
            let is_told = kept[0].notes.iter().any(|note| note.is_doubt() && note.to_string().contains(MASKED));
            // The name of a map's entry may be an id of the app, which is left out.
            assert!(is_told || file.starts_with('{') && shown == "ADA\nADA\n", "{file}: {shown}");
        }
    }
    let part = format!("Service,Account,Secret\nGitHub,ada (old key {C}),{A}\nBank,JOHNDOE2,{B}\n");
    let expected = [("GitHub", "ada (old key [masked])"), ("Bank", "JOHNDOE2")];
    assert_eq!(names(&part), expected.map(|(issuer, label)| (Some(issuer.to_owned()), label.to_owned())));
}

#[test]
fn no_group_of_a_key_is_cut_off() {
    let mut state = 7_u64;
    let mut key = |count: usize| -> Vec<u8> {
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..count).map(next).collect()
    };
    for bytes in 10..=64 {
        for size in [4, 5, 6, 8, 10, 16] {
            for case in 0..4 {
                let key = BASE32_NOPAD.encode(&key(bytes));
                let groups: Vec<&str> =
                    key.as_bytes().chunks(size).map(|group| std::str::from_utf8(group).unwrap()).collect();
                let text = groups.join(if case < 2 { " " } else { "-" });
                let text = if case % 2 == 0 { text.clone() } else { text.to_lowercase() };
                let entries = read(&format!("Service,Account,Secret\nX,eve,{text}\n")).entries;
                assert_eq!(entries.len(), 1, "{text}");
                match &entries[0].read {
                    Ok(found) => assert_eq!(*found.seed.to_base32(), key, "{text}"),
                    Err(why) => {
                        assert!(why.to_string().contains("several seeds") && size == 16, "{text}: {why}");
                    }
                }
            }
        }
    }
    // The seed of RFC 6238 for SHA512, and words behind a key, which are no part of it.
    let rfc = format!("{}GEZDGNA", "GEZDGNBV GY3TQOJQ ".repeat(6));
    check(&format!("Service,Account,Secret\nRFC,eve,{rfc}\n"), &[&format!("eve {}", rfc.replace(' ', ""))]);
    let key = "VI6A HMVM 52DY KB4A GZDQ MRKA NAQZ DT6T";
    let whole = key.replace(' ', "");
    for (text, expected) in [
        // The last bits make no byte.
        (format!("{key} 4N"), format!("eve {whole}4M")),
        (format!("{key} bob"), format!("eve {whole} ?")),
        (format!("{key} BOB"), format!("eve {whole} ?")),
        // A letter of the last group is missing.
        (format!("{key} 4NA"), "a length that base32 never has".to_owned()),
    ] {
        check(&format!("Service,Account,TOTP\nX,eve,{text}\n"), &[&expected]);
    }
}

#[test]
fn columns_beside_a_link_are_read_where_it_says_nothing() {
    let head = "Service,Account,OTPAuth,Type,Algorithm,Digits,Period";
    let row = |more: &str, cells: &str| all_made(&format!("{head}\nBank,bob,{}{more},{cells}\n", link("Bank:bob", A)));
    for (more, cells, expected) in [
        ("", "TOTP,SHA256,8,60", "SHA256 8 60"),
        ("", ",,,", "SHA1 6 30"),
        ("&digits=8", ",SHA512,8,", "SHA512 8 30"),
        ("&digits=6", ",,8,", "SHA1 6 30 differs"),
        ("&period=30", ",,,60", "SHA1 6 30 differs"),
        ("&algorithm=SHA1", ",SHA256,,", "SHA1 6 30 differs"),
        ("&algorithm=SHA256", ",sha-256,,", "SHA256 6 30"),
        ("&period=60", ",,,soon", "SHA1 6 60 differs"),
    ] {
        assert_eq!(row(more, cells), [expected], "{more} {cells}");
    }
    for (cells, expected) in [
        ("HOTP,,,", "counter-based (hotp) codes"),
        ("Steam,,,", "Steam codes"),
        (",,7,", "its codes don't have 6 or 8 digits"),
        (",,,soon", "its period is not"),
        (",x,,", "its hash function is not"),
    ] {
        let told = row("", cells);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{cells}: {told:?}");
    }
    // A link in a remark is of another key, or says less of the same one.
    let notes = |other: &str| {
        format!("Service,Account,Secret,Digits,Notes\nBank,bob,{A},8,spare: {}\n", link("Bank:bob", other))
    };
    assert_eq!(all_made(&notes(A)), ["SHA1 8 30"]);
    assert_eq!(all_made(&notes(B)), ["SHA1 8 30", "SHA1 6 30"]);
}

#[test]
fn the_link_that_an_app_keeps_of_an_entry_says_how_its_codes_are_made() {
    let of = |secret: &str, own: Value, link: &str| {
        let mut otp = own;
        otp["link"] = link.into();
        json!({"schemaVersion": 4, "services": [{"name": "Bank", "secret": secret, "otp": otp}]}).to_string()
    };
    let linked = format!("{}&digits=8&period=60", link("Bank:bob", A));
    assert_eq!(all_made(&of(A, json!({"account": "bob"}), &linked)), ["SHA1 8 60"]);
    assert_eq!(all_made(&of(A, json!({"digits": 6, "period": 30}), &linked)), ["SHA1 6 30 differs"]);
    assert_eq!(all_made(&of(A, json!({"digits": 8, "period": 60}), &linked)), ["SHA1 8 60"]);
    assert_eq!(all_made(&of(A, json!({"digits": 8, "period": 60}), &link("Bank:bob", A))), ["SHA1 8 60"]);
    assert_eq!(all_made(&of(B, json!({}), &linked)), ["SHA1 6 30", "SHA1 8 60"]);
    // The link of an entry that is skipped is its own.
    let told = all_made(&of(A, json!({"tokenType": "STEAM"}), &link("Steam:bob", A)));
    assert!(told.len() == 1 && told[0].starts_with("Steam codes"), "{told:?}");
}

#[test]
fn links_and_keys_in_parts_of_a_document_that_are_not_read_are_counted() {
    let (a, b, c) = (format!(" {A}"), format!(" {B}"), format!(" {C}"));
    let entry = json!({"issuer": "GitHub", "account": "ada", "secret": A});
    let map = json!({"GitHub": entry, "Bank": link("Bank:bob", B), "others": [{"account": "root", "secret": C}]});
    check(&map.to_string(), &[&b, &a, &c]);
    check(&json!({"GitHub": entry, "Bank": {"uri": link("Bank:bob", B)}}).to_string(), &[&b, &a]);
    let more = json!({"x": {"account": "bob", "secret": B}, "y": {"account": "eve", "secret": C}});
    check(&json!({"GitHub": entry, "more": more}).to_string(), &[&a, ELSEWHERE, ELSEWHERE]);
    check(&json!({"Bank": link("Bank:bob", B), "VPN": link("VPN:eve", C)}).to_string(), &[&b, &c]);
    check(&json!({"a": entry, "b": [A], "c": "otpauth://totp/x"}).to_string(), &[&a, "entry 2: ", "entry 3: "]);
    let andotp = json!([{"secret": A, "label": "ada", "issuer": "GitHub", "type": "totp", "old": [B],
        "notes": format!("spare: {}", link("x", C)), "tags": ["Work"]}]);
    let told = told(&andotp.to_string());
    assert!(told.len() == 3 && told[0].contains(A), "{told:?}");
    assert!(told.iter().any(|told| told.contains(ELSEWHERE)) && told.iter().any(|told| told.contains(C)), "{told:?}");
    // Lists beside the one that is read.
    let trash = json!([{"type": "totp", "name": "b", "info": {"secret": B}}]);
    let entry = json!({"type": "totp", "name": "a", "issuer": "", "info": {"secret": A}});
    let database = json!({"entries": [entry], "trash": trash, "groups": [{"uuid": "x", "name": "Work"}]});
    check(&json!({"version": 1, "header": {}, "db": database}).to_string(), &[&a, ELSEWHERE]);
    let login = json!({"type": 1, "name": "T", "login": {"totp": A}});
    let aegis = json!({"entries": [{"type": "totp", "name": "a", "issuer": "", "info": {"secret": A}}]});
    for mut file in [
        json!({"uris": [link("a", A)]}),
        json!({"items": [link("a", A)]}),
        json!({"encrypted": false, "folders": [], "items": [login]}),
        json!({"version": 1, "header": {}, "db": aegis}),
        json!({"schemaVersion": 4, "services": [{"name": "a", "secret": A}]}),
        json!({"app": "2fauth_v5", "data": [{"service": "a", "account": "a", "secret": A}]}),
        json!({"Authenticators": [{"Type": 2, "Issuer": "a", "Secret": A}]}),
        json!({"accounts": [{"issuerName": "a", "userName": "a", "secret": A}], "folders": []}),
    ] {
        check(&file.to_string(), &[&a]);
        file["trash"] = json!([link("b", B)]);
        file["secrets"] = json!([{"name": "x", "secret": C}]);
        check(&file.to_string(), &[&a, ELSEWHERE, ELSEWHERE]);
    }
}

#[test]
fn a_bare_key_in_any_field_of_a_password_manager_is_counted() {
    let own = json!({"username": "ada", "password": "pw", "totp": A});
    let a = format!(" {A}");
    for (member, is_in_login) in [("totp", false), ("otp", true), ("TOTP", true), ("authenticatorKey", true)] {
        let mut item = json!({"type": 1, "name": "T", "login": {"username": "ada"}});
        let place = if is_in_login { &mut item["login"] } else { &mut item };
        place[member] = B.into();
        check(&bitwarden(&item), &[ELSEWHERE]);
        item["login"]["totp"] = A.into();
        let told = told(&bitwarden(&item));
        assert!(told.len() == 2 && told.iter().any(|told| told.contains(ELSEWHERE)), "{member}: {told:?}");
    }
    for kind in ["url", "multilineString", "email", "phone"] {
        let section = json!({"title": "", "fields": [{"title": "TOTP", "id": "x", "value": {kind: B}}]});
        check(&pux(&json!({"loginFields": [], "sections": [section]})), &[ELSEWHERE]);
    }
    let field = |name: &str, designation: &str| {
        pux(&json!({"sections": [], "loginFields": [{"name": name, "designation": designation, "value": B}]}))
    };
    check(&field("otp", ""), &[ELSEWHERE]);
    check(&cxf(&json!([{"type": "TOTP", "secret": A, "username": "ada"}])), &[&a]);
    let fields = json!([{"label": "TOTP secret", "fieldType": "concealed-string", "value": B}]);
    let note = json!({"type": "note", "content": {"fieldType": "string", "value": format!("2FA key: {B}")}});
    check(&cxf(&json!([{"type": "custom-fields", "fields": fields}])), &[ELSEWHERE]);
    check(&cxf(&json!([note])), &[ELSEWHERE]);
    let steam = json!({"type": "totp", "secret": A, "algorithm": "steam"});
    check(&cxf(&json!([steam])), &["Steam codes"]);
    let notes = format!("site0: {A}\nsite1: {B}\nsite2: {C}");
    check(&bitwarden(&json!({"type": 2, "name": "Keys", "notes": notes})), &[ELSEWHERE; 3]);
    // Passwords, names, ids and what was replaced may look like keys.
    let history = json!([{"password": B, "lastUsedDate": "2026-01-01"}]);
    let login = json!({"username": B, "password": B, "totp": A});
    check(
        &bitwarden(&json!({"type": 1, "name": C, "id": B, "login": login, "passwordHistory": history})),
        &["[masked] ".trim_end()],
    );
    check(&bitwarden(&json!({"type": 1, "name": "T", "login": own, "fields": [{"name": "x", "value": A}]})), &[&a]);
    check(&field("x", "password"), &[]);
    check(&field("x", "username"), &[]);
    let reference =
        json!({"fields": [{"title": "Related", "id": "x", "value": {"reference": "fepspwgdlrdnqvhxaoagmd2soa"}}]});
    check(&pux(&json!({"loginFields": [], "sections": [reference]})), &[]);
    let password = json!({"type": "basic-auth", "password": {"fieldType": "concealed-string", "value": B}});
    check(&cxf(&json!([password])), &[]);
}

#[test]
fn units_of_some_numbers_hide_no_others() {
    for (name, one, other) in [
        ("Every", "30s", "60"),
        ("Update interval", "30 sec", "45"),
        ("Refresh", "30 s", "15"),
        ("New", "6 digits", "8"),
    ] {
        for password in ["Password,", ""] {
            let cell = if password.is_empty() { "" } else { "pw," };
            let text = format!(
                "Service,Username,{password}TOTP,{name}\nGitHub,ada,{cell}{A},{one}\nBank,bob,{cell}{B},{other}\n"
            );
            let made = all_made(&text);
            assert_eq!(made[0], "SHA1 6 30", "{text}");
            assert!(made[1] == format!("SHA1 6 {other}") || made[1] == "SHA1 6 30 unread", "{text}: {made:?}");
        }
    }
    assert_eq!(all_made(&format!("Site,User,TOTP,Cost\nA,a,{A},30 €\nB,b,{B},60 €\n")), ["SHA1 6 30", "SHA1 6 30"]);
}

#[test]
fn settings_outside_of_tables_are_read_or_doubts() {
    let field = |name: &str, value: &str| json!([{"name": name, "value": value, "type": 0}]);
    let login = json!({"username": "bob", "totp": A});
    for (name, value) in [
        ("TOTP digits", "8"),
        ("period", "60"),
        ("TOTP algorithm", "SHA256"),
        ("Settings", "8 digits"),
        ("Type", "HOTP"),
    ] {
        let item = json!({"type": 1, "name": "Bank", "login": login, "fields": field(name, value)});
        assert_eq!(all_made(&bitwarden(&item)), ["SHA1 6 30 unread"], "{name}");
        let linked = json!({"type": 1, "name": "Bank", "login": {"totp": link("b", A)}, "fields": field(name, value)});
        assert_eq!(all_made(&bitwarden(&linked)), ["SHA1 6 30"], "{name}: the link says it");
        let fields = json!([{"title": "otp", "value": {"totp": A}}, {"title": name, "value": {"string": value}}]);
        assert_eq!(all_made(&pux(&json!({"sections": [{"fields": fields}]}))), ["SHA1 6 30 unread"], "{name}");
        let extra = json!([{"fieldName": name, "type": "text", "data": {"content": value}}]);
        let data = json!({"type": "login", "metadata": {"name": "Bank", "note": ""}, "content": {"totpUri": A}, "extraFields": extra});
        let pass = json!({"userId": "u", "vaults": {"v": {"items": [{"state": 1, "data": data}]}}}).to_string();
        assert_eq!(all_made(&pass), ["SHA1 6 30 unread"], "{name}");
    }
    for (member, is_in_login) in [("digits", false), ("digits", true), ("period", false), ("timeStep", true)] {
        let mut item = json!({"type": 1, "name": "Bank", "login": login, "reprompt": 1});
        let place = if is_in_login { &mut item["login"] } else { &mut item };
        place[member] = if member == "digits" { 8.into() } else { 60.into() };
        assert_eq!(all_made(&bitwarden(&item)), ["SHA1 6 30 unread"], "{member}");
    }
    for (notes, expected) in [
        ("TOTP timeStep: 60", "SHA1 6 30 unread"),
        ("TOTP algorithm: SHA256", "SHA1 6 30 unread"),
        ("a long remark about the account of the bank\nTOTP algorithm: SHA256\n", "SHA1 6 30 unread"),
        ("call 0800 60 60 60\nroom 8", "SHA1 6 30"),
    ] {
        let item = json!({"type": 1, "name": "Bank", "notes": notes, "login": login});
        assert_eq!(all_made(&bitwarden(&item)), [expected], "{notes}");
    }
}

#[test]
fn settings_under_other_names_in_the_entries_of_apps_are_read_or_doubts() {
    for (members, expected) in [
        (json!({"algorithm": "SHA256", "interval": 60}), "SHA256 6 60"),
        (json!({"timeStep": 60}), "SHA1 6 60"),
        (json!({"settings": "8 digits"}), "SHA1 6 30 unread"),
    ] {
        let with = |mut entry: Value| {
            entry.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            entry
        };
        let info = with(json!({"secret": A}));
        let aegis = json!({"type": "totp", "name": "bob", "issuer": "Bank", "info": info});
        let stratum = with(json!({"Type": 2, "Issuer": "Bank", "Username": "bob", "Secret": A, "Period": null}));
        let otp = with(json!({"account": "bob", "tokenType": "TOTP"}));
        let content = with(json!({"uri": A, "entry_type": "Totp", "name": "bob"}));
        for file in [
            json!({"version": 1, "header": {}, "db": {"entries": [aegis]}}).to_string(),
            json!({"schemaVersion": 4, "services": [{"name": "Bank", "secret": A, "otp": otp}]}).to_string(),
            json!({"version": 1, "entries": [{"content": content}]}).to_string(),
            cxf(&json!([with(json!({"type": "totp", "secret": A}))])),
            json!({"Authenticators": [stratum]}).to_string(),
        ] {
            assert_eq!(all_made(&file), [expected], "{file}");
        }
    }
    for (head, cell) in [("Type", "TOTP 8"), ("Type", "TOTP60"), ("SHA variant", "512")] {
        assert_eq!(all_made(&format!("Service,Account,Secret,{head}\nBank,bob,{A},{cell}\n")), ["SHA1 6 30 unread"]);
    }
}

#[test]
fn the_names_that_a_person_gave_are_kept() {
    let of = |issuer: &str, label: &str| (Some(issuer.to_owned()), label.to_owned());
    let entry = |key: &str| json!({"account": "ada", "secret": key});
    let map = json!({"Work": entry(A), "Home": entry(B), "1": {"issuer": "VPN", "account": "eve", "secret": C}});
    assert_eq!(names(&map.to_string()), [of("VPN", "eve"), of("Home", "ada"), of("Work", "ada")]);
    // The ids of the extension are no names.
    for id in ["7", "5f4dcc3b5aa765d61d8327deb882cf99", "550e8400-e29b-41d4-a716-446655440000"] {
        assert_eq!(names(&json!({id: entry(A)}).to_string()), [(None, "ada".to_owned())], "{id}");
    }
    for name in ["Bank", "System", "Vendor", "Dienst"] {
        let row = format!("{name},Account,TOTP\nSparkasse,ada,{A}\n");
        assert_eq!(names(&row), [of("Sparkasse", "ada")], "{name}");
        let row = format!("{name},URL,Username,TOTP\nSparkasse,https://sso.example/login,ada,{A}\n");
        assert_eq!(names(&row), [of("Sparkasse", "ada")], "{name}");
    }
}

#[test]
fn a_list_with_other_names_of_fields_is_read_like_a_table() {
    let list = json!([{"service": "GitHub", "username": "ada", "totp": A}, {"name": "Bank", "secret": B},
        {"service": "VPN", "user": "eve", "otp": {"secret": C, "digits": 8}}]);
    check(&list.to_string(), &[&format!("ada {A}"), &format!("Bank {B}"), &format!("eve {C}")]);
    assert_eq!(all_made(&list.to_string())[2], "SHA1 8 30");
    let of = |members: Value| {
        let mut entry = json!({"service": "GitHub", "username": "ada", "totp": A});
        entry.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        json!([entry]).to_string()
    };
    assert_eq!(all_made(&of(json!({"interval": 60}))), ["SHA1 6 60"]);
    assert_eq!(all_made(&of(json!({"perid": 60}))), ["SHA1 6 30 unread"]);
    check(&of(json!({"spare": B})), &[&format!("ada {A}"), ELSEWHERE]);
    let fields = "it has a field that a registration does not have; the fields are `uri`, or `label`, `secret`";
    for other in [json!({"old": [B]}), json!({"label": "x"}), json!({"totp": ""})] {
        check(&of(other), &[fields]);
    }
}

#[test]
fn an_export_of_google_in_a_list_is_read() {
    // One account: the seed, its name, and the version and size of the export.
    let data = "Ch0KEEhlbGxvIWhlbGxvIWhlbGwSA2FkYSABKAEwAhABGAEgAA";
    check(
        &json!([format!("otpauth-migration://offline?data={data}"), link("a", A)]).to_string(),
        &["ada ", &format!("a {A}")],
    );
}

#[test]
fn a_value_that_cannot_be_read_is_called_so() {
    for (name, cell) in [("Period", "1 min"), ("Period", "60 Sek."), ("Digits", "8-digit"), ("Algorithm", "hs256")] {
        let told = all_made(&format!("Service,Account,Secret,{name}\nBank,bob,{A},{cell}\n"));
        assert!(told[0].contains("can't be read") || told[0].contains("is not written like"), "{cell}: {told:?}");
    }
}

#[test]
fn a_link_that_goes_on_in_the_next_line_is_read_whole_or_doubtful() {
    let link = format!("otpauth://totp/GitHub:ada?secret={A}\n&digits=8&period=60");
    let list = json!([{"name": "GitHub", "username": "ada", "totp": link}]).to_string();
    assert_eq!(all_made(&list), ["SHA1 8 60"]);
    assert_eq!(all_made(&bitwarden(&json!({"type": 1, "name": "X", "login": {"totp": link}}))), ["SHA1 8 60"]);
    assert_eq!(all_made(&format!("Service,Account,Secret\nGitHub,ada,\"{link}\"\n")), ["SHA1 8 60"]);
    let (first, rest) = A.split_at(16);
    for text in [
        format!("otpauth://totp/GitHub:ada?secret={A}&issuer=GitHub\n&digits=8&period=60\n"),
        format!("otpauth://totp/GitHub:ada?issuer=GitHub&secret={first}\n{rest}\n"),
        format!("otpauth://totp/GitHub:ada?secret={first}=\n{rest}&issuer=GitHub\n"),
    ] {
        let entries = read(&text).entries;
        let notes: Vec<String> = entries[0].read.as_ref().unwrap().notes.iter().map(ToString::to_string).collect();
        assert!(notes.iter().any(|note| note.contains("it may be cut off")), "{text} {notes:?}");
    }
    let whole = format!("otpauth://totp/GitHub:ada?secret={A}\n\nWork\notpauth://totp/X:bob?secret={B}\n");
    assert!(read(&whole).entries.iter().filter_map(|entry| entry.read.as_ref().ok()).all(|kept| kept.notes.is_empty()));
}

#[test]
fn a_link_as_mails_have_it_is_read_as_it_was_meant() {
    let text = format!("otpauth://totp/GitHub:ada?secret=3D{A}&issuer=3DGitHub\n");
    check(&text, &[&format!("ada {A}")]);
    assert_eq!(names(&text), [(Some("GitHub".to_owned()), "ada".to_owned())]);
    check("otpauth://totp/GitHub:ada?secret=3DGEZDGNBVGY3TQOJQ\n", &["ada 3DGEZDGNBVGY3TQOJQ"]);
}

#[test]
fn a_word_behind_the_groups_of_a_seed_is_a_doubt_whatever_its_length() {
    for (groups, word) in [
        ("geo6 rmwi dwxb aytu 6rlp awbu", "home"),
        ("vq5t evix 6zwk tcfq uynq sx43 cddx zf2f gyum hxnf gnka 4ttu 57ea", "old"),
        ("VQ5T EVIX 6ZWK TCFQ UYNQ SX43 CDDX ZF2F GYUM HXNF GNKA 4TTU 57EA", "WORK"),
    ] {
        let doubted = told(&format!("Service,Account,Secret\nGitHub,ada,{groups} {word}\n"));
        assert!(doubted.len() == 1 && doubted[0].ends_with('?'), "{doubted:?}");
        let whole = told(&format!("Service,Account,Secret\nGitHub,ada,{groups}\n"));
        assert!(whole.len() == 1 && !whole[0].ends_with('?'), "{whole:?}");
    }
}
