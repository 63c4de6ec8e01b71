//! Writes the manual pages into a folder: `cargo run --example man -- FOLDER`. There is one for the program and one for
//! each of its commands, with the texts of `--help`.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).map(PathBuf::from).ok_or("name a folder")?;
    fs::create_dir_all(&folder)?;
    clap_mangen::generate_to(countersign::app::command_line(), &folder)?;
    Ok(())
}
