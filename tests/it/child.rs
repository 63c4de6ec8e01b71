//! Children: processes that read what strangers made.

#![cfg(unix)]

use std::{path::Path, process::Command};

use countersign::{
    child::{ChildError, Children, Job},
    picture::Unread,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

type Read = Result<Vec<Zeroizing<String>>, Unread>;

/// Children that run a script of `tests/fixtures/children`.
fn script(name: &str) -> Children {
    Children::of(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/children").join(name))
}

/// Children that run the program.
fn program() -> Children {
    Children::of(env!("CARGO_BIN_EXE_countersign").into())
}

async fn read(children: &Children, input: &[u8]) -> Result<Read, ChildError> {
    children.run(Job::Picture, input).await
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new("tests/fixtures").join(name)).unwrap()
}

/// The process that a script said it is.
async fn process_in(file: &Path) -> u32 {
    for _ in 0..1_000_000 {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(id) = text.strip_suffix('\n') {
            return id.parse().unwrap();
        }
        tokio::task::yield_now().await;
    }
    panic!("the script did not start");
}

fn is_there(process: u32) -> bool {
    Command::new("kill").args(["-0", &process.to_string()]).output().unwrap().status.success()
}

#[tokio::test]
async fn a_picture_is_read_by_the_program_itself() {
    let texts = read(&program(), &fixture("qr-one.png")).await.unwrap().unwrap();
    assert!(texts[0].starts_with("otpauth://totp/"));
    assert_eq!(read(&program(), b"GIF89a").await.unwrap(), Err(Unread::NoPicture));
}

#[tokio::test]
async fn a_child_that_is_killed_answers_too_much_or_makes_no_sense_gives_no_answer() {
    assert!(matches!(read(&script("killed"), b"").await, Err(ChildError::Died(_))));
    assert!(matches!(read(&script("talkative"), b"").await, Err(ChildError::Answer)));
    assert!(matches!(read(&script("senseless"), b"").await, Err(ChildError::Answer)));
    assert!(matches!(read(&script("missing"), b"").await, Err(ChildError::Start(_))));
    let too_large = vec![0; Job::Picture.limits().input + 1];
    assert!(matches!(read(&program(), &too_large).await, Err(ChildError::TooLarge(_))));
}

#[tokio::test]
async fn a_child_has_no_environment() {
    let names = read(&script("environment"), b"").await.unwrap().unwrap();
    assert_eq!(names[0].as_str(), "");
}

#[tokio::test]
async fn a_child_out_of_time_is_killed_and_reaped() {
    let (place, children) = (TempDir::new().unwrap(), script("endless"));
    let file = place.path().join("id");
    let input = format!("{}\n", file.display());
    let reading = tokio::spawn(async move { read(&children, input.as_bytes()).await });
    let process = process_in(&file).await;

    // A paused clock runs ahead to the next timeout.
    tokio::time::pause();

    assert!(matches!(reading.await.unwrap(), Err(ChildError::OutOfTime(_))));
    assert!(!is_there(process));
}

#[tokio::test]
async fn a_child_that_nobody_waits_for_is_killed_and_reaped() {
    let (place, children) = (TempDir::new().unwrap(), script("endless"));
    let file = place.path().join("id");
    let input = format!("{}\n", file.display());
    let reading = tokio::spawn(async move { read(&children, input.as_bytes()).await });
    let process = process_in(&file).await;

    reading.abort();

    let _ = reading.await;
    for _ in 0..100_000 {
        if !is_there(process) {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the child is still there");
}

#[tokio::test]
async fn two_children_work_at_a_time_and_others_are_told_to_come_back() {
    let (place, children) = (TempDir::new().unwrap(), script("endless"));
    let mut readings = Vec::new();
    for nth in 0..2 {
        let file = place.path().join(format!("{nth}"));
        let (input, children) = (format!("{}\n", file.display()), children.clone());
        readings.push(tokio::spawn(async move { read(&children, input.as_bytes()).await }));
        process_in(&file).await;
    }

    // A paused clock runs ahead to the next timeout: that of a turn, because a debug build gives a picture more time.
    tokio::time::pause();
    let third = read(&children, b"").await;

    assert!(matches!(third, Err(ChildError::Busy)));
    for reading in readings {
        reading.abort();
        assert!(reading.await.is_err());
    }
}
