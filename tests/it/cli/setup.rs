//! The configuration files of MCP hosts: what is written into them, and what is kept.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::Person;

const HOSTS: [&str; 11] = [
    "claude-desktop",
    "claude-code",
    "cursor",
    "vscode",
    "windsurf",
    "zed",
    "cline",
    "codex",
    "gemini-cli",
    "goose",
    "opencode",
];

fn entry_of_cursor(person: &Person) -> Value {
    let text = fs::read_to_string(person.home().join(".cursor/mcp.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["mcpServers"]["countersign"].clone()
}

#[test]
fn every_host_is_set_up_once() {
    let person = Person::new();
    for host in HOSTS {
        let told = person.run(&["setup", host, "--yes", "--json"]).json();
        let file = PathBuf::from(told["file"].as_str().unwrap());
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(env!("CARGO_BIN_EXE_countersign")), "{host}: {text}");
        assert!(file.starts_with(person.home()), "{}", file.display());

        let again = person.run(&["setup", host]).ok();
        assert!(again.contains("has it already"), "{again}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let listed = person.run(&["setup"]).ok();
    assert_eq!(listed.matches("set up").count(), HOSTS.len(), "{listed}");
    assert!(!person.home().join(".local").exists(), "no vault is made");
}

#[test]
fn the_list_tells_which_hosts_are_here() {
    let person = Person::new();
    fs::create_dir(person.home().join(".gemini")).unwrap();
    let hosts = person.run(&["setup", "--json"]).json();
    let state = |host: &str| {
        let hosts = hosts["hosts"].as_array().unwrap();
        hosts.iter().find(|each| each["host"] == host).unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!((state("gemini-cli").as_str(), state("zed").as_str()), ("not_set_up", "not_found"));
}

#[test]
fn the_place_that_a_host_uses_already_is_taken() {
    let person = Person::new();
    let file = |host: &str| person.run(&["setup", host, "--yes", "--json"]).json()["file"].as_str().unwrap().to_owned();
    // The places are tried in the order of their certainty.
    assert!(file("cline").contains("/.cline/data/settings/"));
    fs::remove_dir_all(person.home().join(".cline")).unwrap();
    let extension = ".config/Code/User/globalStorage/saoudrizwan.claude-dev";
    fs::create_dir_all(person.home().join(extension)).unwrap();
    assert!(file("cline").contains(extension));
    fs::create_dir_all(person.home().join(".cline")).unwrap();
    assert!(file("cline").contains(extension), "a file is there");
    assert!(file("opencode").ends_with("/opencode.json"));
    fs::rename(
        person.home().join(".config/opencode/opencode.json"),
        person.home().join(".config/opencode/opencode.jsonc"),
    )
    .unwrap();
    assert!(file("opencode").ends_with("/opencode.jsonc"));
}

#[test]
fn the_entry_starts_the_sidecar_on_the_same_vault() {
    let person = Person::with_alice();
    fs::create_dir(person.home().join(".cursor")).unwrap();
    let words = ["setup", "cursor", "--yes", "--data-dir", "other", "--scope", "secrets:read", "--reveal", "never"];
    person.run(&words).ok();
    let entry = entry_of_cursor(&person);
    let other = person.home().join("other");
    let expected = ["--data-dir", other.to_str().unwrap(), "stdio", "--scope", "secrets:read", "--reveal", "never"];
    assert_eq!(entry["args"], json!(expected));

    // A host does not pass variables on.
    let mut command = person.command(&["setup", "cursor", "--yes"]);
    assert!(command.env("COUNTERSIGN_DATA_DIR", &other).output().unwrap().status.success());
    assert_eq!(entry_of_cursor(&person)["args"], json!(["--data-dir", other.to_str().unwrap(), "stdio"]));

    let collector = "http://127.0.0.1:4318";
    person.run(&["setup", "cursor", "--yes", "--otlp-endpoint", collector]).ok();
    let expected = json!(["stdio", "--otlp-endpoint", collector]);
    assert_eq!(entry_of_cursor(&person)["args"], expected);
    person.run(&["setup", "cursor", "--yes"]).ok();
    assert_eq!(entry_of_cursor(&person)["args"], json!(["stdio"]));
    let mut command = person.command(&["setup", "cursor", "--yes"]);
    assert!(command.env("COUNTERSIGN_OTLP_ENDPOINT", collector).output().unwrap().status.success());
    assert_eq!(entry_of_cursor(&person)["args"], expected);

    person.run(&["setup", "cursor", "--yes"]).ok();
    let entry = entry_of_cursor(&person);
    let arguments = entry["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let mut started = Command::new(entry["command"].as_str().unwrap());
    let started = started.env_clear().env("HOME", person.home()).current_dir("/").args(arguments);
    let mut started = started.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18",
        "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_totp_secrets", "arguments": {}}});
    let lines = format!("{call}\n{}\n{list}\n", json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    started.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let told = String::from_utf8(started.wait_with_output().unwrap().stdout).unwrap();
    assert!(told.contains("alice"), "{told}");
}

#[test]
fn a_file_that_is_there_is_kept_and_shown_first() {
    let person = Person::new();
    fs::create_dir(person.home().join(".cursor")).unwrap();
    let before = "{\n  // mine\n  \"mcpServers\": {\n    \"other\": { \"command\": \"x\" },\n  },\n}\n";
    let file = person.file(".cursor/mcp.json", before);

    // The person has not agreed.
    let refused = person.run(&["setup", "cursor"]).refused(2);
    assert!(refused.contains("+    \"countersign\": {") && refused.contains("--yes"), "{refused}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before);

    let told = person.run(&["setup", "cursor", "--yes", "--json"]).json();
    assert_eq!(fs::read_to_string(told["backup"].as_str().unwrap()).unwrap(), before);
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.contains("// mine") && after.contains("\"other\": { \"command\": \"x\" },"), "{after}");
}

#[test]
fn print_writes_nothing() {
    let person = Person::new();
    for host in HOSTS {
        let printed = person.run(&["setup", host, "--print"]);
        assert!(printed.err.contains("nothing was written"), "{printed:?}");
        assert!(printed.ok().contains(env!("CARGO_BIN_EXE_countersign")));
    }
    let left: Vec<_> = fs::read_dir(person.home()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_cant_be_changed_is_left_as_it_was_and_not_quoted() {
    let person = Person::new();
    fs::create_dir(person.home().join(".cursor")).unwrap();
    for (text, problem) in [
        ("{\"mcpServers\": {\n\"x\": hunter2", "line 2 can't be read as JSON"),
        ("[\"hunter2\"]", "is not what this expects there"),
    ] {
        let file = person.file(".cursor/mcp.json", text);
        let refused = person.run(&["setup", "cursor", "--yes"]).refused(1);
        assert!(refused.contains(problem) && refused.contains("--print"), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let file = person.home().join(".cursor/mcp.json");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert!(person.run(&["setup", "cursor", "--yes"]).refused(1).contains("is no file"));
    let secret = ["setup", "zed", "--yes", "--store", "postgres://countersign:hunter2@db/vault"];
    let refused = person.run(&secret).refused(2);
    assert!(refused.contains("--store holds a password") && !refused.contains("hunter2"), "{refused}");
    person.run(&["setup", "emacs"]).refused(2);
}

#[cfg(unix)]
#[test]
fn a_link_stays_one_and_the_files_mode_too() {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    let person = Person::new();
    fs::create_dir(person.home().join(".cursor")).unwrap();
    let file = person.file("dotfiles.json", "{}\n");
    crate::sqlite::set_mode(&file, 0o640);
    let link = person.home().join(".cursor/mcp.json");
    symlink(&file, &link).unwrap();
    person.run(&["setup", "cursor", "--yes"]).ok();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(fs::read_to_string(&file).unwrap().contains("countersign"));
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o640);
    // No temporary file is left beside it.
    assert!(!person.home().join("dotfiles.json.countersign-new").exists());
}
