//! A picture that a person sends to the page: it is taken in once they have proved who they are, and a child process reads
//! it. It is in memory alone, and gone when its codes are read.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};
use zeroize::Zeroizing;

use super::parts::FormParts;
use crate::{
    child::Children,
    domain::limits::{PICTURE_BYTES_MAX, PICTURE_FORM_BYTES_MAX, PICTURE_LINKS_MAX, PICTURES_AT_ONCE_MAX},
    operations::ErrorCode,
    transport::qr::{self, NoText},
};

/// The reader of a page's pictures. Clones share its room.
#[derive(Debug, Clone)]
pub(in crate::transport::http) struct Pictures {
    children: Children,
    room: Arc<Semaphore>,
}

/// A picture that is still in the request.
pub(super) struct Picture(FormParts);

/// Why a picture gave no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoLink {
    #[error("no picture was chosen; choose one, or paste the key")]
    NoFile,
    #[error("the picture is larger than {} MiB; cut the QR code out", PICTURE_BYTES_MAX / (1024 * 1024))]
    TooLarge,
    #[error("the picture did not arrive whole; send it again")]
    Cut,
    #[error("the picture took too long to arrive; cut the QR code out, so that it is smaller")]
    Slow,
    #[error("too many pictures are being read at this moment; try again in a few seconds")]
    Busy,
    #[error(transparent)]
    NoText(#[from] NoText),
    #[error("the QR code in the picture is no link of an authenticator app, which begins with otpauth://")]
    Other,
    #[error("the picture holds more than {PICTURE_LINKS_MAX} such QR codes; cut the right one out")]
    TooMany,
}

impl NoLink {
    /// The stable word for it.
    pub(super) const fn code(&self) -> ErrorCode {
        match self {
            Self::NoFile | Self::Cut | Self::Slow | Self::Other | Self::TooMany => ErrorCode::InvalidArgument,
            Self::TooLarge => ErrorCode::TooLarge,
            Self::Busy => ErrorCode::Busy,
            Self::NoText(cause) => cause.code(),
        }
    }
}

impl Pictures {
    pub(in crate::transport::http) fn read_by(children: Children) -> Self {
        Self { children, room: Arc::new(Semaphore::new(PICTURES_AT_ONCE_MAX)) }
    }

    /// The links in a picture's QR codes; at least one. The picture may take so long to arrive.
    pub(super) async fn links(&self, picture: Picture, wait: Duration) -> Result<Vec<Zeroizing<String>>, NoLink> {
        let Ok(_room) = self.room.try_acquire() else {
            picture.skip(wait).await;
            return Err(NoLink::Busy);
        };
        let file = timeout(wait, picture.file()).await.map_err(|_| NoLink::Slow)??;
        let texts = qr::links(qr::texts(&file, &self.children).await?);
        match texts.len() {
            0 => Err(NoLink::Other),
            1..=PICTURE_LINKS_MAX => Ok(texts),
            _ => Err(NoLink::TooMany),
        }
    }
}

impl Picture {
    /// The part of a form that comes next.
    pub(super) const fn of(parts: FormParts) -> Self {
        Self(parts)
    }

    async fn file(mut self) -> Result<Vec<u8>, NoLink> {
        let (mut file, mut size) = (Vec::new(), 0_usize);
        while let Some(piece) = self.0.piece().await.map_err(|_| NoLink::Cut)? {
            size = size.saturating_add(piece.len());
            // What is too large is read on all the same: a browser that is still sending would show a broken connection instead
            // of our answer.
            if size > PICTURE_FORM_BYTES_MAX {
                break;
            }
            if size > PICTURE_BYTES_MAX { file = Vec::new() } else { file.extend_from_slice(&piece) }
        }
        match size {
            0 => Err(NoLink::NoFile),
            1..=PICTURE_BYTES_MAX => Ok(file),
            _ => Err(NoLink::TooLarge),
        }
    }

    /// Takes a picture off the connection that nobody will read, so that its sender gets the answer.
    pub(super) async fn skip(mut self, wait: Duration) {
        let _ = timeout(wait, async { while let Ok(Some(_)) = self.0.piece().await {} }).await;
    }
}
