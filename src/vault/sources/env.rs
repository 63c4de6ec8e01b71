//! A variable of the environment. Other processes of the user can read it there as long as the process runs, and no
//! safe code removes it from the running process: so the program replaces itself by itself, without the variable, and
//! passes the value through a pipe.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
};

use zeroize::Zeroizing;

use super::{KeyError, key_of};
use crate::vault::key::Kek;

/// The longest value that is handed over, in bytes; a pipe takes it without a reader.
const VALUE_BYTES_MAX: usize = 1024;

/// The key in a variable's value.
pub(super) fn key(value: Option<&[u8]>) -> Result<Kek, KeyError> {
    let value = value.ok_or(KeyError::Env("is not set"))?;
    key_of(value).ok_or(KeyError::Env("does not hold a key: 32 bytes in base64 or hexadecimal"))
}

/// Replaces this process by the same program without these variables. `list` is the name of the variable that lists
/// where their values are. Call it while the process has one thread. It returns only if that fails.
#[cfg(unix)]
pub fn hand_over(list: &str, words: &[OsString], variables: &[(String, Zeroizing<Vec<u8>>)]) -> io::Error {
    use std::{
        io::Write as _,
        os::{
            fd::{AsRawFd as _, OwnedFd},
            unix::process::CommandExt as _,
        },
        process::Command,
    };

    // Run the program by its path if the file is still there, so that lists of processes show its name; an update may
    // have replaced the file.
    let running = std::env::current_exe().ok().filter(|program| program.is_file());
    let mut command = Command::new(running.unwrap_or_else(|| "/proc/self/exe".into()));
    if let Some((name, rest)) = words.split_first() {
        command.arg0(name).args(rest);
    }
    let mut handed: Vec<(String, OwnedFd)> = Vec::new();
    for (name, value) in variables {
        let given = || -> io::Result<OwnedFd> {
            if value.len() > VALUE_BYTES_MAX {
                return Err(io::Error::other("its value is too long for a key"));
            }
            // The new program inherits an open end; the writing end is closed here, so that the reader finds the end of
            // the value.
            let (reader, writer) = rustix::pipe::pipe()?;
            File::from(writer).write_all(value)?;
            Ok(reader)
        };
        match given() {
            Ok(reader) => handed.push((name.clone(), reader)),
            Err(cause) => return cause,
        }
        command.env_remove(name);
    }
    let places: Vec<String> = handed.iter().map(|(name, end)| format!("{name}:{}", end.as_raw_fd())).collect();
    command.env(list, places.join(",")).exec()
}

/// Elsewhere a process can't be replaced, and no other process can read its environment without reading its memory.
#[cfg(not(unix))]
pub fn hand_over(_: &str, _: &[OsString], _: &[(String, Zeroizing<Vec<u8>>)]) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// The value of a variable that the process before this one handed over, by the list that it left.
///
/// # Errors
/// The value can't be read, for example because another program set the list.
pub fn handed(list: &str, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let place = list.split(',').filter_map(|entry| entry.split_once(':')).find(|(known, _)| *known == name);
    let Some(number) = place.and_then(|(_, number)| number.parse::<u16>().ok()) else { return Ok(None) };
    let mut value = Zeroizing::new(Vec::with_capacity(VALUE_BYTES_MAX * 2));
    let most = VALUE_BYTES_MAX as u64 + 1;
    File::open(format!("/dev/fd/{number}"))?.take(most).read_to_end(&mut value)?;
    Ok(Some(value).filter(|value| !value.is_empty()))
}
