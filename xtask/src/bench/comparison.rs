//! What two things measured in turns say of each other: ratios of neighbours, and whether a target is reached. Rules only.

use std::fmt;

use crate::measuring::statistics::{Sample, Spread};

/// What a ratio has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    /// At least this share of the partner's throughput, or at most its inverse in processor time for each answer.
    Share(f64),
    /// At most so many times the partner's 99th percentile.
    TimesP99(f64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "at least {:.0} %", share * 100.0),
            Self::TimesP99(times) => write!(f, "at most {times} times"),
        }
    }
}

/// Whether a target is reached, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Reached,
    /// By processor time only: what else the machine does cannot take that away.
    ReachedByCpu,
    Missed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reached => "reached",
            Self::ReachedByCpu => "reached (processor time)",
            Self::Missed => "missed",
        })
    }
}

/// One of ours and its partner, measured in turns.
#[derive(Debug, Clone)]
pub(super) struct Comparison {
    pub(super) ours: &'static str,
    pub(super) partner: &'static str,
    pub(super) target: Target,
    /// Ours and the partner's, round by round.
    pub(super) rounds: Vec<(Sample, Sample)>,
}

impl Comparison {
    /// Ours to the partner's, of rounds that lie side by side: what slows the machine slows both.
    pub(super) fn ratio(&self, figure: impl Fn(&Sample) -> Option<f64>) -> Option<Spread> {
        let ratios = self.rounds.iter().filter_map(|(ours, partner)| Some(figure(ours)? / figure(partner)?));
        Spread::of(ratios.filter(|ratio| ratio.is_finite()))
    }

    /// How much of the partner's throughput ours has.
    pub(super) fn throughput(&self) -> Option<Spread> {
        self.ratio(|sample| Some(sample.per_second))
    }

    /// How much of ours' processor time for each answer the partner takes: the share that would be reached if nothing
    /// but the processor set the pace.
    pub(super) fn cpu(&self) -> Option<Spread> {
        let inverse = self.ratio(|sample| sample.cpu_us)?;
        Some(Spread { median: 1.0 / inverse.median, low: 1.0 / inverse.high, high: 1.0 / inverse.low })
    }

    pub(super) fn p99(&self) -> Option<Spread> {
        self.ratio(|sample| Some(sample.p99_ms))
    }

    pub(super) fn verdict(&self) -> Verdict {
        let reaches = |spread: Option<Spread>, share: f64| spread.is_some_and(|spread| spread.median >= share);
        match self.target {
            Target::Share(share) if reaches(self.throughput(), share) => Verdict::Reached,
            Target::Share(share) if reaches(self.cpu(), share) => Verdict::ReachedByCpu,
            Target::TimesP99(times) if self.p99().is_some_and(|spread| spread.median <= times) => Verdict::Reached,
            Target::Share(_) | Target::TimesP99(_) => Verdict::Missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(per_second: f64, p99_ms: f64, cpu_us: f64) -> Sample {
        Sample { per_second, p50_ms: 1.0, p99_ms, cpu_us: Some(cpu_us) }
    }

    fn comparison(target: Target, rounds: Vec<(Sample, Sample)>) -> Comparison {
        Comparison { ours: "ours", partner: "theirs", target, rounds }
    }

    #[test]
    fn the_median_is_of_ratios_and_not_of_figures() {
        let rounds = vec![
            (sample(50.0, 1.0, 1.0), sample(100.0, 1.0, 1.0)),
            (sample(9.0, 1.0, 1.0), sample(10.0, 1.0, 1.0)),
            (sample(600.0, 1.0, 1.0), sample(1000.0, 1.0, 1.0)),
        ];
        let spread = comparison(Target::Share(0.6), rounds).throughput().expect("three rounds");
        assert_eq!((spread.low, spread.median, spread.high), (0.5, 0.6, 0.9));
    }

    #[test]
    fn a_target_is_reached_by_throughput_or_else_by_processor_time() {
        let verdict = |target, ours, partner| comparison(target, vec![(ours, partner)]).verdict();
        let partner = sample(100.0, 2.0, 10.0);
        assert_eq!(verdict(Target::Share(0.8), sample(80.0, 9.0, 20.0), partner), Verdict::Reached);
        assert_eq!(verdict(Target::Share(0.8), sample(79.0, 9.0, 12.5), partner), Verdict::ReachedByCpu);
        assert_eq!(verdict(Target::Share(0.8), sample(79.0, 9.0, 13.0), partner), Verdict::Missed);
        assert_eq!(verdict(Target::TimesP99(4.0), sample(1.0, 8.0, 99.0), partner), Verdict::Reached);
        assert_eq!(verdict(Target::TimesP99(4.0), sample(1.0, 8.1, 1.0), partner), Verdict::Missed);
        assert_eq!(comparison(Target::Share(0.1), Vec::new()).verdict(), Verdict::Missed, "nothing was measured");
    }
}
