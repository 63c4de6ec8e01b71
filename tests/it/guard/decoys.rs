//! What the guard puts in the place of decoys: a code for one of them alone, in the form that the body has there.

use countersign::{
    clock::{Clock as _, SystemClock},
    domain::{
        seed::Seed,
        totp::{Period, Step, TotpParameters},
    },
};
use data_encoding::BASE32_NOPAD;

use super::*;

#[test]
fn two_decoys_of_one_step_are_not_the_same_code() {
    let guarded = Guarded::start();
    let (one, other) = (guarded.decoy(), guarded.decoy());
    assert_ne!(one, other);
    let mut browser = guarded.browser();
    post(&mut browser, "text/plain", &one);
    let code = guarded.site.last().end;
    assert!(code != one && code.len() == 6, "{code}");

    // The period is an hour, so the next code comes too late, unless the hour ends now.
    let (head, told) = post(&mut guarded.browser(), "text/plain", &other);
    let is_refused = head.starts_with("HTTP/1.1 502") && told.contains("no unused code");
    assert!(is_refused || told == other, "{head} {told}");
    let later = guarded.decoy();
    assert!(later != one && later != other, "a decoy that is asked for later is not a spent one");
    let sent = guarded.site.seen.lock().unwrap().iter().filter(|seen| seen.end == code).count();
    assert_eq!(sent, 1);

    // The page may send its own again.
    post(&mut guarded.browser(), "text/plain", &one);
    assert_eq!(guarded.site.last().end, code);
}

#[test]
fn a_code_that_begins_with_zero_is_a_number_in_json() {
    let guarded = Guarded::start_with(&seed(true));
    let decoy = guarded.decoy();
    assert!(!decoy.starts_with('0'));
    let body = format!("{{\"otp\":{decoy},\"s\":\"{decoy}\"}}");
    let (_, echo) = post(&mut guarded.browser(), "application/json", &body);
    let seen = guarded.site.last();
    let sent: Value = serde_json::from_str(&seen.end).unwrap_or_else(|cause| panic!("{cause}: {}", seen.end));
    let text = sent["s"].as_str().unwrap();
    assert!(text.starts_with('0') && text.len() == 6, "{text}");
    assert_eq!(sent["otp"].as_u64(), Some(text.parse().unwrap()));
    assert_eq!(seen.bytes, body.len());
    assert!(echo.contains(&format!("\"s\":\"{decoy}\"")), "{echo}");
}

/// A seed whose codes begin with a zero in this hour and in the next, or do not.
pub(super) fn seed(with_zero: bool) -> String {
    let step = u64::try_from(SystemClock.now().seconds() / 3600).unwrap();
    let totp = TotpParameters { period: Period::try_from(3600).unwrap(), ..TotpParameters::default() };
    let seeds = (0_u64..).map(|nth| BASE32_NOPAD.encode(format!("{nth:020}").as_bytes()));
    let begins = |seed: &Seed, step| totp.code_at(seed, Step(step)).digits().starts_with('0') == with_zero;
    let mut meant = seeds.filter(|text| {
        let seed = Seed::from_base32(text).unwrap();
        begins(&seed, step) && begins(&seed, step + 1)
    });
    meant.next().unwrap()
}
