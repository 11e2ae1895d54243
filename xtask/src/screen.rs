//! What the developer sees: on a terminal the step under way with its time, above it the lines that matter; elsewhere
//! plain lines.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

pub(crate) struct Screen {
    bar: Option<ProgressBar>,
}

impl Screen {
    pub(crate) fn open() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.bar.is_some()
    }

    /// Begins a step.
    pub(crate) fn step(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => self.line(&format!("== {what}")),
        }
    }

    /// Tells how the step stands: on a terminal only.
    pub(crate) fn progress(&self, how: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(how);
        }
    }

    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            // Whoever reads may have gone: no reason to stop.
            None => drop(writeln!(std::io::stdout(), "{text}")),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
