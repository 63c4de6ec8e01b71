//! Finds the QR codes in a picture.

use zeroize::Zeroizing;

use super::{Unread, decode::Picture};

/// The smallest number of pixels to which a large picture is scaled down. Codes in a screenshot or photograph are
/// large, and the time grows with the number of pixels.
const PIXELS_MIN: usize = 250_000;

/// Reads the QR codes in a picture.
pub(super) fn look_at(picture: &Picture) -> Result<Vec<Zeroizing<String>>, Unread> {
    let fits = |whole: &Picture| whole.wide * whole.high / 4 >= PIXELS_MIN;
    let half = |whole: &Picture| fits(whole).then(|| whole.halved());
    let smaller: Vec<Picture> = std::iter::successors(half(picture), half).collect();
    // Use the smallest size at which a code can be read; if there is none, the full size.
    let read = smaller.iter().rev().map(codes_of).find(|texts| texts.iter().any(Option::is_some));
    let texts = read.unwrap_or_else(|| codes_of(picture));
    if texts.is_empty() {
        return Err(Unread::NoCode);
    }
    let texts: Vec<_> = texts.into_iter().flatten().collect();
    if texts.is_empty() { Err(Unread::Illegible) } else { Ok(texts) }
}

/// The texts of the codes in a picture; `None` for an unreadable one.
fn codes_of(picture: &Picture) -> Vec<Option<Zeroizing<String>>> {
    let seen = |light: u8| {
        let at = |x: usize, y: usize| picture.at(x, y) ^ light;
        let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(picture.wide, picture.high, at);
        let codes = prepared.detect_grids();
        codes.iter().map(|code| code.decode().ok().map(|(_, text)| Zeroizing::new(text))).collect::<Vec<_>>()
    };
    let texts = seen(0);
    // Light on dark, as on dark pages.
    if texts.is_empty() { seen(u8::MAX) } else { texts }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::read, *};
    use crate::domain::limits::PICTURE_PIXELS_MAX;

    const ONE: &str = "tests/fixtures/qr-one.png";

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

    /// A PNG of pixels that are rows of samples.
    fn png_of(wide: usize, high: usize, colour: png::ColorType, samples: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, u32::try_from(wide).unwrap(), u32::try_from(high).unwrap());
        encoder.set_color(colour);
        encoder.set_compression(png::Compression::High);
        encoder.write_header().unwrap().write_image_data(samples).unwrap();
        file
    }

    fn text_of(file: &[u8]) -> String {
        let [text] = &read(file).unwrap()[..] else { panic!("several codes") };
        text.to_string()
    }

    fn refusal(file: &[u8]) -> String {
        read(file).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_huge_picture_is_refused_by_its_header() {
        let side = u32::try_from(PICTURE_PIXELS_MAX.isqrt()).unwrap();
        for (wide, high) in [(60_000, 60_000), (side + 1, side + 1), (u32::MAX >> 1, u32::MAX >> 1)] {
            assert!(refusal(&empty_png(wide, high)).contains("40 million pixels"), "{wide}x{high}");
        }
        assert!(refusal(&empty_png(8000, 5000)).contains("no PNG or JPEG"));
    }

    #[test]
    fn whole_screens_are_read() {
        for file in ["qr-screenshot-3840x2160.png", "qr-screenshot-macbook-3024x1964.png"] {
            let picture = Picture::decode(&fs::read(format!("tests/fixtures/{file}")).unwrap()).unwrap();
            assert!(look_at(&picture).unwrap()[0].starts_with("otpauth://totp/"), "{file}");
        }
    }

    #[test]
    fn a_code_is_read_from_dark_pages_and_from_pictures_without_a_background() {
        let file = fs::read(ONE).unwrap();
        let plain = Picture::decode(&file).unwrap();
        let of = |colour: png::ColorType, pixel: fn(u8) -> Vec<u8>| {
            let all = (0..plain.high).flat_map(|y| (0..plain.wide).map(move |x| (x, y)));
            let samples: Vec<u8> = all.flat_map(|(x, y)| pixel(plain.at(x, y))).collect();
            png_of(plain.wide, plain.high, colour, &samples)
        };
        let text = text_of(&file);

        for picture in [
            of(png::ColorType::GrayscaleAlpha, |grey| vec![255 - grey, 255]),
            of(png::ColorType::GrayscaleAlpha, |grey| vec![0, 255 - grey]),
            of(png::ColorType::Rgba, |grey| if grey < 128 { vec![9, 9, 9, 255] } else { vec![200, 0, 0, 0] }),
            of(png::ColorType::Rgb, |grey| if grey < 128 { vec![0, 0, 90] } else { vec![255, 240, 200] }),
        ] {
            assert_eq!(text_of(&picture), text);
        }
    }

    #[test]
    fn interlaced_pictures_and_photographs_are_read() {
        let text = text_of(&fs::read(ONE).unwrap());
        for file in ["qr-one-interlaced.png", "qr-one.jpg", "qr-one-progressive.jpg", "qr-one-palette.png"] {
            assert_eq!(text_of(&fs::read(format!("tests/fixtures/{file}")).unwrap()), text, "{file}");
        }
    }

    #[test]
    fn what_is_no_picture_or_cut_short_is_refused() {
        let whole = fs::read(ONE).unwrap();
        let jpeg = fs::read("tests/fixtures/qr-one.jpg").unwrap();
        for bytes in [
            b"GIF89a".as_slice(),
            b"",
            b"\x89PNG\r\n\x1a\n",
            &empty_png(10, 10),
            &whole[..whole.len() / 2],
            &jpeg[..40],
        ] {
            assert!(refusal(bytes).contains("no PNG or JPEG"));
        }
    }
}
