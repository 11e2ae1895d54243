//! The figures for people and for programs: a table, which is Markdown too, and a file of JSON.

use serde_json::{Value, json};

use super::comparison::{Comparison, Target, Verdict};
use super::rows::Measured;
use crate::measuring::statistics::{Sample, Spread};
use crate::measuring::table::{short, table};

/// The auth service stays below this, in MB.
const RESIDENT_TARGET: f64 = 100.0;

/// Whether every target is reached.
pub(super) fn all_reached(measured: &Measured) -> bool {
    let missed = |comparison: &Comparison| comparison.verdict() == Verdict::Missed;
    !measured.comparisons.iter().any(missed) && measured.resident_mb < RESIDENT_TARGET
}

/// One row as soon as it is measured.
pub(super) fn line(comparison: &Comparison) -> String {
    format!("   {} (wanted: {}): {}", reached(comparison), comparison.target, comparison.verdict())
}

/// Two tables in Markdown: what was to be reached, and the figures behind it.
pub(super) fn markdown(measured: &Measured) -> String {
    let mut verdicts =
        vec![["measured", "beside", "to reach", "median (lowest to highest round)", ""].map(str::to_owned)];
    let mut figures = vec![["", "a second", "p50 ms", "p99 ms", "processor µs each"].map(str::to_owned)];
    for comparison in &measured.comparisons {
        verdicts.push([
            comparison.ours.to_owned(),
            comparison.partner.to_owned(),
            comparison.target.to_string(),
            reached(comparison),
            comparison.verdict().to_string(),
        ]);
        let (ours, partner): (Vec<_>, Vec<_>) = comparison.rounds.iter().copied().unzip();
        figures.push(figures_of(comparison.ours, &ours));
        figures.push(figures_of(comparison.partner, &partner));
    }
    let resident = format!("{:.0} MB", measured.resident_mb);
    let verdict = if measured.resident_mb < RESIDENT_TARGET { Verdict::Reached } else { Verdict::Missed };
    let target = format!("less than {RESIDENT_TARGET:.0} MB");
    let throughout = "the most that the auth service had resident, throughout";
    verdicts.push([throughout.to_owned(), "-".to_owned(), target, resident, verdict.to_string()]);
    format!("{}\n{}", table(&verdicts), table(&figures))
}

fn reached(comparison: &Comparison) -> String {
    let percent = |spread: Spread| {
        let Spread { median, low, high } = spread;
        format!("{:.0} % ({:.0} to {:.0})", median * 100.0, low * 100.0, high * 100.0)
    };
    match comparison.target {
        Target::Share(_) => {
            let parts = [("throughput", comparison.throughput()), ("processor time", comparison.cpu())];
            let parts = parts.into_iter().filter_map(|(name, spread)| Some(format!("{name} {}", percent(spread?))));
            parts.collect::<Vec<_>>().join(", ")
        }
        Target::TimesP99(_) => comparison.p99().map_or_else(String::new, |Spread { median, low, high }| {
            format!("p99 {median:.1} times ({low:.1} to {high:.1})")
        }),
    }
}

fn figures_of(name: &str, samples: &[Sample]) -> [String; 5] {
    let median = |figure: fn(&Sample) -> Option<f64>| {
        let spread = Spread::of(samples.iter().filter_map(figure));
        spread.map_or_else(|| "-".to_owned(), |spread| short(spread.median))
    };
    [
        name.to_owned(),
        median(|sample| Some(sample.per_second)),
        median(|sample| Some(sample.p50_ms)),
        median(|sample| Some(sample.p99_ms)),
        median(|sample| sample.cpu_us),
    ]
}

/// Everything, round by round.
pub(super) fn json(measured: &Measured, about: Value) -> Value {
    let sample = |sample: &Sample| {
        let Sample { per_second, p50_ms, p99_ms, cpu_us } = sample;
        json!({ "per_second": per_second, "p50_ms": p50_ms, "p99_ms": p99_ms, "cpu_us": cpu_us })
    };
    let comparison = |comparison: &Comparison| {
        let rounds: Vec<Value> = comparison
            .rounds
            .iter()
            .map(|(ours, partner)| json!({ "ours": sample(ours), "partner": sample(partner) }))
            .collect();
        json!({
            "ours": comparison.ours,
            "partner": comparison.partner,
            "target": comparison.target.to_string(),
            "verdict": comparison.verdict().to_string(),
            "throughput": comparison.throughput().map(Spread::to_json),
            "cpu": comparison.cpu().map(Spread::to_json),
            "p99": comparison.p99().map(Spread::to_json),
            "rounds": rounds,
        })
    };
    json!({
        "machine": about,
        "rows": measured.comparisons.iter().map(comparison).collect::<Vec<_>>(),
        "resident_mb": measured.resident_mb,
        "all_reached": all_reached(measured),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(p99_ms: f64, resident_mb: f64) -> Measured {
        let sample = |p99_ms, cpu_us| Sample { per_second: 1234.5, p50_ms: 0.123, p99_ms, cpu_us };
        let rounds = vec![(sample(p99_ms, None), sample(2.0, Some(18.61)))];
        let comparison = Comparison { ours: "ours", partner: "theirs", target: Target::TimesP99(4.0), rounds };
        Measured { comparisons: vec![comparison], resident_mb }
    }

    #[test]
    fn the_tables_are_markdown() {
        let text = markdown(&measured(9.0, 63.4));
        let expected = "\
| measured                                                | beside | to reach         | median (lowest to highest round) |         |
| ------------------------------------------------------- | ------ | ---------------- | -------------------------------- | ------- |
| ours                                                    | theirs | at most 4 times  | p99 4.5 times (4.5 to 4.5)       | missed  |
| the most that the auth service had resident, throughout | -      | less than 100 MB | 63 MB                            | reached |

|        | a second | p50 ms | p99 ms | processor µs each |
| ------ | -------- | ------ | ------ | ----------------- |
| ours   | 1234     | 0.12   | 9.00   | -                 |
| theirs | 1234     | 0.12   | 2.00   | 18.6              |
";
        assert_eq!(text, expected);
    }

    #[test]
    fn one_miss_is_enough() {
        assert!(all_reached(&measured(8.0, 99.0)));
        assert!(!all_reached(&measured(9.0, 99.0)));
        assert!(!all_reached(&measured(8.0, 100.0)));
        let told = json(&measured(9.0, 63.4), json!({ "cores": 2 }));
        assert_eq!((&told["all_reached"], &told["rows"][0]["verdict"]), (&json!(false), &json!("missed")));
        assert_eq!(told["rows"][0]["rounds"][0]["partner"]["p99_ms"], json!(2.0));
    }
}
