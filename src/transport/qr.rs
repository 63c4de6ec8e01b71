//! The QR codes in a picture, for the command line and for the page: a child process reads it.

use std::time::Duration;

use zeroize::Zeroizing;

use crate::{
    child::{ChildError, Children, Job},
    domain::otpauth::push_app,
    operations::ErrorCode,
    picture::Unread,
};

/// Why a picture gave no text.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoText {
    /// There is no picture, no code, or none that can be read.
    #[error(transparent)]
    Unread(#[from] Unread),
    /// Reading the picture exceeds its limits.
    #[error("the picture can't be read within its limits; cut the QR code out, and take nothing else along")]
    Limits,
    /// The same for a WebP, whose colours take more than those of other formats.
    #[error("the picture can't be read within its limits; save it as PNG or JPEG, or cut the QR code out")]
    LimitsOfWebp,
    /// The child process could not be run, or its answer is invalid.
    #[error("the picture can't be read: {0}")]
    Child(#[source] ChildError),
}

impl NoText {
    /// The stable error code.
    pub(super) const fn code(&self) -> ErrorCode {
        match self {
            Self::Unread(_) | Self::Limits | Self::LimitsOfWebp => ErrorCode::InvalidArgument,
            Self::Child(ChildError::TooLarge(_)) => ErrorCode::TooLarge,
            Self::Child(cause) if cause.is_of_a_busy_machine() => ErrorCode::Busy,
            Self::Child(_) => ErrorCode::Unavailable,
        }
    }
}

/// Reads the texts of the QR codes in a picture's file, after waiting at most `wait` for its turn.
pub(super) async fn texts(file: &[u8], children: &Children, wait: Duration) -> Result<Vec<Zeroizing<String>>, NoText> {
    let read: Result<Vec<Zeroizing<String>>, Unread> =
        children.run_after(wait, Job::Picture, &[file]).await.map_err(|cause| match cause {
            busy if busy.is_of_a_busy_machine() => NoText::Child(busy),
            ChildError::OutOfTime(_) | ChildError::Died(_) if file.get(8..12) == Some(b"WEBP") => NoText::LimitsOfWebp,
            ChildError::OutOfTime(_) | ChildError::Died(_) => NoText::Limits,
            ChildError::Busy | ChildError::TooLarge(_) | ChildError::Start(_) | ChildError::Answer => {
                NoText::Child(cause)
            }
        })?;
    Ok(read?)
}

/// The texts that are links of an authenticator app, and not a web page's address or the like. If no text is such a link, the
/// registrations for push messages, which only their own app can use, so that the caller reports that.
pub(super) fn links(mut texts: Vec<Zeroizing<String>>) -> Vec<Zeroizing<String>> {
    let is_ours = |text: &str| text.trim_start().get(..7).is_some_and(|start| start.eq_ignore_ascii_case("otpauth"));
    let have = texts.iter().any(|text| is_ours(text));
    texts.retain(|text| if have { is_ours(text) } else { push_app(text).is_some() });
    texts
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn a_picture_for_which_the_machine_had_no_time_is_not_said_to_be_too_large() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/children/endless");
        // A paused clock runs ahead to the next timeout.
        tokio::time::pause();
        for picture in ["/dev/null\n", "/dev/null\nWEBP"] {
            let read = texts(picture.as_bytes(), &Children::of(script.clone()), Duration::from_secs(5)).await;
            let (code, told) = read.map_or_else(|cause| (cause.code(), cause.to_string()), |_| unreachable!());
            assert_eq!(code, ErrorCode::Busy);
            assert!(told.ends_with("because the machine is busy; try again later") && !told.contains("cut"), "{told}");
        }
    }
}
