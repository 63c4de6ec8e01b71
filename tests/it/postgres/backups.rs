//! Backups of a vault on a server: one file as of one moment, which goes back to a file or to a server.

use std::process::Stdio;

use super::{carry_out, fresh, moving::with_everything, people::Node};
use crate::{
    cli::{Person, text_of},
    kit::RFC_SEED,
};

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_backup_of_a_server_goes_back_to_a_file_and_to_a_server() {
    let (person, url) = (with_everything(), fresh());
    person.fed(RFC_SEED, &["secret", "add", "--label", "dora", "--stdin", "--allow-duplicate"]).ok();
    person.run(&["vault", "move", "--to", &url, "--yes"]).ok();
    let before = person.everything(&url);

    let made = person.at(&url, &["vault", "backup", "one.backup", "--json"]).json();

    assert_eq!((text_of(&made, "/status"), made["secrets"].as_u64()), ("OK", Some(4)));
    assert_eq!(
        std::fs::read_dir(person.home().join(".local/share/countersign")).unwrap().count(),
        2,
        "no copy is left"
    );
    person.at(&url, &["secret", "update", "bob", "--label", "bert"]).ok();
    let there = person.at(&url, &["vault", "restore", "one.backup", "--yes"]).refused(78);
    assert!(there.contains("there is something in postgres://") && there.contains("an empty database"), "{there}");
    let again = person.at(&url, &["vault", "backup", "one.backup"]).refused(1);
    assert!(again.contains("no backup was made"), "{again}");

    let (file, other) = (format!("sqlite:{}", person.home().join("back/vault.db").display()), fresh());
    for place in [file.as_str(), &other] {
        person.at(place, &["vault", "restore", "one.backup", "--yes"]).ok();
        let mut restored = person.everything(place);
        // Keys are off until a person enables them.
        assert!(restored[3].to_string().contains("off_since"), "{}", restored[3]);
        restored[3] = before[3].clone();
        assert_eq!(restored, before, "{place}");
        person.at(place, &["vault", "doctor"]).ok();
        person.at(place, &["audit", "verify"]).ok();
        assert!(person.at(place, &["code", "dora", "--max-wait", "0"]).refused(1).contains("a code is free in"));
    }
    // A failed attempt leaves nothing that prevents another one.
    person.file("no.backup", "nothing");
    let third = fresh();
    assert_eq!(person.at(&third, &["vault", "restore", "no.backup", "--yes"]).status, 78);
    person.at(&third, &["vault", "restore", "one.backup", "--yes"]).ok();
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_backup_is_of_one_moment_although_others_write() {
    let (person, url) = (Person::new(), fresh());
    person.at(&url, &["vault", "create"]).ok();
    for nth in 0..8 {
        let label = format!("s{nth}");
        let add = ["--store", &url, "secret", "add", "--label", &label, "--stdin", "--allow-duplicate"];
        person.fed(RFC_SEED, &add).ok();
    }
    let key = person.at(&url, &["key", "create", "--name", "ci", "--json"]).json();
    let token = text_of(&key, "/token").to_owned();
    let node = Node::start(&person, &url);
    let id = person.at(&url, &["secret", "show", "s3", "--json"]).json();
    let path = format!("/api/v2/totp/code/{}", text_of(&id, "/totp_secret/id"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let given = std::thread::scope(|threads| {
        let asking = threads.spawn(|| {
            let mut given = 0_u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                given += u32::from(node.get(&path, &token)["status"] == "OK");
            }
            given
        });
        for nth in 0..3 {
            person.at(&url, &["vault", "backup", &format!("{nth}.backup"), "--json"]).json();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        asking.join().unwrap()
    });
    assert!(given > 3, "{given} codes were given meanwhile");
    let file = format!("sqlite:{}", person.home().join("back/vault.db").display());
    for nth in 0..3 {
        person.at(&file, &["vault", "restore", &format!("{nth}.backup"), "--yes"]).ok();
        person.at(&file, &["audit", "verify"]).ok();
        person.at(&file, &["vault", "doctor"]).ok();
    }
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_damaged_vault_on_a_server_is_backed_up_as_it_is_and_said_to_be_damaged() {
    let (person, url) = (Person::with_alice(), fresh());
    person.run(&["vault", "move", "--to", &url, "--yes"]).ok();
    carry_out(&url, "UPDATE record SET sort = sort + 1 WHERE kind = 3");

    let made = person.at(&url, &["vault", "backup", "one.backup"]);

    assert!(made.status == 1 && made.out.contains("problem: secret "), "{made:?}");
    assert!(person.home().join("one.backup").exists());
}

#[test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES; tests/postgres/run starts a server"]
fn a_server_process_makes_backups_of_a_vault_on_a_server_by_itself() {
    let (person, url) = (Person::with_alice(), fresh());
    person.run(&["vault", "move", "--to", &url, "--yes"]).ok();
    let folder = person.home().join("backups");
    let serve = ["--store", &url, "serve", "--listen", "127.0.0.1:0", "--backup-dir", folder.to_str().unwrap()];
    let mut serving = person.command(&serve).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let is_made = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "db"))
    };
    crate::kit::until(|| {
        assert!(serving.try_wait().unwrap().is_none(), "it ended");
        std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.any(is_made))
    });
    serving.kill().unwrap();
    serving.wait().unwrap();
}
