//! The sources of the key that opens a vault.

mod file;

pub use file::KeyFileError;
pub(super) use file::{create_key_file, read_key_file};
