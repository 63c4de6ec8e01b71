//! Figures of several rounds, and what they are held against.

use std::fmt;

/// One figure of one server, a value for each round.
#[derive(Default)]
pub(crate) struct Rounds(Vec<f64>);

/// Which end is good.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Better {
    Low,
    High,
}

/// Ours beside the no-op's.
pub(crate) struct Line {
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// The ratio that ours must keep.
    pub(crate) limit: f64,
    pub(crate) base: Rounds,
    /// The base once more: what equal servers differ by.
    pub(crate) twin: Rounds,
    pub(crate) ours: Rounds,
}

impl Rounds {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    fn best(&self, better: Better) -> f64 {
        match better {
            Better::Low => self.0.iter().copied().fold(f64::INFINITY, f64::min),
            Better::High => self.0.iter().copied().fold(0.0, f64::max),
        }
    }

    /// The worst round over the best, in per cent beyond it.
    fn spread(&self) -> f64 {
        let (low, high) = (self.best(Better::Low), self.best(Better::High));
        if low > 0.0 { (high / low - 1.0) * 100.0 } else { 0.0 }
    }
}

impl Line {
    pub(crate) fn new(what: &'static str, unit: &'static str, better: Better, limit: f64) -> Self {
        Self { what, unit, better, limit, base: Rounds::default(), twin: Rounds::default(), ours: Rounds::default() }
    }

    fn ratio(&self) -> f64 {
        self.ours.best(self.better) / self.base.best(self.better)
    }

    pub(crate) fn kept(&self) -> bool {
        match self.better {
            Better::Low => self.ratio() <= self.limit,
            Better::High => self.ratio() >= self.limit,
        }
    }
}

/// The heads of the columns.
pub(crate) const HEADS: &str = "                                      base    base again        ours   ratio     limit        spread of rounds (base, ours)";

impl fmt::Display for Line {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let best = |rounds: &Rounds| rounds.best(self.better);
        let sign = if self.better == Better::Low { '≤' } else { '≥' };
        write!(
            out,
            "{:<24} {:>4} {:>12.1} {:>13.1} {:>11.1} {:>6.2}× {sign} {:>4.1}×  {:<7} {:>5.0} %, {:.0} %",
            self.what,
            self.unit,
            best(&self.base),
            best(&self.twin),
            best(&self.ours),
            self.ratio(),
            self.limit,
            if self.kept() { "kept" } else { "BROKEN" },
            self.base.spread(),
            self.ours.spread(),
        )
    }
}

/// The middle one.
pub(crate) fn median<T: Ord + Copy + Default>(values: &mut [T]) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
