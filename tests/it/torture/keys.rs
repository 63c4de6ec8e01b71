//! Wrong keys, from each source that needs no session: refused, and no byte is changed. (`tests/keyring/run` has the keyring's.)

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, path::PathBuf, sync::Arc};

use countersign::{
    domain::audit::{Action, Actor, AuditEntry},
    random::{NoRandomness, Random, SystemRandom},
    vault::{self, OpenError, Passphrase, RecoveryWords, Source, VaultRequest},
};
use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::{Row, runtime};
use crate::{
    sqlite::contents,
    vault::kit::{Folder, NOW},
};

/// 32 bytes that differ for each number.
fn key(number: u64) -> [u8; 32] {
    let mut bytes = [0x5A; 32];
    bytes[5..13].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A random source that returns the bytes of the key with this number.
struct Fixed(u64);

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        bytes.copy_from_slice(&key(self.0));
        Ok(())
    }
}

fn private(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The source of this kind with the key of this number.
fn source(kind: &str, root: &Path, number: u64) -> Source {
    let text = BASE64.encode(&key(number));
    match kind {
        "file" => {
            private(&root.join("k/my.key"), text.as_bytes());
            Source::file(Some(root.join("k/my.key")), root.join("config/keys"))
        }
        "passphrase" => Source::passphrase(Passphrase::new(&format!("correct horse battery {number}"))),
        "recovery" => {
            let words = RecoveryWords::generate(&Fixed(number)).unwrap();
            Source::recovery(RecoveryWords::parse(&words.text()).unwrap())
        }
        "credential" => {
            private(&root.join("run/vault"), &key(number));
            Source::credential(Some(root.join("run")), "vault".to_owned())
        }
        "env" => Source::env("VAULT_KEY".to_owned(), Some(Zeroizing::new(text.into_bytes()))),
        "command" => Source::command(vec!["/bin/echo".to_owned(), text]),
        _ => unreachable!("{kind}"),
    }
}

fn request(folder: &Folder, source: Source) -> VaultRequest {
    VaultRequest { source: Arc::new(source), ..folder.request() }
}

/// The contents of all files that opening could change.
fn bytes(root: &Path) -> Vec<BTreeMap<PathBuf, Vec<u8>>> {
    ["data", "state"].map(|name| contents(&root.join(name))).into_iter().collect()
}

fn wrong_keys(kind: &'static str, name: &'static str) {
    let mut row = Row::new(name, 1);
    let folder = Folder::new();
    let root = folder.root.clone();
    runtime().block_on(async {
        // A recovery key is made for a vault that has another one.
        let (first, number) = if kind == "recovery" { ("file", u64::MAX) } else { (kind, 0) };
        let made = vault::open(&request(&folder, source(first, &root, number)), Arc::new(SystemRandom)).await.unwrap();
        if first != kind {
            let key = made.new_key(&source(kind, &root, 0)).await.unwrap();
            made.add_slot(&key, None, AuditEntry::by(Actor::Person, Action::VaultKeyAdd, NOW)).await.unwrap();
        }
        made.close().await.unwrap();
        let right = vault::open(&request(&folder, source(kind, &root, 0)), Arc::new(SystemRandom)).await.unwrap();
        right.close().await.unwrap();
        if kind == "passphrase" {
            // The parameters of the vault's slot take a third of a second for each try. A wrong passphrase is refused
            // with less as well.
            let cheap = "UPDATE record SET body = CAST(replace(replace(CAST(body AS TEXT), '\"memory_kib\":\"65536\"', \
                         '\"memory_kib\":\"8\"'), '\"passes\":\"3\"', '\"passes\":\"1\"') AS BLOB) WHERE kind = 1";
            assert_eq!(folder.edit(cheap), 1);
        }
        let before = bytes(&root);
        for number in 0..row.times as u64 {
            let opened = vault::open(&request(&folder, source(kind, &root, number + 1)), Arc::new(SystemRandom)).await;
            match opened.map(drop) {
                Err(OpenError::WrongKey { .. }) => {}
                ended => row.lose(format!("key {number}: {ended:?}")),
            }
            if bytes(&root) != before {
                row.lose(format!("key {number} changed a file"));
            }
        }
    });
    row.end();
}

#[test]
fn wrong_key_files() {
    wrong_keys("file", "wrong keys: file");
}

#[test]
fn wrong_passphrases() {
    wrong_keys("passphrase", "wrong keys: passphrase");
}

#[test]
fn wrong_recovery_words() {
    wrong_keys("recovery", "wrong keys: recovery words");
}

#[test]
fn wrong_credentials() {
    wrong_keys("credential", "wrong keys: credential");
}

#[test]
fn wrong_variables() {
    wrong_keys("env", "wrong keys: variable");
}

#[test]
fn wrong_commands() {
    wrong_keys("command", "wrong keys: command");
}
