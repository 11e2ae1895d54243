//! Log lines that strangers can cause: some at once, then a few a minute, so that a flood fills no log. Owns how many there
//! may be, and says that some are left out, and how many.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

const AT_ONCE: u32 = 20;
/// One more line after each of these.
const EVERY: Duration = Duration::from_secs(3);

/// The lines of one kind. Its size does not depend on who causes them.
#[derive(Debug, Default)]
pub struct Ration(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    spent: u32,
    /// Since when lines are regained.
    since: Option<Instant>,
    left_out: u64,
}

/// Whether a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// With how many were left out before it.
    Written(u64),
    /// The first that is left out.
    FirstLeftOut,
    LeftOut,
}

impl Ration {
    pub const fn new() -> Self {
        Self(Mutex::new(State { spent: 0, since: None, left_out: 0 }))
    }

    /// Writes one line, unless there were too many of this kind. `write` is given how many were left out since the line
    /// before.
    pub fn tell(&self, kind: &'static str, write: impl FnOnce(u64)) {
        match self.0.lock().turn(Instant::now()) {
            Turn::Written(left_out) => write(left_out),
            Turn::FirstLeftOut => tracing::warn!(kind, "too many lines of this kind: the next ones are left out"),
            Turn::LeftOut => {}
        }
    }
}

impl State {
    fn turn(&mut self, now: Instant) -> Turn {
        let since = *self.since.get_or_insert(now);
        let regained = u32::try_from(now.duration_since(since).as_millis() / EVERY.as_millis()).unwrap_or(u32::MAX);
        self.spent = self.spent.saturating_sub(regained);
        if regained > 0 {
            self.since = if self.spent == 0 { Some(now) } else { since.checked_add(EVERY * regained) };
        }
        if self.spent < AT_ONCE {
            self.spent += 1;
            return Turn::Written(std::mem::take(&mut self.left_out));
        }
        self.left_out += 1;
        if self.left_out == 1 { Turn::FirstLeftOut } else { Turn::LeftOut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_writes_some_lines_then_few_and_says_how_many_are_missing() {
        let (mut state, start) = (State::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(state.turn(start), Turn::Written(0));
        }
        assert_eq!(state.turn(start), Turn::FirstLeftOut);
        for _ in 1..1_000 {
            assert_eq!(state.turn(start), Turn::LeftOut);
        }
        assert_eq!(state.turn(start + EVERY), Turn::Written(1_000));
        assert_eq!(state.turn(start + EVERY), Turn::FirstLeftOut);
        assert_eq!(state.turn(start + EVERY * 3), Turn::Written(1));
        assert_eq!(state.turn(start + EVERY * 3), Turn::Written(0));
        assert_eq!(state.turn(start + EVERY * 3), Turn::FirstLeftOut);
        let much_later = start + EVERY * 1_000;
        assert_eq!(state.turn(much_later), Turn::Written(1));
        let written = (0..100).filter(|_| matches!(state.turn(much_later), Turn::Written(_))).count();
        assert_eq!(written as u32, AT_ONCE - 1, "more is regained than there was");
    }
}
