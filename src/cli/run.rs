//! `cloakroom run`: serve in the foreground.

use super::{picture, print_error};
use crate::app::{Reloader, Server};
use crate::config::{Config, LogFormat, LogOptions};
use std::io::{IsTerminal as _, stderr};
use std::process::ExitCode;
use std::time::Instant;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Serves until SIGTERM or SIGINT, then lets running requests finish.
pub(super) fn run(config: Config) -> ExitCode {
    let started = Instant::now();
    start_logging(config.log);
    let server = match Server::start(config) {
        Ok(server) => server,
        Err(error) => {
            print_error(&error);
            return ExitCode::FAILURE;
        }
    };
    let (screen, listeners) = (screen(server.config()), server.config().listeners.len());
    let ready = || {
        if stderr().is_terminal() {
            eprintln!("{screen}ready in {} ms", started.elapsed().as_millis());
        } else {
            tracing::info!(
                listeners,
                millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                "ready"
            );
        }
    };
    let reloader = server.reloader();
    match server.run(stop_signal(Some(reloader)), ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_error(&error);
            ExitCode::FAILURE
        }
    }
}

/// Resolves at the first SIGTERM or SIGINT; a second one ends the process at once. SIGHUP reads the configuration again.
pub(super) async fn stop_signal(reloader: Option<Reloader>) {
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = kinds else {
        tracing::error!("signals cannot be caught: the process ends without a farewell");
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // Left to its default it would kill us, and an operator who sends it does not mean that.
            _ = hangup.recv() => drop(tokio::spawn(reload(reloader.clone()))),
        }
    }
    tokio::spawn(leave_at_the_second(terminate, interrupt));
}

async fn reload(reloader: Option<Reloader>) {
    let Some(reloader) = reloader else { return tracing::warn!("SIGHUP changes nothing here") };
    // How it ended is in the log, where whoever sends a signal looks.
    reloader.reload().await.ok();
}

async fn leave_at_the_second(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    std::process::exit(130);
}

fn start_logging(options: LogOptions) {
    let json = match options.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !stderr().is_terminal(),
    };
    // pingora's own log shows headers and paths: errors of its core are all that may pass (LG1).
    let core = LevelFilter::ERROR.min(options.level);
    let targets = Targets::new().with_default(options.level).with_target("pingora_core", core);
    // The clients of stores write what they ask into theirs, and a server its notices; the stores tell what went wrong.
    let quiet = [
        "pingora_core::connectors",
        "pingora_proxy",
        "pingora",
        "pingora_pool",
        "pingora_cache",
        "rustls",
        "h2",
        "hyper",
        "tokio_postgres",
        "redis",
    ];
    let targets = quiet.iter().fold(targets, |targets, target| targets.with_target(*target, LevelFilter::OFF));
    let registry = tracing_subscriber::registry().with(targets);
    let layer = tracing_subscriber::fmt::layer().with_writer(stderr);
    // A second logger, as in a test that starts two servers, changes nothing.
    if json {
        registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init().ok();
    } else {
        let ansi = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        registry.with(layer.with_ansi(ansi)).try_init().ok();
    }
}

/// Logging for the demo: what goes wrong, and nothing else.
pub(super) fn start_logging_quietly() {
    start_logging(LogOptions { level: LevelFilter::WARN, format: LogFormat::Text });
}

/// What a person sees when the server starts: one screen.
fn screen(config: &Config) -> String {
    let file = config.path.as_ref().map_or_else(|| "the command line".into(), |path| path.display().to_string());
    let warnings: String = config.warnings.iter().map(|warning| format!("warning: {}\n", warning.message)).collect();
    format!("configuration {file}\n{}{warnings}", picture::text(config))
}
