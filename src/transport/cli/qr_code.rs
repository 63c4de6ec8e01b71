//! QR codes on a terminal, for a person's phone.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};
use zeroize::Zeroizing;

/// The width of the light margin around a code, in modules. Readers need it.
const MARGIN: i32 = 4;
/// Black on white, whatever the terminal's colours are: many readers accept no inverted code.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const AS_BEFORE: &str = "\x1b[0m";

/// Draws the QR code of a text with characters, two rows of modules in a line. Returns `None` if the text is too long.
pub(super) fn qr_code(text: &str) -> Option<Zeroizing<String>> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let mut picture = Zeroizing::new(String::new());
    for y in (-MARGIN..code.size() + MARGIN).step_by(2) {
        picture.push_str(BLACK_ON_WHITE);
        for x in -MARGIN..code.size() + MARGIN {
            picture.push(match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        let _ = writeln!(picture, "{AS_BEFORE}");
    }
    Some(picture)
}

/// The columns and lines that a drawn code takes.
pub(super) fn size(drawn: &str) -> (usize, usize) {
    let line = drawn.lines().next().unwrap_or_default();
    let columns = line.trim_start_matches(BLACK_ON_WHITE).trim_end_matches(AS_BEFORE).chars().count();
    (columns, drawn.lines().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A screenshot of the picture, in which each module is some pixels wide.
    fn screenshot(picture: &str) -> Vec<u8> {
        const WIDE: usize = 4;
        let lines: Vec<Vec<char>> = picture
            .lines()
            .map(|line| line.strip_prefix(BLACK_ON_WHITE).unwrap().strip_suffix(AS_BEFORE).unwrap().chars().collect())
            .collect();
        let dark = |x: usize, y: usize| match lines[y / 2][x] {
            '█' => true,
            '▀' => y.is_multiple_of(2),
            '▄' => !y.is_multiple_of(2),
            _ => false,
        };
        let (width, height) = (lines[0].len() * WIDE, lines.len() * 2 * WIDE);
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels: Vec<u8> = pixels.map(|(x, y)| if dark(x / WIDE, y / WIDE) { 0 } else { 255 }).collect();
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width.try_into().unwrap(), height.try_into().unwrap());
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        file
    }

    #[test]
    fn a_shown_code_is_read_back() {
        for uri in
            ["otpauth://totp/a?secret=GEZDGNBV", &format!("otpauth://totp/{}?secret=GEZDGNBV", "long".repeat(90))]
        {
            let texts = crate::picture::read(&screenshot(&qr_code(uri).unwrap())).unwrap();
            assert_eq!(texts.iter().map(|text| text.as_str()).collect::<Vec<_>>(), [uri]);
        }
    }
}
