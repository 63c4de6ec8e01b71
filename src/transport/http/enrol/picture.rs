//! A picture that a person sends to the page: it is taken in once they have proved who they are, and a child process reads
//! it. It is in memory alone, and gone when its codes are read.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::timeout};
use zeroize::Zeroizing;

use super::parts::FormParts;
use crate::{
    child::{Children, TURN},
    domain::limits::{PICTURE_BYTES_MAX, PICTURE_LINKS_MAX, PICTURES_AT_ONCE_MAX},
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

    /// The links in a picture's QR codes; at least one. The picture may take so long to arrive. It stays on the connection
    /// until there is room for it.
    pub(super) async fn links(&self, mut picture: Picture, wait: Duration) -> Result<Vec<Zeroizing<String>>, NoLink> {
        let Ok(Ok(room)) = timeout(TURN, self.room.acquire()).await else {
            picture.skip(wait).await;
            return Err(NoLink::Busy);
        };
        let file = match timeout(wait, picture.file()).await.unwrap_or(Err(NoLink::Slow)) {
            Ok(file) => file,
            Err(cause) => {
                drop(room);
                // A browser that is still sending would show a broken connection instead of our answer.
                if matches!(cause, NoLink::TooLarge) {
                    picture.skip(wait).await;
                }
                return Err(cause);
            }
        };
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

    async fn file(&mut self) -> Result<Vec<u8>, NoLink> {
        let mut file = Vec::new();
        while let Some(piece) = self.0.piece().await.map_err(|_| NoLink::Cut)? {
            if file.len() + piece.len() > PICTURE_BYTES_MAX {
                return Err(NoLink::TooLarge);
            }
            file.extend_from_slice(&piece);
        }
        if file.is_empty() { Err(NoLink::NoFile) } else { Ok(file) }
    }

    /// Takes a picture off the connection that nobody will read, so that its sender gets the answer.
    pub(super) async fn skip(mut self, wait: Duration) {
        let _ = timeout(wait, async { while let Ok(Some(_)) = self.0.piece().await {} }).await;
    }
}
