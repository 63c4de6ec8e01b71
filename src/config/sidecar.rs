//! The data for a host's file: where it is, which program it starts, and with which flags.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use directories::BaseDirs;

use super::{ConfigError, Reveal, StdioFlags, otlp, places::variable};
use crate::{
    domain::{account::DEFAULT_ACCOUNT, key_source::KeySource},
    hosts::Folders,
};

/// The folders in which hosts keep their files.
///
/// # Errors
/// [`ConfigError::NoHome`].
pub fn folders() -> Result<Folders, ConfigError> {
    let base = BaseDirs::new().ok_or(ConfigError::NoHome)?;
    let home = base.home_dir().to_owned();
    let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    Ok(Folders {
        settings: base.config_dir().to_owned(),
        xdg: folder("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")),
        codex: folder("CODEX_HOME"),
        claude: folder("CLAUDE_CONFIG_DIR"),
        home,
    })
}

/// The path by which a host starts this program: the one in `PATH` if that leads to this program, since the file that
/// it leads to may move with the next release.
///
/// # Errors
/// The system's error.
pub fn own_program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = variable("PATH").unwrap_or_default();
    Ok(in_path(std::env::split_paths(&path), &own).unwrap_or(own))
}

/// The word by which a shell starts this program: its name, if that leads here, or else its path.
///
/// # Errors
/// The system's error.
pub fn own_name() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = variable("PATH").unwrap_or_default();
    let is_found = in_path(std::env::split_paths(&path), &own).is_some();
    Ok(own.file_name().filter(|_| is_found).map(PathBuf::from).unwrap_or(own))
}

fn in_path(folders: impl Iterator<Item = PathBuf>, own: &Path) -> Option<PathBuf> {
    let (name, whole) = (own.file_name()?, fs::canonicalize(own).ok()?);
    let called = |folder: PathBuf| folder.join(name);
    let is_this = |path: &PathBuf| path.is_absolute() && fs::canonicalize(path).is_ok_and(|found| found == whole);
    folders.map(called).find(is_this)
}

/// The flags that name a vault from anywhere.
#[derive(Default)]
pub(super) struct SameVault {
    pub(super) words: Vec<String>,
}

impl SameVault {
    pub(super) fn say(&mut self, flag: &str, value: String) {
        self.words.extend([flag.to_owned(), value]);
    }

    /// A folder that a flag or a variable named.
    pub(super) fn folder(&mut self, flag: &str, named: Option<&(&'static str, PathBuf)>) {
        if let Some((_, folder)) = named {
            self.say(flag, folder.display().to_string());
        }
    }

    pub(super) fn key(&mut self, source: &KeySource) {
        if *source != KeySource::File(None) {
            self.say("--key-source", source.typed());
        }
    }

    pub(super) fn account(&mut self, name: &str) {
        if name != DEFAULT_ACCOUNT {
            self.say("--account", name.to_owned());
        }
    }
}

impl StdioFlags {
    /// The word `stdio` and these flags as arguments, with a collector that a variable names: a host has other variables.
    ///
    /// # Errors
    /// [`ConfigError`] if the collector is refused.
    pub fn words(self) -> Result<Vec<String>, ConfigError> {
        let mut words = vec!["stdio".to_owned()];
        if let Some(seat) = self.seat {
            words.extend(["--seat".to_owned(), seat]);
        }
        if let Some(scopes) = self.scope {
            words.extend(["--scope".to_owned(), scopes.to_string()]);
        }
        if self.reveal == Reveal::Never {
            words.extend(["--reveal".to_owned(), "never".to_owned()]);
        }
        if let Some(collector) = self.otlp.endpoint()? {
            words.extend([otlp::FLAG.to_owned(), collector]);
        }
        Ok(words)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_called_by_its_link_in_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let (versions, programs) = (folder.path().join("1.0"), folder.path().join("bin"));
        let own = versions.join("countersign");
        for folder in [&versions, &programs] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(&own, "").unwrap();
        let link = programs.join("countersign");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let found = |path: &[&Path]| in_path(path.iter().map(|folder| (*folder).to_owned()), &own);
        assert_eq!(found(&[Path::new("/nowhere"), &programs, &versions]), Some(link));
        assert_eq!(found(&[Path::new("/nowhere")]), None);
        fs::remove_file(programs.join("countersign")).unwrap();
        fs::write(programs.join("countersign"), "").unwrap();
        assert_eq!(found(&[&programs]), None, "another program");
    }
}
