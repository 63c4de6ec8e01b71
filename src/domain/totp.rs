//! Codes: RFC 6238 over `totp-rs`, with types that exclude invalid parameters.

use std::{fmt, num::NonZeroU32, str::FromStr};

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{limits::PERIOD_SECONDS_MAX, seed::Seed, time::Timestamp};

/// The HMAC's hash function (RFC 6238 §1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Algorithm {
    /// HMAC-SHA-1, which nearly every service uses.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// The number of digits of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Digits {
    /// Six, the default.
    #[default]
    Six,
    /// Eight.
    Eight,
}

/// The seconds for which a code is valid: 1..=3600.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period(NonZeroU32);

/// The parameters of a code besides the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TotpParameters {
    /// The hash function.
    pub algorithm: Algorithm,
    /// The number of digits.
    pub digits: Digits,
    /// The seconds for which a code is valid.
    pub period: Period,
}

/// The number of a time step: seconds since 1970 divided by the period (RFC 6238 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(pub u64);

/// The value is not an accepted one. The caller adds the field's name and the accepted values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an accepted value")]
pub struct NotAccepted;

/// A code. It is wiped on drop and has no `Debug`, because it opens an account while it is valid.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Code(String);

impl Algorithm {
    /// The mirrored API's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// Bytes of a generated seed: 160 bits for every algorithm, as the contract says.
    pub const GENERATED_SEED_BYTES: usize = 20;
}

/// Reads the spellings that services use: `SHA1`, `sha-256`, `HMAC-SHA512`, `HmacSHA1`.
impl FromStr for Algorithm {
    type Err = NotAccepted;

    fn from_str(text: &str) -> Result<Self, NotAccepted> {
        let name = text.to_ascii_uppercase();
        let hash = name.strip_prefix("HMAC").map_or(name.as_str(), without_joint);
        match hash.strip_prefix("SHA").map(without_joint) {
            Some("1") => Ok(Self::Sha1),
            Some("256") => Ok(Self::Sha256),
            Some("512") => Ok(Self::Sha512),
            _ => Err(NotAccepted),
        }
    }
}

fn without_joint(text: &str) -> &str {
    text.strip_prefix(['-', '_']).unwrap_or(text)
}

impl Digits {
    /// The number itself.
    pub const fn get(self) -> u8 {
        match self {
            Self::Six => 6,
            Self::Eight => 8,
        }
    }
}

impl TryFrom<u64> for Digits {
    type Error = NotAccepted;

    fn try_from(count: u64) -> Result<Self, NotAccepted> {
        match count {
            6 => Ok(Self::Six),
            8 => Ok(Self::Eight),
            _ => Err(NotAccepted),
        }
    }
}

impl Period {
    /// Seconds.
    pub const fn seconds(self) -> u32 {
        self.0.get()
    }
}

impl Default for Period {
    fn default() -> Self {
        const { Self(NonZeroU32::new(30).unwrap()) }
    }
}

impl TryFrom<u64> for Period {
    type Error = NotAccepted;

    fn try_from(seconds: u64) -> Result<Self, NotAccepted> {
        u32::try_from(seconds)
            .ok()
            .filter(|seconds| *seconds <= PERIOD_SECONDS_MAX)
            .and_then(NonZeroU32::new)
            .map(Self)
            .ok_or(NotAccepted)
    }
}

impl TotpParameters {
    /// The step of `now`. Before 1970 it is step 0: a wrong clock gives wrong codes but never panics.
    pub fn step_at(&self, now: Timestamp) -> Step {
        Step(u64::try_from(now.seconds()).unwrap_or(0) / u64::from(self.period.seconds()))
    }

    /// When a step begins.
    pub fn start_of(&self, step: Step) -> Timestamp {
        let seconds = step.0.saturating_mul(u64::from(self.period.seconds()));
        Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// Whole seconds until the code of `now` rotates: 1..=period.
    pub fn expires_in(&self, now: Timestamp) -> u32 {
        let period = i64::from(self.period.seconds());
        u32::try_from(period - now.seconds().rem_euclid(period)).unwrap_or(1)
    }

    /// The code of a step.
    pub fn code_at(&self, seed: &Seed, step: Step) -> Code {
        let algorithm = match self.algorithm {
            Algorithm::Sha1 => totp_rs::Algorithm::SHA1,
            Algorithm::Sha256 => totp_rs::Algorithm::SHA256,
            Algorithm::Sha512 => totp_rs::Algorithm::SHA512,
        };
        // Real services issue 80-bit seeds, shorter than the 128 bits that RFC 4226 requires and `build` enforces.
        let totp = totp_rs::Builder::new()
            .with_algorithm(algorithm)
            .with_digits(self.digits.get())
            .with_step_duration(1)
            .with_secret(seed.expose())
            .build_noncompliant();
        Code(totp.generate(step.0).to_string())
    }
}

impl Code {
    /// Makes a decoy: digits in the place of a code, from a random number. None begins with a zero, which is lost in a
    /// page that makes a number of what was typed.
    pub fn decoy(digits: Digits, random: u64) -> Self {
        let least = 10_u64.pow(u32::from(digits.get()).saturating_sub(1));
        Self((least + random % (9 * least)).to_string())
    }

    /// The digits, with leading zeros. Search for `digits()` to find every place that shows a code.
    pub fn digits(&self) -> &str {
        &self.0
    }

    /// Whether a typed code equals this one, in time that does not depend on where they differ.
    pub fn matches(&self, typed: &str) -> bool {
        self.0.as_bytes().ct_eq(typed.as_bytes()).into()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;
    use crate::domain::limits::SEED_BYTES_MAX;

    const ALGORITHMS: [Algorithm; 3] = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];

    fn seed(bytes: &[u8]) -> Seed {
        Seed::from_bytes(Zeroizing::new(bytes.to_vec())).unwrap()
    }

    fn period(seconds: u64) -> Period {
        Period::try_from(seconds).unwrap()
    }

    /// The digits `1234567890` repeated, as in the seeds of both RFCs.
    fn rfc_seed(algorithm: Algorithm) -> Seed {
        let length = match algorithm {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        };
        seed(&b"1234567890".repeat(7)[..length])
    }

    /// The codes of the RFC's seed at the times of RFC 6238, appendix B.
    #[track_caller]
    fn check(algorithm: Algorithm, expected: [&str; 6]) {
        let totp = TotpParameters { algorithm, digits: Digits::Eight, period: Period::default() };
        let times = [59, 1_111_111_109, 1_111_111_111, 1_234_567_890, 2_000_000_000, 20_000_000_000];
        for (time, expected) in times.into_iter().zip(expected) {
            let step = totp.step_at(Timestamp::from_seconds(time));
            assert_eq!(totp.code_at(&rfc_seed(algorithm), step).digits(), expected, "{algorithm} at {time}");
        }
    }

    #[test]
    fn codes_are_those_of_rfc_6238_appendix_b() {
        check(Algorithm::Sha1, ["94287082", "07081804", "14050471", "89005924", "69279037", "65353130"]);
        check(Algorithm::Sha256, ["46119246", "68084774", "67062674", "91819424", "90698825", "77737706"]);
        check(Algorithm::Sha512, ["90693936", "25091201", "99943326", "93441116", "38618901", "47863826"]);
    }

    #[test]
    fn codes_are_those_of_rfc_4226_appendix_d() {
        let expected =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (count, expected) in (0..).zip(expected) {
            let code = TotpParameters::default().code_at(&rfc_seed(Algorithm::Sha1), Step(count));
            assert_eq!(code.digits(), expected, "count {count}");
        }
    }

    #[test]
    fn a_step_begins_at_a_multiple_of_the_period_and_ends_before_the_next() {
        let totp = TotpParameters { period: period(45), ..TotpParameters::default() };
        let at = Timestamp::from_micros;
        for (micros, step, left) in [(0, 0, 45), (44_999_999, 0, 1), (45_000_000, 1, 45), (46_500_000, 1, 44)] {
            assert_eq!((totp.step_at(at(micros)), totp.expires_in(at(micros))), (Step(step), left), "{micros}");
        }
        assert_eq!(totp.start_of(Step(2)), Timestamp::from_seconds(90));
    }

    #[test]
    fn a_wrong_clock_never_panics() {
        let totp = TotpParameters::default();
        for micros in [i64::MIN, i64::MIN + 1, -1, i64::MAX] {
            let now = Timestamp::from_micros(micros);
            assert!((1..=30).contains(&totp.expires_in(now)));
            assert_eq!(totp.code_at(&seed(b"x"), totp.step_at(now)).digits().len(), 6);
        }
        assert_eq!(totp.step_at(Timestamp::from_seconds(-1)), Step(0));
        assert_eq!(totp.start_of(Step(u64::MAX)).micros(), i64::MAX);
        assert_eq!(totp.code_at(&seed(b"x"), Step(u64::MAX)).digits().len(), 6);
    }

    #[test]
    fn digits_and_periods_are_taken_at_their_limits_and_not_one_past_them() {
        let digits = |count| Digits::try_from(count).map(Digits::get);
        assert_eq!([5, 6, 7, 8, 9].map(digits), [Err(NotAccepted), Ok(6), Err(NotAccepted), Ok(8), Err(NotAccepted)]);

        let seconds = |count| Period::try_from(count).map(Period::seconds);
        let longest = PERIOD_SECONDS_MAX;
        assert_eq!([0, 1].map(seconds), [Err(NotAccepted), Ok(1)]);
        assert_eq!([longest, longest + 1].map(|count| seconds(count.into())), [Ok(longest), Err(NotAccepted)]);
        assert_eq!(seconds(u64::from(u32::MAX) + 31), Err(NotAccepted));
    }

    #[test]
    fn algorithms_read_back_what_they_print_and_nothing_else() {
        for algorithm in ALGORITHMS {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        for text in ["", "MD5", "SHA", "SHA-224", "HMAC", "HMACHMACSHA1", " SHA1", "SHA--1", "S-H-A-1", "1", "SHA1-"] {
            assert_eq!(text.parse::<Algorithm>(), Err(NotAccepted), "{text}");
        }
    }

    #[test]
    fn a_code_matches_itself_alone() {
        let code = TotpParameters::default().code_at(&rfc_seed(Algorithm::Sha1), Step(0));
        assert!(code.matches("755224"));
        for typed in ["", "755225", "75522", "7552240", " 755224", "0755224"] {
            assert!(!code.matches(typed), "{typed}");
        }
    }

    /// RFC 4226 §5.3 over another library's HMAC: dynamic truncation, written from the RFC's text.
    fn oracle(totp: TotpParameters, seed: &[u8], seconds: u64) -> String {
        let algorithm = match totp.algorithm {
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
        };
        let count = seconds / u64::from(totp.period.seconds());
        let tag = hmac::sign(&hmac::Key::new(algorithm, seed), &count.to_be_bytes());
        let hash = tag.as_ref();
        let offset = usize::from(hash[hash.len() - 1] & 0x0f);
        let number = u32::from_be_bytes(hash[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
        match totp.digits {
            Digits::Six => format!("{:06}", number % 1_000_000),
            Digits::Eight => format!("{:08}", number % 100_000_000),
        }
    }

    fn parameters() -> impl Strategy<Value = TotpParameters> {
        let digits = prop_oneof![Just(Digits::Six), Just(Digits::Eight)];
        (proptest::sample::select(&ALGORITHMS), digits, 1..=u64::from(PERIOD_SECONDS_MAX))
            .prop_map(|(algorithm, digits, seconds)| TotpParameters { algorithm, digits, period: period(seconds) })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn codes_are_those_of_an_independent_hmac(
            totp in parameters(),
            bytes in proptest::collection::vec(any::<u8>(), 1..=SEED_BYTES_MAX),
            seconds in prop_oneof![0..4_000_000_000_u32, 1_700_000_000..2_000_000_000_u32],
        ) {
            let code = totp.code_at(&seed(&bytes), totp.step_at(Timestamp::from_seconds(seconds.into())));
            let expected = oracle(totp, &bytes, seconds.into());
            prop_assert_eq!(code.digits(), expected.as_str());
            prop_assert!(code.matches(&expected));
        }

        #[test]
        fn a_step_holds_its_moments_and_says_when_it_ends(totp in parameters(), micros in 0..=i64::MAX / 2) {
            let now = Timestamp::from_micros(micros);
            let step = totp.step_at(now);
            let (start, end) = (totp.start_of(step), totp.start_of(Step(step.0 + 1)));
            prop_assert!(start <= now && now < end);
            prop_assert_eq!(i64::from(totp.expires_in(now)), end.seconds() - now.seconds());
            prop_assert!((1..=totp.period.seconds()).contains(&totp.expires_in(now)));
        }
    }
}
