//! `countersign secret import` and `export`.

use std::process::Stdio;

use countersign::store::Kind;

use super::{Person, redacted, text_of};
use crate::kit::RFC_SEED;

fn lines() -> String {
    format!(
        "# from my phone\n\notpauth://totp/GitHub:alice?secret={RFC_SEED}&issuer=GitHub\n\
         otpauth://totp/bob?secret={RFC_SEED}&digits=8\r\n"
    )
}

#[test]
fn seeds_are_not_written_unencrypted_by_a_program_that_was_not_told_to() {
    let person = Person::with_vault();
    for words in [&["secret", "export", "--plain"][..], &["secret", "export", "--plain", "--output", "plain.txt"]] {
        assert!(person.run(words).refused(2).contains("add --yes"), "{words:?}");
    }
    assert!(!person.home().join("plain.txt").exists());
}

#[test]
fn lines_of_uris_are_stored() {
    let person = Person::with_vault();
    let file = person.file("phone.txt", &lines());

    let ran = person.run(&["secret", "import", file.to_str().unwrap()]);

    insta::assert_snapshot!(ran.err, @"2 added, 0 present, 0 skipped: 2 entries (a list of links).");
    insta::assert_snapshot!(redacted(&ran.ok()), @r"
    ID  LABEL  ISSUER  SINGLE-USE  CREATED  LAST USED
    ID  alice  GitHub  -  AT  -
    ID  bob  -  -  AT  -
    ");
}

#[test]
fn one_wrong_line_stores_nothing_and_is_named_by_its_number() {
    let person = Person::with_vault();
    let bad = format!("{}otpauth://hotp/eve?secret={RFC_SEED}\n{RFC_SEED}\n", lines());

    let refused = person.fed(&bad, &["secret", "import", "-"]).refused(1);

    insta::assert_snapshot!(refused, @r"
    error: nothing was stored:
      line 5: skipped: counter-based (hotp) codes are not supported; only time-based (totp) ones are
      line 6: skipped: it is a bare key beside links; add it with `countersign secret add`
    2 would be added, 0 present, 2 skipped: 4 entries; --yes stores what would be added
    ");
    assert_eq!(person.run(&["secret", "list"]).ok(), "");

    let kept = person.fed(&bad, &["secret", "import", "-", "--json"]);
    assert_eq!(kept.status, 1);
    let document: serde_json::Value = serde_json::from_str(&kept.out).unwrap();
    assert_eq!(document.pointer("/added"), Some(&2.into()));
    assert_eq!(document.pointer("/skipped"), Some(&2.into()));
    assert_eq!(document.pointer("/entries"), Some(&4.into()));
    assert_eq!(document.pointer("/remarks/1/place"), Some(&"line 6".into()));
    assert_eq!(document.pointer("/remarks/1/kind"), Some(&"skipped".into()));
    assert!(!kept.out.contains(RFC_SEED) && !kept.err.contains(RFC_SEED));
}

#[test]
fn a_killed_import_is_there_whole_or_not_at_all() {
    const COUNT: i64 = 500;
    let person = Person::with_vault();
    let seed = |n: i64| -> String { format!("{n:024}").bytes().map(|digit| char::from(digit - b'0' + b'A')).collect() };
    let list: Vec<_> = (0..COUNT).map(|n| format!("otpauth://totp/app{n}?secret={}", seed(n))).collect();
    let file = person.file("list.txt", &list.join("\n"));
    let arguments = ["secret", "import", file.to_str().unwrap(), "--yes"];
    let database = person.database();
    let stored = || -> i64 {
        let count = "SELECT count(*) FROM record WHERE kind = ?";
        database.query_row(count, [Kind::Secret.number()], |row| row.get(0)).unwrap()
    };
    // The import is killed later each time: after this many reads of the vault.
    for looks in [1, 100, 1_000, 10_000] {
        let mut importing = person.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        for _ in 0..looks {
            let there = stored();
            assert!([0, COUNT].contains(&there), "{there} of {COUNT} after {looks} looks");
            if importing.try_wait().unwrap().is_some() {
                break;
            }
        }
        // The import may have ended already.
        let _ = importing.kill();
        importing.wait().unwrap();
        assert!([0, COUNT].contains(&stored()));
    }
    person.run(&arguments).ok();
    assert_eq!(stored(), COUNT);
}

#[test]
fn lists_from_the_wild_are_read_as_they_were_meant_and_what_was_repaired_is_told() {
    let person = Person::with_vault();
    let list = format!(
        "otpauth://totp/Steam:ada?secret={RFC_SEED}&issuer=Steam&issuer=Steam&tags=a&tags=b\n\
         otpauth://totp/C#:ada?secret={RFC_SEED}&digits=8\n\
         otpauth://totp/Big Co:ada lovelace?secret={RFC_SEED}&period=60\n\
         otpauth://totp/100%:ada?secret={RFC_SEED}&amp;digits=8&amp;period=60\n"
    );

    let ran = person.fed(&list, &["secret", "import", "-"]);

    insta::assert_snapshot!(ran.err, @r"
    line 1 (Steam: ada): nothing says how its codes look; if this is Steam Guard, the codes will be wrong, because Steam's are letters
    line 2 (C#: ada): a raw `#` was read as a part of the text
    line 3 (Big Co: ada lovelace): a raw space was read as a part of the label
    line 4 (100%: ada): `&amp;` was read as `&`
    line 4 (100%: ada): a raw `%` was read as itself
    4 added, 0 present, 0 skipped: 4 entries (a list of links).
    ");
    ran.ok();
    insta::assert_snapshot!(person.run(&["secret", "export", "--plaintext", "--yes"]).ok(), @r"
    otpauth://totp/Steam:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Steam&algorithm=SHA1&digits=6&period=30
    otpauth://totp/C%23:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=C%23&algorithm=SHA1&digits=8&period=30
    otpauth://totp/Big%20Co:ada%20lovelace?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Big%20Co&algorithm=SHA1&digits=6&period=60
    otpauth://totp/100%25:ada?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=100%25&algorithm=SHA1&digits=8&period=60
    ");
    let json =
        format!(r#"[{{"uri": "otpauth://totp/C#:ada?secret={RFC_SEED}&digits=8&period=90", "single_use": true}}]"#);
    let document = person.fed(&json, &["secret", "import", "-", "--json"]).json();
    assert_eq!(text_of(&document, "/remarks/0/place"), "entry 1");
    assert_eq!(document.pointer("/totp_secrets/0/single_use"), Some(&true.into()));
}

#[test]
fn a_dry_run_stores_nothing() {
    let person = Person::with_vault();

    let ran = person.fed(&lines(), &["secret", "import", "-", "--dry-run"]);

    insta::assert_snapshot!(ran.err, @r"
    add: alice (GitHub)
    add: bob
    2 would be added, 0 present, 0 skipped: 2 entries (a list of links); nothing was stored.
    ");
    let document = person.fed(&lines(), &["secret", "import", "-", "--dry-run", "--json"]).json();
    assert_eq!((&document["added"], &document["dry_run"]), (&2.into(), &true.into()), "{document}");
    assert_eq!(person.run(&["secret", "list"]).ok(), "");
}

#[test]
fn json_entries_need_a_seed() {
    let person = Person::with_vault();
    let json =
        format!(r#"["otpauth://totp/a?secret={RFC_SEED}", {{"label": "b", "secret": "{RFC_SEED}", "period": 60}}]"#);
    person.fed(&json, &["secret", "import", "-"]).ok();

    let refused =
        person.fed(r#"[{"label": "c"}, {"label": "d", "secret": "!"}]"#, &["secret", "import", "-"]).refused(1);
    insta::assert_snapshot!(refused, @r"
    error: nothing was stored:
      entry 1 (c): skipped: it has no secret
      entry 2 (d): skipped: its secret is not base32 (letters A to Z and digits 2 to 7)
    0 would be added, 0 present, 2 skipped: 2 entries; --yes stores what would be added
    ");
}

#[test]
fn a_file_at_the_limit_is_taken_and_one_beyond_it_is_not() {
    let person = Person::with_vault();
    let line = format!("otpauth://totp/a?secret={RFC_SEED}\n");
    let lines = |count: u32| -> String {
        let seed =
            |nth: u32| format!("{nth:08}").bytes().map(|digit| char::from(digit - b'0' + b'A')).collect::<String>();
        let line = |nth| format!("otpauth://totp/a?secret={RFC_SEED}{}\n", seed(nth));
        (1..=count).map(line).collect::<Vec<_>>().concat()
    };

    let taken = person.fed(&lines(10_000), &["secret", "import", "-", "--dry-run"]);
    let sum = "10000 would be added, 0 present, 0 skipped: 10000 entries (a list of links); nothing was stored.\n";
    assert!(taken.err.ends_with(sum), "{}", taken.err.len());
    assert!(taken.err.contains("\nand 9900 more\n"));
    person.file("half", &"steam://A\n".repeat(50_000));
    let many = person.run(&["secret", "import", "half", "half", "--dry-run"]);
    assert!(many.err.contains(
        "\n0 would be added, 0 present, 100000 skipped: 100000 entries (a list of links); nothing was stored."
    ));
    person.file("more", &"steam://A\n".repeat(50_001));
    let refused = person.run(&["secret", "import", "half", "more", "--dry-run"]).refused(1);
    insta::assert_snapshot!(refused, @"error: an import takes 100000 secrets at most; split the file");
    person.file("many", &"steam://A\n".repeat(100_001));
    let refused = person.run(&["secret", "import", "many", "--dry-run"]).refused(1);
    insta::assert_snapshot!(refused, @"error: many: more than 100000 entries; split the file");

    let comment = |bytes: usize| format!("{line}{}\n", "#".repeat(bytes - line.len() - 1));
    person.fed(&comment(64 * 1024 * 1024), &["secret", "import", "-", "--dry-run"]).ok();
    let refused = person.fed(&comment(64 * 1024 * 1024 + 1), &["secret", "import", "-", "--json"]).refused(1);
    insta::assert_snapshot!(refused,
        @r#"{"status":"ERROR","error":"too_large","message":"standard input is larger than 67108864 bytes"}"#);
}

#[test]
fn an_export_says_that_it_is_plain_and_reads_back() {
    let person = Person::new();
    person.fed(&lines(), &["secret", "import", "-"]).ok();

    let refused = person.run(&["secret", "export"]).refused(2);
    assert!(refused.contains("--plain"), "{refused}");
    let exported = person.run(&["secret", "export", "--plaintext", "--yes"]);
    insta::assert_snapshot!(exported.err, @"2 secrets exported unencrypted.");
    let uris = exported.ok();
    insta::assert_snapshot!(uris, @r"
    otpauth://totp/GitHub:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=GitHub&algorithm=SHA1&digits=6&period=30
    otpauth://totp/bob?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&algorithm=SHA1&digits=8&period=30
    ");

    let other = Person::new();
    other.fed(&uris, &["secret", "import", "-"]).ok();
    assert_eq!(other.run(&["secret", "export", "--plaintext", "--yes"]).ok(), uris);
    let trail = person.run(&["audit", "list", "--action", "secret.export", "--json"]).json();
    assert_eq!(trail.pointer("/rows").unwrap().as_array().unwrap().len(), 2);
}

#[test]
fn what_is_exported_as_a_document_is_imported_as_it_was() {
    let person = Person::new();
    person.fed(&lines(), &["secret", "import", "-"]).ok();
    person.run(&["secret", "update", "bob", "--single-use"]).ok();
    let exported = person.run(&["secret", "export", "--plaintext", "--yes", "--json"]).ok();

    let other = Person::new();
    let imported = other.fed(&exported, &["secret", "import", "-", "--json"]).json();

    assert_eq!(imported.pointer("/added"), Some(&2.into()));
    assert_eq!(imported.pointer("/totp_secrets/0/single_use"), None);
    assert_eq!(imported.pointer("/totp_secrets/1/single_use"), Some(&true.into()));
    assert_eq!(other.run(&["secret", "export", "--plaintext", "--yes", "--json"]).ok(), exported);
}

#[test]
fn an_export_goes_on_past_damaged_secrets_and_names_them() {
    let labels = ["alice", "bob", "carol", "dave", "eve"];
    let person = Person::new();
    let added = labels.map(|label| {
        let arguments = ["secret", "add", "--label", label, "--stdin", "--json"];
        text_of(&person.fed(RFC_SEED, &arguments).json(), "/totp_secret/id").to_owned()
    });
    person.run(&["secret", "rm", "eve", "--yes"]).ok();
    person.tamper_record(Kind::Secret, 0, "sort = sort + 1");
    person.tamper_record(Kind::Seed, 1, "body = zeroblob(100)");
    person.tamper_record(Kind::Secret, 2, "account = zeroblob(16)");

    let ran = person.run(&["secret", "export", "--plaintext", "--yes"]);

    assert_eq!(ran.status, 1, "{ran:?}");
    assert_eq!(ran.out.lines().count(), 1, "{ran:?}");
    assert!(ran.out.starts_with("otpauth://totp/dave?secret="), "{ran:?}");
    let told: Vec<&str> = ran.err.lines().filter(|line| !line.contains("ERROR")).collect();
    let [alice, bob, carol, ..] = &added;
    assert_eq!(
        told,
        [
            "1 secret exported unencrypted.",
            &format!("the secret {alice} is damaged and was left out"),
            &format!("the secret {bob} is damaged and was left out"),
            &format!("the secret {carol} is damaged and was left out"),
            "`countersign vault doctor` says what is wrong; restore what is damaged from a backup.",
        ]
    );
    let ran = person.run(&["secret", "export", "--plaintext", "--yes", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(ran.status, 1);
    assert_eq!(document.pointer("/damaged"), Some(&serde_json::json!([alice, bob, carol])));
    assert_eq!(document.pointer("/status"), Some(&"ERROR".into()));
    assert_eq!(document.pointer("/uris").unwrap().as_array().unwrap().len(), 1);
    assert_eq!(
        Person::new().fed(&ran.out, &["secret", "import", "-", "--json"]).json().pointer("/added"),
        Some(&1.into())
    );
    let trail = person.run(&["audit", "list", "--action", "secret.export", "--json"]).json();
    assert_eq!(trail.pointer("/rows").unwrap().as_array().unwrap().len(), 2, "one row for each that went out");
}

#[test]
fn an_export_tells_of_a_damaged_secret_that_has_no_id() {
    let person = Person::with_alice();
    person.tamper_record(Kind::Secret, 0, "id = x'07'");

    let ran = person.run(&["secret", "export", "--plaintext", "--yes", "--json"]);

    assert_eq!(ran.status, 1, "{ran:?}");
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document.pointer("/damaged"), Some(&serde_json::json!([null])));
}

#[test]
fn an_import_skips_what_is_there_by_seed_and_parameters() {
    let person = Person::with_alice();
    person.run(&["secret", "update", "alice", "--label", "renamed"]).ok();

    let looked = person.fed(&lines(), &["secret", "import", "-", "--dry-run"]);
    insta::assert_snapshot!(looked.err, @r"
    add: bob
    present: alice (GitHub), as renamed (GitHub)
    1 would be added, 1 present, 0 skipped: 2 entries (a list of links); nothing was stored.
    ");
    let stored = person.fed(&lines(), &["secret", "import", "-", "--json"]).json();
    assert_eq!((stored.pointer("/added"), stored.pointer("/present")), (Some(&1.into()), Some(&1.into())));

    // A second import, or one after an interrupted import, adds nothing.
    let again = person.fed(&lines(), &["secret", "import", "-"]);
    insta::assert_snapshot!(again.err, @r"
    present: alice (GitHub), as renamed (GitHub)
    present: bob
    0 added, 2 present, 0 skipped: 2 entries (a list of links).
    ");
    assert_eq!(again.ok(), "");
    let other = "otpauth://totp/bob?secret=JBSWY3DPEHPK3PXP\n";
    let told = person.fed(&other.repeat(2), &["secret", "import", "-"]).err;
    insta::assert_snapshot!(told, @r"
    present: bob
    line 1 (bob): another secret has this issuer and label, with another seed or other parameters; both are kept
    1 added, 1 present, 0 skipped: 2 entries (a list of links).
    ");
}

#[test]
fn a_large_import_skips_what_is_there_like_a_small_one() {
    let person = Person::with_alice();
    let link = |nth: usize| {
        let seed = data_encoding::BASE32_NOPAD.encode(format!("seed number {nth:08}").as_bytes());
        format!("otpauth://totp/a{nth}?secret={seed}\n")
    };
    let links = |count| (0..count).map(link).collect::<String>();
    let import = |text: &str| person.fed(text, &["secret", "import", "-"]).err;
    assert!(import(&links(150)).ends_with("150 added, 0 present, 0 skipped: 150 entries (a list of links).\n"));
    person.run(&["secret", "rm", "a7", "--yes"]).ok();

    // A deleted secret does not count as present, nor does one with other digits; a seed that is twice in the file is
    // added once.
    let again = [links(160), lines(), link(159), link(3).replace('\n', "&digits=8\n")].concat();

    assert!(
        import(&again).ends_with("13 added, 151 present, 0 skipped: 164 entries (a list of links).\n"),
        "{}",
        import(&again)
    );
}

#[cfg(unix)]
#[test]
fn an_export_into_a_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let person = Person::with_alice();
    let mode = |name: &str| std::fs::metadata(person.home().join(name)).unwrap().permissions().mode() & 0o777;

    person.run(&["secret", "export", "--plaintext", "--yes", "--output", "named.txt"]).ok();
    assert_eq!(mode("named.txt"), 0o600);
    let again = person.run(&["secret", "export", "--plaintext", "--yes", "-o", "named.txt"]).refused(1);
    assert!(again.contains("--output must name a new file"), "{again}");
    let named = std::fs::read_to_string(person.home().join("named.txt")).unwrap();
    assert_eq!(named, person.run(&["secret", "export", "--plaintext", "--yes"]).ok());
    assert_eq!(person.run(&["secret", "export", "--plaintext", "--yes", "--json", "-o", "doc.json"]).ok(), "");
    let document: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(person.home().join("doc.json")).unwrap()).unwrap();
    assert_eq!(document.pointer("/uris/0").unwrap().as_str().unwrap(), named.trim_end());

    // A file that a shell has created has the mode of the shell's umask.
    let redirected = std::fs::File::create(person.home().join("redirected.txt")).unwrap();
    redirected.set_permissions(std::fs::Permissions::from_mode(0o644)).unwrap();
    let ended = person.command(&["secret", "export", "--plaintext", "--yes"]).stdout(redirected).status().unwrap();
    assert!(ended.success());
    assert_eq!(mode("redirected.txt"), 0o600);
}

#[cfg(target_os = "linux")]
#[test]
fn an_export_that_the_disk_did_not_take_is_not_called_exported() {
    let person = Person::with_alice();
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    for how in [&["--to", key][..], &["--plain", "--yes"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = person.command(&[&["secret", "export"], how].concat());
        let ended = command.stdin(Stdio::null()).stdout(full).output().unwrap();
        let told = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{told}");
        assert!(!told.contains("exported") && told.contains("could not be written"), "{told}");
    }
}

#[cfg(unix)]
#[test]
fn what_is_shown_only_once_is_written_into_no_file_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt as _;

    let person = Person::with_vault();
    for (name, arguments) in [
        ("seed.txt", ["secret", "add", "--label", "bob", "--generate"].as_slice()),
        ("key.txt", &["key", "create", "--name", "ci"]),
    ] {
        let path = person.home().join(name);
        let redirected = std::fs::File::create(&path).unwrap();
        redirected.set_permissions(std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(person.command(arguments).stdout(redirected).status().unwrap().success(), "{name}");
        assert_eq!(crate::sqlite::mode_of(&path), 0o600, "{name}");
    }
}

#[test]
fn an_export_opens_with_the_very_file_of_its_passphrase() {
    let person = Person::new();
    person.fed(&lines(), &["secret", "import", "-"]).ok();
    let (first, other) = (person.file("passphrase", "correct horse\nbattery staple\n"), Person::new());
    let export = person.home().join("all.age");
    let export = export.to_str().unwrap();
    person.run(&["secret", "export", "--passphrase-file", first.to_str().unwrap(), "--output", export]).ok();

    other.run(&["secret", "import", export, "--yes", "--passphrase-file", first.to_str().unwrap()]).ok();
}

#[test]
fn a_file_without_entries_is_refused() {
    for (noun, empty) in [("secret", "[]"), ("secret", "{\"uris\": []}"), ("seat", "[]"), ("seat", "email\n")] {
        let refused = Person::with_vault().fed(empty, &[noun, "import", "-"]).refused(1);
        let sum = if noun == "secret" { " (0 added, 0 present, 0 skipped)" } else { "" };
        assert_eq!(refused, format!("error: standard input: the file has no entries{sum}\n"), "{noun} {empty}");
    }
}

#[test]
fn a_field_that_is_named_twice_is_refused_by_entry() {
    let person = Person::with_vault();
    let json = r#"[
        {"label": "a", "secret": "JBSWY3DP"},
        {"label": "x", "label": "y", "secret": "JBSWY3DP"},
        {"label": "b", "JBSWY3DP": 1, "JBSWY3DP": 2},
        "otpauth://totp/c?secret=JBSWY3DP"
    ]"#;

    insta::assert_snapshot!(person.fed(json, &["secret", "import", "-"]).refused(1), @r"
    error: nothing was stored:
      entry 2: skipped: it names a field twice
      entry 3: skipped: it names a field twice
    1 would be added, 1 present, 2 skipped: 4 entries; --yes stores what would be added
    ");
}

#[cfg(target_os = "linux")]
#[test]
fn an_import_that_the_disk_does_not_take_leaves_nothing_of_it() {
    let person = Person::with_alice();
    let many: Vec<String> = (1..200).map(|n| format!("otpauth://totp/a{n}?secret={RFC_SEED}&period={n}\n")).collect();
    let file = person.file("many.txt", &many.concat());

    let ran = person.on_a_failing_disk("write", &["secret", "import", file.to_str().unwrap()]);

    assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
    let listed = person.run(&["secret", "list", "--json"]).json();
    assert_eq!(listed.pointer("/totp_secrets").unwrap().as_array().unwrap().len(), 1);
    person.run(&["secret", "import", file.to_str().unwrap()]).ok();
    person.run(&["vault", "doctor"]).ok();
}

#[cfg(unix)]
#[test]
fn an_import_that_is_killed_leaves_all_or_nothing_and_again_adds_the_rest() {
    use std::{os::unix::process::ExitStatusExt as _, process::Stdio};

    const MANY: usize = 300;
    let links: Vec<_> = (0..MANY).map(|n| format!("otpauth://totp/a{n}?secret={RFC_SEED}&period={}", n + 1)).collect();
    let links = links.join("\n");
    // Bytes in the write-ahead log at which the import is killed: none, a beginning, and more and more.
    for bytes in [0, 1, 1 << 16, 1 << 18] {
        let person = Person::with_vault();
        person.file("many.txt", &links);
        let log = person.home().join(".local/share/countersign/vault.db-wal");
        let mut command = person.command(&["secret", "import", "many.txt", "--yes", "--json"]);
        let mut import = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let is_there = || std::fs::metadata(&log).is_ok_and(|log| log.len() >= bytes);
        while !is_there() && import.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = import.kill();
        let ended = import.wait().unwrap();

        let listed = person.run(&["secret", "list", "--json"]).json();
        let kept = listed.pointer("/totp_secrets").unwrap().as_array().unwrap().len();
        assert!([0, MANY].contains(&kept), "{bytes} bytes in the log: {kept} are there");
        assert!(ended.success() || ended.signal() == Some(9), "{ended}");
        let again = person.run(&["secret", "import", "many.txt", "--yes", "--json"]).json();
        let counts = ["/added", "/present"].map(|field| again.pointer(field).unwrap());
        assert_eq!(counts, [&serde_json::json!(MANY - kept), &serde_json::json!(kept)], "{bytes} bytes in the log");
        person.run(&["audit", "verify"]).ok();
    }
}

/// The path of a fixture.
fn export_of(name: &str) -> String {
    format!("{}/tests/fixtures/import/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_entry_of_several_files_is_accounted_for() {
    let person = Person::with_vault();
    let files = ["aegis-plain.json", "google-parts.txt", "bitwarden.csv"].map(export_of);
    let arguments = |more: &'static [&'static str]| {
        let files = files.iter().map(String::as_str);
        ["secret", "import"].into_iter().chain(files).chain(more.iter().copied()).collect::<Vec<_>>()
    };

    let refused = person.run(&arguments(&[])).refused(1);
    assert!(refused.contains("aegis-plain.json, entry 6 (Acme: c): skipped: counter-based"), "{refused}");
    assert_eq!(person.run(&["secret", "list"]).ok(), "");

    let ran = person.run(&arguments(&["--json"]));
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let count = |name: &str| document.pointer(name).and_then(serde_json::Value::as_u64).unwrap();
    assert_eq!(count("/entries"), 16 + 5 + 3, "{document}");
    assert_eq!(count("/added") + count("/present") + count("/skipped"), count("/entries"));
    assert_eq!((count("/present"), count("/skipped")), (2, 12), "two files share two seeds: {document}");
    assert_eq!(text_of(&document, "/missing/0"), "part 2 of 3 of Google Authenticator's export");
    assert_eq!(document.pointer("/totp_secrets").unwrap().as_array().unwrap().len() as u64, count("/added"));
    assert_eq!(ran.status, 1, "something was skipped");

    let again = person.run(&arguments(&["--yes"]));
    insta::assert_snapshot!(again.err.lines().last().unwrap(),
        @"0 added, 12 present, 12 skipped: 24 entries (Aegis, Google Authenticator, Bitwarden). The exit status is 1, because entries were skipped and a part of an export is missing.");
}

#[test]
fn an_encrypted_export_is_opened_by_its_passphrase_and_by_no_other() {
    let person = Person::with_vault();
    let right = person.file("right", "correct horse ünïcode\n");
    let wrong = person.file("wrong", "correct horse\n");
    let file = export_of("2fas-encrypted.json");
    let import = |passphrase: &std::path::Path| {
        person.run(&["secret", "import", &file, "--yes", "--passphrase-file", passphrase.to_str().unwrap()])
    };

    assert!(person.run(&["secret", "import", &file]).refused(2).contains("use --passphrase-file"));
    let refused = import(&wrong).refused(1);
    assert!(refused.ends_with("2fas-encrypted.json: the passphrase is wrong\n"), "{refused}");
    assert_eq!(person.run(&["secret", "list"]).ok(), "");
    let ran = import(&right);
    insta::assert_snapshot!(ran.err.lines().last().unwrap(), @"8 added, 0 present, 5 skipped: 13 entries (2FAS). The exit status is 1, because entries were skipped.");
}

#[test]
fn a_database_is_opened_by_its_passphrase_and_its_key_file() {
    let person = Person::with_vault();
    person.file("passphrase", "correct horse ünïcode\n");
    let (database, key_file) = (export_of("file-kdbx.kdbx"), export_of("file-kdbx.keyx"));
    let import = |file: &str, more: &[&str]| {
        person.run(&[&["secret", "import", file, "--passphrase-file", "passphrase", "--yes"], more].concat())
    };

    for other in [&[][..], &["--kdbx-key-file", &database]] {
        let refused = import(&database, other).refused(1);
        assert!(
            refused.ends_with(
                "file-kdbx.kdbx: the passphrase is wrong, or the key file is wrong or missing (--kdbx-key-file)\n"
            ),
            "{refused}"
        );
    }
    let refused = import(&export_of("raivo.json"), &["--kdbx-key-file", &key_file]).refused(2);
    assert_eq!(refused, "error: --kdbx-key-file opens a KeePass database, and no file is one\n");
    assert!(import(&database, &["--kdbx-key-file", "missing"]).refused(1).contains("--kdbx-key-file must name a file"));
    assert_eq!(person.run(&["secret", "list"]).ok(), "");
    let ran = import(&database, &["--kdbx-key-file", &key_file]);
    insta::assert_snapshot!(ran.err, @r"
    entry 3 (Counter: eve): skipped: counter-based (hotp) codes are not supported; only time-based (totp) ones are
    entry 5 (Gone: ada): skipped: it is in the app's trash
    2 added, 0 present, 2 skipped: 4 entries (KeePassXC). The exit status is 1, because entries were skipped.
    ");
}

#[test]
fn bad_files_are_named_and_store_nothing() {
    let person = Person::with_vault();
    let good = export_of("raivo.json");
    std::fs::create_dir(person.home().join("folder")).unwrap();
    for (name, text, expected) in [
        ("empty", "", "empty: the file is empty"),
        ("cut.json", "{\"schemaVersion\": 4, \"services\": [", "cut.json: ends in the middle"),
        ("broken.json", "[\n1,\n{]", "broken.json: line 3: not JSON"),
        ("notes", "hello", "notes: in no known format"),
        ("chrome.csv", "name,url,username,password\na,b,c,d\n", "chrome.csv: a table of passwords without"),
    ] {
        person.file(name, text);
        let refused = person.run(&["secret", "import", &good, name, "--yes"]).refused(1);
        assert!(refused.contains(expected), "{refused}");
    }
    for (missing, expected) in [("folder", "FILE 2 must name a file"), ("JBSWY3DPEHPK3PXP", "FILE 2 must name a file")]
    {
        let refused = person.run(&["secret", "import", &good, missing, "--yes"]).refused(1);
        assert!(refused.contains(expected) && !refused.contains("JBSWY3DP"), "{refused}");
    }
    assert_eq!(person.run(&["secret", "list"]).ok(), "");
}

#[test]
fn an_encrypted_export_reads_back_with_its_passphrase_and_says_how_much_it_has() {
    let person = Person::new();
    person.fed(&lines(), &["secret", "import", "-"]).ok();
    person.file("passphrase", "correct horse\n");
    let exported = ["secret", "export", "--passphrase-file", "passphrase", "--json", "--output"];
    let of = |more: &[&str]| person.run(&[&exported[..], more].concat());

    insta::assert_snapshot!(of(&["all.age"]).ok(), @r#"{"status":"OK","exported":2}"#);
    insta::assert_snapshot!(of(&["one.age", "alice"]).ok(), @r#"{"status":"OK","exported":1}"#);
    assert!(of(&["none.age", "nobody"]).refused(1).contains("no secret has this id"));
    assert!(!person.home().join("none.age").exists());
    let all = std::fs::read(person.home().join("all.age")).unwrap();
    assert!(all.starts_with(b"age-encryption.org/v1\n-> scrypt "));

    let count = |file: &str| {
        let other = Person::new();
        other.file("passphrase", "correct horse");
        let file = person.home().join(file);
        other.run(&["secret", "import", file.to_str().unwrap(), "--passphrase-file", "passphrase"]).ok();
        other.run(&["secret", "export", "--plain", "--yes"]).ok().lines().count()
    };
    assert_eq!([count("all.age"), count("one.age")], [2, 1]);

    let refused = person.run(&["secret", "export", "--to", "age1nobody", "--output", "x.age"]).refused(2);
    assert!(refused.contains("must be a public key of age"), "{refused}");
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let sealed = person.run(&["secret", "export", "--to", key, "--output", "x.age"]);
    assert!(sealed.status == 0 && sealed.err.contains("`age -d -i KEY-FILE` opens the file"), "{sealed:?}");
    let refused = person.run(&["secret", "import", "x.age"]).refused(1);
    assert!(refused.contains("age -d -i KEY-FILE FILE | countersign secret import -"), "{refused}");
    for flags in [&["--plain"][..], &["--passphrase-file", "passphrase"]] {
        person.run(&[&["secret", "export", "--to", key, "--output", "y.age"], flags].concat()).refused(2);
    }

    person.run(&["vault", "backup", "off-site.age", "--to", key]).ok();
    let refused = person.run(&["vault", "restore", "off-site.age", "--yes"]).refused(78);
    assert!(refused.contains("age -d -i KEY-FILE"), "{refused}");
}

#[test]
fn a_short_passphrase_protects_no_export() {
    let person = Person::new();
    person.fed(&lines(), &["secret", "import", "-"]).ok();
    for (text, is_long_enough) in [("", false), ("x", false), ("eleven char", false), ("twelve chars", true)] {
        person.file("short", text);
        let ran = person.run(&["secret", "export", "--passphrase-file", "short", "--output", "all.age"]);
        assert_eq!(ran.status == 0, is_long_enough, "{text}: {ran:?}");
        assert_eq!(person.home().join("all.age").exists(), is_long_enough);
        assert!(is_long_enough || ran.err.contains("at least 12 characters"), "{ran:?}");
    }
}

#[test]
fn a_dry_run_lists_what_would_be_added_for_programs_too() {
    let person = Person::with_vault();
    person.file("one.txt", &format!("otpauth://totp/Acme:ada?secret={RFC_SEED}&digits=8"));
    let found = person.run(&["secret", "import", "one.txt", "--dry-run", "--json"]).json();
    let expected =
        serde_json::json!([{"label": "ada", "issuer": "Acme", "algorithm": "SHA1", "digits": 8, "period": 30}]);
    assert_eq!((&found["would_add"], &found["totp_secrets"]), (&expected, &serde_json::json!([])));
    let stored = person.run(&["secret", "import", "one.txt", "--json"]).json();
    assert_eq!(stored.get("would_add"), None);
}
