//! Figures of several rounds, and the limits they must keep.

use std::{fmt, io};

use crate::say::{aside, say};

/// One figure of one server, with a value for each round.
#[derive(Default)]
pub(crate) struct Rounds(Vec<f64>);

/// Whether a low or a high value is better.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Better {
    Low,
    High,
}

/// The limit that our figure must keep.
#[derive(Clone, Copy)]
enum Limit {
    /// A ratio of our figure to the base's.
    Ratio(f64),
    /// An absolute value, whatever the base's figure is.
    Value(f64),
    /// No limit: the figure is only shown beside the base's.
    Shown,
}

/// Our figure beside a base's, or alone.
pub(crate) struct Line {
    what: &'static str,
    unit: &'static str,
    better: Better,
    limit: Limit,
    base: Rounds,
    /// The base, measured a second time: shows by how much equal servers differ.
    twin: Rounds,
    ours: Rounds,
}

impl Rounds {
    fn best(&self, better: Better) -> f64 {
        match better {
            Better::Low => self.0.iter().copied().fold(f64::INFINITY, f64::min),
            Better::High => self.0.iter().copied().fold(0.0, f64::max),
        }
    }

    /// By how many per cent the worst round exceeds the best.
    fn spread(&self) -> f64 {
        let (low, high) = (self.best(Better::Low), self.best(Better::High));
        if low > 0.0 { (high / low - 1.0) * 100.0 } else { 0.0 }
    }
}

impl Line {
    /// A figure beside a base's, with a limit to their ratio.
    pub(crate) fn new(what: &'static str, unit: &'static str, better: Better, ratio: f64) -> Self {
        Self::held_to(what, unit, better, Limit::Ratio(ratio))
    }

    /// A figure alone, of at most `most`.
    pub(crate) fn at_most(what: &'static str, unit: &'static str, most: f64) -> Self {
        Self::held_to(what, unit, Better::Low, Limit::Value(most))
    }

    /// A figure beside a base's, without a limit: it depends on the disk more than on the program.
    pub(crate) fn reported(what: &'static str, unit: &'static str, better: Better) -> Self {
        Self::held_to(what, unit, better, Limit::Shown)
    }

    fn held_to(what: &'static str, unit: &'static str, better: Better, limit: Limit) -> Self {
        let (base, twin, ours) = (Rounds::default(), Rounds::default(), Rounds::default());
        Self { what, unit, better, limit, base, twin, ours }
    }

    /// Adds a round's figure: of the base (0), of its twin (1), or ours (any other number).
    pub(crate) fn push(&mut self, which: usize, value: f64) {
        let rounds = match which {
            0 => &mut self.base,
            1 => &mut self.twin,
            _ => &mut self.ours,
        };
        rounds.0.push(value);
    }

    fn ratio(&self) -> f64 {
        self.ours.best(self.better) / self.base.best(self.better)
    }

    pub(crate) fn kept(&self) -> bool {
        let (value, limit) = match self.limit {
            Limit::Ratio(limit) => (self.ratio(), limit),
            Limit::Value(limit) => (self.ours.best(self.better), limit),
            Limit::Shown => return true,
        };
        match self.better {
            Better::Low => value <= limit,
            Better::High => value >= limit,
        }
    }
}

/// The headings of the columns.
const HEADS: &str = "                                        base    base again        ours   ratio     limit        spread of rounds (base, ours)";

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let best = |rounds: &Rounds| rounds.best(self.better);
        let sign = if self.better == Better::Low { '≤' } else { '≥' };
        let verdict = if self.kept() { "kept" } else { "BROKEN" };
        write!(out, "{:<26} {:>4} ", self.what, self.unit)?;
        match self.limit {
            Limit::Ratio(limit) => write!(
                out,
                "{:>12.1} {:>13.1} {:>11.1} {:>6.2}× {sign} {limit:>4.1}×  {verdict:<7} {:>5.0} %, {:.0} %",
                best(&self.base),
                best(&self.twin),
                best(&self.ours),
                self.ratio(),
                self.base.spread(),
                self.ours.spread(),
            ),
            Limit::Shown => write!(
                out,
                "{:>12.1} {:>13.1} {:>11.1} {:>6.2}× {:>15} {:>5.0} %, {:.0} %",
                best(&self.base),
                best(&self.twin),
                best(&self.ours),
                self.ratio(),
                "",
                self.base.spread(),
                self.ours.spread(),
            ),
            Limit::Value(limit) => write!(
                out,
                "{:>12} {:>13} {:>11.1} {:>7} {sign} {limit:>4.1}   {verdict:<7} {:>5}  {:.0} %",
                '–',
                '–',
                best(&self.ours),
                '–',
                '–',
                self.ours.spread(),
            ),
        }
    }
}

/// Runs rounds in which each contender goes first, second and so on in turn; `measure` gets the contender's number.
pub(crate) fn in_turn(
    rounds: usize,
    contenders: usize,
    mut measure: impl FnMut(usize) -> io::Result<()>,
) -> io::Result<()> {
    for round in 0..rounds {
        aside(format_args!("round {} of {rounds}", round + 1));
        (0..contenders).try_for_each(|turn| measure((round + turn) % contenders))?;
    }
    Ok(())
}

/// Shows lines under their headings.
pub(crate) fn shown(lines: Vec<Line>) -> Vec<Line> {
    say(HEADS);
    lines.iter().for_each(say);
    lines
}

/// The median.
pub(crate) fn median<T: Ord + Copy + Default>(values: &mut [T]) -> T {
    percentile(values, 50)
}

/// The value that `percent` per cent of the values do not exceed.
pub(crate) fn percentile<T: Ord + Copy + Default>(values: &mut [T], percent: usize) -> T {
    values.sort_unstable();
    values.get(values.len() * percent / 100).copied().unwrap_or_default()
}
