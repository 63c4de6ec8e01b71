//! Pruned rows, archived in a file that can still be verified.

use std::{fs, path::Path, time::Duration};

use countersign::{
    domain::{audit::AuditFilter, limits::AUDIT_KEPT_MIN},
    operations::{ArchiveReport, ErrorCode, PruneAudit, Refusal, VerifyArchive},
};
use serde_json::Value;

use crate::kit::{Vault, alone_at_once};

const NOW: i64 = 1_795_305_600;
const DAY: i64 = 86_400;

async fn pruned(vault: &Vault, days: i64, file: &Path) -> u64 {
    let before = vault.service.now().minus(Duration::from_secs(u64::try_from(days * DAY).unwrap()));
    let archive = Some(file.to_owned());
    vault.service.perform(&vault.person, PruneAudit { before, archive }).await.unwrap()
}

async fn checked(vault: &Vault, file: &Path) -> Result<ArchiveReport, Refusal> {
    checked_in_turn(vault, &[file]).await
}

async fn checked_in_turn(vault: &Vault, files: &[&Path]) -> Result<ArchiveReport, Refusal> {
    let files = files.iter().map(|file| (*file).to_owned()).collect();
    vault.service.perform(&vault.person, VerifyArchive { files }).await
}

/// A vault of 21 rows, of which the first 11 are archived in `file` by two prunings.
async fn archived() -> (Vault, std::path::PathBuf) {
    let vault = Vault::new();
    let file = vault.dir.path().join("archive.jsonl");
    let id = vault.register("alice").await.secret.id;
    for day in 0..19 {
        vault.clock.set_seconds(NOW + day * DAY);
        vault.service.perform(&vault.person, alone_at_once(id)).await.unwrap();
    }
    vault.clock.set_seconds(NOW + 375 * DAY);
    assert_eq!(pruned(&vault, 370, &file).await, 7);
    assert_eq!(pruned(&vault, 366, &file).await, 4);
    (vault, file)
}

#[tokio::test]
async fn an_archive_is_verified_up_to_where_the_log_begins() {
    let (vault, file) = archived().await;
    let spans = vec![(0, 1, 11)];
    let sound = ArchiveReport { rows: 11, spans, fenced: Vec::new(), finding: None };
    assert_eq!(checked(&vault, &file).await.unwrap(), sound);

    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 13);
    // A row in an archive has the same fields as in an export.
    assert_eq!(lines[3]["action"], "code.get");
    assert_eq!(lines[3]["seq"], 3);
    assert_eq!(lines[8]["seq"], 7, "the second pruning begins after the first");
}

#[tokio::test]
async fn a_year_is_kept_whoever_prunes() {
    let vault = Vault::new();
    let id = vault.register("alice").await.secret.id;
    for day in 1..=9 {
        vault.clock.set_seconds(NOW + day * DAY);
        vault.service.perform(&vault.person, alone_at_once(id)).await.unwrap();
    }
    vault.clock.set_seconds(NOW + 368 * DAY);
    let year_ago = vault.service.now().minus(AUDIT_KEPT_MIN);
    let younger = PruneAudit { before: year_ago.plus(Duration::from_micros(1)), archive: None };
    let refused = vault.service.perform(&vault.person, younger).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidArgument);

    let first = async || vault.all_rows(AuditFilter::default()).await[0].entry.at.seconds();
    vault.service.perform(&vault.person, PruneAudit { before: year_ago, archive: None }).await.unwrap();
    assert_eq!(first().await, NOW + 3 * DAY);
    vault.clock.set_seconds(NOW + 373 * DAY);
    assert_eq!(vault.service.prune_audit_unasked(Duration::from_hours(368 * 24)).await, Ok(2));
    assert_eq!(first().await, NOW + 5 * DAY);
    assert_eq!(vault.service.prune_audit_unasked(Duration::ZERO).await, Ok(3));
    assert_eq!(first().await, NOW + 8 * DAY);
}

#[tokio::test]
async fn whatever_is_changed_in_an_archive_is_found() {
    let (vault, file) = archived().await;
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let without = |nth: usize| {
        let kept = lines.iter().enumerate().filter(|(number, _)| *number != nth);
        kept.flat_map(|(_, line)| [*line, "\n"]).collect::<String>()
    };
    let with = |nth: usize, from: &str, to: &str| {
        assert!(lines[nth].contains(from), "{}", lines[nth]);
        whole.replacen(lines[nth], &lines[nth].replacen(from, to, 1), 1)
    };
    let checked_of = async |text: &str| {
        fs::write(&file, text).unwrap();
        checked(&vault, &file).await.unwrap().rows
    };
    let finding = async |text: &str| {
        fs::write(&file, text).unwrap();
        checked(&vault, &file).await.map(|report| report.finding.map(|(_, finding)| finding.to_string()))
    };

    for nth in (1..8).chain(9..12) {
        assert!(finding(&without(nth)).await.unwrap().is_some(), "row in line {nth} is missing");
        let changed = with(nth, "\"stored\":\"A", "\"stored\":\"B");
        assert!(finding(&changed).await.unwrap().is_some(), "row in line {nth} is changed");
    }
    assert!(finding(&with(8, "\"mac\":\"", "\"mac\":\"00")).await.is_err());
    // The line at which the second pruning begins.
    let mac = lines[8].split("\"mac\":\"").nth(1).unwrap();
    let other = if mac.starts_with('0') { "1" } else { "0" };
    let changed = finding(&with(8, &format!("\"mac\":\"{}", &mac[..1]), &format!("\"mac\":\"{other}"))).await;
    assert!(changed.unwrap().unwrap().starts_with("row 7 was changed"));
    let moved = finding(&with(8, "\"seq\":7", "\"seq\":8")).await.unwrap().unwrap();
    assert!(moved.starts_with("row 9 does not follow"), "{moved}");
    let sound = checked_of(&without(10)).await;
    assert_eq!(sound, 8, "rows before the one that is missing");
    for cut in 0..13 {
        let cut = lines[..cut].iter().flat_map(|line| [line, "\n"]).collect::<String>();
        let finding = finding(&cut).await.unwrap().unwrap();
        assert!(finding.starts_with("the archive ends before row 12"), "{finding}");
    }
    // Rows that were archived twice are counted once.
    assert_eq!(finding(&format!("{whole}{whole}")).await.unwrap(), None);
    assert_eq!(finding(&whole).await.unwrap(), None);
    for strange in ["{}\n", "x\n", "{\"chain\":0,\"seq\":1,\"mac\":\"00\"}\n"] {
        let refused = finding(&format!("{whole}{strange}")).await.unwrap_err().to_string();
        assert!(refused.contains("line 14"), "{refused}");
    }
}

#[tokio::test]
async fn what_people_read_in_an_archive_is_what_its_macs_cover() {
    let (vault, file) = archived().await;
    let whole = fs::read_to_string(&file).unwrap();
    let is_found = async |text: &str| {
        assert_ne!(text, whole);
        fs::write(&file, text).unwrap();
        checked(&vault, &file).await.unwrap().finding.is_some()
    };
    let row: Value = serde_json::from_str(whole.lines().nth(3).unwrap()).unwrap();
    for (name, value) in row.as_object().unwrap() {
        let was = format!("{}:{value}", Value::from(name.as_str()));
        let other = if value.is_string() { format!("\"{name}\":\"other\"") } else { format!("\"{name}\":7700000") };
        assert!(whole.contains(&was), "{was}");
        fs::write(&file, whole.replacen(&was, &other, 1)).unwrap();
        let report = checked(&vault, &file).await;
        assert!(report.is_err() || report.is_ok_and(|report| report.finding.is_some()), "{other}");
        // Some readers take the first of two fields, others the last.
        for twice in [format!("{was},{other}"), format!("{other},{was}")] {
            fs::write(&file, whole.replacen(&was, &twice, 1)).unwrap();
            let report = checked(&vault, &file).await;
            assert!(report.is_err() || report.is_ok_and(|report| report.finding.is_some()), "{twice}");
        }
    }
    // A run that is there again is verified again.
    let repeated = whole.replacen("\"outcome\":\"ok\"", "\"outcome\":\"busy\"", 1);
    assert!(is_found(&format!("{whole}{repeated}")).await);
    let line = repeated.lines().nth(1).unwrap();
    assert!(is_found(&format!("{whole}{line}\n")).await);
    assert!(is_found(&format!("{whole}{}\n", whole.lines().nth(1).unwrap())).await, "no run begins there");
}

#[tokio::test]
async fn a_line_of_an_archive_has_the_fields_that_were_written_and_no_others() {
    let (vault, file) = archived().await;
    let whole = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sound_with = async |number: usize, line: Vec<Value>| {
        let mut lines = lines.clone();
        lines.splice(number..=number, line);
        fs::write(&file, lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")).unwrap();
        checked(&vault, &file).await.is_ok_and(|report| report.finding.is_none())
    };
    assert!(sound_with(3, vec![lines[3].clone()]).await);
    for (number, line) in lines.iter().enumerate() {
        let mut more = line.clone();
        more["note"] = "all is well".into();
        assert!(!sound_with(number, vec![more]).await, "a field more in line {number}");
    }
    for name in lines[3].as_object().unwrap().keys() {
        let mut less = lines[3].clone();
        less.as_object_mut().unwrap().remove(name);
        assert!(!sound_with(3, vec![less]).await, "no {name}");
    }
    // A row that only looks like one, where an anchor may stand.
    let mut forged = lines[3].clone();
    forged["action"] = "secret.export".into();
    for names in [&["stored"][..], &["stored_at"], &["stored", "stored_at"]] {
        let mut forged = forged.clone();
        for name in names {
            forged.as_object_mut().unwrap().remove(*name);
        }
        assert!(!sound_with(3, vec![lines[3].clone(), forged]).await, "no {names:?}");
    }
}

#[tokio::test]
async fn what_an_interrupted_pruning_left_in_an_archive_is_no_obstacle() {
    let mut row = 11;
    let (vault, file) = archived().await;
    for cut in [Some(1), Some(60), Some(500), None] {
        let whole = fs::read_to_string(&file).unwrap();
        let last = whole.lines().last().unwrap();
        // A row that was cut off, or one that lacks its line break alone.
        let left = cut.map_or_else(|| whole.trim_end().to_owned(), |cut| format!("{whole}{}", &last[..cut]));
        fs::write(&file, left).unwrap();
        let report = checked(&vault, &file).await.unwrap();
        assert_eq!((report.spans, report.finding), (vec![(0, 1, row)], None), "{cut:?}");
        row += 1;
        vault.clock.set_seconds(NOW + (364 + i64::try_from(row).unwrap()) * DAY);
        assert_eq!(pruned(&vault, 366, &file).await, 1);
        let report = checked(&vault, &file).await.unwrap();
        assert_eq!((report.rows, report.spans, report.finding), (row, vec![(0, 1, row)], None), "{cut:?}");
    }
}

#[tokio::test]
async fn rows_are_appended_only_to_an_archive_from_which_the_log_goes_on() {
    let (vault, file) = archived().await;
    let (other, others) = archived().await;
    let whole = fs::read_to_string(&file).unwrap();
    let aside = |name: &str, text: &str| {
        let file = file.with_file_name(name);
        fs::write(&file, text).unwrap();
        file
    };
    vault.clock.set_seconds(NOW + 376 * DAY);
    other.clock.set_seconds(NOW + 376 * DAY);
    let before = |vault: &Vault| vault.service.now().minus(Duration::from_hours(24 * 366));
    let cut = whole.match_indices('\n').nth(9).unwrap().0 + 1;
    for (path, why) in [
        (aside("key", "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=\n"), "line 1 is no line of an archive"),
        (aside("key-without-end", "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I="), "line 1 is no line"),
        (aside("short", &whole[..cut]), "name a new file"),
        (aside("changed", &whole.replacen("code.get", "code.got", 1)), "name a new file"),
        (others.clone(), "name a new file"),
        (aside("one-line", &format!("[{}1]", "1,".repeat(20_000))), "line 1 is no line"),
        (aside("long", &format!("[{}1]\n{{\"b\":1}}\n", "1,".repeat(20_000))), "line 1 is no line"),
        (aside("begun", "{ \"half written\": 1"), "line 1 is no line"),
        (aside("text", "\"my only notes"), "line 1 is no line"),
        (aside("blank", "   "), "line 1 is no line"),
        (aside("in-between", &whole.replacen("}\n", "\n", 2).replacen('\n', "}\n", 1)), "line 3 is no line"),
        (aside("vault.db", "SQLite format 3\0\u{10}\0"), "line 1 is no line of an archive"),
    ] {
        let was = fs::read(&path).unwrap();
        let pruning = PruneAudit { before: before(&vault), archive: Some(path.clone()) };
        let refused = vault.service.perform(&vault.person, pruning).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
        assert!(fs::read(&path).unwrap() == was, "{}", path.display());
    }
    assert_eq!(vault.all_rows(AuditFilter::default()).await.first().map(|row| row.seq), Some(12));
    // Only one process at a time appends.
    let held = fs::File::open(&file).unwrap();
    held.lock().unwrap();
    let pruning = PruneAudit { before: before(&vault), archive: Some(file.clone()) };
    let refused = vault.service.perform(&vault.person, pruning).await.unwrap_err();
    assert!(refused.to_string().contains("another process is appending"), "{refused}");
    drop(held);
    assert_eq!(pruned(&vault, 366, &file).await, 1);
    // After a pruning without an archive, the rows in between are nowhere.
    vault.clock.set_seconds(NOW + 378 * DAY);
    vault.service.perform(&vault.person, PruneAudit { before: before(&vault), archive: None }).await.unwrap();
    let refused =
        vault.service.perform(&vault.person, PruneAudit { before: before(&vault), archive: Some(file.clone()) });
    let refused = refused.await.unwrap_err().to_string();
    assert!(
        refused.contains("they were pruned without an archive") && refused.contains("name a new file"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_archive_that_has_only_the_place_where_the_log_begins_is_not_sound() {
    let (vault, file) = archived().await;
    let whole = fs::read_to_string(&file).unwrap();
    let last: Value = serde_json::from_str(whole.lines().last().unwrap()).unwrap();
    let anchor = serde_json::json!({ "chain": 0, "seq": last["seq"], "mac": last["mac"] });
    fs::write(&file, format!("{anchor}\n")).unwrap();
    let found = checked(&vault, &file).await.unwrap().finding.unwrap().1.to_string();
    assert!(found.starts_with("the archive ends before row 12"), "{found}");
    // It is what a pruning leaves that was interrupted at its first row, which is repeated.
    vault.clock.set_seconds(NOW + 376 * DAY);
    assert_eq!(pruned(&vault, 366, &file).await, 1);
    assert_eq!(checked(&vault, &file).await.unwrap().spans, [(0, 12, 12)]);
}

#[tokio::test]
async fn an_archive_may_be_in_several_files() {
    let (vault, file) = archived().await;
    let whole = fs::read_to_string(&file).unwrap();
    let second = whole.match_indices('\n').nth(7).unwrap().0 + 1;
    let (older, newer) = (file.with_extension("1"), file.with_extension("2"));
    fs::write(&older, &whole[..second]).unwrap();
    fs::write(&newer, &whole[second..]).unwrap();
    let finding = async |files: &[&Path]| {
        let report = checked_in_turn(&vault, files).await.unwrap();
        (report.spans, report.finding.map(|(_, finding)| finding.to_string()))
    };

    assert_eq!(finding(&[&older, &newer]).await, (vec![(0, 1, 11)], None));
    // Whether older rows were archived can't be known, so the report says where the archive begins.
    assert_eq!(finding(&[&newer]).await, (vec![(0, 8, 11)], None));
    let (spans, cut) = finding(&[&older]).await;
    assert_eq!(spans, [(0, 1, 7)]);
    assert!(cut.unwrap().contains("in another file (give all files, the oldest first)"));
    let (_, turned) = finding(&[&newer, &older]).await;
    assert!(turned.is_some());
}

#[tokio::test]
async fn a_vault_of_which_nothing_was_pruned_needs_no_archive() {
    let vault = Vault::new();
    let file = vault.dir.path().join("archive.jsonl");
    fs::write(&file, "").unwrap();
    let report = checked(&vault, &file).await.unwrap();
    assert_eq!((report.rows, report.spans, report.finding), (0, Vec::new(), None));
}

#[cfg(unix)]
#[tokio::test]
async fn an_archive_is_its_owners_alone() {
    let (_vault, file) = archived().await;
    assert_eq!(crate::sqlite::mode_of(&file), 0o600);
}

#[tokio::test]
async fn an_archive_that_cant_be_written_costs_no_row() {
    let vault = Vault::new();
    vault.clock.set_seconds(NOW + 400 * DAY);
    for file in [vault.dir.path().to_owned(), "/dev/full".into()] {
        let before = vault.service.now().minus(Duration::from_hours(24 * 366));
        let pruning = PruneAudit { before, archive: Some(file) };
        assert!(vault.service.perform(&vault.person, pruning).await.is_err());
    }
    assert_eq!(vault.all_rows(AuditFilter::default()).await.first().map(|row| row.seq), Some(1));
}
