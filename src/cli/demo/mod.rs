//! `cloakroom demo`: a small legacy application in every language that this machine speaks, and the proxy before it.
//!
//! All that it writes lies in one temporary directory, which goes when it ends.

mod apps;
mod builtin;

use crate::app::Server;
use crate::config::Config;
use apps::{Application, Workspace};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;

/// How many ports are tried when the wanted one is taken.
const PORTS: u16 = 20;

/// Runs the demo until it is interrupted.
#[must_use]
pub fn demo(port: u16) -> ExitCode {
    match Demo::prepare(port).and_then(Demo::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::print_error(&*error);
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Demo {
    // Fields are dropped in this order: applications end before their directory goes.
    applications: Vec<Application>,
    missing: Vec<(&'static str, &'static str)>,
    config: Config,
    text: String,
    port: u16,
    _workspace: Workspace,
}

impl Demo {
    fn prepare(wanted: u16) -> Result<Self, Failure> {
        let workspace = Workspace::new()?;
        let (applications, missing) = apps::start_all(&workspace)?;
        let port = free_port(wanted)
            .ok_or_else(|| format!("no port between {wanted} and {} is free", wanted.saturating_add(PORTS - 1)))?;
        let text = configuration(&applications, port);
        // The part below is not shown: it only keeps the demo from leaving anything behind.
        let whole = format!("[server]\nstate_dir = '{}'\n\n{text}", workspace.state_dir().display());
        let config = crate::config::parse(&whole, "demo")?;
        Ok(Self { applications, missing, config, text, port, _workspace: workspace })
    }

    fn run(self) -> Result<(), Failure> {
        let Self { applications, missing, config, text, port, _workspace } = self;
        super::run::start_logging_quietly();
        let server = Server::start(config)?;
        server.run(super::run::stop_signal(None), || say(&screen(&applications, &missing, &text, port)))?;
        say("\nThe demo is over; nothing is left behind.\n");
        drop(applications);
        Ok(())
    }
}

/// Prints; a reader who left is no reason to fail.
fn say(text: &str) {
    let mut out = io::stdout();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).ok();
}

fn free_port(wanted: u16) -> Option<u16> {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (wanted..=wanted.saturating_add(PORTS - 1)).find(free)
}

/// The configuration as a person would write it.
fn configuration(applications: &[Application], port: u16) -> String {
    let mut text = format!("[listeners.web]\naddress = \"127.0.0.1:{port}\"\n\n");
    for Application { name, address, .. } in applications {
        // Writing to a string cannot fail.
        let _ = write!(text, "[upstreams.{name}]\nservers = [\"http://{address}\"]\n\n");
    }
    text.push_str("[sessions.main]\nstore = \"disk\"\n");
    for Application { name, .. } in applications {
        let _ = write!(
            text,
            "\n[[routes]]\npath = \"/{name}/*\"\nstrip_prefix = \"/{name}\"\nupstream = \"{name}\"\nsessions = [\"main\"]\n"
        );
    }
    if let Some(Application { name, .. }) = applications.first() {
        let _ = write!(text, "\n[[routes]]\nupstream = \"{name}\"\nsessions = [\"main\"]\n");
    }
    text
}

/// What a person sees: where to look, what to try, what it is made of.
fn screen(applications: &[Application], missing: &[(&str, &str)], text: &str, port: u16) -> String {
    let mut screen = String::from(
        "\nA guest book of the old kind, behind Cloakroom. It has no session library and sets no cookie.\n\n",
    );
    for Application { name, what, .. } in applications {
        let _ = writeln!(screen, "  http://127.0.0.1:{port}/{name}/   {what}");
    }
    for (what, needs) in missing {
        let _ = writeln!(screen, "  ({what} is left out: {needs})");
    }
    screen.push_str("\nTry this:\n");
    screen.push_str("  1. Open the first address. \"Both sides of this exchange\" shows what Cloakroom sent and what was answered.\n");
    screen.push_str("  2. Log in as anybody with the password `coat`, sign the book, fill the cart.\n");
    if applications.len() > 1 {
        screen.push_str("  3. Open another address: another language, the same session. Log out there.\n");
    }
    let _ = write!(
        screen,
        "\n  curl -i http://127.0.0.1:{port}/            shows that a first answer sets a cookie, and no X-Session header leaks\n"
    );
    screen.push_str("\nThis is the whole configuration (sessions are kept on disk, in a temporary directory):\n\n");
    for line in text.lines() {
        let _ = writeln!(screen, "  | {line}").map(|()| ());
    }
    screen.push_str("\nCtrl-C ends it all.\n");
    screen
}

/// Turns an I/O failure into a sentence that names the thing.
fn named(what: &str) -> impl FnOnce(io::Error) -> Failure + '_ {
    move |error| format!("{what}: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_that_is_shown_is_valid() {
        let applications: Vec<Application> = ["php", "perl"].map(Application::named_only).into();
        let text = configuration(&applications, 8080);
        let config = crate::config::parse(&text, "demo").unwrap();
        assert_eq!((config.routes.len(), config.upstreams.len(), config.policies.len()), (3, 2, 1));
        assert!(screen(&applications, &[("Python WSGI", "no python3")], &text, 8080).contains("127.0.0.1:8080/perl/"));
    }
}
