//! The domain: TOTP, secrets, seats, keys, the audit log and the rules that hold for them.
//!
//! Never here: I/O, a clock, randomness, async, or another room's name. Nothing depends on a disk or a network, so
//! everything is tested as plain functions.

pub mod account;
pub mod age;
pub mod api_key;
pub mod audit;
pub mod browser_address;
pub mod characters;
pub mod code_use;
pub mod enrolment;
pub mod hourly;
pub mod ids;
pub mod import;
pub mod key_source;
pub mod limits;
pub mod name_query;
pub mod origin;
pub mod otpauth;
pub mod page;
pub mod principal;
pub mod purpose;
pub mod rate;
pub mod scope;
pub mod seat;
pub mod seat_pin;
pub mod secret;
pub mod seed;
pub mod sensitive;
pub mod session;
pub mod span;
pub mod steps;
pub mod text;
pub mod time;
pub mod token;
pub mod totp;
pub mod trace;
pub mod verification;
pub mod words;
