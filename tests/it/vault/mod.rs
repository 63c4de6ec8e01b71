//! The vault over its backends: its records, its refusals, and the changes that it detects.

mod audit;
mod changes;
#[cfg(unix)]
mod codes;
mod enrolments;
mod erasing;
mod format1;
pub(crate) mod kit;
mod older;
mod open;
mod repair;
pub(crate) mod rotation;
mod seats;
mod tamper;
