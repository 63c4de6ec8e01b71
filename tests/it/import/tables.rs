//! Tables that people write by hand or with a spreadsheet: the names of their columns, and the values in them.

use countersign::domain::text::ShownText;

use super::losses::{A, B, SHORTEST, check, link, read, told_of};

const NOT_BASE32: &str = "its secret is not base32";

fn told(text: &str) -> Vec<String> {
    read(text).entries.iter().map(told_of).collect()
}

/// The parameters of the codes of a table's only row, or the reason why it is skipped.
fn made(head: &str, row: &str) -> String {
    let entries = read(&format!("{head}\n{row}\n")).entries;
    assert_eq!(entries.len(), 1, "{head}\n{row}");
    match &entries[0].read {
        Ok(found) => {
            let totp = found.totp;
            format!("{} {} {}", totp.algorithm.as_str(), totp.digits.get(), totp.period.seconds())
        }
        Err(why) => why.to_string(),
    }
}

/// The issuer and the label of the only row of a table.
fn named(head: &str, row: &str) -> (Option<String>, String) {
    let found = read(&format!("{head}\n{row}\n")).entries.remove(0).read.ok().unwrap();
    (found.issuer.as_ref().map(ShownText::to_string), found.label.to_string())
}

#[test]
fn a_mistyped_key_is_told_in_each_column_in_which_other_rows_have_theirs() {
    let (a, b) = (format!("a {A}"), format!("c {B}"));
    for name in ["Secret", "Key", "seed", "Base32"] {
        let table = format!(
            "Title,Username,TOTP,{name}\nA,a,{A},\nB,b,,KRSXG5CTMVRXEZL1\nC,c,,{B}\nD,d,,KRSXG5CTMVRX EZL0\nE,e,,\n"
        );
        let why = |line: usize| format!("line {line}: {NOT_BASE32}");
        check(&table, &[&a, &why(3), &b, &why(5)]);
    }
    for name in ["MFA", "2FA seed", "Authenticator"] {
        let table = format!("Title,Username,{name}\nA,a,{A}\nB,b,KRSXG5CTMVRXEZL1\nC,c,yes\nD,d,on my old phone\n");
        check(&table, &[&a, &format!("line 3: {NOT_BASE32}")]);
    }
    // A row with a key in another column has none here, and a column without a key in any row has other values.
    check(&format!("Title,TOTP,Key\nA,{A},\nB,{B},hunter2\nC,,{SHORTEST}\n"), &["A ", "B ", "C "]);
    check(&format!("Title,TOTP,Key\nA,{A},\nB,,hunter2\n"), &["A "]);
    check(
        &format!("Title,TOTP,Key,Secret\nA,,{A},\nB,,,{B}\nC,,hunter2,KRSXG5CTMVRXEZL1\n"),
        &["A ", "B ", NOT_BASE32],
    );
}

#[test]
fn a_period_is_read_whatever_its_column_is_called() {
    for name in [
        "period",
        "period (s)",
        "Period (seconds)",
        "Time step (s)",
        "TOTP interval",
        "Refresh",
        "timer",
        "Seconds",
        "Refresh rate",
    ] {
        for cell in ["60", "60.0", "60 s", "60 seconds"] {
            assert_eq!(
                made(&format!("issuer,account,secret,{name}"), &format!("I,a,{A},{cell}")),
                "SHA1 6 60",
                "{name}"
            );
        }
        assert_eq!(made(&format!("issuer,account,secret,{name}"), &format!("I,a,{A},")), "SHA1 6 30", "{name}");
    }
    assert!(made("issuer,account,secret,Period (s)", &format!("I,a,{A},7200")).contains("period"));
    // These values may be something else than a period.
    for cell in ["7200", "0", "daily"] {
        assert_eq!(made("issuer,account,secret,Refresh", &format!("I,a,{A},{cell}")), "SHA1 6 30", "{cell}");
    }
    assert_eq!(made("issuer,password,TOTP,Refresh", &format!("I,p,{A},90")), "SHA1 6 30");
    // A link that says no period does not deny that of the column.
    assert_eq!(made("issuer,account,TOTP,period (s)", &format!("I,a,{},60", link("x", A))), "SHA1 6 60");
}

#[test]
fn the_number_of_digits_is_read_whatever_its_column_is_called() {
    for name in ["digits", "Number of digits", "Length", "Code digits", "Code length", "OTP digits"] {
        for (cell, expected) in
            [("8", "SHA1 8 30"), ("6.0", "SHA1 6 30"), ("8 digits", "SHA1 8 30"), ("7", "6 or 8 digits")]
        {
            let told = made(&format!("issuer,account,secret,{name}"), &format!("I,a,{A},{cell}"));
            assert!(told.contains(expected), "{name} {cell}: {told}");
        }
    }
    // The length of a password or a key.
    assert_eq!(made("issuer,password,TOTP,length", &format!("I,p,{A},8")), "SHA1 6 30");
    assert_eq!(made("issuer,account,secret,length", &format!("I,a,{A},20")), "SHA1 6 30");
}

#[test]
fn a_hash_function_is_read_whatever_its_column_is_called() {
    for name in ["algorithm", "hash", "Hash Algorithm", "Hash function", "HMAC"] {
        for (cell, expected) in [
            ("SHA256", "SHA256 6 30"),
            ("sha-512", "SHA512 6 30"),
            ("HMAC-SHA-256", "SHA256 6 30"),
            ("SHA 1", "SHA1 6 30"),
            ("MD5", "its hash function MD5 is not supported"),
            ("SHA3-256", "its hash function is not"),
        ] {
            let told = made(&format!("issuer,account,secret,{name}"), &format!("I,a,{A},{cell}"));
            assert!(told.contains(expected), "{name} {cell}: {told}");
        }
    }
    for cell in ["x", "5f4dcc3b5aa765d61d8327deb882cf99"] {
        assert_eq!(made("issuer,account,secret,hash", &format!("I,a,{A},{cell}")), "SHA1 6 30", "{cell}");
    }
}

#[test]
fn a_counter_based_key_is_skipped_whatever_its_column_is_called() {
    for (name, cells) in [
        ("kind", &["HOTP", "counter", "Counter-based"][..]),
        ("Category", &["HOTP", "Counter based"]),
        ("OTP type", &["Counter based", "HOTP (counter)", "OATH-HOTP"]),
        ("Type", &["Counter-based", "event", "Event-based"]),
        ("Counter", &["7", "0", "12.0"]),
    ] {
        for cell in cells {
            let told = made(&format!("issuer,account,secret,{name}"), &format!("I,a,{A},{cell}"));
            assert!(told.starts_with("counter-based (hotp) codes are not supported"), "{name} {cell}: {told}");
        }
    }
    for (name, cells) in [
        ("kind", &["TOTP", "time", "login"][..]),
        ("Category", &["Work", "event", "Steam", ""]),
        ("type", &["login", "Time-based", "OATH-TOTP"]),
        ("Counter", &["", "-", "null"]),
    ] {
        for cell in cells {
            let told = made(&format!("issuer,account,secret,{name}"), &format!("I,a,{A},{cell}"));
            assert_eq!(told, "SHA1 6 30", "{name} {cell}");
        }
    }
    // A program writes every column of every entry.
    assert_eq!(made("issuer,secret,type,counter", &format!("I,{A},totp,0")), "SHA1 6 30");
    assert_eq!(made("issuer,secret,period,counter", &format!("I,{A},30,0")), "SHA1 6 30");
    assert!(made("issuer,secret,period,counter", &format!("I,{A},30,4")).starts_with("counter-based"));
    let told = made("issuer,account,TOTP,kind", &format!("I,a,{},HOTP", link("x", A)));
    assert!(told.starts_with("counter-based (hotp) codes are not supported"), "{told}");
}

#[test]
fn words_in_a_column_of_seeds_are_no_keys_and_what_they_say_of_the_kind_counts() {
    let mistyped = "KRSXG5CTMVRXEZL1";
    let a = format!("a {A}");
    check(
        &format!("Issuer,Account,Secret,OTP\nA,a,{A},totp\nB,b,{B},hotp\nC,c,{mistyped},totp\nD,d,,totp\n"),
        &[&a, "line 3: counter-based (hotp)", &format!("line 4: {NOT_BASE32}")],
    );
    check(
        &format!("Issuer,Account,Secret,2FA\nA,a,{A},yes\nB,b,{B},enabled\nC,c,{mistyped},yes\nD,d,,no\n"),
        &[&a, &format!("b {B}"), &format!("line 4: {NOT_BASE32}")],
    );
    for word in ["null", "None", "authenticator", "yes", "NO", "true", "n/a", "-", "totp", "SMS", "off", "2FA"] {
        check(&format!("Title,Username,TOTP\nA,a,{A}\nB,b,{word}\n"), &[&a]);
        check(&format!("Title,Username,Secret\nA,a,{A}\nB,b,{word}\n"), &[&a]);
    }
    // Short keys are not words.
    for key in ["MFRGG", "MFRGGZDF"] {
        assert_eq!(told(&format!("Title,Username,TOTP\nA,a,{A}\nB,b,{key}\n")).len(), 2, "{key}");
    }
}

#[test]
fn a_site_is_the_issuer_where_no_column_has_a_better_title() {
    let of = |issuer: &str, label: &str| (Some(issuer.to_owned()), label.to_owned());
    let (account, key) = ("ada", A);
    for name in ["url", "Website", "Site", "URL"] {
        for (cell, issuer) in [
            ("https://github.com/login", "github.com"),
            ("https://www.gitlab.com/", "gitlab.com"),
            ("http://ada@example.com:8080?x=1", "example.com"),
            ("github.com/login", "github.com"),
            ("www.example.com", "example.com"),
            ("GitHub", "GitHub"),
            ("My Bank. And more", "My Bank. And more"),
        ] {
            let read = named(&format!("{name},username,totp"), &format!("{cell},{account},{key}"));
            assert_eq!(read, of(issuer, account), "{name} {cell}");
        }
    }
    for name in ["App", "Company", "Provider", "Service name", "Application"] {
        assert_eq!(named(&format!("{name},username,totp"), &format!("Acme,ada,{A}")), of("Acme", "ada"), "{name}");
        assert_eq!(named(&format!("{name},account,secret"), &format!("Acme,ada,{A}")), of("Acme", "ada"), "{name}");
        let read = named(&format!("{name},username,totp"), &format!("https://www.example.com/login,ada,{A}"));
        assert_eq!(read, of("example.com", "ada"), "{name}");
    }
    let read = named("Service name,Login e-mail,2FA secret", &format!("Acme,ada@example.com,{A}"));
    assert_eq!(read, of("Acme", "ada@example.com"));
    // Another column has a better title.
    let read = named("url,name,username,totp", &format!("https://example.com,Acme,ada,{A}"));
    assert_eq!(read, of("Acme", "ada"));
    // A link is not a site.
    assert_eq!(named("url,username,totp", &format!("{},ada,{A}", link("bob", B))), (None, "ada".to_owned()));
}

#[test]
fn a_row_with_more_cells_than_the_head_is_told_to_be_put_into_quotes() {
    let why = "its row has more cells than the head; put the value that has the separator in it into quotes";
    check(&format!("Title,Username,TOTP\nAcme, Inc,ada,{A}\nB,b,{B}\n"), &[&format!("line 2: {why}"), "b "]);
    check(&format!("Title;Username;TOTP\nGitLab;bob;{A};extra\n"), &[&format!("line 2: {why}")]);
}

#[test]
fn what_was_meant_as_a_link_is_one_entry() {
    let a = format!("a {A}");
    check(
        &format!("Title,Username,TOTP\nA,a,{A}\nB,b,https://example.com/qr?secret={B}\n"),
        &[&a, "line 3: it is not an entry"],
    );
    // Another key beside it is counted.
    check(
        &format!("Title,Username,TOTP\nA,a,{A}\nB,b,https://example.com/qr?secret={B} {SHORTEST}\n"),
        &[&a, "line 3: it is not an entry", "line 3: it is a bare key"],
    );
    let list = |line: &str| format!("{}\n{line}\n{}\n", link("a", A), link("a", A));
    check(&list(&format!("otpauth//totp/U:u?secret={B}")), &[&a, "line 2: the link", &a]);
    check(&list(&format!(r"otpauth:\/\/totp\/R:r?secret={B}")), &[&a, &format!("r {B}"), &a]);
    let escaped = format!(r"otpauth:\/\/totp\/R:r?secret={B}\u0026digits=8");
    assert_eq!(read(&escaped).entries[0].read.as_ref().ok().unwrap().totp.digits.get(), 8);
}

#[test]
fn rows_without_a_link_of_a_table_without_a_head_are_no_entries() {
    let row = |title: &str, more: &str| {
        format!("\"Folder\",\"{title}\",\"ada\",\"hunter2\",\"https://example.com\",\"\"{more}\n")
    };
    let with = |title: &str, key: &str| row(title, &format!(",\"\",\"TFC:Keeper\",\"{}\"", link(title, key)));
    let (a, b) = (format!("a {A}"), format!("b {B}"));
    check(&[with("a", A), row("x", ""), with("b", B), row("y", "")].concat(), &[&a, &b]);
    // A row that may have been meant as a link is reported.
    for more in [
        ",\"\",\"TFC:Keeper\",\"otpauth:/totp/x\"",
        ",\"\",\"TFC:Keeper\",\"KRSXG5CTMVRXEZL1\"",
        ",\"\",\"TFC:Keeper\",\"totp/x?secret=1\"",
    ] {
        check(&[with("a", A), with("b", B), row("x", more)].concat(), &[&a, &b, "line 3: "]);
    }
    // In a list of links, each line counts as an entry.
    check(&format!("{}{}\nx,y,z,other\n", with("a", A), link("b", B)), &[&a, &b, "line 3: the link"]);
}

#[test]
fn a_mistyped_key_is_told_although_no_other_row_has_one_in_its_column() {
    let bad = "JBSWY3DPEHPK3PX1";
    for (head, row) in [
        ("title,secret,TOTP", format!("A,{bad},")),
        ("title,secret key,2FA", format!("A,{bad},")),
        ("title,MFA,TOTP", format!("A,{bad},")),
        ("title,seed,TOTP", format!("A,{bad},")),
    ] {
        check(&format!("{head}\n{row}\nB,,{A}\n"), &["line 2: its secret is not base32", &format!("B {A}")]);
    }
    let several = format!("title,username,key,seed,setup key\nA,u,,,{bad}\nB,u,{A},,\nC,u,,{bad},\n");
    check(&several, &["line 2: its secret is not base32", &format!("u {A}"), "line 4: its secret is not base32"]);
    // A token of a program is not a seed.
    check(&format!("title,token,TOTP\nA,0123456789abcdef0123456789abcdef01234567,\nB,,{A}\n"), &[&format!("B {A}")]);
}

#[test]
fn a_row_of_another_width_is_never_left_out_if_a_key_may_be_in_it() {
    let wide = "its row has more cells than the head";
    for key in ["JBSWY3DPEHPK3PX1", "JBSWY3DP2"] {
        check(&format!("title,username,totp\nAcme, Inc.,u,{key}\nB,u,{A}\n"), &[wide, &format!("u {A}")]);
    }
    check(&format!("title,username,notes,totp\nAcme,u,JBSWY3DPEHPK3PX1\nB,u,,{A}\n"), &["line 2: ", &format!("u {A}")]);
    // Spreadsheets add empty cells.
    check(&format!("title,username,totp\nA,u,{A},\nB,v,{B},,\n"), &[&format!("u {A}"), &format!("v {B}")]);
}

#[test]
fn columns_of_a_table_of_logins_say_nothing_of_codes_in_any_language() {
    for password in
        ["Passwort", "pass", "pwd", "Kennwort", "Contrase\u{f1}a", "Mot de passe", "Current password", "PIN"]
    {
        let table = format!("Title,Username,{password},TOTP,Length,Refresh,Counter\nA,u,hunter22,{A},8,60,7\n");
        let totp = read(&table).entries.remove(0).read.ok().unwrap().totp;
        assert_eq!((totp.digits.get(), totp.period.seconds()), (6, 30), "{password}");
    }
    let totp = read(&format!("Title,TOTP,Rotation\nA,{A},90\n")).entries.remove(0).read.ok().unwrap().totp;
    assert_eq!(totp.period.seconds(), 30);
    for head in ["name,secret,Time step,Digits in code,Algorithm used", "name,secret,Intervall,Stellen,Algorithmus"] {
        let totp = read(&format!("{head}\nA,{A},60,8,SHA256\n")).entries.remove(0).read.ok().unwrap().totp;
        assert_eq!((totp.digits.get(), totp.period.seconds(), totp.algorithm.as_str()), (8, 60, "SHA256"), "{head}");
    }
}

#[test]
fn several_words_in_a_column_of_seeds_are_no_key() {
    for words in ["2FA enabled", "not set up", "see notes", "in 1Password", "WebAuthn", "ja", "not enabled"] {
        check(&format!("Issuer,Account,Secret,2FA\nA,a,{A},{words}\n"), &[&format!("a {A}")]);
    }
}

#[test]
fn a_key_in_a_column_that_is_not_read_is_told() {
    let elsewhere = "a column or field that is not read has what looks like a key";
    for (head, row) in [
        ("Site,User,TOTP,Second factor", format!("A,me,,{A}")),
        ("Site,User,TOTP,Notes", format!("A,me,see notes,{A}")),
    ] {
        let columns = head.matches(',').count();
        let whole = format!("B,me,{B}{}", ",".repeat(columns - 2));
        check(&format!("{head}\n{row}\n{whole}\n"), &[elsewhere, &format!("me {B}")]);
    }
    check(&format!("Site,TOTP,Second factor\nA,{A},{B}\n"), &[&format!("A {A}"), elsewhere]);
    // A password is not counted as a key.
    check(&format!("Site,User,Password,TOTP\nA,me,{A},\nB,me,x,{B}\n"), &[&format!("me {B}")]);
}

#[test]
fn a_column_that_seems_to_say_how_codes_are_made_and_is_not_read_is_a_doubt() {
    let doubts = |head: &str, row: &str| {
        let found = read(&format!("{head}\n{row}\n")).entries.remove(0).read.ok().unwrap();
        found.notes.iter().any(|note| note.to_string().contains("was not read"))
    };
    for (head, cell) in [
        ("TOTP Settings", "60;8"),
        ("Digits (6/8)", "8"),
        ("Hash type", "SHA256"),
        ("Notes", "SHA256"),
        ("Notes", "HOTP"),
    ] {
        assert!(doubts(&format!("Title,TOTP,{head}"), &format!("A,{A},{cell}")), "{head}");
    }
    for (head, cell) in [("TOTP Settings", ""), ("Digits", "8"), ("Notes", "of the bank"), ("Algorithm", "SHA256")] {
        assert!(!doubts(&format!("Title,TOTP,{head}"), &format!("A,{A},{cell}")), "{head}");
    }
    assert!(!doubts("Title,TOTP,Settings", &format!("A,otpauth://totp/a?secret={A},60;8")), "a link says it");
}

#[test]
fn a_mistyped_group_is_no_word_behind_a_key() {
    check("Name,TOTP\nE,JBSW Y3DP EHPK 3PXP JBSW Y3DP 0HPK 3PXP\n", &["its secret is not base32"]);
    check("Name,TOTP\nE,JBSW Y3DP EHPK 3PXP 0HPK\n", &["its secret is not base32"]);
}

/// Whether the only row of a table is doubtful because a part of it was not read.
fn doubts_unread(head: &str, row: &str) -> bool {
    let entries = read(&format!("{head}\n{row}\n")).entries;
    assert_eq!(entries.len(), 1, "{head}\n{row}");
    let found = entries[0].read.as_ref().ok().unwrap();
    found.notes.iter().any(|note| note.to_string().contains("was not read"))
}

#[test]
fn passwords_beside_a_key_hide_nothing_about_its_codes() {
    for name in ["TOTP step", "TOTP seconds", "OTP refresh", "TOTP duration (seconds)"] {
        assert_eq!(
            made(&format!("Site,Username,Password,TOTP,{name}"), &format!("V,ada,pw,{A},60")),
            "SHA1 6 60",
            "{name}"
        );
    }
    for name in
        ["Seconds", "Refresh", "Code lifetime", "Valid for (s)", "TTL", "Length", "Digits (6/8)", "Nr. of digits"]
    {
        let number = if name.contains("gits") || name == "Length" { 8 } else { 60 };
        let row = format!("V,ada,pw,{A},{number}");
        let head = format!("Site,Username,Password,TOTP,{name}");
        assert!(made(&head, &row) != "SHA1 6 30" || doubts_unread(&head, &row), "{name}");
    }
    for settings in ["60;8", "30;S"] {
        let head = "\"Title\",\"User Name\",\"Password\",\"TOTP Seed\",\"TOTP Settings\"";
        assert!(doubts_unread(head, &format!("A,ada,pw,{A},{settings}")), "{settings}");
    }
    assert!(!doubts_unread("Title,User,Password,TOTP,Password length", &format!("A,ada,pw,{A},60")));
    for name in ["Counter", "OTP Counter", "Counter value", "Next counter"] {
        let head = format!("Name,Username,Password,OTP,{name}");
        let row = format!("V,ada,pw,{A},5");
        assert!(made(&head, &row).contains("counter-based") || doubts_unread(&head, &row), "{name}");
    }
}

#[test]
fn what_says_how_codes_are_made_is_noticed_in_every_language() {
    for (names, cell) in [
        (&["Dígitos", "Chiffres", "Anzahl Stellen", "Cyfry", "桁数", "Len", "Chars", "Numbers"][..], "8"),
        (&["Período", "Période", "Dauer (s)", "Okres", "Период", "Window", "Time (s)", "Rotates every", "Cycle"], "60"),
        (&["Parameters", "Options", "Info"], "8 digits / 60 s"),
        (&["Refresh", "Gültigkeit", "Timer"], "1 min"),
        (&["Options", "Info", "Scheme"], "SHA256, 8, 60"),
    ] {
        for name in names {
            let (head, row) = (format!("Service,Login,Secret,{name}"), format!("OVH,ada,{A},\"{cell}\""));
            assert!(made(&head, &row) != "SHA1 6 30" || doubts_unread(&head, &row), "{name} {cell}");
        }
    }
    // There is no doubt where another row shows that the column has other values.
    let text = format!("Service,Login,Secret,Order\nA,a,{A},7\nB,b,{B},9\n");
    check(&text, &[&format!("a {A}"), &format!("b {B}")]);
    assert!(read(&text).entries.iter().all(|entry| entry.read.as_ref().ok().unwrap().notes.is_empty()));
}

#[test]
fn a_kind_of_codes_is_known_wherever_its_word_stands() {
    for cell in
        ["Counter-based (HOTP)", "HMAC-based (HOTP)", "Hardware HOTP", "event-based token", "RFC 4226", "Steam Mobile"]
    {
        assert!(made("Name,Username,Secret,Type", &format!("V,ada,{A},{cell}")).contains("not supported"), "{cell}");
    }
    for (name, cell) in [
        ("Type", "TOTP SHA256"),
        ("Is HOTP", "true"),
        ("HOTP", "yes"),
        ("Moving factor", "12"),
        ("Scheme", "OATH-HOTP"),
    ] {
        let (head, row) = (format!("Name,Username,Secret,{name}"), format!("V,ada,{A},{cell}"));
        assert!(made(&head, &row) != "SHA1 6 30" || doubts_unread(&head, &row), "{name} {cell}");
    }
    assert!(!doubts_unread("Name,Username,Secret,Is HOTP", &format!("V,ada,{A},no")));
}

#[test]
fn a_key_is_never_lost_because_no_column_is_called_one_of_keys() {
    let elsewhere = "a column or field that is not read has what looks like a key";
    let linked = link("GitHub:ada", A);
    for name in ["note", "Two-factor secret", "TFA", "Authenticator app", "2FA device"] {
        check(
            &format!(
                "name,url,username,password,{name}\nGitHub,https://github.com,ada,pw,{linked}\nX,https://x.com,bob,pw,{B}\n"
            ),
            &[&format!("ada {A}"), elsewhere],
        );
        check(&format!("name,url,username,password,{name}\nX,https://x.com,bob,pw,{B}\n"), &[elsewhere]);
    }
    // Three keys in a hundred have no digit.
    check(&format!("Site,User,TOTP,Where\nA,a,{A},\nB,b,,KZXWMQRBTDPLHVNC\n"), &[&format!("a {A}"), elsewhere]);
    // Rows that another program or a person appended.
    for row in [format!("Bob mail;bob;{B}"), format!("Backup of github: {B}")] {
        check(&format!("Name,User,TOTP\nA,a,{A}\n{row}\n"), &[&format!("a {A}"), "line 3: it is not an entry"]);
    }
    let bitwarden =
        "folder,favorite,type,name,notes,fields,reprompt,login_uri,login_username,login_password,login_totp";
    check(&format!("{bitwarden}\n,,login,X,,Two-factor secret: {B},0,,ada,pw,\n"), &[elsewhere]);
}

#[test]
fn a_sentence_about_a_key_is_no_key_and_hides_none() {
    for words in ["Google Authenticator on phone", "Yes - Microsoft Authenticator", "since 2021-03-04"] {
        for name in ["Key", "Setup key", "Base32"] {
            check(&format!("Name,User,2FA,{name}\nGitHub,ada,{words},{A}\n"), &[&format!("ada {A}")]);
        }
    }
    let both = format!("Name,User,TOTP,Key\nGitHub,ada,{A},{B}\n");
    check(&both, &[&format!("ada {A}"), "a column or field that is not read has what looks like a key"]);
}

#[test]
fn a_link_that_is_refused_goes_before_its_own_key() {
    for link in [
        format!("otpauth://hotp/V:ada?secret={A}&counter=3"),
        format!("otpauth://totp/V:ada?secret={A}&digits=7"),
        format!("steam://{A}"),
        format!("otpauth://totp/V:ada?secret={A}&period=0"),
    ] {
        for head in ["Service,User,Secret,URI", "Service,User,TOTP,Link", "Service,User,Key,URL"] {
            let entries = read(&format!("{head}\nV,ada,{A},{link}\n")).entries;
            assert!(
                entries.len() == 1 && entries[0].read.is_err(),
                "{head} {link}: {:?}",
                told(&format!("{head}\nV,ada,{A},{link}\n"))
            );
        }
    }
}

#[test]
fn a_row_whose_cells_slipped_is_told_and_its_key_is_not() {
    let slipped = "what looks like a key stands where its row has a name";
    let text = format!("Service,Login,Secret,Where\nGitHub,{A},private\nX,bob,{B},phone\n");
    check(&text, &[slipped, &format!("bob {B}")]);
    check(&format!("Name,User,TOTP\nB,{A},\n"), &[slipped]);
    // Names may look almost like keys.
    for name in ["christophermiller7", "schwarzwaldhof24", "RASPBERRYPI4CLUSTER2", "VRDLGI74R23F625K"] {
        for head in ["title,url,username,password,notes,otpauth", "Site,Url,User,Password,Notes,TOTP"] {
            let text = format!("{head}\nG,https://g.com,{name},pw,,{}\nH,https://h.com,{name},pw,,\n", link("G:x", B));
            assert_eq!(told(&text).len(), 1, "{name}: {:?}", told(&text));
            assert!(read(&text).entries[0].read.is_ok());
        }
    }
    for entry in read(&text).entries {
        assert!(!entry.title.is_some_and(|title| title.as_str().contains(A)));
    }
}

#[test]
fn names_are_found_under_other_names() {
    let of = |issuer: &str, label: &str| (Some(issuer.to_owned()), label.to_owned());
    for user in
        ["Benutzername", "Nutzername", "Identifiant", "Usuario", "Username / Email", "Account ID", "Login ID", "Handle"]
    {
        let read = named(&format!("Name,{user},Passwort,TOTP"), &format!("GitHub,ada@example.com,pw,{A}"));
        assert_eq!(read, of("GitHub", "ada@example.com"), "{user}");
    }
    for title in ["Titel", "Titre", "System", "Tool", "Vendor", "Dienst"] {
        let read =
            named(&format!("{title},Benutzername,Kennwort,URL,TOTP"), &format!("GitHub,ada,pw,https://g.com,{A}"));
        assert!(read == of("GitHub", "ada") || read == of("g.com", "ada"), "{title} {read:?}");
    }
}

#[test]
fn spreadsheets_marks_and_spaces_around_cells_are_no_part_of_them() {
    let expected = [&format!("a {A}")[..]];
    for cell in [format!(" \"{A}\""), format!("'{A}"), format!("\"=\"\"{A}\"\"\"")] {
        check(&format!("Name, User, TOTP\nA, \"a\",{cell}\n"), &expected);
    }
    for first in ["SEP=,", "\"sep=,\"", ",,"] {
        check(&format!("{first}\nName,User,TOTP\nA,a,{A}\n"), &expected);
    }
    check(&format!("#,Name,User,TOTP\n1,A,a,{A}\n"), &expected);
}

#[test]
fn the_columns_of_a_table_are_told() {
    let import = read(&format!("Site,Username,Password,TOTP,Frequency\nV,ada,pw,{A},x\n"));
    let told: Vec<_> = import.columns.iter().map(|column| (column.name.as_str(), column.read_as)).collect();
    let expected = [
        ("Site", Some("issuer")),
        ("Username", Some("account")),
        ("Password", None),
        ("TOTP", Some("key")),
        ("Frequency", None),
    ];
    assert_eq!(told, expected);
    assert!(read(&format!("group,title,username,totp\n,V,ada,{A}\n")).columns.is_empty(), "a program wrote it");
}

#[test]
fn names_of_columns_may_have_three_words_or_an_address() {
    for name in [
        "Last used date",
        "Full Name User",
        "Work Mail Addr",
        "Name (e.g. max@acme.com)",
        "E-Mail @work",
        "LAST USED DATE",
    ] {
        check(&format!("Service,Username,TOTP,{name}\nGitHub,ada,{A},x\n"), &[&format!("ada {A}")]);
    }
}

#[test]
fn a_column_that_is_told_as_read_and_was_not_in_a_row_is_a_doubt() {
    for (name, cell) in
        [("Hash", "256"), ("SHA", "512"), ("Hash", "HS256"), ("Refresh", "90"), ("Sec", "45"), ("Length", "10")]
    {
        assert!(doubts_unread(&format!("App,Account,Secret,{name}"), &format!("V,ada,{A},{cell}")), "{name}");
    }
    for (name, cell) in [("Hash", "yes"), ("Refresh", "30"), ("Category", "Work 2"), ("Type", "login"), ("Hash", "-")] {
        assert!(!doubts_unread(&format!("App,Account,Secret,{name}"), &format!("V,ada,{A},{cell}")), "{name}");
    }
    for (name, cell) in [
        ("Note", "Uses SHA512."),
        ("Note", "HOTP token."),
        ("Art", "counter-based"),
        ("Note", "HOTP, see hr.example.com"),
    ] {
        assert!(doubts_unread(&format!("Site,User,TOTP,{name}"), &format!("V,ada,{A},\"{cell}\"")), "{cell}");
    }
    let two = format!("Name,User,TOTP,Token\nA,ada,{A},{B}\nC,cyd,,KRSXG5DJNZTWCIDPNZSSA5DI\n");
    check(&two, &[&format!("ada {A}"), "a column or field that is not read", "cyd "]);
}

/// The cells of its first row must not be reported as names.
#[test]
fn a_table_without_a_head_is_refused_whole() {
    for first in [
        format!("\"A\",\"Username\",\"ada\",\"Password\",\"hunter2!Sommer\",\"TOTP\",\"{A}\""),
        "GitHub,ada@x.com,TOTP,GEZDGNBVGY3TQ0J1".to_owned(),
        "GitHub,ada,TOTP,jbsw y3dp ehpk 3pxp".to_owned(),
        "GitHub,ada,TOTP,kzxw mqrb tdpl hvnc".to_owned(),
        format!("GitHub,ada,TOTP {A}"),
    ] {
        let problem = super::bad_input::read(format!("{first}\n{first}\n").as_bytes()).err().unwrap().to_string();
        assert!(problem.contains("first row is not the names of its columns"), "{problem}");
    }
}

#[test]
fn ordinary_columns_raise_no_doubt() {
    for (name, cell) in [
        ("Order", "10"),
        ("No", "5"),
        ("Room", "7"),
        ("Device", "Pixel 8"),
        ("Cost", "20 €"),
        ("Since", "4/2/26"),
        ("Phone", "+1 555 422 6123"),
        ("Folder", "Games\\Steam"),
        ("Recovery mail", "natasha2@gmail.com"),
        ("Shop", "Hotpoint"),
        ("Counterparty", "Acme"),
        ("Login counter", "5"),
        ("Billing period", "monthly"),
        ("Card last 4 digits", "4711"),
        ("Trial", "7 days"),
        ("Rotation (days)", "60"),
        ("Category", "Hotpot restaurants"),
        ("Settings", "dark"),
    ] {
        for head in ["Site,Username,Password,TOTP", "Site,Username,Email2,TOTP"] {
            let (head, row) = (format!("{head},{name}"), format!("V,ada,pw,{A},{cell}"));
            assert_eq!(made(&head, &row), "SHA1 6 30", "{name}");
            assert!(!doubts_unread(&head, &row), "{head} {cell}");
        }
    }
    for (name, cell) in [("2FA", "14.2.26"), ("MFA", "ja (14.2.26)"), ("2FA phone", "+1 555 422 6123")] {
        check(&format!("Site,User,{name},Key\nGitHub,ada,{cell},{A}\n"), &[&format!("ada {A}")]);
    }
    for name in ["Wiederherstellungsschlüssel", "Lizenzschlüssel", "WLAN-Schlüssel", "API key", "Order ID"] {
        check(&format!("Site,User,TOTP,{name}\nA,ada,{A},{B}\n"), &[&format!("ada {A}")]);
    }
}

#[test]
fn columns_are_of_keys_although_other_words_stand_in_their_names() {
    for name in ["One-Time Password Secret", "One-time password (OTP)", "Einmalpasswort", "Einmal-Kennwort"] {
        check(&format!("Site,Username,Password,{name}\nA,ada,pw,{A}\n"), &[&format!("ada {A}")]);
    }
    let elsewhere = "a column or field that is not read has what looks like a key";
    for name in ["Setup code", "QR code", "Verification code", "Passkey / 2FA key", "Two factor Android"] {
        check(&format!("Site,Username,TOTP,{name}\nA,ada,{A},\nB,bob,,{B}\n"), &[&format!("ada {A}"), elsewhere]);
    }
    // A column whose name begins like that of a column of keys, with a number as its value.
    for name in ["TOTP Gültigkeit", "TOTP window", "OTP Dauer", "MFA Takt"] {
        assert!(doubts_unread(&format!("Dienst,Benutzer,TOTP,{name}"), &format!("V,ada,{A},60")), "{name}");
    }
    // The number of digits, in a column with other remarks.
    let text = format!("Site,User,TOTP,Notes\nA,ada,{A},8 digits\nB,bob,{B},work phone\n");
    let doubts: Vec<bool> =
        read(&text).entries.iter().map(|entry| !entry.read.as_ref().ok().unwrap().notes.is_empty()).collect();
    assert_eq!(doubts, [true, false]);
}
