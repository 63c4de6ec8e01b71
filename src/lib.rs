//! Countersign, the authenticator app for AI agents: it keeps TOTP seeds sealed, hands an agent the current code and
//! never the seed, and writes down which seat each code was for.
//!
//! The rooms, in reading order. `ARCHITECTURE.md` follows one call through them; a test checks which room names which.
//!
//! | room | what it holds | what it never holds |
//! |---|---|---|
//! | [`domain`] | what things are: TOTP, secrets, seats, keys, the audit log, and the rules that hold for them | I/O, a clock, randomness |
//! | [`clock`], [`random`] | the only sources of the time and of random bytes | anything else |
//! | [`store`] | storage: the contract every backend obeys, and the backends | a key, a permission, plaintext |
//! | [`vault`] | keys, seals, record MACs and the audit log: the only room that sees key bytes or looks inside ciphertext | a database |
//! | [`operations`] | what callers may do: permissions, order of the steps, audit rows | SQL, a protocol |
//! | [`picture`] | the QR codes in a picture | what their texts mean |
//! | [`browser`] | types a code into the page of a running browser | which codes there are, an address from a call |
//! | [`guard`] | the proxy of an agent's browser: codes in the place of decoys | a decision who gets a code |
//! | [`child`] | work on untrusted bytes in a process with limits | a vault |
//! | [`hosts`] | which file of each MCP host names its servers, and our entry in it | a disk |
//! | [`transport`] | MCP, HTTP and the command line: bytes to an operation and back | a decision |
//! | [`fetch`] | the HTTP client with which this program asks others | what is asked, or whom |
//! | [`otlp`] | traces and metrics for a collector | anything that a caller sent |
//! | [`config`] | turns arguments and variables into settings | an error that quotes a value |
//! | [`telemetry`] | logs, for operators | a seed, a code, a key, a body |
//! | [`app`] | the composition root, which connects the other rooms | a rule of its own |

pub mod domain;

pub mod clock;
pub mod random;

pub mod store;
pub mod vault;

#[cfg(feature = "browser")]
pub mod browser;
#[cfg(not(feature = "browser"))]
#[path = "browser/absent.rs"]
pub mod browser;

#[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "a server calls the rest"))]
pub mod operations;

#[cfg(feature = "pictures")]
pub mod picture;
#[cfg(not(feature = "pictures"))]
#[path = "picture/absent.rs"]
pub mod picture;

pub mod child;

#[cfg(any(feature = "browser", feature = "otlp", feature = "serve"))]
pub mod fetch;

pub mod hosts;

#[cfg(feature = "guard")]
pub mod guard;
#[cfg(not(feature = "guard"))]
#[path = "guard/absent.rs"]
pub mod guard;

#[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "HTTP uses the rest"))]
pub mod transport;

#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(not(feature = "otlp"))]
#[path = "otlp_absent.rs"]
pub mod otlp;

pub mod config;
pub mod telemetry;

pub mod app;

#[cfg(fuzzing)]
pub mod fuzzing;
