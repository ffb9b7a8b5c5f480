//! How far a copy has come: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
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
    /// A copy of about so many sessions begins, or goes on where so many have been seen.
    pub(super) fn start(total: u64, seen: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { total, last: Instant::now() };
        }
        let style = ProgressStyle::with_template("{bar:40} {pos} of about {len} sessions, {rate} a second, {eta} left");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate);
        // What an earlier copy has seen says nothing about the pace of this one: nobody watches until that is clear.
        let bar = ProgressBar::with_draw_target(Some(total.max(seen)), ProgressDrawTarget::hidden()).with_style(style);
        bar.set_position(seen);
        bar.reset_eta();
        bar.set_draw_target(ProgressDrawTarget::stderr());
        Self::Bar(bar)
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

/// In whole sessions; nobody reads more digits.
fn rate(state: &ProgressState, out: &mut dyn Write) {
    // There is nobody to tell that a bar cannot be drawn.
    write!(out, "{:.0}", state.per_sec()).ok();
}
