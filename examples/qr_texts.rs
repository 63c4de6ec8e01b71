//! Prints the texts of the QR codes in pictures: `file TAB text` for each, as `tests/interop/qr_readers.py` expects
//! them. Reads the pictures in its own process, without the program's limits.

use std::{env, fs, io::Write as _};

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for file in env::args().skip(1) {
        match countersign::picture::read(&fs::read(&file)?) {
            Ok(texts) => {
                for text in texts {
                    writeln!(out, "{file}\t{}", text.as_str())?;
                }
            }
            Err(unread) => writeln!(std::io::stderr(), "{file}: {unread}")?,
        }
    }
    Ok(())
}
