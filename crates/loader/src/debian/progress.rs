// SPDX-License-Identifier: MIT OR Apache-2.0
//! How a fetch tells what it is doing.

use std::io::Write;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

/// Hears what a fetch does. Methods take `&self`: whoever needs to change something keeps it behind a lock.
pub trait Progress {
    /// Something worth a line of its own: what is downloaded, from where, how big it is.
    fn say(&self, sentence: &str);

    /// A step begins; it is about `bytes` long if that is known.
    fn begin(&self, step: &str, bytes: Option<u64>);

    /// `done` of 1000 parts of the current step are done.
    fn advance(&self, done: u32);

    /// The current step is over, well or badly.
    fn end(&self);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn say(&self, _sentence: &str) {}
    fn begin(&self, _step: &str, _bytes: Option<u64>) {}
    fn advance(&self, _done: u32) {}
    fn end(&self) {}
}

/// Sentences on standard error and, where that is a terminal, a bar that is wiped when its step ends.
#[derive(Debug, Default)]
pub struct Terminal {
    bar: Mutex<Option<Step>>,
}

#[derive(Debug)]
struct Step {
    bar: ProgressBar,
    length: u64,
}

impl Terminal {
    /// A teller that has told nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn step(&self) -> std::sync::MutexGuard<'_, Option<Step>> {
        // A panic while drawing leaves nothing half-done that matters.
        self.bar.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Progress for Terminal {
    fn say(&self, sentence: &str) {
        // Whoever reads may have gone; the fetch goes on.
        let _ = writeln!(std::io::stderr(), "{sentence}");
    }

    fn begin(&self, step: &str, bytes: Option<u64>) {
        let (length, template) = match bytes {
            Some(bytes) => (bytes, "{msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes}"),
            None => (1000, "{msg} [{bar:30}] {percent}%"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar =
            ProgressBar::new(length).with_style(style.progress_chars("=> ")).with_message(step.to_owned());
        *self.step() = Some(Step { bar, length });
    }

    fn advance(&self, done: u32) {
        if let Some(step) = &*self.step() {
            step.bar.set_position(
                step.length / 1000 * u64::from(done) + step.length % 1000 * u64::from(done) / 1000,
            );
        }
    }

    fn end(&self) {
        if let Some(step) = self.step().take() {
            step.bar.finish_and_clear();
        }
    }
}
