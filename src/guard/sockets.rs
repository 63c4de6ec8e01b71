//! `WebSockets` to an origin: the messages of both sides are read, and put into frames again. No extension is in use,
//! because the guard removes the header that requests one, so messages may be divided into frames anew (RFC 6455,
//! section 5.4).

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};

use super::{
    exchange::Replacing,
    window::{Ready, Window},
};

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
/// The first opcode of control frames.
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;
/// The lengths that announce a longer length field.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// Bytes of an origin's closing frame before its reason: the head and a number.
const BEFORE_REASON: usize = 4;
/// A closing frame to the browser, with the number of "try again later".
const NO_CODE: &[u8] = b"\x88\x24\x03\xf5countersign: no code for the decoy";
/// How long the origin may go on sending after the browser has gone.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The frames that one side sends, as far as they have arrived.
pub(super) struct Frames {
    /// Whether the side masks its payloads, as a browser does.
    masks: bool,
    buffer: BytesMut,
    open: Option<Open>,
    window: Window,
    /// The opcode of the next frame of the message that is sent on.
    opcode: u8,
}

/// The mask of a payload's bytes; only a browser's frames have one.
type Mask = Option<[u8; 4]>;

/// A frame whose payload has not arrived as a whole.
struct Open {
    left: u64,
    mask: Mask,
    fin: bool,
}

/// A part of the bytes that arrived.
pub(super) enum Part {
    /// A frame that is sent on as it is.
    Control(Bytes),
    /// Bytes of a message for a frame of their own.
    Data {
        /// Fin and opcode.
        head: u8,
        /// The mask of the frame that the bytes came in.
        mask: Mask,
        ready: Ready,
    },
}

/// The side does not follow the protocol.
#[derive(Debug)]
pub(super) struct Broken;

impl Frames {
    pub(super) fn new(masks: bool) -> Self {
        Self { masks, buffer: BytesMut::new(), open: None, window: Window::default(), opcode: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next part; `None`: more has to arrive first.
    pub(super) fn next(&mut self) -> Result<Option<Part>, Broken> {
        loop {
            let Some(open) = &mut self.open else {
                match self.begin()? {
                    Begun::Not => return Ok(None),
                    Begun::Control(frame) => return Ok(Some(Part::Control(frame))),
                    Begun::Data => continue,
                }
            };
            let here = usize::try_from(open.left).unwrap_or(usize::MAX).min(self.buffer.len());
            if here == 0 && open.left > 0 {
                return Ok(None);
            }
            let mut piece = self.buffer.split_to(here);
            let mask = open.mask;
            apply(&mut piece, mask);
            if let Some(mask) = &mut open.mask {
                mask.rotate_left(here % 4);
            }
            open.left = open.left.saturating_sub(u64::try_from(here).unwrap_or(u64::MAX));
            let is_whole = open.left == 0;
            let last = is_whole && open.fin;
            if is_whole {
                self.open = None;
            }
            let ready = self.window.take(piece.freeze(), last);
            if ready.bytes.is_empty() && !last {
                continue;
            }
            let head = if last { FIN } else { 0 } | std::mem::take(&mut self.opcode);
            return Ok(Some(Part::Data { head, mask, ready }));
        }
    }

    /// Reads the head of a frame, and all of a control frame.
    fn begin(&mut self) -> Result<Begun, Broken> {
        let [first, second, ..] = *self.buffer else { return Ok(Begun::Not) };
        let (opcode, short) = (first & OPCODE, second & !MASKED);
        if first & RESERVED != 0 || self.masks != (second & MASKED != 0) {
            return Err(Broken);
        }
        let behind = self.buffer.get(2..).unwrap_or_default();
        let length = match short {
            LENGTH_16 => behind.first_chunk().map(|bytes| (u64::from(u16::from_be_bytes(*bytes)), 4)),
            LENGTH_64 => behind.first_chunk().map(|bytes| (u64::from_be_bytes(*bytes), 10)),
            short => Some((u64::from(short), 2)),
        };
        let Some((length, head)) = length else { return Ok(Begun::Not) };
        let (mask, head) = match self.buffer.get(head..head + 4) {
            _ if !self.masks => (None, head),
            Some(&[a, b, c, d]) => (Some([a, b, c, d]), head + 4),
            _ => return Ok(Begun::Not),
        };
        if opcode >= CONTROL {
            let whole = head + usize::from(short);
            if short >= LENGTH_16 {
                return Err(Broken);
            }
            let is_here = self.buffer.len() >= whole;
            return Ok(if is_here { Begun::Control(self.buffer.split_to(whole).freeze()) } else { Begun::Not });
        }
        if opcode != 0 {
            self.opcode = opcode;
        }
        self.buffer.advance(head);
        self.open = Some(Open { left: length, mask, fin: first & FIN != 0 });
        Ok(Begun::Data)
    }
}

enum Begun {
    /// More has to arrive first.
    Not,
    Control(Bytes),
    Data,
}

/// A frame around a payload.
pub(super) fn frame(head: u8, mask: Mask, mut payload: BytesMut) -> BytesMut {
    let mut frame = BytesMut::with_capacity(payload.len() + 14);
    let masked = if mask.is_some() { MASKED } else { 0 };
    frame.extend_from_slice(&[head]);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < LENGTH_16 => frame.extend_from_slice(&[masked | short]),
        (_, Ok(length)) => {
            frame.extend_from_slice(&[masked | LENGTH_16]);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.extend_from_slice(&[masked | LENGTH_64]);
            frame.extend_from_slice(&u64::try_from(payload.len()).unwrap_or(u64::MAX).to_be_bytes());
        }
    }
    frame.extend_from_slice(mask.as_ref().map_or(&[], <[u8; 4]>::as_slice));
    apply(&mut payload, mask);
    frame.unsplit(payload);
    frame
}

fn apply(payload: &mut [u8], mask: Mask) {
    let Some(mask) = mask else { return };
    for (byte, mask) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= mask;
    }
}

/// Why frames are no longer carried.
#[derive(PartialEq, Eq)]
enum Ended {
    /// One of the two is gone, or does not follow the protocol.
    Gone,
    /// There is no code for a decoy.
    Refused,
}

/// Carries a WebSocket between a browser and an origin until one of them ends it.
pub(super) async fn relay<B, O>(browser: B, origin: O, mut out: Replacing, mut back: Replacing)
where
    B: AsyncRead + AsyncWrite,
    O: AsyncRead + AsyncWrite,
{
    let (mut from_browser, mut to_browser) = split(browser);
    let (mut from_origin, mut to_origin) = split(origin);
    let ended = {
        let back = carry(Frames::new(false), &mut from_origin, &mut to_browser, &mut back);
        let forth = carry(Frames::new(true), &mut from_browser, &mut to_origin, &mut out);
        tokio::pin!(back);
        tokio::select! {
            ended = &mut back => ended,
            ended = forth => match ended {
                Ended::Refused => Ended::Refused,
                Ended::Gone => tokio::time::timeout(LAST_WORDS, back).await.unwrap_or(Ended::Gone),
            },
        }
    };
    if ended == Ended::Refused {
        // The browser has nothing more to wait for.
        let told = async { to_browser.write_all(NO_CODE).await.and(to_browser.shutdown().await) };
        let _ = tokio::time::timeout(LAST_WORDS, told).await;
    }
}

/// Carries the frames of one side.
async fn carry(
    mut frames: Frames,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    replacing: &mut Replacing,
) -> Ended {
    let from_browser = frames.masks;
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        frames.push(bytes.get(..count).unwrap_or_default());
        loop {
            let sent = match frames.next() {
                Err(Broken) => return Ended::Gone,
                Ok(None) => break,
                Ok(Some(Part::Control(frame))) if from_browser => frame,
                Ok(Some(Part::Control(frame))) => in_reason(frame, replacing).await,
                Ok(Some(Part::Data { head, mask, ready })) => {
                    let Ok(payload) = replacing.replaced(ready).await else { return Ended::Refused };
                    if head & FIN != 0 {
                        replacing.renew();
                    }
                    frame(head, mask, payload).freeze()
                }
            };
            if to.write_all(&sent).await.is_err() {
                return Ended::Gone;
            }
        }
        if to.flush().await.is_err() {
            return Ended::Gone;
        }
    }
    let _ = to.shutdown().await;
    Ended::Gone
}

/// Replaces digits in the reason that an origin gives when it closes a WebSocket: pages can read it.
async fn in_reason(frame: Bytes, replacing: &mut Replacing) -> Bytes {
    let Some((head, reason)) = frame.split_first_chunk::<BEFORE_REASON>() else { return frame };
    let Some(shown) = replacing.in_text(reason).await else { return frame };
    [head.as_slice(), shown.as_ref()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::{super::window::Found, *};

    const MASK: [u8; 4] = [1, 2, 3, 4];

    /// A frame that a browser sends.
    fn sent(head: u8, payload: &[u8]) -> BytesMut {
        frame(head, Some(MASK), BytesMut::from(payload))
    }

    /// The messages and control frames that come out of bytes that arrive in pieces of this length, with `123456` replaced.
    fn carried(bytes: &[u8], length: usize) -> Result<Vec<(u8, Vec<u8>)>, Broken> {
        let mut frames = Frames::new(true);
        let mut all = Vec::new();
        let mut message = Vec::new();
        let mut kind = 0;
        for piece in bytes.chunks(length) {
            frames.push(piece);
            while let Some(part) = frames.next()? {
                let Part::Data { head, ready: Ready { mut bytes, found }, .. } = part else {
                    let Part::Control(frame) = part else { unreachable!() };
                    all.push((frame[0], frame[6..].iter().zip(MASK.iter().cycle()).map(|(a, b)| a ^ b).collect()));
                    continue;
                };
                for Found { place, .. } in found {
                    if &bytes[place.clone()] == b"123456" {
                        bytes[place].copy_from_slice(b"987654");
                    }
                }
                if head & OPCODE != 0 {
                    kind = head & OPCODE;
                }
                message.extend_from_slice(&bytes);
                if head & FIN != 0 {
                    all.push((kind, std::mem::take(&mut message)));
                }
            }
        }
        Ok(all)
    }

    #[track_caller]
    fn check(frames: &[BytesMut], expected: &[(u8, &[u8])]) {
        let bytes = frames.concat();
        for length in [1, 2, 3, 7, 100, bytes.len()] {
            let all = carried(&bytes, length).unwrap();
            let all: Vec<(u8, &[u8])> = all.iter().map(|(kind, payload)| (*kind, payload.as_slice())).collect();
            assert!(all == expected, "in pieces of {length}");
        }
    }

    #[test]
    fn messages_keep_their_kind_and_their_ends_however_they_are_cut() {
        check(&[sent(FIN | 1, b"code 123456"), sent(FIN | 2, b"123456")], &[(1, b"code 987654"), (2, b"987654")]);
        check(&[sent(FIN | 1, b"")], &[(1, b"")]);
        let parts = [sent(1, b"a 12"), sent(FIN | 9, b"12345"), sent(0, b"34"), sent(FIN, b"56"), sent(FIN | 1, b"7")];
        check(&parts, &[(FIN | 9, b"12345"), (1, b"a 987654"), (1, b"7")]);
        check(&[sent(1, b"123456"), sent(FIN, b"7")], &[(1, b"1234567")]);
    }

    #[test]
    fn lengths_of_16_and_64_bits_are_read_and_written() {
        for length in [125, 126, 65_535, 65_536, 70_000] {
            let long = [vec![b'x'; length - 6], b"123456".to_vec()].concat();
            let expected = [vec![b'x'; length - 6], b"987654".to_vec()].concat();
            check(&[sent(FIN | 2, &long)], &[(2, &expected)]);
        }
    }

    #[test]
    fn an_origin_does_not_mask_what_it_sends() {
        let mut frames = Frames::new(false);
        frames.push(&frame(FIN | 1, None, BytesMut::from(&b"your code is 123456"[..])));
        let Ok(Some(Part::Data { head, mask: None, ready })) = frames.next() else { panic!() };
        assert_eq!((head, &ready.bytes[ready.found[0].place.clone()]), (FIN | 1, &b"123456"[..]));
        frames.push(&sent(FIN | 1, b"x"));
        assert!(frames.next().is_err());
    }

    #[test]
    fn what_is_no_frame_of_a_browser_is_refused() {
        let with_extension = sent(FIN | 0x40 | 1, b"x");
        let unmasked = [FIN | 1, 1, b'x'];
        let long_ping = sent(FIN | 9, &[0; 126]);
        for bytes in [&with_extension[..], &unmasked[..], &long_ping[..]] {
            assert!(carried(bytes, bytes.len()).is_err());
        }
    }
}
