//! Has the linker put the functions that a sidecar runs through side by side (`linker/hot.ld`), which halves the memory
//! that the program takes up. Only for releases, and only where rustc's own choice of a linker is known to read the list.

#![expect(clippy::disallowed_methods, reason = "a build script is told everything by its environment")]

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=linker/hot.ld");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let usual_linker = env::var_os("RUSTC_LINKER").is_none() && !flags.contains("link");
    if usual_linker
        && is("PROFILE", "release")
        && is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && let Ok(folder) = env::var("CARGO_MANIFEST_DIR")
    {
        println!("cargo::rustc-link-arg-bin=countersign=-T{folder}/linker/hot.ld");
    }
}
