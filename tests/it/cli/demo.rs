//! The demo: it shows an agent's calls, and leaves no files.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use super::Person;

#[test]
fn the_demo_shows_an_agents_calls_and_leaves_nothing_behind() {
    let person = Person::new();
    let temporary = person.home().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let ran = person.command(&["demo", "--json"]).env("TMPDIR", &temporary).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let told: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    let steps = told["steps"].as_array().unwrap();
    let codes: Vec<_> = steps.iter().filter_map(|step| step["answer"]["code"].as_str()).collect();
    assert_eq!(codes.len(), 3, "{steps:#?}");
    assert_ne!(codes[1], codes[2], "a single-use code is given once");
    assert!(steps.last().unwrap()["output"].as_str().unwrap().starts_with("sound: "), "{steps:#?}");
    assert!(!told.to_string().contains("JBSW"), "a seed is shown");

    let left: Vec<_> = fs::read_dir(person.home()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tmp"], "the person's own places");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

#[cfg(unix)]
#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind() {
    use rustix::process::{Pid, Signal, kill_process};

    let person = Person::new();
    let temporary = person.home().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = person.command(&["demo"]);
    let mut demo = command.env("TMPDIR", &temporary).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    while !lines.next().unwrap().unwrap().contains("get_totp_code") {}
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(130));
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}
