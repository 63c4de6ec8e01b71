//! When to use colour.

use std::ffi::{OsStr, OsString};

use clap::{ColorChoice, ValueEnum as _};

use super::places::variable;

/// A flag overrides `NO_COLOR` (<https://no-color.org>: present and not empty).
pub(super) fn color(typed: Option<ColorChoice>) -> ColorChoice {
    let none = || variable("NO_COLOR").is_some();
    typed.unwrap_or_else(|| if none() { ColorChoice::Never } else { ColorChoice::Auto })
}

/// When to use colour, as far as it can be read from an invalid command line: nothing after `--` is a flag.
pub fn color_of_words(words: &[OsString]) -> ColorChoice {
    let typed: Vec<&OsStr> = words.iter().map(OsString::as_os_str).take_while(|word| *word != "--").collect();
    let values = typed.iter().zip(typed.iter().skip(1).copied().map(Some).chain([None])).filter_map(|(word, next)| {
        let word = word.to_str()?;
        if word == "--color" { next.and_then(OsStr::to_str) } else { word.strip_prefix("--color=") }
    });
    color(values.filter_map(|value| ColorChoice::from_str(value, false).ok()).last())
}
