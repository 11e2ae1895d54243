//! Counts what `cargo test` prints.

use std::fmt;

#[derive(Debug, Default)]
pub(super) struct Tally {
    passed: usize,
    ignored: usize,
    pub(super) failed: Vec<String>,
    /// Failed, and passed when they were run again.
    flaky: Vec<String>,
    /// Tests that said that they left something out.
    pub(super) left: Vec<String>,
}

impl Tally {
    pub(super) fn read(&mut self, line: &str) {
        if let Some((_, test)) = line.split_once("left to `cargo xtask test`: ") {
            self.left.push(test.to_owned());
        }
        let Some((name, outcome)) = outcome(line) else { return };
        match outcome {
            "ok" => self.passed += 1,
            "FAILED" => self.failed.push(name.to_owned()),
            _ if outcome.starts_with("ignored") => self.ignored += 1,
            _ => {}
        }
    }
}

impl Tally {
    /// Takes over how those that failed went the second time. Whether all of them passed.
    pub(super) fn second(&mut self, second: &Self) -> bool {
        let all = second.failed.is_empty() && second.passed >= self.failed.len();
        if all {
            self.flaky.append(&mut self.failed);
        }
        self.left.extend(second.left.iter().cloned());
        all
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} ignored", self.passed, self.failed.len(), self.ignored)?;
        if !self.failed.is_empty() {
            write!(f, " ({})", self.failed.join(", "))?;
        }
        if !self.flaky.is_empty() {
            write!(f, ", {} FLAKY, a bug to find ({})", self.flaky.len(), self.flaky.join(", "))?;
        }
        Ok(())
    }
}

/// `test NAME ... OUTCOME`
fn outcome(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("test ")?.rsplit_once(" ... ")
}

pub(super) fn is_passed(line: &str) -> bool {
    outcome(line).is_some_and(|(_, outcome)| outcome == "ok")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted() {
        let mut tally = Tally::default();
        for line in [
            "running 5 tests",
            "test rules::an_order_is_paid_once ... ok",
            "test shared/src/lib.rs - (line 7) - compile ... ok",
            "test rules::an_order_is_lost ... FAILED",
            "test src/database.rs - database (line 4) ... ignored",
            "test slow ... ignored, by hand",
            "left to `cargo xtask test`: stores on Redis",
            "test result: FAILED. 2 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            tally.read(line);
        }
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 2 ignored (rules::an_order_is_lost)");
        assert_eq!(tally.left, ["stores on Redis"]);
    }

    #[test]
    fn a_test_that_passes_the_second_time_is_named_as_flaky_and_one_that_does_not_has_failed() {
        let read = |lines: &[&str]| {
            let mut tally = Tally::default();
            lines.iter().for_each(|line| tally.read(line));
            tally
        };
        let first = || read(&["test a ... ok", "test b ... FAILED", "test c ... FAILED"]);
        let mut tally = first();
        assert!(tally.second(&read(&["test b ... ok", "test c ... ok"])));
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 0 ignored, 2 FLAKY, a bug to find (b, c)");
        for second in [&["test b ... ok", "test c ... FAILED"][..], &["test b ... ok"], &[]] {
            let mut tally = first();
            assert!(!tally.second(&read(second)));
            assert_eq!(tally.to_string(), "1 passed, 2 failed, 0 ignored (b, c)");
        }
    }
}
