//! Finds the QR codes in a picture: at several sizes first, then after rewrites that undo the picture's flaws.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{
    Unread,
    decode::Picture,
    readers::{self, Place, Reading},
    rewrite::{blurred, deblurred, doubled, inverted, split, without_specks},
    spent::Begun,
};

/// No further rewrite is begun after this time, so that a picture without a code gets an answer within the limit of the
/// child. The search before the rewrites has no bound but that limit: if it were cut short, some of several codes would
/// pass for all of them. An unoptimised build needs several times as long.
const SEARCH: Duration = Duration::from_millis(if cfg!(debug_assertions) { 3000 } else { 1000 });
/// Pixels of the smallest size to which a picture is scaled down.
const PIXELS_MIN: usize = 20_000;
/// Pixels of the largest picture that is rewritten. A larger one is scaled down first.
const PIXELS_REWRITTEN: usize = 1_500_000;

/// A rewrite, and the reader that looks at it.
type Attempt = (fn(&Picture) -> Picture, fn(&Picture) -> Vec<Reading>);

/// The attempts, in turn, if no code was found at any size. Each entry found codes that the ones before it did not, of
/// those that `tests/interop/qr_pictures.py` makes; the cheap ones are first.
const ATTEMPTS: [Attempt; 13] = [
    // Specks, shadows and little contrast.
    (|picture| split(&without_specks(picture), 20, 0), readers::by_rings),
    (|picture| split(picture, 12, 3), readers::by_rings),
    (|picture| split(picture, 8, 0), readers::by_corners),
    // Noise.
    (|picture| split(&blurred(picture, 1), 20, 0), readers::by_rings),
    // Blur, from little to much.
    (|picture| split(&deblurred(picture, 2, 5), 16, 0), readers::by_rings),
    (|picture| deblurred(picture, 1, 5), readers::by_rings),
    (|picture| deblurred(picture, 3, 8), readers::by_rings),
    // Modules of one or two pixels.
    (|picture| split(&blurred(&doubled(picture), 2), 24, 0), readers::by_rings),
    (|picture| deblurred(&doubled(picture), 4, 8), readers::by_rings),
    // The other reader tolerates more perspective, and reports whether there is a code at all.
    (|picture| blurred(picture, 1), readers::by_corners),
    (|picture| split(&blurred(&doubled(picture), 2), 24, 0), readers::by_corners),
    (|picture| split(&deblurred(&blurred(picture, 1), 2, 3), 20, 0), readers::by_corners),
    (doubled, readers::by_corners),
];

/// Pixels of the smallest code's side.
const SIDE_MIN: usize = 21;

/// Reads the QR codes in a picture.
pub(super) fn look_at(picture: &Picture) -> Result<Vec<Zeroizing<String>>, Unread> {
    if picture.wide.min(picture.high) < SIDE_MIN {
        return Err(Unread::NoCode);
    }
    let begun = Begun::now();
    let is_large = |whole: &Picture| whole.pixels.len() / 4 >= PIXELS_MIN && whole.wide.min(whole.high) / 2 >= SIDE_MIN;
    let half = |whole: &Picture| is_large(whole).then(|| whole.halved());
    let smaller: Vec<Picture> = std::iter::successors(half(picture), half).collect();
    let sizes = || smaller.iter().rev().chain([picture]);
    let mut found = Readings::default();
    for size in sizes() {
        // Dark codes on light ground, and light ones on dark ground.
        for light in [size, &inverted(size)] {
            found.add(readers::by_rings(light));
            // In a large picture this takes long, and the other reader has missed only codes that are both small and
            // skewed.
            if found.codes.is_empty() || light.pixels.len() <= PIXELS_REWRITTEN {
                found.add(readers::by_corners(light));
            }
        }
    }
    let rewritten = sizes().rev().filter(|size| size.pixels.len() <= PIXELS_REWRITTEN).take(2);
    for (size, (rewrite, reader)) in rewritten.flat_map(|size| ATTEMPTS.map(|rung| (size, rung))) {
        if !found.codes.is_empty() || begun.spent() > SEARCH {
            break;
        }
        found.add(reader(&rewrite(size)));
    }
    found.texts()
}

/// The codes found so far.
#[derive(Default)]
struct Readings {
    codes: Vec<Code>,
    saw_illegible: bool,
}

/// A place at which a code was read.
struct Code {
    place: Place,
    /// `None` once two readings disagreed: a wrong seed is worse than none.
    text: Option<Zeroizing<String>>,
}

impl Readings {
    fn add(&mut self, sights: Vec<Reading>) {
        for sight in sights {
            match sight {
                Reading::Illegible => self.saw_illegible = true,
                Reading::Text(place, text) => self.add_text(place, text),
            }
        }
    }

    fn add_text(&mut self, place: Place, text: Zeroizing<String>) {
        match self.codes.iter_mut().find(|code| code.place.is_at(place)) {
            Some(code) if code.text.as_ref() != Some(&text) => code.text = None,
            Some(_) => {}
            None => self.codes.push(Code { place, text: Some(text) }),
        }
    }

    /// The texts, each once, in the order in which a person reads: by lines, then from the left.
    fn texts(mut self) -> Result<Vec<Zeroizing<String>>, Unread> {
        self.codes.sort_by(|one, other| {
            one.place.line().total_cmp(&other.place.line()).then(one.place.x.total_cmp(&other.place.x))
        });
        let saw_one = self.saw_illegible || !self.codes.is_empty();
        let mut texts: Vec<Zeroizing<String>> = Vec::new();
        for text in self.codes.into_iter().filter_map(|code| code.text) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        match (texts.is_empty(), saw_one) {
            (false, _) => Ok(texts),
            (true, true) => Err(Unread::Illegible),
            (true, false) => Err(Unread::NoCode),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::read, *};
    use crate::domain::limits::PICTURE_PIXELS_MAX;

    const ONE: &str = "tests/fixtures/qr-one.png";

    /// A PNG whose header states its size, and whose data are missing.
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

    /// A PNG whose rows of pixels are these samples.
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

    fn sight(at: f32, text: &str) -> Reading {
        Reading::Text(Place { x: at, y: 0.5, wide: 0.2, high: 0.8 }, Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn a_code_on_which_two_readings_disagree_is_not_read() {
        let mut found = Readings::default();
        found.add(vec![sight(0.2, "a"), sight(0.8, "b")]);
        found.add(vec![sight(0.21, "c"), sight(0.8, "b"), Reading::Illegible]);
        found.add(vec![sight(0.2, "a"), sight(0.5, "b")]);
        let texts = found.texts().unwrap();
        assert_eq!(texts.iter().map(|text| text.as_str()).collect::<Vec<_>>(), ["b"]);
        let mut found = Readings::default();
        found.add(vec![sight(0.2, "a"), sight(0.2, "c")]);
        assert_eq!(found.texts(), Err(Unread::Illegible));
        assert_eq!(Readings::default().texts(), Err(Unread::NoCode));
    }

    #[test]
    fn a_huge_picture_is_refused_by_its_header() {
        let side = u32::try_from(PICTURE_PIXELS_MAX.isqrt()).unwrap();
        for (wide, high) in [(60_000, 60_000), (side + 1, side + 1), (u32::MAX >> 1, u32::MAX >> 1)] {
            assert!(refusal(&empty_png(wide, high)).contains("40 million pixels"), "{wide}x{high}");
        }
        assert!(refusal(&empty_png(8000, 5000)).contains("no PNG, JPEG or WebP"));
    }

    #[test]
    fn whole_screens_are_read() {
        for file in ["qr-screenshot-3840x2160.png", "qr-screenshot-macbook-3024x1964.png"] {
            let picture = Picture::decode(&fs::read(format!("tests/fixtures/{file}")).unwrap()).unwrap();
            assert!(look_at(&picture).unwrap()[0].starts_with("otpauth://totp/"), "{file}");
        }
    }

    /// A screen with codes, each with its text, its pixels a module and its place, dark on light.
    fn screen(wide: usize, high: usize, codes: &[(&str, usize, (usize, usize))]) -> Picture {
        let mut screen = Picture { wide, high, pixels: Zeroizing::new(vec![255; wide * high]) };
        for (text, module, (left, top)) in codes {
            let code = qrcodegen::QrCode::encode_text(text, qrcodegen::QrCodeEcc::Medium).unwrap();
            let side = usize::try_from(code.size()).unwrap() * module;
            let at = |pixel: usize| i32::try_from(pixel / module).unwrap();
            for (x, y) in (0..side).flat_map(|y| (0..side).map(move |x| (x, y))) {
                if code.get_module(at(x), at(y)) {
                    screen.pixels[(top + y) * wide + left + x] = 0;
                }
            }
        }
        screen
    }

    #[test]
    fn several_small_codes_on_a_large_screen_are_all_read() {
        const OTHERS: [&str; 4] =
            ["otpauth://totp/A:a", "otpauth://totp/B:b", "otpauth://totp/C:c", "otpauth://totp/D:d"];
        let link = |name| format!("{name}?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let [a, b, c, d] = OTHERS.map(link);
        for (wide, high, codes) in [
            (3840, 2160, vec![(&*a, 4, (3637, 728)), (&*b, 4, (2616, 1848))]),
            (
                3840,
                2160,
                vec![(&*a, 3, (1873, 239)), (&*b, 10, (900, 900)), (&*c, 3, (526, 1347)), (&*d, 5, (3000, 77))],
            ),
            (2560, 1440, vec![(&*a, 3, (944, 857)), (&*b, 3, (1426, 51)), (&*c, 4, (100, 1200))]),
        ] {
            let read = look_at(&screen(wide, high, &codes)).unwrap();
            let mut read: Vec<_> = read.iter().map(|text| text.as_str()).collect();
            read.sort_unstable();
            assert_eq!(read, codes.iter().map(|(text, ..)| *text).collect::<Vec<_>>(), "{wide}x{high}");
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
        for file in [
            "qr-one-interlaced.png",
            "qr-one.jpg",
            "qr-one-progressive.jpg",
            "qr-one-palette.png",
            "qr-one.webp",
            "qr-one-lossless.webp",
        ] {
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
            assert!(refusal(bytes).contains("no PNG, JPEG or WebP"));
        }
    }

    #[test]
    fn a_picture_smaller_than_any_code_has_none() {
        for (wide, high) in [(1, 400_000), (400_000, 1), (1, 1), (20, 20_000)] {
            let pixels = Zeroizing::new(vec![0; wide * high]);
            assert!(matches!(look_at(&Picture { wide, high, pixels }), Err(Unread::NoCode)), "{wide} x {high}");
        }
    }
}
