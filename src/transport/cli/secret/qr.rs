//! The QR code in a picture: what a service shows when a second factor is set up.
//!
//! Size and format are looked at before anything is decoded: a small file can hold a huge picture.

use std::io::Cursor;

use image::{GrayImage, ImageFormat, ImageReader, Limits, Luma};
use zeroize::{Zeroize as _, Zeroizing};

use crate::transport::cli::Failure;

/// Bytes of a picture's file.
pub(super) const IMAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Pixels of a picture: a whole screen has as many, and a code needs a hundredth.
const PIXELS_MAX: u64 = 4_000_000;
/// Bytes that decoding may take: four channels of two bytes for each pixel, and as much again.
const DECODING_BYTES_MAX: u64 = PIXELS_MAX * 16;

/// Reads the one QR code of a picture.
pub(super) fn read(bytes: &[u8]) -> Result<Zeroizing<String>, Failure> {
    let grey = decode(bytes)?;
    let (wide, high) = (grey.width() as usize, grey.height() as usize);
    let mut pixels = grey.into_raw();
    let at = |x: usize, y: usize| pixels.get(y * wide + x).copied().unwrap_or(u8::MAX);
    let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(wide, high, at);
    let mut found = prepared.detect_grids();
    if found.is_empty() {
        // Light on dark, as dark pages show it.
        prepared = rqrr::PreparedImage::prepare_from_greyscale(wide, high, |x, y| u8::MAX - at(x, y));
        found = prepared.detect_grids();
    }
    let text = match found.as_slice() {
        [] => Err(Failure::invalid("no QR code was found in the picture; cut it out, or make it larger")),
        [code] => match code.decode() {
            Ok((_, text)) => Ok(Zeroizing::new(text)),
            Err(_) => Err(Failure::invalid("the QR code can't be read; take a sharper picture")),
        },
        several => Err(Failure::invalid(format!("the picture holds {} QR codes; cut one out", several.len()))),
    };
    pixels.zeroize();
    text
}

fn decode(bytes: &[u8]) -> Result<GrayImage, Failure> {
    let not_a_picture = || Failure::invalid("the file is no PNG or JPEG picture that can be read");
    let format = image::guess_format(bytes).map_err(|_| not_a_picture())?;
    if !matches!(format, ImageFormat::Png | ImageFormat::Jpeg) {
        return Err(not_a_picture());
    }
    let reader = || ImageReader::with_format(Cursor::new(bytes), format);
    let (wide, high) = reader().into_dimensions().map_err(|_| not_a_picture())?;
    if u64::from(wide) * u64::from(high) > PIXELS_MAX {
        return Err(Failure::invalid("the picture has more than 4 million pixels; cut the QR code out"));
    }
    let mut reader = reader();
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODING_BYTES_MAX);
    reader.limits(limits);
    let decoded = reader.decode().map_err(|_| not_a_picture())?;
    if !decoded.color().has_alpha() {
        return Ok(decoded.into_luma8());
    }
    // What can be seen through lies on white paper.
    let pixels = decoded.into_luma_alpha8();
    let on_white = GrayImage::from_fn(wide, high, |x, y| {
        let [grey, alpha] = pixels.get_pixel(x, y).0;
        let ink = u16::from(u8::MAX - grey) * u16::from(alpha) / u16::from(u8::MAX);
        Luma([u8::MAX - u8::try_from(ink).unwrap_or(u8::MAX)])
    });
    pixels.into_raw().zeroize();
    Ok(on_white)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PNG whose header says how large it is and whose data are missing.
    fn empty_png(wide: u32, high: u32) -> Vec<u8> {
        let mut header = b"IHDR".to_vec();
        header.extend_from_slice(&wide.to_be_bytes());
        header.extend_from_slice(&high.to_be_bytes());
        header.extend_from_slice(&[8, 0, 0, 0, 0]);
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        png.extend_from_slice(&13_u32.to_be_bytes());
        png.extend_from_slice(&header);
        png.extend_from_slice(&crc32fast::hash(&header).to_be_bytes());
        png.extend_from_slice(&0_u32.to_be_bytes());
        png.extend_from_slice(b"IDAT");
        png.extend_from_slice(&crc32fast::hash(b"IDAT").to_be_bytes());
        png
    }

    fn white_png(wide: u32, high: u32) -> Vec<u8> {
        let mut png = Vec::new();
        GrayImage::from_pixel(wide, high, Luma([255])).write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
        png
    }

    fn refusal(bytes: &[u8]) -> String {
        read(bytes).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_huge_picture_is_refused_by_its_header() {
        assert!(refusal(&empty_png(60_000, 60_000)).contains("4 million pixels"));
        assert!(refusal(&empty_png(2001, 2000)).contains("4 million pixels"));
        assert!(refusal(&white_png(2000, 2000)).contains("no QR code"));
    }

    #[test]
    fn a_code_is_read_from_dark_pages_and_from_pictures_without_a_background() {
        let file = include_bytes!("../../../../tests/fixtures/qr-one.png");
        let plain = image::load_from_memory(file).unwrap().into_luma8();
        let written = |image: image::DynamicImage| {
            let mut png = Vec::new();
            image.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).unwrap();
            png
        };
        let of = |pixel: fn(u8) -> image::LumaA<u8>| {
            let (wide, high) = plain.dimensions();
            written(image::GrayAlphaImage::from_fn(wide, high, |x, y| pixel(plain.get_pixel(x, y).0[0])).into())
        };
        let text = read(file).unwrap();

        let dark = of(|grey| image::LumaA([255 - grey, 255]));
        let no_background = of(|grey| image::LumaA([0, 255 - grey]));
        let pale_background =
            of(|grey| image::LumaA([if grey < 128 { 0 } else { 200 }, if grey < 128 { 255 } else { 0 }]));

        for picture in [dark, no_background, pale_background] {
            assert_eq!(*read(&picture).unwrap(), *text);
        }
    }

    #[test]
    fn what_is_no_picture_or_cut_short_is_refused() {
        for bytes in [b"GIF89a".as_slice(), b"", b"\x89PNG\r\n\x1a\n", &empty_png(10, 10)] {
            assert!(refusal(bytes).contains("no PNG or JPEG"));
        }
    }
}
