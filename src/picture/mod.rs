//! Pictures: reads the texts of the QR codes in a file that a stranger made.
//!
//! Everything here runs in a child process with limits of memory and time (`child.rs`), except in tests. Never here:
//! the meaning of a code's text.

mod codes;
mod decode;
mod readers;
mod rewrite;
mod spent;
mod webp;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use self::decode::Picture;
use crate::domain::limits::{PICTURE_COLOURED_PIXELS_MAX, PICTURE_PIXELS_MAX};

/// Why no code was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Unread {
    /// The file is no picture, or is cut short or damaged.
    #[error("the file is no PNG, JPEG or WebP picture that can be read")]
    NoPicture,
    /// The picture has too many pixels.
    #[error("the picture has more than {} million pixels; cut the QR code out", PICTURE_PIXELS_MAX / 1_000_000)]
    TooManyPixels,
    /// The picture has too many pixels for a format that is decoded with all its colours at once.
    #[error(
        "the picture has more than {} million pixels, which is too much for a WebP that is lossless, transparent or \
         animated; save it as PNG or JPEG, or cut the QR code out",
        PICTURE_COLOURED_PIXELS_MAX / 1_000_000
    )]
    TooManyColours,
    /// Nothing in it looks like a QR code.
    #[error("no QR code was found in the picture; cut it out, or make it larger")]
    NoCode,
    /// There is a QR code, but it is blurred or damaged.
    #[error("the QR code can't be read; take a sharper picture")]
    Illegible,
}

/// Reads all QR codes in a picture's file.
///
/// # Errors
/// [`Unread`]: there is no picture, no code, or none that can be read.
pub fn read(file: &[u8]) -> Result<Vec<Zeroizing<String>>, Unread> {
    codes::look_at(&Picture::decode(file)?)
}
