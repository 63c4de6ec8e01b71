//! Rewrites of a picture after which a code is often found that was not found before.

use zeroize::Zeroizing;

use super::decode::Picture;

const BLACK: u8 = 0;
const WHITE: u8 = u8::MAX;

/// Doubles the size, with brightness in between, for modules of one or two pixels.
pub(super) fn doubled(from: &Picture) -> Picture {
    let (wide, high) = (from.wide * 2, from.high * 2);
    let mut pixels = Zeroizing::new(Vec::with_capacity(wide * high));
    for y in 0..high {
        // Each new pixel lies a quarter of an old one away from the nearest old centre.
        let near = y / 2;
        let far = if y % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(from.high - 1) };
        let (near, far) = (from.row(near), from.row(far));
        let column = |x: usize| match (near.get(x), far.get(x)) {
            (Some(near), Some(far)) => u16::from(*near) * 3 + u16::from(*far),
            _ => u16::from(WHITE) * 4,
        };
        for x in 0..from.wide {
            let (left, here, right) = (column(x.saturating_sub(1)), column(x), column((x + 1).min(from.wide - 1)));
            pixels.push(sixteenth(here * 3 + left));
            pixels.push(sixteenth(here * 3 + right));
        }
    }
    Picture { wide, high, pixels }
}

fn sixteenth(sum: u16) -> u8 {
    u8::try_from((sum + 8) / 16).unwrap_or(WHITE)
}

/// The means of squares of `2 * radius + 1` pixels around each pixel.
pub(super) fn blurred(from: &Picture, radius: usize) -> Picture {
    let mut pixels = Zeroizing::new(Vec::with_capacity(from.wide * from.high));
    // Sums of columns over the rows of the square, kept while it moves down.
    let mut columns = vec![0_u32; from.wide];
    let add = |columns: &mut [u32], y: usize| {
        for (sum, pixel) in columns.iter_mut().zip(from.row(y)) {
            *sum += u32::from(*pixel);
        }
    };
    let last = from.high - 1;
    for y in 0..=radius {
        add(&mut columns, y.min(last));
    }
    for _ in 0..radius {
        add(&mut columns, 0);
    }
    let side = u32::try_from(2 * radius + 1).unwrap_or(1);
    for y in 0..from.high {
        mean_row(&columns, radius, side * side, &mut pixels);
        let (gone, come) = (y.saturating_sub(radius), (y + radius + 1).min(last));
        for ((sum, gone), come) in columns.iter_mut().zip(from.row(gone)).zip(from.row(come)) {
            *sum = *sum + u32::from(*come) - u32::from(*gone);
        }
    }
    Picture { wide: from.wide, high: from.high, pixels }
}

/// Appends a row of means from the sums of columns.
fn mean_row(columns: &[u32], radius: usize, area: u32, pixels: &mut Vec<u8>) {
    let last = columns.len() - 1;
    let at = |x: usize| columns.get(x.min(last)).copied().unwrap_or_default();
    let mut sum: u32 = (0..=radius).map(at).sum::<u32>() + at(0) * u32::try_from(radius).unwrap_or_default();
    for x in 0..columns.len() {
        pixels.push(u8::try_from(sum / area).unwrap_or(WHITE));
        sum = sum + at(x + radius + 1) - at(x.saturating_sub(radius));
    }
}

/// Estimates the picture before it was blurred. Each round adds the difference between the picture and the blurred
/// guess.
pub(super) fn deblurred(from: &Picture, radius: usize, rounds: usize) -> Picture {
    let pixels = |of: &[i16]| {
        Zeroizing::new(of.iter().map(|value| u8::try_from((*value).clamp(0, 255)).unwrap_or(WHITE)).collect())
    };
    let seen: Vec<i16> = from.pixels.iter().map(|pixel| i16::from(*pixel)).collect();
    let mut guess = seen.clone();
    for _ in 0..rounds {
        let sharp = Picture { wide: from.wide, high: from.high, pixels: pixels(&guess) };
        let again = blurred(&blurred(&sharp, radius), radius);
        for ((guess, seen), again) in guess.iter_mut().zip(&seen).zip(again.pixels.iter()) {
            *guess = (*guess + seen - i16::from(*again)).clamp(-200, 455);
        }
    }
    Picture { wide: from.wide, high: from.high, pixels: pixels(&guess) }
}

/// Black where a pixel is darker than the mean around it, otherwise white. For shadows, gradients and little contrast.
pub(super) fn split(from: &Picture, radius: usize, less: i16) -> Picture {
    let mut picture = blurred(from, radius);
    for (pixel, own) in picture.pixels.iter_mut().zip(from.pixels.iter()) {
        *pixel = if i16::from(*own) < i16::from(*pixel) - less { BLACK } else { WHITE };
    }
    picture
}

/// Each pixel replaced by the median of three by three. For specks.
pub(super) fn without_specks(from: &Picture) -> Picture {
    let mut pixels = Zeroizing::new(Vec::with_capacity(from.wide * from.high));
    for y in 0..from.high {
        let rows = [y.saturating_sub(1), y, (y + 1).min(from.high - 1)].map(|y| from.row(y));
        for x in 0..from.wide {
            let columns = [x.saturating_sub(1), x, (x + 1).min(from.wide - 1)];
            let mut around = [[WHITE; 3]; 3];
            for (three, row) in around.iter_mut().zip(rows) {
                *three = columns.map(|x| row.get(x).copied().unwrap_or(WHITE));
            }
            pixels.push(median(around));
        }
    }
    Picture { wide: from.wide, high: from.high, pixels }
}

/// The median of nine by sorting rows, then columns: it is the median of the greatest of the least, the median of the
/// middle ones, and the least of the greatest.
fn median(nine: [[u8; 3]; 3]) -> u8 {
    let [a, b, c] = nine.map(sorted);
    let least = a[0].max(b[0]).max(c[0]);
    let [_, middle, _] = sorted([a[1], b[1], c[1]]);
    let greatest = a[2].min(b[2]).min(c[2]);
    sorted([least, middle, greatest])[1]
}

fn sorted([a, b, c]: [u8; 3]) -> [u8; 3] {
    let (low, high) = (a.min(b), a.max(b));
    [low.min(c), low.max(high.min(c)), high.max(c)]
}

/// Light and dark swapped.
pub(super) fn inverted(from: &Picture) -> Picture {
    let pixels = Zeroizing::new(from.pixels.iter().map(|pixel| WHITE - pixel).collect());
    Picture { wide: from.wide, high: from.high, pixels }
}
