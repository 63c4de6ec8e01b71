//! Builds the programs that an example starts, and finds them: `cargo run --example …` alone does not build them.

#![allow(dead_code, clippy::allow_attributes, reason = "each example uses a part of it")]

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
};

/// A program to build.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// The program itself.
    Countersign,
    /// Another example.
    Example(&'a str),
}

/// Builds programs in the profile of this example, and returns the folder that the program itself lies in. With an
/// example among them, the parts that both need are built once.
pub(crate) fn build(targets: &[Target<'_>]) -> io::Result<PathBuf> {
    // target/PROFILE/examples/this
    let this = env::current_exe()?;
    let folder = this.parent().and_then(Path::parent).ok_or_else(|| io::Error::other("this is not cargo's example"))?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--locked", "--profile", profile]).current_dir(env!("CARGO_MANIFEST_DIR"));
    for target in targets {
        match target {
            Target::Countersign => command.args(["--bin", "countersign"]),
            Target::Example(name) => command.args(["--example", name]),
        };
    }
    if command.status()?.success() { Ok(folder.to_owned()) } else { Err(io::Error::other("the build failed")) }
}
