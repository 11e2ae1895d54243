//! Counts what `cargo test` prints.

use std::fmt;

#[derive(Debug, Default)]
pub(super) struct Tally {
    passed: usize,
    ignored: usize,
    failed: Vec<String>,
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

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} ignored", self.passed, self.failed.len(), self.ignored)?;
        if !self.failed.is_empty() {
            write!(f, " ({})", self.failed.join(", "))?;
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
}
