//! Where the key that opens a vault comes from.

mod file;

pub use file::{KeyFileError, create_key_file, create_private_dir, read_key_file};
