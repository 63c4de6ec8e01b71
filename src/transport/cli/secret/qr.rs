//! Reads the QR code in a picture, as services show it when a second factor is set up.

use std::{
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use zeroize::Zeroizing;

use super::picture::Picture;
use crate::transport::cli::Failure;

/// The time limit for a picture. A whole screen takes a fraction of it; many patterns that only resemble a code would
/// take hours. An unoptimised build needs several times as long.
const LOOKED_AT_FOR: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 2 });
/// The smallest number of pixels to which a large picture is scaled down. Codes in a screenshot or photograph are
/// large, and the time grows with the number of pixels.
const PIXELS_MIN: usize = 250_000;

/// Reads the only QR code in a picture.
pub(super) fn read(file: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, Failure> {
    within(LOOKED_AT_FOR, move || look_at(&Picture::decode(&file)?))
}

/// Runs work that may never end, or panic, on a separate thread, and waits for a limited time. The thread can't be
/// ended: it runs until the process ends, right after the command. A long-running process would need a child process
/// instead.
fn within<T: Send + 'static>(
    most: Duration,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (tell, told) = sync_channel(1);
    let began = thread::Builder::new().name("qr".to_owned()).spawn(move || tell.send(work()));
    began.map_err(|cause| Failure::invalid(format!("no thread could be started: {cause}")))?;
    told.recv_timeout(most).unwrap_or_else(|cause| {
        Err(Failure::invalid(match cause {
            RecvTimeoutError::Timeout => {
                "no QR code was found in the picture in time; cut the code out, and take nothing else along"
            }
            RecvTimeoutError::Disconnected => {
                "the reader of QR codes failed at this picture; cut the code out, or take a sharper picture"
            }
        }))
    })
}

fn look_at(picture: &Picture) -> Result<Zeroizing<String>, Failure> {
    let fits = |whole: &Picture| whole.wide * whole.high / 4 >= PIXELS_MIN;
    let half = |whole: &Picture| fits(whole).then(|| whole.halved());
    let smaller: Vec<Picture> = std::iter::successors(half(picture), half).collect();
    // Use the smallest size at which a code can be read; if there is none, the full size.
    let read = smaller.iter().rev().map(codes_of).find(|texts| texts.iter().any(Option::is_some));
    let texts = read.unwrap_or_else(|| codes_of(picture));
    let several = texts.len();
    let mut texts = texts.into_iter();
    match (texts.next(), texts.next()) {
        (None, _) => Err(Failure::invalid("no QR code was found in the picture; cut it out, or make it larger")),
        (Some(Some(text)), None) => Ok(text),
        (Some(None), None) => Err(Failure::invalid("the QR code can't be read; take a sharper picture")),
        (Some(_), Some(_)) => Err(Failure::invalid(format!("the picture holds {several} QR codes; cut one out"))),
    }
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

    use super::*;
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

    fn grey_png(wide: usize, high: usize, grey: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        let samples: Vec<u8> =
            (0..high).flat_map(|y| (0..wide).map(move |x| (x, y))).map(|(x, y)| grey(x, y)).collect();
        png_of(wide, high, png::ColorType::Grayscale, &samples)
    }

    /// Finder patterns side by side, each of them seven modules of so many pixels, and a white one between two.
    fn tiled_finder_patterns(side: usize, module: usize) -> Vec<u8> {
        let pattern = |at: usize| (at / module) % 8;
        grey_png(side, side, |x, y| {
            let rings = [pattern(x), pattern(y)].map(|at| if at == 7 { 0 } else { 4 - at.abs_diff(3) });
            let inside = rings[0].min(rings[1]);
            if matches!(inside, 0 | 2) { 255 } else { 0 }
        })
    }

    fn text_of(file: &[u8]) -> String {
        read(Zeroizing::new(file.to_vec())).unwrap().to_string()
    }

    fn refusal(file: &[u8]) -> String {
        read(Zeroizing::new(file.to_vec())).map(|_| ()).unwrap_err().to_string()
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
            assert!(look_at(&picture).unwrap().starts_with("otpauth://totp/"), "{file}");
        }
    }

    #[test]
    fn a_picture_of_tiled_finder_patterns_is_given_up_in_time() {
        let picture = tiled_finder_patterns(2000, 1);
        assert!(picture.len() < 64 * 1024, "{} bytes", picture.len());
        let told = within(Duration::from_secs(2), move || look_at(&Picture::decode(&picture)?)).map(|_| ());
        assert!(told.unwrap_err().to_string().contains("in time"));
    }

    #[test]
    fn work_that_does_not_end_or_panics_is_an_error() {
        let told = within(Duration::ZERO, || -> Result<(), Failure> {
            loop {
                thread::park();
            }
        });
        assert!(told.unwrap_err().to_string().contains("in time"));
        let told = within(Duration::MAX, || -> Result<(), Failure> { panic!("at a picture") });
        assert!(told.unwrap_err().to_string().contains("failed at this picture"));
        assert_eq!(within(Duration::MAX, || Ok(7)).unwrap(), 7);
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
