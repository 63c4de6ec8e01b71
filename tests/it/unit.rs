//! The unit for systemd: the program that it names exists, and its settings start a server. systemd checks the rest in
//! `.ci/run`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

const UNIT: &str = include_str!("../../packaging/systemd/countersign.service");

/// The values of a setting, in order.
fn set(name: &str) -> Vec<&'static str> {
    UNIT.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

/// The unit's command with its environment, as systemd would start it with this folder in place of `/var/lib`.
fn command(states: &Path, credential: &[u8]) -> Command {
    let mut words = set("ExecStart")[0].split(' ');
    assert_eq!(Path::new(words.next().unwrap()).file_name().unwrap(), "countersign");
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.env_clear().args(words).args(["--listen", "127.0.0.1:0"]).current_dir("/");
    for variable in set("Environment") {
        let (name, value) = variable.split_once('=').unwrap();
        command.env(name, value.replace("%S", states.to_str().unwrap()));
    }
    let (name, _) = set("LoadCredentialEncrypted")[0].split_once(':').unwrap();
    let credentials = states.join("credentials");
    private_dir(&credentials);
    fs::write(credentials.join(name), credential).unwrap();
    fs::set_permissions(credentials.join(name), fs::Permissions::from_mode(0o400)).unwrap();
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn private_dir(path: &Path) {
    let _ = fs::remove_dir_all(path);
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_the_unit_sets_starts_a_server_whose_vault_opens_by_the_credential_alone() {
    let folder = tempfile::tempdir().unwrap();
    let states = folder.path().canonicalize().unwrap();
    assert_eq!(set("StateDirectoryMode"), ["0700"]);
    for name in set("StateDirectory")[0].split(' ') {
        private_dir(&states.join(name));
    }
    let mut server = command(&states, &[7; 32]).spawn().unwrap();
    let mut said = BufReader::new(server.stderr.take().unwrap()).lines();
    let first = said.find(|line| line.as_ref().is_ok_and(|line| line.contains("listening on")));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(first.is_some(), "{:?}", said.collect::<Vec<_>>());
    let there = |path: &str| fs::read_dir(states.join(path)).unwrap().count();
    assert!(states.join("countersign/data/vault.db").exists() && there("countersign/state") > 0);

    // Exit statuses after which a restart does not help.
    let output = command(&states, &[8; 32]).output().unwrap();
    let prevented: Vec<i32> = set("RestartPreventExitStatus")[0].split(' ').map(|code| code.parse().unwrap()).collect();
    assert!(output.status.code().is_some_and(|code| prevented.contains(&code)), "{output:?}");
    let wrong = command(&states, &[7; 32]).arg("--nonsense").output().unwrap();
    assert!(wrong.status.code().is_some_and(|code| prevented.contains(&code)), "{wrong:?}");
}
