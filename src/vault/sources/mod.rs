//! Where the key that opens a vault comes from.

mod file;

pub use file::KeyFileError;
pub(super) use file::{create_key_file, read_key_file};
