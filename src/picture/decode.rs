//! A picture as brightness, one byte per pixel. Size and format are checked before decoding: a small file can hold a
//! huge picture. A PNG is decoded row by row, so that its colours are never all in memory at once.

use std::io::Cursor;

use zeroize::Zeroizing;
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::{Unread, webp::webp};
use crate::domain::limits::PICTURE_PIXELS_MAX;

/// Memory of the PNG decoder besides the rows: its window and a colour profile.
const PNG_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Pixels of the largest picture that is kept at its full size: more than a 5K screen. A larger one comes from a camera
/// or from several screens, whose codes are large too.
const PIXELS_KEPT: usize = 20_000_000;
pub(super) const WHITE: u8 = u8::MAX;

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

    /// The brightness of a pixel, whose column must be within the picture; white below the picture.
    pub(super) fn at(&self, x: usize, y: usize) -> u8 {
        self.pixels.get(y * self.wide + x).copied().unwrap_or(WHITE)
    }

    /// The pixels of a row; empty below the picture.
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
pub(super) fn size(wide: usize, high: usize) -> Result<usize, Unread> {
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
pub(super) fn on_white(pixel: &[u8]) -> u8 {
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
