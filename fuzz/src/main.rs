//! Fuzz targets: every parser of external input. `fuzz/run` builds this program and selects a target by its name.
#![no_main]

use std::sync::LazyLock;

use countersign::fuzzing::target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET must name a target, not {name:?}"))
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));
