//! Completions for shells: the script, and the answers to its calls.

use super::Person;
use crate::kit::RFC_SEED;

/// The program's completions of a command line.
fn completed(person: &Person, words: &[&str]) -> Vec<String> {
    let index = words.len().to_string();
    let mut command = person.command(&[&["--", "countersign"], words].concat());
    let command = command.env("COUNTERSIGN_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index);
    let ran = command.output().unwrap();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{ran:?}");
    String::from_utf8(ran.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn every_shell_gets_a_script_that_calls_the_program() {
    let person = Person::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = person.run(&["completions", shell]).ok();
        assert!(
            script.contains("COUNTERSIGN_COMPLETE") && script.contains(env!("CARGO_BIN_EXE_countersign")),
            "{script}"
        );
    }
    person.run(&["completions", "tcsh"]).refused(2);
    assert!(!person.home().join(".local").exists(), "no vault is made");
}

#[test]
fn commands_flags_and_values_are_completed() {
    let person = Person::new();
    assert_eq!(completed(&person, &["co"]), ["code", "completions"]);
    assert_eq!(completed(&person, &["secret", "exp"]), ["export"]);
    assert!(completed(&person, &["code", "--wa"]).contains(&"--watch".to_owned()));
    assert_eq!(completed(&person, &["setup", "claude"]), ["claude-desktop", "claude-code"]);
    assert_eq!(completed(&person, &["code", "x"]), Vec::<String>::new(), "there is no vault");
    assert!(!person.home().join(".local").exists(), "no vault is made");
}

#[test]
fn names_come_from_the_vault_that_is_meant() {
    let person = Person::with_alice();
    let add = |label: &str, data: &[&str]| {
        let add = ["secret", "add", "--stdin", "--label", label];
        person.fed(RFC_SEED, &[&add[..], data].concat()).ok();
    };
    add("$(touch owned)", &[]);
    add("elsewhere", &["--data-dir", "other"]);
    person.run(&["seat", "add", "--email", "ada@corp.com"]).ok();
    person.run(&["key", "create", "--name", "night"]).ok();

    let all = completed(&person, &["code", ""]);
    let id = all.iter().find(|name| name.len() == 36).unwrap();
    assert!(all.contains(&"alice".to_owned()) && !all.iter().any(|name| name.contains("touch")), "{all:?}");
    person.run(&["secret", "show", id]).ok();
    for words in [&["secret", "show", "al"][..], &["secret", "rm", "al"], &["verify", "al"], &["code", "-c", "al"]] {
        assert_eq!(completed(&person, words), ["alice"], "{words:?}");
    }
    assert_eq!(completed(&person, &["code", "--data-dir", "other", "el"]), ["elsewhere"]);
    assert_eq!(completed(&person, &["code", "alice", "--seat", "a"]), ["ada@corp.com"]);
    assert_eq!(completed(&person, &["seat", "show", "a"]), ["ada@corp.com"]);
    assert_eq!(completed(&person, &["key", "revoke", "n"]), ["night"]);
}

#[test]
fn an_issuer_is_offered_where_it_names_one_secret_in_the_case_that_is_typed() {
    let person = Person::new();
    for (label, issuer) in
        [("ada", "GitHub"), ("bot", "GitHub"), ("bob@forge", "Acme"), ("eve", "Forge"), ("Dan", "Two words")]
    {
        person.fed(RFC_SEED, &["secret", "add", "--stdin", "--label", label, "--issuer", issuer]).ok();
    }
    assert_eq!(completed(&person, &["code", "Ac"]), ["Acme"]);
    assert_eq!(completed(&person, &["code", "ac"]), ["acme"]);
    person.run(&["code", "acme"]).ok();
    for (typed, why) in
        [("Git", "two secrets"), ("For", "the label of another"), ("Two", "no word"), ("Zz", "nobody's")]
    {
        assert_eq!(completed(&person, &["code", typed]), Vec::<String>::new(), "{why}");
    }
    assert_eq!(completed(&person, &["code", "da"]), ["dan"]);
    let all = completed(&person, &["code", ""]);
    assert!(all.contains(&"ada".to_owned()) && !all.contains(&"Acme".to_owned()), "nothing is typed: {all:?}");
}

/// Runs bash itself, which every machine that runs these tests has.
#[cfg(unix)]
#[test]
fn bash_completes_a_name() {
    let person = Person::with_alice();
    let script = person.run(&["completions", "bash"]).ok();
    let file = person.file("completions.sh", &script);
    let asked = format!(
        "source '{}'; COMP_WORDS=(countersign code al); COMP_CWORD=2; COMP_TYPE=9; _clap_complete_countersign countersign al code; \
         echo \"${{COMPREPLY[@]}}\"",
        file.display()
    );
    let ran = std::process::Command::new("bash")
        .env_clear()
        .env("HOME", person.home())
        .args(["-c", &asked])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(ran.stdout).unwrap().trim(), "alice", "{}", String::from_utf8_lossy(&ran.stderr));
}
