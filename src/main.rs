//! The program is put together again when operations stand on the vault.

fn main() {}
