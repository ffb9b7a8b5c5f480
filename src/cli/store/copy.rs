//! `cloakroom store copy`: all sessions of one store into another one, while the proxy serves.

use super::bookmark::{Bookmark, Mark};
use super::find;
use super::progress::Shown;
use crate::app;
use crate::cli::{Failure, FileArgument, print, print_error};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{StoreKind, StoreOptions};
use crate::store::copy::{CopyError, Progress, Summary, copy as copy_all};
use crate::store::{Scan, Store};
use clap::Args;
use serde_json::json;
use std::io;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code of a command that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// Arguments of `store copy`.
#[derive(Clone, Debug, Args)]
pub struct CopyArguments {
    /// The store whose sessions are copied
    #[arg(long, value_name = "STORE")]
    from: String,
    /// The store that gets them; what it has already is left as it is
    #[arg(long, value_name = "STORE")]
    to: String,
    /// Go on where an earlier copy was interrupted
    #[arg(long, conflicts_with = "restart")]
    resume: bool,
    /// Begin again, although an earlier copy was interrupted
    #[arg(long)]
    restart: bool,
    /// For programs: the summary as JSON
    #[arg(long)]
    json: bool,
    /// Which configuration has the stores.
    #[command(flatten)]
    file: FileArgument,
}

impl CopyArguments {
    /// The command that goes on with this copy.
    fn resumption(&self) -> String {
        let file = self.file.config.as_ref().map_or(String::new(), |path| format!(" -c {}", path.display()));
        format!("cloakroom store copy --from {} --to {} --resume{file}", self.from, self.to)
    }

    /// Where the copy begins.
    fn start(&self, bookmark: &Bookmark) -> Result<Option<Mark>, Failure> {
        if self.restart {
            return Ok(None);
        }
        let unreadable = |error: io::Error| {
            let path = bookmark.path().display();
            Failure::Failed(format!("{path} does not say where to go on: {error}; `--restart` begins again"))
        };
        match bookmark.read().map_err(unreadable)? {
            Some(mark) if !self.resume => Err(Failure::Failed(format!(
                "an earlier copy was interrupted after {} sessions: `--resume` goes on, `--restart` begins again",
                mark.copied + mark.there
            ))),
            mark => Ok(mark),
        }
    }
}

/// How a copy ends.
enum Ending {
    Done,
    Failed(CopyError),
    Interrupted,
}

pub(super) fn copy(arguments: &CopyArguments) -> Result<ExitCode, Failure> {
    let config = arguments.file.load()?;
    let (from, to) = (find(&config, &arguments.from)?, find(&config, &arguments.to)?);
    check(from, to)?;
    let failed = |error: io::Error| Failure::Failed(format!("{}: {error}", config.server.state_dir.display()));
    let bookmark = Bookmark::new(&config.server.state_dir, &from.name, &to.name).map_err(failed)?;
    let start = arguments.start(&bookmark)?;
    let (source, target) = match app::open(from).and_then(|source| Ok((source, app::open(to)?))) {
        Ok(both) => both,
        Err(error) => {
            print_error(&error);
            return Ok(ExitCode::FAILURE);
        }
    };
    let Some(scan) = source.scan() else { return Err(unlisted(from)) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut walk = Walk::new(&bookmark, start);
    let ending = runtime.block_on(walk.run(scan, &*target));
    if let Some(error) = &walk.unwritten {
        eprintln!("warning: {} cannot be written: {error}", bookmark.path().display());
    }
    match ending {
        Ending::Done => {
            bookmark.remove().map_err(failed)?;
            print(&walk.report(arguments))?;
            Ok(ExitCode::SUCCESS)
        }
        Ending::Failed(error) => {
            print_error(&error);
            walk.say_where(arguments);
            Ok(ExitCode::FAILURE)
        }
        Ending::Interrupted => {
            walk.say_where(arguments);
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

/// Some directions make no sense.
fn check(from: &StoreOptions, to: &StoreOptions) -> Result<(), Failure> {
    let usage = |message: String| Err(Failure::Usage(message));
    if from.name == to.name {
        return usage(format!("`{}` cannot be copied to itself", from.name));
    }
    if let StoreKind::Memory(_) = &to.kind {
        return usage(format!("`{}` would forget the sessions when this command ends", to.name));
    }
    match &from.kind {
        StoreKind::Memory(_) => {
            return usage(format!("`{}` lies in the memory of the proxy: nobody else can read it", from.name));
        }
        StoreKind::Memcached(_) => return Err(unlisted(from)),
        StoreKind::Disk(options) if !options.path.exists() => {
            let path = options.path.display();
            return Err(Failure::Failed(format!("there is nothing in `{}`: {path} does not exist", from.name)));
        }
        _ => {}
    }
    Ok(())
}

/// A store that nobody can walk through.
fn unlisted(from: &StoreOptions) -> Failure {
    let StoreOptions { name, kind, .. } = from;
    Failure::Usage(format!(
        "a {} store cannot say which sessions it has; `fallback = \"{name}\"` in the new store fetches each when it is needed",
        kind.as_str()
    ))
}

/// The way through a store.
struct Walk<'a> {
    bookmark: &'a Bookmark,
    /// Where an earlier copy stopped.
    earlier: Option<Mark>,
    /// What is done by now, the earlier copy included.
    done: Summary,
    /// Why the bookmark is not up to date.
    unwritten: Option<io::Error>,
}

impl<'a> Walk<'a> {
    fn new(bookmark: &'a Bookmark, earlier: Option<Mark>) -> Self {
        let done = earlier.as_ref().map(Mark::done).unwrap_or_default();
        Self { bookmark, earlier, done, unwritten: None }
    }

    /// Goes to the end, or until somebody wants it to stop.
    async fn run(&mut self, from: &dyn Scan, to: &dyn Store) -> Ending {
        let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let [Ok(mut interrupt), Ok(mut terminate)] = signals else { return Ending::Interrupted };
        // Without a number the bar has no end, and the copy is as good.
        let before = self.done;
        let mut shown = Shown::start(from.count().await.unwrap_or_default(), seen(before));
        let start = self.earlier.as_ref().map(Mark::cursor);
        let mut page = |progress: &Progress| {
            self.done = sum(before, progress.summary);
            shown.at(seen(self.done));
            if let Some(next) = &progress.next {
                self.unwritten = self.bookmark.write(&Mark::new(self.done, next)).err();
            }
        };
        let ending = tokio::select! {
            done = copy_all(from, to, start, || SystemClock.now(), &mut page) => match done {
                Ok(_) => Ending::Done,
                Err(error) => Ending::Failed(error),
            },
            _ = interrupt.recv() => Ending::Interrupted,
            _ = terminate.recv() => Ending::Interrupted,
        };
        shown.end();
        ending
    }

    fn say_where(&self, arguments: &CopyArguments) {
        eprintln!("{} sessions are copied; go on with `{}`", self.done.copied, arguments.resumption());
    }

    fn report(&self, arguments: &CopyArguments) -> String {
        let Summary { copied, there, skipped, too_large } = self.done;
        let CopyArguments { from, to, json, .. } = arguments;
        if *json {
            let sessions = json!({ "copied": copied, "there": there, "skipped": skipped, "too_large": too_large });
            let resumed = self.earlier.is_some();
            return format!("{:#}\n", json!({ "from": from, "to": to, "resumed": resumed, "sessions": sessions }));
        }
        let left = match too_large {
            0 => String::new(),
            left => format!("; {left} are too large for {to} and stay behind"),
        };
        format!("{copied} sessions copied from {from} to {to}; {there} were there already, {skipped} had ended{left}\n")
    }
}

fn seen(done: Summary) -> u64 {
    done.copied + done.there + done.skipped + done.too_large
}

fn sum(a: Summary, b: Summary) -> Summary {
    Summary {
        copied: a.copied + b.copied,
        there: a.there + b.there,
        skipped: a.skipped + b.skipped,
        too_large: a.too_large + b.too_large,
    }
}
