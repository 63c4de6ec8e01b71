//! Every maximum as one constant, with its unit in its name and its reason in its comment.

use std::time::Duration;

use super::span::DAY;

/// Characters in a label, an issuer or a seat's name, after trimming: long enough for every service seen, short enough
/// for a terminal row and a model's context.
pub const TEXT_CHARS_MAX: usize = 256;
/// Bytes of a seed: HMAC takes more, but no service issues more, and a bound keeps rows small.
pub const SEED_BYTES_MAX: usize = 128;
/// Bytes of a text that can be a seed. The longest seed has 205 characters, possibly with a separator after each.
pub const SEED_TEXT_BYTES_MAX: usize = SEED_BYTES_MAX * 8;
/// Marks on one letter of a label: pointed Hebrew, Tibetan and Vietnamese need up to five or six; text that is made to
/// run over the lines around it has dozens.
pub const MARKS_MAX: usize = 8;
/// Seconds a code may live: RFC 6238 names 30; an hour is the longest period seen in real exports.
pub const PERIOD_SECONDS_MAX: u32 = 3600;
/// Seconds for which a token is valid if its request does not set them, as in the mirrored API.
pub const TOKEN_SECONDS_DEFAULT: u32 = 900;
/// Seconds for which a token may be valid: for longer, a person makes a key.
pub const TOKEN_SECONDS_MAX: u32 = 24 * 3600;
/// Live tokens of a key: one for each agent of a large fleet.
pub const TOKENS_MAX: u64 = 1000;
/// Rows of one page of a list.
pub const PAGE_ROWS_MAX: u32 = 1000;
/// Audit rows of one code that are shown: a fleet may read one code thousands of times.
pub const TRACED_ROWS_MAX: usize = 1000;
/// Rows of a page when an MCP client does not set them: a page must fit into a model's context.
pub const PAGE_ROWS_DEFAULT: u32 = 50;
/// Characters of the purpose that a caller claims for the audit log.
pub const PURPOSE_CHARS_MAX: usize = 128;
/// Characters of a client's claimed name or version. Longer claims are cut.
pub const CLAIM_CHARS_MAX: usize = 64;
/// Bytes of an HTTP body; a registration is under 4 KiB.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a file of seats that a person imports.
pub const IMPORT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Seats of a file that a person imports.
pub const IMPORT_SEATS_MAX: usize = 10_000;
/// Entries of the files of secrets that a person imports at once: more than any person has, and as many as fit into one
/// transaction's memory.
pub const IMPORT_ENTRIES_MAX: usize = 100_000;
/// Bytes of a file of secrets: apps export icons along with their entries, and password managers whole vaults.
pub const IMPORT_FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the key file of a `KeePass` database: any file may be one.
pub const IMPORT_KEY_FILE_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Characters of a remark on an entry or a file by the process that reads the file.
pub const IMPORT_REMARK_CHARS_MAX: usize = 1000;
/// Bytes of one file of an archive while it is unpacked, whatever its header states.
pub const IMPORT_UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Files of an archive: a vault's attachments are files too.
pub const IMPORT_ARCHIVE_FILES_MAX: usize = 1000;
/// Levels of nesting in an imported JSON document: password managers need about twelve.
pub const IMPORT_JSON_DEPTH_MAX: usize = 64;
/// Values of an imported JSON document: a value takes 32 bytes here and two in the file. Ten thousand logins with
/// everything that a password manager keeps of them have a million.
pub const IMPORT_JSON_VALUES_MAX: usize = 4_000_000;
/// Bytes of a field of an imported CSV file: notes are long, but not that long.
pub const IMPORT_CSV_FIELD_BYTES_MAX: usize = 64 * 1024;
/// Parts of one export of Google Authenticator, ten accounts each.
pub const GOOGLE_PARTS_MAX: u32 = 1000;
/// Rounds of PBKDF2 that an imported file may require: apps use up to a million. The numbers of a stranger's file are
/// checked before any work.
pub const IMPORT_PBKDF2_ROUNDS_MAX: u64 = 10_000_000;
/// The base-2 logarithm of scrypt's cost: with blocks of 1 KiB it takes 1 GiB, the most that an import may use.
pub const IMPORT_SCRYPT_LOG_MAX: u32 = 20;
/// Scrypt's parallelization, each a pass of the same cost.
pub const IMPORT_SCRYPT_PARALLEL_MAX: u64 = 4;
/// KiB of memory of Argon2: Ente once used 1 GiB.
pub const IMPORT_ARGON2_KIB_MAX: u64 = 1024 * 1024;
/// Passes of Argon2.
pub const IMPORT_ARGON2_PASSES_MAX: u64 = 64;
/// Lanes of Argon2.
pub const IMPORT_ARGON2_LANES_MAX: u64 = 16;
/// Rounds of AES in a `KeePass` database: a second of work on an old computer was 10 million.
pub const IMPORT_KDBX_ROUNDS_MAX: u64 = 100_000_000;
/// Bytes of memory for a key derivation above which the person is asked first.
pub const IMPORT_MEMORY_ASKED: u64 = 256 * 1024 * 1024;
/// Blocks of scrypt for all password slots of an imported file, each of which costs a key derivation: ten slots of the
/// highest cost take 80 seconds, as do hundreds of usual ones.
pub const IMPORT_SLOTS_BLOCKS_MAX: u64 = 10 << IMPORT_SCRYPT_LOG_MAX;
/// Bytes of a passphrase: of an imported file, or of the vault.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;
/// Characters of a passphrase that opens the vault or an export: an attacker who has a copy can try passphrases offline.
pub const PASSPHRASE_CHARS_MIN: usize = 12;
/// Ways to open a vault at once. Each slot of a passphrase costs a derivation.
pub const VAULT_KEYS_MAX: usize = 16;
/// Bytes of one line on standard input in the stdio sidecar.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Levels of nesting of a JSON argument: no argument of ours is deeper, and depth costs stack.
pub const JSON_DEPTH_MAX: usize = 32;
/// Bytes of an `otpauth://` URI: a label once and an issuer twice (label and query), each of 256 characters of 4 bytes,
/// percent-encoded to 3 characters a byte, a 128-byte seed and the rest.
pub const URI_BYTES_MAX: usize = 10 * 1024;
/// Bytes of a picture's file.
pub const PICTURE_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Pixels of a picture: two 5K screens side by side, or a telephone's photograph. Decoding takes one byte for each
/// pixel, and finding the code another.
pub const PICTURE_PIXELS_MAX: usize = 40_000_000;
/// Pixels of a WebP picture that has to be decoded with its colours: a 6K screen. The decoder takes four bytes for each,
/// all at once, and the reader has 128 MiB, of which the file may take 10 twice.
pub const PICTURE_COLOURED_PIXELS_MAX: usize = 25_000_000;
/// Links in one picture among which a person can choose.
pub const PICTURE_LINKS_MAX: usize = 20;
/// Bytes of pictures that the page of one process has in memory at once: four of the largest. Further bytes wait on
/// their connection.
pub const PICTURES_BYTES_MAX: usize = 4 * PICTURE_BYTES_MAX;
/// Seconds that must be left of a code that is typed into a page, by default: the page has to send it on.
pub const FILL_VALIDITY_DEFAULT: u32 = 5;
/// Characters of a selector of CSS.
pub const SELECTOR_CHARS_MAX: usize = 1000;
/// Seconds a caller waits for a code by default.
pub const WAIT_SECONDS_DEFAULT: u32 = 45;
/// The most seconds a caller may wait for a code.
pub const WAIT_SECONDS_MAX: u32 = 120;
/// Callers that may wait in one process; each holds a timer and a small task.
pub const WAITERS_PER_PROCESS_MAX: usize = 1024;
/// Callers that may wait for one key, so that one key can't take all places.
pub const WAITERS_PER_KEY_MAX: usize = 16;
/// Callers that may wait in a stdio sidecar, or in the process of a person, which may be a guard: it has one client, which may
/// take every place.
pub const WAITERS_STDIO_MAX: usize = WAITERS_PER_PROCESS_MAX;
/// Searches and whole lists of one caller that run at once.
pub const LONG_READS_AT_ONCE: usize = 2;
/// Long reads of one caller that wait for a turn: as many as it may have MCP sessions.
pub const LONG_READS_WAITING_MAX: usize = 64;
/// Seconds that a long read waits for its turn: less than any client waits.
pub const LONG_READ_WAIT_SECONDS_MAX: u64 = 5;
/// Refusals a minute from one source that get a row each; the rest become one counter row.
pub const REFUSALS_PER_MINUTE_MAX: u32 = 100;
/// Days during which a person can restore a deleted secret.
pub const RESTORE_DAYS: i64 = 7;
/// The fewest days the audit log is kept before it may be pruned.
pub const AUDIT_DAYS_MIN: i64 = 365;
/// [`AUDIT_DAYS_MIN`] as a duration.
pub const AUDIT_KEPT_MIN: Duration = Duration::from_secs(AUDIT_DAYS_MIN.unsigned_abs() * DAY);
/// Wrong codes in a row before verification of a secret slows down.
pub const VERIFY_TRIES_FREE: u32 = 5;
/// The longest delay of a verification, in seconds.
pub const VERIFY_DELAY_SECONDS_MAX: u64 = 15 * 60;
/// Characters of the name of an account or a key.
pub const NAME_CHARS_MAX: usize = 64;
/// Secrets in a key's grant.
pub const GRANTS_MAX: usize = 1000;
/// The highest hourly limit of codes of a key or a seat: one a second.
pub const CODES_PER_HOUR_MAX: u32 = 3600;
/// Characters of a seat's e-mail address (RFC 5321 path length).
pub const EMAIL_CHARS_MAX: usize = 254;
/// Characters of an `auth_subject`, the user's id at an identity provider (`OpenID` Connect Core: 255 ASCII characters).
pub const SUBJECT_CHARS_MAX: usize = 255;
/// Seconds for which a repeat with the same `Idempotency-Key` gets the first answer: a day.
pub const IDEMPOTENCY_SECONDS: i64 = 86_400;
/// Characters of an `Idempotency-Key`.
pub const IDEMPOTENCY_CHARS_MAX: usize = 255;
/// Seconds for which the link of an enrolment works: long enough to find a telephone and a web page's settings.
pub const ENROLMENT_SECONDS: u64 = 600;
/// Seconds for which an enrolment is kept after its end, so that its result can be queried: a day.
pub const ENROLMENT_KEPT_SECONDS: u64 = 86_400;
/// Seconds that a call waits for the end of an enrolment. Clients give up after a minute, and the tool's description
/// states 45 at most: each of the naps ends a little late, and the answer takes its time, too.
pub const ENROLMENT_WAIT_SECONDS: u64 = 44;
/// Open enrolments of one caller: a person answers one at a time.
pub const ENROLMENTS_OPEN_MAX: usize = 16;
/// Enrolments of one account, open or kept: they are read whenever another one begins.
pub const ENROLMENTS_PER_ACCOUNT_MAX: usize = 1024;
/// Wrong proofs that end an enrolment.
pub const ENROLMENT_TRIES_MAX: u32 = 5;
/// Enrolments whose seeds one process keeps in memory between the two steps of its page: one seed each, or those of a
/// picture.
pub const STAGED_SEEDS_MAX: usize = 64;
/// The fewest characters of a seat's PIN.
pub const PIN_CHARS_MIN: usize = 6;
/// The most characters of a seat's PIN.
pub const PIN_CHARS_MAX: usize = 64;
