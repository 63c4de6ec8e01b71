//! The browsers that codes may be typed in.

use std::{ffi::OsString, path::Path};

use clap::Args;

use super::{
    ConfigError, SameVault,
    places::{Written, absolute},
};
use crate::domain::browser_address::{BrowserAddress, BrowserAddressError};

const FLAG: &str = "--browser";
const VARIABLE: &str = "COUNTERSIGN_BROWSER";
const FORM: &str = "must be the address of a browser that takes commands, such as http://127.0.0.1:9222, \
                    ws://127.0.0.1:9222/devtools/browser/ID, the folder of its profile, or pipe: and the folder of its pipes";
const ELSEWHERE: &str =
    "names another machine, so it must be named in full: wss://HOST:PORT/PATH, as the browser itself says it";

/// The browsers, as typed.
#[derive(Debug, Default, Args)]
pub(super) struct BrowserFlags {
    /// Browser that codes may be typed in: the address where it takes commands, such as `http://127.0.0.1:9222`, the folder of
    /// its profile, or `pipe:FOLDER` for one with two named pipes; may be repeated [env: `COUNTERSIGN_BROWSER`]
    #[arg(long, global = true, value_name = "URL")]
    browser: Vec<OsString>,
}

impl BrowserFlags {
    /// The browsers that flags name, or else the variable, which separates them by commas. The flags become
    /// a part of the entry that `setup` writes.
    ///
    /// # Errors
    /// [`ConfigError`] if a text is not the address of a browser.
    pub(super) fn addresses(
        self,
        variable: fn(&str) -> Option<OsString>,
        home: Option<&Path>,
        same_vault: &mut SameVault,
    ) -> Result<Vec<BrowserAddress>, ConfigError> {
        for browser in self.browser.iter().filter_map(|browser| browser.to_str()) {
            same_vault.say(FLAG, browser.to_owned());
        }
        browsers(self.browser, variable, home)
    }
}

fn browsers(
    typed: Vec<OsString>,
    variable: fn(&str) -> Option<OsString>,
    home: Option<&Path>,
) -> Result<Vec<BrowserAddress>, ConfigError> {
    let written = if typed.is_empty() { Written::Variable(VARIABLE) } else { Written::Flag(FLAG) };
    let refused = |problem: &'static str| ConfigError::Setting { name: written.name(), problem };
    let text = |value: OsString| value.into_string().map_err(|_| refused("must be text in UTF-8"));
    let texts = match written {
        Written::Flag(_) => typed.into_iter().map(text).collect::<Result<Vec<_>, _>>()?,
        Written::Variable(_) => {
            let all = variable(VARIABLE).map(text).transpose()?.unwrap_or_default();
            all.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
        }
    };
    let address = |text: &String| match text.parse() {
        Ok(BrowserAddress::Profile(path)) => Ok(BrowserAddress::Profile(absolute(&path, written, home)?)),
        Ok(BrowserAddress::Pipes(folder)) => Ok(BrowserAddress::Pipes(absolute(&folder, written, home)?)),
        Ok(address) => Ok(address),
        Err(BrowserAddressError::Form) => Err(refused(FORM)),
        Err(BrowserAddressError::Elsewhere) => Err(refused(ELSEWHERE)),
    };
    texts.iter().map(address).collect()
}
