//! Child processes, which read untrusted input.

#![cfg(unix)]

use std::{path::Path, process::Command};

use countersign::{
    child::{ChildError, Children, Job},
    picture::Unread,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

type Read = Result<Vec<Zeroizing<String>>, Unread>;

/// Children that run a script from `tests/fixtures/children`.
fn script(name: &str) -> Children {
    Children::of(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/children").join(name))
}

/// Children that run the program.
fn program() -> Children {
    Children::of(env!("CARGO_BIN_EXE_countersign").into())
}

async fn read(children: &Children, input: &[u8]) -> Result<Read, ChildError> {
    children.run(Job::Picture, &[input]).await
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new("tests/fixtures").join(name)).unwrap()
}

/// Reads the process id that a script has written to a file.
async fn process_in(file: &Path) -> u32 {
    let mut tries = 0;
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if let Some(id) = text.strip_suffix('\n') {
            return id.parse().unwrap();
        }
        tries += 1;
        assert!(tries < 1_000_000, "the script did not start");
        tokio::task::yield_now().await;
    }
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

/// A PNG with this brightness for each pixel.
fn png(wide: u32, high: u32, pixels: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, wide, high);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
    file
}

/// The finder patterns of QR codes side by side, with a white module between each two: a reader that compares each with
/// each takes hours.
fn tiled_finder_patterns(side: u32) -> Vec<u8> {
    let ring = |at: u32| if at % 8 == 7 { 0 } else { 4 - (at % 8).abs_diff(3) };
    let grey = |x, y| if matches!(ring(x).min(ring(y)), 0 | 2) { 255 } else { 0 };
    let pixels: Vec<u8> = (0..side).flat_map(|y| (0..side).map(move |x| grey(x, y))).collect();
    png(side, side, &pixels)
}

/// One colour, so that a small file holds many pixels.
fn white(wide: u32, high: u32) -> Vec<u8> {
    png(wide, high, &vec![255; (wide * high) as usize])
}

#[tokio::test]
async fn hostile_pictures_end_in_an_error() {
    let tiled = tiled_finder_patterns(2000);
    assert!(tiled.len() < 64 * 1024, "{} bytes", tiled.len());
    let given_up = read(&program(), &tiled).await;
    // On a busy machine the limit of wall-clock time can end the child before that of processor time.
    let is_given_up = matches!(given_up, Err(ChildError::OutOfTime(_) | ChildError::Died(_)) | Ok(Err(Unread::NoCode)));
    assert!(is_given_up, "{given_up:?}");

    assert_eq!(read(&program(), &white(8000, 5000)).await.unwrap(), Err(Unread::NoCode));
    assert_eq!(read(&program(), &white(8000, 5001)).await.unwrap(), Err(Unread::TooManyPixels));
    for cut in ["qr-one.png", "qr-one.jpg", "qr-one-progressive.jpg", "qr-one.webp", "qr-one-lossless.webp"] {
        let whole = fixture(cut);
        for part in [0, 1, 4, 12, 16, 20, 26, 30] {
            assert_eq!(read(&program(), &whole[..part]).await.unwrap(), Err(Unread::NoPicture), "{cut}: {part}");
        }
        // The first third of a progressive picture shows the whole picture, less sharp.
        if let Ok(texts) = read(&program(), &whole[..whole.len() / 3]).await.unwrap() {
            assert!(cut.contains("progressive") && texts[0].contains(":alice@example.com?"), "{cut}");
        }
    }
}

/// A lossless WebP takes four bytes for each pixel while it is decoded.
#[tokio::test]
async fn a_lossless_webp_of_a_6k_screen_is_read_and_a_larger_one_is_told_another_format() {
    let (wide, high) = (6016, 3384);
    let mut white = Vec::new();
    let pixels = vec![255; (wide * high * 3) as usize];
    image_webp::WebPEncoder::new(&mut white).encode(&pixels, wide, high, image_webp::ColorType::Rgb8).unwrap();
    assert_eq!(read(&program(), &white).await.unwrap(), Err(Unread::NoCode));
    let larger = read(&program(), &fixture("white-16383x2400.webp")).await.unwrap();
    assert_eq!(larger, Err(Unread::TooManyColours));
    assert!(Unread::TooManyColours.to_string().contains("25 million pixels"));
    assert!(Unread::TooManyColours.to_string().contains("save it as PNG or JPEG"));
}

/// A lossy WebP takes four bytes for each pixel with transparency, and less for all else.
#[tokio::test]
async fn a_transparent_lossy_webp_of_a_6k_screen_is_read() {
    let texts = read(&program(), &fixture("qr-6016x3384-lossy-alpha.webp")).await.unwrap().unwrap();
    assert!(texts[0].starts_with("otpauth://totp/Example:alice"));
}

#[tokio::test]
async fn damaged_pictures_are_read_right_or_not_at_all() {
    for name in ["qr-one.png", "qr-one.jpg", "qr-one.webp", "qr-ink-alone-lossy.webp"] {
        let whole = fixture(name);
        let right = read(&program(), &whole).await.unwrap().unwrap();
        for nth in 0..12 {
            let mut damaged = whole.clone();
            let at = whole.len() / 13 * (nth + 1);
            damaged[at] ^= 0x55;
            if let Ok(Ok(texts)) = read(&program(), &damaged).await {
                assert_eq!(texts, right, "{name}: byte {at}");
            }
        }
    }
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
