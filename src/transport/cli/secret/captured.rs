//! `--qr clipboard` and `--qr screen`: a picture from the desktop, by the programs that desktops have for it. It is passed
//! through a pipe and never stored in a file.

use std::{
    io::{self, Read as _},
    path::Path,
    process::{Command, Stdio},
};

use zeroize::Zeroizing;

use crate::{domain::limits::PICTURE_BYTES_MAX, operations::ErrorCode, transport::cli::Failure};

/// A program and its arguments. It prints a picture, or fails if there is none.
type Tool = (&'static str, &'static [&'static str]);

/// Where a picture comes from, if not from a file.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Clipboard,
    Screen,
}

impl Source {
    /// The source that a value of `--qr` names. A file of that name is given with its folder, such as `./clipboard`.
    pub(super) fn named(value: &Path) -> Option<Self> {
        match value.to_str() {
            Some("clipboard") => Some(Self::Clipboard),
            Some("screen") => Some(Self::Screen),
            Some(_) | None => None,
        }
    }

    /// The picture, from the first program that prints one.
    pub(super) fn picture(self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let pictures = self.tools().iter().map(printed);
        pictures.flatten().find(|picture| !picture.is_empty()).ok_or_else(|| self.has_none())
    }

    const fn tools(self) -> &'static [Tool] {
        match self {
            Self::Clipboard => &[
                ("wl-paste", &["--type", "image/png"]),
                ("xclip", &["-selection", "clipboard", "-t", "image/png", "-o"]),
                ("pngpaste", &["-"]),
            ],
            Self::Screen => &[("grim", &["-"]), ("maim", &[])],
        }
    }

    fn has_none(self) -> Failure {
        let message = match self {
            Self::Clipboard => {
                "there is no picture on the clipboard, or none of wl-paste, xclip and pngpaste to get it; save it, and name the file"
            }
            Self::Screen => {
                "neither grim nor maim can take a picture of the screen; take one yourself, and name the file"
            }
        };
        Failure::Failed { code: ErrorCode::Unavailable, message: message.to_owned() }
    }
}

fn printed((program, arguments): &Tool) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut command = Command::new(program);
    command.args(*arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let mut picture = Zeroizing::new(Vec::new());
    let most = u64::try_from(PICTURE_BYTES_MAX).unwrap_or(u64::MAX);
    let read = child.stdout.take().map(|from| from.take(most + 1).read_to_end(&mut picture));
    // The pipe is closed by now, so a program that has more to print ends, too.
    let ended = child.wait()?;
    read.transpose()?;
    // A picture that is too large is refused by its reader.
    let is_whole = ended.success() || picture.len() > PICTURE_BYTES_MAX;
    if is_whole { Ok(picture) } else { Err(io::ErrorKind::Other.into()) }
}
