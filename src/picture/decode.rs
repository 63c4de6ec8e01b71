//! A picture as brightness, one byte per pixel. Size and format are checked before decoding: a small file can hold a
//! huge picture. A PNG is decoded row by row, so that its colours are never all in memory at once.

use std::io::Cursor;

use image_webp::{WebPDecoder, vp8::Vp8Decoder};
use zeroize::Zeroizing;
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::Unread;
use crate::domain::limits::{PICTURE_COLOURED_PIXELS_MAX, PICTURE_PIXELS_MAX};

/// Memory of the PNG decoder besides the rows: its window and a colour profile.
const PNG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pixels of the largest picture that is kept at its full size: more than a 5K screen. What is larger comes from a camera
/// or from several screens, whose codes are large too.
const PIXELS_KEPT: usize = 20_000_000;
const WHITE: u8 = u8::MAX;

/// The brightness of each pixel, row by row.
pub(super) struct Picture {
    pub(super) wide: usize,
    pub(super) high: usize,
    pub(super) pixels: Zeroizing<Vec<u8>>,
}

impl Picture {
    /// Decodes a PNG, a JPEG or a WebP.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unread> {
        let decoded = match bytes {
            [0x89, b'P', b'N', b'G', ..] => png(bytes)?,
            [0xFF, 0xD8, 0xFF, ..] => jpeg(bytes)?,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp(bytes)?,
            _ => None,
        };
        let picture = decoded.ok_or(Unread::NoPicture)?;
        let is_large = picture.wide * picture.high > PIXELS_KEPT && picture.wide > 1 && picture.high > 1;
        Ok(if is_large { picture.halved() } else { picture })
    }

    /// The brightness of a pixel; white outside the picture.
    pub(super) fn at(&self, x: usize, y: usize) -> u8 {
        self.pixels.get(y * self.wide + x).copied().unwrap_or(WHITE)
    }

    /// The pixels of a row; none below the picture.
    pub(super) fn row(&self, y: usize) -> &[u8] {
        self.pixels.get(y * self.wide..(y + 1) * self.wide).unwrap_or_default()
    }

    /// The picture at half its size: four pixels become one.
    pub(super) fn halved(&self) -> Self {
        let (wide, high) = (self.wide / 2, self.high / 2);
        let mut pixels = Zeroizing::new(Vec::with_capacity(wide * high));
        for rows in self.pixels.chunks_exact(self.wide * 2) {
            let (upper, lower) = rows.split_at(self.wide);
            for (upper, lower) in upper.chunks_exact(2).zip(lower.chunks_exact(2)) {
                if let ([a, b], [c, d]) = (upper, lower) {
                    pixels.push(a.midpoint(*b).midpoint(c.midpoint(*d)));
                }
            }
        }
        Self { wide, high, pixels }
    }
}

/// The number of pixels, if it is within the limit.
fn size(wide: usize, high: usize) -> Result<usize, Unread> {
    match wide.checked_mul(high) {
        Some(0) => Err(Unread::NoPicture),
        Some(pixels) if pixels <= PICTURE_PIXELS_MAX => Ok(pixels),
        Some(_) | None => Err(Unread::TooManyPixels),
    }
}

fn png(bytes: &[u8]) -> Result<Option<Picture>, Unread> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: PNG_BYTES_MAX });
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let Ok(header) = decoder.read_header_info() else { return Ok(None) };
    let (wide, high) = (header.width as usize, header.height as usize);
    let mut pixels = Zeroizing::new(vec![WHITE; size(wide, high)?]);
    let Ok(mut reader) = decoder.read_info() else { return Ok(None) };
    let channels = reader.output_color_type().0.samples();
    let (mut line, mut before) = (Zeroizing::new(vec![WHITE; wide]), Zeroizing::new(Vec::new()));
    for nth in 0.. {
        let row = match reader.next_interlaced_row() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(_) => return Ok(None),
        };
        // Most rows of a screenshot equal the one before.
        if row.data() != before.as_slice() {
            for (grey, pixel) in line.iter_mut().zip(row.data().chunks_exact(channels)) {
                *grey = on_white(pixel);
            }
            before.clear();
            before.extend_from_slice(row.data());
        }
        let line = line.get(..row.data().len() / channels).unwrap_or_default();
        match row.interlace() {
            png::InterlaceInfo::Adam7(pass) => png::expand_interlaced_row(&mut pixels, wide, line, pass, 8),
            png::InterlaceInfo::Null(_) => {
                if let Some(kept) = pixels.get_mut(nth * wide..nth * wide + line.len()) {
                    kept.copy_from_slice(line);
                }
            }
        }
    }
    Ok(Some(Picture { wide, high, pixels }))
}

/// The brightness of a pixel; transparent ones are drawn on white.
fn on_white(pixel: &[u8]) -> u8 {
    let (grey, alpha) = match *pixel {
        [red, green, blue] => return luma(red, green, blue),
        [grey] => return grey,
        [grey, alpha] => (grey, alpha),
        [red, green, blue, alpha] => (luma(red, green, blue), alpha),
        _ => return WHITE,
    };
    if alpha == u8::MAX {
        return grey;
    }
    let ink = u16::from(WHITE - grey) * u16::from(alpha) / u16::from(u8::MAX);
    WHITE - u8::try_from(ink).unwrap_or(WHITE)
}

/// Luminance by Rec. 709, in parts of 256.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    let [bright, _] = (u16::from(red) * 54 + u16::from(green) * 183 + u16::from(blue) * 19).to_be_bytes();
    bright
}

fn jpeg(bytes: &[u8]) -> Result<Option<Picture>, Unread> {
    let options = DecoderOptions::default()
        .set_max_width(PICTURE_PIXELS_MAX)
        .set_max_height(PICTURE_PIXELS_MAX)
        .jpeg_set_out_colorspace(ColorSpace::Luma);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    if decoder.decode_headers().is_err() {
        return Ok(None);
    }
    let Some((wide, high)) = decoder.dimensions() else { return Ok(None) };
    let count = size(wide, high)?;
    let pixels = decoder.decode().map(Zeroizing::new).ok().filter(|pixels| pixels.len() == count);
    Ok(pixels.map(|pixels| Picture { wide, high, pixels }))
}

/// A lossy picture is brightness already; every other kind is decoded with its colours, all at once.
fn webp(bytes: &[u8]) -> Result<Option<Picture>, Unread> {
    match still(bytes) {
        Some((b"VP8 ", frame)) => lossy(frame),
        Some((_, stream)) => coloured(&opaque(stream)),
        None => coloured(bytes),
    }
}

/// The first chunk of pixels and its kind, if it is all there is to see: no animation, and no transparency apart.
fn still(bytes: &[u8]) -> Option<(&[u8; 4], &[u8])> {
    let mut rest = bytes.get(12..)?;
    loop {
        let (kind, after) = rest.split_first_chunk::<4>()?;
        let (size, content) = after.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
        match kind {
            b"ANMF" | b"ANIM" | b"ALPH" => return None,
            // One that is cut short is for the decoder to judge.
            b"VP8 " | b"VP8L" => return Some((kind, content.get(..size).unwrap_or(content))),
            // Chunks begin at even places.
            _ => rest = content.get(size.checked_next_multiple_of(2)?..)?,
        }
    }
}

/// A file with these lossless pixels that says that it may be transparent. Then the decoder decodes into our memory: it
/// would take as much again to leave out what is not transparent anywhere.
fn opaque(stream: &[u8]) -> Zeroizing<Vec<u8>> {
    /// The bit of the fifth byte that says so.
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

fn coloured(bytes: &[u8]) -> Result<Option<Picture>, Unread> {
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
    // In place: there is no room for both.
    for nth in 0..count {
        let grey = colours.get(nth * channels..(nth + 1) * channels).map_or(WHITE, on_white);
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
    // Three bytes of flags, three of a signature, then the sizes, with a scale that nobody uses in the upper two bits.
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
}
