//! The two readers of QR codes, and their results.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use rxing::{
    BarcodeFormat, BinaryBitmap, DecodeHints, Luma8LuminanceSource, common::HybridBinarizer,
    multi::MultipleBarcodeReader as _, qrcode::cpp_port::QrReader,
};
use zeroize::Zeroizing;

use super::decode::Picture;

/// Something that looks like a QR code.
pub(super) enum Reading {
    /// Its text, and where it is.
    Text(Place, Zeroizing<String>),
    /// It can't be read.
    Illegible,
}

/// Where a code is, in parts of the picture, so that it is the same at every size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) wide: f32,
    pub(super) high: f32,
}

impl Place {
    fn of(corners: &[(f32, f32)], picture: &Picture) -> Self {
        let (mut least, mut most) = ((f32::MAX, f32::MAX), (f32::MIN, f32::MIN));
        for (x, y) in corners {
            least = (least.0.min(*x), least.1.min(*y));
            most = (most.0.max(*x), most.1.max(*y));
        }
        let (wide, high) = (pixels(picture.wide), pixels(picture.high));
        Self {
            x: f32::midpoint(least.0, most.0) / wide,
            y: f32::midpoint(least.1, most.1) / high,
            wide: (most.0 - least.0) / wide,
            high: (most.1 - least.1) / high,
        }
    }

    /// The line of codes in which it stands, if lines are a tenth of the picture apart.
    pub(super) fn line(self) -> f32 {
        (self.y * 10.0).floor()
    }

    /// Whether two codes can't both be there: codes do not overlap.
    pub(super) fn is_at(self, other: Self) -> bool {
        let near = |one: f32, other: f32, size: f32| (one - other).abs() < size / 2.0;
        near(self.x, other.x, self.wide.min(other.wide)) && near(self.y, other.y, self.high.min(other.high))
    }
}

fn pixels(count: usize) -> f32 {
    u16::try_from(count).map_or(f32::from(u16::MAX), f32::from)
}

/// Finds codes by the rings at their corners, also round ones.
pub(super) fn by_rings(picture: &Picture) -> Vec<Reading> {
    unless_it_panics(|| {
        let (Ok(wide), Ok(high)) = (u32::try_from(picture.wide), u32::try_from(picture.high)) else {
            return Vec::new();
        };
        let Ok(source) = Luma8LuminanceSource::new(picture.pixels.to_vec(), wide, high) else { return Vec::new() };
        let mut bitmap = BinaryBitmap::new(HybridBinarizer::new(source));
        let formats = Some(HashSet::from([BarcodeFormat::QR_CODE]));
        let hints = DecodeHints { PossibleFormats: formats, TryHarder: Some(true), ..DecodeHints::default() };
        let read = QrReader.decode_multiple_with_hints(&mut bitmap, &hints).unwrap_or_default();
        let sight = |code: &rxing::RXingResult| {
            let corners: Vec<_> = code.getPoints().iter().map(|point| (point.x, point.y)).collect();
            Reading::Text(Place::of(&corners, picture), Zeroizing::new(code.getText().to_owned()))
        };
        read.iter().map(sight).collect()
    })
}

/// Finds codes by fitting a grid to their corners. Reports illegible ones, too.
pub(super) fn by_corners(picture: &Picture) -> Vec<Reading> {
    unless_it_panics(|| {
        let at = |x: usize, y: usize| picture.at(x, y);
        let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(picture.wide, picture.high, at);
        let coordinate = |value: i32| pixels(usize::try_from(value).unwrap_or_default());
        let sight = |code: &rqrr::Grid<_>| match code.decode() {
            Ok((_, text)) => {
                let corners = code.bounds.map(|corner| (coordinate(corner.x), coordinate(corner.y)));
                Reading::Text(Place::of(&corners, picture), Zeroizing::new(text))
            }
            Err(_) => Reading::Illegible,
        };
        prepared.detect_grids().iter().map(sight).collect()
    })
}

/// Runs a reader, without results if it panics: it may still read another rewrite of the picture.
fn unless_it_panics(read: impl FnOnce() -> Vec<Reading>) -> Vec<Reading> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_default()
}
