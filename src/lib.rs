//! Countersign, the authenticator app for AI agents: it keeps TOTP seeds sealed, hands an agent the current code and
//! never the seed, and writes down which seat each code was for.
//!
//! The rooms, in reading order. `ARCHITECTURE.md` walks one call through them; a test holds them to who may name whom.
//!
//! | room | what is in it | never |
//! |---|---|---|
//! | [`domain`] | what things are: TOTP, secrets, seats, keys, the audit log, and the rules that hold for them | I/O, clock, dice |
//! | [`clock`], [`random`] | the only askers of the time and of the dice | anything else |
//! | [`store`] | what is kept: the contract every backend obeys, and the backends | a key, a permission, plaintext |
//! | [`vault`] | keys, seals, record MACs and the audit log: the only room that sees key bytes or looks inside ciphertext | a database |
//! | [`operations`] | what callers may do: who may, in which order, what is written down | SQL, a protocol |
//! | [`transport`] | MCP, HTTP and the command line: bytes to an operation and back | a decision |
//! | [`config`] | what was typed becomes what is meant | an error that quotes a value |
//! | [`telemetry`] | logs, for operators | a seed, a code, a key, a body |
//! | [`app`] | the composition root: the only room that names all others | a rule of its own |

pub mod domain;

pub mod clock;
pub mod random;

pub mod store;
pub mod vault;

pub mod operations;

pub mod transport;

pub mod config;
pub mod telemetry;

pub mod app;
