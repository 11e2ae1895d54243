//! What every verb that measures needs: a load and its stopwatch, the machine's own figures, medians, tables. Knows no
//! service and no strategy.

pub(crate) mod call;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod statistics;
pub(crate) mod table;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use tokio::sync::oneshot;

use crate::children::Interruption;

/// Tells the measuring thread that the developer wants it to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Halt(Arc<AtomicBool>);

impl Halt {
    pub(crate) fn halt(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// # Errors
    /// The measuring was halted.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.0.load(Ordering::Relaxed) { bail!("stopped") } else { Ok(()) }
    }
}

/// Measures on a thread of its own, which ends in order when the developer stops us.
///
/// # Errors
/// What the measuring ends with.
pub(crate) async fn on_a_thread<M: Send + 'static>(
    interruption: &mut Interruption,
    measure: impl FnOnce(&Halt) -> anyhow::Result<M> + Send + 'static,
) -> anyhow::Result<M> {
    let (halt, (done, mut measured)) = (Halt::default(), oneshot::channel());
    let on_thread = halt.clone();
    std::thread::spawn(move || {
        // Whoever waits is there until the end.
        let _ = done.send(measure(&on_thread));
    });
    let outcome = tokio::select! {
        outcome = &mut measured => outcome,
        () = interruption.wait() => {
            halt.halt();
            measured.await
        }
    };
    outcome.context("the measuring thread panicked")?
}
