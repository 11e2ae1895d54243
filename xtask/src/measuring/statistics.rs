//! What samples say together: medians and quantiles. Rules only.

use serde_json::{Value, json};

/// What one window of load measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sample {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Microseconds of processor time for each answer.
    pub(crate) cpu_us: Option<f64>,
}

impl Sample {
    /// From all latencies in microseconds, at least one.
    #[expect(clippy::cast_precision_loss, reason = "counts of a few million")]
    pub(crate) fn of(mut latencies: Vec<u32>, seconds: f64, cpu_seconds: Option<f64>) -> Self {
        latencies.sort_unstable();
        let count = latencies.len() as f64;
        let at = |share: f64| f64::from(quantile(&latencies, share)) / 1_000.0;
        Self {
            per_second: count / seconds,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            cpu_us: cpu_seconds.map(|seconds| seconds * 1e6 / count),
        }
    }
}

/// The smallest value that so large a share of all does not exceed. `sorted` has at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a rank within the list"
)]
fn quantile(sorted: &[u32], share: f64) -> u32 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// What several rounds say of one figure: the median, and from where to where they reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Of any figures, or none where there are none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (low, high) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median =
            if figures.len() % 2 == 1 { figures[middle] } else { f64::midpoint(figures[middle - 1], figures[middle]) };
        Some(Self { median, low, high })
    }

    pub(crate) fn to_json(self) -> Value {
        json!({ "median": self.median, "low": self.low, "high": self.high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_latencies() {
        let sample = Sample::of((1..=200).rev().map(|value| value * 1_000).collect(), 2.0, Some(0.1));
        assert_eq!((sample.p50_ms, sample.p99_ms, sample.per_second), (100.0, 198.0, 100.0));
        assert_eq!(sample.cpu_us, Some(500.0));
        assert_eq!(Sample::of(vec![7_000], 1.0, None).p99_ms, 7.0);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        let spread = Spread::of([4.0, 9.0, 1.0]).expect("three");
        assert_eq!((spread.low, spread.median, spread.high), (1.0, 4.0, 9.0));
        assert_eq!(Spread::of([4.0, 1.0]).map(|spread| spread.median), Some(2.5));
        assert_eq!(Spread::of([]), None);
    }
}
