//! How far a copy has come: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

/// How often a line is printed where there is no bar.
const INTERVAL: Duration = Duration::from_secs(5);

/// What is shown.
pub(super) enum Shown {
    /// A terminal is watched.
    Bar(ProgressBar),
    /// A log is read later.
    Lines {
        /// About how many sessions there are.
        total: u64,
        /// When the last line was printed.
        last: Instant,
    },
}

impl Shown {
    /// A copy of about so many sessions begins.
    pub(super) fn start(total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { total, last: Instant::now() };
        }
        let style = ProgressStyle::with_template("{bar:40} {pos} of about {len} sessions, {per_sec}, {eta} left");
        Self::Bar(ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// So many sessions have been seen.
    pub(super) fn at(&mut self, seen: u64) {
        match self {
            Self::Bar(bar) => {
                // More may have come since they were counted.
                bar.set_length(bar.length().unwrap_or_default().max(seen));
                bar.set_position(seen);
            }
            Self::Lines { total, last } if last.elapsed() >= INTERVAL => {
                *last = Instant::now();
                eprintln!("{seen} of about {total} sessions");
            }
            Self::Lines { .. } => {}
        }
    }

    /// The copy has ended, in one way or another.
    pub(super) fn end(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
