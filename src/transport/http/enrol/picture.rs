//! A picture that a person sends to the page: it is accepted once they have proved who they are, and a child process
//! reads it. It is held in memory only, and dropped when its codes are read.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use zeroize::Zeroizing;

use super::parts::FormParts;
use crate::{
    child::{Children, TURN},
    domain::{
        ids::{AccountId, SeatId},
        limits::{PICTURE_BYTES_MAX, PICTURE_LINKS_MAX, PICTURES_BYTES_MAX},
    },
    operations::ErrorCode,
    transport::qr::{self, NoText},
};

/// The reader of a page's pictures. Clones share its limits.
#[derive(Debug, Clone)]
pub(in crate::transport::http) struct Pictures {
    children: Children,
    /// A permit for each byte that may be in memory.
    memory: Arc<Semaphore>,
    /// One permit for each person who is sending a picture.
    turns: Arc<Mutex<HashMap<Person, Arc<Semaphore>>>>,
}

type Person = (Option<AccountId>, Option<SeatId>);

/// A picture in memory, and its permits for that memory.
struct Arrived {
    file: Vec<u8>,
    room: Option<OwnedSemaphorePermit>,
}

/// The time for which a picture may still wait for other pictures.
struct Patience(Duration);

impl Patience {
    async fn spent_on<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, NoLink> {
        let begun = Instant::now();
        let done = timeout(self.0, wait).await;
        self.0 = self.0.saturating_sub(begun.elapsed());
        done.map_err(|_| NoLink::Busy)
    }
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
    /// The stable error code.
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
        Self { children, memory: Arc::new(Semaphore::new(PICTURES_BYTES_MAX)), turns: Arc::default() }
    }

    /// The links in a picture's QR codes; at least one. `wait` is the time that the picture may take to arrive. Only
    /// the bytes that have arrived take memory, and a person sends one picture at a time, so that slow pictures don't
    /// keep other people waiting.
    pub(super) async fn links(
        &self,
        mut picture: Picture,
        of: Person,
        wait: Duration,
    ) -> Result<Vec<Zeroizing<String>>, NoLink> {
        let mut patience = Patience(TURN);
        let turn = self.turn_of(of);
        let sent = async {
            let turn = patience.spent_on(turn.acquire()).await?;
            let arrived = timeout(wait, self.arrived(&mut picture, &mut patience)).await;
            arrived.unwrap_or(Err(NoLink::Slow)).map(|arrived| (arrived, turn))
        };
        let (Arrived { file, room: _room }, _turn) = match sent.await {
            Ok(sent) => sent,
            Err(cause) => {
                // A browser that is still sending would show a broken connection instead of our answer.
                if matches!(cause, NoLink::TooLarge | NoLink::Busy) {
                    picture.skip(wait).await;
                }
                return Err(cause);
            }
        };
        let texts = qr::links(qr::texts(&file, &self.children, patience.0).await?);
        match texts.len() {
            0 => Err(NoLink::Other),
            1..=PICTURE_LINKS_MAX => Ok(texts),
            _ => Err(NoLink::TooMany),
        }
    }

    /// The semaphore whose only permit a person holds while they send a picture.
    fn turn_of(&self, person: Person) -> Arc<Semaphore> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(person).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    async fn arrived(&self, picture: &mut Picture, patience: &mut Patience) -> Result<Arrived, NoLink> {
        let (mut file, mut room) = (Vec::new(), None::<OwnedSemaphorePermit>);
        while let Some(piece) = picture.0.piece().await.map_err(|_| NoLink::Cut)? {
            if file.len() + piece.len() > PICTURE_BYTES_MAX {
                return Err(NoLink::TooLarge);
            }
            let bytes = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            let more = patience.spent_on(Arc::clone(&self.memory).acquire_many_owned(bytes)).await?;
            let more = more.map_err(|_| NoLink::Busy)?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            file.extend_from_slice(&piece);
        }
        if file.is_empty() { Err(NoLink::NoFile) } else { Ok(Arrived { file, room }) }
    }
}

impl Picture {
    /// The picture in the part of a form whose content comes next.
    pub(super) const fn of(parts: FormParts) -> Self {
        Self(parts)
    }

    /// Reads and drops a picture that is not used, so that its sender gets the answer.
    pub(super) async fn skip(mut self, wait: Duration) {
        let _ = timeout(wait, async { while let Ok(Some(_)) = self.0.piece().await {} }).await;
    }
}
