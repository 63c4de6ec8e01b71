//! A WebP picture as brightness. The format has two kinds of pixels: lossy ones, which are brightness and colour apart, and
//! lossless ones, which are decoded with four bytes each. A lossy picture's transparency is a lossless picture of its own.

use std::io::Cursor;

use image_webp::{WebPDecoder, vp8::Vp8Decoder};
use zeroize::Zeroizing;

use super::{
    Unread,
    decode::{Picture, WHITE, on_white, size},
};
use crate::domain::limits::PICTURE_COLOURED_PIXELS_MAX;

/// A picture that is not animated.
struct Still<'a> {
    kind: [u8; 4],
    pixels: &'a [u8],
    /// The transparency of lossy pixels.
    alpha: Option<&'a [u8]>,
}

/// A lossy picture is brightness already; every other kind is decoded with its colours, all at once.
pub(super) fn webp(bytes: &[u8]) -> Result<Option<Picture>, Unread> {
    match still(bytes) {
        Some(Still { kind: [b'V', b'P', b'8', b' '], pixels, alpha: None }) => lossy(pixels),
        Some(Still { kind: [b'V', b'P', b'8', b' '], pixels, alpha: Some(alpha) }) => lossy_on_white(pixels, alpha),
        Some(Still { pixels, .. }) => coloured(&transparent(pixels), on_white),
        None => coloured(bytes, on_white),
    }
}

/// The picture in a file; `None` if it is animated or has no pixels.
fn still(bytes: &[u8]) -> Option<Still<'_>> {
    /// The bit of the flags of an extended file that marks it as transparent.
    const ALPHA: u8 = 0x10;

    let (mut rest, mut is_transparent, mut alpha) = (bytes.get(12..)?, false, None);
    loop {
        let (kind, after) = rest.split_first_chunk::<4>()?;
        let (size, content) = after.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
        // The decoder judges a chunk that is cut short.
        let whole = content.get(..size).unwrap_or(content);
        match kind {
            b"ANMF" | b"ANIM" => return None,
            b"VP8 " | b"VP8L" => return Some(Still { kind: *kind, pixels: whole, alpha }),
            b"VP8X" => is_transparent = whole.first().is_some_and(|flags| flags & ALPHA != 0),
            b"ALPH" => alpha = alpha.or(is_transparent.then_some(whole)),
            _ => {}
        }
        // Chunks begin at even places.
        rest = content.get(size.checked_next_multiple_of(2)?..)?;
    }
}

/// A file with these lossless pixels that is marked as transparent. The decoder decodes such a file into our memory;
/// for an opaque one it would take as much again, to leave the transparency out.
fn transparent(stream: &[u8]) -> Zeroizing<Vec<u8>> {
    /// The bit of the fifth byte that marks transparency.
    const TRANSPARENT: u8 = 0x10;

    let padding = stream.len() % 2;
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let head = [&b"RIFF"[..], &size(stream.len() + padding + 12), b"WEBPVP8L", &size(stream.len())].concat();
    let mut file = Zeroizing::new(Vec::with_capacity(head.len() + stream.len() + padding));
    file.extend_from_slice(&head);
    file.extend_from_slice(stream);
    if let Some(flags) = file.get_mut(head.len() + 4) {
        *flags |= TRANSPARENT;
    }
    file.resize(head.len() + stream.len() + padding, 0);
    file
}

/// A picture that is decoded with its colours, of which each pixel becomes a byte.
fn coloured(bytes: &[u8], byte_of: impl Fn(&[u8]) -> u8) -> Result<Option<Picture>, Unread> {
    let Ok(mut decoder) = WebPDecoder::new(Cursor::new(bytes)) else { return Ok(None) };
    let (wide, high) = decoder.dimensions();
    let (wide, high) = (wide as usize, high as usize);
    let count = size(wide, high)?;
    if count > PICTURE_COLOURED_PIXELS_MAX {
        return Err(Unread::TooManyColours);
    }
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut colours = Zeroizing::new(vec![0; count * channels]);
    if decoder.read_image(&mut colours).is_err() {
        return Ok(None);
    }
    drop(decoder);
    // The conversion is in place: there is no room for both.
    for nth in 0..count {
        let grey = colours.get(nth * channels..(nth + 1) * channels).map_or(WHITE, &byte_of);
        if let Some(kept) = colours.get_mut(nth) {
            *kept = grey;
        }
    }
    if let Some(rest) = colours.get_mut(count..) {
        rest.fill(0);
    }
    colours.truncate(count);
    colours.shrink_to_fit();
    Ok(Some(Picture { wide, high, pixels: colours }))
}

fn lossy(frame: &[u8]) -> Result<Option<Picture>, Unread> {
    // Three bytes of flags, three of a signature, then the sizes, with a scale in the upper two bits, which is ignored.
    let [_, _, _, _, _, _, wide_low, wide_high, high_low, high_high, ..] = *frame else { return Ok(None) };
    let side = |bytes| usize::from(u16::from_le_bytes(bytes) & 0x3FFF);
    let (wide, high) = (side([wide_low, wide_high]), side([high_low, high_high]));
    let count = size(wide, high)?;
    let Ok(frame) = Vp8Decoder::decode_frame(frame) else { return Ok(None) };
    let brightness = Zeroizing::new(frame.ybuf);
    // Rows are stored in whole blocks of 16 pixels.
    let rows = brightness.chunks_exact(wide.next_multiple_of(16)).take(high);
    let mut pixels = Zeroizing::new(Vec::with_capacity(count));
    for row in rows {
        pixels.extend_from_slice(row.get(..wide).unwrap_or_default());
    }
    Ok((pixels.len() == count).then_some(Picture { wide, high, pixels }))
}

/// A lossy picture, drawn on white. Its transparency comes first: it takes the most memory.
fn lossy_on_white(frame: &[u8], alpha: &[u8]) -> Result<Option<Picture>, Unread> {
    let [_, _, _, _, _, _, wide_low, wide_high, high_low, high_high, ..] = *frame else { return Ok(None) };
    let side = |low, high| u16::from_le_bytes([low, high]) & 0x3FFF;
    let (wide, high) = (side(wide_low, wide_high), side(high_low, high_high));
    let Some(alpha) = transparency(alpha, wide, high)? else { return Ok(None) };
    let Some(mut picture) = lossy(frame)? else { return Ok(None) };
    for (grey, alpha) in picture.pixels.iter_mut().zip(alpha.pixels.iter()) {
        *grey = on_white(&[*grey, *alpha]);
    }
    Ok(Some(picture))
}

/// The transparency of a lossy picture: a byte of flags, then either the bytes themselves or the green of a lossless
/// picture without its header, each as the difference from the value that its neighbours predict.
fn transparency(chunk: &[u8], wide: u16, high: u16) -> Result<Option<Picture>, Unread> {
    let (wide, high) = (usize::from(wide), usize::from(high));
    let count = size(wide, high)?;
    let Some((flags, content)) = chunk.split_first() else { return Ok(None) };
    let less = match flags & 3 {
        0 => Some(Picture { wide, high, pixels: Zeroizing::new(content.get(..count).unwrap_or_default().to_vec()) }),
        1 => {
            // A signature, then 14 bits for each side.
            let sides = u32::try_from((wide - 1) | (high - 1) << 14).unwrap_or_default();
            let stream = Zeroizing::new([&[0x2F][..], &sides.to_le_bytes(), content].concat());
            let green = |pixel: &[u8]| pixel.get(1).copied().unwrap_or(WHITE);
            coloured(&transparent(&stream), green)?
        }
        _ => None,
    };
    let Some(mut alpha) = less.filter(|less| less.pixels.len() == count) else { return Ok(None) };
    expect(&mut alpha, flags >> 2 & 3);
    Ok(Some(alpha))
}

/// Adds to each byte the value that its neighbours predict.
fn expect(alpha: &mut Picture, filter: u8) {
    if filter == 0 {
        return;
    }
    let wide = alpha.wide;
    for nth in 0..alpha.pixels.len() {
        let at = |back: usize| nth.checked_sub(back).and_then(|nth| alpha.pixels.get(nth)).copied().unwrap_or_default();
        let (left, above) = (at(1), at(wide));
        let expected = match (nth % wide, nth / wide, filter) {
            (0, 0, _) => 0,
            (0, _, _) | (_, 1.., 2) => above,
            (_, 0, _) | (_, _, 1) => left,
            _ => {
                let sum = i16::from(left) + i16::from(above) - i16::from(at(wide + 1));
                u8::try_from(sum.clamp(0, 255)).unwrap_or_default()
            }
        };
        if let Some(byte) = alpha.pixels.get_mut(nth) {
            *byte = byte.wrapping_add(expected);
        }
    }
}

#[cfg(test)]
mod tests {
    use image_webp::{ColorType, WebPEncoder};

    use super::*;

    #[test]
    fn a_lossless_webp_is_read_the_same_with_and_without_a_profile_and_transparency() {
        let (wide, high) = (37_u32, 11_u32);
        let grey = |nth: u32| u8::try_from(nth * 7 % 256).unwrap();
        let greys: Vec<u8> = (0..wide * high).map(grey).collect();
        for (kind, copies) in [(ColorType::Rgb8, 3), (ColorType::Rgba8, 4), (ColorType::L8, 1)] {
            let pixel = |grey: u8| (0..copies).map(move |nth| if nth == 3 { u8::MAX } else { grey });
            let colours: Vec<u8> = greys.iter().flat_map(|grey| pixel(*grey)).collect();
            for profile in [&b""[..], b"odd"] {
                let mut file = Vec::new();
                let mut encoder = WebPEncoder::new(&mut file);
                encoder.set_icc_profile(profile.to_vec());
                encoder.encode(&colours, wide, high, kind).unwrap();
                let read = Picture::decode(&file).unwrap();
                assert_eq!((read.wide, read.high), (37, 11));
                assert_eq!(*read.pixels, greys, "{kind:?} {profile:?}");
            }
        }
    }

    #[test]
    fn what_a_lossless_webp_leaves_transparent_is_white() {
        let mut file = Vec::new();
        WebPEncoder::new(&mut file).encode(&[0, 0, 0, 0, 0, 0, 0, 255], 2, 1, ColorType::Rgba8).unwrap();
        assert_eq!(*Picture::decode(&file).unwrap().pixels, [WHITE, 0]);
    }

    #[test]
    fn each_filter_of_transparency_is_undone() {
        let alpha = [9_u8, 250, 3, 77, 0, 255, 128, 64, 1, 200, 13, 5];
        let (wide, high) = (4, 3);
        let at = |x: usize, y: usize| alpha[y * wide + x];
        let expected = |x: usize, y: usize, filter| match (x, y, filter) {
            (0, 0, _) | (_, _, 0) => 0,
            (0, ..) => at(0, y - 1),
            (_, 0, _) | (_, _, 1) => at(x - 1, y),
            (_, _, 2) => at(x, y - 1),
            _ => {
                let sum = i16::from(at(x - 1, y)) + i16::from(at(x, y - 1)) - i16::from(at(x - 1, y - 1));
                u8::try_from(sum.clamp(0, 255)).unwrap()
            }
        };
        for filter in 0..4 {
            let less = (0..wide * high).map(|nth| alpha[nth].wrapping_sub(expected(nth % wide, nth / wide, filter)));
            let chunk: Vec<u8> = std::iter::once(filter << 2).chain(less).collect();
            assert_eq!(*transparency(&chunk, 4, 3).unwrap().unwrap().pixels, alpha, "{filter}");
        }
        assert!(transparency(&[0; 12], 4, 3).unwrap().is_none(), "one is missing");
        assert!(transparency(&[], 4, 3).unwrap().is_none());
    }

    #[test]
    fn what_a_lossy_webp_leaves_transparent_is_white() {
        // All of it is black, and the code is in its transparency alone.
        let file = std::fs::read("tests/fixtures/qr-ink-alone-lossy.webp").unwrap();
        let read = Picture::decode(&file).unwrap();
        assert_eq!((read.at(0, 0), read.at(26, 26)), (WHITE, 16));
    }
}
